use crate::clock::Timestamp;
use crate::identity::RequestId;
use crate::store::{
    CounterKey, Extend, Hold, Limits, Refund, Reserve, Settle, Settlement, Standing, Tariff,
};
use crate::tokens::{Amount, Tokens};
use crate::words::words;

/// One counter: the balance of a subject.
///
/// `used + reserved` never grows past the limit in force; what is used beyond a hold and beyond the
/// limit is booked as `overage`.
pub type Counter = Standing;

impl Counter {
    /// Returns how much may still be held: what the limit leaves, or [`Amount::MAX`] without one.
    #[must_use]
    pub fn room(&self) -> Amount {
        let ceiling = self.limit.unwrap_or(Amount::MAX);
        ceiling
            .saturating_sub(self.used)
            .saturating_sub(self.reserved)
    }
}

/// What is kept of a counter. The limit on it is kept apart, and its window is in its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// What has been charged.
    pub used: Amount,
    /// What is held for requests under way.
    pub reserved: Amount,
    /// What was used beyond hold and limit.
    pub overage: Amount,
    /// Whether no hold is granted any more.
    pub frozen: bool,
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
    /// Charged its whole hold, because nobody knows what it used.
    Expired(Settlement),
    /// Charged what it used after all.
    Corrected(Settlement),
    /// What was presumed is taken back.
    Refunded,
    /// What was presumed is taken back, and what it used came to light later.
    Late(Settlement),
}

impl State {
    /// Returns the word that stores keep.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Settled(_) => "settled",
            Self::Void => "void",
            Self::Expired(_) => "expired",
            Self::Corrected(_) => "corrected",
            Self::Refunded => "refunded",
            Self::Late(_) => "late",
        }
    }

    /// Lists the kinds of lines that the ledger has of a reservation in this state: of each one a counter.
    #[must_use]
    pub const fn entries(&self) -> &'static [EntryKind] {
        match self {
            Self::Pending | Self::Void => &[],
            Self::Settled(_) | Self::Expired(_) => &[EntryKind::Settle],
            Self::Corrected(_) => &[EntryKind::Settle, EntryKind::Correct],
            Self::Refunded => &[EntryKind::Settle, EntryKind::Refund],
            Self::Late(_) => &[EntryKind::Settle, EntryKind::Refund, EntryKind::Late],
        }
    }

    /// Reads the word back; `settlement` is what was charged in that state.
    #[must_use]
    pub fn from_word(word: &str, settlement: Settlement) -> Option<Self> {
        Some(match word {
            "pending" => Self::Pending,
            "settled" => Self::Settled(settlement),
            "void" => Self::Void,
            "expired" => Self::Expired(settlement),
            "corrected" => Self::Corrected(settlement),
            "refunded" => Self::Refunded,
            "late" => Self::Late(settlement),
            _ => return None,
        })
    }

    /// Returns what is charged in this state.
    #[must_use]
    pub const fn settlement(&self) -> Settlement {
        match self {
            Self::Pending | Self::Void | Self::Refunded => Settlement {
                charged: Tokens::ZERO,
                overage: Tokens::ZERO,
                cost: Amount::ZERO,
                repeated: false,
            },
            Self::Settled(settlement)
            | Self::Expired(settlement)
            | Self::Corrected(settlement)
            | Self::Late(settlement) => *settlement,
        }
    }
}

/// A reservation as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The bound of what it may use.
    pub hold: Hold,
    /// Which change of the hold that was: 0 for the reserve's own.
    pub version: u32,
    /// How its tokens are counted.
    pub tariff: Tariff,
    /// The windows that it was admitted in. It counts in them whenever it ends.
    pub counters: Vec<CounterKey>,
    /// Where it is in its life.
    pub state: State,
}

impl Reservation {
    /// Returns what a counter holds for it.
    #[must_use]
    pub fn held(&self, counter: &CounterKey) -> Amount {
        self.tariff.of_hold(counter.unit, &self.hold)
    }
}

words! {
    /// What a line of the ledger is about.
    EntryKind {
        /// A reservation was settled, or presumed.
        Settle = "settle",
        /// What was presumed was corrected.
        Correct = "correct",
        /// What was presumed was taken back.
        Refund = "refund",
        /// What came to light after a refund.
        Late = "late",
        /// A limit was set, changed or removed.
        Limit = "limit",
        /// What a counter had used was taken off, so that it starts anew.
        Credit = "credit",
    }
}

/// One line of the ledger: what one counter was charged by one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub kind: EntryKind,
    /// The request that was charged, where it is about one.
    pub reservation: Option<RequestId>,
    /// Whose counter.
    pub counter: CounterKey,
    /// What was added to `used`; less than nothing where it was taken back.
    pub charge: i64,
    /// What was added to `overage`.
    pub overage: i64,
    /// The limit from now on, where it is about one that was not removed.
    pub limit: Option<Amount>,
    /// When.
    pub at: Timestamp,
}

/// The rows that a batch touches, as the rules read and write them.
pub trait Book {
    /// Returns the limits of the subjects at hand, [`Subject::Platform`](crate::identity::Subject::Platform) and each of their kinds.
    fn limits(&self) -> &Limits;
    /// Returns the tariff in force for a model.
    fn tariff(&self, model: &str) -> Tariff;
    /// Reads a counter; zeros for one never heard of.
    fn balance(&self, counter: &CounterKey) -> Balance;
    /// Writes a counter back. Whether it is frozen stays as it was.
    fn put_balance(&mut self, counter: &CounterKey, balance: Balance);
    /// Reads a reservation.
    fn reservation(&self, id: RequestId) -> Option<&Reservation>;
    /// Keeps a new reservation.
    fn open(&mut self, reserve: &Reserve, reservation: Reservation);
    /// Sets hold and version of a pending reservation. Its counters were written before.
    fn hold(&mut self, extend: &Extend);
    /// Moves a reservation to its end, or from one that was presumed to the true one, with the operation
    /// that says how.
    fn close(&mut self, settle: &Settle, state: State);
    /// Takes back what was presumed of a reservation.
    fn refund(&mut self, refund: &Refund);
    /// Appends a line to the ledger.
    fn post(&mut self, entry: Entry);
}
