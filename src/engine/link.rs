//! What the engine needs of a host: answers to questions, and steps carried out.
//!
//! [`ShellLink`] is the real one. Tests use a modelled host instead, which counts the same round trips and fails where it
//! is told to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::request;
use crate::inventory::Host;
use crate::plan::Step;
use crate::resource::probe::{self, Section};
use crate::resource::{Ask, Observed};
use crate::secret::Secret;
use crate::transport::wire::{Aside, Elevation, Limits, Piece, Session};
use crate::transport::{Connect, TransportError};

/// What a host may take to answer a probe, and how much: a diff fetches at most 256 KiB of each file.
const PROBE: Limits = Limits {
    silence: Duration::from_secs(60),
    total: Some(Duration::from_secs(300)),
    bytes: 32 << 20,
};

/// Steps to carry out on one host, one round trip.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The run.
    pub run: &'a str,
    /// Who runs it, when it began, what it does: what another run is told while this one holds the lock.
    pub who: &'a str,
    /// RFC 3339.
    pub since: &'a str,
    /// The verb and inventory.
    pub doing: &'a str,
    /// Generation of the host when it was probed.
    pub generation: &'a str,
    /// The steps.
    pub steps: &'a [Step],
    /// Whether this is the run's last order for the host.
    pub last: bool,
}

/// What happens while an order is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Waits for something before the first step.
    Waits(String),
    /// Step with this index begins.
    Began(usize),
    /// The running step printed this.
    Output(Vec<u8>),
    /// Step with this index ended with a status.
    Ended(usize, i32),
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All steps are done.
    Done,
    /// A step failed; its status was in the last [`Progress::Ended`].
    StepFailed,
    /// Stopped between steps because the user asked for it.
    Stopped,
    /// Another run holds the host; who.
    Locked(String),
    /// The host changed since it was probed.
    Moved(String),
    /// The host could not even begin; why.
    Failed(String),
}

/// A host that only answers.
#[async_trait]
pub trait Link: Send {
    /// What carries it.
    fn backend(&self) -> &'static str;

    /// Round trips so far, on top of the connection.
    fn round_trips(&self) -> u32;

    /// Asks; one round trip.
    async fn ask(&mut self, ask: &Ask) -> Result<Observed, TransportError>;

    /// Waits until the host is quiet: until what a run that was cut off still does has ended. One round trip.
    async fn settle(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Verdict, TransportError>;

    /// Carries out steps; one round trip. Only [`super::execute`] has an order to give, and only for an approved plan.
    async fn carry_out(
        &mut self,
        order: Order<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, TransportError>;

    /// A handle that asks the host to stop: after the running step, or now.
    fn stopper(&self, run: &str) -> Box<dyn Stopper>;

    /// Ends the connection.
    async fn close(self: Box<Self>);
}

/// Stops what runs on a host.
#[async_trait]
pub trait Stopper: Send + Sync {
    /// After the running step.
    async fn soon(&self);
    /// Ends the running step, too.
    async fn now(&self);
}

/// Makes links.
#[async_trait]
pub trait Links: Send + Sync {
    /// Connects to a host.
    async fn link(&self, host: &Host) -> Result<Box<dyn Link>, TransportError>;
}

/// Links over a transport.
pub struct ShellLinks {
    /// Makes connections.
    pub connect: Arc<dyn Connect>,
    /// Password for sudo, when the inventory says that it asks for one.
    pub become_password: Option<Secret>,
}

#[async_trait]
impl Links for ShellLinks {
    async fn link(&self, host: &Host) -> Result<Box<dyn Link>, TransportError> {
        let connection = self.connect.connect(host).await?;
        let elevation = Elevation::of(host, self.become_password.clone());
        let session = Session::open(Arc::from(connection), &host.name, elevation).await?;
        Ok(Box::new(ShellLink { session, holds: false }))
    }
}

/// A shell on a host.
pub struct ShellLink {
    session: Session,
    /// Whether the host's lock is ours.
    holds: bool,
}

#[async_trait]
impl Link for ShellLink {
    fn backend(&self) -> &'static str {
        self.session.backend()
    }

    fn round_trips(&self) -> u32 {
        self.session.round_trips()
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Observed, TransportError> {
        let sections = sections(&mut self.session, &probe::script(ask), PROBE).await?;
        Ok(probe::read(ask, &sections))
    }

    async fn settle(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Verdict, TransportError> {
        self.send(request::settle(), 0, progress).await
    }

    async fn carry_out(
        &mut self,
        order: Order<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, TransportError> {
        self.holds = true;
        let steps = order.steps.len();
        self.send(request::write(&order), steps, progress).await
    }

    fn stopper(&self, run: &str) -> Box<dyn Stopper> {
        Box::new(ShellStopper {
            aside: self.session.aside(),
            run: run.to_owned(),
        })
    }

    async fn close(self: Box<Self>) {
        self.session.close(self.holds).await;
    }
}

impl ShellLink {
    async fn send(
        &mut self,
        request: request::Request,
        steps: usize,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, TransportError> {
        let mut reading = request::Reading::new(progress, steps);
        let mut take = |piece| reading.take(piece);
        let status = self
            .session
            .run(&request.script, &request.payload, request.limits, &mut take)
            .await?;
        reading.verdict(status)
    }
}

/// Runs a script that only asks, and gives what it answered, mark by mark; one round trip.
///
/// # Errors
/// The session's.
pub async fn sections(
    session: &mut Session,
    script: &str,
    limits: impl Into<Limits>,
) -> Result<Vec<Section>, TransportError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut collect = |piece| match piece {
        Piece::Mark(words) => sections.push(Section {
            words,
            body: Vec::new(),
        }),
        Piece::Data(data) => {
            if let Some(section) = sections.last_mut() {
                section.body.extend_from_slice(&data);
            }
        }
    };
    session.run(script, &[], limits, &mut collect).await?;
    Ok(sections)
}

struct ShellStopper {
    aside: Aside,
    run: String,
}

#[async_trait]
impl Stopper for ShellStopper {
    async fn soon(&self) {
        let _ = self
            .aside
            .run(&format!("touch /run/hactl/runs/{}/stop", self.run))
            .await;
    }

    async fn now(&self) {
        // `timeout` passes the signal on to the step's whole process group.
        let script = format!(
            "R=/run/hactl/runs/{}; touch $R/stop; read -r pid <$R/pid && kill -TERM $pid",
            self.run
        );
        let _ = self.aside.run(&script).await;
    }
}
