use diesel::prelude::*;

use super::Connection;
use crate::models::{ApiKeyRow, ChangedKey, Hash, Id};
use crate::schema::{api_keys, project_members, users};

/// A key, with its user's role and whether the user is disabled.
pub(crate) type KeyOfUser = (ApiKeyRow, String, bool);

/// Writes a key.
pub(crate) fn insert(connection: &mut Connection, row: &ApiKeyRow) -> QueryResult<usize> {
    diesel::insert_into(api_keys::table)
        .values(row)
        .execute(connection)
}

/// Finds a key by the public part of its secret.
pub(crate) fn by_public_id(
    connection: &mut Connection,
    public_id: &str,
) -> QueryResult<Option<KeyOfUser>> {
    api_keys::table
        .inner_join(users::table)
        .filter(api_keys::public_id.eq(public_id))
        .select((ApiKeyRow::as_select(), users::role, users::disabled))
        .first(connection)
        .optional()
}

/// Finds a key by the public part of the secret before.
pub(crate) fn by_previous_public_id(
    connection: &mut Connection,
    public_id: &str,
) -> QueryResult<Option<KeyOfUser>> {
    api_keys::table
        .inner_join(users::table)
        .filter(api_keys::previous_public_id.eq(public_id))
        .select((ApiKeyRow::as_select(), users::role, users::disabled))
        .first(connection)
        .optional()
}

/// Lists the keys of a project, newest first: those of `owner`, or all, older than `before`; without those that are
/// revoked where `valid`.
pub(crate) fn before(
    connection: &mut Connection,
    project: Id,
    owner: Option<Id>,
    before: Option<Id>,
    valid: bool,
    limit: u32,
) -> QueryResult<Vec<ApiKeyRow>> {
    let mut query = api_keys::table
        .filter(api_keys::project_id.eq(project))
        .order(api_keys::id.desc())
        .limit(limit.into())
        .select(ApiKeyRow::as_select())
        .into_boxed();
    if let Some(owner) = owner {
        query = query.filter(api_keys::user_id.eq(owner));
    }
    if let Some(before) = before {
        query = query.filter(api_keys::id.lt(before));
    }
    if valid {
        query = query.filter(api_keys::revoked_at.is_null());
    }
    query.load(connection)
}

/// Lists the keys of a user in all projects that are not revoked, newest first, older than `before`.
pub(crate) fn owned(
    connection: &mut Connection,
    owner: Id,
    before: Option<Id>,
    limit: u32,
) -> QueryResult<Vec<ApiKeyRow>> {
    let mut query = api_keys::table
        .filter(api_keys::user_id.eq(owner))
        .filter(api_keys::revoked_at.is_null())
        .order(api_keys::id.desc())
        .limit(limit.into())
        .select(ApiKeyRow::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(api_keys::id.lt(before));
    }
    query.load(connection)
}

/// Reads a key of a project that somebody is a member of.
pub(crate) fn of_member(
    connection: &mut Connection,
    key: Id,
    member: Id,
) -> QueryResult<Option<ApiKeyRow>> {
    api_keys::table
        .inner_join(project_members::table.on(project_members::project_id.eq(api_keys::project_id)))
        .filter(api_keys::id.eq(key))
        .filter(project_members::user_id.eq(member))
        .select(ApiKeyRow::as_select())
        .first(connection)
        .optional()
}

/// Returns whether there is such a key, and it is revoked.
pub(crate) fn is_revoked(connection: &mut Connection, key: Id) -> QueryResult<bool> {
    let found = api_keys::table
        .filter(api_keys::id.eq(key))
        .filter(api_keys::revoked_at.is_not_null())
        .select(api_keys::id)
        .first::<Id>(connection)
        .optional()?;
    Ok(found.is_some())
}

/// Reads a key of a project, one of `owner` where that is named.
pub(crate) fn one(
    connection: &mut Connection,
    project: Id,
    owner: Option<Id>,
    key: Id,
) -> QueryResult<Option<ApiKeyRow>> {
    let mut query = api_keys::table
        .filter(api_keys::id.eq(key))
        .filter(api_keys::project_id.eq(project))
        .select(ApiKeyRow::as_select())
        .into_boxed();
    if let Some(owner) = owner {
        query = query.filter(api_keys::user_id.eq(owner));
    }
    query.first(connection).optional()
}

/// Names the project of a key.
pub(crate) fn project(connection: &mut Connection, key: Id) -> QueryResult<Option<Id>> {
    api_keys::table
        .filter(api_keys::id.eq(key))
        .select(api_keys::project_id)
        .first(connection)
        .optional()
}

/// Counts the keys of a user in a project that are not revoked.
pub(crate) fn valid(connection: &mut Connection, project: Id, owner: Id) -> QueryResult<i64> {
    api_keys::table
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::user_id.eq(owner))
        .filter(api_keys::revoked_at.is_null())
        .count()
        .get_result(connection)
}

/// Lists the keys of a user that are not revoked.
pub(crate) fn valid_of_user(connection: &mut Connection, user: Id) -> QueryResult<Vec<Id>> {
    api_keys::table
        .filter(api_keys::user_id.eq(user))
        .filter(api_keys::revoked_at.is_null())
        .select(api_keys::id)
        .load(connection)
}

/// Lists the keys of a project that are not revoked.
pub(crate) fn valid_of_project(connection: &mut Connection, project: Id) -> QueryResult<Vec<Id>> {
    api_keys::table
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::revoked_at.is_null())
        .select(api_keys::id)
        .load(connection)
}

/// Changes a key, unless it is revoked.
pub(crate) fn change(
    connection: &mut Connection,
    key: Id,
    change: &ChangedKey,
) -> QueryResult<usize> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(api_keys::revoked_at.is_null())
        .set(change)
        .execute(connection)
}

/// Gives a key another secret beside the one it has, which works until `overlap`; unless it is revoked.
pub(crate) fn rotate(
    connection: &mut Connection,
    key: Id,
    (public_id, hash): (&str, Hash),
    overlap: i64,
) -> QueryResult<usize> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(api_keys::revoked_at.is_null())
        .set((
            api_keys::previous_public_id.eq(api_keys::public_id.nullable()),
            api_keys::previous_hash.eq(api_keys::hash.nullable()),
            api_keys::overlap_until.eq(overlap),
            api_keys::public_id.eq(public_id),
            api_keys::hash.eq(hash),
        ))
        .execute(connection)
}

/// Revokes a key, unless it is; returns it then.
pub(crate) fn revoke(connection: &mut Connection, key: Id, at: i64) -> QueryResult<Vec<ApiKeyRow>> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at))
        .returning(ApiKeyRow::as_returning())
        .load(connection)
}

/// Revokes the keys of a user that are not, and lists those.
pub(crate) fn revoke_of_user(
    connection: &mut Connection,
    user: Id,
    at: i64,
) -> QueryResult<Vec<ApiKeyRow>> {
    diesel::update(api_keys::table)
        .filter(api_keys::user_id.eq(user))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at))
        .returning(ApiKeyRow::as_returning())
        .load(connection)
}

/// Revokes the keys of a project that are not, and lists those.
pub(crate) fn revoke_of_project(
    connection: &mut Connection,
    project: Id,
    at: i64,
) -> QueryResult<Vec<ApiKeyRow>> {
    diesel::update(api_keys::table)
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at))
        .returning(ApiKeyRow::as_returning())
        .load(connection)
}

/// Revokes the keys of a member of a project that are not, and lists those.
pub(crate) fn revoke_of_member(
    connection: &mut Connection,
    project: Id,
    user: Id,
    at: i64,
) -> QueryResult<Vec<ApiKeyRow>> {
    diesel::update(api_keys::table)
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::user_id.eq(user))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at))
        .returning(ApiKeyRow::as_returning())
        .load(connection)
}

/// Notes a use, unless a later one is noted.
pub(crate) fn touch(
    connection: &mut Connection,
    key: Id,
    at: i64,
    since: i64,
) -> QueryResult<usize> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(
            api_keys::last_used_at
                .is_null()
                .or(api_keys::last_used_at.le(since)),
        )
        .set(api_keys::last_used_at.eq(at))
        .execute(connection)
}
