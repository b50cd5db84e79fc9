//! What an [`Operation`] does to the books, as pure functions over a [`Book`].
//!
//! Every backend keeps rows in its own way and lets these functions decide, so that a hold is granted
//! in memory exactly where it is granted in a database. A `Book` is whatever the backend has loaded for
//! the batch at hand.
//!
//! ```text
//!            ┌─ settled
//! pending ───┼─ void
//!            └─ expired ──┬─ corrected
//!                         └─ refunded ── late
//! ```
//!
//! ```
//! use llm_gate::store::rules::Counter;
//! use llm_gate::tokens::Tokens;
//!
//! let counter = Counter { limit: Some(Tokens::new(100)), used: Tokens::new(70), ..Counter::default() };
//! assert_eq!(counter.room(), Tokens::new(30));
//! ```

use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::{
    CounterKey, Denial, DenialReason, Extend, Grant, Hold, LimitChange, Limits, Operation, Outcome,
    Refund, Reserve, Settle, Settlement, Source, Standing, Tariff, Unit,
};
use crate::tokens::{Amount, Tokens};

use super::words::words;

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
    /// Returns the limits of the subjects at hand, [`Subject::Platform`] and each of their kinds.
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

/// Applies one operation.
pub fn apply<B: Book>(book: &mut B, operation: &Operation) -> Outcome {
    match operation {
        Operation::Reserve(reserve) => apply_reserve(book, reserve),
        Operation::Extend(extend) => apply_extend(book, extend),
        Operation::Settle(settle) => apply_settle(book, settle),
        Operation::Refund(refund) => apply_refund(book, refund),
    }
}

/// Lists the counters that a reserve is decided on: all tokens of each of its subjects, and the windows at
/// hand of every limit in force.
#[must_use]
pub fn counters(limits: &Limits, reserve: &Reserve) -> Vec<CounterKey> {
    let mut counters = Vec::with_capacity(reserve.subjects.len());
    let model = &*reserve.call.model;
    for (at, &subject) in reserve.subjects.iter().enumerate() {
        // What is named again holds once.
        if !reserve.subjects[..at].contains(&subject) && subject != Subject::Platform {
            counters.push(CounterKey::total_tokens(subject));
            counters.extend(limits.counters(subject, model, reserve.at));
        }
    }
    counters.extend(limits.counters(Subject::Platform, model, reserve.at));
    counters
}

/// Reads how a counter stands.
pub fn counter<B: Book + ?Sized>(book: &B, key: &CounterKey) -> Counter {
    standing(book.limits(), key, book.balance(key))
}

/// Joins what is kept of a counter with the limit in force on it.
#[must_use]
pub fn standing(limits: &Limits, key: &CounterKey, balance: Balance) -> Standing {
    let limit = limits.on(key);
    Counter {
        limit: limit.map(|limit| limit.amount),
        used: balance.used,
        reserved: balance.reserved,
        overage: balance.overage,
        frozen: balance.frozen,
        resets: limit.and_then(|limit| key.period.window(&limit.zone, key.start).end),
    }
}

fn apply_reserve<B: Book>(book: &mut B, reserve: &Reserve) -> Outcome {
    // The first answer stands: a batch whose acknowledgement was lost is sent again.
    if let Some(known) = book.reservation(reserve.id) {
        return Outcome::Granted(grant(known.hold.total, &all(book, &known.counters), true));
    }
    let tariff = book.tariff(&reserve.call.model);
    let keys = counters(book.limits(), reserve);
    let mut counters = all(book, &keys);
    let denied = |(key, standing): &(&CounterKey, Counter), reason, asked, fits| {
        Outcome::Denied(Box::new(Denial {
            counter: (*key).clone(),
            reason,
            asked,
            standing: *standing,
            fits,
        }))
    };
    if let Some(frozen) = counters.iter().find(|(_, counter)| counter.frozen) {
        return denied(frozen, DenialReason::Frozen, Amount::ZERO, Tokens::ZERO);
    }
    let unpriced = |key: &CounterKey| key.unit == Unit::Money && tariff.price.is_none();
    if let Some(unpriced) = counters.iter().find(|(key, _)| unpriced(key)) {
        return denied(unpriced, DenialReason::Unpriced, Amount::ZERO, Tokens::ZERO);
    }
    let of = |unit, total| tariff.of_hold(unit, &reserve.hold.cut(total));
    // The first counter on which so much does not fit.
    let tight = |total: Tokens| {
        let mut all = counters.iter();
        all.find(|(key, counter)| of(key.unit, total) > counter.room())
    };
    let fits = |total| tight(total).is_none();
    let least = reserve.least.min(reserve.hold.total);
    if let Some(tight) = tight(least) {
        let asked = of(tight.0.unit, least);
        let fits = largest(Tokens::ZERO, least, fits);
        return denied(tight, DenialReason::Exhausted, asked, fits);
    }
    let hold = reserve.hold.cut(largest(least, reserve.hold.total, fits));
    for (key, counter) in &mut counters {
        let held = tariff.of_hold(key.unit, &hold);
        counter.reserved = counter.reserved.saturating_add(held);
        put(book, key, counter);
    }
    let granted = grant(hold.total, &counters, false);
    let reservation = Reservation {
        hold,
        version: 0,
        tariff,
        counters: keys,
        state: State::Pending,
    };
    book.open(reserve, reservation);
    Outcome::Granted(granted)
}

/// Returns the largest total that fits; `least` if not even that does. What is smaller fits better.
fn largest(least: Tokens, most: Tokens, fits: impl Fn(Tokens) -> bool) -> Tokens {
    if fits(most) {
        return most;
    }
    let (mut low, mut high) = (least.get(), most.get());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(Tokens::new(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Tokens::new(low)
}

fn apply_extend<B: Book>(book: &mut B, extend: &Extend) -> Outcome {
    let Some(known) = book.reservation(extend.id) else {
        return Outcome::Unknown;
    };
    if known.state != State::Pending {
        return ended(known.state);
    }
    let known = known.clone();
    let keys = sorted(&known.counters);
    if extend.version <= known.version {
        return Outcome::Extended(grant(known.hold.total, &all(book, &keys), true));
    }
    let wanted = |key: &CounterKey| known.tariff.of_hold(key.unit, &extend.hold);
    let more = |key: &CounterKey, hold: &Hold| {
        let wanted = known.tariff.of_hold(key.unit, hold);
        wanted.saturating_sub(known.held(key))
    };
    let mut counters = all(book, &keys);
    let fits = |total| {
        let hold = extend.hold.cut(total);
        let mut all = counters.iter();
        all.all(|(key, counter)| more(key, &hold) <= counter.room())
    };
    for (key, counter) in &counters {
        let more = more(key, &extend.hold);
        if more == Amount::ZERO && extend.hold.total <= known.hold.total {
            continue;
        }
        let reason = if counter.frozen {
            DenialReason::Frozen
        } else if counter.room() < more {
            DenialReason::Exhausted
        } else {
            continue;
        };
        return Outcome::Denied(Box::new(Denial {
            counter: (*key).clone(),
            reason,
            asked: more,
            standing: *counter,
            fits: match reason {
                DenialReason::Exhausted => largest(Tokens::ZERO, extend.hold.total, fits),
                _ => Tokens::ZERO,
            },
        }));
    }
    for (key, counter) in &mut counters {
        counter.reserved = counter
            .reserved
            .saturating_sub(known.held(key))
            .saturating_add(wanted(key));
        put(book, key, counter);
    }
    book.hold(extend);
    Outcome::Extended(grant(extend.hold.total, &counters, false))
}

fn apply_settle<B: Book>(book: &mut B, settle: &Settle) -> Outcome {
    let Some(known) = book.reservation(settle.id) else {
        return Outcome::Unknown;
    };
    let known = known.clone();
    match known.state {
        State::Pending => {}
        // The figures have come to light after all.
        State::Expired(_) if settle.source != Source::Presumed => {}
        State::Refunded if settle.source != Source::Presumed && !settle.is_void() => {
            return apply_late(book, settle, &known);
        }
        state => return ended(state),
    }
    let again = known.state != State::Pending;
    let mut worst = Settlement {
        charged: charge(settle, &known, Unit::Tokens),
        overage: Tokens::ZERO,
        cost: charge(settle, &known, Unit::Money),
        repeated: false,
    };
    let tokens = worst.charged;
    for key in &known.counters {
        let charge = charge(settle, &known, key.unit);
        let mut counter = counter(book, key);
        // Up to the hold is paid for by the hold, whatever became of the limit since; the excess is a
        // further debit, as far as it fits. What was presumed is a hold that has become a charge.
        let held = known.held(key);
        let before = if again {
            counter.used = counter.used.saturating_sub(held);
            held
        } else {
            counter.reserved = counter.reserved.saturating_sub(held);
            Amount::ZERO
        };
        let within = charge.min(held);
        counter.used = counter.used.saturating_add(within);
        let excess = charge.saturating_sub(within);
        let further = excess.min(counter.room());
        counter.used = counter.used.saturating_add(further);
        let overage = excess.saturating_sub(further);
        counter.overage = counter.overage.saturating_add(overage);
        put(book, key, &counter);
        if again || !settle.is_void() {
            book.post(Entry {
                kind: if again {
                    EntryKind::Correct
                } else {
                    EntryKind::Settle
                },
                reservation: Some(settle.id),
                counter: key.clone(),
                charge: within.saturating_add(further).as_i64() - before.as_i64(),
                overage: overage.as_i64(),
                limit: None,
                at: settle.at,
            });
        }
        if key.unit == Unit::Tokens && overage > worst.overage {
            worst.overage = overage;
            worst.charged = tokens.saturating_sub(overage);
        }
    }
    let state = match settle.source {
        _ if again => State::Corrected(worst),
        Source::Nothing => State::Void,
        Source::Presumed => State::Expired(worst),
        Source::Upstream | Source::Estimated => State::Settled(worst),
    };
    book.close(settle, state);
    Outcome::Settled(worst)
}

/// Books what came to light after a refund: a refund is final, so it is an overage.
fn apply_late<B: Book>(book: &mut B, settle: &Settle, known: &Reservation) -> Outcome {
    let settlement = Settlement {
        charged: Tokens::ZERO,
        overage: charge(settle, known, Unit::Tokens),
        cost: charge(settle, known, Unit::Money),
        repeated: false,
    };
    for key in &known.counters {
        let overage = charge(settle, known, key.unit);
        let mut counter = counter(book, key);
        counter.overage = counter.overage.saturating_add(overage);
        put(book, key, &counter);
        book.post(Entry {
            kind: EntryKind::Late,
            reservation: Some(settle.id),
            counter: key.clone(),
            charge: 0,
            overage: overage.as_i64(),
            limit: None,
            at: settle.at,
        });
    }
    book.close(settle, State::Late(settlement));
    Outcome::Settled(settlement)
}

fn apply_refund<B: Book>(book: &mut B, refund: &Refund) -> Outcome {
    let Some(known) = book.reservation(refund.id) else {
        return Outcome::Unknown;
    };
    let known = known.clone();
    let State::Expired(_) = known.state else {
        return ended(known.state);
    };
    for key in &known.counters {
        let held = known.held(key);
        let mut counter = counter(book, key);
        counter.used = counter.used.saturating_sub(held);
        put(book, key, &counter);
        book.post(Entry {
            kind: EntryKind::Refund,
            reservation: Some(refund.id),
            counter: key.clone(),
            charge: -held.as_i64(),
            overage: 0,
            limit: None,
            at: refund.at,
        });
    }
    book.refund(refund);
    Outcome::Settled(State::Refunded.settlement())
}

/// Returns the line that the ledger has for a changed limit, on the window at hand.
#[must_use]
pub fn limit_entry(change: &LimitChange) -> Entry {
    let LimitChange { key, zone, .. } = change;
    Entry {
        kind: EntryKind::Limit,
        reservation: None,
        counter: CounterKey {
            subject: key.subject,
            start: key.period.window(zone, change.at).start,
            model: key.model.clone(),
            unit: key.unit,
            period: key.period,
        },
        charge: 0,
        overage: 0,
        limit: change.amount,
        at: change.at,
    }
}

/// Works out what a settlement charges to counters of a unit.
fn charge(settle: &Settle, known: &Reservation, unit: Unit) -> Amount {
    match settle.source {
        // What served nothing charges nothing, whatever the operation says: the ledger has no line for it.
        Source::Nothing => Amount::ZERO,
        Source::Presumed => known.tariff.of_hold(unit, &known.hold),
        Source::Upstream => known.tariff.of_usage(unit, &settle.usage, settle.charge),
        Source::Estimated => {
            let used = Hold {
                total: settle.charge,
                ..known.hold
            };
            known.tariff.of_hold(unit, &used)
        }
    }
}

fn put<B: Book>(book: &mut B, key: &CounterKey, counter: &Counter) {
    let balance = Balance {
        used: counter.used,
        reserved: counter.reserved,
        overage: counter.overage,
        frozen: counter.frozen,
    };
    book.put_balance(key, balance);
}

/// Returns what became of a reservation that has come to its end, as a repetition.
const fn ended(state: State) -> Outcome {
    Outcome::Settled(Settlement {
        repeated: true,
        ..state.settlement()
    })
}

/// Stores read them back in an order of their own, and all of them give the same answer.
fn sorted(keys: &[CounterKey]) -> Vec<CounterKey> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys
}

/// Reads how counters stand.
fn all<'a, B: Book>(book: &B, keys: &'a [CounterKey]) -> Vec<(&'a CounterKey, Counter)> {
    keys.iter().map(|key| (key, counter(book, key))).collect()
}

fn grant(hold: Tokens, counters: &[(&CounterKey, Counter)], repeated: bool) -> Grant {
    // The one that leaves the least room; one without a limit only if none has one. All the rest only
    // makes it the same one in whatever order they come.
    let tightest = |unit| {
        let of_unit = counters.iter().filter(|(key, _)| key.unit == unit);
        let tightest = of_unit.min_by_key(|(_, counter)| {
            let Counter {
                limit,
                used,
                reserved,
                overage,
                frozen,
                resets,
            } = *counter;
            (
                limit.is_none(),
                counter.room(),
                resets,
                used,
                reserved,
                overage,
                frozen,
            )
        });
        tightest.map(|(_, counter)| *counter)
    };
    Grant {
        hold,
        standing: tightest(Unit::Tokens).unwrap_or_default(),
        requests: tightest(Unit::Requests),
        repeated,
    }
}
