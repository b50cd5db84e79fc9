mod audit;
mod books;
mod credential;
mod ledger;
mod usage;
mod user;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::identity::{KeyId, ProjectId, SessionId, UserId};
use crate::store::{
    ApiKeyRecord, PasswordRecord, Project, ProjectRole, StoreError, StoreErrorKind, StoreFuture,
    TokenHash,
};

pub use books::MemoryBooks;

/// All storage traits in memory: the reference implementation, for tests, benches and gates whose books
/// need not outlive them.
///
/// Every method holds one lock for its whole length, so each is atomic. Reservations are decided in
/// place, without a queue.
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

#[derive(Default)]
struct People {
    users: HashMap<UserId, PasswordRecord>,
    projects: HashMap<ProjectId, Project>,
    members: Vec<(ProjectId, UserId, ProjectRole)>,
    keys: HashMap<KeyId, ApiKeyRecord>,
    sessions: HashMap<SessionId, credential::Family>,
    tokens: HashMap<TokenHash, credential::RefreshToken>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks users, projects and credentials.
    fn people(&self) -> Result<MutexGuard<'_, People>, StoreError> {
        self.people.lock().map_err(poisoned)
    }

    /// Locks counters, reservations and ledger. Taken after `people` where both are needed.
    fn books(&self) -> Result<MutexGuard<'_, MemoryBooks>, StoreError> {
        self.books.lock().map_err(poisoned)
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
