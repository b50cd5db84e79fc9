//! The gateway's words in place of hyper's own.
//!
//! What hyper cannot read over HTTP/1.1 it answers by itself, before there is a request to serve: with a bare 400, 414
//! or 431, without id, headers or body, and then it closes the connection. A stream around the socket knows such an
//! answer when hyper writes it, and writes what the edge says in its place.
//!
//! No byte of another answer may ever be taken for one of those, whatever is in its body. So it is one only where all of
//! this holds:
//!
//! - No request is under way: each is counted from when hyper passes it on until hyper has dropped the body of its answer,
//!   or its future.
//! - Nothing of an earlier answer is left to be written. Hyper flushes the stream only when its own buffer is empty; it has
//!   done so since the last request ended, and has begun to write nothing since.
//! - The connection has spoken HTTP/1 from its first byte on.
//! - What is to be written is the whole of such an answer, in hyper's very words, and nothing else.
//!
//! Hyper would also say it while an answer is left to be written: where the body of a request ends only when its answer is in
//! the buffer as a whole, what follows is read at once. So an answer that is given before is the last of its connection
//! ([`Received`](super::received::Received)), and what follows any other is read when that was flushed.
//!
//! Over HTTP/2 the `h2` crate answers header lists beyond what was announced with a 431 of its own, in frames, which this
//! never touches.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::response::Response;
use bytes::{Buf, Bytes};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt;

use super::requests::Requests;
use crate::edge::{Peer, stand_in};

/// How much an answer for what cannot be read may say.
const MAX_BODY: usize = 64 * 1024;
/// Hyper's own answers are shorter than this.
const MAX_BARE: usize = 256;

/// A stream that says in the gateway's words what hyper says by itself.
pub(super) struct Unparsed<S> {
    inner: S,
    requests: Arc<Requests>,
    refusals: Router,
    peer: Peer,
    /// Whether all that hyper has begun to write was followed by a flush.
    flushed: bool,
    /// Whether hyper speaks HTTP/1, from its first word on.
    http1: Option<bool>,
    /// What is written in place of hyper's own answer.
    instead: Option<Instead>,
}

struct Instead {
    /// How many bytes of hyper's it stands for.
    length: usize,
    words: Words,
}

enum Words {
    Sought(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    Found(Bytes),
}

impl<S> Unparsed<S> {
    /// Lets `refusals` answer in place of hyper where none of `requests` is answered. They come from `peer`.
    pub(super) const fn new(
        inner: S,
        requests: Arc<Requests>,
        refusals: Router,
        peer: Peer,
    ) -> Self {
        Self {
            inner,
            requests,
            refusals,
            peer,
            flushed: true,
            http1: None,
            instead: None,
        }
    }

    /// Looks at what hyper is about to write: `only` if that is one piece, which begins with `first`.
    fn look(&mut self, first: &[u8], only: bool) {
        if self.instead.is_some() || first.is_empty() {
            return;
        }
        let word = || first.starts_with(b"HTTP/1.");
        let http1 = *self.http1.get_or_insert_with(word);
        let certain = http1 && only && self.flushed && self.requests.none();
        self.flushed = false;
        if let Some(bare) = certain.then(|| Bare::read(first)).flatten() {
            let request = stand_in(self.peer, bare.status);
            let response = self.refusals.clone().oneshot(request);
            let (line, date) = (bare.line.to_owned(), bare.date.to_owned());
            let words = async move {
                let Ok(response) = response.await;
                write_down(&line, &date, response).await
            };
            self.instead = Some(Instead {
                length: first.len(),
                words: Words::Sought(Box::pin(words)),
            });
        }
    }
}

impl<S: AsyncWrite + Unpin> Unparsed<S> {
    /// Writes what stands in place of hyper's own answer, if there is something, and says how long that was.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let Some(instead) = &mut self.instead else {
            return Poll::Ready(Ok(None));
        };
        loop {
            match &mut instead.words {
                Words::Sought(words) => {
                    let words = ready!(words.as_mut().poll(cx));
                    instead.words = Words::Found(words);
                }
                Words::Found(words) if words.is_empty() => {
                    return Poll::Ready(Ok(Some(instead.length)));
                }
                Words::Found(words) => {
                    let written = ready!(Pin::new(&mut self.inner).poll_write(cx, words))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    words.advance(written);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unparsed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unparsed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(bytes, true);
        if let Some(length) = ready!(self.poll_instead(cx))? {
            self.instead = None;
            return Poll::Ready(Ok(length.min(bytes.len())));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        let first = full.next().map_or(&[][..], |slice| slice);
        let only = full.next().is_none();
        if only || self.instead.is_some() {
            return self.poll_write(cx, first);
        }
        self.look(first, only);
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_instead(cx))?.is_none() {
            self.flushed = true;
            self.requests.written();
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// An answer of hyper's own.
#[derive(Debug, PartialEq, Eq)]
struct Bare<'a> {
    line: &'a str,
    status: StatusCode,
    date: &'a str,
}

impl<'a> Bare<'a> {
    /// Reads `bytes` as the whole of such an answer.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let bytes = (bytes.len() <= MAX_BARE).then_some(bytes)?;
        let head = std::str::from_utf8(bytes).ok()?;
        let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
        let line = lines.next()?;
        // Whoever has asked for something over HTTP/1.0 before is answered over that, and need not be told of the end.
        let (version, reason) = line.split_once(' ')?;
        let closes = match version {
            "HTTP/1.1" => lines.next() == Some("connection: close"),
            version => version == "HTTP/1.0",
        };
        let (code, reason) = reason.split_once(' ')?;
        let status: StatusCode = code.parse().ok()?;
        let refuses = status.is_client_error() && status.canonical_reason() == Some(reason);
        let empty = lines.next() == Some("content-length: 0");
        let date = lines.next()?.strip_prefix("date: ")?;
        let good = closes && refuses && empty && lines.next().is_none();
        good.then_some(Self { line, status, date })
    }
}

/// Writes an answer down as HTTP/1 has it, with `line` as its first and the last of its connection.
async fn write_down(line: &str, date: &str, response: Response) -> Bytes {
    let (mut head, body) = response.into_parts();
    // A refusal is text that is there.
    let body = axum::body::to_bytes(body, MAX_BODY).await;
    let body = body.unwrap_or_default();
    for name in [CONNECTION, CONTENT_LENGTH, DATE] {
        head.headers.remove(name);
    }
    let mut bytes = Vec::with_capacity(1024);
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    write(&[line.as_bytes(), b"\r\nconnection: close\r\n"]);
    for (name, value) in &head.headers {
        write(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    let length = body.len().to_string();
    write(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    write(&[b"date: ", date.as_bytes(), b"\r\n\r\n", &body]);
    bytes.into()
}

#[cfg(test)]
mod tests;
