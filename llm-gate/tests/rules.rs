//! The rules of the books, under operations that nobody thought of.

use std::collections::HashMap;

use futures_util::FutureExt;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::rules::{self, Book, Counter, Entry, Reservation, State};
use llm_gate::store::{
    CallInfo, Ending, Extend, LedgerStore, MemoryStore, Operation, Outcome, Reserve, Settle, Source,
};
use llm_gate::tokens::{Tokens, Usage};
use proptest::prelude::*;
use uuid::Uuid;

const SUBJECTS: usize = 4;
const REQUESTS: usize = 12;

/// One thing that happens to the books. Subjects and requests are numbers below the constants.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        request: usize,
        subjects: Vec<usize>,
        hold: u64,
        least: u64,
    },
    Extend {
        request: usize,
        version: u32,
        hold: u64,
    },
    Settle {
        request: usize,
        charge: u64,
    },
    Void {
        request: usize,
    },
    Limit {
        subject: usize,
        limit: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let request = 0..REQUESTS;
    let subjects = proptest::sample::subsequence((0..SUBJECTS).collect::<Vec<_>>(), 1..=SUBJECTS);
    prop_oneof![
        4 => (request.clone(), subjects.prop_shuffle(), 0..120u64, 0..120u64).prop_map(
            |(request, subjects, hold, least)| Step::Reserve { request, subjects, hold, least: least.min(hold) }
        ),
        3 => (request.clone(), 0..6u32, 0..200u64)
            .prop_map(|(request, version, hold)| Step::Extend { request, version, hold }),
        3 => (request.clone(), 0..150u64).prop_map(|(request, charge)| Step::Settle { request, charge }),
        1 => request.prop_map(|request| Step::Void { request }),
        1 => (0..SUBJECTS, proptest::option::weighted(0.9, 0..300u64))
            .prop_map(|(subject, limit)| Step::Limit { subject, limit }),
    ]
}

fn subject(number: usize) -> Subject {
    Subject::User(UserId::from_uuid(Uuid::from_u128(number as u128 + 1)))
}

fn operation(step: &Step) -> Option<Operation> {
    let id = |request: usize| RequestId::from_uuid(Uuid::from_u128(request as u128 + 1));
    let at = Timestamp::from_micros(1);
    match step {
        Step::Reserve {
            request,
            subjects,
            hold,
            least,
        } => Some(Operation::Reserve(Reserve {
            id: id(*request),
            at,
            subjects: subjects.iter().copied().map(subject).collect(),
            hold: Tokens::new(*hold),
            least: Tokens::new(*least),
            call: CallInfo {
                user: UserId::from_uuid(Uuid::nil()),
                project: ProjectId::from_uuid(Uuid::nil()),
                route: "chat".into(),
                model: String::new(),
                stream: false,
            },
        })),
        Step::Extend {
            request,
            version,
            hold,
        } => Some(Operation::Extend(Extend {
            id: id(*request),
            version: *version,
            hold: Tokens::new(*hold),
        })),
        Step::Settle { request, charge } => Some(Operation::Settle(Settle {
            id: id(*request),
            at,
            charge: Tokens::new(*charge),
            usage: Usage::default(),
            source: Source::Upstream,
            ending: Ending::Complete,
            status: 200,
        })),
        Step::Void { request } => Some(Operation::Settle(Settle::void(
            id(*request),
            at,
            Ending::Refused,
        ))),
        Step::Limit { .. } => None,
    }
}

/// The plainest of books.
#[derive(Default)]
struct Paper {
    counters: HashMap<Subject, Counter>,
    reservations: HashMap<RequestId, Reservation>,
    entries: Vec<Entry>,
}

impl Book for Paper {
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
        let before = self.reservations.insert(reserve.id, reservation);
        assert_eq!(before, None, "a reservation is opened once");
    }
    fn hold(&mut self, extend: &Extend) {
        let reservation = self
            .reservations
            .get_mut(&extend.id)
            .expect("it was opened");
        assert_eq!(
            reservation.state,
            State::Pending,
            "what has ended holds nothing"
        );
        reservation.hold = extend.hold;
        reservation.version = extend.version;
    }
    fn close(&mut self, settle: &Settle, state: State) {
        let reservation = self
            .reservations
            .get_mut(&settle.id)
            .expect("it was opened");
        assert_eq!(
            reservation.state,
            State::Pending,
            "a reservation is closed once"
        );
        reservation.state = state;
    }
    fn post(&mut self, entry: Entry) {
        self.entries.push(entry);
    }
}

impl Paper {
    /// Checks what must hold between any two operations, counter by counter.
    fn check(&self) -> Result<(), TestCaseError> {
        for number in 0..SUBJECTS {
            let of = subject(number);
            let counter = self.counter(of);
            let entries = || self.entries.iter().filter(|entry| entry.subject == of);
            let charges: u64 = entries().map(|entry| entry.charge.get()).sum();
            let overages: u64 = entries().map(|entry| entry.overage.get()).sum();
            let held: u64 = self
                .reservations
                .values()
                .filter(|one| one.state == State::Pending && one.subjects.contains(&of))
                .map(|one| one.hold.get())
                .sum();
            prop_assert_eq!(
                counter.used.get(),
                charges,
                "used is the sum of the charges"
            );
            prop_assert_eq!(
                counter.overage.get(),
                overages,
                "overage that of the overages"
            );
            prop_assert_eq!(
                counter.reserved.get(),
                held,
                "reserved that of the pending holds"
            );
        }
        Ok(())
    }

    /// Checks an outcome against the books before and after it.
    fn judge(
        &self,
        operation: &Operation,
        known: Option<&Reservation>,
        before: &HashMap<Subject, Counter>,
        outcome: &Outcome,
    ) -> Result<(), TestCaseError> {
        match (operation, outcome) {
            (Operation::Reserve(reserve), Outcome::Granted(grant)) => {
                if let Some(known) = known {
                    prop_assert_eq!(grant.hold, known.hold, "the first grant stands");
                    prop_assert_eq!(&self.counters, before, "and nothing is held anew");
                    return Ok(());
                }
                prop_assert!(grant.hold >= reserve.least && grant.hold <= reserve.hold);
                for &of in &reserve.subjects {
                    let counter = self.counter(of);
                    let taken = counter.used.saturating_add(counter.reserved);
                    let fits = counter.limit.is_none_or(|limit| taken <= limit);
                    // A hold of nothing takes nothing, also where a lowered limit is exceeded.
                    prop_assert!(
                        fits || grant.hold == Tokens::ZERO,
                        "overshoot: {:?}",
                        counter
                    );
                }
            }
            (Operation::Reserve(reserve), Outcome::Denied(denial)) => {
                prop_assert!(known.is_none(), "what was granted is not denied later");
                prop_assert_eq!(&self.counters, before, "a denial changes nothing");
                let counter = before.get(&denial.subject).copied().unwrap_or_default();
                prop_assert!(
                    counter.room() < reserve.least,
                    "there was room: {:?}",
                    counter
                );
            }
            (Operation::Extend(extend), Outcome::Extended(grant)) => {
                let Some(known) = known else {
                    return Err(TestCaseError::fail("nothing was reserved"));
                };
                prop_assert_eq!(known.state, State::Pending);
                prop_assert_eq!(grant.repeated, extend.version <= known.version);
                if grant.repeated {
                    prop_assert_eq!(grant.hold, known.hold, "the hold in force");
                    prop_assert_eq!(&self.counters, before, "a repetition changes nothing");
                    return Ok(());
                }
                prop_assert_eq!(grant.hold, extend.hold, "all or nothing");
                for &of in known.subjects.iter().filter(|_| extend.hold > known.hold) {
                    let counter = self.counter(of);
                    let taken = counter.used.saturating_add(counter.reserved);
                    let fits = counter.limit.is_none_or(|limit| taken <= limit);
                    prop_assert!(fits, "overshoot: {:?}", counter);
                }
            }
            (Operation::Extend(extend), Outcome::Denied(denial)) => {
                prop_assert_eq!(&self.counters, before, "a denial changes nothing");
                let Some(known) = known else {
                    return Err(TestCaseError::fail("nothing was reserved"));
                };
                prop_assert_eq!(self.reservations.get(&extend.id), Some(known));
                let more = extend.hold.saturating_sub(known.hold);
                prop_assert!(more > Tokens::ZERO, "giving back is not denied");
                prop_assert!(denial.standing.room() < more, "there was room");
            }
            (Operation::Extend(_), Outcome::Settled(settlement)) => {
                let ended = known.is_some_and(|known| known.state != State::Pending);
                prop_assert!(ended && settlement.repeated);
                prop_assert_eq!(&self.counters, before, "it comes too late");
            }
            (Operation::Extend(_) | Operation::Settle(_), Outcome::Unknown) => {
                prop_assert!(known.is_none(), "a reservation is known");
                prop_assert_eq!(&self.counters, before, "the unknown changes nothing");
            }
            (Operation::Settle(settle), Outcome::Settled(settlement)) => {
                let first = known.is_some_and(|known| known.state == State::Pending);
                prop_assert_eq!(settlement.repeated, !first, "it is settled once");
                if first {
                    let sum = settlement.charged.saturating_add(settlement.overage);
                    prop_assert_eq!(sum, settle.charge, "nothing of a charge is lost");
                } else {
                    prop_assert_eq!(&self.counters, before, "a repetition changes nothing");
                }
            }
            other => prop_assert!(false, "no such outcome: {:?}", other),
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_sequence_of_operations_overshoots_or_unbalances(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut paper = Paper::default();
        for step in &steps {
            if let Step::Limit { subject: number, limit } = step {
                let mut counter = paper.counter(subject(*number));
                counter.limit = limit.map(Tokens::new);
                paper.put_counter(subject(*number), counter);
            }
            if let Some(operation) = operation(step) {
                let before = paper.counters.clone();
                let known = paper.reservation(operation.id()).cloned();
                let outcome = rules::apply(&mut paper, &operation);
                paper.judge(&operation, known.as_ref(), &before, &outcome)?;
            }
            paper.check()?;
        }
    }

    #[test]
    fn the_store_in_memory_does_what_the_rules_say(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let (mut paper, store) = (Paper::default(), MemoryStore::new());
        for step in &steps {
            if let Step::Limit { subject: number, limit } = step {
                let mut counter = paper.counter(subject(*number));
                counter.limit = limit.map(Tokens::new);
                paper.put_counter(subject(*number), counter);
                let set = store.set_limit(subject(*number), counter.limit).now_or_never();
                prop_assert_eq!(set.and_then(Result::ok), Some(counter));
            }
            if let Some(operation) = operation(step) {
                let expected = rules::apply(&mut paper, &operation);
                prop_assert_eq!(store.apply_now(&operation), Some(expected));
            }
        }
        let totals = store.totals().now_or_never().and_then(Result::ok);
        prop_assert!(totals.is_some_and(|totals| totals.balance()), "the books balance");
    }
}
