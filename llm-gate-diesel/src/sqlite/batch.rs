//! The statements of a ledger batch, in sizes that SQLite takes.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::upsert::excluded;
use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::store::CounterKey;

use super::Connection;
use super::queries;
use super::traits::{Desk, Gate, new_chain};
use crate::error::Failure;
use crate::models::{
    ChainRow, CounterRow, Id, KnownReservation, LedgerRow, LimitRow, NewCounterRow,
    ReservationCounterRow, ReservationEnd, ReservationHold, ReservationRow,
};
use crate::schema::{chains, counters, ledger, reservation_counters, reservations};

/// Identifiers or rows in one statement. SQLite allows 32,766 bound values in one.
pub(super) const CHUNK: usize = 1_000;

/// Keeps accounts, projects, members, invites and keys as they are: under the write lock they are.
#[expect(
    clippy::unnecessary_wraps,
    clippy::missing_const_for_fn,
    reason = "on PostgreSQL it can fail"
)]
pub(super) fn lock_people(_connection: &mut Connection) -> Result<(), Failure> {
    Ok(())
}

/// Takes the counters that subjects have: nothing to do under the write lock, which this transaction has.
#[expect(
    clippy::unnecessary_wraps,
    clippy::missing_const_for_fn,
    reason = "on PostgreSQL it can fail"
)]
pub(super) fn lock(
    _connection: &mut Connection,
    _subjects: &BTreeSet<Subject>,
) -> Result<Vec<CounterRow>, Failure> {
    Ok(Vec::new())
}

/// Takes what every batch takes that the limits of these subjects concern: as above.
#[expect(
    clippy::unnecessary_wraps,
    clippy::missing_const_for_fn,
    reason = "on PostgreSQL it can fail"
)]
pub(super) fn lock_limits(
    _connection: &mut Connection,
    _subjects: &BTreeSet<Subject>,
) -> Result<(), Failure> {
    Ok(())
}

/// Waits for commits that the dead have left under way: a transaction ends with its process here.
#[expect(
    clippy::unnecessary_wraps,
    clippy::missing_const_for_fn,
    reason = "on PostgreSQL it can fail"
)]
pub(super) fn outlast(_connection: &mut Connection, _ids: &BTreeSet<Id>) -> Result<(), Failure> {
    Ok(())
}

/// Returns the database's time, where it counts: a file has no clock of its own.
#[expect(clippy::unnecessary_wraps, reason = "on PostgreSQL it can fail")]
pub(super) fn now(_connection: &mut Connection, desk: Desk) -> Result<Option<Timestamp>, Failure> {
    debug_assert!(!desk.database_time, "no store of a file asks for it");
    Ok(None)
}

/// Reads how far the writer has come.
pub(super) fn gate(connection: &mut Connection, desk: Desk) -> Result<Gate, Failure> {
    let chain = chains::table
        .find(Id(desk.writer))
        .select(ChainRow::as_select())
        .first(connection)
        .optional()?;
    Ok(Gate {
        now: None,
        chain: chain.unwrap_or_else(|| new_chain(desk.writer)),
    })
}

/// Reads counters, those that are there, for this transaction to change.
pub(super) fn take(
    connection: &mut Connection,
    keys: &BTreeSet<CounterKey>,
) -> Result<Vec<CounterRow>, Failure> {
    Ok(find(connection, &Vec::from_iter(keys.iter().cloned()))?)
}

/// Reads counters, those that are there.
pub(super) fn find(
    connection: &mut Connection,
    keys: &[CounterKey],
) -> QueryResult<Vec<CounterRow>> {
    let ids: BTreeSet<Id> = keys.iter().map(|key| Id(*key.subject.parts().1)).collect();
    let starts: BTreeSet<i64> = keys.iter().map(|key| key.start.as_micros()).collect();
    let (ids, starts) = (Vec::from_iter(ids), Vec::from_iter(starts));
    let mut all = Vec::new();
    for starts in starts.chunks(CHUNK) {
        all.extend(read(&ids, |ids| of_subjects(connection, ids, starts))?);
    }
    Ok(all)
}

/// Reads the counters of all kinds of subjects with one of these identifiers whose windows begin then.
///
/// The identifier alone selects: another kind of subject with the same one is read along and does no harm.
fn of_subjects(
    connection: &mut Connection,
    subjects: &[Id],
    starts: &[i64],
) -> QueryResult<Vec<CounterRow>> {
    counters::table
        .filter(counters::subject_id.eq_any(subjects))
        .filter(counters::window_start.eq_any(starts))
        .select(CounterRow::as_select())
        .load(connection)
}

/// Reads counters, and makes those that are not there.
pub(super) fn take_or_make(
    connection: &mut Connection,
    keys: &BTreeSet<CounterKey>,
) -> Result<Vec<CounterRow>, Failure> {
    let rows: Vec<NewCounterRow> = keys.iter().map(NewCounterRow::empty).collect();
    write(&rows, |rows| queries::counters::ensure(connection, rows))?;
    take(connection, keys)
}

/// Reads the limits of subjects.
pub(super) fn limits(connection: &mut Connection, ids: &[Id]) -> QueryResult<Vec<LimitRow>> {
    read(ids, |ids| queries::counters::limits_of(connection, ids))
}

/// Reads where reservations are in their lives.
pub(super) fn reservations(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<KnownReservation>> {
    read(ids, |ids| {
        reservations::table
            .filter(reservations::id.eq_any(ids))
            .select(KnownReservation::as_select())
            .load(connection)
    })
}

/// Reads the counters that reservations are held by.
pub(super) fn counters_of(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<(Id, CounterRow)>> {
    read(ids, |ids| queries::reservations::counters(connection, ids))
}

/// Writes balances; makes counters that are not there. Whether one is frozen stays as it is.
pub(super) fn put_balances(
    connection: &mut Connection,
    rows: &[NewCounterRow],
) -> QueryResult<usize> {
    write(rows, |rows| {
        diesel::insert_into(counters::table)
            .values(rows)
            .on_conflict((
                counters::subject_id,
                counters::window_start,
                counters::subject_kind,
                counters::model,
                counters::unit,
                counters::window_kind,
            ))
            .do_update()
            .set((
                counters::used.eq(excluded(counters::used)),
                counters::reserved.eq(excluded(counters::reserved)),
                counters::overage.eq(excluded(counters::overage)),
            ))
            .execute(connection)
    })
}

/// Writes new reservations.
pub(super) fn open(connection: &mut Connection, rows: &[ReservationRow]) -> QueryResult<usize> {
    write(rows, |rows| {
        diesel::insert_into(reservations::table)
            .values(rows)
            .execute(connection)
    })
}

/// Changes the holds of pending reservations; returns how many were pending.
pub(super) fn hold(connection: &mut Connection, rows: &[ReservationHold]) -> QueryResult<usize> {
    rows.iter()
        .map(|hold| {
            diesel::update(hold)
                .filter(reservations::state.eq("pending"))
                .set(hold)
                .execute(connection)
        })
        .sum()
}

/// Moves pending reservations to their ends; returns how many were pending.
pub(super) fn close(connection: &mut Connection, rows: &[ReservationEnd]) -> QueryResult<usize> {
    rows.iter()
        .map(|end| {
            diesel::update(end)
                .filter(reservations::state.eq("pending"))
                .set(end)
                .execute(connection)
        })
        .sum()
}

/// Takes back what was presumed of reservations; returns of how many.
pub(super) fn refund(connection: &mut Connection, ids: &[Id]) -> QueryResult<usize> {
    ids.iter()
        .map(|id| {
            diesel::update(reservations::table.find(id))
                .filter(reservations::state.eq("expired"))
                .set((
                    reservations::state.eq("refunded"),
                    reservations::charged.eq(0),
                    reservations::cost.eq(0),
                ))
                .execute(connection)
        })
        .sum()
}

/// Moves reservations that were presumed to their true ends; returns how many were.
pub(super) fn correct(connection: &mut Connection, rows: &[ReservationEnd]) -> QueryResult<usize> {
    rows.iter()
        .map(|end| {
            diesel::update(end)
                .filter(reservations::state.eq_any(["expired", "refunded"]))
                .set(end)
                .execute(connection)
        })
        .sum()
}

/// Writes what counters hold for reservations and what they were charged.
pub(super) fn put_parts(
    connection: &mut Connection,
    rows: &[ReservationCounterRow],
) -> QueryResult<usize> {
    write(rows, |rows| {
        diesel::insert_into(reservation_counters::table)
            .values(rows)
            .on_conflict((
                reservation_counters::reservation_id,
                reservation_counters::counter_id,
            ))
            .do_update()
            .set((
                reservation_counters::held.eq(excluded(reservation_counters::held)),
                reservation_counters::charged.eq(excluded(reservation_counters::charged)),
            ))
            .execute(connection)
    })
}

/// Names the rows of lines that are to be appended.
pub(super) fn new_lines(connection: &mut Connection, count: usize) -> QueryResult<Vec<i64>> {
    let last: Option<i64> = ledger::table
        .select(diesel::dsl::max(ledger::id))
        .get_result(connection)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let next = |number| last.unwrap_or_default().saturating_add(number);
    Ok((1..=count).map(next).collect())
}

/// Appends lines to the ledger.
pub(super) fn post(connection: &mut Connection, rows: &[LedgerRow]) -> QueryResult<usize> {
    write(rows, |rows| {
        diesel::insert_into(ledger::table)
            .values(rows)
            .execute(connection)
    })
}

fn read<T>(ids: &[Id], mut read: impl FnMut(&[Id]) -> QueryResult<Vec<T>>) -> QueryResult<Vec<T>> {
    let mut all = Vec::new();
    for ids in ids.chunks(CHUNK) {
        all.extend(read(ids)?);
    }
    Ok(all)
}

fn write<T>(rows: &[T], write: impl FnMut(&[T]) -> QueryResult<usize>) -> QueryResult<usize> {
    rows.chunks(CHUNK).map(write).sum()
}
