use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::GateBody;
use crate::error::{Envelope, Rejection};

use super::scan::Scanner;

pin_project! {
    /// The body of [`TokenMeterLayer`](super::TokenMeterLayer).
    ///
    /// A stream that its upstream breaks off ends with an `error` event and then with the upstream's
    /// error, so that the connection closes without `[DONE]` and no client takes it for whole.
    #[derive(Debug)]
    pub struct MeterBody<B: Body> {
        #[pin]
        inner: GateBody<B>,
        stream: Option<Box<Stream<B::Error>>>,
    }
}

/// What metering a stream needs.
#[derive(Debug)]
struct Stream<E> {
    scanner: Scanner,
    after: After<E>,
}

/// What comes when the inner body has no more to give.
#[derive(Debug)]
enum After<E> {
    /// It has more to give.
    Inner,
    /// This, then the error.
    Event(Bytes, Option<E>),
    /// A pause, then the error.
    Pause(E),
    /// The upstream's error.
    Error(E),
    /// Nothing.
    End,
}

impl<B: Body> MeterBody<B> {
    pub(super) fn stream(body: B, scanner: Scanner) -> Self {
        Self {
            inner: GateBody::inner(body),
            stream: Some(Box::new(Stream {
                scanner,
                after: After::Inner,
            })),
        }
    }

    pub(super) const fn pass(body: B) -> Self {
        Self::own(GateBody::inner(body))
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::own(GateBody::own(bytes))
    }

    pub(super) const fn own(body: GateBody<B>) -> Self {
        Self {
            inner: body,
            stream: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for MeterBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_deref_mut() else {
            return this.inner.poll_frame(cx);
        };
        loop {
            match std::mem::replace(&mut stream.after, After::End) {
                After::Inner => {}
                After::Event(event, error) => {
                    stream.after = error.map_or(After::End, After::Pause);
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                After::Pause(error) => {
                    // A server that meets an error drops what it has not written yet, and it writes when
                    // a body has nothing more to give for now: without this pause nobody reads the event.
                    stream.after = After::Error(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                After::Error(error) => return Poll::Ready(Some(Err(error))),
                After::End => return Poll::Ready(None),
            }
            stream.after = After::Inner;
            match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    };
                    match stream.scanner.push(data) {
                        Ok(events) if events.is_empty() => {}
                        Ok(events) => return Poll::Ready(Some(Ok(Frame::data(events)))),
                        Err(_) => {
                            stream.after =
                                stream.broken("the upstream sent an event that is too long", None)
                        }
                    }
                }
                Some(Err(error)) => {
                    stream.after =
                        stream.broken("the upstream ended the stream early", Some(error));
                }
                None => {
                    let last = stream.scanner.finish();
                    stream.after = if last.is_empty() {
                        After::End
                    } else {
                        After::Event(last, None)
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.stream {
            None => self.inner.is_end_stream(),
            // The scanner may have more to say when the inner body is done.
            Some(stream) => matches!(stream.after, After::End),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() {
            SizeHint::default()
        } else {
            self.inner.size_hint()
        }
    }
}

impl<E> Stream<E> {
    /// Ends the stream with an `error` event, behind the event that still waits.
    fn broken(&mut self, why: &'static str, error: Option<E>) -> After<E> {
        tracing::warn!(why, "a stream ends early");
        let rejection = Rejection::new(http::StatusCode::BAD_GATEWAY, "upstream_error", why)
            .code("bad_gateway");
        let event = format!("data: {}\n\n", rejection.body(Envelope::OpenAi));
        let event = match self.scanner.release() {
            Some(waiting) => [&waiting[..], event.as_bytes()].concat().into(),
            None => event.into(),
        };
        After::Event(event, error)
    }
}
