//! A TCP stream whose acknowledgements are not held back.
//!
//! sshd writes two small packets in a row before it sets TCP_NODELAY, and a client whose kernel delays the
//! acknowledgement of the first one waits 40 ms for the second: half of a connection's time. Linux switches
//! TCP_QUICKACK off again by itself, so it is armed anew after every read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A [`TcpStream`] with TCP_NODELAY and, on Linux, TCP_QUICKACK held on.
#[derive(Debug)]
pub struct QuickAck(TcpStream);

impl QuickAck {
    /// Takes over a connected stream. A kernel that refuses the options only makes it slower, so that is no error.
    pub fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let stream = QuickAck(stream);
        stream.arm();
        stream
    }

    #[cfg(target_os = "linux")]
    fn arm(&self) {
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
    }

    #[cfg(not(target_os = "linux"))]
    fn arm(&self) {}
}

impl AsyncRead for QuickAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        if polled.is_ready() {
            self.arm();
        }
        polled
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
