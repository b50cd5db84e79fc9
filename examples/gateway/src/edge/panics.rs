use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use llm_gate::error::Rejection;

use super::envelope;

/// Turns a panic into a 500 without details. The panic itself is logged by the hook of the process.
pub(super) async fn catch(request: Request, next: Next) -> Response {
    let envelope = envelope(request.uri());
    // What the handler shared with others stays as the panic left it; locks that matter are poisoned.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a handler panicked");
            Rejection::internal()
                .into_response::<Body>(envelope)
                .map(Body::new)
        }
    }
}
