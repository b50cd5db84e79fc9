use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail when the other side reads nothing for a while.
///
/// A body is not polled while its client reads nothing, so no deadline inside a body can end such a
/// connection: this one does.
#[derive(Debug)]
pub struct StallGuard<S> {
    inner: S,
    limit: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Runs until so many bytes were read that it is clear what the client speaks.
    opening: Option<Opening>,
}

/// How many bytes tell HTTP/2 from HTTP/1.1. Whoever sends a call sends more.
const PREFACE: usize = 24;

#[derive(Debug)]
struct Opening {
    deadline: Pin<Box<Sleep>>,
    missing: usize,
}

impl<S> StallGuard<S> {
    /// Lets each write wait for at most `limit`.
    #[must_use]
    pub const fn new(inner: S, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            deadline: None,
            opening: None,
        }
    }

    /// Lets the client take at most `limit` for the first bytes of the connection. Nothing else bounds them:
    /// the time for a header block begins when it is known which HTTP it is.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use]
    pub fn opening(mut self, limit: Duration) -> Self {
        self.opening = Some(Opening {
            deadline: Box::pin(tokio::time::sleep(limit)),
            missing: PREFACE,
        });
        self
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let limit = self.limit;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client reads nothing",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let Some(opening) = &mut self.opening else {
            return polled;
        };
        if polled.is_ready() {
            opening.missing = opening
                .missing
                .saturating_sub(buffer.filled().len() - before);
            if opening.missing == 0 {
                self.opening = None;
            }
            return polled;
        }
        ready!(opening.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client says nothing",
        )))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut() {
        let (server, _client) = tokio::io::duplex(4);
        let mut server = StallGuard::new(server, LIMIT);
        let begun = Instant::now();
        let error = server.write_all(b"five!").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_cut() {
        for words in [&b""[..], b"PRI * HT"] {
            let (server, mut client) = tokio::io::duplex(64);
            let mut server = StallGuard::new(server, LIMIT).opening(LIMIT);
            client.write_all(words).await.expect("there is room");
            let error = server
                .read_to_end(&mut Vec::new())
                .await
                .expect_err("no more comes");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let (server, mut client) = tokio::io::duplex(64);
        let mut server = StallGuard::new(server, LIMIT).opening(LIMIT);
        client
            .write_all(&[b'x'; PREFACE])
            .await
            .expect("there is room");
        let read = tokio::time::timeout(LIMIT * 2, server.read_to_end(&mut Vec::new())).await;
        assert!(read.is_err(), "whoever has said something may think");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_wait_anew() {
        let (server, mut client) = tokio::io::duplex(4);
        let mut server = StallGuard::new(server, LIMIT);
        let slow = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..12 {
                tokio::time::sleep(LIMIT / 2).await;
                client.read_exact(&mut byte).await.expect("there is more");
            }
        });
        server
            .write_all(b"twelve bytes")
            .await
            .expect("somebody reads");
        slow.await.expect("no panic");
    }
}
