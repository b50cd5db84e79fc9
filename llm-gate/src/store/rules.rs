//! What an [`Operation`] does to the books, as pure functions over a [`Book`].
//!
//! Every backend keeps rows in its own way and lets these functions decide, so that a hold is granted
//! in memory exactly where it is granted in SQLite. A `Book` is whatever the backend has loaded for the
//! batch at hand.
//!
//! ```
//! use llm_gate::store::rules::Counter;
//! use llm_gate::tokens::Tokens;
//!
//! let counter = Counter { limit: Some(Tokens::new(100)), used: Tokens::new(70), ..Counter::default() };
//! assert_eq!(counter.room(), Tokens::new(30));
//! ```

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::{
    Denial, DenialReason, Extend, Grant, Operation, Outcome, Reserve, Settle, Settlement, Source,
    Standing,
};
use crate::tokens::Tokens;

/// One counter: the balance of a subject.
///
/// `used + reserved` never grows past the limit in force; what is used beyond a hold and beyond the
/// limit is booked as `overage`.
pub type Counter = Standing;

impl Counter {
    /// Returns how much may still be held: what the limit leaves, or [`Tokens::MAX`] without one.
    #[must_use]
    pub fn room(&self) -> Tokens {
        let ceiling = self.limit.unwrap_or(Tokens::MAX);
        ceiling
            .saturating_sub(self.used)
            .saturating_sub(self.reserved)
    }
}

/// Where a reservation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The hold is taken.
    Pending,
    /// Charged.
    Settled(Settlement),
    /// Given back whole.
    Void,
}

/// A reservation as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// What each counter holds for it.
    pub hold: Tokens,
    /// Which change of the hold that was: 0 for the reserve's own.
    pub version: u32,
    /// Whose counters.
    pub subjects: Vec<Subject>,
    /// Where it is in its life.
    pub state: State,
}

/// One line of the ledger: what one counter was charged by one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request that was settled.
    pub reservation: RequestId,
    /// Whose counter.
    pub subject: Subject,
    /// What was added to `used`.
    pub charge: Tokens,
    /// What was added to `overage`.
    pub overage: Tokens,
    /// When.
    pub at: Timestamp,
}

/// The rows that a batch touches, as the rules read and write them.
pub trait Book {
    /// Reads a counter; zeros for one never heard of.
    fn counter(&self, subject: Subject) -> Counter;
    /// Writes a counter back.
    fn put_counter(&mut self, subject: Subject, counter: Counter);
    /// Reads a reservation.
    fn reservation(&self, id: RequestId) -> Option<&Reservation>;
    /// Keeps a new reservation.
    fn open(&mut self, reserve: &Reserve, reservation: Reservation);
    /// Sets hold and version of a pending reservation. Its counters were written before.
    fn hold(&mut self, extend: &Extend);
    /// Moves a pending reservation to its end, with the operation that says how.
    fn close(&mut self, settle: &Settle, state: State);
    /// Appends a line to the ledger.
    fn post(&mut self, entry: Entry);
}

/// Applies one operation.
pub fn apply<B: Book>(book: &mut B, operation: &Operation) -> Outcome {
    match operation {
        Operation::Reserve(reserve) => apply_reserve(book, reserve),
        Operation::Extend(extend) => apply_extend(book, extend),
        Operation::Settle(settle) => apply_settle(book, settle),
    }
}

fn apply_reserve<B: Book>(book: &mut B, reserve: &Reserve) -> Outcome {
    // The first answer stands: a batch whose acknowledgement was lost is sent again.
    if let Some(known) = book.reservation(reserve.id) {
        let hold = known.hold;
        return Outcome::Granted(Grant {
            hold,
            standing: tightest(book, &reserve.subjects),
            repeated: true,
        });
    }
    let subjects = once_each(&reserve.subjects);
    let mut hold = reserve.hold;
    for &subject in &*subjects {
        let counter = book.counter(subject);
        let denied = |reason| {
            Outcome::Denied(Denial {
                subject,
                reason,
                standing: counter,
            })
        };
        if counter.frozen {
            return denied(DenialReason::Frozen);
        }
        let room = counter.room();
        if room < reserve.least {
            return denied(DenialReason::Exhausted);
        }
        hold = hold.min(room);
    }
    for &subject in &*subjects {
        let mut counter = book.counter(subject);
        counter.reserved = counter.reserved.saturating_add(hold);
        book.put_counter(subject, counter);
    }
    book.open(
        reserve,
        Reservation {
            hold,
            version: 0,
            subjects: subjects.into_owned(),
            state: State::Pending,
        },
    );
    Outcome::Granted(Grant {
        hold,
        standing: tightest(book, &reserve.subjects),
        repeated: false,
    })
}

fn apply_extend<B: Book>(book: &mut B, extend: &Extend) -> Outcome {
    let Some(known) = book.reservation(extend.id) else {
        return Outcome::Unknown;
    };
    if let Some(settlement) = ended(known.state) {
        return Outcome::Settled(settlement);
    }
    let (hold, version, mut subjects) = (known.hold, known.version, known.subjects.clone());
    // Stores read them back in an order of their own, and all of them give the same answer.
    subjects.sort_unstable();
    if extend.version <= version {
        return Outcome::Extended(Grant {
            hold,
            standing: tightest(book, &subjects),
            repeated: true,
        });
    }
    let more = extend.hold.saturating_sub(hold);
    if more > Tokens::ZERO {
        for &subject in &subjects {
            let counter = book.counter(subject);
            let reason = if counter.frozen {
                DenialReason::Frozen
            } else if counter.room() < more {
                DenialReason::Exhausted
            } else {
                continue;
            };
            return Outcome::Denied(Denial {
                subject,
                reason,
                standing: counter,
            });
        }
    }
    let less = hold.saturating_sub(extend.hold);
    for &subject in &subjects {
        let mut counter = book.counter(subject);
        counter.reserved = counter.reserved.saturating_sub(less).saturating_add(more);
        book.put_counter(subject, counter);
    }
    book.hold(extend);
    Outcome::Extended(Grant {
        hold: extend.hold,
        standing: tightest(book, &subjects),
        repeated: false,
    })
}

fn apply_settle<B: Book>(book: &mut B, settle: &Settle) -> Outcome {
    let Some(known) = book.reservation(settle.id) else {
        return Outcome::Unknown;
    };
    if let Some(settlement) = ended(known.state) {
        return Outcome::Settled(settlement);
    }
    let (hold, subjects) = (known.hold, known.subjects.clone());
    // What served nothing charges nothing, whatever the operation says: the ledger has no line for it.
    let charge = match settle.source {
        Source::Nothing => Tokens::ZERO,
        Source::Presumed => hold,
        Source::Upstream | Source::Estimated => settle.charge,
    };
    let mut worst = Settlement {
        charged: charge,
        overage: Tokens::ZERO,
        repeated: false,
    };
    for subject in subjects {
        let mut counter = book.counter(subject);
        counter.reserved = counter.reserved.saturating_sub(hold);
        // Up to the hold is paid for by the hold, whatever became of the limit since; the excess is a
        // further debit, as far as it fits.
        let within = charge.min(hold);
        counter.used = counter.used.saturating_add(within);
        let excess = charge.saturating_sub(within);
        let further = excess.min(counter.room());
        counter.used = counter.used.saturating_add(further);
        let overage = excess.saturating_sub(further);
        counter.overage = counter.overage.saturating_add(overage);
        book.put_counter(subject, counter);
        if !settle.is_void() {
            book.post(Entry {
                reservation: settle.id,
                subject,
                charge: within.saturating_add(further),
                overage,
                at: settle.at,
            });
        }
        if overage > worst.overage {
            worst.overage = overage;
            worst.charged = charge.saturating_sub(overage);
        }
    }
    let state = if settle.is_void() {
        State::Void
    } else {
        State::Settled(worst)
    };
    book.close(settle, state);
    Outcome::Settled(worst)
}

/// Returns what became of a reservation that has come to its end, as a repetition.
const fn ended(state: State) -> Option<Settlement> {
    match state {
        State::Pending => None,
        State::Settled(settlement) => Some(Settlement {
            repeated: true,
            ..settlement
        }),
        State::Void => Some(Settlement {
            charged: Tokens::ZERO,
            overage: Tokens::ZERO,
            repeated: true,
        }),
    }
}

/// Leaves out what is named again: a reservation holds once on each of its counters.
fn once_each(subjects: &[Subject]) -> Cow<'_, [Subject]> {
    let again = |at: &usize| subjects[..*at].contains(&subjects[*at]);
    if !(1..subjects.len()).any(|at| again(&at)) {
        return Cow::Borrowed(subjects);
    }
    let first = (0..subjects.len()).filter(|at| !again(at));
    first.map(|at| subjects[at]).collect()
}

/// Returns the counter that leaves the least room; one without a limit only if none has one.
fn tightest<B: Book>(book: &B, subjects: &[Subject]) -> Standing {
    subjects
        .iter()
        .map(|&subject| book.counter(subject))
        .min_by_key(|counter| (counter.limit.is_none(), counter.room()))
        .unwrap_or_default()
}
