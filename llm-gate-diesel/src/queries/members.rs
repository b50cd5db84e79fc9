use diesel::prelude::*;

use super::Connection;
use crate::models::{Id, MemberRow, NewMemberRow, ProjectRow, UserRow};
use crate::schema::{project_members, projects, users};

/// Makes a user a member of a project.
pub(crate) fn insert(connection: &mut Connection, row: &NewMemberRow) -> QueryResult<usize> {
    diesel::insert_into(project_members::table)
        .values(row)
        .execute(connection)
}

/// Gives a member another role.
pub(crate) fn set_role(
    connection: &mut Connection,
    project: Id,
    user: Id,
    role: &str,
) -> QueryResult<usize> {
    diesel::update(project_members::table)
        .filter(project_members::user_id.eq(user))
        .filter(project_members::project_id.eq(project))
        .set(project_members::role.eq(role))
        .execute(connection)
}

/// Puts a member out.
pub(crate) fn delete(connection: &mut Connection, project: Id, user: Id) -> QueryResult<usize> {
    diesel::delete(project_members::table)
        .filter(project_members::user_id.eq(user))
        .filter(project_members::project_id.eq(project))
        .execute(connection)
}

/// Lists the projects of a user that are not archived, and the user's role in each, oldest first.
pub(crate) fn of_user(
    connection: &mut Connection,
    user: Id,
) -> QueryResult<Vec<(ProjectRow, String)>> {
    project_members::table
        .inner_join(projects::table)
        .filter(project_members::user_id.eq(user))
        .filter(projects::archived_at.is_null())
        .order(project_members::project_id)
        .select((ProjectRow::as_select(), project_members::role))
        .load(connection)
}

/// Lists all projects of a user, archived or not, oldest first.
pub(crate) fn all_of_user(connection: &mut Connection, user: Id) -> QueryResult<Vec<Id>> {
    project_members::table
        .filter(project_members::user_id.eq(user))
        .order(project_members::project_id)
        .select(project_members::project_id)
        .load(connection)
}

/// Reads one project of a user that is not archived, and the user's role in it.
pub(crate) fn membership(
    connection: &mut Connection,
    project: Id,
    user: Id,
) -> QueryResult<Option<(ProjectRow, String)>> {
    project_members::table
        .inner_join(projects::table)
        .filter(project_members::user_id.eq(user))
        .filter(project_members::project_id.eq(project))
        .filter(projects::archived_at.is_null())
        .select((ProjectRow::as_select(), project_members::role))
        .first(connection)
        .optional()
}

/// Reads a member of a project.
pub(crate) fn one(
    connection: &mut Connection,
    project: Id,
    user: Id,
) -> QueryResult<Option<(MemberRow, UserRow)>> {
    project_members::table
        .inner_join(users::table)
        .filter(project_members::user_id.eq(user))
        .filter(project_members::project_id.eq(project))
        .select((MemberRow::as_select(), UserRow::as_select()))
        .first(connection)
        .optional()
}

/// Lists the members of a project after `after`.
pub(crate) fn after(
    connection: &mut Connection,
    project: Id,
    after: Id,
    limit: u32,
) -> QueryResult<Vec<(MemberRow, UserRow)>> {
    project_members::table
        .inner_join(users::table)
        .filter(project_members::project_id.eq(project))
        .filter(project_members::user_id.gt(after))
        .order(project_members::user_id)
        .limit(limit.into())
        .select((MemberRow::as_select(), UserRow::as_select()))
        .load(connection)
}

/// Lists the members of a kind after `after`.
pub(crate) fn of_kind(
    connection: &mut Connection,
    project: Id,
    kind: &str,
    after: Id,
    limit: u32,
) -> QueryResult<Vec<(MemberRow, UserRow)>> {
    project_members::table
        .inner_join(users::table)
        .filter(project_members::project_id.eq(project))
        .filter(project_members::user_id.gt(after))
        .filter(users::kind.eq(kind))
        .order(project_members::user_id)
        .limit(limit.into())
        .select((MemberRow::as_select(), UserRow::as_select()))
        .load(connection)
}

/// Counts the services of a project.
pub(crate) fn services(connection: &mut Connection, project: Id) -> QueryResult<i64> {
    project_members::table
        .inner_join(users::table)
        .filter(project_members::project_id.eq(project))
        .filter(users::kind.eq("service"))
        .count()
        .get_result(connection)
}

/// Names a member of a project other than `user`.
pub(crate) fn other(connection: &mut Connection, project: Id, user: Id) -> QueryResult<Option<Id>> {
    project_members::table
        .filter(project_members::project_id.eq(project))
        .filter(project_members::user_id.ne(user))
        .select(project_members::user_id)
        .first(connection)
        .optional()
}

/// Names a person who owns a project, other than `user`.
pub(crate) fn other_owner(
    connection: &mut Connection,
    project: Id,
    user: Id,
) -> QueryResult<Option<Id>> {
    project_members::table
        .inner_join(users::table)
        .filter(project_members::project_id.eq(project))
        .filter(project_members::user_id.ne(user))
        .filter(project_members::role.eq("owner"))
        .filter(users::kind.eq("person"))
        .select(project_members::user_id)
        .first(connection)
        .optional()
}
