//! Which transport carries a host's session, and the value that makes all connections of a run.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::gate::Gate;
use super::native::Native;
use super::native::jump;
use super::openssh::OpenSsh;
use super::prompt::Prompt;
use super::sshconfig::{AgentChoice, Effective, Settings, Sources};
use super::trust::Files;
use super::{Connect, Connection, TransportError};
use crate::inventory::{Host, TransportKind};

/// What a run decides about its connections.
pub struct Options {
    /// Accept hosts that are in no known_hosts file, and file their keys (`--accept-new-host-keys`).
    pub accept_new_host_keys: bool,
    /// Who answers questions.
    pub prompt: Arc<dyn Prompt>,
    /// Where ssh's configuration is read from.
    pub sources: Sources,
}

/// Makes the connections of a run, each by the transport that suits its host.
pub struct Connector {
    settings: Arc<Settings>,
    native: Native,
    openssh: OpenSsh,
    local: Option<Arc<dyn Connect>>,
}

impl Connector {
    /// One value for a whole run.
    pub fn new(options: Options) -> Self {
        let gate = Arc::new(Gate::default());
        let settings = Arc::new(Settings::new(options.sources));
        let accept_new = options.accept_new_host_keys;
        Connector {
            native: Native::new(options.prompt, gate.clone(), settings.clone(), accept_new),
            openssh: OpenSsh::new(gate, settings.clone(), accept_new),
            settings,
            local: None,
        }
    }

    /// Adds what connects hosts with `transport: local`.
    #[must_use]
    pub fn with_local(mut self, local: Arc<dyn Connect>) -> Self {
        self.local = Some(local);
        self
    }

    /// Which transport carries a host's session, and why. Never `Auto`.
    ///
    /// # Errors
    /// ssh refuses its configuration.
    pub async fn choice(&self, host: &Host) -> Result<(TransportKind, String), TransportError> {
        match host.ssh.transport {
            TransportKind::Auto => {
                let settings = self.settings(host).await?;
                Ok(match self.lacking(host, &settings).await? {
                    Some(reason) => (TransportKind::OpenSsh, reason),
                    None => (
                        TransportKind::Native,
                        "ssh's configuration asks for nothing it lacks".to_owned(),
                    ),
                })
            }
            chosen => Ok((chosen, "the inventory says so".to_owned())),
        }
    }

    /// ssh's settings for a host.
    async fn settings(&self, host: &Host) -> Result<Arc<Effective>, TransportError> {
        let ssh = &host.ssh;
        self.settings
            .get(&ssh.user, &host.address.to_string(), Some(ssh.port))
            .await
    }

    /// What the way to a host needs and native lacks.
    async fn lacking(&self, host: &Host, settings: &Effective) -> Result<Option<String>, TransportError> {
        if let Some(reason) = lacking(host, settings) {
            return Ok(Some(reason));
        }
        Ok(match jump::of(host, settings) {
            Ok(None) => None,
            Ok(Some(jump)) => jump::lacking(&*self.settings.get(jump.user(), &jump.host, jump.port).await?),
            Err(reason) => Some(reason),
        })
    }
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, host: &Host) -> Result<Box<dyn Connection>, TransportError> {
        if host.ssh.transport == TransportKind::Local {
            return match &self.local {
                Some(local) => local.connect(host).await,
                None => Err(TransportError::connect(format!(
                    "{}: no local transport here",
                    host.name
                ))),
            };
        }
        let (chosen, _) = self.choice(host).await?;
        let settings = self.settings(host).await?;
        match chosen {
            TransportKind::OpenSsh => self.openssh.connect(host, &settings),
            _ => match beyond(host, &settings) {
                // Connecting by another way than the one configured would be wrong, not just less.
                Some(reason) => Err(TransportError::connect(format!(
                    "{}: the native transport cannot do this: {reason}",
                    host.name
                ))
                .hint("set `ssh: { transport: auto }`, which takes the system's ssh for this host")),
                None => self.native.connect(host, &settings).await,
            },
        }
    }
}

/// The setting of ssh's configuration that native cannot honour.
fn beyond(host: &Host, settings: &Effective) -> Option<String> {
    // The inventory's jump host replaces whatever ssh's configuration says about the way there.
    let replaced = |reason: &&String| host.ssh.jump.is_some() && reason.contains("sets Proxy");
    settings
        .beyond_native
        .as_ref()
        .filter(|reason| !replaced(reason))
        .cloned()
}

/// What a host needs and native lacks.
fn lacking(host: &Host, settings: &Effective) -> Option<String> {
    if let Some(reason) = beyond(host, settings) {
        return Some(reason);
    }
    let files = Files::new(host.ssh.known_hosts.as_ref(), settings);
    if files.known().is_ok_and(|known| known.by_authority_only()) {
        return Some(format!("known_hosts trusts {} by a certificate authority", files.name));
    }
    security_key(host, settings)
}

/// A key on a hardware token can be used through the agent only; without one ssh itself has to do it.
fn security_key(host: &Host, settings: &Effective) -> Option<String> {
    let agent = match settings.agent {
        AgentChoice::None => false,
        AgentChoice::Socket(_) => true,
        AgentChoice::Environment => std::env::var_os("SSH_AUTH_SOCK").is_some_and(|socket| !socket.is_empty()),
    };
    if agent {
        return None;
    }
    let named = host.ssh.identity_file.iter().chain(&settings.identity_files);
    let mut existing = named.filter(|path| path.exists()).peekable();
    let first = existing.peek().map(|path| path.display().to_string())?;
    existing
        .all(|path| is_security_key(path))
        .then(|| format!("{first} is a key on a hardware token, and there is no agent"))
}

fn is_security_key(path: &Path) -> bool {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    fs::read_to_string(Path::new(&public)).is_ok_and(|text| text.starts_with("sk-"))
}
