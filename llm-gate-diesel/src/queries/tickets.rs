use diesel::prelude::*;

use super::Connection;
use crate::models::{Hash, Id, TicketRow, UserRow};
use crate::schema::{tickets, users};

/// Keeps a ticket.
pub(crate) fn insert(connection: &mut Connection, row: &TicketRow) -> QueryResult<usize> {
    diesel::insert_into(tickets::table)
        .values(row)
        .execute(connection)
}

/// Finds whose ticket it is that is good at `at`, and whether it was mailed.
pub(crate) fn user(
    connection: &mut Connection,
    hash: Hash,
    purpose: &str,
    at: i64,
) -> QueryResult<Option<(UserRow, bool)>> {
    tickets::table
        .inner_join(users::table)
        .filter(tickets::hash.eq(hash))
        .filter(tickets::purpose.eq(purpose))
        .filter(tickets::expires_at.gt(at))
        .filter(tickets::email.is_null().or(users::email.eq(tickets::email)))
        .filter(users::disabled.eq(false))
        .select((UserRow::as_select(), tickets::email.is_not_null()))
        .first(connection)
        .optional()
}

/// Uses a ticket; returns whether it was there.
pub(crate) fn take(connection: &mut Connection, hash: Hash) -> QueryResult<usize> {
    diesel::delete(tickets::table)
        .filter(tickets::hash.eq(hash))
        .execute(connection)
}

/// Makes the tickets of a user for a purpose void.
pub(crate) fn delete_of_purpose(
    connection: &mut Connection,
    user: Id,
    purpose: &str,
) -> QueryResult<usize> {
    diesel::delete(tickets::table)
        .filter(tickets::user_id.eq(user))
        .filter(tickets::purpose.eq(purpose))
        .execute(connection)
}

/// Makes all tickets of a user void.
pub(crate) fn delete_of_user(connection: &mut Connection, user: Id) -> QueryResult<usize> {
    diesel::delete(tickets::table)
        .filter(tickets::user_id.eq(user))
        .execute(connection)
}

/// Lists tickets that stopped being good before, at most `count`.
pub(crate) fn ended(
    connection: &mut Connection,
    before: i64,
    count: i64,
) -> QueryResult<Vec<Hash>> {
    tickets::table
        .filter(tickets::expires_at.lt(before))
        .order(tickets::expires_at)
        .limit(count)
        .select(tickets::hash)
        .load(connection)
}

/// Forgets tickets.
pub(crate) fn delete(connection: &mut Connection, hashes: &[Hash]) -> QueryResult<usize> {
    diesel::delete(tickets::table)
        .filter(tickets::hash.eq_any(hashes))
        .execute(connection)
}
