use diesel::prelude::*;

use super::Connection;
use crate::models::{Id, IdentityRow, UserRow};
use crate::schema::{identities, users};

/// Claims an identity for an account. Fails when it is taken.
pub(crate) fn insert(connection: &mut Connection, row: &IdentityRow) -> QueryResult<usize> {
    diesel::insert_into(identities::table)
        .values(row)
        .execute(connection)
}

/// Finds an account by whom else it is known.
pub(crate) fn user(
    connection: &mut Connection,
    issuer: &str,
    subject: &str,
) -> QueryResult<Option<UserRow>> {
    identities::table
        .inner_join(users::table)
        .filter(identities::issuer.eq(issuer))
        .filter(identities::subject.eq(subject))
        .select(UserRow::as_select())
        .first(connection)
        .optional()
}

/// Lists the identities of an account.
pub(crate) fn of_user(connection: &mut Connection, user: Id) -> QueryResult<Vec<IdentityRow>> {
    identities::table
        .filter(identities::user_id.eq(user))
        .order((identities::issuer, identities::subject))
        .select(IdentityRow::as_select())
        .load(connection)
}

/// Takes an identity from an account.
pub(crate) fn delete(connection: &mut Connection, row: &IdentityRow) -> QueryResult<usize> {
    diesel::delete(identities::table)
        .filter(identities::issuer.eq(&row.issuer))
        .filter(identities::subject.eq(&row.subject))
        .filter(identities::user_id.eq(row.user_id))
        .execute(connection)
}

/// Takes all identities from an account.
pub(crate) fn delete_of_user(connection: &mut Connection, user: Id) -> QueryResult<usize> {
    diesel::delete(identities::table)
        .filter(identities::user_id.eq(user))
        .execute(connection)
}
