use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::abort::Abort;
use crate::identity::RequestId;
use crate::store::{Ending, Served};
use crate::tokens::{Tokens, Usage};
use crate::upstream::UpstreamName;

use super::journal::{Entry, Slot};
use super::{Charge, Ledger, RecordError};

/// A request under way, as those know it who may end it: its guard, and the task that keeps the deadlines.
///
/// Whoever brings [`state`](Self::state) to `ENDED` settles; the other finds it so. Nobody can while something is
/// being recorded, so that is either done before the end, and charged, or not at all, and not delivered.
pub(super) struct Open {
    pub(super) ledger: Ledger,
    pub(super) id: RequestId,
    state: AtomicU8,
    /// What was recorded last. Written while `RECORDING`, read when `ENDED`.
    last: Last,
    handed_on: HandedOn,
    journaled: bool,
    /// Taken out with the end. Never fought for: `state` has decided before.
    held: Mutex<Option<Held>>,
    /// Whether it was the deadline that ended it, and whoever wants to know that.
    overdue: AtomicBool,
    waiting: AtomicWaker,
}

/// Nobody is at it.
const OPEN: u8 = 0;
/// The guard is at it, for as long as a write into the page cache takes.
const RECORDING: u8 = 1;
const ENDED: u8 = 2;

/// What a request under way occupies, until its settlement is committed.
pub(super) struct Held {
    journaled: Option<Slot>,
    /// What the client sees, and how the upstream is let go.
    status: u16,
    abort: Option<Abort>,
    upstream: Option<UpstreamName>,
    _slot: OwnedSemaphorePermit,
}

/// What is recorded of a request, in its order.
#[derive(Clone, Copy)]
pub(super) enum Record {
    /// It is about to be sent.
    Forwarded,
    /// The upstream has reported so much.
    Running(Usage),
    /// It is charged at most so much, because the upstream reports nothing.
    Estimated(Tokens),
}

impl Record {
    fn entry(self) -> Entry {
        match self {
            Self::Forwarded => Entry::forwarded(),
            Self::Running(usage) => Entry::running(usage),
            Self::Estimated(tokens) => Entry::estimated(tokens),
        }
    }
}

/// The charge of what was recorded last. Plain accesses: `state` puts them in order.
#[derive(Default)]
struct Last {
    reported: AtomicBool,
    prompt: AtomicU64,
    completion: AtomicU64,
    cached: AtomicU64,
    reasoning: AtomicU64,
    estimated: AtomicU64,
}

/// What was handed on of the answer, for the record. One writer; the deadline may find it one frame behind.
struct HandedOn {
    since: Instant,
    bytes: AtomicU64,
    /// When the first bytes were, in microseconds since the beginning, and one more; 0 before.
    first: AtomicU64,
}

impl HandedOn {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            bytes: AtomicU64::new(0),
            first: AtomicU64::new(0),
        }
    }

    #[inline]
    fn add(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let before = self.bytes.load(Ordering::Relaxed);
        if before == 0 {
            let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.first
                .store(micros.saturating_add(1), Ordering::Relaxed);
        }
        let all = before.saturating_add(bytes);
        self.bytes.store(all, Ordering::Relaxed);
    }

    fn served(&self, upstream: Option<UpstreamName>) -> Served {
        let first = self.first.load(Ordering::Relaxed).checked_sub(1);
        Served {
            upstream,
            response_bytes: self.bytes.load(Ordering::Relaxed),
            first_data: first.map(Duration::from_micros),
            total: self.since.elapsed(),
        }
    }
}

/// Lets others end it again, also after a panic.
struct Recording<'a>(&'a AtomicU8);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.store(OPEN, Ordering::Release);
    }
}

impl Last {
    fn note(&self, record: Record) {
        match record {
            Record::Forwarded => {}
            Record::Running(usage) => {
                self.prompt.store(usage.prompt, Ordering::Relaxed);
                self.completion.store(usage.completion, Ordering::Relaxed);
                self.cached.store(usage.cached, Ordering::Relaxed);
                self.reasoning.store(usage.reasoning, Ordering::Relaxed);
                self.reported.store(true, Ordering::Relaxed);
            }
            Record::Estimated(tokens) => {
                self.estimated.store(tokens.get(), Ordering::Relaxed);
                self.reported.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Returns what is charged for all that was delivered.
    fn charge(&self, status: u16) -> Charge {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        if self.reported.load(Ordering::Relaxed) {
            let usage = Usage {
                prompt: read(&self.prompt),
                completion: read(&self.completion),
                cached: read(&self.cached),
                reasoning: read(&self.reasoning),
            };
            return Charge::upstream(usage, Ending::Cut, status);
        }
        match Tokens::new(read(&self.estimated)) {
            Tokens::ZERO => Charge::nothing(Ending::Lost, status),
            tokens => Charge::estimated(tokens, Ending::Cut, status),
        }
    }
}

impl Held {
    pub(super) const fn new(journaled: Option<Slot>, slot: OwnedSemaphorePermit) -> Self {
        Self {
            journaled,
            status: 0,
            abort: None,
            upstream: None,
            _slot: slot,
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
    pub(super) fn new(ledger: Ledger, id: RequestId, held: Held) -> Self {
        Self {
            ledger,
            id,
            state: AtomicU8::new(OPEN),
            last: Last::default(),
            handed_on: HandedOn::new(),
            journaled: held.journaled.is_some(),
            held: Mutex::new(Some(held)),
            overdue: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }

    /// Notes something, in the journal too if there is one.
    #[inline]
    pub(super) fn record(&self, record: Record) -> Result<(), RecordError> {
        self.begin(RECORDING).ok_or(RecordError::Ended)?;
        let _recording = Recording(&self.state);
        if self.journaled {
            self.journal(record)?;
        }
        self.last.note(record);
        Ok(())
    }

    fn journal(&self, record: Record) -> Result<(), RecordError> {
        let mut held = self.held();
        let slot = held.as_mut().and_then(|held| held.journaled.as_mut());
        slot.map_or(Ok(()), |slot| slot.record(record.entry()))
            .map_err(RecordError::Journal)
    }

    /// Goes on to `next`, unless it has ended.
    #[inline]
    fn begin(&self, next: u8) -> Option<()> {
        let state = &self.state;
        while let Err(found) =
            state.compare_exchange(OPEN, next, Ordering::Acquire, Ordering::Acquire)
        {
            if found == ENDED {
                return None;
            }
            // The guard writes down an event at this very moment, once in the life of a request.
            std::thread::yield_now();
        }
        Some(())
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

    /// Notes which upstream it is sent to.
    pub(super) fn served_by(&self, upstream: UpstreamName) {
        if let Some(held) = self.held().as_mut() {
            held.upstream = Some(upstream);
        }
    }

    /// Counts bytes that are handed on.
    #[inline]
    pub(super) fn delivered(&self, bytes: u64) {
        self.handed_on.add(bytes);
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
        let charge = self.last.charge(held.status);
        self.settle(held, charge);
        self.overdue.store(true, Ordering::Release);
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
        let served = self.handed_on.served(held.upstream.take());
        let settle = charge.settlement(self.id, self.ledger.now(), Some(served));
        self.ledger.settle(settle, held);
    }

    /// Takes out what is occupied, and with it the right to say how the request ended.
    pub(super) fn take(&self) -> Option<Held> {
        self.begin(ENDED)?;
        self.held().take()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// Ready when the deadline has ended it. Remembers one waiter.
    pub(super) fn poll_overdue(&self, cx: &Context<'_>) -> Poll<()> {
        let overdue = || self.overdue.load(Ordering::Acquire);
        if !overdue() {
            self.waiting.register(cx.waker());
            // Again, for an end between the two.
            if !overdue() {
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
