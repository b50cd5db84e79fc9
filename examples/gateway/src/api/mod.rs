//! The routes. The management API (accounts, logins, keys, limits, health) is answered here, with errors
//! as `{"detail": …}`; calls to models go to the LLM stack, whose errors have OpenAI's shape.
//!
//! A route is one line in the table of [`management`], and that is also its place in the OpenAPI document:
//! see [`document`].

mod account;
mod ahead;
mod auth;
mod caller;
mod calls;
mod conversations;
mod cookies;
mod docs;
pub mod document;
mod error;
mod events;
mod fields;
mod health;
mod identities;
mod invites;
mod jwks;
mod keys;
mod ledger;
mod limits;
mod models;
mod oauth;
mod organization;
mod people;
mod prices;
mod projects;
mod taker;
mod tokens;
mod usage;
mod users;
mod views;
mod words;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any_service;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use llm_gate::auth::{AnyAuthLayer, AuthLayer};
use llm_gate::error::Envelope;
use llm_gate::limit::{self, RateLimitLayer};
use tower::util::MapRequestLayer;

pub(crate) use self::cookies::{device_of, refresh_of};
use self::document::{Routers, Surface, operation};
use self::error::ApiError;
use self::fields::{MAX_BODY, whole};
pub(crate) use self::views::{micros, moment};
use crate::app::App;
use crate::edge::{self, Caller};
use crate::stack::LlmStack;

/// The table of the management routes. The paths behind a handler are aliases of older systems; its own
/// path and method are in its `#[utoipa::path]`.
fn management_surface() -> Surface {
    Surface::default()
        .route(
            operation!(auth::register).hashing(),
            &["/auth/register", "/api/auth/register"],
        )
        .route(operation!(auth::login), &["/auth/login", "/api/auth/login"])
        .route(operation!(auth::token), &["/auth/token"])
        .route(
            operation!(auth::refresh),
            &["/auth/refresh", "/api/auth/refresh"],
        )
        .route(
            operation!(auth::logout),
            &["/auth/logout", "/api/auth/logout"],
        )
        .route(operation!(auth::check), &["/api/login"])
        .route(
            operation!(oauth::login).asking(),
            &["/auth/{provider}/login"],
        )
        .route(
            operation!(oauth::callback).asking(),
            &["/auth/{provider}/callback"],
        )
        .route(operation!(users::me), &["/users/me", "/api/me"])
        .route(operation!(users::usage), &["/users/usage"])
        .route(operation!(users::set_own_limit), &["/users/me/token-limit"])
        .route(operation!(account::change).hashing(), &[])
        .route(operation!(account::delete).hashing(), &[])
        .route(operation!(account::set_password).hashing(), &[])
        .route(operation!(account::sessions), &[])
        .route(operation!(account::end_sessions), &[])
        .route(operation!(account::end_session), &[])
        .route(operation!(identities::list), &[])
        .route(operation!(identities::link).hashing(), &[])
        .route(operation!(identities::unlink), &[])
        .route(operation!(account::request_verification), &[])
        .route(operation!(account::verify_email), &[])
        .route(operation!(account::forgot_password).writing(), &[])
        .route(operation!(account::reset_password), &[])
        .route(operation!(users::list), &[])
        .route(operation!(users::create), &[])
        .route(operation!(users::show), &[])
        .route(operation!(users::change), &[])
        .route(operation!(users::delete), &[])
        .route(operation!(users::set_limit), &[])
        .route(operation!(users::reset_usage), &[])
        .route(operation!(users::reset_link), &[])
        .route(operation!(usage::daily), &["/users/billing/daily"])
        .route(operation!(usage::calls), &["/users/billing/calls"])
        .route(operation!(usage::summary), &["/users/billing/summary"])
        .route(
            operation!(usage::project_daily),
            &["/api/projects/{id}/usage"],
        )
        .route(operation!(usage::project_calls), &[])
        .route(operation!(usage::project_summary), &[])
        .route(operation!(conversations::list), &[])
        .route(operation!(conversations::show), &[])
        .route(operation!(usage::user_daily), &[])
        .route(operation!(usage::user_calls), &[])
        .route(operation!(usage::user_summary), &[])
        .route(operation!(usage::platform_daily), &[])
        .route(operation!(usage::platform_calls), &[])
        .route(operation!(usage::platform_summary), &[])
        .route(operation!(tokens::session), &["/tokens/usage/{session}"])
        .route(operation!(tokens::project), &["/tokens/project/{project}"])
        .route(operation!(tokens::stats), &["/tokens/stats"])
        .route(operation!(projects::list), &["/api/projects"])
        .route(operation!(projects::create), &["/api/projects"])
        .route(operation!(projects::show), &["/api/projects/{id}"])
        .route(operation!(projects::rename), &["/api/projects/{id}"])
        .route(operation!(projects::archive), &["/api/projects/{id}"])
        .route(
            operation!(projects::members),
            &["/api/projects/{id}/members"],
        )
        .route(
            operation!(projects::set_member),
            &["/api/projects/{id}/members"],
        )
        .route(
            operation!(projects::remove_member),
            &["/api/projects/{id}/members/{user}"],
        )
        .route(operation!(projects::create_service), &[])
        .route(operation!(keys::list), &[])
        .route(operation!(keys::create), &[])
        .route(operation!(keys::show), &[])
        .route(operation!(keys::change), &[])
        .route(operation!(keys::rotate), &[])
        .route(operation!(keys::revoke), &[])
        .route(operation!(invites::create), &[])
        .route(operation!(invites::list), &[])
        .route(operation!(invites::revoke), &[])
        .route(operation!(invites::accept), &[])
        .route(operation!(invites::create_for_project), &[])
        .route(operation!(invites::list_of_project), &[])
        .route(operation!(invites::revoke_of_project), &[])
        .route(operation!(events::list), &[])
        .route(operation!(limits::list), &[])
        .route(operation!(limits::set), &[])
        .route(operation!(limits::remove), &[])
        .route(operation!(prices::list), &[])
        .route(operation!(prices::set), &[])
        .route(operation!(prices::remove), &[])
        .route(operation!(ledger::verify), &[])
        .route(operation!(ledger::export), &[])
        .route(operation!(ledger::presumed), &[])
        .route(operation!(ledger::refund_presumed), &[])
        .route(
            operation!(models::overview),
            &["/api/v1/models/all", "/models", "/models/all"],
        )
        .route(operation!(health::live), &["/health/live"])
        .route(
            operation!(health::ready),
            &["/health/ready", "/health", "/api/health"],
        )
        .route(operation!(health::root), &[])
        .route(operation!(jwks::published), &[])
        .route(operation!(docs::openapi), &[])
        .route(operation!(docs::page), &[])
        .route(operation!(docs::script), &[])
        .route(operation!(docs::style), &[])
}

/// The routes below `/v1` that are answered here.
fn models_surface() -> Surface {
    Surface::default()
        .route(operation!(models::all), &[])
        // A name may have slashes in it.
        .route(operation!(models::show).routed("/v1/models/{*id}"), &[])
}

/// Lays out the management routes. Those whose handlers ask who is calling are behind the auth layer.
pub fn management(app: App) -> Router {
    // What needs an account refuses the operator by itself, see `caller`.
    let auth = AuthLayer::new(app.verifier.clone())
        .envelope(Envelope::Detail)
        .operators(true);
    let rates = &app.rates;
    let Routers {
        open,
        hashing,
        asking,
        writing,
        known,
        proving,
    } = management_surface().routers();
    let bounded = |routes: Router<App>, rate: &RateLimitLayer| {
        routes
            .route_layer(middleware::from_fn(edge::contain))
            .route_layer(rate.clone().envelope(Envelope::Detail))
            .route_layer(middleware::from_fn(whole))
    };
    let hashing = bounded(hashing, &rates.hashing);
    let asking = bounded(asking, &rates.asking);
    let writing = bounded(writing, &rates.writing);
    // What is left unread when an answer ends the connection may take that answer with it.
    let open = open.route_layer(middleware::from_fn(whole));
    // Who is nobody is refused before the hash is counted, and no neighbour takes from what somebody else has.
    let proves = rates.proving.clone().envelope(Envelope::Detail);
    let proving = proving.route_layer(proves);
    behind(known.merge(proving), auth, &app, Envelope::Detail)
        .merge(hashing)
        .merge(asking)
        .merge(writing)
        .merge(open)
        .fallback(async || ApiError::not_found("no such route"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "no such method on this route",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(refuse_too_long))
        .layer(middleware::from_fn(edge::contain))
        .layer(rates.address.clone().envelope(Envelope::Detail))
        .layer(middleware::from_fn_with_state(app.clone(), ahead::read))
        .with_state(app.clone())
}

/// Lets only those through who are recognised, and those not too often.
fn behind(routes: Router<App>, auth: AnyAuthLayer, app: &App, envelope: Envelope) -> Router<App> {
    let (rates, last_use) = (&app.rates, app.last_use.clone());
    // The layer that was added last runs first. A panic becomes an answer below the limits, which say on it what is left.
    routes
        .route_layer(middleware::from_fn(edge::contain))
        .route_layer(rates.identity.clone().envelope(envelope))
        .route_layer(MapRequestLayer::new(limit::recognised::<Body>))
        .route_layer(MapRequestLayer::new(move |request| {
            last_use.note::<Body>(request)
        }))
        .route_layer(MapRequestLayer::new(Caller::note::<Body>))
        .route_layer(auth)
        .route_layer(rates.failures().envelope(envelope))
        .route_layer(middleware::from_fn(whole))
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

/// Lays out the routes of the OpenAI Admin API.
fn organization(app: &App) -> Router<App> {
    // What needs an account refuses the operator by itself, see `caller`.
    let auth = AuthLayer::new(app.verifier.clone())
        .envelope(Envelope::OpenAi)
        .operators(true);
    let routes = organization::surface().routers().known;
    below_v1(behind(routes, auth, app, Envelope::OpenAi))
}

/// Bounds the bodies of routes below `/v1`, and lets what is refused around their handlers look as there.
fn below_v1(routes: Router<App>) -> Router<App> {
    routes
        .route_layer(DefaultBodyLimit::max(MAX_BODY))
        .route_layer(middleware::from_fn(refuse_too_long))
        .route_layer(middleware::map_response(error::as_openai))
}

/// Lays out the OpenAI surface. Everything below `/v1` that is not answered here goes to the stack, which
/// lets through what its table of routes names and refuses the rest.
pub fn llm(app: App, stack: LlmStack) -> Router {
    let auth = AuthLayer::new(app.verifier.clone()).envelope(Envelope::OpenAi);
    let address = app.rates.address.clone().envelope(Envelope::OpenAi);
    let models = models_surface().routers().known;
    let models = below_v1(behind(models, auth, &app, Envelope::OpenAi))
        .merge(organization(&app))
        .method_not_allowed_fallback(models::wrong_method)
        .with_state(app);
    // Named one by one so that logs and metrics tell them apart.
    let calls = calls::paths().chain(["/v1", "/v1/", "/v1/{*other}"]);
    let calls = calls.fold(models, |router, path| {
        router.route(path, any_service(stack.clone()))
    });
    calls
        .layer(middleware::from_fn(edge::contain))
        .layer(address)
}
