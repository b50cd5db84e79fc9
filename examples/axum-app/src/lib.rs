//! The layers of llm-gate in somebody's axum server: one route of your own, one that leads to the model,
//! both behind the same API keys.
//!
//! See `main.rs` for how it is started.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use llm_gate::auth::{ApiKeyAuthLayer, ApiKeySecret, ApiKeyVerifier, KeyHasher};
use llm_gate::call::{CallLayer, Models};
use llm_gate::clock::SystemClock;
use llm_gate::identity::{KeyGrants, KeyId, Principal, ProjectId, Role, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::limit::{Rate, RateLimitLayer};
use llm_gate::meter::TokenMeterLayer;
use llm_gate::proxy::VllmProxyService;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{
    Author, CredentialStore, LedgerStore, MemoryStore, NewApiKey, NewUser, UserStore,
};
use llm_gate::tokens::Tokens;
use tower::ServiceBuilder;

/// How often each key may ask.
const RATE: Rate = Rate::per_minute(NonZeroU32::new(600).expect("not zero"));

/// Builds the application.
pub fn app(
    store: &Arc<MemoryStore>,
    keys: ApiKeyVerifier,
    models: Models,
    upstream: VllmProxyService,
) -> Router {
    let model = ServiceBuilder::new()
        .layer(CallLayer::new(models))
        .layer(QuotaLayer::new(Ledger::spawn(store.clone())))
        .layer(TokenMeterLayer::new())
        .service(upstream);
    Router::new()
        .route("/usage", get(usage))
        .route_service("/v1/chat/completions", model)
        .layer(Extension(store.clone()))
        // Shows on every answer how many requests are left.
        .layer(RateLimitLayer::per_principal(RATE, Arc::new(SystemClock)))
        // Outermost: it guards every route above.
        .layer(ApiKeyAuthLayer::new(keys))
}

/// A handler of your own finds the caller in the extensions.
async fn usage(
    Extension(caller): Extension<Principal>,
    Extension(store): Extension<Arc<MemoryStore>>,
) -> String {
    match store.standing(Subject::User(caller.user)).await {
        Ok(standing) => format!("{} tokens used\n", standing.used),
        Err(error) => format!("unknown: {error}\n"),
    }
}

/// Makes a user who may spend 10,000 tokens, and a key for it.
///
/// # Errors
///
/// Fails if the store does.
pub async fn with_one_key(
    store: &Arc<MemoryStore>,
) -> Result<(ApiKeyVerifier, ApiKeySecret), Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock);
    let hasher = KeyHasher::new(b"a pepper of at least thirty-two bytes")?;
    let key = ApiKeySecret::generate();
    let (user, project) = (UserId::new(), ProjectId::new());
    let new_user = NewUser {
        id: user,
        email: None,
        username: Some("ada".to_owned()),
        email_verified: false,
        name: None,
        password_hash: None,
        identity: None,
        role: Role::User,
        personal_project: project,
        personal_project_name: "ada's project".to_owned(),
        token_limit: Some(Tokens::new(10_000)),
        invite: None,
        author: Author::now(),
    };
    store.create_user(new_user).await?;
    let new_key = NewApiKey {
        id: KeyId::new(),
        public_id: key.public_id().to_owned(),
        hash: key.hash(&hasher),
        name: "first".to_owned(),
        user,
        project,
        grants: KeyGrants::default(),
        expires_at: None,
        at_most: None,
        author: Author::now(),
    };
    store.create_key(new_key).await?;
    Ok((ApiKeyVerifier::new(store.clone(), hasher, clock), key))
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
