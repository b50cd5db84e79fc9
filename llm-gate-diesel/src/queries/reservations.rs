use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel::upsert::excluded;

use crate::models::{Id, ReservationCounterRow, ReservationEnd, ReservationHold, ReservationRow};
use crate::schema::{counters, reservation_counters, reservations};

/// Identifier, hold, its version, state, charged and overage of a reservation.
type Known = (Id, i64, i64, String, i64, i64);

/// Reads where reservations are in their lives.
pub(crate) fn by_ids(connection: &mut SqliteConnection, ids: &[Id]) -> QueryResult<Vec<Known>> {
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
}

/// Reads kind and identifier of the subjects that reservations are held by.
pub(crate) fn subjects(
    connection: &mut SqliteConnection,
    ids: &[Id],
) -> QueryResult<Vec<(Id, String, Id)>> {
    reservation_counters::table
        .inner_join(counters::table)
        .filter(reservation_counters::reservation_id.eq_any(ids))
        .order((
            reservation_counters::reservation_id,
            reservation_counters::counter_id,
        ))
        .select((
            reservation_counters::reservation_id,
            counters::subject_kind,
            counters::subject_id,
        ))
        .load(connection)
}

/// Writes new reservations.
pub(crate) fn insert(
    connection: &mut SqliteConnection,
    rows: &[ReservationRow],
) -> QueryResult<usize> {
    diesel::insert_into(reservations::table)
        .values(rows)
        .execute(connection)
}

/// Changes the hold of a pending reservation.
pub(crate) fn hold(
    connection: &mut SqliteConnection,
    hold: &ReservationHold,
) -> QueryResult<usize> {
    diesel::update(hold)
        .filter(reservations::state.eq("pending"))
        .set(hold)
        .execute(connection)
}

/// Moves a pending reservation to its end.
pub(crate) fn close(connection: &mut SqliteConnection, end: &ReservationEnd) -> QueryResult<usize> {
    diesel::update(end)
        .filter(reservations::state.eq("pending"))
        .set(end)
        .execute(connection)
}

/// Writes what counters hold for reservations and what they were charged.
pub(crate) fn put_counters(
    connection: &mut SqliteConnection,
    rows: &[ReservationCounterRow],
) -> QueryResult<usize> {
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
}
