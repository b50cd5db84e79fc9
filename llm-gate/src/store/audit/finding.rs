use std::fmt;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::identity::RequestId;
use crate::store::rules::EntryKind;
use crate::store::{CounterKey, OwnerId};
use crate::words::words;

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
