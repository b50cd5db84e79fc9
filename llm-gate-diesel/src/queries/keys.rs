use diesel::prelude::*;

use super::Connection;
use crate::models::{ApiKeyRow, Id};
use crate::schema::{api_keys, users};

/// Writes a key.
pub(crate) fn insert(connection: &mut Connection, row: &ApiKeyRow) -> QueryResult<usize> {
    diesel::insert_into(api_keys::table)
        .values(row)
        .execute(connection)
}

/// Finds a key by its public part, with its user's role and whether the user is disabled.
pub(crate) fn by_public_id(
    connection: &mut Connection,
    public_id: &str,
) -> QueryResult<Option<(ApiKeyRow, String, bool)>> {
    api_keys::table
        .inner_join(users::table)
        .filter(api_keys::public_id.eq(public_id))
        .select((ApiKeyRow::as_select(), users::role, users::disabled))
        .first(connection)
        .optional()
}

/// Lists the keys of a user in a project, newest first.
pub(crate) fn of_owner(
    connection: &mut Connection,
    project: Id,
    user: Id,
    limit: u32,
) -> QueryResult<Vec<ApiKeyRow>> {
    api_keys::table
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::user_id.eq(user))
        .order(api_keys::id.desc())
        .limit(limit.into())
        .select(ApiKeyRow::as_select())
        .load(connection)
}

/// Reads one key of a user in a project.
pub(crate) fn one_of_owner(
    connection: &mut Connection,
    project: Id,
    user: Id,
    key: Id,
) -> QueryResult<Option<ApiKeyRow>> {
    api_keys::table
        .filter(api_keys::id.eq(key))
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::user_id.eq(user))
        .select(ApiKeyRow::as_select())
        .first(connection)
        .optional()
}

/// Revokes one key of a user in a project, unless it is revoked.
pub(crate) fn revoke(
    connection: &mut Connection,
    project: Id,
    user: Id,
    key: Id,
    at: i64,
) -> QueryResult<usize> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(api_keys::project_id.eq(project))
        .filter(api_keys::user_id.eq(user))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at))
        .execute(connection)
}

/// Notes a use, unless a later one is noted.
pub(crate) fn touch(connection: &mut Connection, key: Id, at: i64) -> QueryResult<usize> {
    diesel::update(api_keys::table)
        .filter(api_keys::id.eq(key))
        .filter(
            api_keys::last_used_at
                .is_null()
                .or(api_keys::last_used_at.lt(at)),
        )
        .set(api_keys::last_used_at.eq(at))
        .execute(connection)
}
