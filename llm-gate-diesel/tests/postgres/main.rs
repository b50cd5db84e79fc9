//! What only PostgreSQL has: several writers at once, a server that goes away, a network in between.
#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod conformance;
mod differential;
mod dropped;
mod inspected;
mod late_commit;
mod lost_commit;
mod plans;
mod races;
mod replicas;
mod reports;
mod rows;
mod speed;
mod tls;
mod unavailable;
mod unrecorded;
mod watch;
