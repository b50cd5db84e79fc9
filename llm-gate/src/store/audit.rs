use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, RequestId, Subject, UserId};
use crate::store::rules::{Entry, EntryKind, State};
use crate::store::{CounterKey, Ending, OwnerId, Source, StoreFuture};
use crate::tokens::{Tokens, Usage};

use super::words::words;

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

words! {
    /// A figure of a counter.
    Figure {
        /// What has been charged.
        Used = "used",
        /// What was used beyond hold and limit.
        Overage = "overage",
        /// What is held for requests under way.
        Reserved = "reserved",
    }
}

/// Names a line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineName {
    /// Its row.
    pub id: i64,
    /// Who wrote it.
    pub writer: Uuid,
    /// Which of the writer's lines it is.
    pub sequence: i64,
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            writer,
            sequence,
        } = self;
        write!(f, "ledger row {id} (writer {writer}, sequence {sequence})")
    }
}

/// What is wrong with a line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFault {
    /// Its hash is not that of what it says and of the line before.
    Changed,
    /// Its row does not lie behind that of the line before.
    Misplaced,
    /// Its counter is not there.
    NoCounter,
    /// It is about a request that is not there.
    NoRequest,
    /// Its writer has never said how far it has come.
    NoHead,
    /// Its writer has never come so far.
    BeyondHead,
    /// It is the writer's last one, and the writer ended with another.
    NotHead,
}

impl LineFault {
    const fn words(self) -> &'static str {
        match self {
            Self::Changed => "hash does not match: this row or the one before it was changed",
            Self::Misplaced => "id is not above that of the row before it",
            Self::NoCounter => "its counter is missing",
            Self::NoRequest => "its reservation is missing",
            Self::NoHead => "its writer has no row in chains",
            Self::BeyondHead => "lies beyond the end that chains has for its writer",
            Self::NotHead => "is the last one, and chains has another hash for the end",
        }
    }
}

/// Something that is wrong with the books. In words it is one line, whose first word is its
/// [`kind`](Self::kind).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A counter is not what the rows add up to.
    Balance {
        /// Which one.
        counter: CounterKey,
        /// Which of its figures.
        figure: Figure,
        /// What the counter says.
        kept: i128,
        /// What the rows add up to.
        rows: i128,
    },
    /// A line of the ledger is not as it was written.
    Line {
        /// Which one.
        line: LineName,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// Lines of the ledger are missing.
    Gap {
        /// Who had written them.
        writer: Uuid,
        /// The first that is missing.
        first: i64,
        /// The last that is missing.
        last: i64,
        /// The line behind them, `None` where the end is missing.
        before: Option<LineName>,
    },
    /// A reservation has other lines in the ledger than its state asks for.
    Request {
        /// Which one.
        id: RequestId,
        /// Its state.
        state: &'static str,
        /// The kind of lines.
        kind: EntryKind,
        /// How many there should be: one a counter, or none.
        counters: usize,
        /// How many there are.
        found: usize,
    },
    /// A reservation was charged something else than the ledger says.
    Charge {
        /// Which one.
        id: RequestId,
        /// Its state.
        state: &'static str,
        /// What it was charged on a counter.
        kept: i64,
        /// What the ledger says.
        rows: i128,
    },
    /// A reservation is still pending, though its owner was given up longer ago than the grace.
    Hold {
        /// Which one.
        id: RequestId,
        /// Its owner.
        owner: OwnerId,
        /// When the owner was given up.
        given_up: Timestamp,
    },
}

impl Finding {
    /// Returns the word that it begins with.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Balance { .. } => "balance",
            Self::Line { .. } => "row",
            Self::Gap { .. } => "gap",
            Self::Request { .. } | Self::Charge { .. } => "request",
            Self::Hold { .. } => "hold",
        }
    }

    /// Returns the line of the ledger that it is about.
    #[must_use]
    pub const fn line(&self) -> Option<LineName> {
        match self {
            Self::Line { line, .. } => Some(*line),
            Self::Gap { before, .. } => *before,
            _ => None,
        }
    }

    /// Returns the reservation that it is about.
    #[must_use]
    pub const fn request(&self) -> Option<RequestId> {
        match self {
            Self::Request { id, .. } | Self::Charge { id, .. } | Self::Hold { id, .. } => Some(*id),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Self::Balance {
                counter,
                figure,
                kept,
                rows,
            } => {
                write!(f, "{counter}")?;
                if counter.start != Timestamp::default() {
                    write!(f, " from {}", Moment(counter.start))?;
                }
                write!(f, ": {figure} is {kept}, its rows add up to {rows}")
            }
            Self::Line { line, fault } => write!(f, "{line}: {}", fault.words()),
            Self::Gap {
                writer,
                first,
                last,
                before: Some(before),
            } => write!(
                f,
                "writer {writer}: sequence {first} to {last} is missing before {before}"
            ),
            Self::Gap {
                writer,
                first,
                last,
                before: None,
            } => write!(
                f,
                "writer {writer}: sequence {first} to {last} is missing at the end"
            ),
            Self::Request {
                id,
                state,
                kind,
                counters,
                found,
            } => write!(
                f,
                "reservation {id} is {state}: it has {found} ledger rows of kind {kind}, \
                 one on each of {counters} counters is right"
            ),
            Self::Charge {
                id,
                state,
                kept,
                rows,
            } => write!(
                f,
                "reservation {id} is {state}: it was charged {kept} on a counter, \
                 its ledger rows add up to {rows}"
            ),
            Self::Hold {
                id,
                owner,
                given_up,
            } => write!(
                f,
                "reservation {id} is pending: its owner {} was given up at {}",
                owner.0,
                Moment(*given_up)
            ),
        }
    }
}

/// Writes a time; in microseconds where the calendar has no name for it.
struct Moment(Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0.as_micros()) {
            Ok(moment) => moment.fmt(f),
            Err(_) => self.0.as_micros().fmt(f),
        }
    }
}

/// A reservation on record: whose call it was, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The request.
    pub id: RequestId,
    /// Whose call it was.
    pub user: UserId,
    /// The project it was made for.
    pub project: ProjectId,
    /// The API key it was made with.
    pub key: Option<KeyId>,
    /// The route as a word.
    pub route: Cow<'static, str>,
    /// The model as asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// What is or was held for it.
    pub hold: Tokens,
    /// Where it is in its life, with what it was charged.
    pub state: State,
    /// When it was reserved.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The figures behind the charge.
    pub usage: Usage,
    /// Where they come from.
    pub source: Option<Source>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// The HTTP status that the client saw, 0 if it saw none.
    pub status: u16,
}

/// A line of the ledger on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its row. Later lines have larger ones.
    pub id: i64,
    /// What it says.
    pub entry: Entry,
    /// Where it stands in its writer's chain, where the store has chains.
    pub link: Option<Link>,
    /// The call that it is about.
    pub call: Option<CallRecord>,
}

/// Where a line stands in its writer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who wrote it.
    pub writer: Uuid,
    /// Which of the writer's lines it is.
    pub sequence: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Which lines of the ledger are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineQuery {
    /// Only those behind this row; 0 for all.
    pub after: i64,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind.
    pub to: Timestamp,
    /// How many at once.
    pub count: u32,
}

impl LineQuery {
    /// Asks for all of them, in pages of `count`.
    #[must_use]
    pub const fn all(count: u32) -> Self {
        Self {
            after: 0,
            from: Timestamp::from_micros(i64::MIN),
            to: Timestamp::from_micros(i64::MAX),
            count,
        }
    }
}

/// Some lines of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The lines in the order of their rows; there may be none, and more to come.
    pub lines: Vec<LedgerLine>,
    /// What [`LineQuery::after`] is for the page behind, `None` at the end.
    pub next: Option<i64>,
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

    /// Reads a call.
    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>>;

    /// Returns whether a subject is there: a user, a project or a key that was made, in use or not. The platform
    /// is, and what stands for each of a kind.
    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settlement;
    use crate::tokens::Amount;

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
