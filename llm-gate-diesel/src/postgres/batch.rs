//! The statements of a ledger batch: locks in one order, and writes that do not grow in number with it.

use std::collections::BTreeSet;

use diesel::connection::Connection as _;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::store::CounterKey;

use super::Connection;
use super::bulk::bulk;
use super::queries;
use super::traits::{Desk, Gate, new_chain};
use crate::error::Failure;
use crate::models::{
    ChainRow, CounterRow, Id, KnownReservation, LedgerRow, LimitRow, NewCounterRow,
    ReservationCounterRow, ReservationEnd, ReservationHold, ReservationRow,
};
use crate::schema::{chains, reservations};

/// Models or identifiers in one statement.
pub(super) const CHUNK: usize = 10_000;
/// Names the advisory lock on the limits for all subjects, and on prices. Batches share it.
const FOR_ALL: i64 = 0x11a6_a7e5_0000_0001;

/// Names the advisory lock on who there is and who may do what.
const PEOPLE: i64 = 0x11a6_a7e5_0000_0002;

/// Keeps accounts, projects, members, invites and keys as they are for this transaction: one changes them at a time,
/// and what a change was decided by still holds when it is committed. It is taken before any counter.
pub(super) fn lock_people(connection: &mut Connection) -> Result<(), Failure> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(PEOPLE)
        .execute(connection)?;
    Ok(())
}

/// Takes the counters that every subject has for this transaction, in the order of their rows; makes what is not
/// there. All other counters of a subject are taken after that, and only by who has this one.
///
/// Limits are to be read after that, by a statement of its own: one that waits for a lock sees the locked row as it
/// is then, and all else as it was before.
pub(super) fn lock(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<Vec<CounterRow>, Failure> {
    let own = subjects
        .iter()
        .filter(|subject| **subject != Subject::Platform);
    let keys: BTreeSet<CounterKey> = own.copied().map(CounterKey::total_tokens).collect();
    take_or_make(connection, &keys)
}

/// Takes what every batch takes that the limits of these subjects concern, in the order of the batches.
pub(super) fn lock_limits(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<(), Failure> {
    let is_general = |subject: &&Subject| subject.each().is_none_or(|each| each == **subject);
    let (general, own): (Vec<&Subject>, _) = subjects.iter().partition(is_general);
    lock(connection, &own.into_iter().copied().collect())?;
    if !general.is_empty() {
        let take = "SELECT pg_advisory_xact_lock($1)";
        diesel::sql_query(take)
            .bind::<BigInt, _>(FOR_ALL)
            .execute(connection)?;
    }
    Ok(())
}

/// Asks for the server's clock, in microseconds; with a lock, under that of all who share it.
#[derive(QueryId)]
struct Moment {
    share: Option<i64>,
}

impl QueryFragment<Pg> for Moment {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT");
        if let Some(lock) = &self.share {
            out.push_sql(" FROM pg_advisory_xact_lock_shared(");
            out.push_bind_param::<BigInt, _>(lock)?;
            out.push_sql(")");
        } else {
            // Another text than the one above.
            out.unsafe_to_cache_prepared();
        }
        Ok(())
    }
}

impl Query for Moment {
    type SqlType = BigInt;
}

impl RunQueryDsl<Connection> for Moment {}

/// Returns the database's time, where it counts.
pub(super) fn now(connection: &mut Connection, desk: Desk) -> Result<Option<Timestamp>, Failure> {
    if !desk.database_time {
        return Ok(None);
    }
    let now: i64 = Moment { share: None }.get_result(connection)?;
    Ok(Some(Timestamp::from_micros(now)))
}

/// Keeps the limits for all subjects as they are, and reads how far the writer has come, which is taken for this
/// transaction.
pub(super) fn gate(connection: &mut Connection, desk: Desk) -> Result<Gate, Failure> {
    let share = Some(FOR_ALL);
    let now: i64 = Moment { share }.get_result(connection)?;
    let chain = match chain(connection, desk)? {
        Some(chain) => chain,
        None => {
            let first = new_chain(desk.writer);
            diesel::insert_into(chains::table)
                .values(&first)
                .on_conflict_do_nothing()
                .execute(connection)?;
            chain(connection, desk)?.unwrap_or(first)
        }
    };
    Ok(Gate {
        now: desk.database_time.then_some(Timestamp::from_micros(now)),
        chain,
    })
}

fn chain(connection: &mut Connection, desk: Desk) -> QueryResult<Option<ChainRow>> {
    chains::table
        .find(Id(desk.writer))
        .select(ChainRow::as_select())
        .for_no_key_update()
        .first(connection)
        .optional()
}

/// Takes counters for this transaction, in the order of their rows; makes what is not there.
pub(super) fn take(
    connection: &mut Connection,
    keys: &BTreeSet<CounterKey>,
) -> Result<Vec<CounterRow>, Failure> {
    take_or_make(connection, keys)
}

/// Does the same.
pub(super) fn take_or_make(
    connection: &mut Connection,
    keys: &BTreeSet<CounterKey>,
) -> Result<Vec<CounterRow>, Failure> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = Vec::from_iter(keys.iter().cloned());
    let mut rows = lock_rows(connection, &wanted)?;
    let known: Result<BTreeSet<CounterKey>, Failure> = rows.iter().map(CounterRow::key).collect();
    let missing: Vec<CounterKey> = keys.difference(&known?).cloned().collect();
    if !missing.is_empty() {
        let new: Vec<NewCounterRow> = missing.iter().map(NewCounterRow::empty).collect();
        ensure(connection, &new)?;
        // What another transaction has made in the meantime is not locked yet.
        rows.extend(lock_rows(connection, &missing)?);
    }
    Ok(rows)
}

bulk! {
    /// Takes counters that are there.
    lock_rows(load -> Vec<CounterRow> as Counter):
    "SELECT counters.id, counters.subject_id, counters.subject_kind, counters.model, counters.unit, \
     counters.window_kind, counters.window_start, counters.used, counters.reserved, counters.overage, \
     counters.frozen FROM "
    |key: &CounterKey| {
        subject_id: Binary = Id: Id(*key.subject.parts().1),
        subject_kind: Text = &'static str: key.subject.parts().0,
        model: Text = String: key.model.as_deref().unwrap_or_default().to_owned(),
        unit: Text = &'static str: key.unit.as_str(),
        window_kind: Text = &'static str: key.period.as_str(),
        window_start: BigInt = i64: key.start.as_micros(),
    }
    "JOIN counters USING (subject_id, window_start, subject_kind, model, unit, window_kind) \
     ORDER BY counters.id FOR NO KEY UPDATE OF counters"
}

bulk! {
    /// Reads counters that are there.
    read_rows(load -> Vec<CounterRow> as Counter):
    "SELECT counters.id, counters.subject_id, counters.subject_kind, counters.model, counters.unit, \
     counters.window_kind, counters.window_start, counters.used, counters.reserved, counters.overage, \
     counters.frozen FROM "
    |key: &CounterKey| {
        subject_id: Binary = Id: Id(*key.subject.parts().1),
        subject_kind: Text = &'static str: key.subject.parts().0,
        model: Text = String: key.model.as_deref().unwrap_or_default().to_owned(),
        unit: Text = &'static str: key.unit.as_str(),
        window_kind: Text = &'static str: key.period.as_str(),
        window_start: BigInt = i64: key.start.as_micros(),
    }
    "JOIN counters USING (subject_id, window_start, subject_kind, model, unit, window_kind) \
     ORDER BY counters.id"
}

/// The columns of a counter.
type Counter = (
    BigInt,
    Binary,
    Text,
    Text,
    Text,
    Text,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    Bool,
);

/// Reads counters, those that are there.
pub(super) fn find(
    connection: &mut Connection,
    keys: &[CounterKey],
) -> QueryResult<Vec<CounterRow>> {
    read_rows(connection, keys)
}

/// Reads the limits of subjects.
pub(super) fn limits(connection: &mut Connection, ids: &[Id]) -> QueryResult<Vec<LimitRow>> {
    queries::counters::limits_of(connection, ids)
}

/// Reads where reservations are in their lives, and takes them for this transaction, after their counters.
pub(super) fn reservations(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<KnownReservation>> {
    reservations::table
        .filter(reservations::id.eq_any(ids))
        .order(reservations::id)
        .select(KnownReservation::as_select())
        .for_no_key_update()
        .load(connection)
}

/// Reads the counters that reservations are held by.
pub(super) fn counters_of(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<(Id, CounterRow)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    queries::reservations::counters(connection, ids)
}

/// Takes back what was presumed of reservations; returns of how many.
pub(super) fn refund(connection: &mut Connection, ids: &[Id]) -> QueryResult<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    diesel::update(reservations::table)
        .filter(reservations::id.eq_any(ids))
        .filter(reservations::state.eq("expired"))
        .set((
            reservations::state.eq("refunded"),
            reservations::charged.eq(0),
            reservations::cost.eq(0),
        ))
        .execute(connection)
}

/// Asks for the next numbers of the ledger's rows.
#[derive(QueryId)]
struct NextLines {
    count: i64,
}

impl QueryFragment<Pg> for NextLines {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT nextval('ledger_id_seq') FROM generate_series(1, ");
        out.push_bind_param::<BigInt, _>(&self.count)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for NextLines {
    type SqlType = BigInt;
}

impl RunQueryDsl<Connection> for NextLines {}

/// Names the rows of lines that are to be appended.
pub(super) fn new_lines(connection: &mut Connection, count: usize) -> QueryResult<Vec<i64>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    NextLines { count }.load(connection)
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
             (subject_id, subject_kind, model, unit, window_kind, window_start, used, reserved, overage, frozen) \
             SELECT subject_id, subject_kind, model, unit, window_kind, window_start, 0, 0, 0, FALSE FROM "
    |row: &NewCounterRow| {
        subject_id: Binary = Id: row.subject_id,
        subject_kind: Text = &'static str: row.subject_kind,
        model: Text = String: row.model.clone(),
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
        model: Text = String: row.model.clone(),
        unit: Text = &'static str: row.unit,
        window_kind: Text = &'static str: row.window_kind,
        window_start: BigInt = i64: row.window_start,
        used: BigInt = i64: row.used,
        reserved: BigInt = i64: row.reserved,
        overage: BigInt = i64: row.overage,
    }
    "WHERE counters.subject_id = batch.subject_id AND counters.subject_kind = batch.subject_kind \
     AND counters.model = batch.model AND counters.unit = batch.unit AND counters.window_kind = batch.window_kind \
     AND counters.window_start = batch.window_start"
}

bulk! {
    /// Writes new reservations that are not there; returns how many.
    insert_reservations: "INSERT INTO reservations \
         (id, user_id, project_id, key_id, session, route, model, stream, request_bytes, hold, hold_prompt, \
         hold_completion, price_id, owner, state, created_at) SELECT * FROM "
    |row: &ReservationRow| {
        id: Binary = Id: row.id,
        user_id: Binary = Id: row.user_id,
        project_id: Binary = Id: row.project_id,
        key_id: Nullable<Binary> = Option<Id>: row.key_id,
        session: Nullable<Text> = Option<String>: row.session.clone(),
        route: Text = String: row.route.clone(),
        model: Text = String: row.model.clone(),
        stream: Bool = bool: row.stream,
        request_bytes: BigInt = i64: row.request_bytes,
        hold: BigInt = i64: row.hold,
        hold_prompt: BigInt = i64: row.hold_prompt,
        hold_completion: BigInt = i64: row.hold_completion,
        price_id: Nullable<BigInt> = Option<i64>: row.price_id,
        owner: Nullable<BigInt> = Option<i64>: row.owner,
        state: Text = &'static str: row.state,
        created_at: BigInt = i64: row.created_at,
    }
    "ON CONFLICT DO NOTHING"
}

bulk! {
    /// Changes the holds of pending reservations; returns how many were pending.
    hold: "UPDATE reservations SET hold = batch.hold, hold_prompt = batch.hold_prompt, \
           hold_completion = batch.hold_completion, version = batch.version FROM "
    |row: &ReservationHold| {
        id: Binary = Id: row.id,
        hold: BigInt = i64: row.hold,
        hold_prompt: BigInt = i64: row.hold_prompt,
        hold_completion: BigInt = i64: row.hold_completion,
        version: BigInt = i64: row.version,
    }
    "WHERE reservations.id = batch.id AND reservations.settled_at IS NULL"
}

bulk! {
    /// Moves pending reservations to their ends; returns how many were pending. Those have no `settled_at`; asked for
    /// their `state`, the planner would go through all that are pending.
    close: "UPDATE reservations SET state = batch.state, settled_at = batch.settled_at, \
            charged = batch.charged, overage = batch.overage, cost = batch.cost, prompt = batch.prompt, completion = batch.completion, \
            cached = batch.cached, reasoning = batch.reasoning, source = batch.source, ending = batch.ending, \
            status = batch.status, upstream = batch.upstream, response_bytes = batch.response_bytes, \
            first_data_us = batch.first_data_us, total_us = batch.total_us FROM "
    |row: &ReservationEnd| {
        id: Binary = Id: row.id,
        state: Text = &'static str: row.state,
        settled_at: BigInt = i64: row.settled_at,
        charged: BigInt = i64: row.charged,
        overage: BigInt = i64: row.overage,
        cost: BigInt = i64: row.cost,
        prompt: BigInt = i64: row.prompt,
        completion: BigInt = i64: row.completion,
        cached: BigInt = i64: row.cached,
        reasoning: BigInt = i64: row.reasoning,
        source: Text = &'static str: row.source,
        ending: Text = &'static str: row.ending,
        status: BigInt = i64: row.status,
        upstream: Nullable<Text> = Option<String>: row.upstream.clone(),
        response_bytes: Nullable<BigInt> = Option<i64>: row.response_bytes,
        first_data_us: Nullable<BigInt> = Option<i64>: row.first_data_us,
        total_us: Nullable<BigInt> = Option<i64>: row.total_us,
    }
    "WHERE reservations.id = batch.id AND reservations.settled_at IS NULL"
}

bulk! {
    /// Moves reservations that were presumed to their true ends; returns how many were.
    correct: "UPDATE reservations SET state = batch.state, settled_at = batch.settled_at, \
            charged = batch.charged, overage = batch.overage, cost = batch.cost, prompt = batch.prompt, completion = batch.completion, \
            cached = batch.cached, reasoning = batch.reasoning, source = batch.source, ending = batch.ending, \
            status = batch.status, upstream = batch.upstream, response_bytes = batch.response_bytes, \
            first_data_us = batch.first_data_us, total_us = batch.total_us FROM "
    |row: &ReservationEnd| {
        id: Binary = Id: row.id,
        state: Text = &'static str: row.state,
        settled_at: BigInt = i64: row.settled_at,
        charged: BigInt = i64: row.charged,
        overage: BigInt = i64: row.overage,
        cost: BigInt = i64: row.cost,
        prompt: BigInt = i64: row.prompt,
        completion: BigInt = i64: row.completion,
        cached: BigInt = i64: row.cached,
        reasoning: BigInt = i64: row.reasoning,
        source: Text = &'static str: row.source,
        ending: Text = &'static str: row.ending,
        status: BigInt = i64: row.status,
        upstream: Nullable<Text> = Option<String>: row.upstream.clone(),
        response_bytes: Nullable<BigInt> = Option<i64>: row.response_bytes,
        first_data_us: Nullable<BigInt> = Option<i64>: row.first_data_us,
        total_us: Nullable<BigInt> = Option<i64>: row.total_us,
    }
    "WHERE reservations.id = batch.id AND reservations.state IN ('expired', 'refunded')"
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
    post: "INSERT INTO ledger \
           (id, writer, sequence, kind, reservation_id, counter_id, charge, overage, amount, at, hash) SELECT * FROM "
    |row: &LedgerRow| {
        id: BigInt = i64: row.id,
        writer: Binary = Id: row.writer,
        sequence: BigInt = i64: row.sequence,
        kind: Text = &'static str: row.kind,
        reservation_id: Nullable<Binary> = Option<Id>: row.reservation_id,
        counter_id: BigInt = i64: row.counter_id,
        charge: BigInt = i64: row.charge,
        overage: BigInt = i64: row.overage,
        amount: Nullable<BigInt> = Option<i64>: row.amount,
        at: BigInt = i64: row.at,
        hash: Binary = Vec<u8>: row.hash.clone(),
    }
    ""
}
