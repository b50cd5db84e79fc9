use diesel::dsl::{not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::Connection;
use crate::models::{Id, NewOwnerRow};
use crate::schema::{owners, reservations};

/// Makes an owner known.
pub(crate) fn insert(connection: &mut Connection, row: &NewOwnerRow) -> QueryResult<i64> {
    diesel::insert_into(owners::table)
        .values(row)
        .returning(owners::id)
        .get_result(connection)
}

/// Extends a lease; returns how many owners that were not given up have this id.
pub(crate) fn renew(connection: &mut Connection, owner: i64, until: i64) -> QueryResult<usize> {
    diesel::update(owners::table)
        .filter(owners::id.eq(owner))
        .filter(not(owners::given_up))
        .set(owners::lease_until.eq(until))
        .execute(connection)
}

/// Gives up the owners whose leases ended before, as of `at`.
pub(crate) fn give_up(connection: &mut Connection, before: i64, at: i64) -> QueryResult<usize> {
    diesel::update(owners::table)
        .filter(not(owners::given_up))
        .filter(owners::lease_until.lt(before))
        .set((owners::given_up.eq(true), owners::given_up_at.eq(at)))
        .execute(connection)
}

/// Lists the owners that were given up and have pending reservations, and these.
pub(crate) fn orphans(connection: &mut Connection, count: i64) -> QueryResult<Vec<Id>> {
    let given_up = owners::table
        .filter(owners::given_up)
        .select(owners::id.nullable());
    reservations::table
        .filter(sql::<Bool>("state = 'pending'"))
        .filter(reservations::owner.eq_any(given_up))
        .order(reservations::id)
        .limit(count)
        .select(reservations::id)
        .load(connection)
}
