//! The rules of [`LedgerStore`].

mod concurrent;

pub use concurrent::*;

use super::rules;
use super::support::{
    apply, balances, denied, done, granted, reserve, settle, settled, somebody, stands, tokens,
    try_reserve, try_settle, void, with_limit,
};
use crate::identity::{ProjectId, RequestId, Subject, UserId};
use crate::store::{DenialReason, LedgerStore, Operation, Outcome, Settlement, Standing, Totals};
use crate::tokens::Tokens;

rules!(__ledger_rules where S: LedgerStore;
    a_subject_never_heard_of_stands_at_zero,
    a_limit_is_set_changed_and_removed,
    a_hold_is_taken_from_every_subject,
    a_hold_is_taken_from_all_or_none,
    a_denial_names_the_counter_that_refused,
    a_denial_leaves_nothing_behind,
    a_hold_is_clamped_to_the_room_but_not_below_the_least,
    the_last_token_can_be_spent,
    without_a_limit_nothing_is_denied,
    a_subject_named_twice_counts_once,
    kinds_of_subjects_are_apart,
    settling_gives_the_rest_back,
    settling_counts_once,
    a_void_gives_everything_back,
    the_first_ending_stands,
    a_charge_of_nothing_is_settled_and_not_void,
    settling_the_unknown_is_unknown,
    an_excess_goes_into_the_room_and_then_into_the_overage,
    an_overage_is_that_of_the_tightest_counter,
    a_limit_below_what_is_spent_grants_nothing,
    a_hold_pays_for_itself_when_the_limit_was_lowered,
    reserving_again_gives_the_same_grant,
    a_batch_that_is_repeated_changes_nothing,
    a_batch_goes_on_after_a_denial,
    the_order_in_the_batch_decides,
    a_batch_reserves_and_settles_in_its_order,
    an_empty_batch_is_no_error,
    a_large_batch_is_one_batch,
    the_largest_amounts_are_kept,
    the_totals_balance,
    a_budget_for_a_hundred_grants_a_hundred,
    of_racing_settlements_one_counts,
    of_racing_reservations_under_one_id_one_holds,
    crossing_subjects_do_not_lock_each_other_out,
    a_dropped_call_happens_as_a_whole_or_not_at_all,
);

/// A counter comes into being when it is needed.
pub async fn a_subject_never_heard_of_stands_at_zero<S: LedgerStore>(store: S) {
    let standing = done(store.standing(somebody()).await);
    assert_eq!(
        standing,
        Standing::default(),
        "nothing used, no limit, not frozen"
    );
    assert_eq!(
        done(store.totals().await),
        Totals::default(),
        "and the books are empty"
    );
}

/// The answer is the standing under the new limit.
pub async fn a_limit_is_set_changed_and_removed<S: LedgerStore>(store: S) {
    let subject = somebody();
    for limit in [
        Some(tokens(100)),
        Some(Tokens::ZERO),
        None,
        Some(tokens(7)),
        None,
    ] {
        let answered = done(store.set_limit(subject, limit).await);
        assert_eq!(answered.limit, limit, "the answer shows it");
        assert_eq!(
            done(store.standing(subject).await),
            answered,
            "and so does the next look"
        );
    }
    done(store.set_limit(subject, Some(tokens(5))).await);
    granted(&store, &reserve(&[subject], 3)).await;
    let answered = done(store.set_limit(subject, Some(tokens(50))).await);
    assert_eq!(answered.reserved, tokens(3), "a limit changes no balance");
}

/// Each counter holds the whole.
pub async fn a_hold_is_taken_from_every_subject<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 50).await);
    let free = somebody();
    let grant = granted(&store, &reserve(&[wide, free, tight], 30)).await;
    assert_eq!(grant.hold, tokens(30), "what was asked for");
    assert_eq!(
        grant.standing.remaining(),
        Some(tokens(20)),
        "and how the tightest stands after it"
    );
    for subject in [wide, free, tight] {
        stands(&store, subject, (0, 30, 0)).await;
    }
    balances(&store).await;
}

/// One counter without room keeps all others untouched, wherever it stands in the list.
pub async fn a_hold_is_taken_from_all_or_none<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 10).await);
    for subjects in [[wide, tight], [tight, wide]] {
        denied(&store, &reserve(&subjects, 11)).await;
        stands(&store, wide, (0, 0, 0)).await;
        stands(&store, tight, (0, 0, 0)).await;
    }
}

/// The client is told whose limit it was.
pub async fn a_denial_names_the_counter_that_refused<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 10).await);
    granted(&store, &reserve(&[wide, tight], 4)).await;
    let denial = denied(&store, &reserve(&[wide, tight], 7)).await;
    assert_eq!(denial.subject, tight, "the tight one refused");
    assert_eq!(denial.reason, DenialReason::Exhausted, "for want of tokens");
    assert_eq!(
        denial.standing.remaining(),
        Some(tokens(6)),
        "and this is what it has left"
    );
}

/// What was refused cannot be settled, is not in the totals, and may be asked for again.
pub async fn a_denial_leaves_nothing_behind<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let refused = reserve(&[subject], 11);
    denied(&store, &refused).await;
    assert_eq!(
        done(store.totals().await),
        Totals::default(),
        "no trace in the books"
    );
    assert_eq!(
        try_settle(&store, &settle(refused.id, 5)).await,
        Outcome::Unknown,
        "nothing to settle"
    );
    done(store.set_limit(subject, Some(tokens(11))).await);
    granted(&store, &refused).await;
}

/// Between the least and the whole, what fits is held.
pub async fn a_hold_is_clamped_to_the_room_but_not_below_the_least<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 40).await);
    let mut asked = reserve(&[wide, tight], 90);
    asked.least = tokens(41);
    denied(&store, &asked).await;
    asked.least = tokens(40);
    let grant = granted(&store, &asked).await;
    assert_eq!(grant.hold, tokens(40), "all that the tightest had left");
    stands(&store, wide, (0, 40, 0)).await;
    stands(&store, tight, (0, 40, 0)).await;
}

/// A hold may take the very last token, and not one more.
pub async fn the_last_token_can_be_spent<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let grant = granted(&store, &reserve(&[subject], 10)).await;
    assert_eq!(
        grant.standing.remaining(),
        Some(Tokens::ZERO),
        "nothing is left"
    );
    denied(&store, &reserve(&[subject], 1)).await;
    granted(&store, &reserve(&[subject], 0)).await;
}

/// Unlimited is counted all the same.
pub async fn without_a_limit_nothing_is_denied<S: LedgerStore>(store: S) {
    let subject = somebody();
    let hold = reserve(&[subject], 1 << 40);
    let grant = granted(&store, &hold).await;
    assert_eq!(grant.standing.limit, None, "there is no limit to show");
    settled(&store, &settle(hold.id, 1 << 40)).await;
    stands(&store, subject, (1 << 40, 0, 0)).await;
    balances(&store).await;
}

/// A list that names a subject twice holds once on it.
pub async fn a_subject_named_twice_counts_once<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject, subject], 60);
    granted(&store, &hold).await;
    stands(&store, subject, (0, 60, 0)).await;
    settled(&store, &settle(hold.id, 60)).await;
    stands(&store, subject, (60, 0, 0)).await;
    balances(&store).await;
}

/// An identifier alone is no subject.
pub async fn kinds_of_subjects_are_apart<S: LedgerStore>(store: S) {
    let user = UserId::new();
    let project = Subject::Project(ProjectId::from_uuid(*user.as_uuid()));
    let user = Subject::User(user);
    done(store.set_limit(user, Some(tokens(10))).await);
    let hold = reserve(&[project], 100);
    granted(&store, &hold).await;
    stands(&store, user, (0, 0, 0)).await;
    assert_eq!(
        done(store.standing(project).await).limit,
        None,
        "the limit is the user's"
    );
    settled(&store, &settle(hold.id, 100)).await;
    stands(&store, user, (0, 0, 0)).await;
    stands(&store, project, (100, 0, 0)).await;
}

/// Only what was used stays charged.
pub async fn settling_gives_the_rest_back<S: LedgerStore>(store: S) {
    let (one, two) = (with_limit(&store, 100).await, somebody());
    let hold = reserve(&[one, two], 80);
    granted(&store, &hold).await;
    let settlement = settled(&store, &settle(hold.id, 30)).await;
    let expected = Settlement {
        charged: tokens(30),
        overage: Tokens::ZERO,
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

/// A limit may be lowered below what is spent; then there is no room, and no less than none.
pub async fn a_limit_below_what_is_spent_grants_nothing<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (spent, held) = (reserve(&[subject], 50), reserve(&[subject], 30));
    granted(&store, &spent).await;
    granted(&store, &held).await;
    settled(&store, &settle(spent.id, 50)).await;
    let standing = done(store.set_limit(subject, Some(tokens(20))).await);
    assert_eq!(standing.remaining(), Some(Tokens::ZERO), "nothing is left");
    let mut any = reserve(&[subject], 10);
    any.least = tokens(1);
    denied(&store, &any).await;
    done(store.set_limit(subject, Some(tokens(81))).await);
    assert_eq!(
        granted(&store, &any).await.hold,
        tokens(1),
        "room is what the new limit leaves"
    );
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

/// A reservation whose acknowledgement was lost is sent again.
pub async fn reserving_again_gives_the_same_grant<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let mut asked = reserve(&[subject], 100);
    asked.least = tokens(1);
    granted(&store, &reserve(&[subject], 40)).await;
    let first = granted(&store, &asked).await;
    assert_eq!(first.hold, tokens(60), "clamped to the room");
    let again = granted(&store, &asked).await;
    assert_eq!(
        again, first,
        "the same grant, though there is no room any more"
    );
    stands(&store, subject, (0, 100, 0)).await;
    settled(&store, &settle(asked.id, 10)).await;
    let after = granted(&store, &asked).await;
    assert_eq!(after.hold, first.hold, "even after its end");
    stands(&store, subject, (10, 40, 0)).await;
    assert_eq!(
        done(store.totals().await).pending,
        1,
        "and nothing is held anew"
    );
    balances(&store).await;
}

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

/// Amounts up to 2^53 - 1 are exact.
pub async fn the_largest_amounts_are_kept<S: LedgerStore>(store: S) {
    let subject = somebody();
    let standing = done(store.set_limit(subject, Some(Tokens::MAX)).await);
    assert_eq!(standing.limit, Some(Tokens::MAX), "the largest limit");
    let hold = reserve(&[subject], Tokens::MAX.get());
    granted(&store, &hold).await;
    settled(&store, &settle(hold.id, Tokens::MAX.get() - 1)).await;
    stands(&store, subject, (Tokens::MAX.get() - 1, 0, 0)).await;
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
