//! The rules of the books, under operations that nobody thought of.

use std::collections::HashMap;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::rules::{self, Balance, Book, Counter, Reservation, State};
use llm_gate::store::{
    Author, CallInfo, CounterKey, Extend, Hold, LimitChange, LimitKey, MemoryBooks, Operation,
    Outcome, Period, Price, Rates, Refund, Reserve, Settle, Source, Tariff, Unit, Zone,
};
use llm_gate::tokens::{Amount, Tokens, Usage};
use proptest::prelude::*;
use uuid::Uuid;

const SUBJECTS: usize = 3;
const REQUESTS: usize = 12;
const MODELS: [&str; 3] = ["plain", "weighted", "priced"];

/// One thing that happens to the books. Subjects, requests and models are numbers below the constants.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        request: usize,
        subjects: Vec<usize>,
        model: usize,
        prompt: u64,
        completion: u64,
        least: u64,
    },
    Extend {
        request: usize,
        version: u32,
        prompt: u64,
        completion: u64,
    },
    Settle {
        request: usize,
        usage: (u64, u64, u64),
        source: Source,
    },
    Refund {
        request: usize,
    },
    Limit {
        subject: usize,
        model: Option<usize>,
        unit: Unit,
        period: Period,
        amount: Option<u64>,
        only_down: bool,
    },
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let request = 0..REQUESTS;
    let subjects = proptest::sample::subsequence((0..SUBJECTS).collect::<Vec<_>>(), 1..=SUBJECTS);
    let source = proptest::sample::select(vec![
        Source::Upstream,
        Source::Upstream,
        Source::Estimated,
        Source::Nothing,
        Source::Presumed,
    ]);
    prop_oneof![
        6 => (request.clone(), subjects.prop_shuffle(), 0..MODELS.len(), 0..60u64, 0..60u64, 0..120u64).prop_map(
            |(request, subjects, model, prompt, completion, least)| {
                // What is left of the least beside the prompt is what may be generated.
                let least = least.clamp(prompt, prompt + completion);
                Step::Reserve { request, subjects, model, prompt, completion, least }
            }
        ),
        3 => (request.clone(), 0..6u32, 0..80u64, 0..80u64)
            .prop_map(|(request, version, prompt, completion)| Step::Extend { request, version, prompt, completion }),
        5 => (request.clone(), (0..80u64, 0..80u64, 0..80u64), source)
            .prop_map(|(request, usage, source)| Step::Settle { request, usage, source }),
        1 => request.prop_map(|request| Step::Refund { request }),
        2 => (
            0..SUBJECTS + 2,
            proptest::option::of(0..MODELS.len()),
            proptest::sample::select(Unit::ALL),
            proptest::sample::select(Period::ALL),
            proptest::option::weighted(0.9, 0..300u64),
            any::<bool>(),
        ).prop_map(|(subject, model, unit, period, amount, only_down)| {
            Step::Limit { subject, model, unit, period, amount, only_down }
        }),
        // Back, too.
        1 => (-90..90i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Some users, then what stands for each user and for all together.
fn subject(number: usize) -> Subject {
    match number {
        SUBJECTS => Subject::EACH_USER,
        number if number > SUBJECTS => Subject::Platform,
        number => Subject::User(UserId::from_uuid(Uuid::from_u128(number as u128 + 1))),
    }
}

fn books() -> MemoryBooks {
    let mut books = MemoryBooks::default();
    let rates = Rates {
        prompt: 500,
        completion: 4_000,
        cached: 100,
    };
    for (model, weights, price) in [
        ("weighted", rates, None),
        ("priced", Rates::even(1_000), Some(Rates::even(1_500_000))),
    ] {
        books.set_price(Price {
            model: model.to_owned(),
            tariff: Tariff {
                id: None,
                weights,
                price,
            },
        });
    }
    books
}

fn operation(step: &Step, at: Timestamp) -> Option<Operation> {
    let id = |request: usize| RequestId::from_uuid(Uuid::from_u128(request as u128 + 1));
    let hold = |prompt: u64, completion: u64| Hold {
        total: Tokens::new(prompt + completion),
        prompt: Tokens::new(prompt),
        completion: Tokens::new(completion),
    };
    Some(match step {
        Step::Reserve {
            request,
            subjects,
            model,
            prompt,
            completion,
            least,
        } => Operation::Reserve(Reserve {
            id: id(*request),
            at,
            subjects: subjects.iter().copied().map(subject).collect(),
            hold: hold(*prompt, *completion),
            least: Tokens::new(*least),
            call: CallInfo::new(
                UserId::from_uuid(Uuid::nil()),
                ProjectId::from_uuid(Uuid::nil()),
                "chat",
                MODELS[*model],
            ),
            owner: None,
        }),
        Step::Extend {
            request,
            version,
            prompt,
            completion,
        } => Operation::Extend(Extend {
            id: id(*request),
            version: *version,
            hold: hold(*prompt, *completion),
        }),
        Step::Settle {
            request,
            usage: (prompt, completion, cached),
            source,
        } => {
            let usage = Usage {
                prompt: *prompt,
                completion: *completion,
                cached: *cached,
                reasoning: 0,
            };
            Operation::Settle(Settle {
                source: *source,
                ..Settle::upstream(id(*request), at, usage)
            })
        }
        Step::Refund { request } => Operation::Refund(Refund {
            id: id(*request),
            at,
        }),
        Step::Limit { .. } | Step::Wait { .. } => return None,
    })
}

/// What stands on every counter.
fn balances(books: &MemoryBooks) -> HashMap<CounterKey, Balance> {
    let written = books
        .counters()
        .filter(|(_, balance)| **balance != Balance::default());
    written
        .map(|(key, balance)| (key.clone(), *balance))
        .collect()
}

/// Checks what must hold between any two operations, counter by counter.
fn check(books: &MemoryBooks) -> Result<(), TestCaseError> {
    for (key, balance) in books.counters() {
        let entries = || books.ledger().iter().filter(|entry| entry.counter == *key);
        let charges: i64 = entries().map(|entry| entry.charge).sum();
        let overages: i64 = entries().map(|entry| entry.overage).sum();
        let pending = books
            .reservations()
            .filter(|(_, one)| one.state == State::Pending && one.counters.contains(key));
        let held: u64 = pending.map(|(_, one)| one.held(key).get()).sum();
        prop_assert_eq!(
            balance.used.as_i64(),
            charges,
            "used is the sum of the charges"
        );
        prop_assert_eq!(
            balance.overage.as_i64(),
            overages,
            "overage that of the overages"
        );
        prop_assert_eq!(
            balance.reserved.get(),
            held,
            "reserved that of the pending holds"
        );
    }
    Ok(())
}

/// Checks that a counter is within its limit, if more was taken from it.
fn within(books: &MemoryBooks, key: &CounterKey, before: &Counter) -> Result<(), TestCaseError> {
    let counter = rules::counter(books, key);
    let taken = counter.used.saturating_add(counter.reserved);
    let grew = taken > before.used.saturating_add(before.reserved);
    prop_assert!(
        !grew || counter.limit.is_none_or(|limit| taken <= limit),
        "overshoot of {}: {:?}",
        key,
        counter
    );
    Ok(())
}

/// Checks an outcome against the books before and after it.
fn judge(
    before: &MemoryBooks,
    after: &MemoryBooks,
    operation: &Operation,
    outcome: &Outcome,
) -> Result<(), TestCaseError> {
    let known = before.reservation(operation.id());
    let now = after.reservation(operation.id());
    let state = |reservation: Option<&Reservation>| reservation.map(|known| known.state);
    let unchanged = balances(before) == balances(after) && before.ledger() == after.ledger();
    match (operation, outcome) {
        (Operation::Reserve(reserve), Outcome::Granted(grant)) => {
            if let Some(known) = known {
                prop_assert_eq!(grant.hold, known.hold.total, "the first grant stands");
                prop_assert!(grant.repeated && unchanged, "and nothing is held anew");
                return Ok(());
            }
            prop_assert!(grant.hold >= reserve.least && grant.hold <= reserve.hold.total);
            let Some(now) = now else {
                return Err(TestCaseError::fail("what is granted is kept"));
            };
            for key in &now.counters {
                within(after, key, &rules::counter(before, key))?;
            }
            if grant.hold < reserve.hold.total {
                let more = reserve.hold.cut(grant.hold.saturating_add(Tokens::new(1)));
                let fits = now.counters.iter().all(|key| {
                    now.tariff.of_hold(key.unit, &more) <= rules::counter(before, key).room()
                });
                prop_assert!(!fits, "what there is room for is granted");
            }
        }
        (Operation::Reserve(reserve), Outcome::Denied(denial)) => {
            prop_assert!(known.is_none(), "what was granted is not denied later");
            prop_assert!(unchanged, "a denial changes nothing");
            if denial.reason == llm_gate::store::DenialReason::Exhausted {
                let counter = rules::counter(before, &denial.counter);
                prop_assert!(
                    counter.room() < denial.asked,
                    "there was room: {:?}",
                    counter
                );
                prop_assert!(denial.fits < reserve.least);
            }
        }
        (Operation::Extend(extend), Outcome::Extended(grant)) => {
            let Some(known) = known else {
                return Err(TestCaseError::fail("nothing was reserved"));
            };
            prop_assert_eq!(known.state, State::Pending);
            prop_assert_eq!(grant.repeated, extend.version <= known.version);
            if grant.repeated {
                prop_assert_eq!(grant.hold, known.hold.total, "the hold in force");
                prop_assert!(unchanged, "a repetition changes nothing");
                return Ok(());
            }
            prop_assert_eq!(grant.hold, extend.hold.total, "all or nothing");
            for key in &known.counters {
                within(after, key, &rules::counter(before, key))?;
            }
        }
        (Operation::Extend(extend), Outcome::Denied(denial)) => {
            prop_assert!(unchanged, "a denial changes nothing");
            prop_assert_eq!(known, now);
            prop_assert!(denial.asked > Amount::ZERO, "giving back is not denied");
            prop_assert!(denial.standing.room() < denial.asked, "there was room");
            prop_assert!(denial.fits < extend.hold.total);
        }
        (Operation::Extend(_), Outcome::Settled(settlement)) => {
            let ended = known.is_some_and(|known| known.state != State::Pending);
            prop_assert!(
                ended && settlement.repeated && unchanged,
                "it comes too late"
            );
        }
        (_, Outcome::Unknown) => {
            prop_assert!(known.is_none() && unchanged, "the unknown changes nothing");
        }
        (Operation::Settle(settle), Outcome::Settled(settlement)) => {
            let moved = state(known) != state(now);
            prop_assert_eq!(settlement.repeated, !moved, "it is settled once");
            prop_assert!(moved || unchanged, "a repetition changes nothing");
            let next = matches!(
                (state(known), state(now)),
                (
                    Some(State::Pending),
                    Some(State::Settled(_) | State::Void | State::Expired(_))
                ) | (Some(State::Expired(_)), Some(State::Corrected(_)))
                    | (Some(State::Refunded), Some(State::Late(_)))
            );
            prop_assert_eq!(next, moved, "{:?} to {:?}", state(known), state(now));
            let plain = known.is_some_and(|known| known.tariff.is_default());
            if moved && plain && settle.source == Source::Upstream {
                let sum = settlement.charged.saturating_add(settlement.overage);
                prop_assert_eq!(sum, settle.charge, "nothing of a charge is lost");
            }
        }
        (Operation::Refund(_), Outcome::Settled(settlement)) => {
            let moved = state(known) != state(now);
            let presumed = matches!(state(known), Some(State::Expired(_)));
            prop_assert_eq!(moved, presumed, "only what was presumed is taken back");
            prop_assert!(moved != settlement.repeated && moved != unchanged);
        }
        other => prop_assert!(false, "no such outcome: {:?}", other),
    }
    Ok(())
}

fn limit(step: &Step, at: Timestamp) -> Option<LimitChange> {
    let Step::Limit {
        subject: number,
        model,
        unit,
        period,
        amount,
        only_down,
    } = step
    else {
        return None;
    };
    Some(LimitChange {
        key: LimitKey {
            subject: subject(*number),
            model: model.map(|model| MODELS[model].into()),
            unit: *unit,
            period: *period,
        },
        zone: Zone::UTC,
        amount: amount.map(Amount::new),
        only_down: *only_down,
        author: Author::system(at),
    })
}

proptest! {
    #[test]
    fn no_sequence_of_operations_overshoots_or_unbalances(
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        let mut books = books();
        let mut at = 1_767_225_600_000_000;
        for step in &steps {
            if let Step::Wait { seconds } = step {
                at += seconds * 1_000_000;
            }
            let now = Timestamp::from_micros(at);
            if let Some(change) = limit(step, now) {
                books.change_limit(&change);
            }
            if let Some(operation) = operation(step, now) {
                let before = books.clone();
                let outcome = books.apply(&operation);
                judge(&before, &books, &operation, &outcome)?;
            }
            check(&books)?;
        }
        prop_assert!(books.totals().balance());
    }
}

#[test]
fn what_is_removed_is_removed_from_its_own_window() {
    let mut books = MemoryBooks::default();
    let key = LimitKey {
        subject: subject(0),
        model: None,
        unit: Unit::Tokens,
        period: Period::Day,
    };
    // 2026-05-04 22:30 UTC, which is past midnight in Berlin.
    let at = Timestamp::from_micros(1_777_933_800_000_000);
    let set = LimitChange {
        key: key.clone(),
        zone: "Europe/Berlin".parse().expect("a zone"),
        amount: Some(Amount::new(10)),
        only_down: false,
        author: Author::system(at),
    };
    books.change_limit(&set);
    books.change_limit(&LimitChange::remove(key, Author::system(at)));
    let starts: Vec<i64> = books
        .ledger()
        .iter()
        .map(|entry| entry.counter.start.as_micros())
        .collect();
    assert_eq!(
        starts, [1_777_932_000_000_000; 2],
        "midnight in Berlin, both times"
    );
}
