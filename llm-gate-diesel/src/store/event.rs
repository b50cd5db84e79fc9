use llm_gate::store::{Event, EventQuery, EventStore, StoreFuture};

use super::queries::events;
use super::{Connection, Store};
use crate::error::Failure;
use crate::models::EventRow;

/// Events in one statement. SQLite allows 32,766 bound values in one.
const CHUNK: usize = 1_000;

/// Leaves what was done, in the transaction of the change.
pub(super) fn leave(connection: &mut Connection, done: &[Event]) -> Result<(), Failure> {
    let rows: Vec<EventRow> = done.iter().map(EventRow::from).collect();
    for rows in rows.chunks(CHUNK) {
        events::insert(connection, rows)?;
    }
    Ok(())
}

impl EventStore for Store {
    fn note(&self, event: Event) -> StoreFuture<'_, ()> {
        self.write(move |connection| leave(connection, std::slice::from_ref(&event)))
    }

    fn events(&self, query: EventQuery, limit: u32) -> StoreFuture<'_, Vec<Event>> {
        self.read(move |connection| {
            let mut rows = events::find(connection, &query, limit)?;
            if query.after.is_some() {
                rows.reverse();
            }
            rows.into_iter().map(Event::try_from).collect()
        })
    }
}
