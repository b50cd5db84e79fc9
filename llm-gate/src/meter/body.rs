use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::GateBody;
use crate::error::{Envelope, Rejection};

use super::scan::{Scanner, TooLong};

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
    /// When the request was sent, until the first event is there.
    sent: Option<Instant>,
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
    pub(super) fn stream(body: B, scanner: Scanner, sent: Instant) -> Self {
        Self {
            inner: GateBody::inner(body),
            stream: Some(Box::new(Stream {
                scanner,
                after: After::Inner,
                sent: Some(sent),
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
            match &stream.after {
                After::Inner => {}
                After::Pause(_) => {
                    stream.pause(cx);
                    return Poll::Pending;
                }
                _ => return Poll::Ready(stream.last()),
            }
            match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    };
                    match stream.scanner.push(data) {
                        Ok(events) if events.is_empty() => {}
                        Ok(events) => {
                            if let Some(sent) = stream.sent.take() {
                                metrics::histogram!("llm_gate_time_to_first_token_seconds")
                                    .record(sent.elapsed());
                            }
                            return Poll::Ready(Some(Ok(Frame::data(events))));
                        }
                        Err(TooLong(before)) => {
                            let why = "the upstream sent an event that is too long";
                            stream.after = stream.broken(before, why, None);
                        }
                    }
                }
                Some(Err(error)) => {
                    let why = "the upstream ended the stream early";
                    stream.after = stream.broken(Bytes::new(), why, Some(error));
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
    /// Returns what comes when the inner body has no more to give.
    fn last(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        match std::mem::replace(&mut self.after, After::End) {
            After::Event(event, error) => {
                self.after = error.map_or(After::End, After::Pause);
                Some(Ok(Frame::data(event)))
            }
            After::Pause(error) | After::Error(error) => Some(Err(error)),
            After::Inner | After::End => None,
        }
    }

    /// Gives the server time to write the last event. One that meets an error drops what it has not written
    /// yet, and it writes when a body has nothing to give for now.
    fn pause(&mut self, cx: &Context<'_>) {
        if let After::Pause(error) = std::mem::replace(&mut self.after, After::End) {
            self.after = After::Error(error);
            cx.waker().wake_by_ref();
        }
    }

    /// Ends the stream with an `error` event, behind what came `before` and the event that still waits.
    fn broken(&mut self, before: Bytes, why: &'static str, error: Option<E>) -> After<E> {
        tracing::warn!(why, "a stream ends early");
        let rejection = Rejection::new(http::StatusCode::BAD_GATEWAY, "upstream_error", why)
            .code("bad_gateway");
        let event = format!("data: {}\n\n", rejection.body(Envelope::OpenAi));
        let waiting = self.scanner.release().unwrap_or_default();
        After::Event(
            [&before[..], &waiting[..], event.as_bytes()]
                .concat()
                .into(),
            error,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use crate::meter::scan::Policy;
    use crate::tokens::Metered;

    use super::*;

    /// Breaks off at once.
    struct Broken;

    impl Body for Broken {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(Some(Err("gone")))
        }
    }

    #[test]
    fn an_error_leaves_time_to_write_the_event_before_it() {
        let scanner = Scanner::new(Policy::default(), 1, 1, Metered::new());
        let mut body = std::pin::pin!(MeterBody::stream(Broken, scanner, Instant::now()));
        let cx = &mut Context::from_waker(Waker::noop());
        let event = body.as_mut().poll_frame(cx);
        assert!(matches!(event, Poll::Ready(Some(Ok(_)))), "the event");
        let pause = body.as_mut().poll_frame(cx);
        assert!(
            pause.is_pending(),
            "hyper writes only when there is nothing to read"
        );
        let error = body.as_mut().poll_frame(cx);
        assert!(matches!(error, Poll::Ready(Some(Err("gone")))), "the error");
        let end = body.poll_frame(cx);
        assert!(matches!(end, Poll::Ready(None)), "the end");
    }
}
