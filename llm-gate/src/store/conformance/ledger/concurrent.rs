use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;

use crate::identity::Subject;
use crate::store::conformance::support::{
    balances, done, race, reserve, settle, somebody, stands, tokens, try_reserve, try_settle,
    with_limit,
};
use crate::store::{LedgerStore, Operation, Outcome};

/// No overshoot, and nothing stranded: exactly as many are granted as fit, and no reader ever sees more.
pub async fn a_budget_for_a_hundred_grants_a_hundred<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 1_000).await;
    let store = Arc::new(store);
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        async move {
            while !over.load(Ordering::Acquire) {
                let standing = done(store.standing(subject).await);
                let taken = standing.used.saturating_add(standing.reserved);
                assert!(
                    taken <= tokens(1_000),
                    "a reader sees {taken} of 1000 taken"
                );
                tokio::task::yield_now().await;
            }
        }
    };
    let watcher = tokio::spawn(watcher);
    let granted = race(&store, 400, |store, number| async move {
        let asked = reserve(&[subject], 10);
        let granted = matches!(try_reserve(&*store, &asked).await, Outcome::Granted(_));
        if granted && number % 2 == 0 {
            try_settle(&*store, &settle(asked.id, 10)).await;
        }
        granted
    })
    .await;
    over.store(true, Ordering::Release);
    watcher
        .await
        .expect("no reader ever sees more than the limit");
    let granted = granted.into_iter().filter(|granted| *granted).count();
    assert_eq!(
        granted, 100,
        "a budget for a hundred is granted a hundred times"
    );
    let standing = done(store.standing(subject).await);
    let taken = standing.used.saturating_add(standing.reserved);
    assert_eq!(taken, tokens(1_000), "to the last token");
    balances(&*store).await;
}

/// One request is settled once, however many say so at the same time.
pub async fn of_racing_settlements_one_counts<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 50);
    try_reserve(&store, &hold).await;
    let store = Arc::new(store);
    let id = hold.id;
    let first = race(&store, 32, |store, _| async move {
        match try_settle(&*store, &settle(id, 30)).await {
            Outcome::Settled(settlement) => !settlement.repeated,
            other => panic!("a reservation can be settled, not {other:?}"),
        }
    })
    .await;
    let first = first.into_iter().filter(|first| *first).count();
    assert_eq!(first, 1, "one settles, the others repeat it");
    stands(&*store, subject, (30, 0, 0)).await;
    balances(&*store).await;
}

/// One request holds once.
pub async fn of_racing_reservations_under_one_id_one_holds<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let store = Arc::new(store);
    let asked = reserve(&[subject], 30);
    let granted = race(&store, 32, |store, _| {
        let asked = asked.clone();
        async move { matches!(try_reserve(&*store, &asked).await, Outcome::Granted(_)) }
    })
    .await;
    assert!(!granted.contains(&false), "all are told of the one grant");
    stands(&*store, subject, (0, 30, 0)).await;
    balances(&*store).await;
}

/// Whatever order the subjects are named in, nobody waits for ever.
pub async fn crossing_subjects_do_not_lock_each_other_out<S: LedgerStore>(store: S) {
    let subjects: [Subject; 3] = [somebody(), somebody(), somebody()];
    let store = Arc::new(store);
    race(&store, 48, |store, number| async move {
        let mut named = subjects;
        named.rotate_left(number % 3);
        if number % 2 == 0 {
            named.reverse();
        }
        let asked = reserve(&named, 2);
        let granted = matches!(try_reserve(&*store, &asked).await, Outcome::Granted(_));
        assert!(granted, "there is no limit");
        try_settle(&*store, &settle(asked.id, 1)).await;
    })
    .await;
    for subject in subjects {
        stands(&*store, subject, (48, 0, 0)).await;
    }
    balances(&*store).await;
}

/// A caller that goes away leaves the books in order, and can find out what became of its call.
pub async fn a_dropped_call_happens_as_a_whole_or_not_at_all<S: LedgerStore>(store: S) {
    let (one, two) = (somebody(), somebody());
    for _ in 0..16 {
        let asked = reserve(&[one, two], 1);
        let batch = vec![
            Operation::Reserve(asked.clone()),
            Operation::Settle(settle(asked.id, 1)),
        ];
        // Polled once and dropped.
        let _ = store.apply(batch.clone()).now_or_never();
        balances(&store).await;
        // Repeating it is safe.
        done(store.apply(batch).await);
    }
    stands(&store, one, (16, 0, 0)).await;
    stands(&store, two, (16, 0, 0)).await;
    balances(&store).await;
}
