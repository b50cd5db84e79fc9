//! Metering: [`TokenMeterLayer`] reads the upstream's own usage out of JSON and SSE answers.
//!
//! It asks for usage on the client's behalf and takes out again what the client did not ask for; apart
//! from that the client gets the upstream's events byte for byte, each as soon as it is complete. One
//! exception: where the last usage event is taken out, the event before it, which ends the last choice,
//! waits for it, because the `system_fingerprint` moves from the one to the other.
//!
//! The running figures are in the [`Metered`](crate::tokens::Metered) handle in the response's
//! extensions. At any moment they tell what the upstream had reported up to the last event handed on.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use llm_gate::meter::TokenMeterLayer;
//! use llm_gate::tokens::Metered;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let upstream = service_fn(|_: Request<Full<Bytes>>| async {
//!     let answer = r#"{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":17}}"#;
//!     Response::builder().header("content-type", "application/json").body(Full::<Bytes>::from(answer))
//! });
//! let service = TokenMeterLayer::new().layer(upstream);
//! let response = service.oneshot(Request::default()).await.unwrap();
//! let metered = response.extensions().get::<Metered>().unwrap().clone();
//! response.into_body().collect().await.unwrap();
//! assert_eq!(metered.usage().unwrap().total().get(), 28);
//! # }
//! ```

mod body;
mod future;
mod layer;
mod scan;
mod service;

pub use body::MeterBody;
pub use future::MeterFuture;
pub use layer::TokenMeterLayer;
pub use service::TokenMeterService;
