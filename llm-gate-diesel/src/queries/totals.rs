//! Sums over whole tables: for audits, not for requests. The casts keep them integers in every database.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::Connection;
use crate::schema::{counters, ledger, reservation_counters, reservations};

/// Adds up used, reserved and overage of all counters.
pub(crate) fn counters(connection: &mut Connection) -> QueryResult<(i64, i64, i64)> {
    counters::table
        .select((
            sql::<BigInt>("CAST(COALESCE(SUM(used), 0) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(reserved), 0) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(overage), 0) AS BIGINT)"),
        ))
        .get_result(connection)
}

/// Adds up charges and overages of the ledger.
pub(crate) fn ledger(connection: &mut Connection) -> QueryResult<(i64, i64)> {
    ledger::table
        .select((
            sql::<BigInt>("CAST(COALESCE(SUM(charge), 0) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(overage), 0) AS BIGINT)"),
        ))
        .get_result(connection)
}

/// Adds up what counters hold for pending reservations.
pub(crate) fn held(connection: &mut Connection) -> QueryResult<i64> {
    reservation_counters::table
        .inner_join(reservations::table)
        .filter(sql::<Bool>("reservations.state = 'pending'"))
        .select(sql::<BigInt>(
            "CAST(COALESCE(SUM(reservation_counters.held), 0) AS BIGINT)",
        ))
        .get_result(connection)
}

/// Adds up what reservations whose use nobody knows have charged to a counter.
pub(crate) fn presumed(connection: &mut Connection, counter: i64) -> QueryResult<i64> {
    reservation_counters::table
        .inner_join(reservations::table)
        .filter(reservation_counters::counter_id.eq(counter))
        .filter(sql::<Bool>("reservations.state = 'expired'"))
        .select(sql::<BigInt>(
            "CAST(COALESCE(SUM(reservation_counters.held), 0) AS BIGINT)",
        ))
        .get_result(connection)
}

/// Counts the reservations that are pending.
pub(crate) fn pending(connection: &mut Connection) -> QueryResult<i64> {
    reservations::table
        .filter(sql::<Bool>("state = 'pending'"))
        .count()
        .get_result(connection)
}

/// Counts the reservations that have been charged.
pub(crate) fn settled(connection: &mut Connection) -> QueryResult<i64> {
    reservations::table
        .filter(reservations::state.ne_all(["pending", "void"]))
        .count()
        .get_result(connection)
}
