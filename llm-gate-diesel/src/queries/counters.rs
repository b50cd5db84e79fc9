use diesel::prelude::*;
use diesel::upsert::excluded;

use super::Connection;
use crate::models::{ANY_MODEL, CounterRow, Id, LimitRow, NewCounterRow, TOKENS, TOTAL};
use crate::schema::{counters, limits};

/// Reads the token counters of all kinds of subjects with one of these identifiers, and their limits.
///
/// The identifier alone selects: another kind of subject with the same one is read along and does no harm.
pub(crate) fn of_subjects(
    connection: &mut Connection,
    subjects: &[Id],
) -> QueryResult<Vec<(CounterRow, Option<i64>)>> {
    let limit = limits::subject_id
        .eq(counters::subject_id)
        .and(limits::subject_kind.eq(counters::subject_kind))
        .and(limits::unit.eq(counters::unit))
        .and(limits::window_kind.eq(counters::window_kind))
        .and(limits::model.eq(ANY_MODEL));
    counters::table
        .left_join(limits::table.on(limit))
        .filter(counters::subject_id.eq_any(subjects))
        .filter(counters::unit.eq(TOKENS))
        .filter(counters::window_kind.eq(TOTAL))
        .select((CounterRow::as_select(), limits::amount.nullable()))
        .load(connection)
}

/// Makes counters, where there are none.
pub(crate) fn ensure(connection: &mut Connection, rows: &[NewCounterRow]) -> QueryResult<usize> {
    diesel::insert_into(counters::table)
        .values(rows)
        .on_conflict_do_nothing()
        .execute(connection)
}

/// Freezes or releases all counters of a subject.
pub(crate) fn freeze(
    connection: &mut Connection,
    kind: &str,
    id: Id,
    frozen: bool,
) -> QueryResult<usize> {
    diesel::update(counters::table)
        .filter(counters::subject_id.eq(id))
        .filter(counters::subject_kind.eq(kind))
        .set(counters::frozen.eq(frozen))
        .execute(connection)
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
        .set(limits::amount.eq(excluded(limits::amount)))
        .execute(connection)
}

/// Takes a subject's limit away.
pub(crate) fn delete_limit(connection: &mut Connection, kind: &str, id: Id) -> QueryResult<usize> {
    diesel::delete(limits::table)
        .filter(limits::subject_id.eq(id))
        .filter(limits::subject_kind.eq(kind))
        .filter(limits::unit.eq(TOKENS))
        .filter(limits::window_kind.eq(TOTAL))
        .filter(limits::model.eq(ANY_MODEL))
        .execute(connection)
}
