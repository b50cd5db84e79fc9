//! Tower layers that authenticate, limit, meter and proxy traffic to self-hosted language models, with
//! books that balance.
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod abort;
pub mod address;
pub mod allowance;
#[cfg(feature = "auth")]
pub mod auth;
pub mod body;
#[cfg(feature = "call")]
pub mod call;
pub mod clock;
pub mod error;
pub mod identity;
#[cfg(feature = "ledger")]
pub mod ledger;
#[cfg(feature = "limit")]
pub mod limit;
#[cfg(feature = "meter")]
pub mod meter;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "quota")]
pub mod quota;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod tokens;
pub mod upstream;
mod words;
