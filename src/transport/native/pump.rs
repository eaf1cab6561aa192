//! A command on a channel: its three streams and its end.

use std::future::pending;

use bytes::{Bytes, BytesMut};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::oneshot;

use super::queue::{self, Sink};
use crate::transport::{Exit, Pipe};

/// Bytes of standard input that may wait for the host; a writer beyond that waits.
const STDIN_BUFFER: usize = 256 << 10;
/// What is put into one SSH packet at most.
const CHUNK: usize = 32 << 10;
/// SSH_EXTENDED_DATA_STDERR.
const STDERR: u32 = 1;

/// Joins a channel on which a command was requested to a [`Pipe`]. Dropping the whole pipe closes the channel.
pub fn pipe(channel: Channel<Msg>) -> Pipe {
    let (reader, writer) = channel.split();
    let (stdin, stdin_far) = tokio::io::duplex(STDIN_BUFFER);
    let (stdout_sink, stdout) = queue::queue();
    let (stderr_sink, stderr) = queue::queue();
    let (mut exit_sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            exit = receive(reader, &stdout_sink, &stderr_sink) => Some(exit),
            // Sending ends long before the command does; when the command ends first this arm is dropped, and with it
            // the far end of stdin, so a writer gets a broken pipe instead of waiting for window on a dead channel.
            () = async { send(&writer, stdin_far).await; pending().await } => None,
            () = async { stdout_sink.abandoned().await; stderr_sink.abandoned().await; exit_sender.closed().await } => None,
        };
        match outcome {
            Some(exit) => {
                let _ = exit_sender.send(exit);
            }
            None => {
                let _ = writer.close().await;
            }
        }
    });
    Pipe {
        stdin: Box::pin(stdin),
        stdout: Box::pin(stdout),
        stderr: Box::pin(stderr),
        exit: Box::pin(async move { exit.await.unwrap_or(Exit::Lost) }),
    }
}

/// Copies what the host sends to the queues until the channel closes, which may be long after the exit status: output
/// of the command can follow it.
async fn receive(mut reader: ChannelReadHalf, stdout: &Sink, stderr: &Sink) -> Exit {
    let mut exit = Exit::Lost;
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => stdout.push(data).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => stderr.push(data).await,
            ChannelMsg::ExitStatus { exit_status } => exit = Exit::Code(exit_status as i32),
            ChannelMsg::ExitSignal { signal_name, .. } => exit = Exit::Signal(name(&signal_name)),
            ChannelMsg::Failure => {
                let refusal = "the server refused to run a command (ForceCommand, a shell that does not exist?)\n";
                stderr.push(Bytes::from_static(refusal.as_bytes())).await;
                break;
            }
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    exit
}

/// Copies standard input to the channel, then sends end of file.
async fn send(writer: &ChannelWriteHalf<Msg>, mut stdin: DuplexStream) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        // The far end is in memory: it ends, it does not fail.
        if !matches!(stdin.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
        if writer.data_bytes(buffer.split()).await.is_err() {
            return;
        }
    }
    let _ = writer.eof().await;
}

/// A signal's name without `SIG`.
fn name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
