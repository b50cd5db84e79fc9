//! The books in memory: three maps, and the rules that move them.

use std::collections::HashMap;

use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::rules::{self, Book, Counter, Entry, Reservation, State};
use llm_gate::store::{Extend, Operation, Outcome, Reserve, Settle, Standing, Totals};
use llm_gate::tokens::Tokens;

#[derive(Debug, Default)]
pub(crate) struct Books {
    counters: HashMap<Subject, Counter>,
    reservations: HashMap<RequestId, Reservation>,
    ledger: Vec<Entry>,
}

impl Books {
    pub(crate) fn apply(&mut self, operation: &Operation) -> Outcome {
        rules::apply(self, operation)
    }

    pub(crate) fn standing(&self, subject: Subject) -> Standing {
        self.counter(subject)
    }

    pub(crate) fn set_limit(&mut self, subject: Subject, limit: Option<Tokens>) -> Standing {
        let counter = self.counters.entry(subject).or_default();
        counter.limit = limit;
        *counter
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counter in self.counters.values() {
            totals.counters_used += counter.used.get();
            totals.counters_overage += counter.overage.get();
            totals.counters_reserved += counter.reserved.get();
        }
        for entry in &self.ledger {
            totals.ledger_charges += entry.charge.get();
            totals.ledger_overages += entry.overage.get();
        }
        for reservation in self.reservations.values() {
            match reservation.state {
                State::Pending => {
                    totals.pending += 1;
                    totals.pending_holds +=
                        reservation.hold.get() * reservation.subjects.len() as u64;
                }
                State::Settled(_) => totals.settled += 1,
                _ => {}
            }
        }
        totals
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
