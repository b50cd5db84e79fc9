use diesel::prelude::*;

use super::Connection;
use crate::models::Id;
use crate::schema::{counters, reservation_counters};

/// A reservation, and kind and identifier of a subject that it is held by.
pub(crate) type SubjectOf = (Id, String, Id);

/// Reads the subjects that reservations are held by.
pub(crate) fn subjects(connection: &mut Connection, ids: &[Id]) -> QueryResult<Vec<SubjectOf>> {
    reservation_counters::table
        .inner_join(counters::table)
        .filter(reservation_counters::reservation_id.eq_any(ids))
        .order((
            reservation_counters::reservation_id,
            reservation_counters::counter_id,
        ))
        .select((
            reservation_counters::reservation_id,
            counters::subject_kind,
            counters::subject_id,
        ))
        .load(connection)
}
