use std::time::Duration;

use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::{
    Author, LedgerStore, Limit, LimitChange, Operation, Outcome, OwnerId, Price, Standing,
    StoreFuture, Totals, UsageReset,
};

use super::{MemoryStore, ready};

impl LedgerStore for MemoryStore {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        ready(self.books().map(|mut books| {
            batch
                .iter()
                .map(|operation| books.apply(operation))
                .collect()
        }))
    }

    fn apply_now(&self, operation: &Operation) -> Option<Outcome> {
        Some(self.books().ok()?.apply(operation))
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        ready(self.books().map(|books| books.standing(subject)))
    }

    fn standings(
        &self,
        subject: Subject,
        at: Timestamp,
    ) -> StoreFuture<'_, Vec<(Limit, Standing)>> {
        ready(self.books().map(|books| books.standings(subject, at)))
    }

    fn change_limits(&self, changes: Vec<LimitChange>) -> StoreFuture<'_, Option<Vec<Standing>>> {
        self.write_both(|people, books| people.change_limits(books, &changes))
    }

    fn reset_usage(&self, reset: UsageReset) -> StoreFuture<'_, Standing> {
        self.write_both(|people, books| Ok(people.reset_usage(books, &reset)))
    }

    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>> {
        ready(self.books().map(|books| books.limits_of(subject)))
    }

    fn set_price(&self, price: Price, author: Author) -> StoreFuture<'_, Price> {
        self.write_both(|people, books| {
            let before = books.price(&price.model);
            let price = books.set_price(price);
            if let Some(event) = price.event(before.as_ref(), &author) {
                people.leave(event);
            }
            Ok(price)
        })
    }

    fn prices(&self) -> StoreFuture<'_, Vec<Price>> {
        ready(self.books().map(|books| books.prices()))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        ready(self.books().map(|books| books.totals()))
    }

    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId> {
        ready(self.books().map(|mut books| books.enlist(at, lease)))
    }

    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool> {
        ready(self.books().map(|mut books| books.renew(owner, at, lease)))
    }

    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>> {
        ready(
            self.books()
                .map(|mut books| books.orphans(at, grace, count)),
        )
    }
}
