use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, request};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::GateBody;
use crate::error::{Envelope, Rejection};
use crate::identity::ConversationId;

use super::service::{too_large, understand};
use super::{CallLayer, Route};

pin_project! {
    /// The future of [`CallService`](super::CallService): reads the body, then forwards.
    pub struct CallFuture<B, S: Service<Request<Full<Bytes>>>> {
        #[pin]
        state: State<B, S, S::Future>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<B, S, F> {
        Reading { #[pin] body: B, reading: Option<Reading<S>> },
        Forwarding { #[pin] future: F },
        Refused { rejection: Option<Rejection> },
    }
}

struct Reading<S> {
    config: Arc<CallLayer>,
    head: (Route, Option<ConversationId>),
    service: S,
    parts: request::Parts,
    read: Collected,
}

/// What was read so far; a body in one frame is kept as it is.
#[derive(Default)]
struct Collected {
    first: Bytes,
    more: BytesMut,
}

impl Collected {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&data);
    }

    fn len(&self) -> usize {
        if self.more.is_empty() {
            self.first.len()
        } else {
            self.more.len()
        }
    }

    fn finish(self) -> Bytes {
        if self.more.is_empty() {
            self.first
        } else {
            self.more.freeze()
        }
    }
}

impl<B, S: Service<Request<Full<Bytes>>>> CallFuture<B, S> {
    pub(super) const fn refused(rejection: Rejection) -> Self {
        Self {
            state: State::Refused {
                rejection: Some(rejection),
            },
        }
    }

    pub(super) fn reading(
        config: Arc<CallLayer>,
        head: (Route, Option<ConversationId>),
        service: S,
        request: Request<B>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let reading = Reading {
            config,
            head,
            service,
            parts,
            read: Collected::default(),
        };
        Self {
            state: State::Reading {
                body,
                reading: Some(reading),
            },
        }
    }
}

/// Reads on until the body has ended.
fn poll_read<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    read: &mut Collected,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Rejection>> {
    while !body.is_end_stream() {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => break,
            Some(Err(_)) => {
                return Poll::Ready(Err(Rejection::bad_request("the body ended early")));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if read.len().saturating_add(data.len()) > limit {
                        return Poll::Ready(Err(too_large(limit)));
                    }
                    read.push(data);
                }
            }
        }
    }
    Poll::Ready(Ok(()))
}

impl<B, S, R> Future for CallFuture<B, S>
where
    B: Body<Data = Bytes>,
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
{
    type Output = Result<Response<GateBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut state = self.as_mut().project().state;
            let next = match state.as_mut().project() {
                StateProjected::Reading { body, reading } => {
                    let pending = reading
                        .as_mut()
                        .expect("taken once, when the body has ended");
                    let read = ready!(poll_read(
                        body,
                        &mut pending.read,
                        pending.config.body_limit,
                        cx
                    ));
                    let done = reading.take().expect("taken once, when the body has ended");
                    match read
                        .and_then(|()| understand(&done.config, done.head, done.read.finish()))
                    {
                        Err(rejection) => State::Refused {
                            rejection: Some(rejection),
                        },
                        Ok(call) => {
                            let (mut parts, mut service) = (done.parts, done.service);
                            let body = Full::new(call.body().clone());
                            parts.extensions.insert(call);
                            State::Forwarding {
                                future: service.call(Request::from_parts(parts, body)),
                            }
                        }
                    }
                }
                StateProjected::Forwarding { future } => {
                    return future
                        .poll(cx)
                        .map_ok(|response| response.map(GateBody::inner));
                }
                StateProjected::Refused { rejection } => {
                    let rejection = rejection.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(rejection.into_response(Envelope::OpenAi)));
                }
            };
            state.set(next);
        }
    }
}
