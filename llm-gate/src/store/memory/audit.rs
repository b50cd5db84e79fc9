use crate::identity::{RequestId, Subject};
use crate::store::rules::State;
use crate::store::{
    AuditStore, Author, CallRecord, Check, LineQuery, Lines, Operation, Refund, StoreFuture,
    Verification,
};

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

    fn refund_presumed(
        &self,
        id: RequestId,
        author: Author,
    ) -> StoreFuture<'_, Option<CallRecord>> {
        self.write_both(|people, books| {
            let Some(before) = books.call(id) else {
                return Ok(None);
            };
            if matches!(before.state, State::Expired(_)) {
                let at = author.at;
                books.apply(&Operation::Refund(Refund { id, at }));
                people.leave(before.refund_event(&author));
            }
            Ok(books.call(id))
        })
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
