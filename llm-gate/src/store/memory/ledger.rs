use std::collections::HashMap;

use crate::identity::{RequestId, Subject};
use crate::store::rules::{self, Book, Counter, Entry, Reservation, State};
use crate::store::{
    Extend, LedgerStore, Operation, Outcome, Reserve, Settle, Standing, StoreFuture, Totals,
};
use crate::tokens::Tokens;

use super::{MemoryStore, ready};

/// Counters, reservations and ledger.
#[derive(Default)]
pub(super) struct Books {
    counters: HashMap<Subject, Counter>,
    reservations: HashMap<RequestId, Reservation>,
    ledger: Vec<Entry>,
}

impl Books {
    pub(super) fn set_limit(&mut self, subject: Subject, limit: Option<Tokens>) -> Standing {
        let counter = self.counters.entry(subject).or_default();
        counter.limit = limit;
        *counter
    }

    pub(super) fn set_frozen(&mut self, subject: Subject, frozen: bool) {
        self.counters.entry(subject).or_default().frozen = frozen;
    }
}

impl Book for Books {
    fn counter(&self, subject: Subject) -> Counter {
        self.counters.get(&subject).copied().unwrap_or_default()
    }

    fn put_counter(&mut self, subject: Subject, counter: Counter) {
        self.counters.insert(subject, counter);
    }

    fn reservation(&self, id: RequestId) -> Option<&Reservation> {
        self.reservations.get(&id)
    }

    fn open(&mut self, reserve: &Reserve, reservation: Reservation) {
        self.reservations.insert(reserve.id, reservation);
    }

    fn hold(&mut self, extend: &Extend) {
        if let Some(reservation) = self.reservations.get_mut(&extend.id) {
            reservation.hold = extend.hold;
            reservation.version = extend.version;
        }
    }

    fn close(&mut self, settle: &Settle, state: State) {
        if let Some(reservation) = self.reservations.get_mut(&settle.id) {
            reservation.state = state;
        }
    }

    fn post(&mut self, entry: Entry) {
        self.ledger.push(entry);
    }
}

impl LedgerStore for MemoryStore {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        ready(self.books().map(|mut books| {
            batch
                .iter()
                .map(|operation| rules::apply(&mut *books, operation))
                .collect()
        }))
    }

    fn apply_now(&self, operation: &Operation) -> Option<Outcome> {
        let mut books = self.books().ok()?;
        Some(rules::apply(&mut *books, operation))
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        ready(self.books().map(|books| books.counter(subject)))
    }

    fn set_limit(&self, subject: Subject, limit: Option<Tokens>) -> StoreFuture<'_, Standing> {
        ready(
            self.books()
                .map(|mut books| books.set_limit(subject, limit)),
        )
    }

    fn lower_limit(&self, subject: Subject, limit: Tokens) -> StoreFuture<'_, Option<Standing>> {
        ready(self.books().map(|mut books| {
            let raises = books.counter(subject).limit.is_some_and(|now| limit > now);
            (!raises).then(|| books.set_limit(subject, Some(limit)))
        }))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        ready(self.books().map(|books| {
            let mut totals = Totals::default();
            for counter in books.counters.values() {
                totals.counters_used += counter.used.get();
                totals.counters_overage += counter.overage.get();
                totals.counters_reserved += counter.reserved.get();
            }
            for entry in &books.ledger {
                totals.ledger_charges += entry.charge.get();
                totals.ledger_overages += entry.overage.get();
            }
            for reservation in books.reservations.values() {
                match reservation.state {
                    State::Pending => {
                        totals.pending += 1;
                        totals.pending_holds +=
                            reservation.hold.get() * reservation.subjects.len() as u64;
                    }
                    State::Settled(_) => totals.settled += 1,
                    State::Void => {}
                }
            }
            totals
        }))
    }
}
