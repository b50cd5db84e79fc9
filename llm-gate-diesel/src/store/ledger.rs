use std::collections::BTreeSet;

use llm_gate::identity::Subject;
use llm_gate::store::rules::{self, Counter};
use llm_gate::store::{LedgerStore, Operation, Outcome, Standing, StoreFuture, Totals};
use llm_gate::tokens::Tokens;

use super::page::Page;
use super::queries::{counters, totals};
use super::{Connection, Store, batch};
use crate::error::Failure;
use crate::models::{Id, LimitRow, NewCounterRow};

/// Applies a batch: reads its rows, lets the rules decide, writes what they changed.
fn apply(connection: &mut Connection, batch: &[Operation]) -> Result<Vec<Outcome>, Failure> {
    let mut page = Page::read(connection, batch)?;
    let mut unknown = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for operation in batch {
        let outcome = rules::apply(&mut page, operation);
        if let (Operation::Settle(settle), Outcome::Unknown) = (operation, &outcome) {
            unknown.insert(Id::from(settle.id));
        }
        outcomes.push(outcome);
    }
    batch::outlast(connection, &unknown)?;
    page.write(connection)?;
    Ok(outcomes)
}

/// Reads how a subject stands.
fn standing(connection: &mut Connection, subject: Subject) -> Result<Standing, Failure> {
    let (kind, id) = subject.parts();
    counters::of_subjects(connection, &[Id(*id)])?
        .into_iter()
        .find(|(row, _)| row.subject_kind == kind)
        .map_or_else(
            || Ok(Standing::default()),
            |(row, limit)| row.standing(limit),
        )
}

/// Takes a subject's counter for this transaction, which is made where there is none.
fn take(connection: &mut Connection, subject: Subject) -> Result<(), Failure> {
    counters::ensure(
        connection,
        &[NewCounterRow::new(subject, &Counter::default())],
    )?;
    batch::lock(connection, &BTreeSet::from([subject]))
}

/// Sets or removes a subject's limit.
///
/// The counter is taken first, so that no batch decides by the old limit after this has been committed.
pub(super) fn set_limit(
    connection: &mut Connection,
    subject: Subject,
    limit: Option<Tokens>,
) -> Result<Standing, Failure> {
    take(connection, subject)?;
    match limit {
        Some(amount) => counters::put_limit(connection, &LimitRow::new(subject, amount))?,
        None => {
            let (kind, id) = subject.parts();
            counters::delete_limit(connection, kind, Id(*id))?
        }
    };
    standing(connection, subject)
}

/// Freezes or releases a subject.
pub(super) fn freeze(
    connection: &mut Connection,
    subject: Subject,
    frozen: bool,
) -> Result<(), Failure> {
    let (kind, id) = subject.parts();
    counters::ensure(
        connection,
        &[NewCounterRow::new(subject, &Counter::default())],
    )?;
    counters::freeze(connection, kind, Id(*id), frozen)?;
    Ok(())
}

fn add_up(connection: &mut Connection) -> Result<Totals, Failure> {
    let (used, reserved, overage) = totals::counters(connection)?;
    let (charges, overages) = totals::ledger(connection)?;
    let held = totals::held(connection)?;
    let pending = totals::pending(connection)?;
    let settled = totals::settled(connection)?;
    // No amount in the tables is negative, so no sum is.
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

impl LedgerStore for Store {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        self.write(move |connection| apply(connection, &batch))
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        self.read(move |connection| standing(connection, subject))
    }

    fn set_limit(&self, subject: Subject, limit: Option<Tokens>) -> StoreFuture<'_, Standing> {
        self.write(move |connection| set_limit(connection, subject, limit))
    }

    fn lower_limit(&self, subject: Subject, limit: Tokens) -> StoreFuture<'_, Option<Standing>> {
        self.write(move |connection| {
            take(connection, subject)?;
            let raises = standing(connection, subject)?
                .limit
                .is_some_and(|now| limit > now);
            if raises {
                Ok(None)
            } else {
                set_limit(connection, subject, Some(limit)).map(Some)
            }
        })
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.snapshot(add_up)
    }
}
