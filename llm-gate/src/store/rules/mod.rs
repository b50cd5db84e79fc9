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

mod extend;
mod reserve;
mod settle;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::identity::Subject;
use crate::store::{
    CounterKey, Grant, LimitChange, LimitKey, Limits, MAX_LIMITS, MAX_VOLUNTARY_LIMITS, Operation,
    Outcome, Reserve, Settlement, Standing, Unit,
};
use crate::tokens::{Amount, Tokens};

pub use state::{Balance, Book, Counter, Entry, EntryKind, Reservation, State};

/// Applies one operation.
pub fn apply<B: Book>(book: &mut B, operation: &Operation) -> Outcome {
    match operation {
        Operation::Reserve(reserve) => reserve::apply(book, reserve),
        Operation::Extend(extend) => extend::apply(book, extend),
        Operation::Settle(settle) => settle::apply(book, settle),
        Operation::Refund(refund) => settle::take_back(book, refund),
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

/// Returns whether a limit may be changed: who may only lower it does not raise it. `limits` are those before.
#[must_use]
pub fn may_change(limits: &Limits, change: &LimitChange) -> bool {
    let in_force = || limits.on(&limit_entry(limits, change).counter);
    !(change.only_down && change.raises(in_force()))
}

/// Returns whether a subject would have more than [`MAX_LIMITS`] with those of `changes` that are new, or more than
/// [`MAX_VOLUNTARY_LIMITS`] by somebody who may only lower them. Each reservation reads all limits of its subjects, so
/// nobody makes them more and more. There is always room for that of all tokens; `limits` are those before.
#[must_use]
pub fn are_too_many(limits: &Limits, changes: &[LimitChange]) -> bool {
    let mut new: BTreeMap<Subject, BTreeSet<&LimitKey>> = BTreeMap::new();
    let mut most = MAX_LIMITS;
    for change in changes {
        let key = &change.key;
        let bounded = *key != LimitKey::total_tokens(key.subject);
        if change.amount.is_some() && bounded && limits.get(key).is_none() {
            new.entry(key.subject).or_default().insert(key);
            if change.only_down {
                most = MAX_VOLUNTARY_LIMITS;
            }
        }
    }
    new.iter()
        .any(|(subject, new)| limits.set(*subject).len() + new.len() > most)
}

/// Returns the line that the ledger has for a limit that is to be changed, on the window at hand; `limits` are those before.
#[must_use]
pub fn limit_entry(limits: &Limits, change: &LimitChange) -> Entry {
    let key = &change.key;
    // What is removed is removed from the window that it was on.
    let removed = limits.get(key).filter(|_| change.amount.is_none());
    let zone = removed.map_or(&change.zone, |limit| &limit.zone);
    Entry {
        kind: EntryKind::Limit,
        reservation: None,
        counter: CounterKey {
            subject: key.subject,
            start: key.period.window(zone, change.author.at).start,
            model: key.model.clone(),
            unit: key.unit,
            period: key.period,
        },
        charge: 0,
        overage: 0,
        limit: change.amount,
        at: change.author.at,
    }
}

/// Lists the counters that a reset of usage sets back: all tokens of the subject, and the windows at hand of its limits.
#[must_use]
pub fn credited(limits: &Limits, subject: Subject, at: Timestamp) -> BTreeSet<CounterKey> {
    let windows = limits.in_force(subject);
    let windows = windows.map(|limit| CounterKey::of(subject, limit, at));
    windows.chain([CounterKey::total_tokens(subject)]).collect()
}

/// Takes off what a counter has used; `None` where that is nothing.
///
/// What is `presumed` of it stays: it is taken back by a refund or set right by a correction, and neither may take off
/// what is not there any more.
#[must_use]
pub fn credit(
    key: &CounterKey,
    balance: Balance,
    presumed: Amount,
    at: Timestamp,
) -> Option<(Balance, Entry)> {
    let kept = balance.used.min(presumed);
    let charge = kept.as_i64() - balance.used.as_i64();
    let overage = -balance.overage.as_i64();
    if charge == 0 && overage == 0 {
        return None;
    }
    let entry = Entry {
        kind: EntryKind::Credit,
        reservation: None,
        counter: key.clone(),
        charge,
        overage,
        limit: None,
        at,
    };
    let balance = Balance {
        used: kept,
        overage: Amount::ZERO,
        ..balance
    };
    Some((balance, entry))
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

/// Tells how long there is no room for `asked`: never, where the limit is smaller; for ever, where it does not come
/// back; else until it does. Of several alike the first counts, which is the same in all stores.
fn patience(counter: &Counter, asked: Amount) -> (bool, bool, Option<Timestamp>) {
    let never = counter.limit.is_some_and(|limit| asked > limit);
    (never, counter.resets.is_none(), counter.resets)
}

/// Reads how counters stand.
fn all<'a, B: Book>(book: &B, keys: &'a [CounterKey]) -> Vec<(&'a CounterKey, Counter)> {
    keys.iter().map(|key| (key, counter(book, key))).collect()
}

fn grant(
    at: Option<Timestamp>,
    hold: Tokens,
    counters: &[(&CounterKey, Counter)],
    repeated: bool,
) -> Grant {
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
        at,
        repeated,
    }
}
