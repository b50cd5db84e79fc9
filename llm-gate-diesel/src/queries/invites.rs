use diesel::prelude::*;

use diesel::dsl::{exists, not};

use super::{Connection, Database};
use crate::models::{Hash, Id, InviteRow, PlaceRow};
use crate::schema::{invite_projects, invites};

/// Writes an invite.
pub(crate) fn insert(connection: &mut Connection, row: &InviteRow) -> QueryResult<usize> {
    diesel::insert_into(invites::table)
        .values(row)
        .execute(connection)
}

/// Writes where an invite leads.
pub(crate) fn insert_places(connection: &mut Connection, rows: &[PlaceRow]) -> QueryResult<usize> {
    diesel::insert_into(invite_projects::table)
        .values(rows)
        .execute(connection)
}

/// Lists where invites lead, without what was taken out.
pub(crate) fn places(connection: &mut Connection, invites: &[Id]) -> QueryResult<Vec<PlaceRow>> {
    invite_projects::table
        .filter(invite_projects::invite_id.eq_any(invites))
        .filter(invite_projects::revoked_at.is_null())
        .select(PlaceRow::as_select())
        .load(connection)
}

/// Finds an invite by its secret.
pub(crate) fn by_token(connection: &mut Connection, hash: Hash) -> QueryResult<Option<InviteRow>> {
    invites::table
        .filter(invites::hash.eq(hash))
        .select(InviteRow::as_select())
        .first(connection)
        .optional()
}

/// Reads an invite.
pub(crate) fn by_id(connection: &mut Connection, id: Id) -> QueryResult<Option<InviteRow>> {
    invites::table
        .filter(invites::id.eq(id))
        .select(InviteRow::as_select())
        .first(connection)
        .optional()
}

/// Reads an invite to a project, whether that was taken out or not.
pub(crate) fn in_project(
    connection: &mut Connection,
    project: Id,
    id: Id,
) -> QueryResult<Option<(InviteRow, PlaceRow)>> {
    invite_projects::table
        .inner_join(invites::table)
        .filter(invite_projects::invite_id.eq(id))
        .filter(invite_projects::project_id.eq(project))
        .select((InviteRow::as_select(), PlaceRow::as_select()))
        .first(connection)
        .optional()
}

/// Lists the invites to a project, newest first, older than `before`; those that it was taken out of, too.
pub(crate) fn of_project(
    connection: &mut Connection,
    project: Id,
    before: Option<Id>,
    limit: u32,
) -> QueryResult<Vec<(InviteRow, PlaceRow)>> {
    let mut query = invite_projects::table
        .inner_join(invites::table)
        .filter(invite_projects::project_id.eq(project))
        .order(invite_projects::invite_id.desc())
        .limit(limit.into())
        .select((InviteRow::as_select(), PlaceRow::as_select()))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(invite_projects::invite_id.lt(before));
    }
    query.load(connection)
}

/// Lists all invites, newest first, older than `before`.
pub(crate) fn before(
    connection: &mut Connection,
    before: Option<Id>,
    limit: u32,
) -> QueryResult<Vec<InviteRow>> {
    let mut query = invites::table
        .order(invites::id.desc())
        .limit(limit.into())
        .select(InviteRow::as_select())
        .into_boxed();
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

/// Withdraws an invite, unless it was taken up or is withdrawn; returns it then.
pub(crate) fn revoke(connection: &mut Connection, id: Id, at: i64) -> QueryResult<Vec<InviteRow>> {
    diesel::update(invites::table)
        .filter(invites::id.eq(id))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set(invites::revoked_at.eq(at))
        .returning(InviteRow::as_returning())
        .load(connection)
}

/// Withdraws the invites that lead into a project and nowhere else, and were not taken up: one or all. Lists those.
pub(crate) fn revoke_of_project(
    connection: &mut Connection,
    project: Id,
    only: Option<Id>,
    at: i64,
) -> QueryResult<Vec<InviteRow>> {
    let mut leading_there = invite_projects::table
        .filter(invite_projects::project_id.eq(project))
        .filter(invite_projects::revoked_at.is_null())
        .select(invite_projects::invite_id)
        .into_boxed::<Database>();
    if let Some(id) = only {
        leading_there = leading_there.filter(invite_projects::invite_id.eq(id));
    }
    let elsewhere = invite_projects::table
        .filter(invite_projects::invite_id.eq(invites::id))
        .filter(invite_projects::project_id.ne(project))
        .filter(invite_projects::revoked_at.is_null());
    diesel::update(invites::table)
        .filter(invites::id.eq_any(leading_there))
        .filter(not(exists(elsewhere)))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null())
        .set(invites::revoked_at.eq(at))
        .returning(InviteRow::as_returning())
        .load(connection)
}

/// Takes a project out of the invites that were neither taken up nor withdrawn: one or all. Lists those, and as what it
/// was in each.
pub(crate) fn take_out(
    connection: &mut Connection,
    project: Id,
    only: Option<Id>,
    at: i64,
) -> QueryResult<Vec<PlaceRow>> {
    let standing = invites::table
        .filter(invites::id.eq(invite_projects::invite_id))
        .filter(invites::accepted_at.is_null())
        .filter(invites::revoked_at.is_null());
    let mut places = diesel::update(invite_projects::table)
        .filter(invite_projects::project_id.eq(project))
        .filter(invite_projects::revoked_at.is_null())
        .filter(exists(standing))
        .into_boxed::<Database>();
    if let Some(id) = only {
        places = places.filter(invite_projects::invite_id.eq(id));
    }
    places
        .set(invite_projects::revoked_at.eq(at))
        .returning(PlaceRow::as_returning())
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
