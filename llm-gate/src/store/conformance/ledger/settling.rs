//! Charges, voids and what exceeds a hold.

use crate::identity::RequestId;
use crate::store::conformance::support::{
    balances, denied, done, granted, reserve, settle, settled, somebody, stands, tokens,
    try_reserve, try_settle, void, with_limit,
};
use crate::store::{LedgerStore, Outcome, Settlement, Totals};
use crate::tokens::Tokens;

/// Only what was used stays charged.
pub async fn settling_gives_the_rest_back<S: LedgerStore>(store: S) {
    let (one, two) = (with_limit(&store, 100).await, somebody());
    let hold = reserve(&[one, two], 80);
    granted(&store, &hold).await;
    let settlement = settled(&store, &settle(hold.id, 30)).await;
    let expected = Settlement {
        charged: tokens(30),
        overage: Tokens::ZERO,
        cost: Tokens::ZERO,
        repeated: false,
    };
    assert_eq!(settlement, expected, "the charge fits into the hold");
    stands(&store, one, (30, 0, 0)).await;
    stands(&store, two, (30, 0, 0)).await;
    granted(&store, &reserve(&[one], 70)).await;
    balances(&store).await;
}

/// A settlement whose acknowledgement was lost is sent again.
pub async fn settling_counts_once<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 50);
    granted(&store, &hold).await;
    let first = settled(&store, &settle(hold.id, 80)).await;
    for _ in 0..3 {
        let again = settled(&store, &settle(hold.id, 80)).await;
        assert!(again.repeated, "it says that it changed nothing");
        assert_eq!(
            (again.charged, again.overage),
            (first.charged, first.overage),
            "and what it was"
        );
    }
    stands(&store, subject, (80, 0, 0)).await;
    assert_eq!(
        done(store.totals().await).settled,
        1,
        "one reservation is settled"
    );
    balances(&store).await;
}

/// Nothing was served, nothing is charged.
pub async fn a_void_gives_everything_back<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 100);
    granted(&store, &hold).await;
    let settlement = settled(&store, &void(hold.id)).await;
    assert_eq!(
        (settlement.charged, settlement.overage),
        (Tokens::ZERO, Tokens::ZERO),
        "no charge"
    );
    assert!(
        settled(&store, &void(hold.id)).await.repeated,
        "a void counts once too"
    );
    stands(&store, subject, (0, 0, 0)).await;
    let totals = done(store.totals().await);
    assert_eq!(
        (totals.pending, totals.settled),
        (0, 0),
        "it is neither pending nor settled"
    );
    granted(&store, &reserve(&[subject], 100)).await;
    balances(&store).await;
}

/// A reservation ends once, for ever, whatever else is said of it later.
pub async fn the_first_ending_stands<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (charged, voided) = (reserve(&[subject], 10), reserve(&[subject], 10));
    granted(&store, &charged).await;
    granted(&store, &voided).await;
    settled(&store, &settle(charged.id, 7)).await;
    settled(&store, &void(voided.id)).await;
    let after = settled(&store, &void(charged.id)).await;
    assert_eq!(
        (after.charged, after.repeated),
        (tokens(7), true),
        "a charge cannot be voided"
    );
    let after = settled(&store, &settle(voided.id, 9)).await;
    assert_eq!(
        (after.charged, after.repeated),
        (Tokens::ZERO, true),
        "a void cannot be charged"
    );
    let after = settled(&store, &settle(charged.id, 9)).await;
    assert_eq!(
        (after.charged, after.repeated),
        (tokens(7), true),
        "nor a charge changed"
    );
    stands(&store, subject, (7, 0, 0)).await;
    balances(&store).await;
}

/// Served and free is not the same as not served.
pub async fn a_charge_of_nothing_is_settled_and_not_void<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 10);
    granted(&store, &hold).await;
    settled(&store, &settle(hold.id, 0)).await;
    assert_eq!(done(store.totals().await).settled, 1, "the books count it");
    stands(&store, subject, (0, 0, 0)).await;
    balances(&store).await;
}

/// There is no error in it, and no change.
pub async fn settling_the_unknown_is_unknown<S: LedgerStore>(store: S) {
    let unknown = RequestId::new();
    assert_eq!(
        try_settle(&store, &settle(unknown, 5)).await,
        Outcome::Unknown,
        "nothing is held"
    );
    assert_eq!(
        try_settle(&store, &void(unknown)).await,
        Outcome::Unknown,
        "nothing to give back"
    );
    assert_eq!(
        done(store.totals().await),
        Totals::default(),
        "the books stay empty"
    );
}

/// Nothing that was used is forgotten.
pub async fn an_excess_goes_into_the_room_and_then_into_the_overage<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (first, second) = (reserve(&[subject], 30), reserve(&[subject], 20));
    granted(&store, &first).await;
    granted(&store, &second).await;
    let settlement = settled(&store, &settle(first.id, 60)).await;
    assert_eq!(
        settlement.overage,
        Tokens::ZERO,
        "30 from the hold, 30 from the room of 50"
    );
    stands(&store, subject, (60, 20, 0)).await;
    let settlement = settled(&store, &settle(second.id, 55)).await;
    assert_eq!(
        (settlement.charged, settlement.overage),
        (tokens(40), tokens(15)),
        "20 from the hold, the room's last 20, and 15 beyond"
    );
    stands(&store, subject, (100, 0, 15)).await;
    denied(&store, &reserve(&[subject], 1)).await;
    balances(&store).await;
}

/// Each counter books its own excess; the answer shows the worst.
pub async fn an_overage_is_that_of_the_tightest_counter<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 30).await);
    let hold = reserve(&[wide, tight], 20);
    granted(&store, &hold).await;
    let settlement = settled(&store, &settle(hold.id, 45)).await;
    assert_eq!(
        (settlement.charged, settlement.overage),
        (tokens(30), tokens(15)),
        "as on the tight one"
    );
    stands(&store, wide, (45, 0, 0)).await;
    stands(&store, tight, (30, 0, 15)).await;
    let again = settled(&store, &settle(hold.id, 45)).await;
    assert_eq!(
        (again.charged, again.overage),
        (tokens(30), tokens(15)),
        "a repetition says the same"
    );
    balances(&store).await;
}

/// What was granted may be used, whatever became of the limit since.
pub async fn a_hold_pays_for_itself_when_the_limit_was_lowered<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 60);
    granted(&store, &hold).await;
    done(store.set_limit(subject, Some(tokens(10))).await);
    let settlement = settled(&store, &settle(hold.id, 65)).await;
    assert_eq!(
        (settlement.charged, settlement.overage),
        (tokens(60), tokens(5)),
        "the hold is honoured, what exceeds it is not"
    );
    stands(&store, subject, (60, 0, 5)).await;
    balances(&store).await;
}

/// The books agree in every state of every reservation, and the sums are those of the operations.
pub async fn the_totals_balance<S: LedgerStore>(store: S) {
    let (one, two) = (with_limit(&store, 100).await, somebody());
    let holds: Vec<_> = (0..4).map(|_| reserve(&[one, two], 20)).collect();
    for hold in &holds {
        granted(&store, hold).await;
    }
    settled(&store, &settle(holds[0].id, 5)).await;
    settled(&store, &settle(holds[1].id, 70)).await;
    settled(&store, &void(holds[2].id)).await;
    try_reserve(&store, &reserve(&[one], 1_000)).await;
    let totals = done(store.totals().await);
    let expected = Totals {
        // On the first counter 5 + 20 + 35 of room; the second has no limit.
        counters_used: 60 + 75,
        ledger_charges: 60 + 75,
        counters_overage: 15,
        ledger_overages: 15,
        counters_reserved: 40,
        pending_holds: 40,
        pending: 1,
        settled: 2,
    };
    assert_eq!(totals, expected, "every figure is the sum of what happened");
    assert!(totals.balance(), "so they balance");
}
