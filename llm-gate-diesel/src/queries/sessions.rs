use diesel::prelude::*;

use super::Connection;
use crate::models::{Hash, Id, RefreshTokenRow, SessionRow};
use crate::schema::{refresh_tokens, sessions, users};

/// Writes a session.
pub(crate) fn insert(connection: &mut Connection, row: &SessionRow) -> QueryResult<usize> {
    diesel::insert_into(sessions::table)
        .values(row)
        .execute(connection)
}

/// Writes a refresh token.
pub(crate) fn insert_token(
    connection: &mut Connection,
    row: &RefreshTokenRow,
) -> QueryResult<usize> {
    diesel::insert_into(refresh_tokens::table)
        .values(row)
        .execute(connection)
}

/// Finds a refresh token, with its session and whether the user is disabled.
pub(crate) fn by_token(
    connection: &mut Connection,
    hash: Hash,
) -> QueryResult<Option<(RefreshTokenRow, SessionRow, bool)>> {
    refresh_tokens::table
        .inner_join(sessions::table.inner_join(users::table))
        .filter(refresh_tokens::hash.eq(hash))
        .select((
            RefreshTokenRow::as_select(),
            SessionRow::as_select(),
            users::disabled,
        ))
        .first(connection)
        .optional()
}

/// Spends a refresh token, unless it is spent.
pub(crate) fn spend(connection: &mut Connection, hash: Hash, at: i64) -> QueryResult<usize> {
    diesel::update(refresh_tokens::table)
        .filter(refresh_tokens::hash.eq(hash))
        .filter(refresh_tokens::spent_at.is_null())
        .set(refresh_tokens::spent_at.eq(at))
        .execute(connection)
}

/// Ends a session, unless it has ended.
pub(crate) fn revoke(connection: &mut Connection, id: Id) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(sessions::id.eq(id))
        .filter(sessions::revoked.eq(false))
        .set(sessions::revoked.eq(true))
        .execute(connection)
}

/// Ends all sessions of a user.
pub(crate) fn revoke_of_user(connection: &mut Connection, user: Id) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(sessions::user_id.eq(user))
        .set(sessions::revoked.eq(true))
        .execute(connection)
}
