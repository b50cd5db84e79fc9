//! However many ask at once, nobody spends more than the limit, and nobody is kept from spending it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use scripted_vllm::{Figure, UsageMode};
use support::{Person, World, chat};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// What the gate adds to the bytes of a body for the chat template.
const ALLOWANCE: u64 = 64;
const OUTPUT: u64 = 10;

/// The most that `ask` can cost.
fn bound(ask: &support::Ask) -> u64 {
    ask.json().to_string().len() as u64 + ALLOWANCE + OUTPUT
}

/// Sends `count` equal calls at once and returns how many were answered with 200 and with 429.
async fn at_once(person: &Person, ask: &support::Ask, count: usize) -> (usize, usize) {
    let start = Arc::new(Barrier::new(count));
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (person, ask, start) = (person.clone(), ask.clone(), Arc::clone(&start));
        calls.spawn(async move {
            start.wait().await;
            let answer = person.chat(&ask).await;
            if answer.status == 429 {
                assert_eq!(answer.json()["error"]["code"], "insufficient_quota");
            }
            answer.status.as_u16()
        });
    }
    let statuses = calls.join_all().await;
    let with = |status| statuses.iter().filter(|other| **other == status).count();
    (with(200), with(429))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_at_once_spend_a_budget_for_one_hundred_exactly() {
    const CALLS: usize = 400;
    const FIT: u64 = 100;
    let world = World::builder()
        .vllm(|vllm| {
            vllm.usage = UsageMode::WholeBound {
                prompt: Figure::new(|asked| asked.body.len() as u64 + ALLOWANCE),
                completion: Figure::max_tokens(),
            };
        })
        .start()
        .await;
    let ask = chat("everything at once").max_tokens(OUTPUT);
    for round in 0..10 {
        let before = world.generated();
        let person = world.register_with(FIT * bound(&ask)).await;
        let (served, refused) = at_once(&person, &ask, CALLS).await;
        assert_eq!(
            (served, refused),
            (100, 300),
            "round {round}: exactly what fits"
        );
        world.settle().await;
        let used = world.used(&person).await;
        assert_eq!(
            used,
            FIT * bound(&ask),
            "round {round}: the budget is spent to the last token"
        );
        // It may have begun with one more, sent while its hold was being committed, and aborted when that was refused.
        assert!(
            used <= world.generated() - before,
            "round {round}: all of it was generated"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_of_the_books_ever_sees_more_than_the_limit() {
    const LIMIT: u64 = 4000;
    const CALLERS: usize = 16;
    let world = Arc::new(World::start().await);
    let person = world.register_with(LIMIT).await;
    let ask = chat("a little of everything").max_tokens(OUTPUT);
    // Each of them costs the same.
    let first = person.chat(&ask).await.json();
    let each = first["usage"]["total_tokens"].as_u64().expect("a number");
    let served = Arc::new(AtomicU64::new(1));

    let over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (world, over, subject) = (Arc::clone(&world), Arc::clone(&over), person.subject());
        async move {
            let mut looks = 0_u64;
            while !over.load(Ordering::SeqCst) {
                let seen = world.standing(subject).await;
                let taken = seen.used.get() + seen.reserved.get();
                assert!(taken <= LIMIT, "{taken} of {LIMIT} taken: {seen:?}");
                looks += 1;
            }
            looks
        }
    });

    // As long as something fits for somebody, somebody is served.
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (person, ask, served) = (person.clone(), ask.clone(), Arc::clone(&served));
        callers.spawn(async move {
            loop {
                let ask = if caller % 2 == 0 {
                    ask.clone()
                } else {
                    ask.clone().stream()
                };
                let answer = person.open(&ask).await;
                match answer.status.as_u16() {
                    200 => {
                        assert!(answer.to_end().await.whole, "served to the end");
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    429 => return,
                    other => panic!("{other}"),
                }
            }
        });
    }
    callers.join_all().await;
    world.settle().await;
    // The others were refused while holds were out; alone, the rest can be spent.
    while person.chat(&ask).await.status == 200 {
        served.fetch_add(1, Ordering::SeqCst);
        world.settle().await;
    }
    over.store(true, Ordering::SeqCst);
    assert!(
        watcher.await.expect("the limit held") > 0,
        "somebody has looked"
    );

    world.settle().await;
    let used = world.used(&person).await;
    assert_eq!(
        used,
        served.load(Ordering::SeqCst) * each,
        "what was served is what is charged"
    );
    // A call that was refused may have been begun meanwhile, and nobody is charged for it.
    assert!(
        used <= world.generated(),
        "nothing is charged that nobody generated"
    );
    assert!(used <= LIMIT);
    assert!(
        LIMIT - used < bound(&ask),
        "{} left, a call needs {}",
        LIMIT - used,
        bound(&ask)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_one_does_not_slow_down_another() {
    let world = World::start().await;
    let ask = chat("Hi").max_tokens(OUTPUT);
    let (poor, rich) = (world.register_with(1).await, world.register().await);
    let (all, none) = tokio::join!(at_once(&rich, &ask, 40), at_once(&poor, &ask, 40));
    assert_eq!(all, (40, 0));
    assert_eq!(none, (0, 40));
    world.settle().await;
    assert_eq!(world.used(&poor).await, 0);
    assert_eq!(world.used(&rich).await, world.generated());
}
