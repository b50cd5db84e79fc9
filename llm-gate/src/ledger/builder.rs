use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::clock::{Clock, SystemClock};
use crate::store::LedgerStore;

use super::deadlines::Deadlines;
use super::journal::Journal;
use super::lease::Lease;
use super::rooms::Rooms;
use super::{Ledger, Shared, writer};
#[cfg(doc)]
use super::{ReserveError, journal};

/// How many requests may be under way unless [`Builder::slots`] says otherwise.
const SLOTS: usize = 4096;
/// How long a request may take unless [`Builder::deadline`] says otherwise: what an upstream may take, and some
/// more, so that whoever can end it in a better way does.
const DEADLINE: Duration = Duration::from_secs(3600 + 60);
/// The longest deadline; no clock overflows by it.
const FOREVER: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Configures a [`Ledger`].
#[derive(Debug)]
pub struct Builder {
    clock: Arc<dyn Clock>,
    journal: Option<Journal>,
    slots: usize,
    deadline: Duration,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            journal: None,
            slots: SLOTS,
            deadline: DEADLINE,
        }
    }

    /// Sets the clock. The system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets how many requests may be under way; more are refused with [`ReserveError::Full`]. 4,096 unless
    /// set, at least 1.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        self
    }

    /// Sets how long a request may take, from its reservation on. 1 h and a minute unless set.
    ///
    /// At its deadline it is charged what was recorded last, which is what was delivered, as
    /// [`Cut`](crate::store::Ending::Cut); nothing if nothing was, as [`Lost`](crate::store::Ending::Lost). The
    /// upstream is aborted by the [`Abort`](crate::abort::Abort) that came with its answer. Nothing can be
    /// recorded after that, so nothing is delivered that is not charged. It is the last resort: set it above
    /// the timeouts of the upstream.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit.min(FOREVER);
        self
    }

    /// Sets the journal, which makes charges exact across `kill -9`: see [`journal`] and
    /// [`Ledger::recover`]. Without one the hold of a request under way at a kill stays taken.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Starts the writer task, and the one that keeps the deadlines.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use]
    pub fn spawn(self, store: Arc<dyn LedgerStore>) -> Ledger {
        let (queue, jobs) = mpsc::unbounded_channel();
        // Ends by itself when every handle and every reservation is gone and all of it is written.
        let rooms = Arc::new(Rooms::new());
        tokio::spawn(writer::run(jobs, store.clone(), rooms.clone()));
        Ledger {
            shared: Arc::new(Shared {
                store,
                journal: self.journal,
                draining: AtomicBool::new(false),
                lease: Lease::new(),
                clock: self.clock,
                queue,
                rooms,
                deadlines: Deadlines::spawn(self.deadline),
                slots: Arc::new(Semaphore::new(self.slots)),
                capacity: u32::try_from(self.slots).unwrap_or(u32::MAX),
            }),
        }
    }
}
