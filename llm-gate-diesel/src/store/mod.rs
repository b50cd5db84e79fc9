//! The storage traits, written once for both databases.
//!
//! This folder and `queries/` are compiled once a database, as children of `sqlite` and `postgres`. Each
//! parent says what a `Connection` is, what the `Store` is and how it runs a body in a transaction, and has
//! its own statements for `batch`es of the ledger. A body may run again when its transaction was refused, so it
//! is an `Fn`.

mod account;
mod audit;
mod credential;
mod event;
mod invite;
mod ledger;
mod page;
mod people;
mod project;
mod session;
mod ticket;
mod usage;
mod user;

pub(super) use page::{Desk, Gate, new_chain};

use std::num::NonZeroUsize;

use llm_gate::store::{StoreError, StoreErrorKind, StoreFuture};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Connection, Store, batch, queries};

/// Returns how many of so many connections reports may take, which read for as long as there is to read: the others are
/// for look-ups that requests wait for. One, where there is only one.
pub(super) fn half(connections: NonZeroUsize) -> usize {
    (connections.get() / 2).max(1)
}

/// Runs a report when there is a connection for one; unavailable, where that takes too long. The permit belongs into what is
/// run, which goes on when nobody waits for it any more.
fn report<'a, T: 'a>(
    store: &'a Store,
    run: impl FnOnce(OwnedSemaphorePermit) -> StoreFuture<'a, T> + Send + 'a,
) -> StoreFuture<'a, T> {
    Box::pin(async move {
        let (reports, patience) = store.reports();
        let permit = timeout(patience, reports.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let why = "too many reports are waiting";
            return Err(StoreError::with_source(StoreErrorKind::Unavailable, why));
        };
        run(permit).await
    })
}
