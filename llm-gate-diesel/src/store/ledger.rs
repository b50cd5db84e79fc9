use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject};
use llm_gate::store::rules;
use llm_gate::store::{
    Author, CounterKey, LedgerStore, Limit, LimitChange, Operation, Outcome, OwnerId, Price,
    Standing, StoreError, StoreErrorKind, StoreFuture, Totals, UsageReset,
};
use llm_gate::tokens::Amount;

use super::page::{self, Desk, Gate, Page};
use super::queries::{counters, keys, owners, prices, totals};
use super::{Connection, Store, batch, event};
use crate::error::Failure;
use crate::models::{Id, LimitRow, NewCounterRow, NewOwnerRow, NewPriceRow};

/// Counters in one statement: each has ten values, of which SQLite allows 32,766 and PostgreSQL 65,535.
const CHUNK: usize = 1_000;

/// Applies a batch: reads its rows, lets the rules decide, writes what they changed.
pub(super) fn apply(
    connection: &mut Connection,
    desk: Desk,
    operations: &[Operation],
) -> Result<Vec<Outcome>, Failure> {
    let mut page = Page::read(connection, desk, operations)?;
    let mut unknown = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        let outcome = page.apply(operation);
        if let (Operation::Settle(settle), Outcome::Unknown) = (operation, &outcome) {
            unknown.insert(Id::from(settle.id));
        }
        outcomes.push(outcome);
    }
    batch::outlast(connection, &unknown)?;
    page.write(connection)?;
    Ok(outcomes)
}

/// Reads how a subject stands on some of its counters.
fn standing_on(
    connection: &mut Connection,
    limits: &llm_gate::store::Limits,
    keys: &[CounterKey],
) -> Result<Vec<Standing>, Failure> {
    let mut balances = HashMap::new();
    for row in batch::find(connection, keys)? {
        balances.insert(row.key()?, row.balance()?);
    }
    let standing = |key| {
        let balance = balances.get(key).copied().unwrap_or_default();
        rules::standing(limits, key, balance)
    };
    Ok(keys.iter().map(standing).collect())
}

fn standing(connection: &mut Connection, subject: Subject) -> Result<Standing, Failure> {
    let limits = page::limits_of(connection, &BTreeSet::from([subject]))?;
    let standings = standing_on(connection, &limits, &[CounterKey::total_tokens(subject)])?;
    Ok(standings.into_iter().next().unwrap_or_default())
}

fn standings(
    connection: &mut Connection,
    subject: Subject,
    at: Timestamp,
) -> Result<Vec<(Limit, Standing)>, Failure> {
    let limits = page::limits_of(connection, &BTreeSet::from([subject]))?;
    let in_force: Vec<Limit> = limits.in_force(subject).cloned().collect();
    let keys: Vec<CounterKey> = in_force
        .iter()
        .map(|limit| CounterKey::of(subject, limit, at))
        .collect();
    let standings = standing_on(connection, &limits, &keys)?;
    Ok(in_force.into_iter().zip(standings).collect())
}

/// Sets or removes limits, all or none.
///
/// What every batch takes that the limits concern is taken first, so that none decides by an old limit after this
/// has been committed.
pub(super) fn change_limits(
    connection: &mut Connection,
    desk: Desk,
    changes: &[LimitChange],
) -> Result<Option<Vec<Standing>>, Failure> {
    let subjects: BTreeSet<Subject> = changes.iter().map(|change| change.key.subject).collect();
    batch::lock_limits(connection, &subjects)?;
    let mut gate = batch::gate(connection, desk)?;
    let limits = page::limits_of(connection, &subjects)?;
    let may = |change| rules::may_change(&limits, change);
    if !changes.iter().all(may) {
        return Ok(None);
    }
    if rules::are_too_many(&limits, changes) {
        return Err(Failure::conflict(
            "there are as many limits as there may be",
        ));
    }
    let mut standings = Vec::with_capacity(changes.len());
    for change in changes {
        standings.push(change_limit(connection, &mut gate, change)?);
    }
    Ok(Some(standings))
}

/// Sets or removes a limit that may be changed.
fn change_limit(
    connection: &mut Connection,
    gate: &mut Gate,
    asked: &LimitChange,
) -> Result<Standing, Failure> {
    let subject = asked.key.subject;
    let change = LimitChange {
        author: Author {
            at: gate.now.unwrap_or(asked.author.at),
            ..asked.author.clone()
        },
        ..asked.clone()
    };
    let limits = page::limits_of(connection, &BTreeSet::from([subject]))?;
    let entry = rules::limit_entry(&limits, &change);
    match change.limit(limits.get(&change.key)) {
        Some(limit) => counters::put_limit(connection, &LimitRow::from(&limit))?,
        None => {
            let nothing = Limit {
                key: change.key.clone(),
                zone: change.zone.clone(),
                amount: Amount::ZERO,
                voluntary: false,
            };
            counters::delete_limit(connection, &LimitRow::from(&nothing))?
        }
    };
    let mut rows = HashMap::new();
    for row in batch::take_or_make(connection, &BTreeSet::from([entry.counter.clone()]))? {
        rows.insert(row.key()?, row.id);
    }
    if let Some(event) = asked.event(limits.get(&change.key)) {
        let project = project_of(connection, subject)?;
        event::leave(connection, &[event.of(project)])?;
    }
    let key = [entry.counter.clone()];
    page::post(connection, &mut gate.chain, &[entry], &rows)?;
    let limits = page::limits_of(connection, &BTreeSet::from([subject]))?;
    let standings = standing_on(connection, &limits, &key)?;
    Ok(standings.into_iter().next().unwrap_or_default())
}

/// Takes off what a subject has used. It takes what [`change_limits`] takes, in the same order.
fn reset_usage(
    connection: &mut Connection,
    desk: Desk,
    reset: &UsageReset,
) -> Result<Standing, Failure> {
    let subject = reset.subject;
    batch::lock_limits(connection, &BTreeSet::from([subject]))?;
    let mut gate = batch::gate(connection, desk)?;
    let at = gate.now.unwrap_or(reset.author.at);
    let limits = page::limits_of(connection, &BTreeSet::from([subject]))?;
    let keys = rules::credited(&limits, subject, at);
    let (mut rows, mut balances, mut lines) = (HashMap::new(), Vec::new(), Vec::new());
    for row in batch::take_or_make(connection, &keys)? {
        let key = row.key()?;
        // What comes with them is another's, or of another window.
        if !keys.contains(&key) {
            continue;
        }
        let presumed = Amount::try_new(totals::presumed(connection, row.id)?);
        let presumed = presumed.ok_or_else(|| Failure::corrupt("a hold is less than nothing"))?;
        if let Some((balance, line)) = rules::credit(&key, row.balance()?, presumed, at) {
            balances.push(NewCounterRow::new(&key, balance));
            lines.push(line);
        }
        rows.insert(key, row.id);
    }
    // The same order in all stores.
    lines.sort_unstable_by(|one, other| one.counter.cmp(&other.counter));
    batch::put_balances(connection, &balances)?;
    page::post(connection, &mut gate.chain, &lines, &rows)?;
    if let Some(event) = reset.event(&lines) {
        let project = project_of(connection, subject)?;
        event::leave(connection, &[event.of(project)])?;
    }
    standing(connection, subject)
}

/// Returns the project that a subject is or is a key of.
fn project_of(connection: &mut Connection, subject: Subject) -> Result<Option<ProjectId>, Failure> {
    Ok(match subject {
        _ if subject.each() == Some(subject) => None,
        Subject::Project(id) => Some(id),
        Subject::Key(id) => keys::project(connection, id.into())?.map(ProjectId::from),
        _ => None,
    })
}

/// Freezes or releases subjects, whose counters are taken as batches take them.
pub(super) fn freeze(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
    frozen: bool,
) -> Result<(), Failure> {
    hold(connection, subjects)?;
    let totals = subjects.iter().copied().map(CounterKey::total_tokens);
    let rows: Vec<NewCounterRow> = totals.map(|key| NewCounterRow::empty(&key)).collect();
    for rows in rows.chunks(CHUNK) {
        counters::ensure(connection, rows)?;
    }
    let mut kinds = HashMap::<&str, Vec<Id>>::new();
    for subject in subjects {
        let (kind, id) = subject.parts();
        kinds.entry(kind).or_default().push(Id(*id));
    }
    for (kind, ids) in kinds {
        for ids in ids.chunks(CHUNK) {
            counters::freeze(connection, kind, ids, frozen)?;
        }
    }
    Ok(())
}

/// Takes the counters of subjects in the order that batches take them in. Who freezes several, one after the other,
/// takes all of them with this first.
pub(super) fn hold(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<(), Failure> {
    batch::lock(connection, subjects)?;
    Ok(())
}

/// Makes the counter that every subject has, if it is not there.
pub(super) fn make(connection: &mut Connection, subject: Subject) -> Result<(), Failure> {
    let row = NewCounterRow::empty(&CounterKey::total_tokens(subject));
    counters::ensure(connection, &[row])?;
    Ok(())
}

fn limits(connection: &mut Connection, subject: Option<Subject>) -> Result<Vec<Limit>, Failure> {
    let rows = match subject {
        Some(subject) => counters::limits_of(connection, &[Id(*subject.parts().1)])?,
        None => counters::limits(connection)?,
    };
    let limits: Result<Vec<Limit>, Failure> = rows.into_iter().map(Limit::try_from).collect();
    let mut limits = limits?;
    // The identifier alone selects.
    limits.retain(|limit| subject.is_none_or(|only| only == limit.key.subject));
    limits.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(limits)
}

fn set_price(
    connection: &mut Connection,
    price: &Price,
    author: &Author,
) -> Result<Price, Failure> {
    let row = NewPriceRow::new(price, author.at);
    batch::lock_limits(connection, &BTreeSet::from([Subject::Platform]))?;
    let before = prices::of_models(connection, std::slice::from_ref(&row.model))?;
    let before = before.into_iter().next().map(Price::try_from).transpose()?;
    prices::retire(connection, &row.model)?;
    let mut price = price.clone();
    price.tariff.id = if price.tariff.is_default() {
        None
    } else {
        Some(prices::insert(connection, &row)?)
    };
    if let Some(event) = price.event(before.as_ref(), author) {
        event::leave(connection, &[event])?;
    }
    Ok(price)
}

fn add_up(connection: &mut Connection) -> Result<Totals, Failure> {
    let (used, reserved, overage) = totals::counters(connection)?;
    let (charges, overages) = totals::ledger(connection)?;
    let held = totals::held(connection)?;
    let pending = totals::pending(connection)?;
    let settled = totals::settled(connection)?;
    // No amount in the tables is negative, so no sum is; of the ledger, if nobody has laid hands on it.
    Ok(Totals {
        counters_used: used.cast_unsigned(),
        ledger_charges: charges.cast_unsigned(),
        counters_overage: overage.cast_unsigned(),
        ledger_overages: overages.cast_unsigned(),
        counters_reserved: reserved.cast_unsigned(),
        pending_holds: held.cast_unsigned(),
        pending: pending.cast_unsigned(),
        settled: settled.cast_unsigned(),
    })
}

fn enlist(connection: &mut Connection, at: Timestamp, lease: Duration) -> Result<OwnerId, Failure> {
    let row = NewOwnerRow {
        enlisted_at: at.as_micros(),
        lease_until: at.after(lease).as_micros(),
        given_up: false,
    };
    Ok(OwnerId(owners::insert(connection, &row)?))
}

fn orphans(
    connection: &mut Connection,
    (before, at): (i64, i64),
    count: usize,
) -> Result<Vec<RequestId>, Failure> {
    owners::give_up(connection, before, at)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let ids = owners::orphans(connection, count)?;
    Ok(ids.into_iter().map(RequestId::from).collect())
}

impl LedgerStore for Store {
    fn apply(&self, operations: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        let desk = self.desk();
        self.write(move |connection| apply(connection, desk, &operations))
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        self.read(move |connection| standing(connection, subject))
    }

    fn standings(
        &self,
        subject: Subject,
        at: Timestamp,
    ) -> StoreFuture<'_, Vec<(Limit, Standing)>> {
        self.read(move |connection| standings(connection, subject, at))
    }

    fn change_limits(&self, changes: Vec<LimitChange>) -> StoreFuture<'_, Option<Vec<Standing>>> {
        let desk = self.desk();
        self.write(move |connection| change_limits(connection, desk, &changes))
    }

    fn reset_usage(&self, reset: UsageReset) -> StoreFuture<'_, Standing> {
        let desk = self.desk();
        self.write(move |connection| reset_usage(connection, desk, &reset))
    }

    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>> {
        self.read(move |connection| limits(connection, subject))
    }

    fn set_price(&self, price: Price, author: Author) -> StoreFuture<'_, Price> {
        let rates = [Some(price.tariff.weights), price.tariff.price];
        if !rates.iter().flatten().all(llm_gate::store::Rates::in_range) {
            let why = "a rate is out of range";
            let error = StoreError::with_source(StoreErrorKind::Other, why);
            return Box::pin(std::future::ready(Err(error)));
        }
        self.write(move |connection| set_price(connection, &price, &author))
    }

    fn prices(&self) -> StoreFuture<'_, Vec<Price>> {
        self.read(|connection| {
            let rows = prices::in_force(connection)?;
            rows.into_iter().map(Price::try_from).collect()
        })
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.audit(add_up)
    }

    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId> {
        let desk = self.desk();
        self.write(move |connection| {
            let now = batch::now(connection, desk)?;
            enlist(connection, now.unwrap_or(at), lease)
        })
    }

    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool> {
        let desk = self.desk();
        self.write(move |connection| {
            let now = batch::now(connection, desk)?;
            let until = now.unwrap_or(at).after(lease);
            Ok(owners::renew(connection, owner.0, until.as_micros())? > 0)
        })
    }

    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>> {
        let desk = self.desk();
        self.write(move |connection| {
            let now = batch::now(connection, desk)?;
            let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
            let at = now.unwrap_or(at).as_micros();
            orphans(connection, (at.saturating_sub(grace), at), count)
        })
    }
}
