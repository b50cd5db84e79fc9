use diesel::prelude::*;

use super::Connection;
use crate::models::{Id, MemberRow, ProjectRow};
use crate::schema::{project_members, projects};

/// Writes a project.
pub(crate) fn insert(connection: &mut Connection, row: &ProjectRow) -> QueryResult<usize> {
    diesel::insert_into(projects::table)
        .values(row)
        .execute(connection)
}

/// Makes a user a member of a project.
pub(crate) fn add_member(connection: &mut Connection, row: &MemberRow) -> QueryResult<usize> {
    diesel::insert_into(project_members::table)
        .values(row)
        .execute(connection)
}

/// Lists the projects of a user and the user's role in each, oldest first.
pub(crate) fn of_user(
    connection: &mut Connection,
    user: Id,
) -> QueryResult<Vec<(ProjectRow, String)>> {
    project_members::table
        .inner_join(projects::table)
        .filter(project_members::user_id.eq(user))
        .order(project_members::project_id)
        .select((ProjectRow::as_select(), project_members::role))
        .load(connection)
}

/// Reads one project of a user and the user's role in it.
pub(crate) fn membership(
    connection: &mut Connection,
    project: Id,
    user: Id,
) -> QueryResult<Option<(ProjectRow, String)>> {
    project_members::table
        .inner_join(projects::table)
        .filter(project_members::user_id.eq(user))
        .filter(project_members::project_id.eq(project))
        .select((ProjectRow::as_select(), project_members::role))
        .first(connection)
        .optional()
}
