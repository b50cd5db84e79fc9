use diesel::prelude::*;

use super::Connection;
use crate::models::{Id, ProjectRow};
use crate::schema::projects;

/// Writes a project.
pub(crate) fn insert(connection: &mut Connection, row: &ProjectRow) -> QueryResult<usize> {
    diesel::insert_into(projects::table)
        .values(row)
        .execute(connection)
}

/// Reads a project.
pub(crate) fn by_id(connection: &mut Connection, id: Id) -> QueryResult<Option<ProjectRow>> {
    projects::table
        .filter(projects::id.eq(id))
        .select(ProjectRow::as_select())
        .first(connection)
        .optional()
}

/// Lists the projects after `after`, archived ones only if asked for.
pub(crate) fn after(
    connection: &mut Connection,
    after: Id,
    limit: u32,
    archived: bool,
) -> QueryResult<Vec<ProjectRow>> {
    let mut query = projects::table
        .filter(projects::id.gt(after))
        .order(projects::id)
        .limit(limit.into())
        .select(ProjectRow::as_select())
        .into_boxed();
    if !archived {
        query = query.filter(projects::archived_at.is_null());
    }
    query.load(connection)
}

/// Renames a project that is not archived.
pub(crate) fn rename(connection: &mut Connection, id: Id, name: &str) -> QueryResult<usize> {
    diesel::update(projects::table)
        .filter(projects::id.eq(id))
        .filter(projects::archived_at.is_null())
        .set(projects::name.eq(name))
        .execute(connection)
}

/// Archives a project, unless it is.
pub(crate) fn archive(connection: &mut Connection, id: Id, at: i64) -> QueryResult<usize> {
    diesel::update(projects::table)
        .filter(projects::id.eq(id))
        .filter(projects::archived_at.is_null())
        .set(projects::archived_at.eq(at))
        .execute(connection)
}
