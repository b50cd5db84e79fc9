//! What every answer gets, errors included: an id, a line in the log, metrics, security headers, and a
//! sanitised 500 where a handler panics.

mod address;
mod body;
mod cors;
mod failures;
mod headers;
mod left;
mod observe;
mod retry;
mod unparsed;
mod unread;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use http::Uri;
use llm_gate::error::Envelope;
use llm_gate::limit::RateLimitLayer;

pub use self::address::{Addresses, Peer};
pub use self::body::ObservedBody;
pub use self::cors::Origins;
pub(crate) use self::failures::contain;
pub(crate) use self::headers::ContentPolicy;
pub use self::headers::Hardening;
pub use self::observe::{Caller, X_REQUEST_ID};
pub use self::unparsed::refusals;
pub(crate) use self::unparsed::{stand_in, too_large};
pub use self::unread::UnreadGuard;

/// Puts the edge around all routes; `rate` is that of addresses, which the routes count by.
pub fn around(
    routes: Router,
    addresses: Addresses,
    hardening: Hardening,
    origins: Option<Origins>,
    rate: RateLimitLayer,
) -> Router {
    // A router runs the layer that was added last first, so this reads from the inside out.
    // A panic below becomes a 500 here, and no 500 says what happened …
    let routes = routes.layer(from_fn(contain));
    let routes = match origins {
        // … scripts of other origins may read it where they may read the rest. Answers preflights itself,
        // before anything asks who is calling.
        Some(origins) => routes.layer(from_fn_with_state(origins, cors::share)),
        None => routes,
    };
    routes
        // Nobody is sent away without a word on when to come back.
        .layer(map_response(retry::tell))
        // Each answer says what is left, and gets its headers, a preflight's too.
        .layer(from_fn_with_state(rate, left::show))
        .layer(from_fn_with_state(hardening, headers::harden))
        // Gives the request its id and watches it to the end of its body.
        .layer(from_fn(observe::observe))
        // Finds out where it comes from.
        .layer(from_fn_with_state(addresses, address::resolve))
}

/// Puts around the routes of operators what fits them: ids, security headers, contained failures. A program asks there
/// all day, so there is no line in the log for each time, and it is not counted beside what users do.
pub fn around_operators(routes: Router, hardening: Hardening) -> Router {
    routes
        .layer(from_fn(contain))
        .layer(map_response(retry::tell))
        .layer(from_fn_with_state(hardening, headers::harden))
        .layer(from_fn(observe::identify))
}

/// Returns the JSON form of errors below this path.
pub(crate) fn envelope(uri: &Uri) -> Envelope {
    match uri.path() {
        "/v1" | "/chat/completions" => Envelope::OpenAi,
        path if path.starts_with("/v1/") => Envelope::OpenAi,
        _ => Envelope::Detail,
    }
}
