use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use llm_gate::address::ClientAddress;

use super::error::ApiError;
use crate::app::App;

/// The longest body that is read for somebody whose address has nothing left: a secret and a password.
const MOST: usize = 2048;
/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Finds out whose a request is by the secret in its body, where that decides whether it passes: its address has nothing left.
pub(super) async fn read(State(app): State<App>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>();
    let used_up = address.is_some_and(|address| app.rates.address.is_used_up(address.network()));
    let asks = used_up && request.method() == Method::POST && is_short(&request);
    // Who shows it by the headers need not be asked.
    if !asks
        || (app.vouch)
            .request(request.headers(), request.extensions())
            .is_some()
    {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let read = tokio::time::timeout(TIMEOUT, to_bytes(body, MOST)).await;
    let Some(body) = read.ok().and_then(Result::ok) else {
        let (status, words) = (
            StatusCode::REQUEST_TIMEOUT,
            "the body ended early, or takes too long",
        );
        return ApiError::new(status, words).into_response();
    };
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
