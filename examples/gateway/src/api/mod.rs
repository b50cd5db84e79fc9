//! The routes. The management API (accounts, logins, keys, limits, health) is answered here, with errors
//! as `{"detail": …}`; calls to models go to the LLM stack, whose errors have OpenAI's shape.

mod auth;
mod caller;
mod error;
mod fields;
mod health;
mod ledger;
mod limits;
mod models;
mod prices;
mod projects;
mod users;
mod views;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any_service, get, post, put};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use llm_gate::auth::AuthLayer;
use llm_gate::error::Envelope;
use tower::util::MapRequestLayer;

use self::error::ApiError;
pub(crate) use self::views::{micros, moment};
use crate::app::App;
use crate::edge::Caller;
use crate::stack::LlmStack;

/// The largest body a management route reads.
const MAX_BODY: usize = 64 * 1024;

/// Lays out the routes. Paths after the first of a line are aliases of older systems.
pub fn management(app: App) -> Router {
    let open: [(&[&str], MethodRouter<App>); 8] = [
        (
            &[
                "/api/v1/auth/register",
                "/auth/register",
                "/api/auth/register",
            ],
            post(auth::register),
        ),
        (
            &["/api/v1/auth/login", "/auth/login", "/api/auth/login"],
            post(auth::login),
        ),
        (&["/api/v1/auth/token", "/auth/token"], post(auth::token)),
        (
            &["/api/v1/auth/refresh", "/auth/refresh", "/api/auth/refresh"],
            post(auth::refresh),
        ),
        (
            &["/api/v1/auth/logout", "/auth/logout", "/api/auth/logout"],
            post(auth::logout),
        ),
        (&["/api/v1/health/live", "/health/live"], get(health::live)),
        (
            &[
                "/api/v1/health/ready",
                "/health/ready",
                "/health",
                "/api/health",
            ],
            get(health::ready),
        ),
        (&["/"], get(health::root)),
    ];
    let known: [(&[&str], MethodRouter<App>); 17] = [
        (&["/api/v1/models", "/models"], get(models::overview)),
        (&["/api/v1/auth/check", "/api/login"], get(auth::check)),
        (
            &["/api/v1/users/me", "/users/me", "/api/me"],
            get(users::me),
        ),
        (
            &["/api/v1/users/me/usage", "/users/usage"],
            get(users::usage),
        ),
        (
            &["/api/v1/users/me/token-limit", "/users/me/token-limit"],
            put(users::set_own_limit),
        ),
        (&["/api/v1/users"], get(users::list)),
        (&["/api/v1/users/{id}"], get(users::show)),
        (&["/api/v1/users/{id}/token-limit"], put(users::set_limit)),
        (&["/api/v1/projects", "/api/projects"], get(projects::list)),
        (
            &["/api/v1/projects/{id}/api-keys"],
            get(projects::list_keys).post(projects::create_key),
        ),
        (
            &["/api/v1/projects/{id}/api-keys/{key}/revoke"],
            post(projects::revoke_key),
        ),
        (
            &["/api/v1/limits"],
            get(limits::list).put(limits::set).delete(limits::remove),
        ),
        (
            &["/api/v1/prices"],
            get(prices::list).put(prices::set).delete(prices::remove),
        ),
        (&["/api/v1/ledger/verify"], get(ledger::verify)),
        (&["/api/v1/ledger/export"], get(ledger::export)),
        (&["/api/v1/ledger/presumed"], get(ledger::presumed)),
        (
            &["/api/v1/ledger/presumed/{id}/refund"],
            post(ledger::refund_presumed),
        ),
    ];
    let auth = AuthLayer::new(app.verifier.clone()).envelope(Envelope::Detail);
    lay(known)
        .route_layer(MapRequestLayer::new(Caller::note::<axum::body::Body>))
        .route_layer(auth)
        .merge(lay(open))
        .fallback(async || ApiError::not_found("no such route"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "no such method on this route",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(refuse_too_long))
        .with_state(app)
}

/// Refuses a body that says itself that it is too large, without reading it.
async fn refuse_too_long(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return ApiError::too_large().into_response();
    }
    next.run(request).await
}

/// Lays out the OpenAI surface. Everything below `/v1` that is not answered here goes to the stack, which
/// lets through what its table of routes names and refuses the rest.
pub fn llm(app: App, stack: LlmStack) -> Router {
    let auth = AuthLayer::new(app.verifier.clone()).envelope(Envelope::OpenAi);
    let models = Router::new()
        .route("/v1/models", get(models::list))
        // A name may have slashes in it.
        .route("/v1/models/{*id}", get(models::show))
        .route_layer(MapRequestLayer::new(Caller::note::<axum::body::Body>))
        .route_layer(auth)
        .method_not_allowed_fallback(models::wrong_method)
        .with_state(app);
    // Named one by one so that logs and metrics tell them apart.
    let calls = [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1",
        "/v1/{*other}",
    ];
    calls.into_iter().fold(models, |router, path| {
        router.route(path, any_service(stack.clone()))
    })
}

fn lay<const N: usize>(table: [(&[&str], MethodRouter<App>); N]) -> Router<App> {
    table
        .into_iter()
        .flat_map(|(paths, methods)| paths.iter().map(move |path| (*path, methods.clone())))
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
}
