use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use crate::abort::Abort;
use crate::identity::RequestId;
use crate::store::{Ending, Settle, Source};

use super::journal::{Entry, Leftover, Slot};
use super::{Charge, Ledger, RecordError};

/// A request under way, as those know it who may end it: its guard, and the task that keeps the deadlines.
///
/// What it occupies is taken out by whoever ends it first, so it is settled once. What is recorded is
/// recorded under the same lock: either before the end, and then it is charged, or not at all.
pub(super) struct Open {
    pub(super) ledger: Ledger,
    pub(super) id: RequestId,
    held: Mutex<Option<Held>>,
    /// Whether `held` is gone, for those who ask often.
    ended: AtomicBool,
    /// Whoever wants to know when the deadline ends it.
    waiting: AtomicWaker,
}

/// What a request under way occupies, until its settlement is committed.
pub(super) struct Held {
    journaled: Option<Slot>,
    /// What was recorded last, with or without a journal.
    entry: Entry,
    /// What the client sees, and how the upstream is let go.
    status: u16,
    abort: Option<Abort>,
    _slot: OwnedSemaphorePermit,
}

impl Held {
    pub(super) const fn new(journaled: Option<Slot>, slot: OwnedSemaphorePermit) -> Self {
        Self {
            journaled,
            entry: Entry::INTENT,
            status: 0,
            abort: None,
            _slot: slot,
        }
    }

    /// Returns what is charged for all that was delivered.
    fn delivered(&self, id: RequestId) -> Charge {
        let charge = Leftover::new(id, &self.entry, true, false).charge(Ending::Cut);
        let charge = charge.unwrap_or_else(|| Charge::nothing(Ending::Cut, 0));
        let ending = match charge.source {
            Source::Nothing => Ending::Lost,
            _ => charge.ending,
        };
        Charge {
            ending,
            status: self.status,
            ..charge
        }
    }

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
            waiting: AtomicWaker::new(),
        }
    }

    /// Notes an entry in the journal.
    pub(super) fn record(&self, entry: Entry) -> Result<(), RecordError> {
        let mut held = self.held();
        let held = held.as_mut().ok_or(RecordError::Ended)?;
        if let Some(slot) = &mut held.journaled {
            slot.record(entry).map_err(RecordError::Journal)?;
        }
        held.entry = entry;
        Ok(())
    }

    /// Notes what the client sees, and how the upstream is let go although nobody asks it for more.
    pub(super) fn answer(&self, status: u16, abort: Option<Abort>) {
        if let Some(held) = self.held().as_mut() {
            held.status = status;
            held.abort = abort;
            return;
        }
        // Its time was over just before.
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// Settles, unless that has happened.
    pub(super) fn close(&self, charge: Charge) {
        if let Some(held) = self.take() {
            self.settle(held, charge);
        }
    }

    /// Ends it at its deadline, unless it has ended: lets go of the upstream, and settles what was delivered.
    pub(super) fn expire(&self) {
        let Some(mut held) = self.take() else {
            return;
        };
        metrics::counter!("llm_gate_ledger_overdue_total").increment(1);
        tracing::warn!(id = %self.id, "a request is ended: its time is over");
        if let Some(abort) = held.abort.take() {
            abort.abort();
        }
        let charge = held.delivered(self.id);
        self.settle(held, charge);
        self.waiting.wake();
    }

    fn settle(&self, mut held: Held, charge: Charge) {
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

    /// Ready when the deadline has ended it. Remembers one waiter.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.has_ended() {
            self.waiting.register(cx.waker());
            // Again, for an end between the two.
            if !self.has_ended() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        // Nothing in between leaves it half done: a slot knows itself whether a write happened.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
