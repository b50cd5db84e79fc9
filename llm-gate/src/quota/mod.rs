//! The token quota: [`QuotaLayer`] takes a hold before the upstream is touched, keeps it in the response
//! body, and settles it once at whatever end.
//!
//! The hold is a true upper bound of what the request can use, so however many requests run at once,
//! what is used and what is held never exceed the limit. At the end of any kind (delivered, refused,
//! cut, client gone) the reservation is charged what the upstream reported up to the last event that was
//! handed on, and the rest is given back.
//!
//! **The commit is not waited for twice.** Where the last known counters leave clear room, the request is sent
//! while its hold is being committed, and the answer, its head included, is kept until it is. A refusal lets go
//! of the upstream. [`QuotaLayer::overlap`] switches that off.
//!
//! **Streams with running usage** hold less: where [`CallLayer::running_usage`] says that a stream tells its
//! usage with every event, the hold is the prompt's bound and a first step of at most 256 tokens. The first
//! usage sets it to the true prompt and a step, and when half of a step is used the next one is asked for, so
//! that a commit is seldom waited for. An event beyond the hold is neither journaled nor delivered before the
//! extension is committed. If that is refused, because the limit leaves no room or the key was revoked, the
//! upstream is let go and each open choice ends with `finish_reason: "length"`, then comes the usage where it
//! was asked for, then `[DONE]`. If the books do not answer, the stream ends with an `error` event and without
//! `[DONE]`. Either way what was delivered is charged, and nothing else. An answer that turns out to report
//! nothing is not delivered before its whole bound is held.
//!
//! [`CallLayer::running_usage`]: crate::call::CallLayer::running_usage
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

mod bill;
mod body;
mod cut;
mod future;
mod guard;
mod layer;
mod refusal;
mod rolling;
mod service;

pub use body::QuotaBody;
pub use future::QuotaFuture;
pub use layer::QuotaLayer;
pub use service::QuotaService;
