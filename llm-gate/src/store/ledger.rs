use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::rules::Entry;
use crate::store::{
    Action, Author, Event, Limit, LimitKey, Operation, Outcome, OwnerId, Price, Standing,
    StoreFuture, Target, Zone,
};
#[cfg(doc)]
use crate::store::{MAX_LIMITS, MAX_VOLUNTARY_LIMITS, Source};
use crate::tokens::{Amount, Tokens};

/// The books added up two ways, which must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sum of the counters' `used`.
    pub counters_used: u64,
    /// The sum of the ledger's charges.
    pub ledger_charges: u64,
    /// The sum of the counters' `overage`.
    pub counters_overage: u64,
    /// The sum of the ledger's overages.
    pub ledger_overages: u64,
    /// The sum of the counters' `reserved`.
    pub counters_reserved: u64,
    /// The sum of the holds of pending reservations over their counters.
    pub pending_holds: u64,
    /// How many reservations are pending.
    pub pending: u64,
    /// How many reservations are settled, void ones not counted.
    pub settled: u64,
}

impl Totals {
    /// Returns whether ledger and counters agree.
    #[must_use]
    pub const fn balance(&self) -> bool {
        self.counters_used == self.ledger_charges
            && self.counters_overage == self.ledger_overages
            && self.counters_reserved == self.pending_holds
    }
}

/// Keeps the books: counters, reservations and the append-only ledger.
///
/// What an operation does is defined by [`rules`](crate::store::rules), which every backend applies to
/// the rows it has read in the same transaction.
pub trait LedgerStore: Send + Sync + 'static {
    /// Applies a batch in its order, in one transaction, durable before it answers.
    ///
    /// Returns one outcome an operation, in the same order. A refused or unknown operation does not
    /// keep the others from happening.
    ///
    /// # Errors
    ///
    /// Fails as a whole. With [`Unavailable`](crate::store::StoreErrorKind::Unavailable) it may have
    /// been committed all the same; repeating it gives the outcomes of the first time.
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>>;

    /// Applies one operation at once, where that takes no waiting; `None` where it would.
    ///
    /// A store in memory decides here, without a queue and without a task switch.
    fn apply_now(&self, operation: &Operation) -> Option<Outcome> {
        let _ = operation;
        None
    }

    /// Reads how a subject stands with all its tokens; zeros and no limit for one never heard of.
    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing>;

    /// Reads how a subject stands on each of its limits, as a call at `at` would find it: those in force for
    /// the subject, whichever model they are of.
    fn standings(&self, subject: Subject, at: Timestamp)
    -> StoreFuture<'_, Vec<(Limit, Standing)>>;

    /// Sets, changes or removes limits, all of them or none, and writes that into the ledger. Answers how the counter
    /// of each stands then; `None`, with nothing changed, where [`LimitChange::only_down`] forbids one. Each is judged
    /// by the limits before all of them.
    ///
    /// An event of each is left in the same transaction: the change's own ([`LimitChange::event`]), of the project that
    /// its subject is or is a key of.
    ///
    /// A limit counts what is used from when it is there. It may lie below what is spent: then nothing more is
    /// granted.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when a subject would have more than [`MAX_LIMITS`],
    /// or than [`MAX_VOLUNTARY_LIMITS`] by a change that is only for lowering.
    fn change_limits(&self, changes: Vec<LimitChange>) -> StoreFuture<'_, Option<Vec<Standing>>>;

    /// Changes one limit.
    fn change_limit(&self, change: LimitChange) -> StoreFuture<'_, Option<Standing>> {
        let changed = self.change_limits(vec![change]);
        Box::pin(async move { Ok(changed.await?.and_then(|mut standings| standings.pop())) })
    }

    /// Takes off what a subject has used, so that its limits start anew, and writes that into the ledger: a
    /// [`Credit`](crate::store::rules::EntryKind::Credit) for all its tokens and for the window at hand of each of its
    /// limits. What is held or presumed stays, and so do the records of the calls. Answers how it stands then.
    ///
    /// An event is left in the same transaction: the reset's own ([`UsageReset::event`]).
    fn reset_usage(&self, reset: UsageReset) -> StoreFuture<'_, Standing>;

    /// Lists the limits that were set, of one subject or all.
    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>>;

    /// Sets the tariff of a model, for reservations from now on; the default one removes it. Answers it with
    /// the id it has got.
    ///
    /// An event is left in the same transaction: the price's own ([`Price::event`]).
    fn set_price(&self, price: Price, author: Author) -> StoreFuture<'_, Price>;

    /// Lists the tariffs in force.
    fn prices(&self) -> StoreFuture<'_, Vec<Price>>;

    /// Sets the limit of all tokens a subject ever uses, `None` for no limit.
    fn set_limit(&self, subject: Subject, limit: Option<Tokens>) -> StoreFuture<'_, Standing> {
        let change = self.change_limit(LimitChange::total_tokens(subject, limit));
        // Nothing forbids this one.
        Box::pin(async move { change.await.map(Option::unwrap_or_default) })
    }

    /// Sets the limit of all tokens a subject ever uses unless that would raise it, in one step; returns
    /// `None`, with nothing changed, where it would. No limit is above every limit.
    fn lower_limit(&self, subject: Subject, limit: Tokens) -> StoreFuture<'_, Option<Standing>> {
        let change = LimitChange::total_tokens(subject, Some(limit));
        self.change_limit(LimitChange {
            only_down: true,
            ..change
        })
    }

    /// Adds up the books.
    fn totals(&self) -> StoreFuture<'_, Totals>;

    /// Makes a process known that will own reservations, and returns what it owns them under. Until `lease`
    /// from `at` it counts as alive; [`renew`](Self::renew) extends that.
    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId>;

    /// Extends the lease of an owner until `lease` from `at`. Answers whether it is still one: `false` if it was
    /// given up, and then it never is again.
    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool>;

    /// Gives up the owners whose leases ended `grace` before `at`, and lists pending reservations of owners
    /// that were given up, at most `count`: those to be charged as
    /// [`Presumed`](Source::Presumed).
    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>>;
}

/// Usage to be taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReset {
    /// Whose.
    pub subject: Subject,
    /// Who asks for it, and when.
    pub author: Author,
}

impl UsageReset {
    /// Returns the event that it leaves, of the lines that the ledger got; none where it changes nothing.
    #[must_use]
    pub fn event(&self, lines: &[Entry]) -> Option<Event> {
        if lines.is_empty() {
            return None;
        }
        let credited: serde_json::Map<String, Value> = lines
            .iter()
            .map(|line| {
                (
                    line.counter.to_string(),
                    (-line.charge - line.overage).into(),
                )
            })
            .collect();
        let target = Target::from(self.subject);
        let event = Event::new(&self.author, Action::UsageReset, target);
        Some(event.gone(&serde_json::json!({ "used": credited })))
    }
}

/// A limit to be set, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChange {
    /// Which one.
    pub key: LimitKey,
    /// Whose clocks it follows.
    pub zone: Zone,
    /// How much it is from now on, `None` for no limit.
    pub amount: Option<Amount>,
    /// Whether those ask for it whom it binds: to refuse it where it would raise the limit in force. What they set
    /// where no admin has set one of its own for them is [voluntary](Limit::voluntary).
    pub only_down: bool,
    /// Who asks for it, and when.
    pub author: Author,
}

impl LimitChange {
    /// Sets a limit, which is not voluntary then.
    #[must_use]
    pub fn set(limit: Limit, author: Author) -> Self {
        Self {
            key: limit.key,
            zone: limit.zone,
            amount: Some(limit.amount),
            only_down: false,
            author,
        }
    }

    /// Removes a limit.
    #[must_use]
    pub const fn remove(key: LimitKey, author: Author) -> Self {
        Self {
            key,
            zone: Zone::UTC,
            amount: None,
            only_down: false,
            author,
        }
    }

    /// Sets or removes the limit of all tokens that a subject ever uses, now, in the gate's own name.
    #[must_use]
    pub fn total_tokens(subject: Subject, amount: Option<Tokens>) -> Self {
        Self {
            key: LimitKey::total_tokens(subject),
            zone: Zone::UTC,
            amount,
            only_down: false,
            author: Author::now(),
        }
    }

    /// Returns the limit that it sets, `None` if it removes one; `before` is the limit under its key.
    ///
    /// One that an admin has granted stays the admin's when it is lowered: what holds for each of its kind would cut it
    /// further.
    #[must_use]
    pub fn limit(&self, before: Option<&Limit>) -> Option<Limit> {
        self.amount.map(|amount| Limit {
            key: self.key.clone(),
            zone: self.zone.clone(),
            amount,
            voluntary: self.only_down && before.is_none_or(|before| before.voluntary),
        })
    }

    /// Returns the event that it leaves, `before` being the limit under its key; none where it changes nothing.
    ///
    /// Which limit it is about is told on both sides.
    #[must_use]
    pub fn event(&self, before: Option<&Limit>) -> Option<Event> {
        let after = self.limit(before);
        if before == after.as_ref() {
            return None;
        }
        let target = Target::from(self.key.subject);
        let action = match after {
            Some(_) => Action::LimitChanged,
            None => Action::LimitRemoved,
        };
        let mut event = Event::new(&self.author, action, target);
        event = event.change(&before, &after);
        if let (Value::Object(before), Value::Object(after)) = (&mut event.before, &mut event.after)
        {
            let key = serde_json::to_value(&self.key).unwrap_or_default();
            before.insert("key".to_owned(), key.clone());
            after.insert("key".to_owned(), key);
        }
        Some(event)
    }

    /// Returns whether it would raise the limit in force, `None` being no limit at all.
    #[must_use]
    pub fn raises(&self, in_force: Option<&Limit>) -> bool {
        let Some(in_force) = in_force else {
            return false;
        };
        let after = self.limit(None);
        after.is_none_or(|after| !after.within(in_force))
    }
}
