//! The gateway's words in place of those of hyper and h2.
//!
//! What these cannot read, or do not want to, they answer by themselves, before there is a request to serve. A stream around
//! the socket knows such an answer when it is written, and writes what the edge says in its place, or beside it. No byte of
//! another answer may ever be taken for one of those, whatever is in its body.
//!
//! # HTTP/1.1
//!
//! Hyper answers with a bare 400, 414 or 431, without id, headers or body, and then closes the connection. It is one only
//! where all of this holds:
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
//! # HTTP/2
//!
//! The `h2` crate answers headers beyond what it reads with a frame that has the status 431 and ends the stream. (Whatever
//! else is wrong there it resets, or it says goodbye: nothing of that is an answer.) What the edge says in its headers is
//! appended to the block of that frame, in literals that are in no table, so the table of the connection stays as h2 knows
//! it. There is no body: h2 counts what may be sent of bodies, and would not know of it. A frame is one of these where all
//! of this holds:
//!
//! - It begins where the one before it ends. Nothing but frames is written from the first byte on, and each is followed by
//!   its length.
//! - It has headers, all of them, ends its stream, and is no longer than a status needs. Answers of our own are longer: each
//!   has an id that was never said before, so no table has it. And they end with a body or with these headers: the trailers
//!   of a model server are left out ([`Counted`](super::requests::Counted)).
//! - It is there as a whole when its first byte is to be written. So h2 writes: it encodes headers in one piece, and keeps
//!   what it was not told to be written.

mod http1;
mod http2;

use std::future::ready as at_once;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::response::Response;
use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt;

use self::http2::Frames;
use super::requests::Requests;
use crate::edge::{Peer, stand_in};

/// A stream that says in the gateway's words what hyper and h2 say by themselves.
pub(super) struct Unparsed<S> {
    inner: S,
    requests: Arc<Requests>,
    refusals: Router,
    peer: Peer,
    /// Whether all that hyper has begun to write was followed by a flush.
    flushed: bool,
    /// Whether hyper speaks HTTP/1, from its first word on.
    http1: Option<bool>,
    /// What was written so far, where it does not.
    frames: Frames,
    /// What is written in place of an answer of their own.
    instead: Option<Instead>,
}

struct Instead {
    /// How many bytes of theirs it stands for.
    length: usize,
    words: Words,
}

enum Words {
    Sought(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    Found(Bytes),
}

impl<S> Unparsed<S> {
    /// Lets `refusals` answer in place of hyper where none of `requests` is answered. They come from `peer`.
    pub(super) fn new(inner: S, requests: Arc<Requests>, refusals: Router, peer: Peer) -> Self {
        Self {
            inner,
            requests,
            refusals,
            peer,
            flushed: true,
            http1: None,
            frames: Frames::default(),
            instead: None,
        }
    }

    /// Looks at what is about to be written, of which the first piece is not empty. Returns in which piece, and where in that,
    /// an answer begins that is to be looked at again when all before was written.
    fn look(&mut self, pieces: &[io::IoSlice<'_>]) -> Option<(usize, usize)> {
        let (first, more) = pieces.split_first()?;
        let word = || first.starts_with(b"HTTP/1.");
        if !*self.http1.get_or_insert_with(word) {
            return self.look_at_frames(pieces);
        }
        let only = more.iter().all(|piece| piece.is_empty());
        let certain = only && self.flushed && self.requests.none();
        self.flushed = false;
        if let Some(bare) = certain.then(|| http1::Bare::read(first)).flatten() {
            let (line, date) = (bare.line.to_owned(), bare.date.to_owned());
            self.replace(first.len(), bare.status, |response| {
                http1::write_down(line, date, response)
            });
        }
        None
    }

    fn look_at_frames(&mut self, pieces: &[io::IoSlice<'_>]) -> Option<(usize, usize)> {
        let mut frames = self.frames;
        for (place, piece) in pieces.iter().enumerate() {
            let Some((offset, bare)) = frames.find(piece) else {
                continue;
            };
            if (place, offset) != (0, 0) {
                return Some((place, offset));
            }
            let (stream, block) = (bare.stream, bare.block.to_vec());
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            self.replace(bare.length(), status, move |response| {
                at_once(http2::write_down(stream, block, &response))
            });
            break;
        }
        None
    }

    /// Lets the edge answer in place of the next `length` bytes.
    fn replace<W>(
        &mut self,
        length: usize,
        status: StatusCode,
        write_down: impl FnOnce(Response) -> W + Send + 'static,
    ) where
        W: Future<Output = Bytes> + Send + 'static,
    {
        let request = stand_in(self.peer, status);
        let response = self.refusals.clone().oneshot(request);
        let words = async move {
            let Ok(response) = response.await;
            write_down(response).await
        };
        self.instead = Some(Instead {
            length,
            words: Words::Sought(Box::pin(words)),
        });
    }
}

impl<S: AsyncWrite + Unpin> Unparsed<S> {
    /// Writes what stands in place of an answer of their own, if there is something, and says how long that was.
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let empty = pieces.iter().take_while(|piece| piece.is_empty()).count();
        let pieces = &pieces[empty..];
        let stop = match self.instead {
            Some(_) => None,
            None => self.look(pieces),
        };
        if let Some(length) = ready!(self.poll_instead(cx))? {
            self.instead = None;
            let shown = pieces.first().map_or(0, |piece| piece.len());
            return Poll::Ready(Ok(length.min(shown)));
        }
        let inner = Pin::new(&mut self.inner);
        let written = ready!(match (stop, pieces) {
            (Some((0, offset)), [first, ..]) => inner.poll_write(cx, &first[..offset]),
            (Some((place, _)), _) => inner.poll_write_vectored(cx, &pieces[..place]),
            (None, [only]) => inner.poll_write(cx, only),
            (None, _) => inner.poll_write_vectored(cx, pieces),
        })?;
        if self.http1 == Some(false) {
            let mut left = written;
            for piece in pieces {
                let passed = left.min(piece.len());
                self.frames.pass(&piece[..passed]);
                left -= passed;
            }
        }
        Poll::Ready(Ok(written))
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

#[cfg(test)]
mod tests;
