//! TCP, key exchange and host key: from an address to an encrypted connection that is not logged in yet.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, HashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::quickack::QuickAck;
use crate::quote::terminal;
use crate::transport::TransportError;
use crate::transport::gate::Attempt;
use crate::transport::openssh::UNREACHABLE;
use crate::transport::trust::HostKeys;

/// Seconds without a word from the host after which it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Questions without an answer after which the connection is given up.
const KEEPALIVE_MAX: usize = 3;
/// Messages that may wait for a channel's reader before the connection is held back. Generous, because behind a jump
/// host all hosts share one connection, and memory is used only as far as there is something to hold.
const CHANNEL_BUFFER: usize = 1024;

/// Whom to connect to, for the machine and for messages.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host's name in the inventory, or `jump host NAME`.
    pub label: String,
    /// Login user.
    pub user: String,
    /// Address or name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Time for the whole connection.
    pub timeout: Duration,
}

impl Target {
    /// An error that says which host it is about.
    pub fn error(&self, why: impl std::fmt::Display) -> TransportError {
        TransportError::connect(format!("{} ({}): {why}", self.label, self.place()))
    }

    /// `user@address:port`.
    pub fn place(&self) -> String {
        match self.address.contains(':') {
            true => format!("{}@[{}]:{}", self.user, self.address, self.port),
            false => format!("{}@{}:{}", self.user, self.address, self.port),
        }
    }

    /// The `ssh` call that repeats this connection by hand.
    pub fn by_hand(&self) -> String {
        let port = if self.port == 22 {
            String::new()
        } else {
            format!(" -p {}", self.port)
        };
        format!(
            "ssh{port} {}",
            crate::quote::sh(&format!("{}@{}", self.user, self.address))
        )
    }
}

/// A point in time that moves when a person has to be waited for.
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// From now on.
    pub fn after(timeout: Duration) -> Self {
        Deadline {
            at: Instant::now() + timeout,
        }
    }

    /// Runs a step; an error when it does not end in time.
    pub async fn within<T>(
        &self,
        target: &Target,
        doing: &str,
        step: impl Future<Output = T>,
    ) -> Result<T, TransportError> {
        tokio::time::timeout_at(self.at, step).await.map_err(|_| {
            let seconds = target.timeout.as_secs();
            target
                .error(format!("no answer within {seconds} s while {doing}"))
                .hint(UNREACHABLE)
        })
    }

    /// Runs a step that waits for a person; its time does not count.
    pub async fn paused<T>(&mut self, step: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let value = step.await;
        self.at += start.elapsed();
        value
    }
}

/// Opens the TCP connection.
pub async fn dial(target: &Target, deadline: &Deadline) -> Result<QuickAck, TransportError> {
    let addresses: Vec<_> = deadline
        .within(
            target,
            "resolving its name",
            tokio::net::lookup_host((target.address.as_str(), target.port)),
        )
        .await?
        .map_err(|error| {
            target
                .error(format!("cannot resolve {}: {error}", terminal(&target.address)))
                .hint(format!("getent hosts {}", crate::quote::sh(&target.address)))
        })?
        .collect();
    // tokio tries all addresses of a name in turn.
    let connected = deadline
        .within(target, "connecting", TcpStream::connect(&*addresses))
        .await?;
    connected.map(QuickAck::new).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => target
            .error(format!("connection refused: nothing listens on port {}", target.port))
            .hint("is sshd running there, and is `ssh.port` right?"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => target
            .error(format!("no route to the host: {error}"))
            .hint(format!("ip route get {}", crate::quote::sh(&target.address))),
        _ => target.error(format!("cannot connect: {error}")),
    })
}

/// Why a handshake ended, as our handler or russh tells it.
#[derive(Debug)]
pub enum Failure {
    /// russh's reason.
    Ssh(russh::Error),
    /// The host key was not accepted.
    HostKey(TransportError),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Failure::Ssh(error)
    }
}

/// What the server said when it hung up, if it did.
pub type LastWords = Arc<Mutex<Option<String>>>;

/// Our side of the protocol's callbacks.
pub struct Client {
    trust: Arc<HostKeys>,
    last_words: LastWords,
}

impl client::Handler for Client {
    type Error = Failure;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        // No certificate algorithm is offered, so this is a plain key.
        self.trust.check(&key.public_key()).await.map_err(Failure::HostKey)?;
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let mut words = self.last_words.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                *words = Some(terminal(info.message.trim()));
                Ok(())
            }
            DisconnectReason::Error(failure) => Err(failure),
        }
    }
}

/// Speaks SSH over a stream until keys are exchanged and the host is known to be the right one.
pub async fn exchange<S>(
    target: &Target,
    deadline: &Deadline,
    stream: S,
    trust: Arc<HostKeys>,
) -> Result<(Handle<Client>, LastWords), Attempt>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = client::Config {
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVE_MAX,
        channel_buffer_size: CHANNEL_BUFFER,
        preferred: Preferred {
            key: Cow::Owned(algorithms(&trust.algorithms())),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    };
    let last_words = LastWords::default();
    let client = Client {
        trust: trust.clone(),
        last_words: last_words.clone(),
    };
    let connected = client::connect_stream(Arc::new(config), stream, client);
    match deadline
        .within(target, "exchanging keys", connected)
        .await
        .map_err(Attempt::Failed)?
    {
        Ok(handle) => Ok((handle, last_words)),
        Err(Failure::HostKey(error)) => Err(Attempt::Failed(error)),
        Err(Failure::Ssh(error)) => Err(explain(target, &trust, error, &last_words)),
    }
}

/// The host key algorithms to ask for: those of the keys on file, else all that are safe. SHA-1 signatures (`ssh-rsa`)
/// are not.
fn algorithms(known: &[Algorithm]) -> Vec<Algorithm> {
    let safe = Preferred::DEFAULT
        .key
        .iter()
        .filter(|algorithm| **algorithm != Algorithm::Rsa { hash: None });
    let filed = |algorithm: &&Algorithm| {
        let rsa = matches!(
            algorithm,
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256 | HashAlg::Sha512)
            }
        );
        known.is_empty() || known.contains(algorithm) || (rsa && known.contains(&Algorithm::Rsa { hash: None }))
    };
    safe.filter(filed).cloned().collect()
}

fn explain(target: &Target, trust: &HostKeys, error: russh::Error, last_words: &LastWords) -> Attempt {
    use russh::Error as E;
    let said = last_words
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clone();
    match error {
        E::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            theirs,
            ..
        } if !trust.algorithms().is_empty() => Attempt::Failed(trust.other_kind(&theirs)),
        E::NoCommonAlgo { kind, ours, theirs } => Attempt::Failed(
            target
                .error(format!(
                    "no common {kind:?} algorithm: the server offers {}, hactl {}",
                    terminal(&theirs.join(", ")),
                    ours.join(", ")
                ))
                .hint("`ssh: { transport: openssh }` uses the system's ssh, which may know one"),
        ),
        E::Disconnect | E::HUP => Attempt::Dropped(dropped(target, said)),
        E::IO(io) if is_drop(io.kind()) => Attempt::Dropped(dropped(target, said)),
        E::Version => Attempt::Failed(target.error("what listens there does not speak SSH")),
        other => Attempt::Failed(target.error(format!("key exchange failed: {other}"))),
    }
}

fn is_drop(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        kind,
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

fn dropped(target: &Target, said: Option<String>) -> TransportError {
    let said = said.map(|words| format!(": {words}")).unwrap_or_default();
    target
        .error(format!("the server closed the connection during the handshake{said}"))
        .hint("sshd may be at its MaxStartups limit, or refuse this address (hosts.deny, fail2ban, PerSourcePenalties); or is `ssh.port` not sshd's?")
}
