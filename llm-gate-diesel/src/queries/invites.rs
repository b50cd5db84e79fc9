use diesel::prelude::*;

use super::Connection;
use crate::models::{Hash, Id, InviteRow};
use crate::schema::invites;

/// Writes an invite.
pub(crate) fn insert(connection: &mut Connection, row: &InviteRow) -> QueryResult<usize> {
    diesel::insert_into(invites::table)
        .values(row)
        .execute(connection)
}

/// Finds an invite by its secret.
pub(crate) fn by_token(connection: &mut Connection, hash: Hash) -> QueryResult<Option<InviteRow>> {
    invites::table
        .filter(invites::hash.eq(hash))
        .select(InviteRow::as_select())
        .first(connection)
        .optional()
}

/// Reads an invite, one of `project` where that is named.
pub(crate) fn by_id(
    connection: &mut Connection,
    project: Option<Id>,
    id: Id,
) -> QueryResult<Option<InviteRow>> {
    let mut query = invites::table
        .filter(invites::id.eq(id))
        .select(InviteRow::as_select())
        .into_boxed();
    if let Some(project) = project {
        query = query.filter(invites::project_id.eq(project));
    }
    query.first(connection).optional()
}

/// Lists invites, newest first: those of `project`, or all, older than `before`.
pub(crate) fn before(
    connection: &mut Connection,
    project: Option<Id>,
    before: Option<Id>,
    limit: u32,
) -> QueryResult<Vec<InviteRow>> {
    let mut query = invites::table
        .order(invites::id.desc())
        .limit(limit.into())
        .select(InviteRow::as_select())
        .into_boxed();
    if let Some(project) = project {
        query = query.filter(invites::project_id.eq(project));
    }
    if let Some(before) = before {
        query = query.filter(invites::id.lt(before));
    }
    query.load(connection)
}

/// Lists the invites that are not withdrawn, newest first, older than `before`.
pub(crate) fn kept(
    connection: &mut Connection,
    before: Option<Id>,
    limit: u32,
) -> QueryResult<Vec<InviteRow>> {
    let mut query = invites::table
        .filter(invites::revoked_at.is_null())
        .order(invites::id.desc())
        .limit(limit.into())
        .select(InviteRow::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(invites::id.lt(before));
    }
    query.load(connection)
}

/// Lets an invite be taken up, unless it was or is withdrawn.
pub(crate) fn accept(connection: &mut Connection, id: Id, user: Id, at: i64) -> QueryResult<usize> {
    diesel::update(invites::table)
        .filter(invites::id.eq(id))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set((invites::accepted_at.eq(at), invites::accepted_by.eq(user)))
        .execute(connection)
}

/// Withdraws an invite, unless it was taken up or is withdrawn.
pub(crate) fn revoke(connection: &mut Connection, id: Id, at: i64) -> QueryResult<usize> {
    diesel::update(invites::table)
        .filter(invites::id.eq(id))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set(invites::revoked_at.eq(at))
        .execute(connection)
}

/// Withdraws all invites of a project that were not taken up, and lists those.
pub(crate) fn revoke_of_project(
    connection: &mut Connection,
    project: Id,
    at: i64,
) -> QueryResult<Vec<InviteRow>> {
    diesel::update(invites::table)
        .filter(invites::project_id.eq(project))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set(invites::revoked_at.eq(at))
        .returning(InviteRow::as_returning())
        .load(connection)
}

/// Withdraws all invites that a user has made and that were not taken up, and lists those.
pub(crate) fn revoke_of_maker(
    connection: &mut Connection,
    maker: Id,
    at: i64,
) -> QueryResult<Vec<InviteRow>> {
    diesel::update(invites::table)
        .filter(invites::created_by.eq(maker))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set(invites::revoked_at.eq(at))
        .returning(InviteRow::as_returning())
        .load(connection)
}
