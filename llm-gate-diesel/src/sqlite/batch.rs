//! The statements of a ledger batch, in sizes that SQLite takes.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::upsert::excluded;
use llm_gate::identity::Subject;

use super::Connection;
use super::queries::{self, reservations::SubjectOf};
use crate::error::Failure;
use crate::models::{
    CounterRow, Id, KnownReservation, LedgerRow, NewCounterRow, ReservationCounterRow,
    ReservationEnd, ReservationHold, ReservationRow,
};
use crate::schema::{counters, ledger, reservation_counters, reservations};

/// Identifiers or rows in one statement. SQLite allows 32,766 bound values in one.
const CHUNK: usize = 1_000;

/// Takes the counters of a batch: nothing to do under the write lock, which this transaction has.
#[expect(
    clippy::unnecessary_wraps,
    clippy::missing_const_for_fn,
    reason = "on PostgreSQL it can fail"
)]
pub(super) fn lock(
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

/// Reads where reservations are in their lives.
pub(super) fn reservations(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<KnownReservation>> {
    read(ids, |ids| {
        reservations::table
            .filter(reservations::id.eq_any(ids))
            .select((
                reservations::id,
                reservations::hold,
                reservations::version,
                reservations::state,
                reservations::charged,
                reservations::overage,
            ))
            .load(connection)
    })
}

/// Reads the subjects that reservations are held by.
pub(super) fn subjects(connection: &mut Connection, ids: &[Id]) -> QueryResult<Vec<SubjectOf>> {
    read(ids, |ids| queries::reservations::subjects(connection, ids))
}

/// Reads the counters of subjects, and their limits.
pub(super) fn counters(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<(CounterRow, Option<i64>)>> {
    read(ids, |ids| queries::counters::of_subjects(connection, ids))
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
                counters::subject_kind,
                counters::unit,
                counters::window_kind,
                counters::window_start,
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
