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

/// Reads a session that lives.
pub(crate) fn alive(
    connection: &mut Connection,
    id: Id,
    at: i64,
) -> QueryResult<Option<SessionRow>> {
    sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(id))
        .filter(sessions::revoked.eq(false))
        .filter(sessions::lives_until.gt(at))
        .filter(users::disabled.eq(false))
        .select(SessionRow::as_select())
        .first(connection)
        .optional()
}

/// Lists the sessions of a user that live, newest first.
pub(crate) fn alive_of_user(
    connection: &mut Connection,
    user: Id,
    at: i64,
) -> QueryResult<Vec<SessionRow>> {
    sessions::table
        .inner_join(users::table)
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked.eq(false))
        .filter(sessions::lives_until.gt(at))
        .filter(users::disabled.eq(false))
        .order(sessions::id.desc())
        .select(SessionRow::as_select())
        .load(connection)
}

/// Lists the sessions of a user that live, but the `left` newest.
pub(crate) fn oldest(
    connection: &mut Connection,
    user: Id,
    at: i64,
    left: i64,
) -> QueryResult<Vec<Id>> {
    sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked.eq(false))
        .filter(sessions::lives_until.gt(at))
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .offset(left)
        .select(sessions::id)
        .load(connection)
}

/// Returns whether there is such a refresh token that is not spent.
pub(crate) fn is_unspent(connection: &mut Connection, hash: Hash) -> QueryResult<bool> {
    let found: Option<Hash> = refresh_tokens::table
        .filter(refresh_tokens::hash.eq(hash))
        .filter(refresh_tokens::spent_at.is_null())
        .select(refresh_tokens::hash)
        .first(connection)
        .optional()?;
    Ok(found.is_some())
}

/// Spends a refresh token for another, unless it is spent.
pub(crate) fn spend(
    connection: &mut Connection,
    hash: Hash,
    successor: Hash,
    at: i64,
) -> QueryResult<usize> {
    diesel::update(refresh_tokens::table)
        .filter(refresh_tokens::hash.eq(hash))
        .filter(refresh_tokens::spent_at.is_null())
        .set((
            refresh_tokens::spent_at.eq(at),
            refresh_tokens::successor.eq(successor),
        ))
        .execute(connection)
}

/// Lets a session live on, unless it has been ended.
pub(crate) fn refresh(
    connection: &mut Connection,
    id: Id,
    at: i64,
    lives_until: i64,
) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(sessions::id.eq(id))
        .filter(sessions::revoked.eq(false))
        .set((
            sessions::refreshed_at.eq(at),
            sessions::lives_until.eq(lives_until),
        ))
        .execute(connection)
}

/// Ends a session, whether it lives or not, unless it has been ended.
pub(crate) fn revoke(connection: &mut Connection, id: Id, lived_until: i64) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(sessions::id.eq(id))
        .filter(sessions::revoked.eq(false))
        .set((
            sessions::revoked.eq(true),
            sessions::lives_until.eq(lived_until),
        ))
        .execute(connection)
}

/// Ends a session that lives, one of this user; returns it.
pub(crate) fn end(
    connection: &mut Connection,
    user: Id,
    id: Id,
    at: i64,
) -> QueryResult<Vec<SessionRow>> {
    diesel::update(sessions::table)
        .filter(sessions::id.eq(id))
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked.eq(false))
        .filter(sessions::lives_until.gt(at))
        .set((sessions::revoked.eq(true), sessions::lives_until.eq(at)))
        .returning(SessionRow::as_returning())
        .load(connection)
}

/// Ends these sessions; lists those that were not ended before.
pub(crate) fn end_all(
    connection: &mut Connection,
    ids: &[Id],
    at: i64,
) -> QueryResult<Vec<SessionRow>> {
    diesel::update(sessions::table)
        .filter(sessions::id.eq_any(ids))
        .filter(sessions::revoked.eq(false))
        .set((sessions::revoked.eq(true), sessions::lives_until.eq(at)))
        .returning(SessionRow::as_returning())
        .load(connection)
}

/// Ends all sessions of a user that live, but `keep`; lists those.
pub(crate) fn end_of_user(
    connection: &mut Connection,
    user: Id,
    keep: Id,
    at: i64,
) -> QueryResult<Vec<SessionRow>> {
    diesel::update(sessions::table)
        .filter(sessions::user_id.eq(user))
        .filter(sessions::id.ne(keep))
        .filter(sessions::revoked.eq(false))
        .filter(sessions::lives_until.gt(at))
        .set((sessions::revoked.eq(true), sessions::lives_until.eq(at)))
        .returning(SessionRow::as_returning())
        .load(connection)
}

/// Lists sessions that ended before, at most `count`.
pub(crate) fn ended(connection: &mut Connection, before: i64, count: i64) -> QueryResult<Vec<Id>> {
    sessions::table
        .filter(sessions::lives_until.lt(before))
        .order(sessions::lives_until)
        .limit(count)
        .select(sessions::id)
        .load(connection)
}

/// Forgets the refresh tokens of sessions.
pub(crate) fn delete_tokens(connection: &mut Connection, sessions: &[Id]) -> QueryResult<usize> {
    diesel::delete(refresh_tokens::table)
        .filter(refresh_tokens::session_id.eq_any(sessions))
        .execute(connection)
}

/// Forgets sessions.
pub(crate) fn delete(connection: &mut Connection, ids: &[Id]) -> QueryResult<usize> {
    diesel::delete(sessions::table)
        .filter(sessions::id.eq_any(ids))
        .execute(connection)
}
