//! The LLM stack, outermost layer first: the table of contents of the project.
//!
//! ```text
//! client -> auth (401) -> limit (429) -> call (400 404 405 413 415) -> quota (429) -> meter -> proxy (502 504) -> vLLM
//! client <- quota body gates and settles <- meter body measures <- proxy body <- vLLM
//! ```

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use llm_gate::auth::AuthLayer;
use llm_gate::call::CallLayer;
use llm_gate::error::Envelope;
use llm_gate::ledger::Ledger;
use llm_gate::limit;
use llm_gate::meter::TokenMeterLayer;
use llm_gate::proxy::VllmProxyService;
use llm_gate::quota::QuotaLayer;
use tower::util::{BoxCloneSyncService, MapRequestLayer};
use tower::{ServiceBuilder, ServiceExt};

use crate::app::App;
use crate::edge::{Caller, UnreadGuard};

/// The stack as one service. Boxed here, once, so that nothing inside has to be.
pub type LlmStack = BoxCloneSyncService<Request, Response, Infallible>;

/// The largest body of a call.
const MAX_BODY: usize = 32 << 20;

/// Stacks the layers in front of `proxy`, with the books in `ledger`.
#[must_use]
pub fn stack(app: &App, ledger: Ledger, proxy: VllmProxyService) -> LlmStack {
    let mut calls = CallLayer::new(app.catalog.models())
        .body_limit(MAX_BODY)
        // The meter below asks for it, and vLLM has it: streams need not hold their whole bound.
        .running_usage(true);
    if let Some(model) = &app.config.upstream.model {
        calls = calls.default_model(model);
    }
    let last_use = app.last_use.clone();
    let stack = ServiceBuilder::new()
        // Whether its address has presented too many wrong credentials: then nothing is looked up. 429.
        .layer(app.rates.failures())
        // Who is calling: a key or a JWT becomes a `Principal`. 401, or 503 when nobody can tell.
        .layer(AuthLayer::new(app.verifier.clone()).envelope(Envelope::OpenAi))
        // Tells the log who it was, and the layer above that the credential was good.
        .layer(MapRequestLayer::new(Caller::note::<Body>))
        .layer(MapRequestLayer::new(limit::recognised::<Body>))
        // Writes down that the key is used, about once a minute.
        .layer(MapRequestLayer::new(move |request| {
            last_use.note::<Body>(request)
        }))
        // How often: so many requests a minute for each key or login. 429.
        .layer(app.rates.identity.clone())
        // What is asked: the body is read once and becomes a `Call` with a true upper bound.
        .layer(calls)
        // Whether it may be spent: holds the bound before anything is sent, settles at any end. 429.
        .layer(QuotaLayer::new(ledger))
        // What is used: asks for usage, reads it out of the answer, takes out what was not asked for.
        .layer(TokenMeterLayer::new())
        // Where it goes: applies the edits and sends the call to the model server. 502 and 504.
        .service(proxy);
    // A client that takes nothing of its answer keeps neither hold nor upstream.
    let patience = Duration::from_secs(app.config.server.stalled_write_seconds);
    let watched = move |body| Body::new(UnreadGuard::new(body, patience));
    BoxCloneSyncService::new(stack.map_response(move |response: http::Response<_>| {
        response.map(|body| watched(Body::new(body)))
    }))
}
