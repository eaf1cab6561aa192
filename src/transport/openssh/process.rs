//! A running ssh as a [`Pipe`].

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf, empty, sink};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, oneshot};

use super::log::Log;
use crate::transport::{Exit, Pipe};

/// Joins an authenticated ssh to a pipe. Dropping the whole pipe ends ssh.
pub fn pipe(mut child: Child, stdin: Option<ChildStdin>, mut log: Log) -> Pipe {
    let (held, mut abandoned) = mpsc::channel(1);
    let stdout = child.stdout.take().map(|inner| Held::new(inner, &held));
    let stderr = child.stderr.take().map(|inner| Held::new(inner, &held));
    let (exit_sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let status = tokio::select! {
            status = log.until_exit(&mut child) => status,
            _ = abandoned.recv() => {
                let _ = child.kill().await;
                return;
            }
        };
        let _ = exit_sender.send(judge(status, &log));
    });
    Pipe {
        stdin: match stdin {
            Some(stdin) => Box::pin(stdin),
            None => Box::pin(sink()),
        },
        stdout: match stdout {
            Some(stdout) => Box::pin(stdout),
            None => Box::pin(empty()),
        },
        stderr: match stderr {
            Some(stderr) => Box::pin(stderr),
            None => Box::pin(empty()),
        },
        exit: Box::pin(async move {
            let _held = held;
            exit.await.unwrap_or(Exit::Lost)
        }),
    }
}

/// What ssh's exit status means. 255 is said by a remote command, by a signal there, and by ssh itself when the
/// connection broke; its log tells which.
fn judge(status: Option<ExitStatus>, log: &Log) -> Exit {
    match status.and_then(|status| status.code()) {
        Some(255) if log.exit_status => Exit::Code(255),
        // ssh knows which one and does not say.
        Some(255) if log.exit_signal => Exit::Signal("unknown".to_owned()),
        Some(255) | None => Exit::Lost,
        Some(code) => Exit::Code(code),
    }
}

/// A stream that keeps ssh alive.
struct Held<R> {
    inner: R,
    _held: mpsc::Sender<Infallible>,
}

impl<R> Held<R> {
    fn new(inner: R, held: &mpsc::Sender<Infallible>) -> Self {
        Held {
            inner,
            _held: held.clone(),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Held<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}
