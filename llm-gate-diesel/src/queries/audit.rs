//! Pages over whole tables: for audits, not for requests. Each begins behind the key that the last one ended with.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::Connection;
use crate::models::{
    CallRow, ChainRow, ChainedRow, CounterRow, Id, KnownRequest, LineRow, PartRow, PostedRow,
};
use crate::schema::{
    api_keys, chains, counters, ledger, owners, projects, reservation_counters, reservations, users,
};

/// A counter, and sums in two halves: one alone could leave the range of a number.
pub(crate) type Sums = (i64, i64, i64, i64, i64);

/// Reads counters in the order of their rows.
pub(crate) fn counters_after(
    connection: &mut Connection,
    after: i64,
    count: i64,
) -> QueryResult<Vec<CounterRow>> {
    counters::table
        .filter(counters::id.gt(after))
        .order(counters::id)
        .limit(count)
        .select(CounterRow::as_select())
        .load(connection)
}

/// Adds up what the ledger has of some counters: for each that it has lines of, the upper and the lower 32 bits of
/// charges and of overages.
pub(crate) fn charges(
    connection: &mut Connection,
    first: i64,
    last: i64,
) -> QueryResult<Vec<Sums>> {
    ledger::table
        .filter(ledger::counter_id.between(first, last))
        .group_by(ledger::counter_id)
        .select((
            ledger::counter_id,
            sql::<BigInt>("CAST(SUM(charge >> 32) AS BIGINT)"),
            sql::<BigInt>("CAST(SUM(charge & 4294967295) AS BIGINT)"),
            sql::<BigInt>("CAST(SUM(overage >> 32) AS BIGINT)"),
            sql::<BigInt>("CAST(SUM(overage & 4294967295) AS BIGINT)"),
        ))
        .load(connection)
}

/// Adds up what counters hold for pending reservations, for each that holds anything: the upper and the lower 32
/// bits.
pub(crate) fn held(connection: &mut Connection) -> QueryResult<Vec<(i64, i64, i64)>> {
    let pending = reservations::table
        .filter(sql::<Bool>("state = 'pending'"))
        .select(reservations::id);
    reservation_counters::table
        .filter(reservation_counters::reservation_id.eq_any(pending))
        .group_by(reservation_counters::counter_id)
        .select((
            reservation_counters::counter_id,
            sql::<BigInt>("CAST(SUM(held >> 32) AS BIGINT)"),
            sql::<BigInt>("CAST(SUM(held & 4294967295) AS BIGINT)"),
        ))
        .load(connection)
}

/// Names the first writer behind one.
pub(crate) fn writer_after(
    connection: &mut Connection,
    after: Option<Id>,
) -> QueryResult<Option<Id>> {
    let writers = ledger::table.select(ledger::writer);
    let first = match after {
        // Nothing sorts before no bytes at all.
        None => writers.order(ledger::writer).first(connection),
        Some(after) => writers
            .filter(ledger::writer.gt(after))
            .order(ledger::writer)
            .first(connection),
    };
    first.optional()
}

/// Reads a writer's lines in their order, with their counters.
pub(crate) fn chained_after(
    connection: &mut Connection,
    writer: Id,
    sequence: i64,
    count: i64,
) -> QueryResult<Vec<(ChainedRow, Option<CounterRow>)>> {
    ledger::table
        .left_join(counters::table)
        .filter(ledger::writer.eq(writer))
        .filter(ledger::sequence.gt(sequence))
        .order(ledger::sequence)
        .limit(count)
        .select((ChainedRow::as_select(), Option::<CounterRow>::as_select()))
        .load(connection)
}

/// Reads how far a writer says it has come.
pub(crate) fn chain(connection: &mut Connection, writer: Id) -> QueryResult<Option<ChainRow>> {
    chains::table
        .find(writer)
        .select(ChainRow::as_select())
        .first(connection)
        .optional()
}

/// Reads how far writers say they have come, and how far their lines go.
pub(crate) fn chains_after(
    connection: &mut Connection,
    after: Option<Id>,
    count: i64,
) -> QueryResult<Vec<ChainRow>> {
    let chains = chains::table
        .order(chains::writer)
        .limit(count)
        .select(ChainRow::as_select());
    match after {
        None => chains.load(connection),
        Some(after) => chains.filter(chains::writer.gt(after)).load(connection),
    }
}

/// Reads a writer's last line.
pub(crate) fn last_of(
    connection: &mut Connection,
    writer: Id,
) -> QueryResult<Option<(i64, i64, Vec<u8>)>> {
    ledger::table
        .filter(ledger::writer.eq(writer))
        .order(ledger::sequence.desc())
        .select((ledger::id, ledger::sequence, ledger::hash))
        .first(connection)
        .optional()
}

/// Reads where reservations are in their lives, in the order of their rows.
pub(crate) fn requests_after(
    connection: &mut Connection,
    after: Option<Id>,
    count: i64,
) -> QueryResult<Vec<KnownRequest>> {
    let requests = reservations::table
        .order(reservations::id)
        .limit(count)
        .select(KnownRequest::as_select());
    match after {
        None => requests.load(connection),
        Some(after) => requests.filter(reservations::id.gt(after)).load(connection),
    }
}

/// Reads the counters of reservations, and what each was charged on them.
pub(crate) fn parts_between(
    connection: &mut Connection,
    first: Id,
    last: Id,
) -> QueryResult<Vec<PartRow>> {
    reservation_counters::table
        .filter(reservation_counters::reservation_id.between(first, last))
        .select(PartRow::as_select())
        .load(connection)
}

/// Reads the lines of reservations.
pub(crate) fn posted_between(
    connection: &mut Connection,
    first: Id,
    last: Id,
) -> QueryResult<Vec<PostedRow>> {
    ledger::table
        .filter(ledger::reservation_id.between(first, last))
        .select(PostedRow::as_select())
        .load(connection)
}

/// Lists owners that were given up before, and when that was.
pub(crate) fn given_up_after(
    connection: &mut Connection,
    before: i64,
    after: i64,
    count: i64,
) -> QueryResult<Vec<(i64, Option<i64>)>> {
    owners::table
        .filter(owners::id.gt(after))
        .filter(owners::given_up_at.lt(before))
        .order(owners::id)
        .limit(count)
        .select((owners::id, owners::given_up_at))
        .load(connection)
}

/// Lists the pending reservations of an owner.
pub(crate) fn pending_of(
    connection: &mut Connection,
    owner: i64,
    after: Id,
    count: i64,
) -> QueryResult<Vec<Id>> {
    reservations::table
        .filter(sql::<Bool>("state = 'pending'"))
        .filter(reservations::owner.eq(owner))
        .filter(reservations::id.gt(after))
        .order(reservations::id)
        .limit(count)
        .select(reservations::id)
        .load(connection)
}

/// Reads the last row of the ledger.
pub(crate) fn last_line(connection: &mut Connection) -> QueryResult<Option<i64>> {
    ledger::table
        .order(ledger::id.desc())
        .select(ledger::id)
        .first(connection)
        .optional()
}

/// Reads the lines of some time among some rows, with their counters and what they are about.
pub(crate) fn lines(
    connection: &mut Connection,
    (after, last): (i64, i64),
    (from, to): (i64, i64),
    count: i64,
) -> QueryResult<Vec<(LineRow, CounterRow, Option<CallRow>)>> {
    ledger::table
        .inner_join(counters::table)
        .left_join(reservations::table)
        .filter(ledger::id.gt(after))
        .filter(ledger::id.le(last))
        .filter(ledger::at.ge(from))
        .filter(ledger::at.lt(to))
        .order(ledger::id)
        .limit(count)
        .select((
            LineRow::as_select(),
            CounterRow::as_select(),
            Option::<CallRow>::as_select(),
        ))
        .load(connection)
}

/// Lists calls whose charge is presumed.
pub(crate) fn presumed(
    connection: &mut Connection,
    after: Option<Id>,
    count: i64,
) -> QueryResult<Vec<CallRow>> {
    let presumed = reservations::table
        .filter(sql::<Bool>("state = 'expired'"))
        .order(reservations::id)
        .limit(count)
        .select(CallRow::as_select());
    match after {
        None => presumed.load(connection),
        Some(after) => presumed.filter(reservations::id.gt(after)).load(connection),
    }
}

/// Reads a call.
pub(crate) fn call(connection: &mut Connection, id: Id) -> QueryResult<Option<CallRow>> {
    reservations::table
        .find(id)
        .select(CallRow::as_select())
        .first(connection)
        .optional()
}

/// Counts the users with an identifier: one or none.
pub(crate) fn users(connection: &mut Connection, id: Id) -> QueryResult<i64> {
    users::table.find(id).count().get_result(connection)
}

/// Counts the projects with an identifier: one or none.
pub(crate) fn projects(connection: &mut Connection, id: Id) -> QueryResult<i64> {
    projects::table.find(id).count().get_result(connection)
}

/// Counts the keys with an identifier: one or none.
pub(crate) fn keys(connection: &mut Connection, id: Id) -> QueryResult<i64> {
    api_keys::table.find(id).count().get_result(connection)
}
