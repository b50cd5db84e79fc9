//! The statements of a ledger batch: locks in one order, and writes that do not grow in number with it.

use std::collections::{BTreeSet, HashSet};

use diesel::connection::Connection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use llm_gate::identity::Subject;
use llm_gate::store::rules::Counter;

use super::Connection;
use super::bulk::bulk;
use super::queries::{self, reservations::SubjectOf};
use crate::error::Failure;
use crate::models::{
    CounterRow, Id, KnownReservation, LedgerRow, NewCounterRow, ReservationCounterRow,
    ReservationEnd, ReservationHold, ReservationRow, TOKENS, TOTAL,
};
use crate::schema::{counters, reservations};

/// Takes the counters of `subjects` for this transaction, in the order of their rows; makes what is not there.
///
/// They are to be read after that, by a statement of its own: one that waits for a lock sees the locked row as it
/// is then, and the limits beside it as they were before.
pub(super) fn lock(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<(), Failure> {
    if subjects.is_empty() {
        return Ok(());
    }
    let known = lock_rows(connection, subjects)?;
    let missing: BTreeSet<Subject> = subjects.difference(&known).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let rows: Vec<NewCounterRow> = missing
        .iter()
        .map(|&subject| NewCounterRow::new(subject, &Counter::default()))
        .collect();
    ensure(connection, &rows)?;
    // What another transaction has made in the meantime is not locked yet.
    lock_rows(connection, &missing)?;
    Ok(())
}

fn lock_rows(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<BTreeSet<Subject>, Failure> {
    let ids: HashSet<Id> = subjects
        .iter()
        .map(|subject| Id(*subject.parts().1))
        .collect();
    counters::table
        .filter(counters::subject_id.eq_any(ids.into_iter().collect::<Vec<_>>()))
        .filter(counters::unit.eq(TOKENS))
        .filter(counters::window_kind.eq(TOTAL))
        .order(counters::id)
        .select((counters::subject_kind, counters::subject_id))
        .for_no_key_update()
        .load::<(String, Id)>(connection)?
        .into_iter()
        .map(|(kind, id)| crate::models::subject(&kind, id))
        .collect()
}

/// Reads where reservations are in their lives, and takes them for this transaction, after their counters.
pub(super) fn reservations(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<KnownReservation>> {
    reservations::table
        .filter(reservations::id.eq_any(ids))
        .order(reservations::id)
        .select((
            reservations::id,
            reservations::hold,
            reservations::version,
            reservations::state,
            reservations::charged,
            reservations::overage,
        ))
        .for_no_key_update()
        .load(connection)
}

/// Reads the subjects that reservations are held by.
pub(super) fn subjects(connection: &mut Connection, ids: &[Id]) -> QueryResult<Vec<SubjectOf>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    queries::reservations::subjects(connection, ids)
}

/// Reads the counters of subjects, and their limits.
pub(super) fn counters(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<(CounterRow, Option<i64>)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    queries::counters::of_subjects(connection, ids)
}

/// Writes new reservations.
pub(super) fn open(connection: &mut Connection, rows: &[ReservationRow]) -> Result<(), Failure> {
    // Another store has committed the same request since this batch looked: the repeat finds it.
    if insert_reservations(connection, rows)? == rows.len() {
        Ok(())
    } else {
        Err(Failure::lost_race("a request was reserved twice at once"))
    }
}

/// Waits for whoever has reserved one of `ids`, which this transaction does not find, and has not committed: the
/// server may still be at the `COMMIT` of a gateway that was killed. The repeat finds it then.
///
/// Nobody can insert a row that somebody else is inserting before it is known what became of that. What is inserted
/// here is taken back.
pub(super) fn outlast(connection: &mut Connection, ids: &BTreeSet<Id>) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = ids.iter().copied().map(ReservationRow::probe).collect();
    let mut inserted = 0;
    let taken_back = connection.transaction::<(), _, _>(|connection| {
        inserted = insert_reservations(connection, &rows)?;
        Err(DieselError::RollbackTransaction)
    });
    match taken_back {
        Ok(()) | Err(DieselError::RollbackTransaction) if inserted == rows.len() => Ok(()),
        Ok(()) | Err(DieselError::RollbackTransaction) => Err(Failure::lost_race(
            "a request was reserved while it was settled",
        )),
        Err(error) => Err(error.into()),
    }
}

bulk! {
    /// Makes counters, where there are none.
    ensure: "INSERT INTO counters \
             (subject_id, subject_kind, unit, window_kind, window_start, used, reserved, overage, frozen) \
             SELECT subject_id, subject_kind, unit, window_kind, window_start, 0, 0, 0, FALSE FROM "
    |row: &NewCounterRow| {
        subject_id: Binary = Id: row.subject_id,
        subject_kind: Text = &'static str: row.subject_kind,
        unit: Text = &'static str: row.unit,
        window_kind: Text = &'static str: row.window_kind,
        window_start: BigInt = i64: row.window_start,
    }
    "ON CONFLICT DO NOTHING"
}

bulk! {
    /// Writes balances. Whether a counter is frozen stays as it is.
    put_balances: "UPDATE counters SET used = batch.used, reserved = batch.reserved, overage = batch.overage FROM "
    |row: &NewCounterRow| {
        subject_id: Binary = Id: row.subject_id,
        subject_kind: Text = &'static str: row.subject_kind,
        unit: Text = &'static str: row.unit,
        window_kind: Text = &'static str: row.window_kind,
        window_start: BigInt = i64: row.window_start,
        used: BigInt = i64: row.used,
        reserved: BigInt = i64: row.reserved,
        overage: BigInt = i64: row.overage,
    }
    "WHERE counters.subject_id = batch.subject_id AND counters.subject_kind = batch.subject_kind \
     AND counters.unit = batch.unit AND counters.window_kind = batch.window_kind \
     AND counters.window_start = batch.window_start"
}

bulk! {
    /// Writes new reservations that are not there; returns how many.
    insert_reservations: "INSERT INTO reservations \
         (id, user_id, project_id, key_id, route, model, stream, hold, state, created_at) SELECT * FROM "
    |row: &ReservationRow| {
        id: Binary = Id: row.id,
        user_id: Binary = Id: row.user_id,
        project_id: Binary = Id: row.project_id,
        key_id: Nullable<Binary> = Option<Id>: row.key_id,
        route: Text = String: row.route.clone(),
        model: Text = String: row.model.clone(),
        stream: Bool = bool: row.stream,
        hold: BigInt = i64: row.hold,
        state: Text = &'static str: row.state,
        created_at: BigInt = i64: row.created_at,
    }
    "ON CONFLICT DO NOTHING"
}

bulk! {
    /// Changes the holds of pending reservations; returns how many were pending.
    hold: "UPDATE reservations SET hold = batch.hold, version = batch.version FROM "
    |row: &ReservationHold| {
        id: Binary = Id: row.id,
        hold: BigInt = i64: row.hold,
        version: BigInt = i64: row.version,
    }
    "WHERE reservations.id = batch.id AND reservations.settled_at IS NULL"
}

bulk! {
    /// Moves pending reservations to their ends; returns how many were pending. Those have no `settled_at`; asked for
    /// their `state`, the planner would go through all that are pending.
    close: "UPDATE reservations SET state = batch.state, settled_at = batch.settled_at, \
            charged = batch.charged, overage = batch.overage, prompt = batch.prompt, completion = batch.completion, \
            cached = batch.cached, reasoning = batch.reasoning, source = batch.source, ending = batch.ending, \
            status = batch.status FROM "
    |row: &ReservationEnd| {
        id: Binary = Id: row.id,
        state: Text = &'static str: row.state,
        settled_at: BigInt = i64: row.settled_at,
        charged: BigInt = i64: row.charged,
        overage: BigInt = i64: row.overage,
        prompt: BigInt = i64: row.prompt,
        completion: BigInt = i64: row.completion,
        cached: BigInt = i64: row.cached,
        reasoning: BigInt = i64: row.reasoning,
        source: Text = &'static str: row.source,
        ending: Text = &'static str: row.ending,
        status: BigInt = i64: row.status,
    }
    "WHERE reservations.id = batch.id AND reservations.settled_at IS NULL"
}

bulk! {
    /// Writes what counters hold for reservations and what they were charged.
    put_parts: "INSERT INTO reservation_counters (reservation_id, counter_id, held, charged) SELECT * FROM "
    |row: &ReservationCounterRow| {
        reservation_id: Binary = Id: row.reservation_id,
        counter_id: BigInt = i64: row.counter_id,
        held: BigInt = i64: row.held,
        charged: BigInt = i64: row.charged,
    }
    "ON CONFLICT (reservation_id, counter_id) DO UPDATE SET held = excluded.held, charged = excluded.charged"
}

bulk! {
    /// Appends lines to the ledger.
    post: "INSERT INTO ledger (reservation_id, kind, counter_id, charge, overage, at) SELECT * FROM "
    |row: &LedgerRow| {
        reservation_id: Binary = Id: row.reservation_id,
        kind: Text = &'static str: row.kind,
        counter_id: BigInt = i64: row.counter_id,
        charge: BigInt = i64: row.charge,
        overage: BigInt = i64: row.overage,
        at: BigInt = i64: row.at,
    }
    ""
}
