//! The native transport: SSH spoken by russh, in this process.

mod auth;
mod handshake;
pub(crate) mod jump;
pub(crate) mod keys;
mod pump;
mod queue;
mod quickack;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::ChannelOpenFailure::{ConnectFailed, ResourceShortage};
use russh::client::{Handle, Msg};
use russh::{Channel, Disconnect, Error as E};
use tokio::io::{AsyncRead, AsyncWrite};

use self::auth::{Identities, Login};
use self::handshake::{Client, Deadline, Target};
use self::jump::Jumps;
use self::keys::KeyRing;
use super::gate::{Attempt, Gate};
use super::prompt::Prompt;
use super::sshconfig::{Effective, Settings};
use super::trust::{Files, HostKeys, unreadable};
use super::{Connection, Pipe, TransportError};
use crate::inventory::Host;

/// Makes native connections; holds what they share.
pub struct Native {
    ring: KeyRing,
    gate: Arc<Gate>,
    jumps: Jumps,
    settings: Arc<Settings>,
    accept_new: bool,
}

/// Everything that one connection needs to know.
struct Plan {
    target: Target,
    identities: Identities,
    files: Files,
}

impl Plan {
    /// A plan for `label` from ssh's settings, with the inventory's own over them.
    fn new(label: String, config: &Effective, host: &Host) -> Self {
        let ssh = &host.ssh;
        let target = Target {
            label,
            user: config.user.clone(),
            address: config.hostname.clone(),
            port: config.port,
            timeout: Duration::from_secs(ssh.connect_timeout.max(1)),
        };
        let (named, usual) = match (&ssh.identity_file, config.identities_named) {
            (Some(file), false) => (vec![file.clone()], Vec::new()),
            (Some(file), true) => (prepend(file, &config.identity_files), Vec::new()),
            (None, true) => (config.identity_files.clone(), Vec::new()),
            (None, false) => (Vec::new(), config.identity_files.clone()),
        };
        let identities = Identities {
            named,
            usual,
            agent: config.agent.clone(),
            only: config.identities_only,
        };
        Plan {
            target,
            identities,
            files: Files::new(ssh.known_hosts.as_ref(), config),
        }
    }
}

fn prepend(file: &PathBuf, others: &[PathBuf]) -> Vec<PathBuf> {
    let others = others.iter().filter(|other| *other != file);
    std::iter::once(file).chain(others).cloned().collect()
}

impl Native {
    /// `accept_new`: unknown hosts are accepted and filed.
    pub fn new(prompt: Arc<dyn Prompt>, gate: Arc<Gate>, settings: Arc<Settings>, accept_new: bool) -> Self {
        Native {
            ring: KeyRing::new(prompt),
            gate,
            jumps: Jumps::default(),
            settings,
            accept_new,
        }
    }

    /// Connects to a host whose ssh settings are `config`.
    ///
    /// # Errors
    /// Stage `Connect`.
    pub async fn connect(&self, host: &Host, config: &Effective) -> Result<Box<dyn Connection>, TransportError> {
        let plan = Plan::new(host.name.clone(), config, host);
        let jump = jump::of(host, config).map_err(|why| TransportError::connect(format!("{}: {why}", host.name)))?;
        let handle = match jump {
            None => self.direct(&plan).await?,
            Some(jump) => {
                let bastion = self.bastion(&jump, host).await?;
                self.pass(&plan, || async {
                    // A bastion that died since is the run's second chance, not this attempt's.
                    let mut deadline = Deadline::after(plan.target.timeout);
                    let stream = jump::tunnel(&bastion, &plan.target, &deadline)
                        .await
                        .map_err(Attempt::Failed)?;
                    self.log_in(&plan, &mut deadline, stream).await
                })
                .await?
            }
        };
        Ok(Box::new(Session {
            handle,
            target: plan.target,
        }))
    }

    /// The shared connection to a jump host.
    async fn bastion(&self, jump: &jump::Spec, host: &Host) -> Result<Arc<Handle<Client>>, TransportError> {
        self.jumps
            .get(jump, || async {
                let label = format!("jump host {}", crate::quote::terminal(&jump.host));
                let settings = self.settings.get(jump.user(), &jump.host, jump.port).await?;
                if let Some(reason) = jump::lacking(&settings) {
                    return Err(TransportError::connect(format!("{label}: {reason}"))
                        .hint("set `ssh: { transport: auto }`, which takes the system's ssh for this host"));
                }
                self.direct(&Plan::new(label, &settings, host)).await
            })
            .await
    }

    async fn direct(&self, plan: &Plan) -> Result<Handle<Client>, TransportError> {
        self.pass(plan, || async {
            let mut deadline = Deadline::after(plan.target.timeout);
            let stream = handshake::dial(&plan.target, &deadline)
                .await
                .map_err(Attempt::Failed)?;
            self.log_in(plan, &mut deadline, stream).await
        })
        .await
    }

    async fn pass<F>(&self, plan: &Plan, attempt: impl FnMut() -> F) -> Result<Handle<Client>, TransportError>
    where
        F: Future<Output = Result<Handle<Client>, Attempt>>,
    {
        self.gate
            .pass(&format!("{}:{}", plan.target.address, plan.target.port), attempt)
            .await
    }

    async fn log_in<S>(&self, plan: &Plan, deadline: &mut Deadline, stream: S) -> Result<Handle<Client>, Attempt>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = &plan.target;
        let who = format!("{} ({})", target.label, target.place());
        // Read anew for every attempt: another host may have taught us this one meanwhile.
        let known = plan
            .files
            .known()
            .map_err(|error| Attempt::Failed(unreadable(&who, &error)))?;
        let trust = HostKeys {
            who,
            files: plan.files.clone(),
            known,
            accept_new: self.accept_new,
        };
        let (mut handle, last_words) = handshake::exchange(target, deadline, stream, Arc::new(trust)).await?;
        Login::new(target, deadline, &self.ring, &mut handle, &last_words)
            .run(&plan.identities)
            .await?;
        Ok(handle)
    }
}

/// A native connection.
struct Session {
    handle: Handle<Client>,
    target: Target,
}

impl Session {
    /// Opens a session. One that has just ended still counts against MaxSessions until sshd comes round to tidying up,
    /// so a refusal is asked again for a moment.
    async fn session(&self) -> Result<Channel<Msg>, E> {
        for pause in [10, 40, 150] {
            match self.handle.channel_open_session().await {
                Err(E::ChannelOpenFailure(ConnectFailed)) => tokio::time::sleep(Duration::from_millis(pause)).await,
                result => return result,
            }
        }
        self.handle.channel_open_session().await
    }
}

#[async_trait]
impl Connection for Session {
    async fn open(&self, command: &str) -> Result<Pipe, TransportError> {
        let place = || format!("{} ({})", self.target.label, self.target.place());
        let channel = self.session().await.map_err(|error| match error {
            E::ChannelOpenFailure(ConnectFailed | ResourceShortage) => TransportError::connect(format!(
                "{}: the server opens no more sessions on this connection",
                place()
            ))
            .hint("MaxSessions in its sshd_config"),
            E::ChannelOpenFailure(reason) => {
                TransportError::connect(format!("{}: the server refuses a session: {reason:?}", place()))
            }
            error => TransportError::lost(format!("{}: connection lost: {error}", place())),
        })?;
        // The answer to the request is read with the output, which saves a round trip.
        channel
            .exec(true, command)
            .await
            .map_err(|error| TransportError::lost(format!("{}: connection lost: {error}", place())))?;
        Ok(pump::pipe(channel))
    }

    fn backend(&self) -> &'static str {
        "native"
    }

    async fn close(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "done", "").await;
    }
}
