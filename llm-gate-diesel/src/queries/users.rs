use diesel::prelude::*;

use super::Connection;
use crate::models::{Id, LoginRow, UserRow};
use crate::schema::{logins, users};

/// Writes an account.
pub(crate) fn insert(connection: &mut Connection, row: &UserRow) -> QueryResult<usize> {
    diesel::insert_into(users::table)
        .values(row)
        .execute(connection)
}

/// Claims the names an account logs in by. Fails when one is taken.
pub(crate) fn claim(connection: &mut Connection, rows: &[LoginRow<'_>]) -> QueryResult<usize> {
    diesel::insert_into(logins::table)
        .values(rows)
        .execute(connection)
}

/// Reads an account.
pub(crate) fn by_id(connection: &mut Connection, id: Id) -> QueryResult<Option<UserRow>> {
    users::table
        .filter(users::id.eq(id))
        .select(UserRow::as_select())
        .first(connection)
        .optional()
}

/// Finds an account by what it logs in with.
pub(crate) fn by_login(connection: &mut Connection, login: &str) -> QueryResult<Option<UserRow>> {
    logins::table
        .inner_join(users::table)
        .filter(logins::name.eq(login))
        .select(UserRow::as_select())
        .first(connection)
        .optional()
}

/// Lists the accounts after `after`.
pub(crate) fn after(
    connection: &mut Connection,
    after: Id,
    limit: u32,
) -> QueryResult<Vec<UserRow>> {
    users::table
        .filter(users::id.gt(after))
        .order(users::id)
        .limit(limit.into())
        .select(UserRow::as_select())
        .load(connection)
}

/// Replaces a password's hash if it is `old`.
pub(crate) fn replace_hash(
    connection: &mut Connection,
    id: Id,
    old: &str,
    new: &str,
) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .filter(users::password_hash.eq(old))
        .set(users::password_hash.eq(new))
        .execute(connection)
}

/// Disables or enables an account.
pub(crate) fn set_disabled(
    connection: &mut Connection,
    id: Id,
    disabled: bool,
) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .set(users::disabled.eq(disabled))
        .execute(connection)
}
