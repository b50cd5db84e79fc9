//! What every answer gets, errors included: an id, a line in the log, metrics, security headers, and a
//! sanitised 500 where a handler panics.

mod body;
mod failures;
mod headers;
mod observe;
mod unread;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use http::Uri;
use llm_gate::error::Envelope;
use tower_http::cors::CorsLayer;

pub use self::body::ObservedBody;
pub use self::headers::Hardening;
pub use self::observe::{Caller, X_REQUEST_ID};
pub use self::unread::UnreadGuard;

/// Puts the edge around all routes.
pub fn around(routes: Router, hardening: Hardening, cors: Option<CorsLayer>) -> Router {
    // A router runs the layer that was added last first, so this reads from the inside out.
    let routes = match cors {
        // Answers preflights itself, before anything asks who is calling.
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes
        // A panic below becomes a 500 here, and no 500 says what happened …
        .layer(from_fn(failures::contain))
        // … and each gets its headers like any other answer.
        .layer(from_fn_with_state(hardening, headers::harden))
        // Gives the request its id and watches it to the end of its body.
        .layer(from_fn(observe::observe))
}

/// Returns the JSON form of errors below this path.
pub(crate) fn envelope(uri: &Uri) -> Envelope {
    match uri.path() {
        "/v1" | "/chat/completions" => Envelope::OpenAi,
        path if path.starts_with("/v1/") => Envelope::OpenAi,
        _ => Envelope::Detail,
    }
}
