//! The token quota: [`QuotaLayer`] takes a hold before the upstream is touched, keeps it in the response
//! body, and settles it once at whatever end.
//!
//! The hold is a true upper bound of what the request can use, so however many requests run at once,
//! what is used and what is held never exceed the limit. At the end of any kind (delivered, refused,
//! cut, client gone) the reservation is charged what the upstream reported up to the last event that was
//! handed on, and the rest is given back.
//!
//! Needs a [`Principal`](crate::identity::Principal) and a [`Call`](crate::call::Call) in the request's
//! extensions, and takes the figures from the [`Metered`](crate::tokens::Metered) in the response's. Without
//! a meter inside it charges the whole hold of every answer.
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use llm_gate::call::{CallLayer, Model, Models};
//! use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
//! use llm_gate::ledger::Ledger;
//! use llm_gate::meter::TokenMeterLayer;
//! use llm_gate::quota::QuotaLayer;
//! use llm_gate::store::{LedgerStore, MemoryStore};
//! use llm_gate::tokens::Tokens;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = Arc::new(MemoryStore::new());
//! let user = UserId::new();
//! store.set_limit(Subject::User(user), Some(Tokens::new(200))).await.unwrap();
//!
//! let service = ServiceBuilder::new()
//!     .layer(CallLayer::new(Models::any(Model::new("").context_length(4096))))
//!     .layer(QuotaLayer::new(Ledger::spawn(store.clone())))
//!     .layer(TokenMeterLayer::new())
//!     .service(service_fn(|_: Request<Full<Bytes>>| async {
//!         let answer = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":5}}"#;
//!         Response::builder().header("content-type", "application/json").body(Full::<Bytes>::from(answer))
//!     }));
//!
//! let call = || {
//!     let body = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
//!     Request::post("/v1/chat/completions")
//!         .header("content-type", "application/json")
//!         .extension(Principal::new(user, ProjectId::new(), Credential::Session))
//!         .body(Full::<Bytes>::from(body))
//!         .unwrap()
//! };
//! let held = service.clone().oneshot(call()).await.unwrap();
//! assert_eq!(held.status(), 200);
//! assert_eq!(service.clone().oneshot(call()).await.unwrap().status(), 429, "no room while that one is open");
//! drop(held);
//! assert_eq!(store.standing(Subject::User(user)).await.unwrap().used.get(), 6);
//! assert_eq!(service.oneshot(call()).await.unwrap().status(), 200);
//! # }
//! ```

mod body;
mod future;
mod layer;
mod refusal;
mod service;

pub use body::QuotaBody;
pub use future::QuotaFuture;
pub use layer::QuotaLayer;
pub use service::QuotaService;
