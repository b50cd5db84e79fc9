mod finding;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use super::rules::{EntryKind, State};
use super::{Author, StoreFuture};
use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::CounterKey;

pub use finding::{Figure, Finding, LineFault, LineName};
pub use record::{CallRecord, LedgerLine, LineQuery, Lines, Link};

/// What is to be known for checking the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// When it is done. A store whose database has the clock asks that.
    pub at: Timestamp,
    /// How long a reservation may stay pending after its owner was given up.
    pub grace: Duration,
}

impl Check {
    /// How long the reservations of an owner that was given up may take to be settled, unless said: 30 s.
    pub const GRACE: Duration = Duration::from_secs(30);

    /// Checks as of `at`.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self {
            at,
            grace: Self::GRACE,
        }
    }

    /// Sets how long a reservation may stay pending after its owner was given up. [`GRACE`](Self::GRACE)
    /// unless set.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// How the books were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many counters were added up.
    pub counters: u64,
    /// How many lines the ledger has.
    pub lines: u64,
    /// How many writers have written them; none where the store has no chains.
    pub writers: u64,
    /// How many reservations were compared with their lines.
    pub reservations: u64,
    /// How many of them are pending.
    pub pending: u64,
    /// What is wrong: the first [`MAX_FINDINGS`](Self::MAX_FINDINGS).
    pub findings: Vec<Finding>,
    /// How much more is wrong.
    pub more: u64,
}

impl Verification {
    /// How many findings are kept; the others are counted.
    pub const MAX_FINDINGS: usize = 1_000;

    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns how much is wrong.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.more + self.findings.len() as u64
    }

    /// Notes what is wrong.
    pub fn find(&mut self, finding: Finding) {
        if self.findings.len() < Self::MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Compares a counter with what the rows add up to.
    pub fn compare(
        &mut self,
        counter: impl FnOnce() -> CounterKey,
        kept: [i128; 3],
        rows: [i128; 3],
    ) {
        if kept == rows {
            return;
        }
        let counter = counter();
        for (figure, (kept, rows)) in Figure::ALL.iter().zip(kept.into_iter().zip(rows)) {
            if kept != rows {
                self.find(Finding::Balance {
                    counter: counter.clone(),
                    figure: *figure,
                    kept,
                    rows,
                });
            }
        }
    }

    /// Compares a reservation with the lines that the ledger has of it: of each kind that belongs to its state one on
    /// each of its counters, and no other. `parts` are its counters, with what the reservation was charged on each
    /// by its own record, where there is one.
    pub fn compare_request<K: Ord + Copy>(
        &mut self,
        id: RequestId,
        state: &State,
        parts: &[(K, Option<i64>)],
        lines: &[(K, EntryKind, i64)],
    ) {
        for kind in EntryKind::ALL {
            let each = usize::from(state.entries().contains(kind));
            let of_kind = || lines.iter().filter(|(_, other, _)| other == kind);
            let found = of_kind().count();
            let once = |(part, _): &(K, Option<i64>)| {
                of_kind().filter(|(counter, ..)| counter == part).count() == each
            };
            let expected = parts.len() * each;
            if found != expected || !parts.iter().all(once) {
                self.find(Finding::Request {
                    id,
                    state: state.as_str(),
                    kind: *kind,
                    counters: expected,
                    found,
                });
            }
        }
        let mut charged = BTreeMap::<K, i128>::new();
        for (counter, _, charge) in lines {
            *charged.entry(*counter).or_default() += i128::from(*charge);
        }
        for (counter, kept) in parts {
            let rows = charged.get(counter).copied().unwrap_or_default();
            if let Some(kept) = kept.filter(|kept| i128::from(*kept) != rows) {
                self.find(Finding::Charge {
                    id,
                    state: state.as_str(),
                    kept,
                    rows,
                });
            }
        }
    }
}

/// Looks into the books: checks them, and shows what is on record.
pub trait AuditStore: Send + Sync + 'static {
    /// Checks the books, over one unchanging state of them, in bounded memory:
    ///
    /// - each counter against what its rows add up to,
    /// - each writer's chain of hashes over the ledger, where the store has chains,
    /// - each reservation against its lines in the ledger,
    /// - and that nothing stays held whose owner was given up.
    ///
    /// # Errors
    ///
    /// Fails where the books cannot be read. What is wrong with them is no error, but a finding.
    fn verify(&self, check: Check) -> StoreFuture<'_, Verification>;

    /// Reads lines of the ledger, the oldest row first. The work of one call is bounded, however few lines there
    /// are of the time that is asked for.
    ///
    /// A line that is being written while an earlier page is read may be missing from a later one.
    fn lines(&self, query: LineQuery) -> StoreFuture<'_, Lines>;

    /// Lists the calls whose charge is presumed, the oldest first, at most `count`, those behind `after`.
    fn presumed(&self, after: Option<RequestId>, count: u32) -> StoreFuture<'_, Vec<CallRecord>>;

    /// Takes back what was presumed of a call, and answers how it is then; `None` where there is no such call. One that
    /// is not presumed, never was or not any more, stays as it is.
    ///
    /// An event is left in the same transaction: the call's own ([`CallRecord::refund_event`]).
    fn refund_presumed(&self, id: RequestId, author: Author)
    -> StoreFuture<'_, Option<CallRecord>>;

    /// Reads a call.
    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>>;

    /// Returns whether a subject is there: a user, a project or a key that was made, in use or not. The platform
    /// is, and what stands for each of a kind.
    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool>;
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::Settlement;
    use crate::tokens::{Amount, Tokens};

    const CHARGED: Settlement = Settlement {
        charged: Tokens::new(5),
        overage: Tokens::ZERO,
        cost: Amount::ZERO,
        repeated: false,
    };

    fn found(state: State, parts: &[(u8, Option<i64>)], lines: &[(u8, EntryKind, i64)]) -> u64 {
        let mut verification = Verification::default();
        verification.compare_request(RequestId::new(), &state, parts, lines);
        verification.found()
    }

    #[test]
    fn a_request_has_one_line_a_counter_of_each_kind_that_its_state_asks_for() {
        use EntryKind::{Correct, Late, Refund, Settle};
        let parts = [(1, Some(5)), (2, Some(5))];
        let settled = [(1, Settle, 5), (2, Settle, 5)];
        assert_eq!(found(State::Settled(CHARGED), &parts, &settled), 0);
        assert_eq!(found(State::Expired(CHARGED), &parts, &settled), 0);
        let corrected = [
            (1, Settle, 9),
            (2, Settle, 9),
            (1, Correct, -4),
            (2, Correct, -4),
        ];
        assert_eq!(found(State::Corrected(CHARGED), &parts, &corrected), 0);
        let late = [(1, Settle, 9), (1, Refund, -9), (1, Late, 0)];
        assert_eq!(found(State::Late(CHARGED), &[(1, Some(0))], &late), 0);
        for (state, lines, reason) in [
            (State::Settled(CHARGED), &settled[..1], "one is missing"),
            (
                State::Void,
                &settled[..],
                "what served nothing is not charged",
            ),
            (
                State::Pending,
                &settled[..],
                "what has not ended is not charged",
            ),
            (
                State::Settled(CHARGED),
                &corrected[..],
                "a correction of nothing",
            ),
            (State::Refunded, &settled[..], "a refund without a line"),
            (
                State::Settled(CHARGED),
                &[(1, Settle, 5), (1, Settle, 5)],
                "twice on one counter and never on the other",
            ),
            (
                State::Settled(CHARGED),
                &[(1, Settle, 5), (2, Settle, 6)],
                "another charge than the record has",
            ),
        ] {
            assert!(found(state, &parts, lines) > 0, "{reason}");
        }
    }

    #[test]
    fn findings_are_counted_beyond_what_is_kept() {
        let mut verification = Verification::default();
        for sequence in 0..1_500 {
            verification.find(Finding::Gap {
                writer: Uuid::nil(),
                first: sequence,
                last: sequence,
                before: None,
            });
        }
        assert_eq!(verification.findings.len(), Verification::MAX_FINDINGS);
        assert_eq!(verification.found(), 1_500);
    }
}
