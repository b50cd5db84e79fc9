use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::GateBody;
use crate::error::{Envelope, Rejection};
use crate::tokens::{Metered, Usage};

use super::MeterBody;
use super::scan::{Scanner, whole};
use super::service::Plan;

pin_project! {
    /// The future of [`TokenMeterService`](super::TokenMeterService): waits for the head, and for the
    /// whole of an answer that is not a stream.
    pub struct MeterFuture<F, B> {
        #[pin]
        state: State<F, B>,
        plan: Plan,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, B> {
        Calling { #[pin] future: F },
        Collecting { #[pin] body: B, answer: Option<Answer> },
    }
}

/// An answer that is not a stream, as far as it has been read.
struct Answer {
    parts: response::Parts,
    first: Bytes,
    more: BytesMut,
}

impl Answer {
    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
        } else {
            self.more.extend_from_slice(&data);
        }
    }

    fn finish(self) -> (response::Parts, Bytes) {
        let body = if self.more.is_empty() {
            self.first
        } else {
            [&self.first[..], &self.more[..]].concat().into()
        };
        (self.parts, body)
    }
}

impl<F, B> MeterFuture<F, B> {
    pub(super) const fn new(future: F, plan: Plan) -> Self {
        Self {
            state: State::Calling { future },
            plan,
        }
    }
}

impl<F, B, E> Future for MeterFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<MeterBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjected::Calling { future } => {
                    let response = ready!(future.poll(cx))?;
                    match kind(&response) {
                        Kind::Stream => return Poll::Ready(Ok(stream(response, this.plan))),
                        Kind::Other => return Poll::Ready(Ok(other(response))),
                        Kind::Whole => {
                            let (parts, body) = response.into_parts();
                            let answer = Answer {
                                parts,
                                first: Bytes::new(),
                                more: BytesMut::new(),
                            };
                            this.state.set(State::Collecting {
                                body,
                                answer: Some(answer),
                            });
                        }
                    }
                }
                StateProjected::Collecting { body, answer } => {
                    let held = answer.as_mut().expect("taken when the answer is whole");
                    let read = ready!(poll_whole(body, held, this.plan.json_limit, cx));
                    let answer = answer.take().expect("taken when the answer is whole");
                    return Poll::Ready(Ok(match read {
                        Ok(()) => json(answer),
                        Err(why) => unusable(why),
                    }));
                }
            }
        }
    }
}

enum Kind {
    /// Server-sent events.
    Stream,
    /// A whole answer with usage in it.
    Whole,
    /// Refusals, and answers that only their headers tell about.
    Other,
}

/// Tells what an answer is by its status and content type alone: what was asked for says nothing.
fn kind<B>(response: &Response<B>) -> Kind {
    if !response.status().is_success() {
        return Kind::Other;
    }
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    match kind.map(|kind| kind.split(';').next().unwrap_or_default().trim()) {
        Some(kind) if kind.eq_ignore_ascii_case("text/event-stream") => Kind::Stream,
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Kind::Whole,
        _ => Kind::Other,
    }
}

fn stream<B: Body>(response: Response<B>, plan: &Plan) -> Response<MeterBody<B>> {
    let metered = Metered::new();
    let scanner = Scanner::new(plan.policy, plan.choices, plan.n, metered.clone());
    let mut response = response.map(|body| MeterBody::stream(body, scanner, plan.sent));
    response.headers_mut().remove(CONTENT_LENGTH);
    response.extensions_mut().insert(metered);
    response
}

fn other<B: Body>(response: Response<B>) -> Response<MeterBody<B>> {
    let metered = Metered::new();
    if response.status().is_success() {
        if let Some(usage) = in_header(response.headers()) {
            metered.report(usage);
        }
        // Nobody here can tell where such an answer ends.
        metered.complete();
    }
    let mut response = response.map(MeterBody::pass);
    response.extensions_mut().insert(metered);
    response
}

/// Reads the usage of an embedding in bytes, which vLLM puts into a header named `metadata`.
fn in_header(headers: &HeaderMap) -> Option<Usage> {
    whole(headers.get("metadata")?.as_bytes())
}

fn json<B: Body>(answer: Answer) -> Response<MeterBody<B>> {
    let (parts, body) = answer.finish();
    let metered = Metered::new();
    if let Some(usage) = whole(&body) {
        metered.report(usage);
    }
    metered.complete();
    let mut response = Response::from_parts(parts, MeterBody::whole(body));
    response.extensions_mut().insert(metered);
    response
}

/// Nothing of the answer is delivered, so nothing of it is charged.
fn unusable<B: Body>(why: &'static str) -> Response<MeterBody<B>> {
    tracing::warn!(why, "an answer of the upstream cannot be used");
    Rejection::new(StatusCode::BAD_GATEWAY, "upstream_error", why)
        .code("bad_gateway")
        .into_response(Envelope::OpenAi)
        .map(|own: GateBody<B>| MeterBody::own(own))
}

/// Reads the whole answer.
fn poll_whole<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    answer: &mut Answer,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), &'static str>> {
    loop {
        if body.is_end_stream() {
            return Poll::Ready(Ok(()));
        }
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(Ok(())),
            Some(Err(_)) => return Poll::Ready(Err("the upstream's answer was cut short")),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if answer.len().saturating_add(data.len()) > limit {
                        return Poll::Ready(Err("the upstream's answer is too long"));
                    }
                    answer.push(data);
                }
            }
        }
    }
}
