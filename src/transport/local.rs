//! This machine, without ssh: for a server that manages itself, and for tests of the protocol.

use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;

use super::{Connect, Connection, Exit, Pipe, TransportError};
use crate::inventory::Host;

/// This machine.
#[derive(Debug, Default)]
pub struct Local;

#[async_trait]
impl Connection for Local {
    async fn open(&self, command: &str) -> Result<Pipe, TransportError> {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| TransportError::connect(format!("cannot start sh: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(TransportError::connect("cannot start sh: no pipes"));
        };
        let exit = async move {
            match child.wait().await {
                Ok(status) => exit_of(status),
                Err(_) => Exit::Lost,
            }
        };
        Ok(Pipe {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            exit: Box::pin(exit),
        })
    }

    fn backend(&self) -> &'static str {
        "local"
    }

    async fn close(&self) {}
}

#[async_trait]
impl Connect for Local {
    async fn connect(&self, _: &Host) -> Result<Box<dyn Connection>, TransportError> {
        Ok(Box::new(Local))
    }
}

/// How a process of this machine ended.
pub fn exit_of(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal.to_string()),
        (None, None) => Exit::Lost,
    }
}
