use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Extensions, Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Error, ResponseFuture};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::GateBody;
use crate::error::{Envelope, Rejection};
use crate::tokens::Unanswered;
use crate::upstream::UpstreamName;

use super::connect::Proven;
use super::error::{Passed, bad_gateway, refused, timeout};
use super::service::{Outgoing, Shared};
use super::{ProxyBody, headers};

/// How much of a refusal is read.
const REFUSAL: usize = 64 << 10;

pin_project! {
    /// The future of [`VllmProxyService`](super::VllmProxyService): waits for the head of the answer, and
    /// for the whole of a refusal.
    pub struct ProxyFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State {
        Sending {
            #[pin] answer: ResponseFuture,
            #[pin] alarm: Sleep,
            shared: Arc<Shared>,
            again: Option<(Request<()>, Bytes)>,
            ends: Instant,
        },
        Refusing {
            #[pin] body: Incoming,
            #[pin] alarm: Sleep,
            parts: Option<response::Parts>,
            read: BytesMut,
        },
        Done {
            rejection: Option<Rejection>,
            unanswered: bool,
            upstream: Option<UpstreamName>,
        },
    }
}

impl ProxyFuture {
    pub(super) fn not_found() -> Self {
        let rejection = Rejection::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "there is no such route",
        );
        Self {
            state: refuse(rejection.code("not_found"), None),
        }
    }

    /// Sends bytes that are at hand, so that they can be sent again.
    pub(super) fn repeatable(
        shared: Arc<Shared>,
        head: Request<()>,
        bytes: Bytes,
        stream: bool,
    ) -> Self {
        let request = head
            .clone()
            .map(|()| Either::Left(Full::new(bytes.clone())));
        Self::send(shared, request, Some((head, bytes)), stream)
    }

    /// Sends a body that is gone when it is sent.
    pub(super) fn once(shared: Arc<Shared>, request: Request<Outgoing>, stream: bool) -> Self {
        Self::send(shared, request, None, stream)
    }

    fn send(
        shared: Arc<Shared>,
        request: Request<Outgoing>,
        again: Option<(Request<()>, Bytes)>,
        stream: bool,
    ) -> Self {
        let upstream = &shared.upstream;
        let now = Instant::now();
        let ends = now + upstream.total_timeout;
        let head = if stream {
            upstream.stream_head_timeout
        } else {
            upstream.head_timeout
        };
        let alarm = sleep_until((now + head).min(ends));
        Self {
            state: State::Sending {
                answer: shared.pool.request(request),
                alarm,
                shared,
                again,
                ends,
            },
        }
    }
}

impl Future for ProxyFuture {
    type Output = Result<Response<GateBody<ProxyBody>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut state = self.as_mut().project().state;
            let next = match state.as_mut().project() {
                StateProjected::Sending {
                    mut answer,
                    alarm,
                    shared,
                    again,
                    ends,
                } => match answer.as_mut().poll(cx) {
                    Poll::Pending => {
                        ready!(alarm.poll(cx));
                        unanswered(timeout(), shared.upstream.name.clone())
                    }
                    Poll::Ready(Err(error)) => {
                        match again.take().filter(|_| met_a_closed_connection(&error)) {
                            Some((head, bytes)) => {
                                answer.set(
                                    shared
                                        .pool
                                        .request(head.map(|()| Either::Left(Full::new(bytes)))),
                                );
                                continue;
                            }
                            None if error.is_connect() => {
                                refuse(unreachable(&error), shared.upstream.name.clone())
                            }
                            None => unanswered(unreachable(&error), shared.upstream.name.clone()),
                        }
                    }
                    Poll::Ready(Ok(response)) => {
                        Proven::note(response.extensions());
                        let status = response.status();
                        let (mut parts, body) = response.into_parts();
                        parts.headers = headers::response(&parts.headers);
                        parts.extensions.clear();
                        name(&mut parts.extensions, shared.upstream.name.clone());
                        if status.is_success() {
                            let body = ProxyBody::new(body, shared.upstream.idle_timeout, *ends);
                            parts.extensions.insert(body.abort());
                            return Poll::Ready(Ok(Response::from_parts(
                                parts,
                                GateBody::inner(body),
                            )));
                        }
                        let patience = Instant::now() + shared.upstream.idle_timeout;
                        State::Refusing {
                            body,
                            alarm: sleep_until(patience.min(*ends)),
                            parts: Some(parts),
                            read: BytesMut::new(),
                        }
                    }
                },
                StateProjected::Refusing {
                    body,
                    alarm,
                    parts,
                    read,
                } => {
                    let whole = match poll_refusal(body, read, cx) {
                        Poll::Ready(whole) => whole,
                        Poll::Pending => {
                            ready!(alarm.poll(cx));
                            false
                        }
                    };
                    let mut parts = parts.take().expect("taken once, when the refusal is read");
                    // A body that is cut or too long is in no shape at all.
                    let text = if whole { &read[..] } else { &[] };
                    match refused(parts.status, text) {
                        Passed::Instead(rejection) => refuse(rejection, parts.extensions.remove()),
                        Passed::AsItIs => {
                            let mut response =
                                Response::from_parts(parts, GateBody::own(read.split().freeze()));
                            let json = http::HeaderValue::from_static("application/json");
                            response.headers_mut().insert(CONTENT_TYPE, json);
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                StateProjected::Done {
                    rejection,
                    unanswered,
                    upstream,
                } => {
                    let rejection = rejection.take().expect("polled after it was ready");
                    let mut response = rejection.into_response(Envelope::OpenAi);
                    if *unanswered {
                        response.extensions_mut().insert(Unanswered);
                    }
                    name(response.extensions_mut(), upstream.take());
                    return Poll::Ready(Ok(response));
                }
            };
            state.set(next);
        }
    }
}

const fn refuse(rejection: Rejection, upstream: Option<UpstreamName>) -> State {
    State::Done {
        rejection: Some(rejection),
        unanswered: false,
        upstream,
    }
}

/// The request was sent, and there is no answer.
const fn unanswered(rejection: Rejection, upstream: Option<UpstreamName>) -> State {
    State::Done {
        rejection: Some(rejection),
        unanswered: true,
        upstream,
    }
}

/// Tells which upstream an answer is of, if that has a name.
fn name(extensions: &mut Extensions, upstream: Option<UpstreamName>) {
    if let Some(upstream) = upstream {
        extensions.insert(upstream);
    }
}

/// Reads a refusal; tells whether it came whole and is not too long.
fn poll_refusal(
    mut body: Pin<&mut Incoming>,
    read: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(true),
            Some(Err(_)) => return Poll::Ready(false),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if read.len() + data.len() > REFUSAL {
                        return Poll::Ready(false);
                    }
                    read.extend_from_slice(&data);
                }
            }
        }
    }
}

/// Tells whether a request may only have met a connection that the upstream was just closing: one that had
/// answered before and closed without a byte of an answer to this one.
fn met_a_closed_connection(error: &Error) -> bool {
    let Some(hyper) = error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>())
    else {
        return false;
    };
    // The close itself is the result of one read, a reset of none.
    let reads = if hyper.is_incomplete_message() {
        1
    } else {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let io = hyper
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>());
        match io.map(std::io::Error::kind) {
            Some(BrokenPipe | ConnectionAborted | ConnectionReset) => 0,
            _ => return false,
        }
    };
    error
        .connect_info()
        .is_some_and(|connected| Proven::is(connected, reads))
}

/// Says that there is no answer, and not why: addresses stay in the log.
fn unreachable(error: &Error) -> Rejection {
    let mut words = error.to_string();
    let mut cause = error.source();
    let mut timed_out = false;
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        let io = error.downcast_ref::<std::io::Error>();
        timed_out |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut);
        cause = error.source();
    }
    tracing::warn!(error = words, "the upstream gave no answer");
    if timed_out {
        timeout()
    } else {
        bad_gateway("the upstream cannot be reached")
    }
}
