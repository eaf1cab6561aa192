//! A queue of bytes between the connection and a reader, bounded by size.
//!
//! Both output streams of a command arrive on one connection. Each has a queue large enough that a reader who is busy
//! with one of them does not stop the other; beyond it the connection itself is held back, so memory stays bounded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Semaphore, mpsc};

/// Bytes that may wait for a reader.
const CAPACITY: usize = 8 << 20;

/// A new, empty queue.
pub fn queue() -> (Sink, Source) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(CAPACITY));
    (
        Sink {
            sender,
            room: room.clone(),
        },
        Source {
            receiver,
            room,
            head: Bytes::new(),
        },
    )
}

/// The writing end; dropping it is end of file.
pub struct Sink {
    sender: mpsc::UnboundedSender<Bytes>,
    room: Arc<Semaphore>,
}

impl Sink {
    /// Appends a chunk, waiting while the queue is full. Without a reader the chunk is dropped, so that a stream nobody
    /// listens to never holds the connection back.
    pub async fn push(&self, chunk: Bytes) {
        // A chunk larger than the queue could never fit; SSH packets are 32 KiB, so this is only arithmetic.
        let size = chunk.len().min(CAPACITY) as u32;
        if let Ok(permit) = self.room.acquire_many(size).await {
            permit.forget();
            let _ = self.sender.send(chunk);
        }
    }

    /// Resolves when the reader was dropped.
    pub async fn abandoned(&self) {
        self.sender.closed().await;
    }
}

/// The reading end.
pub struct Source {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    room: Arc<Semaphore>,
    /// What is left of the chunk being read.
    head: Bytes,
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.head.is_empty() {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(chunk) => self.head = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head.split_to(count));
        self.room.add_permits(count);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Wakes a writer that waits for room which will never come.
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_and_end() {
        let (sink, mut source) = queue();
        sink.push(Bytes::from("one ")).await;
        sink.push(Bytes::new()).await;
        sink.push(Bytes::from("two")).await;
        drop(sink);
        let mut text = String::new();
        source.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
    }

    #[tokio::test]
    async fn a_full_queue_holds_the_writer_back_until_it_is_read() {
        let (sink, mut source) = queue();
        sink.push(Bytes::from(vec![0; CAPACITY])).await;
        assert!(sink.push(Bytes::from(vec![1; 10])).now_or_never().is_none(), "no room");
        let mut ten = [9; 10];
        source.read_exact(&mut ten).await.unwrap();
        assert!(
            sink.push(Bytes::from(vec![1; 10])).now_or_never().is_some(),
            "room for ten"
        );
        assert!(sink.push(Bytes::from(vec![1])).now_or_never().is_none(), "full again");
    }

    #[tokio::test]
    async fn an_abandoned_queue_swallows() {
        let (sink, source) = queue();
        sink.push(Bytes::from(vec![0; CAPACITY])).await;
        drop(source);
        sink.push(Bytes::from(vec![0; CAPACITY])).await;
        sink.abandoned().await;
    }
}
