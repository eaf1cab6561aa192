//! The ssh transports against a real sshd on loopback.

mod common;

use std::sync::Arc;

use common::sshd::Sshd;
use hactl::inventory::Host;
use hactl::transport::auto::{Connector, Options};
use hactl::transport::prompt::{NoPrompt, Prompt};
use hactl::transport::sshconfig::Sources;
use hactl::transport::{Connect, Connection, Exit, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connector that lives in the sshd's temporary home.
fn connector(sshd: &Sshd) -> Connector {
    connector_with(sshd, false, Arc::new(NoPrompt))
}

fn connector_with(sshd: &Sshd, accept_new_host_keys: bool, prompt: Arc<dyn Prompt>) -> Connector {
    let sources = Sources {
        home: sshd.home(),
        config: None,
        system_config: sshd.root.path().join("no_ssh_config"),
    };
    Connector::new(Options {
        accept_new_host_keys,
        prompt,
        sources,
    })
}

struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Exit,
}

/// Runs a command with some input, reading both outputs as they come.
async fn run(connection: &dyn Connection, command: &str, input: &[u8]) -> Result<Outcome, TransportError> {
    let mut pipe = connection.open(command).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut stdin = pipe.stdin;
    let write = async {
        // The command may end before it read everything.
        let _ = stdin.write_all(input).await;
        let _ = stdin.shutdown().await;
    };
    let (_, out, err) = tokio::join!(
        write,
        pipe.stdout.read_to_end(&mut stdout),
        pipe.stderr.read_to_end(&mut stderr)
    );
    out.unwrap();
    err.unwrap();
    Ok(Outcome {
        stdout,
        stderr,
        exit: pipe.exit.await,
    })
}

async fn hello(connector: &Connector, host: &Host) -> Result<(), TransportError> {
    let connection = connector.connect(host).await?;
    let outcome = run(&*connection, "echo hello", b"").await?;
    assert_eq!(outcome.exit, Exit::Code(0));
    assert_eq!(outcome.stdout, b"hello\n");
    connection.close().await;
    Ok(())
}

#[tokio::test]
async fn native_says_hello() {
    let sshd = Sshd::start("");
    sshd.know();
    hello(&connector(&sshd), &sshd.host("db1")).await.unwrap();
}
