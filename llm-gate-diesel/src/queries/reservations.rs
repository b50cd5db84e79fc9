use diesel::prelude::*;

use super::Connection;
use crate::models::{CounterRow, Id};
use crate::schema::{counters, reservation_counters};

/// Reads the counters that reservations are held by.
pub(crate) fn counters(
    connection: &mut Connection,
    ids: &[Id],
) -> QueryResult<Vec<(Id, CounterRow)>> {
    reservation_counters::table
        .inner_join(counters::table)
        .filter(reservation_counters::reservation_id.eq_any(ids))
        .order((
            reservation_counters::reservation_id,
            reservation_counters::counter_id,
        ))
        .select((
            reservation_counters::reservation_id,
            CounterRow::as_select(),
        ))
        .load(connection)
}
