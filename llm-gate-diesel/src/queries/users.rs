use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::Connection;
use crate::models::{ChangedUser, Id, LoginRow, UserRow};
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

/// Gives up names of an account.
pub(crate) fn release(connection: &mut Connection, id: Id, names: &[&str]) -> QueryResult<usize> {
    diesel::delete(logins::table)
        .filter(logins::name.eq_any(names))
        .filter(logins::user_id.eq(id))
        .execute(connection)
}

/// Reads an account that was not deleted.
pub(crate) fn by_id(connection: &mut Connection, id: Id) -> QueryResult<Option<UserRow>> {
    users::table
        .filter(users::id.eq(id))
        .filter(users::deleted_at.is_null())
        .select(UserRow::as_select())
        .first(connection)
        .optional()
}

/// Reads when an account was last taken back from whoever else may have made it.
pub(crate) fn secured_at(connection: &mut Connection, id: Id) -> QueryResult<Option<i64>> {
    let found = users::table
        .filter(users::id.eq(id))
        .select(users::secured_at)
        .first::<Option<i64>>(connection)
        .optional()?;
    Ok(found.flatten())
}

/// Notes when an account was taken back.
pub(crate) fn secure(connection: &mut Connection, id: Id, at: i64) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .set(users::secured_at.eq(at))
        .execute(connection)
}

/// Reads an account, deleted or not.
pub(crate) fn ever(connection: &mut Connection, id: Id) -> QueryResult<Option<UserRow>> {
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

/// Lists persons' accounts after `after`.
pub(crate) fn after(
    connection: &mut Connection,
    after: Id,
    limit: u32,
) -> QueryResult<Vec<UserRow>> {
    users::table
        .filter(users::id.gt(after))
        .filter(sql::<Bool>("kind = 'person'"))
        .filter(users::deleted_at.is_null())
        .order(users::id)
        .limit(limit.into())
        .select(UserRow::as_select())
        .load(connection)
}

/// Finds the account whose personal project it is.
pub(crate) fn of_personal_project(
    connection: &mut Connection,
    project: Id,
) -> QueryResult<Option<Id>> {
    users::table
        .filter(users::personal_project.eq(project))
        .filter(sql::<Bool>("kind = 'person'"))
        .select(users::id)
        .first(connection)
        .optional()
}

/// Names an admin who is enabled, other than `id`.
pub(crate) fn other_admin(connection: &mut Connection, id: Id) -> QueryResult<Option<Id>> {
    users::table
        .filter(sql::<Bool>("role = 'admin'"))
        .filter(users::disabled.eq(false))
        .filter(users::id.ne(id))
        .select(users::id)
        .first(connection)
        .optional()
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

/// Finds the least hash of a password that is greater than `after`. The column is compared by bytes.
pub(crate) fn next_hash(connection: &mut Connection, after: &str) -> QueryResult<Option<String>> {
    users::table
        .filter(users::password_hash.gt(after))
        .order(users::password_hash)
        .select(users::password_hash.assume_not_null())
        .first(connection)
        .optional()
}

/// Sets the password's hash of a person.
pub(crate) fn set_hash(connection: &mut Connection, id: Id, hash: &str) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .filter(sql::<Bool>("kind = 'person'"))
        .filter(users::deleted_at.is_null())
        .set(users::password_hash.eq(hash))
        .execute(connection)
}

/// Sets the password's hash of a person who has none.
pub(crate) fn set_first_hash(
    connection: &mut Connection,
    id: Id,
    hash: &str,
) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .filter(sql::<Bool>("kind = 'person'"))
        .filter(users::deleted_at.is_null())
        .filter(users::password_hash.is_null())
        .set(users::password_hash.eq(hash))
        .execute(connection)
}

/// Changes an account.
pub(crate) fn change(
    connection: &mut Connection,
    id: Id,
    change: &ChangedUser,
) -> QueryResult<usize> {
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .filter(users::deleted_at.is_null())
        .set(change)
        .execute(connection)
}

/// Empties an account that is deleted: nobody can enter it.
pub(crate) fn delete(connection: &mut Connection, id: Id, at: i64) -> QueryResult<usize> {
    let nothing = None::<String>;
    diesel::update(users::table)
        .filter(users::id.eq(id))
        .filter(users::deleted_at.is_null())
        .set((
            users::deleted_at.eq(at),
            users::disabled.eq(true),
            users::email.eq(&nothing),
            users::email_verified.eq(false),
            users::username.eq(&nothing),
            users::name.eq(&nothing),
            users::password_hash.eq(&nothing),
        ))
        .execute(connection)
}
