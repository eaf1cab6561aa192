//! The ssh transports against a real sshd on loopback. What holds for both is tested with both.

mod common;

#[path = "ssh/login.rs"]
mod login;
#[path = "ssh/pipes.rs"]
mod pipes;
#[path = "ssh/reach.rs"]
mod reach;
#[path = "ssh/trust.rs"]
mod trust;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::sshd::Sshd;
use hactl::inventory::{Host, TransportKind};
use hactl::secret::Secret;
use hactl::transport::auto::{Connector, Options};
use hactl::transport::prompt::{NoPrompt, Prompt};
use hactl::transport::sshconfig::Sources;
use hactl::transport::{Connect, Connection, Exit, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BOTH: [TransportKind; 2] = [TransportKind::Native, TransportKind::OpenSsh];

/// A connector that lives in the sshd's temporary home and asks nobody.
fn connector(sshd: &Sshd) -> Connector {
    connector_with(sshd, "", false, Arc::new(NoPrompt))
}

/// One that accepts new hosts.
fn trusting(sshd: &Sshd) -> Connector {
    connector_with(sshd, "", true, Arc::new(NoPrompt))
}

/// `config` is the user's ssh configuration; without any the real user's is not read either.
fn connector_with(sshd: &Sshd, config: &str, accept_new_host_keys: bool, prompt: Arc<dyn Prompt>) -> Connector {
    let file = sshd.dot_ssh("config");
    std::fs::write(&file, config).unwrap();
    let sources = Sources {
        home: sshd.home(),
        config: Some(file),
        system_config: "/nonexistent".into(),
    };
    Connector::new(Options {
        accept_new_host_keys,
        prompt,
        sources,
    })
}

/// The sshd as a host of an inventory that names its files, since ssh takes its home from the password database.
fn host(sshd: &Sshd, transport: TransportKind) -> Host {
    let mut host = sshd.host("db1");
    host.ssh.transport = transport;
    host.ssh.identity_file = Some(sshd.dot_ssh("id_ed25519"));
    host.ssh.known_hosts = Some(sshd.dot_ssh("known_hosts"));
    host
}

fn with_key(mut host: Host, key: &Path) -> Host {
    host.ssh.identity_file = Some(key.to_owned());
    host
}

/// Answers with a fixed passphrase and counts the questions.
struct Answer {
    passphrase: &'static str,
    asked: AtomicUsize,
}

impl Answer {
    fn new(passphrase: &'static str) -> Arc<Self> {
        Arc::new(Answer {
            passphrase,
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Prompt for Answer {
    fn passphrase(&self, _question: &str) -> Option<Secret> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Some(Secret::new(self.passphrase))
    }
}

struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Exit,
}

/// Runs a command with some input, reading both outputs as they come.
async fn run(connection: &dyn Connection, command: &str, input: &[u8]) -> Result<Outcome, TransportError> {
    let pipe = connection.open(command).await?;
    let (mut stdin, mut out, mut err) = (pipe.stdin, pipe.stdout, pipe.stderr);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let write = async move {
        // The command may end before it read everything.
        let _ = stdin.write_all(input).await;
        let _ = stdin.shutdown().await;
    };
    let ((), out, err) = tokio::join!(write, out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
    out.unwrap();
    err.unwrap();
    let exit = pipe.exit.await;
    Ok(Outcome { stdout, stderr, exit })
}

/// Connects and runs a command that says hello.
async fn hello(connector: &Connector, host: &Host) -> Result<(), TransportError> {
    let connection = connector.connect(host).await?;
    let outcome = run(&*connection, "echo hello", b"").await?;
    assert_eq!(
        outcome.exit,
        Exit::Code(0),
        "{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
    assert_eq!(outcome.stdout, b"hello\n");
    connection.close().await;
    Ok(())
}

/// The message and the hint of a connection that must fail.
async fn refusal(connector: &Connector, host: &Host) -> String {
    let error = hello(connector, host).await.expect_err("must be refused");
    assert_eq!(error.stage, hactl::transport::Stage::Connect);
    format!("{}\n{}", error.message, error.hint.unwrap_or_default())
}

/// Asserts that a text holds all parts.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
