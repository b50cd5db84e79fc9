mod account;
mod audit;
mod books;
mod credential;
mod event;
mod invite;
mod ledger;
mod people;
mod project;
mod session;
mod ticket;
mod usage;
mod user;

use std::sync::{Mutex, MutexGuard};

use crate::store::{StoreError, StoreErrorKind, StoreFuture};

pub use books::MemoryBooks;
use people::People;

/// All storage traits in memory: the reference implementation, for tests, benches and gates whose books
/// need not outlive them.
///
/// Every method holds its locks for its whole length, so each is atomic. Reservations are decided in
/// place, without a queue. Events are kept for as long as the store, as is the ledger.
///
/// ```
/// use llm_gate::store::{LedgerStore, MemoryStore};
///
/// # async fn doc() {
/// assert!(MemoryStore::new().totals().await.unwrap().balance());
/// # }
/// ```
#[derive(Default)]
pub struct MemoryStore {
    people: Mutex<People>,
    books: Mutex<MemoryBooks>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks users, projects, credentials and events.
    fn people(&self) -> Result<MutexGuard<'_, People>, StoreError> {
        self.people.lock().map_err(poisoned)
    }

    /// Locks counters, reservations and ledger.
    fn books(&self) -> Result<MutexGuard<'_, MemoryBooks>, StoreError> {
        self.books.lock().map_err(poisoned)
    }

    /// Reads users, projects, credentials or events.
    fn read<'a, T: Send + 'a>(&self, read: impl FnOnce(&People) -> T) -> StoreFuture<'a, T> {
        ready(self.people().map(|people| read(&people)))
    }

    /// Changes them alone.
    fn write<'a, T: Send + 'a>(
        &self,
        write: impl FnOnce(&mut People) -> Result<T, StoreError>,
    ) -> StoreFuture<'a, T> {
        ready(self.people().and_then(|mut people| write(&mut people)))
    }

    /// Changes them together with the books. The two are always locked in this order.
    fn write_both<'a, T: Send + 'a>(
        &self,
        write: impl FnOnce(&mut People, &mut MemoryBooks) -> Result<T, StoreError>,
    ) -> StoreFuture<'a, T> {
        ready(self.people().and_then(|mut people| {
            let mut books = self.books()?;
            write(&mut people, &mut books)
        }))
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

fn poisoned<T>(_: std::sync::PoisonError<T>) -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Other,
        "a thread panicked while it held the store",
    )
}

/// Wraps an answer that is there already.
fn ready<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}
