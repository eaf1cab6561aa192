//! A modelled host: takes up steps by their projection, counts round trips, and fails where it is told to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hactl::engine::link::{Link, Links, Order, Progress, Stopper, Verdict};
use hactl::inventory::Host;
use hactl::resource::{Ask, Facts, Observed};
use hactl::transport::TransportError;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is lost when this step (counted over the run, from 0) begins, before it did anything.
    LostBefore(usize),
    /// The connection is lost right after this step did its work, before it could say so.
    LostAfter(usize),
    /// This step fails without having done anything.
    Fails(usize),
    /// The host cannot be reached.
    Unreachable,
    /// Somebody else holds the lock.
    Locked,
}

/// A host's state, shared by all connections to it.
#[derive(Clone)]
pub struct Modelled {
    /// What the host is now.
    pub state: Arc<Mutex<Observed>>,
    /// What goes wrong on the next order.
    pub fault: Arc<Mutex<Fault>>,
}

impl Modelled {
    /// A bare host.
    pub fn bare() -> Self {
        Modelled {
            state: Arc::new(Mutex::new(Observed::bare(Facts::assumed()))),
            fault: Arc::new(Mutex::new(Fault::None)),
        }
    }

    /// Sets what goes wrong next.
    pub fn fails(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

#[async_trait]
impl Links for Modelled {
    async fn link(&self, host: &Host) -> Result<Box<dyn Link>, TransportError> {
        if *self.fault.lock().unwrap() == Fault::Unreachable {
            return Err(TransportError::connect(format!("{}: connection refused", host.name)));
        }
        Ok(Box::new(Connected {
            host: self.clone(),
            trips: 0,
        }))
    }
}

struct Connected {
    host: Modelled,
    trips: u32,
}

#[async_trait]
impl Link for Connected {
    fn backend(&self) -> &'static str {
        "modelled"
    }

    fn round_trips(&self) -> u32 {
        self.trips
    }

    async fn ask(&mut self, _: &Ask) -> Result<Observed, TransportError> {
        self.trips += 1;
        Ok(self.host.state.lock().unwrap().clone())
    }

    async fn settle(&mut self, _: &mut (dyn FnMut(Progress) + Send)) -> Result<Verdict, TransportError> {
        self.trips += 1;
        Ok(Verdict::Done)
    }

    async fn carry_out(
        &mut self,
        order: Order<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, TransportError> {
        self.trips += 1;
        let fault = *self.host.fault.lock().unwrap();
        if fault == Fault::Locked {
            return Ok(Verdict::Locked("alice@laptop".into()));
        }
        self.host.state.lock().unwrap().facts.generation = order.run.to_owned();
        for (index, step) in order.steps.iter().enumerate() {
            // Others go on meanwhile.
            tokio::task::yield_now().await;
            progress(Progress::Began(index));
            match fault {
                Fault::LostBefore(at) if at == index => return Err(TransportError::lost("connection lost")),
                Fault::Fails(at) if at == index => {
                    progress(Progress::Output(b"no\n".to_vec()));
                    progress(Progress::Ended(index, 1));
                    return Ok(Verdict::StepFailed);
                }
                _ => {}
            }
            let mut state = self.host.state.lock().unwrap();
            for resource in &step.resources {
                resource.spec.kind().project(&mut state);
            }
            // What a plan foretells of its own packages is not a state of the host.
            state.fresh.clear();
            drop(state);
            if fault == Fault::LostAfter(index) {
                return Err(TransportError::lost("connection lost"));
            }
            progress(Progress::Ended(index, 0));
        }
        Ok(Verdict::Done)
    }

    fn stopper(&self, _: &str) -> Box<dyn Stopper> {
        Box::new(Deaf)
    }

    async fn close(self: Box<Self>) {}
}

struct Deaf;

#[async_trait]
impl Stopper for Deaf {
    async fn soon(&self) {}
    async fn now(&self) {}
}
