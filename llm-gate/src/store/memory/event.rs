use crate::store::{Event, EventQuery, EventStore, StoreFuture};

use super::MemoryStore;
use super::people::conflict;

impl EventStore for MemoryStore {
    fn note(&self, event: Event) -> StoreFuture<'_, ()> {
        self.write(|people| {
            if people.events.contains_key(&event.id) {
                return Err(conflict());
            }
            people.leave(event);
            Ok(())
        })
    }

    fn events(&self, query: EventQuery, limit: u32) -> StoreFuture<'_, Vec<Event>> {
        self.read(|people| {
            let newest_first = people.events.values().rev();
            newest_first
                .filter(|event| query.matches(event))
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }
}
