//! Which transport carries a host's session, and the value that makes all connections of a run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::gate::Gate;
use super::native::Native;
use super::prompt::Prompt;
use super::sshconfig::{Effective, Sources};
use super::{Connect, Connection, TransportError};
use crate::inventory::Host;

type Slot = Arc<OnceCell<Result<Arc<Effective>, TransportError>>>;

/// Makes the connections of a run, by the transport that suits each host.
pub struct Connector {
    sources: Arc<Sources>,
    native: Native,
    local: Option<Arc<dyn Connect>>,
    settings: Mutex<HashMap<(String, String, u16), Slot>>,
}

/// What a run decides about its connections.
pub struct Options {
    /// Accept hosts that are in no known_hosts file, and file their keys (`--accept-new-host-keys`).
    pub accept_new_host_keys: bool,
    /// Who answers questions.
    pub prompt: Arc<dyn Prompt>,
    /// Where ssh's configuration is read from.
    pub sources: Sources,
}

impl Connector {
    /// One value for a whole run.
    pub fn new(options: Options) -> Self {
        let gate = Arc::new(Gate::default());
        let sources = Arc::new(options.sources);
        Connector {
            native: Native::new(
                options.prompt,
                gate.clone(),
                sources.clone(),
                options.accept_new_host_keys,
            ),
            sources,
            local: None,
            settings: Mutex::default(),
        }
    }

    async fn settings(&self, host: &Host) -> Result<Arc<Effective>, TransportError> {
        let key = (host.ssh.user.clone(), host.address.to_string(), host.ssh.port);
        let slot = {
            let mut settings = self.settings.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            settings.entry(key.clone()).or_default().clone()
        };
        let (user, address, port) = &key;
        let ask = || async { self.sources.effective(user, address, Some(*port)).await.map(Arc::new) };
        slot.get_or_init(ask).await.clone()
    }
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, host: &Host) -> Result<Box<dyn Connection>, TransportError> {
        let settings = self.settings(host).await?;
        self.native.connect(host, &settings).await
    }
}
