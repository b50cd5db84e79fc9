//! Limits of requests in time: for each caller, for each address, and for those who present wrong credentials.
//!
//! | Layer | Counts | Belongs |
//! |---|---|---|
//! | [`RateLimitLayer::per_address`] | requests by the client's address | outside of the auth layer |
//! | [`FailureLimitLayer`] | wrong credentials by the client's address | outside of the auth layer |
//! | [`RateLimitLayer::per_principal`] | requests by API key, else by session, else by user | inside of the auth layer |
//!
//! The address is a [`ClientAddress`](crate::address::ClientAddress) in the request's extensions, put there by
//! the server; IPv6 addresses are counted by their /64. A [`Rate`] is written `100/minute`. What exceeds it is
//! answered 429 `rate_limit_exceeded` with `Retry-After`; every answer shows the tightest
//! [allowance](crate::allowance::Allowance). [`Limiter`] is what they stand on.
//!
//! **Counts live in the process.** They are exact in it, gone with it, and know nothing of other processes: with
//! three replicas behind a balancer a caller has up to three times the rate. What must hold over all of them are
//! quotas, which are decided in the books. Limits of requests only keep a process from being kept busy.
//!
//! **Nobody has to wait for what others send from the same address** who shows by itself whose it is, as by a signed token:
//! see [`RateLimitLayer::vouched`] and [`Failures::vouched`]. `AnyVerifier::holder` of the feature `auth` can tell.
//!
//! **When there are too many keys.** Memory is bounded (65,536 keys a limiter unless set). A key takes a place
//! only while it has used some of its rate: `100/minute` used once is back after 0.6 s, and the place is free. If
//! all places that a key could take are taken, which takes about as many busy addresses as there are places, it
//! shares one more bucket of the same rate with the few others that hash there, by a hash nobody outside can
//! foretell. So whoever floods the table with addresses
//!
//! - frees nobody, himself included: no count is thrown away before it has come back by itself;
//! - hurts nobody who has a place;
//! - crowds newcomers without refusing them: to use up all shared buckets takes the rate times some thousands.
//!
//! A rate over a long time keeps its places for long: `10/day` for a good two hours a request. Where many keys can
//! be made up, give it a larger [`capacity`](Limiter::capacity).
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use llm_gate::address::ClientAddress;
//! use llm_gate::clock::SystemClock;
//! use llm_gate::limit::RateLimitLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
//! let limited = RateLimitLayer::per_address("2/minute".parse()?, Arc::new(SystemClock)).layer(hello);
//!
//! let from = |address: &str| {
//!     // A server takes it from the connection.
//!     let address = ClientAddress::new(address.parse().expect("an address"));
//!     Request::builder().extension(address).body(()).expect("a request")
//! };
//! let first = limited.clone().oneshot(from("192.0.2.1")).await?;
//! assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "1");
//! limited.clone().oneshot(from("192.0.2.1")).await?;
//! let third = limited.clone().oneshot(from("192.0.2.1")).await?;
//! assert_eq!(third.status(), 429);
//! assert_eq!(third.headers()["retry-after"], "30");
//! assert_eq!(limited.oneshot(from("192.0.2.2")).await?.status(), 200);
//! # Ok(()) }
//! ```

mod bucket;
mod failure;
mod future;
mod known;
mod layer;
mod limiter;
mod rate;
mod service;
mod table;

pub use failure::{
    Attempt, FailureLimitFuture, FailureLimitLayer, FailureLimitService, Failures, recognised,
};
pub use future::RateLimitFuture;
pub use known::Known;
pub use layer::RateLimitLayer;
pub use limiter::{Endpoint, Exceeded, Held, Limiter};
pub use rate::{Rate, RateError};
pub use service::RateLimitService;
