use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use llm_gate::address::ClientAddress;
use llm_gate::allowance;
use llm_gate::limit::RateLimitLayer;

/// Shows what an address has left on what is answered before it is counted: preflights, and what is no request.
pub(super) async fn show(
    State(rate): State<RateLimitLayer>,
    request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<ClientAddress>().copied();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let shown = headers.contains_key(&allowance::HEADERS[0]);
    if let Some(address) = address.filter(|_| !shown) {
        rate.show(address.network(), headers);
    }
    response
}
