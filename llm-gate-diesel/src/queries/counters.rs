use diesel::prelude::*;
use diesel::upsert::excluded;

use super::Connection;
use crate::models::{Id, LimitRow, NewCounterRow};
use crate::schema::{counters, limits};

/// Makes counters, where there are none.
pub(crate) fn ensure(connection: &mut Connection, rows: &[NewCounterRow]) -> QueryResult<usize> {
    diesel::insert_into(counters::table)
        .values(rows)
        .on_conflict_do_nothing()
        .execute(connection)
}

/// Freezes or releases all counters of subjects of a kind.
pub(crate) fn freeze(
    connection: &mut Connection,
    kind: &str,
    ids: &[Id],
    frozen: bool,
) -> QueryResult<usize> {
    diesel::update(counters::table)
        .filter(counters::subject_id.eq_any(ids))
        .filter(counters::subject_kind.eq(kind))
        .filter(counters::window_start.eq(0))
        .set(counters::frozen.eq(frozen))
        .execute(connection)
}

/// Reads the limits of all kinds of subjects with one of these identifiers.
pub(crate) fn limits_of(
    connection: &mut Connection,
    subjects: &[Id],
) -> QueryResult<Vec<LimitRow>> {
    limits::table
        .filter(limits::subject_id.eq_any(subjects))
        .select(LimitRow::as_select())
        .load(connection)
}

/// Reads all limits.
pub(crate) fn limits(connection: &mut Connection) -> QueryResult<Vec<LimitRow>> {
    limits::table.select(LimitRow::as_select()).load(connection)
}

/// Sets a subject's limit.
pub(crate) fn put_limit(connection: &mut Connection, row: &LimitRow) -> QueryResult<usize> {
    diesel::insert_into(limits::table)
        .values(row)
        .on_conflict((
            limits::subject_id,
            limits::subject_kind,
            limits::unit,
            limits::window_kind,
            limits::model,
        ))
        .do_update()
        .set((
            limits::amount.eq(excluded(limits::amount)),
            limits::zone.eq(excluded(limits::zone)),
            limits::voluntary.eq(excluded(limits::voluntary)),
        ))
        .execute(connection)
}

/// Takes a limit away.
pub(crate) fn delete_limit(connection: &mut Connection, row: &LimitRow) -> QueryResult<usize> {
    diesel::delete(limits::table)
        .filter(limits::subject_id.eq(row.subject_id))
        .filter(limits::subject_kind.eq(&row.subject_kind))
        .filter(limits::unit.eq(&row.unit))
        .filter(limits::window_kind.eq(&row.window_kind))
        .filter(limits::model.eq(&row.model))
        .execute(connection)
}
