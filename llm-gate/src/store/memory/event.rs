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
            let wanted = people.events.values().filter(|event| query.matches(event));
            if query.after.is_some() {
                let mut next: Vec<Event> = wanted.take(limit as usize).cloned().collect();
                next.reverse();
                return next;
            }
            wanted.rev().take(limit as usize).cloned().collect()
        })
    }
}
