//! A call that nobody waits for any more: it happens as a whole, and nothing of it stays behind.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::Poll;

use llm_gate::identity::Subject;
use llm_gate::store::{LedgerStore, Operation, StoreErrorKind};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore};

use crate::support::{granted, limited, reserve};
use crate::watch::{IN_TRANSACTION, Outside, WAITING};

async fn one_connection() -> (PgStore, PgConfig, Subject) {
    let config = postgres::config().await.connections(NonZeroUsize::MIN);
    let store = PgStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    (store, config, subject)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_is_committed_and_frees_its_connection() {
    let (store, config, subject) = one_connection().await;
    let (outside, observer) = (Outside::of(&config).await, Outside::of(&config).await);
    outside
        .run("BEGIN; SELECT id FROM counters FOR UPDATE")
        .await;
    let call = tokio::spawn({
        let store = store.clone();
        async move { granted(&store, &reserve(subject, 60)).await }
    });
    observer.until(1, WAITING).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled(), "nobody waits");
    outside.run("COMMIT").await;
    // The pool has one connection: it is free again when this answers.
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        standing.reserved,
        Tokens::new(60),
        "the transaction came to its end"
    );
    observer.until(0, IN_TRANSACTION).await;
    assert!(store.totals().await.unwrap().balance());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_dropped_anywhere_happens_as_a_whole_or_not_at_all() {
    let (store, config, subject) = one_connection().await;
    let observer = Outside::of(&config).await;
    for polls in 1..12 {
        let call = store.apply(vec![Operation::Reserve(reserve(subject, 1))]);
        let mut call = pin!(call);
        let mut left = polls;
        poll_fn(|context| {
            left -= 1;
            let done = call.as_mut().poll(context).is_ready();
            if done || left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
    observer.until(0, IN_TRANSACTION).await;
    let totals = store.totals().await.unwrap();
    assert!(totals.balance(), "nothing was done by halves: {totals:?}");
    assert_eq!(
        totals.counters_reserved, totals.pending,
        "a token a reservation"
    );
    assert!(granted(&store, &reserve(subject, 1)).await, "it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_costs_one_answer_and_ends_its_transaction() {
    let (store, config, subject) = one_connection().await;
    let observer = Outside::of(&config).await;
    let answer = store.on_connection::<()>(|connection| {
        diesel::connection::SimpleConnection::batch_execute(
            connection,
            "BEGIN; SELECT id FROM counters FOR UPDATE",
        )
        .unwrap();
        panic!("a defect")
    });
    let kind = answer.await.expect_err("the call has no answer").kind();
    assert_eq!(kind, StoreErrorKind::Other, "it is a defect");
    observer.until(0, IN_TRANSACTION).await;
    assert!(granted(&store, &reserve(subject, 1)).await, "it goes on");
}
