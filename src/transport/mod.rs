//! One session per host: a persistent `sh`, scripts in, framed answers out.
//!
//! A [`Connection`] is what a backend provides (native russh, the system's ssh, this machine, a fake): it opens byte
//! [`Pipe`]s to a shell command. [`wire`] speaks hactl's framing over such a pipe and is the same for all of them.

mod answer;
pub mod auto;
mod gate;
pub mod known_hosts;
pub mod local;
pub mod native;
mod openssh;
pub mod prompt;
pub mod sshconfig;
mod sudo;
mod trust;
pub mod wire;

use std::pin::Pin;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::inventory::Host;

/// Why a host could not be reached or went away. Messages name address, cause and the next command.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// What failed and why, one or more lines.
    pub message: String,
    /// What to run or change next.
    pub hint: Option<String>,
    /// Whether the failure was before the session was established.
    pub stage: Stage,
}

/// When a transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution, TCP, key exchange, host key, authentication, sudo.
    Connect,
    /// The connection died later; what ran at that moment has an unknown result.
    Lost,
    /// The far side broke the framing or a limit.
    Protocol,
}

impl TransportError {
    /// A failure while connecting.
    pub fn connect(message: impl Into<String>) -> Self {
        TransportError {
            message: message.into(),
            hint: None,
            stage: Stage::Connect,
        }
    }

    /// A connection that died.
    pub fn lost(message: impl Into<String>) -> Self {
        TransportError {
            message: message.into(),
            hint: None,
            stage: Stage::Lost,
        }
    }

    /// A far side that does not speak the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        TransportError {
            message: message.into(),
            hint: None,
            stage: Stage::Protocol,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A running remote command: its three streams and its end.
pub struct Pipe {
    /// Standard input of the command. Dropping or shutting it down is end of file.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Standard output.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Standard error.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Resolves when the command ended.
    pub exit: Pin<Box<dyn Future<Output = Exit> + Send>>,
}

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// With a status.
    Code(i32),
    /// By a signal, e.g. `KILL`.
    Signal(String),
    /// Connection lost: the result is unknown.
    Lost,
}

/// An authenticated connection to one host. Commands run as the login user; [`elevate`] makes them root.
#[async_trait]
pub trait Connection: Send + Sync {
    /// Starts a command (a line for the login shell; it must hold no secret) with its three streams.
    async fn open(&self, command: &str) -> Result<Pipe, TransportError>;

    /// What carries this connection: `native`, `openssh`, `local`, `fake`.
    fn backend(&self) -> &'static str;

    /// For backends that connect only with the first command: turns the end of a command that never answered into the
    /// reason why there is no connection, from what it printed.
    fn explain(&self, _exit: &Exit, _said: &str) -> Option<TransportError> {
        None
    }

    /// Ends the connection in an orderly way.
    async fn close(&self);
}

/// Makes connections. One value lives for a whole run and holds what hosts share: the cap on handshakes in flight,
/// decrypted keys, the jump host's connection, what the user answered.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Connects and authenticates within `host.ssh.connect_timeout`.
    async fn connect(&self, host: &Host) -> Result<Box<dyn Connection>, TransportError>;
}
