mod audit;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::identity::{KeyId, RequestId, Subject};
use crate::store::rules::{self, Balance, Book, Entry, Reservation, State};
use crate::store::{
    CallInfo, CounterKey, Ending, Extend, Limit, LimitChange, LimitKey, Limits, Operation, Outcome,
    OwnerId, Price, Refund, Reserve, Served, Settle, Source, Standing, Tariff, Totals,
};
use crate::tokens::{Amount, Usage};

/// The books in maps: limits, counters, reservations and ledger, moved by the [`rules`] alone.
///
/// What [`MemoryStore`](super::MemoryStore) keeps behind its lock, and what a store of your own can keep
/// beside a log of operations.
///
/// ```
/// use llm_gate::identity::{Subject, UserId};
/// use llm_gate::store::{LimitChange, MemoryBooks};
/// use llm_gate::tokens::Tokens;
///
/// let mut books = MemoryBooks::default();
/// let user = Subject::User(UserId::new());
/// books.change_limit(&LimitChange::total_tokens(user, Some(Tokens::new(100))));
/// assert_eq!(books.standing(user).remaining(), Some(Tokens::new(100)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryBooks {
    limits: Limits,
    tariffs: BTreeMap<String, Tariff>,
    balances: HashMap<CounterKey, Balance>,
    reservations: HashMap<RequestId, Kept>,
    ledger: Vec<Entry>,
    owners: BTreeMap<OwnerId, Owner>,
    last_price: i64,
}

#[derive(Clone, Debug)]
struct Kept {
    reservation: Reservation,
    owner: Option<OwnerId>,
    call: CallInfo,
    key: Option<KeyId>,
    at: Timestamp,
    end: Option<End>,
}

/// How a reservation ended, for the record.
#[derive(Clone, Debug)]
struct End {
    at: Timestamp,
    usage: Usage,
    source: Source,
    ending: Ending,
    status: u16,
    served: Option<Served>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    until: Timestamp,
    given_up: Option<Timestamp>,
}

impl MemoryBooks {
    /// Applies one operation.
    pub fn apply(&mut self, operation: &Operation) -> Outcome {
        rules::apply(self, operation)
    }

    /// Reads how a subject stands with all its tokens.
    #[must_use]
    pub fn standing(&self, subject: Subject) -> Standing {
        rules::counter(self, &CounterKey::total_tokens(subject))
    }

    /// Reads how a subject stands on each of its limits at a moment.
    #[must_use]
    pub fn standings(&self, subject: Subject, at: Timestamp) -> Vec<(Limit, Standing)> {
        let limits = self.limits.in_force(subject);
        limits
            .map(|limit| {
                let counter = CounterKey::of(subject, limit, at);
                (limit.clone(), rules::counter(self, &counter))
            })
            .collect()
    }

    /// Sets, changes or removes a limit; `None`, with nothing changed, where that would raise it and must not.
    pub fn change_limit(&mut self, change: &LimitChange) -> Option<Standing> {
        self.change_limits(std::slice::from_ref(change))?.pop()
    }

    /// Sets, changes or removes limits, all or none.
    pub fn change_limits(&mut self, changes: &[LimitChange]) -> Option<Vec<Standing>> {
        if !changes.iter().all(|change| self.may_change(change)) {
            return None;
        }
        Some(
            changes
                .iter()
                .map(|change| self.put_limit(change))
                .collect(),
        )
    }

    pub(super) fn may_change(&self, change: &LimitChange) -> bool {
        rules::may_change(&self.limits, change)
    }

    /// Tells whether a subject would have more than [`MAX_LIMITS`](crate::store::MAX_LIMITS) then, which a store refuses
    /// with a conflict.
    #[must_use]
    pub fn are_too_many(&self, changes: &[LimitChange]) -> bool {
        rules::are_too_many(&self.limits, changes)
    }

    /// Changes a limit that may be changed.
    pub(super) fn put_limit(&mut self, change: &LimitChange) -> Standing {
        let entry = rules::limit_entry(&self.limits, change);
        match change.limit(self.limits.get(&change.key)) {
            Some(limit) => self.limits.put(limit),
            None => self.limits.remove(&change.key),
        }
        self.balances.entry(entry.counter.clone()).or_default();
        let standing = rules::counter(self, &entry.counter);
        self.ledger.push(entry);
        standing
    }

    /// Takes off what a subject has used, and returns the lines that the ledger got.
    pub fn reset_usage(&mut self, subject: Subject, at: Timestamp) -> Vec<Entry> {
        let mut lines = Vec::new();
        for key in rules::credited(&self.limits, subject, at) {
            let presumed = self.presumed_on(&key);
            let balance = self.balance(&key);
            if let Some((balance, line)) = rules::credit(&key, balance, presumed, at) {
                self.put_balance(&key, balance);
                self.ledger.push(line.clone());
                lines.push(line);
            }
        }
        lines
    }

    /// Adds up what reservations whose use nobody knows have charged to a counter.
    fn presumed_on(&self, counter: &CounterKey) -> Amount {
        let kept = self.reservations.values();
        kept.map(|kept| &kept.reservation)
            .filter(|one| matches!(one.state, State::Expired(_)) && one.counters.contains(counter))
            .fold(Amount::ZERO, |sum, one| {
                sum.saturating_add(one.held(counter))
            })
    }

    /// Lists the limits that were set, of one subject or all.
    #[must_use]
    pub fn limits_of(&self, subject: Option<Subject>) -> Vec<Limit> {
        let mut limits: Vec<Limit> = match subject {
            Some(subject) => self.limits.set(subject).to_vec(),
            None => self.limits.all().cloned().collect(),
        };
        limits.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        limits
    }

    /// Returns the limit under a key.
    #[must_use]
    pub fn limit(&self, key: &LimitKey) -> Option<&Limit> {
        self.limits.get(key)
    }

    /// Sets the tariff of a model; the default one removes it.
    pub fn set_price(&mut self, mut price: Price) -> Price {
        if price.tariff.is_default() {
            price.tariff.id = None;
            self.tariffs.remove(&price.model);
        } else {
            self.last_price += 1;
            price.tariff.id = Some(self.last_price);
            self.tariffs.insert(price.model.clone(), price.tariff);
        }
        price
    }

    /// Returns the tariff in force for a model, where one was set.
    #[must_use]
    pub fn price(&self, model: &str) -> Option<Price> {
        let (model, tariff) = self.tariffs.get_key_value(model)?;
        Some(Price {
            model: model.clone(),
            tariff: *tariff,
        })
    }

    /// Lists the tariffs in force.
    #[must_use]
    pub fn prices(&self) -> Vec<Price> {
        let price = |(model, tariff): (&String, &Tariff)| Price {
            model: model.clone(),
            tariff: *tariff,
        };
        self.tariffs.iter().map(price).collect()
    }

    /// Freezes or releases a subject.
    pub fn set_frozen(&mut self, subject: Subject, frozen: bool) {
        let counter = CounterKey::total_tokens(subject);
        self.balances.entry(counter).or_default().frozen = frozen;
    }

    /// Returns the ledger, the oldest line first.
    #[must_use]
    pub fn ledger(&self) -> &[Entry] {
        &self.ledger
    }

    /// Lists the counters.
    pub fn counters(&self) -> impl Iterator<Item = (&CounterKey, &Balance)> {
        self.balances.iter()
    }

    /// Lists the reservations, those that have ended too.
    pub fn reservations(&self) -> impl Iterator<Item = (RequestId, &Reservation)> {
        let kept = self.reservations.iter();
        kept.map(|(id, kept)| (*id, &kept.reservation))
    }

    /// Adds up the books.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for balance in self.balances.values() {
            totals.counters_used += balance.used.get();
            totals.counters_overage += balance.overage.get();
            totals.counters_reserved += balance.reserved.get();
        }
        for entry in &self.ledger {
            totals.ledger_charges = totals.ledger_charges.wrapping_add_signed(entry.charge);
            totals.ledger_overages = totals.ledger_overages.wrapping_add_signed(entry.overage);
        }
        for Kept { reservation, .. } in self.reservations.values() {
            match reservation.state {
                State::Pending => {
                    totals.pending += 1;
                    let held = reservation.counters.iter();
                    totals.pending_holds += held
                        .map(|counter| reservation.held(counter).get())
                        .sum::<u64>();
                }
                State::Void => {}
                _ => totals.settled += 1,
            }
        }
        totals
    }

    /// Makes an owner known.
    pub fn enlist(&mut self, at: Timestamp, lease: Duration) -> OwnerId {
        let last = self.owners.keys().next_back().map_or(0, |owner| owner.0);
        let owner = OwnerId(last + 1);
        let until = at.after(lease);
        let given_up = None;
        self.owners.insert(owner, Owner { until, given_up });
        owner
    }

    /// Extends the lease of an owner, if it is still one.
    pub fn renew(&mut self, owner: OwnerId, at: Timestamp, lease: Duration) -> bool {
        match self.owners.get_mut(&owner) {
            Some(owner) if owner.given_up.is_none() => {
                owner.until = at.after(lease);
                true
            }
            _ => false,
        }
    }

    /// Gives up owners not heard of, and lists what they leave behind.
    pub fn orphans(&mut self, at: Timestamp, grace: Duration, count: usize) -> Vec<RequestId> {
        for owner in self.owners.values_mut() {
            if owner.until.after(grace) < at {
                owner.given_up.get_or_insert(at);
            }
        }
        let alone = |kept: &Kept| {
            let owner = kept.owner.and_then(|owner| self.owners.get(&owner));
            kept.reservation.state == State::Pending
                && owner.is_some_and(|owner| owner.given_up.is_some())
        };
        let orphans = self.reservations.iter().filter(|(_, kept)| alone(kept));
        let mut orphans: Vec<RequestId> = orphans.map(|(id, _)| *id).collect();
        orphans.sort_unstable();
        orphans.truncate(count);
        orphans
    }

    fn state(&mut self, id: RequestId, state: State) {
        if let Some(kept) = self.reservations.get_mut(&id) {
            kept.reservation.state = state;
        }
    }
}

impl Book for MemoryBooks {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn tariff(&self, model: &str) -> Tariff {
        self.tariffs.get(model).copied().unwrap_or_default()
    }

    fn balance(&self, counter: &CounterKey) -> Balance {
        self.balances.get(counter).copied().unwrap_or_default()
    }

    fn put_balance(&mut self, counter: &CounterKey, balance: Balance) {
        match self.balances.get_mut(counter) {
            Some(kept) => *kept = balance,
            None => drop(self.balances.insert(counter.clone(), balance)),
        }
    }

    fn reservation(&self, id: RequestId) -> Option<&Reservation> {
        self.reservations.get(&id).map(|kept| &kept.reservation)
    }

    fn open(&mut self, reserve: &Reserve, reservation: Reservation) {
        let key = reserve.subjects.iter().find_map(|subject| match subject {
            Subject::Key(key) => Some(*key),
            _ => None,
        });
        let kept = Kept {
            reservation,
            owner: reserve.owner,
            call: reserve.call.clone(),
            key,
            at: reserve.at,
            end: None,
        };
        self.reservations.insert(reserve.id, kept);
    }

    fn hold(&mut self, extend: &Extend) {
        if let Some(kept) = self.reservations.get_mut(&extend.id) {
            kept.reservation.hold = extend.hold;
            kept.reservation.version = extend.version;
        }
    }

    fn close(&mut self, settle: &Settle, state: State) {
        self.state(settle.id, state);
        if let Some(kept) = self.reservations.get_mut(&settle.id) {
            kept.end = Some(End {
                at: settle.at,
                usage: settle.usage,
                source: settle.source,
                ending: settle.ending,
                status: settle.status,
                served: settle.served.clone(),
            });
        }
    }

    fn refund(&mut self, refund: &Refund) {
        self.state(refund.id, State::Refunded);
    }

    fn post(&mut self, entry: Entry) {
        self.ledger.push(entry);
    }
}
