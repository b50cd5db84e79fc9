//! The way to the upstream: [`VllmProxyService`] sends a call on and passes the answer back.
//!
//! Nothing of the client's framing reaches the upstream: URL, length, host and credential are the
//! gate's own, and of the headers only a short list passes. Connections are pooled and dropped before
//! vLLM drops them (after 5 idle seconds); a request that met a connection just closed is sent once
//! more if nothing was answered. A client that leaves drops the response and with it the upstream's
//! connection, which makes vLLM stop generating.
//!
//! Refusals of the upstream keep status and OpenAI shape. What is not in that shape, such as
//! framework errors and proxies' pages, is replaced, so that no internal text passes.
//!
//! ```no_run
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use llm_gate::proxy::{Upstream, VllmProxyService};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let upstream = Upstream::new("http://127.0.0.1:8000".parse().unwrap()).unwrap();
//! let service = VllmProxyService::new(upstream);
//! let request = Request::get("/v1/models").body(Full::<Bytes>::default()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! # }
//! ```

mod body;
mod config;
mod connect;
mod error;
mod future;
mod headers;
mod models;
mod service;

pub use body::{ProxyBody, ProxyError};
pub use config::{InvalidUpstream, Upstream};
pub use future::ProxyFuture;
pub use models::{ModelsError, UpstreamModel, upstream_models};
pub use service::VllmProxyService;
