use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// What scripts may send beside what browsers always let them.
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

    /// Returns the origin of a request if its scripts may read the answer.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.0.iter().find(|known| *known == origin).cloned()
    }
}

/// Answers preflights, before anything asks who is calling, and lets scripts of known origins read answers.
pub(super) async fn share(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    let origin = origins.allowed(request.headers());
    let mut response = if is_preflight(&request) {
        preflight(origin.is_some())
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // For caches, also where the origin is not allowed or there is none.
    headers.append(VARY, HeaderValue::from_static("origin"));
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

fn preflight(allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    }
    response
}
