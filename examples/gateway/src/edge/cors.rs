use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::unparsed::Unparsed;

/// What scripts may send beside what browsers always let them, where they do not say what they want to send, or not in
/// a way that is repeated.
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-api-key, x-session-id");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
/// What scripts may read beside what browsers always let them.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, x-should-retry, x-llm-gate-clamped, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, \
     x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
     x-ratelimit-limit-cost, x-ratelimit-remaining-cost, x-ratelimit-reset-cost",
);
/// How long a list of header names is repeated, in bytes.
const MAX_REPEATED: usize = 1024;
/// How long a browser may remember, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The origins whose scripts may call the gateway: with a bearer, never with cookies, because credentials of
/// a browser are not allowed.
#[derive(Clone, Debug)]
pub struct Origins(Arc<[HeaderValue]>);

impl Origins {
    /// Takes origins as browsers write them; `None` where there are none.
    #[must_use]
    pub fn new(origins: &[String]) -> Option<Self> {
        let origins: Arc<[HeaderValue]> = origins
            .iter()
            .filter_map(|origin| origin.trim_end_matches('/').parse().ok())
            .collect();
        (!origins.is_empty()).then_some(Self(origins))
    }

    /// Returns the origin of a request if its scripts may read the answer. Of one that could not be read it is not known,
    /// and taken to be the only one there is.
    fn allowed(&self, request: &Request) -> Option<HeaderValue> {
        let unparsed = request.extensions().get::<Unparsed>();
        if unparsed.is_some_and(Unparsed::is_of_anybody) {
            return match &*self.0 {
                [only] => Some(only.clone()),
                _ => None,
            };
        }
        let origin = request.headers().get(ORIGIN)?;
        self.0.iter().find(|known| *known == origin).cloned()
    }
}

/// Answers preflights, before anything asks who is calling, and lets scripts of known origins read answers.
pub(super) async fn share(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    let origin = origins.allowed(&request);
    // What the answer depends on is for caches, also where the origin is not allowed or there is none.
    let (mut response, depends) = if is_preflight(&request) {
        let allowed = origin.is_some().then(|| sendable(request.headers()));
        (preflight(allowed), "origin, access-control-request-headers")
    } else {
        (next.run(request).await, "origin")
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static(depends));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns which headers a script of a known origin may send: those it asks for. Whoever is no browser sends any header
/// anyway, so nothing relies on a list of them; and packages send some that no list has for long, as OpenAI's for
/// JavaScript does, which says in headers of its own what it runs on.
fn sendable(headers: &HeaderMap) -> HeaderValue {
    let is_listed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-, ".contains(byte);
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let names = asked.filter(|names| {
        (1..=MAX_REPEATED).contains(&names.len()) && names.as_bytes().iter().all(is_listed)
    });
    names.cloned().unwrap_or(REQUEST_HEADERS)
}

/// Answers with the headers that a script may send; says nothing where it may call nothing.
fn preflight(allowed: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(names) = allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    }
    response
}
