//! Batches.

use crate::identity::RequestId;
use crate::store::conformance::support::{
    apply, balances, done, reserve, settle, somebody, stands, tokens, void, with_limit,
};
use crate::store::{LedgerStore, Operation, Outcome};

/// The whole of a batch can be sent again.
pub async fn a_batch_that_is_repeated_changes_nothing<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let holds: Vec<_> = (0..5).map(|_| reserve(&[subject], 20)).collect();
    let mut batch: Vec<Operation> = holds.iter().cloned().map(Operation::Reserve).collect();
    batch.push(Operation::Settle(settle(holds[0].id, 25)));
    batch.push(Operation::Settle(void(holds[1].id)));
    let first = apply(&store, batch.clone()).await;
    let standing = done(store.standing(subject).await);
    let totals = done(store.totals().await);
    let again = apply(&store, batch).await;
    for (first, again) in first.iter().zip(&again) {
        match (first, again) {
            (Outcome::Granted(first), Outcome::Granted(again)) => {
                assert_eq!(first.hold, again.hold, "the same hold");
            }
            (Outcome::Settled(first), Outcome::Settled(again)) => {
                assert!(again.repeated && !first.repeated, "marked as a repetition");
                assert_eq!(
                    (first.charged, first.overage),
                    (again.charged, again.overage),
                    "the same charge"
                );
            }
            other => panic!("the same kind of outcome, not {other:?}"),
        }
    }
    assert_eq!(
        done(store.standing(subject).await),
        standing,
        "the counter stands as before"
    );
    assert_eq!(done(store.totals().await), totals, "and so do the books");
}

/// One caller's denial is no other's.
pub async fn a_batch_goes_on_after_a_denial<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let (too_much, fits) = (reserve(&[subject], 11), reserve(&[subject], 10));
    let batch = vec![
        Operation::Reserve(too_much),
        Operation::Settle(settle(RequestId::new(), 1)),
        Operation::Reserve(fits),
    ];
    let outcomes = apply(&store, batch).await;
    assert!(
        matches!(outcomes[0], Outcome::Denied(_)),
        "the first does not fit"
    );
    assert_eq!(outcomes[1], Outcome::Unknown, "the second is not known");
    assert!(
        matches!(outcomes[2], Outcome::Granted(_)),
        "the third has nothing to do with them"
    );
    stands(&store, subject, (0, 10, 0)).await;
}

/// First come, first served.
pub async fn the_order_in_the_batch_decides<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 25).await;
    let batch = (0..4)
        .map(|_| Operation::Reserve(reserve(&[subject], 10)))
        .collect();
    let outcomes = apply(&store, batch).await;
    let granted: Vec<bool> = outcomes
        .iter()
        .map(|outcome| matches!(outcome, Outcome::Granted(_)))
        .collect();
    assert_eq!(granted, [true, true, false, false], "the first two get it");
    let Outcome::Granted(first) = &outcomes[0] else {
        panic!("just checked")
    };
    assert_eq!(
        first.standing.remaining(),
        Some(tokens(15)),
        "each sees what its predecessors left"
    );
}

/// What one operation gives back, the next can take.
pub async fn a_batch_reserves_and_settles_in_its_order<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let (first, second) = (reserve(&[subject], 10), reserve(&[subject], 10));
    let batch = vec![
        Operation::Reserve(first.clone()),
        Operation::Settle(void(first.id)),
        Operation::Reserve(second.clone()),
        Operation::Settle(settle(second.id, 4)),
        Operation::Settle(settle(second.id, 9)),
    ];
    let outcomes = apply(&store, batch).await;
    assert!(
        matches!(outcomes[2], Outcome::Granted(_)),
        "the room was given back before it"
    );
    let Outcome::Settled(repeated) = &outcomes[4] else {
        panic!("a settlement")
    };
    assert!(repeated.repeated, "one batch may settle twice, too");
    stands(&store, subject, (4, 0, 0)).await;
    balances(&store).await;
}

/// Nothing to do is done.
pub async fn an_empty_batch_is_no_error<S: LedgerStore>(store: S) {
    assert!(
        apply(&store, Vec::new()).await.is_empty(),
        "no operations, no outcomes"
    );
}

/// A batch may be larger than a statement of the database.
pub async fn a_large_batch_is_one_batch<S: LedgerStore>(store: S) {
    let shared = with_limit(&store, 2_500).await;
    let holds: Vec<_> = (0..3_000)
        .map(|_| reserve(&[somebody(), shared], 1))
        .collect();
    let batch = holds.iter().cloned().map(Operation::Reserve).collect();
    let granted = apply(&store, batch)
        .await
        .into_iter()
        .filter(|outcome| matches!(outcome, Outcome::Granted(_)));
    assert_eq!(granted.count(), 2_500, "the limit holds across all of it");
    let batch = holds
        .iter()
        .map(|hold| Operation::Settle(settle(hold.id, 1)))
        .collect();
    let outcomes = apply(&store, batch).await;
    let settled = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Settled(_)))
        .count();
    assert_eq!(settled, 2_500, "and all that was granted is settled");
    stands(&store, shared, (2_500, 0, 0)).await;
    balances(&store).await;
}
