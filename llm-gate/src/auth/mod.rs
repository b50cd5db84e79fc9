//! Who is calling: layers that recognise the caller and refuse everybody else.
//!
//! vLLM knows one key for all. These layers know users and projects: by API keys, which programs use, and
//! by JSON web tokens, which a login gives out. Either way the services behind find a
//! [`Principal`](crate::identity::Principal) in the request's extensions. A refusal is a 401 in the same
//! words whatever the reason; the reason goes to the metrics `auth_success_total` and
//! `auth_failure_total{reason}`, and into the extensions of the answer ([`Refused`]) for the log. A store that cannot answer is a 503.
//!
//! | Layer | Accepts |
//! |---|---|
//! | [`JwtAuthLayer`] | our own access tokens (RFC 9068) |
//! | [`ApiKeyAuthLayer`] | API keys |
//! | [`AnyAuthLayer`] | both, and an operator key where one is set |
//! | [`AuthLayer<A>`](AuthLayer) | whatever your [`Authenticate`] does |
//!
//! Keys of access tokens come from secrets or PEM files ([`SigningKey`], [`VerifyingKey`]); several check at
//! once, so that they can be changed. [`JwkSet`] publishes the public ones, and reads those of others.
//!
//! The operator key is the platform's admin, known by the hash of its key and without an account: a layer
//! answers it 403 unless it is told to let it [through](AuthLayer::operators).
//!
//! With the feature `jwks`, tokens of other issuers are taken too, see [`foreign`].
//!
//! The credential stands in `Authorization: Bearer` or in `X-API-Key`.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Empty;
//! use llm_gate::auth::{
//!     AnyAuthLayer, AnyVerifier, ApiKeySecret, ApiKeyVerifier, JwtIssuer, JwtVerifier, KeyHasher, SigningKey,
//! };
//! use llm_gate::clock::SystemClock;
//! use llm_gate::identity::{Principal, ProjectId, Role, UserId};
//! use llm_gate::store::MemoryStore;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Arc::new(SystemClock);
//! let signing = SigningKey::hs256(b"thirty-two bytes or more, in secret")?;
//! let hasher = KeyHasher::new(b"thirty-two other bytes, also in secret")?;
//! let store = Arc::new(MemoryStore::new());
//!
//! let jwt = JwtVerifier::new("https://gate.example", "llm-gate", [signing.verifying_key()], clock.clone())?;
//! let keys = ApiKeyVerifier::new(store.clone(), hasher.clone(), clock.clone());
//! let hello = service_fn(|request: Request<()>| async move {
//!     let caller: &Principal = request.extensions().get().expect("put there by the layer");
//!     let mut response = Response::new(Empty::<Bytes>::new());
//!     let user = caller.user.to_string().parse().expect("visible ASCII");
//!     response.headers_mut().insert("x-user", user);
//!     Ok::<_, Infallible>(response)
//! });
//! let service = AnyAuthLayer::new(AnyVerifier::new(jwt, keys)).layer(hello);
//!
//! // A user with a token from the login …
//! let (user, project) = (UserId::new(), ProjectId::new());
//! let issued = JwtIssuer::new("https://gate.example", "llm-gate", signing, clock.clone())
//!     .issue(user, project, Role::User, Duration::from_secs(600))?;
//! let request = Request::get("/").header("authorization", format!("Bearer {}", issued.jwt)).body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.headers()["x-user"], user.to_string());
//!
//! // … a program with a key that nobody has made …
//! let key = ApiKeySecret::generate();
//! let request = Request::get("/").header("x-api-key", key.expose()).body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```

mod api_key;
mod authenticate;
mod base62;
mod bearer;
mod crypto;
mod either;
mod error;
#[cfg(feature = "jwks")]
pub mod foreign;
mod future;
mod jwt;
mod layer;
mod opaque;
mod operator;
mod seal;
mod service;

pub use api_key::{ApiKeySecret, ApiKeyVerifier, KeyHasher, PresentedKey};
pub use authenticate::{Authenticate, Authenticating};
#[cfg(feature = "aws-lc-rs")]
pub use crypto::install_crypto;
pub use either::{AnyVerifier, OtherIssuers};
pub use error::{AuthError, KeyError, Refused};
#[cfg(feature = "jwks")]
pub use foreign::{
    Account, Accounts, ForeignIssuer, ForeignVerifier, IdToken, IdTokenVerifier, InvalidIssuer,
};
pub use future::AuthFuture;
pub use jwt::{
    IssuedJwt, Jwk, JwkError, JwkSet, JwtAlgorithm, JwtIssuer, JwtVerifier, MAX_JWT_LIFETIME,
    SigningKey, UnknownAlgorithm, VerifyingKey,
};
pub use layer::{AnyAuthLayer, ApiKeyAuthLayer, AuthLayer, JwtAuthLayer};
pub use opaque::{InviteToken, MailToken, RefreshToken};
pub use operator::{OperatorHash, OperatorSecret};
pub use service::AuthService;
