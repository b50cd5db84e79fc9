use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llm_gate::store::{LedgerStore, Operation, Outcome, StoreError, StoreErrorKind, StoreFuture};
use tokio::sync::watch;

use super::Books;

/// Books behind a queue, which can be held up and cut off.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) books: Books,
    shut: watch::Sender<bool>,
    pub(crate) away: AtomicBool,
    extensions: AtomicUsize,
}

impl Slow {
    /// Lets batches wait, or go on.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.send_replace(shut);
    }

    pub(crate) fn extensions(&self) -> usize {
        self.extensions.load(Ordering::Relaxed)
    }
}

impl LedgerStore for Slow {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        Box::pin(async move {
            let extends = |operation: &&Operation| matches!(operation, Operation::Extend(_));
            let extensions = batch.iter().filter(extends).count();
            self.extensions.fetch_add(extensions, Ordering::Relaxed);
            let mut shut = self.shut.subscribe();
            shut.wait_for(|&shut| !shut).await.expect("it is there");
            if self.away.load(Ordering::Relaxed) {
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            Ok(batch.iter().map(|one| self.books.decide(one)).collect())
        })
    }

    llm_gate::pass_on_ledger!(books);
}
