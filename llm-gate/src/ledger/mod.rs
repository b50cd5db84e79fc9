//! The books' front desk: [`Ledger`] takes reservations before a request is sent and settles them when
//! it has ended, exactly once.
//!
//! A reservation is a guard. It is settled by [`Reservation::settle`]; dropped before that, whether by
//! an error, a panic or a caller that went away, it gives everything back. Between the handlers and the
//! store stands one writer task that is never cancelled: it takes whatever is queued into one
//! transaction (group commit), so that durability costs one disk write for many requests. A handler
//! that is dropped drops only its wait. Stores in memory are asked in place, without the queue.
//!
//! Where the last answers leave clear room, a request may be sent while its hold is being committed
//! ([`Ledger::overlap`]), so that the disk is waited for while the upstream works.
//!
//! A request that does not end is ended: at its [deadline](Builder::deadline) a task settles what was delivered,
//! and aborts the upstream, whoever holds the guard. A server does not poll a body whose client reads nothing,
//! so nothing inside of a body can do that.
//!
//! While the store is away, reservations are refused and settlements wait; nothing is lost.
//!
//! Where several processes share a store, each is [enlisted](Ledger::enlist): it says that it is alive, and
//! what one that is not heard of any more has held is settled by the others.
//!
//! ```
//! use std::sync::Arc;
//! use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
//! use llm_gate::ledger::{Charge, Ledger, Request};
//! use llm_gate::store::{CallInfo, Ending, LedgerStore, MemoryStore, Source};
//! use llm_gate::tokens::{Tokens, Usage};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = Arc::new(MemoryStore::new());
//! let user = UserId::new();
//! store.set_limit(Subject::User(user), Some(Tokens::new(100))).await.unwrap();
//! let ledger = Ledger::spawn(store.clone());
//!
//! let request = Request {
//!     id: RequestId::new(),
//!     subjects: vec![Subject::User(user)],
//!     hold: Tokens::new(40).into(),
//!     least: Tokens::new(40),
//!     call: CallInfo::new(user, ProjectId::new(), "chat", "tiny"),
//! };
//! let reservation = ledger.reserve(request).await.expect("40 of 100 fit");
//! reservation.settle(Charge::upstream(Usage { prompt: 11, completion: 17, ..Usage::default() }, Ending::Complete, 200));
//!
//! ledger.drain().await;
//! let standing = store.standing(Subject::User(user)).await.unwrap();
//! assert_eq!((standing.used.get(), standing.reserved.get()), (28, 0));
//! # }
//! ```

mod builder;
mod deadlines;
mod error;
mod extending;
pub mod journal;
mod lease;
mod open;
mod recovery;
mod reservation;
mod rooms;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::identity::{RequestId, Subject};
use crate::store::{
    CallInfo, Extend, Grant, Hold, LedgerStore, Operation, Outcome, Reserve, Settle, StoreError,
    StoreErrorKind,
};
use crate::tokens::Tokens;

pub use builder::Builder;
pub use error::{ExtendError, RecordError, ReserveError};
pub use extending::Extending;
pub use lease::Leases;
pub use recovery::Recovery;
use reservation::Unsent;
pub use reservation::{Charge, Reservation, Reserving};

use deadlines::Deadlines;
use journal::{ClaimError, Journal, Slot};
use lease::Lease;
use open::{Held, Open};
use rooms::Rooms;
use writer::Job;

/// A hold to be taken.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request, settled once for ever under this id.
    pub id: RequestId,
    /// Whose counters it is taken from, all or nothing.
    pub subjects: Vec<Subject>,
    /// The hold that is wanted.
    pub hold: Hold,
    /// The smallest total that will do.
    pub least: Tokens,
    /// What the call is, for the record.
    pub call: CallInfo,
}

/// The handle to the books. Clones share one writer.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn LedgerStore>,
    journal: Option<Journal>,
    draining: AtomicBool,
    lease: Lease,
    clock: Arc<dyn Clock>,
    queue: mpsc::UnboundedSender<Job>,
    rooms: Arc<Rooms>,
    deadlines: Deadlines,
    slots: Arc<Semaphore>,
    capacity: u32,
}

impl Ledger {
    /// Configures a ledger.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a ledger with the defaults.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use]
    pub fn spawn(store: Arc<dyn LedgerStore>) -> Self {
        Self::builder().spawn(store)
    }

    /// Takes the hold from every counter of `request`, all or nothing. It is committed when the future
    /// is ready.
    ///
    /// # Errors
    ///
    /// The future fails with [`ReserveError::Denied`] when the hold does not fit, [`ReserveError::Full`]
    /// when too many requests are under way, and [`ReserveError::Unavailable`] when the store cannot
    /// answer, or does not before the request's [deadline](Builder::deadline).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future voids a grant that nobody received.
    #[must_use]
    pub fn reserve(&self, request: Request) -> Reserving {
        self.take(request, false)
    }

    /// Takes the hold as [`reserve`](Self::reserve) does, and tells by [`Reserving::overlaps`] whether the
    /// request may be sent while it is being committed.
    ///
    /// It may where the store has to be waited for and what was last known of the counters leaves clear room.
    /// The whole hold is asked for then, not the least that will do: what the hold bounds is told to the
    /// upstream before it is known. Only the commit grants: nothing of the answer may be delivered before it,
    /// and if there is none the request must be aborted.
    ///
    /// # Errors
    ///
    /// As of [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future voids a grant that nobody received. Let go of the upstream first.
    #[must_use]
    pub fn overlap(&self, request: Request) -> Reserving {
        self.take(request, true)
    }

    fn take(&self, request: Request, overlap: bool) -> Reserving {
        if self.shared.draining.load(Ordering::Relaxed) {
            return Reserving::ready(Err(ReserveError::Full));
        }
        let owner = match self.shared.lease.owner() {
            Ok(owner) => owner,
            Err(error) => return Reserving::ready(Err(ReserveError::Unavailable(error))),
        };
        let Ok(slot) = self.shared.slots.clone().try_acquire_owned() else {
            return Reserving::ready(Err(ReserveError::Full));
        };
        let journaled = match self.shared.claim(request.id) {
            Ok(journaled) => journaled,
            Err(error) => return Reserving::ready(Err(error)),
        };
        let Request {
            id,
            subjects,
            hold,
            least,
            call,
        } = request;
        let mut operation = Operation::Reserve(Reserve {
            id,
            at: self.shared.clock.now(),
            subjects,
            hold,
            least,
            call,
            owner,
        });
        let held = Held::new(journaled, slot);
        let open = Arc::new(Open::new(self.clone(), id, held));
        let mut reservation = Reservation::new(open.clone());
        if let Some(outcome) = self.shared.store.apply_now(&operation) {
            let decided = reservation.decided(outcome);
            if decided.is_ok() {
                self.shared.deadlines.watch(&open);
            }
            return Reserving::ready(decided);
        }
        let Operation::Reserve(reserve) = &mut operation else {
            unreachable!("made above")
        };
        let (asked, clear) =
            self.shared
                .rooms
                .ask(&reserve.subjects, &reserve.call.model, reserve.hold.total);
        let overlaps = overlap && clear;
        if overlaps {
            reserve.least = reserve.hold.total;
        }
        reservation.on(asked.key);
        let (answer, waiting) = oneshot::channel();
        let job = Job::Reserve {
            operation,
            reservation,
            asked,
            answer,
        };
        let unsent = Unsent::new(job, open.clone());
        if overlaps {
            // What is sent to the upstream goes first: the store has until the answer.
            return Reserving::overlapping(waiting, open, unsent);
        }
        drop(unsent);
        Reserving::waiting(waiting, open)
    }

    /// Hands a reserve to the writer.
    fn enqueue(&self, job: Job, open: &Arc<Open>) {
        // If the writer is gone, so is the sender of the answer, and the wait fails.
        let _ = self.shared.queue.send(job);
        // Not before: a settlement must stand behind its reserve.
        self.shared.deadlines.watch(open);
    }

    /// Waits until every reservation is settled and committed. From the call on none is granted any more,
    /// also if the wait is given up.
    pub async fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        // The semaphore is only ever closed here, in which case there is nothing left to wait for.
        if let Ok(all) = self.shared.slots.acquire_many(self.shared.capacity).await {
            self.shared.slots.close();
            drop(all);
        }
    }

    /// Returns how many requests are under way: reserved, and not yet committed as settled.
    #[must_use]
    pub fn under_way(&self) -> usize {
        (self.shared.capacity as usize).saturating_sub(self.shared.slots.available_permits())
    }

    /// Changes a hold on the counters of `key`.
    fn extend(&self, extend: Extend, key: u64) -> Extending {
        let operation = Operation::Extend(extend);
        if let Some(outcome) = self.shared.store.apply_now(&operation) {
            return Extending::ready(extended(outcome));
        }
        let (answer, waiting) = oneshot::channel();
        // If the writer is gone, so is the sender of the answer, and the wait fails.
        let job = Job::Extend {
            operation,
            key,
            answer,
        };
        let _ = self.shared.queue.send(job);
        Extending::waiting(waiting)
    }

    fn settle(&self, settle: Settle, held: Held) {
        let operation = Operation::Settle(settle);
        if let Some(outcome) = self.shared.store.apply_now(&operation) {
            writer::note(&outcome, false);
            held.free();
            return;
        }
        if self
            .shared
            .queue
            .send(Job::Settle {
                operation,
                held,
                again: false,
            })
            .is_err()
        {
            tracing::error!("a settlement was lost: the writer is gone");
        }
    }

    /// Returns the present time by the ledger's clock.
    #[must_use]
    pub fn now(&self) -> crate::clock::Timestamp {
        self.shared.clock.now()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes a slot of the journal, if there is one.
    fn claim(&self, id: RequestId) -> Result<Option<Slot>, ReserveError> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        if !journal.healthy() {
            // What comes of it, the claim says.
            drop(journal.probe());
        }
        match journal.claim(id) {
            Ok(slot) => Ok(Some(slot)),
            Err(ClaimError::Full) => Err(ReserveError::Full),
            Err(error) => {
                let why = StoreError::with_source(StoreErrorKind::Unavailable, error);
                Err(ReserveError::Unavailable(why))
            }
        }
    }
}

/// Reads the outcome of a reserve.
fn granted(outcome: Outcome) -> Result<Grant, ReserveError> {
    match outcome {
        // The writer tells its own repetitions apart.
        Outcome::Granted(Grant { repeated: true, .. }) => Err(ReserveError::Repeated),
        Outcome::Granted(grant) => Ok(grant),
        Outcome::Denied(denial) => Err(ReserveError::Denied(denial)),
        Outcome::Extended(_) | Outcome::Settled(_) | Outcome::Unknown => {
            Err(ReserveError::Unavailable(beside_the_point()))
        }
    }
}

/// Reads the outcome of an extension.
fn extended(outcome: Outcome) -> Result<Grant, ExtendError> {
    match outcome {
        // No version is sent twice but by the writer, after an answer that never came.
        Outcome::Extended(grant) => Ok(grant),
        Outcome::Denied(denial) => Err(ExtendError::Denied(denial)),
        Outcome::Settled(_) | Outcome::Unknown => Err(ExtendError::Ended),
        Outcome::Granted(_) => Err(ExtendError::Unavailable(beside_the_point())),
    }
}

fn beside_the_point() -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, "the store answered another question")
}
