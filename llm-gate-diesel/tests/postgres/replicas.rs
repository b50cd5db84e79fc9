//! Several stores on one database, as the processes of a larger installation are.

use std::sync::Arc;

use llm_gate::identity::{Subject, UserId};
use llm_gate::store::{LedgerStore, Operation, Outcome};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore};
use tokio::sync::Barrier;

use crate::support::{granted, limited, reserve, settle, share_one_budget};
use crate::watch::{Outside, WAITING};

async fn stores(config: &PgConfig) -> [PgStore; 4] {
    let open = || async { PgStore::open(config.clone()).await.unwrap() };
    [open().await, open().await, open().await, open().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_stores_share_one_budget() {
    share_one_budget(&stores(&postgres::config().await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_that_cross_are_all_decided() {
    let stores = stores(&postgres::config().await).await;
    // Counters that nobody has made yet, named in every order.
    let subjects: Vec<Subject> = (0..12).map(|_| Subject::User(UserId::new())).collect();
    let tasks: Vec<_> = (0..8)
        .map(|task: usize| {
            let (store, subjects) = (stores[task % 4].clone(), subjects.clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let holds: Vec<_> = (0..20)
                        .map(|number| {
                            let mut hold =
                                reserve(subjects[(task * 5 + round + number * 7) % 12], 10);
                            hold.subjects
                                .push(subjects[(task + round * 5 + number) % 12]);
                            hold
                        })
                        .collect();
                    let ends: Vec<_> = holds.iter().map(|hold| settle(hold.id, 3)).collect();
                    let batch = holds.into_iter().map(Operation::Reserve).collect();
                    for outcome in store.apply(batch).await.unwrap() {
                        assert!(matches!(outcome, Outcome::Granted(_)), "there is no limit");
                    }
                    for outcome in store.apply(ends).await.unwrap() {
                        assert!(matches!(outcome, Outcome::Settled(_)), "it was granted");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let totals = stores[0].totals().await.unwrap();
    assert!(totals.balance(), "the books balance: {totals:?}");
    assert_eq!(totals.settled, 8 * 10 * 20, "everything was settled, once");
    assert_eq!(totals.counters_reserved, 0, "nothing is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_request_reserved_and_settled_everywhere_at_once_counts_once() {
    let stores = stores(&postgres::config().await).await;
    let subject = limited(&stores[0], 100).await;
    for subjects in [vec![subject], vec![]] {
        let mut hold = reserve(subject, 60);
        hold.subjects = subjects;
        let barrier = Arc::new(Barrier::new(8));
        let tasks: Vec<_> = (0..8)
            .map(|number: usize| {
                let (store, barrier) = (stores[number % 4].clone(), Arc::clone(&barrier));
                let hold = hold.clone();
                tokio::spawn(async move {
                    barrier.wait().await;
                    let first = granted(&store, &hold).await;
                    let end = store.apply(vec![settle(hold.id, 20)]).await.unwrap();
                    (first, end)
                })
            })
            .collect();
        let mut settled = 0;
        for task in tasks {
            let (granted, end) = task.await.unwrap();
            assert!(granted, "the first answer stands for all");
            settled += match &end[..] {
                [Outcome::Settled(end)] => usize::from(!end.repeated),
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(settled, 1, "one of them settled it");
    }
    let standing = stores[0].standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(20), Tokens::ZERO),
        "charged once"
    );
    assert!(stores[0].totals().await.unwrap().balance());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_grant_obeys_the_limit_in_force_when_its_turn_comes() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    let (outside, observer) = (Outside::of(&config).await, Outside::of(&config).await);
    let subject = limited(&store, 100).await;
    for (limit, expected) in [(59, false), (60, true)] {
        outside
            .run("BEGIN; SELECT id FROM counters FOR UPDATE")
            .await;
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { granted(&store, &reserve(subject, 60)).await }
        });
        observer.until(1, WAITING).await;
        let change = format!("UPDATE limits SET amount = {limit}; COMMIT");
        outside.run(&change).await;
        assert_eq!(
            waiting.await.unwrap(),
            expected,
            "60 of {limit}, which was 100 or less when it was asked for"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_opened_at_once_migrate_once() {
    let cluster = postgres::Cluster::start(&[]).await;
    let config = cluster.empty_database().await;
    let barrier = Arc::new(Barrier::new(16));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (config, barrier) = (config.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                PgStore::open(config).await
            })
        })
        .collect();
    for task in tasks {
        let store = task.await.unwrap().expect("every one of them opens");
        assert!(
            store.totals().await.unwrap().balance(),
            "and finds the tables"
        );
    }
}
