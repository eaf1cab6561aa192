//! hactl's protocol over a [`Pipe`](super::Pipe): requests are shell scripts, answers are bytes between marks.
//!
//! The far side is one `sh` that runs [`BOOTSTRAP`]: it reads a header line `hactl TOKEN LENGTH`, that many bytes of script,
//! evaluates them (a script may read further bytes, its payload, from standard input) and prints the mark `done STATUS`.
//! A mark is a line that starts with the control character 0x1e and the random token of the request, so no output of a
//! command can be taken for one by accident. The header of the first request is sent before the far side said anything:
//! asking costs exactly one round trip on top of the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

pub use super::answer::Piece;
use super::answer::{Answer, greeting};
pub use super::sudo::Elevation;
use super::{Connection, Exit, TransportError};
use crate::quote::terminal;

/// What runs on the host; see the module's text.
const BOOTSTRAP: &str = include_str!("bootstrap.sh");

/// How long a far side may take to accept a session, and to let go of one.
const SETTLE: Duration = Duration::from_secs(30);

/// How long and how much a far side may answer. It may lie, so everything has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest silence.
    pub silence: Duration,
    /// From the request to the end of its answer; `None` when somebody else keeps the time.
    pub total: Option<Duration>,
    /// Bytes, with 1 KiB for each mark.
    pub bytes: usize,
}

impl From<Duration> for Limits {
    /// A silence, and 64 MiB.
    fn from(silence: Duration) -> Self {
        Limits {
            silence,
            total: None,
            bytes: 64 << 20,
        }
    }
}

/// Most bytes that are kept of what comes on standard error, which is empty once the shell runs.
const EARLY_LIMIT: usize = 4096;

/// Longest wait for a root shell. PAM delays a wrong password by some seconds; a directory service that is gone may take
/// its time.
const ROOT_PATIENCE: Duration = Duration::from_secs(40);

/// How often a session says that somebody is there. A host takes one that was silent for eight times as long for gone
/// (`SILENCE` of the engine's apply.sh).
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Shared by requests and heartbeats, which must not fall into one.
type Stdin = Arc<Mutex<Pin<Box<dyn AsyncWrite + Send>>>>;

/// A shell on a host.
pub struct Session {
    connection: Arc<dyn Connection>,
    stdin: Stdin,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// The far side's end, until it was told.
    exit: Option<Pin<Box<dyn Future<Output = Exit> + Send>>>,
    buffer: Vec<u8>,
    /// What came on standard error.
    early: watch::Receiver<Vec<u8>>,
    heart: Option<JoinHandle<()>>,
    greeted: bool,
    broken: bool,
    trips: u32,
    name: String,
    elevation: Elevation,
}

impl Session {
    /// Starts the shell. Errors of the far side's start (no sudo, no sh) surface with the first request.
    pub async fn open(
        connection: Arc<dyn Connection>,
        name: &str,
        elevation: Elevation,
    ) -> Result<Session, TransportError> {
        let start = async {
            let mut pipe = connection.open(&elevation.wrap(BOOTSTRAP)).await?;
            if let Some(line) = elevation.first_line() {
                pipe.stdin
                    .write_all(line.as_bytes())
                    .await
                    .map_err(|error| lost(name, &error))?;
            }
            Ok(pipe)
        };
        let pipe = tokio::time::timeout(SETTLE, start).await.unwrap_or_else(|_| {
            let seconds = SETTLE.as_secs();
            let message = format!("{name}: the host is connected but starts no session in {seconds} s");
            Err(TransportError::connect(message).hint(format!("look at the host: hactl ssh {name}")))
        })?;
        let (heard, early) = watch::channel(Vec::new());
        let mut stderr = pipe.stderr;
        tokio::spawn(async move {
            let mut chunk = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut chunk).await {
                heard.send_if_modified(|early| {
                    let room = early.len() < EARLY_LIMIT;
                    if room {
                        early.extend_from_slice(&chunk[..n]);
                    }
                    room
                });
            }
        });
        Ok(Session {
            connection,
            stdin: Arc::new(Mutex::new(pipe.stdin)),
            stdout: pipe.stdout,
            exit: Some(pipe.exit),
            buffer: Vec::new(),
            early,
            heart: None,
            greeted: false,
            broken: false,
            trips: 0,
            name: name.to_owned(),
            elevation,
        })
    }

    /// Requests made so far: each is one round trip.
    pub fn round_trips(&self) -> u32 {
        self.trips
    }

    /// What carries this session.
    pub fn backend(&self) -> &'static str {
        self.connection.backend()
    }

    /// A handle that can run a short command beside the session, e.g. to stop what the session runs.
    pub fn aside(&self) -> Aside {
        Aside {
            connection: Arc::clone(&self.connection),
            elevation: self.elevation.clone(),
        }
    }

    /// Runs `script`, whose standard input is `payload`; pieces of the answer go to `sink` as they come. Gives the script's
    /// status. Beyond its limits the session is given up; a plain [`Duration`] is the longest silence.
    ///
    /// # Errors
    /// Connection lost, framing broken, answer too large or too slow, silence. After an error the session is unusable.
    pub async fn run(
        &mut self,
        script: &str,
        payload: &[u8],
        limits: impl Into<Limits>,
        sink: &mut (dyn FnMut(Piece) + Send),
    ) -> Result<i32, TransportError> {
        let limits = limits.into();
        if self.broken {
            return Err(TransportError::lost(format!("{}: the session is closed", self.name)));
        }
        self.broken = true;
        self.trips += 1;
        if self.elevation.first_line().is_some() && !self.greeted {
            self.root_shell().await?;
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let mut request = format!("hactl {token} {}\n{script}", script.len()).into_bytes();
        request.extend_from_slice(payload);

        let started = tokio::time::Instant::now();
        let stdin = Arc::clone(&self.stdin);
        let Session {
            stdout,
            buffer,
            greeted,
            name,
            ..
        } = self;
        let write = async move {
            let mut stdin = stdin.lock().await;
            stdin.write_all(&request).await?;
            stdin.flush().await
        };
        let mut write = std::pin::pin!(write);
        let mut written = false;
        let mut answer = Answer {
            prefix: format!("\n\x1e{token} ").into_bytes(),
            greeted,
            sink,
            left: limits.bytes,
        };
        let late = async {
            match limits.total {
                Some(total) => tokio::time::sleep(total).await,
                None => std::future::pending().await,
            }
        };
        let mut late = std::pin::pin!(late);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(status) = answer.take(buffer).map_err(|error| error.named(name))? {
                self.broken = !written;
                self.beat();
                return Ok(status);
            }
            tokio::select! {
                result = &mut write, if !written => {
                    written = true;
                    // A far side that ended first is explained by what it said; read on.
                    drop(result);
                }
                read = stdout.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => return Err(self.ended().await),
                    Ok(n) => buffer.extend_from_slice(&chunk[..n]),
                },
                () = tokio::time::sleep_until(started + ROOT_PATIENCE), if !*answer.greeted => {
                    return Err(self.no_root_shell());
                }
                () = tokio::time::sleep(limits.silence) => {
                    return Err(TransportError::lost(format!("{name}: no answer for {} s", limits.silence.as_secs()))
                        .hint(format!("look at the host: hactl ssh {name}")));
                }
                () = &mut late => {
                    let total = limits.total.unwrap_or_default().as_secs();
                    return Err(TransportError::lost(format!("{name}: the answer has not ended after {total} s"))
                        .hint(format!("look at the host: hactl ssh {name}")));
                }
            }
        }
    }

    /// Waits until sudo took the password: what is sent before would be its next attempt at one.
    async fn root_shell(&mut self) -> Result<(), TransportError> {
        let end = tokio::time::Instant::now() + ROOT_PATIENCE;
        let mut chunk = vec![0; 4096];
        let mut listening = true;
        while !greeting(&mut self.buffer).map_err(|error| error.named(&self.name))? {
            tokio::select! {
                read = self.stdout.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => return Err(self.ended().await),
                    Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                },
                heard = self.early.changed(), if listening => {
                    listening = heard.is_ok();
                    if self.elevation.was_refused(&self.early.borrow()) {
                        return Err(self.elevation.explain(&self.name, &self.said()));
                    }
                }
                () = tokio::time::sleep_until(end) => return Err(self.no_root_shell()),
            }
        }
        self.greeted = true;
        Ok(())
    }

    fn no_root_shell(&self) -> TransportError {
        let (name, seconds) = (&self.name, ROOT_PATIENCE.as_secs());
        let said = self.said();
        let said = if said.is_empty() { "nothing was said" } else { &said };
        TransportError::connect(format!("{name}: no root shell within {seconds} s: {said}"))
            .hint(format!("see what a login there takes so long for: hactl ssh {name}"))
    }

    /// What came instead of an answer, fit for a terminal.
    fn said(&self) -> String {
        let mut said = self.early.borrow().clone();
        said.extend(self.buffer.iter().take(EARLY_LIMIT));
        said.truncate(2 * EARLY_LIMIT);
        terminal(String::from_utf8_lossy(&said).trim())
    }

    /// From now on the host hears every few seconds that there is somebody: an empty line, which its shell skips.
    fn beat(&mut self) {
        let stdin = &self.stdin;
        self.heart.get_or_insert_with(|| {
            let stdin = Arc::clone(stdin);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(HEARTBEAT).await;
                    let mut stdin = stdin.lock().await;
                    if stdin.write_all(b"\n").await.is_err() || stdin.flush().await.is_err() {
                        break;
                    }
                }
            })
        });
    }

    /// The far side is gone: says why as well as can be known.
    async fn ended(&mut self) -> TransportError {
        let exit = self.exit_within(Duration::from_secs(3)).await.unwrap_or(Exit::Lost);
        let rest = async { while self.early.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        let said = self.said();
        let name = &self.name;
        if self.greeted {
            return match exit {
                Exit::Lost => TransportError::lost(format!("{name}: connection lost")),
                Exit::Code(code) => TransportError::lost(format!("{name}: the session ended with status {code}")),
                Exit::Signal(signal) => TransportError::lost(format!("{name}: the session was killed ({signal})")),
            };
        }
        // The system's ssh connects only now: its own failures come out here with status 255.
        if let Some(error) = self.connection.explain(&exit, &said) {
            return error;
        }
        self.elevation.explain(name, &said)
    }

    /// How the far side ended, when it does so in time and has not been asked before.
    async fn exit_within(&mut self, limit: Duration) -> Option<Exit> {
        let exit = tokio::time::timeout(limit, self.exit.as_mut()?).await.ok();
        if exit.is_some() {
            self.exit = None;
        }
        exit
    }

    /// Ends the shell and the connection. `settled`: waits (bounded) until the shell is really gone, and with it the lock
    /// that it holds.
    pub async fn close(mut self, settled: bool) {
        if let Some(heart) = self.heart.take() {
            heart.abort();
            let _ = heart.await;
        }
        let work = async {
            {
                let mut stdin = self.stdin.lock().await;
                let _ = stdin.shutdown().await;
                // For a pipe to a local process only dropping it is end of file.
                *stdin = Box::pin(tokio::io::sink());
            }
            if settled {
                self.exit_within(Duration::from_secs(5)).await;
            }
            self.connection.close().await;
        };
        let _ = tokio::time::timeout(SETTLE, work).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(heart) = &self.heart {
            heart.abort();
        }
    }
}

fn lost(name: &str, error: &dyn std::fmt::Display) -> TransportError {
    TransportError::lost(format!("{name}: connection lost: {error}"))
}

impl TransportError {
    fn named(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }
}

/// Runs commands beside a session, on the same connection.
#[derive(Clone)]
pub struct Aside {
    connection: Arc<dyn Connection>,
    elevation: Elevation,
}

impl Aside {
    /// Runs a short script as root; its output does not matter. Bounded in time.
    pub async fn run(&self, script: &str) -> Result<(), TransportError> {
        let work = async {
            let mut pipe = self.connection.open(&self.elevation.wrap(script)).await?;
            if let Some(line) = self.elevation.first_line() {
                pipe.stdin.write_all(line.as_bytes()).await.ok();
            }
            pipe.stdin.shutdown().await.ok();
            drop(pipe.stdin);
            pipe.exit.await;
            Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(10), work).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::lost("no answer on a second channel")),
        }
    }
}
