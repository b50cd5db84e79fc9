use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http::header::CONTENT_LENGTH;
use llm_gate::address::ClientAddress;

use crate::app::App;

/// The longest body that is read for somebody whose address has nothing left: a secret and a password.
const MOST: usize = 1024;
/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Finds out whose a request is by the secret in its body, where that decides whether it passes: its address has nothing left.
pub(super) async fn read(State(app): State<App>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>();
    let used_up = address.is_some_and(|address| app.rates.address.is_used_up(address.network()));
    if !used_up || request.method() != Method::POST || !is_short(&request) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // What does not come as a whole is of nobody.
    let read = tokio::time::timeout(TIMEOUT, to_bytes(body, MOST)).await;
    let body = read.ok().and_then(Result::ok).unwrap_or_default();
    if let Some(holder) = app.vouch.body(&body) {
        parts.extensions.insert(holder);
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

fn is_short(request: &Request) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length <= MOST)
}
