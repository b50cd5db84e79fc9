use crate::identity::{RequestId, Subject};
use crate::store::{AuditStore, CallRecord, Check, LineQuery, Lines, StoreFuture, Verification};

use super::{MemoryStore, ready};

impl AuditStore for MemoryStore {
    fn verify(&self, check: Check) -> StoreFuture<'_, Verification> {
        ready(self.books().map(|books| books.verify(check)))
    }

    fn lines(&self, query: LineQuery) -> StoreFuture<'_, Lines> {
        ready(self.books().map(|books| books.lines(query)))
    }

    fn presumed(&self, after: Option<RequestId>, count: u32) -> StoreFuture<'_, Vec<CallRecord>> {
        ready(
            self.books()
                .map(|books| books.presumed(after, count as usize)),
        )
    }

    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>> {
        ready(self.books().map(|books| books.call(id)))
    }

    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool> {
        ready(self.people().map(|people| {
            subject.each() == Some(subject)
                || match subject {
                    Subject::User(id) => people.accounts.contains_key(&id),
                    Subject::Project(id) => people.projects.contains_key(&id),
                    Subject::Key(id) => people.keys.contains_key(&id),
                    Subject::Platform => true,
                }
        }))
    }
}
