use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::identity::RequestId;
use crate::store::Settle;

use super::journal::{Entry, Slot};
use super::{Charge, Ledger, RecordError};

/// A request under way, as everybody knows it who may end it: its guard, and whoever ends it in the
/// guard's place.
///
/// What it occupies is taken out by whoever ends it first, so it is settled once. What is recorded is
/// recorded under the same lock: either before the end, and then it is charged, or not at all.
pub(super) struct Open {
    pub(super) ledger: Ledger,
    pub(super) id: RequestId,
    held: Mutex<Option<Held>>,
    /// Whether `held` is gone, for those who ask often.
    ended: AtomicBool,
}

/// What a request under way occupies, until its settlement is committed.
pub(super) struct Held {
    pub(super) journaled: Option<Slot>,
    pub(super) _slot: OwnedSemaphorePermit,
}

impl Held {
    /// Lets go of it: the settlement is committed, or there is none. Only then; dropped instead, the record
    /// stays in the journal for the next process.
    pub(super) fn free(self) {
        if let Some(Err(error)) = self.journaled.map(Slot::free) {
            tracing::warn!(%error, "a slot of the journal could not be freed");
        }
    }
}

impl Open {
    pub(super) const fn new(ledger: Ledger, id: RequestId, held: Held) -> Self {
        Self {
            ledger,
            id,
            held: Mutex::new(Some(held)),
            ended: AtomicBool::new(false),
        }
    }

    /// Notes an entry in the journal.
    pub(super) fn record(&self, entry: Entry) -> Result<(), RecordError> {
        let mut held = self.held();
        let held = held.as_mut().ok_or(RecordError::Ended)?;
        if let Some(slot) = &mut held.journaled {
            slot.record(entry).map_err(RecordError::Journal)?;
        }
        Ok(())
    }

    /// Settles, unless that has happened.
    pub(super) fn close(&self, charge: Charge) {
        let Some(mut held) = self.take() else {
            return;
        };
        let ended = held
            .journaled
            .as_mut()
            .map(|slot| slot.record(Entry::ended(&charge)));
        if let Some(Err(error)) = ended {
            // The record before it stands: what was delivered is in it.
            tracing::error!(%error, "the end of a request is not in the journal");
        }
        let settle = Settle {
            id: self.id,
            at: self.ledger.now(),
            charge: charge.tokens,
            usage: charge.usage,
            source: charge.source,
            ending: charge.ending,
            status: charge.status,
        };
        self.ledger.settle(settle, held);
    }

    /// Takes out what is occupied, and with it the right to say how the request ended.
    pub(super) fn take(&self) -> Option<Held> {
        let held = self.held().take();
        self.ended.store(true, Ordering::Release);
        held
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        // Nothing in between leaves it half done: a slot knows itself whether a write happened.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
