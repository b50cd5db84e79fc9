//! Holds that change while their request runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::identity::RequestId;
use crate::store::conformance::support::{
    apply, balances, denied, done, extend, extended, granted, race, reserve, settle, settled,
    somebody, stands, tokens, try_extend, try_settle, void, with_limit,
};
use crate::store::{DenialReason, LedgerStore, Operation, Outcome, Settle, Source};

/// The hold is set, not added to.
pub async fn a_hold_grows_into_the_room<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 50).await);
    let hold = reserve(&[wide, tight], 30);
    granted(&store, &hold).await;
    let grant = extended(&store, extend(hold.id, 1, 50)).await;
    assert_eq!(
        (grant.hold, grant.repeated),
        (tokens(50), false),
        "to the last token"
    );
    assert_eq!(
        grant.standing.remaining(),
        Some(tokens(0)),
        "the standing is the tightest counter's"
    );
    stands(&store, wide, (0, 50, 0)).await;
    stands(&store, tight, (0, 50, 0)).await;
    denied(&store, &reserve(&[tight], 1)).await;
    balances(&store).await;
}

/// Giving back needs no room.
pub async fn a_hold_shrinks_always<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 80);
    granted(&store, &hold).await;
    done(store.set_limit(subject, Some(tokens(10))).await);
    let grant = extended(&store, extend(hold.id, 1, 60)).await;
    assert_eq!(grant.hold, tokens(60), "also above a lowered limit");
    stands(&store, subject, (0, 60, 0)).await;
    assert_eq!(
        extended(&store, extend(hold.id, 2, 60)).await.hold,
        tokens(60),
        "nor does staying"
    );
    extended(&store, extend(hold.id, 3, 0)).await;
    stands(&store, subject, (0, 0, 0)).await;
    balances(&store).await;
}

/// What refused is told, and how much it has left.
pub async fn a_hold_that_has_no_room_to_grow_stays_as_it_was<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (hold, other) = (reserve(&[subject], 30), reserve(&[subject], 50));
    granted(&store, &hold).await;
    granted(&store, &other).await;
    let Outcome::Denied(denial) = try_extend(&store, extend(hold.id, 1, 51)).await else {
        panic!("there is room for 20 more, not for 21")
    };
    assert_eq!(
        (denial.counter.subject, denial.reason),
        (subject, DenialReason::Exhausted),
        "for want of tokens"
    );
    assert_eq!(denial.standing.room(), tokens(20), "this is what is left");
    stands(&store, subject, (0, 80, 0)).await;
    extended(&store, extend(hold.id, 2, 50)).await;
    stands(&store, subject, (0, 100, 0)).await;
    balances(&store).await;
}

/// Of three counters each may be the one without room.
pub async fn a_hold_grows_on_all_counters_or_on_none<S: LedgerStore>(store: S) {
    for tight in 0..3 {
        let mut subjects = [somebody(), somebody(), somebody()];
        for (at, &subject) in subjects.iter().enumerate() {
            let limit = if at == tight { 39 } else { 100 };
            done(store.set_limit(subject, Some(tokens(limit))).await);
        }
        let refuses = subjects[tight];
        subjects.reverse();
        let hold = reserve(&subjects, 30);
        granted(&store, &hold).await;
        let Outcome::Denied(denial) = try_extend(&store, extend(hold.id, 1, 40)).await else {
            panic!("one of the three has no room")
        };
        assert_eq!(denial.counter.subject, refuses, "which one is told");
        for subject in subjects {
            stands(&store, subject, (0, 30, 0)).await;
        }
        settled(&store, &settle(hold.id, 30)).await;
    }
    balances(&store).await;
}

/// An extension that was overtaken comes too late.
pub async fn an_older_version_changes_nothing<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 30);
    granted(&store, &hold).await;
    extended(&store, extend(hold.id, 5, 60)).await;
    for (version, wanted) in [(0, 90), (1, 90), (4, 10), (5, 90)] {
        let grant = extended(&store, extend(hold.id, version, wanted)).await;
        assert_eq!(
            (grant.hold, grant.repeated),
            (tokens(60), true),
            "the hold in force, not that of version {version}"
        );
        stands(&store, subject, (0, 60, 0)).await;
    }
    balances(&store).await;
}

/// An extension whose acknowledgement was lost may be sent again.
pub async fn extending_again_gives_the_hold_in_force<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 30);
    granted(&store, &hold).await;
    let first = extended(&store, extend(hold.id, 1, 100)).await;
    let again = extended(&store, extend(hold.id, 1, 100)).await;
    assert!(again.repeated && !first.repeated, "marked as a repetition");
    assert_eq!(
        (again.hold, again.standing),
        (first.hold, first.standing),
        "though there is no room any more"
    );
    let reserved = granted(&store, &hold).await;
    assert!(
        reserved.repeated && reserved.hold == tokens(100),
        "so says the reserve"
    );
    stands(&store, subject, (0, 100, 0)).await;
    balances(&store).await;
}

/// A refusal leaves the version as it was.
pub async fn a_refused_version_may_be_tried_again<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 40).await;
    let hold = reserve(&[subject], 30);
    granted(&store, &hold).await;
    let asked = extend(hold.id, 1, 41);
    let refused = try_extend(&store, asked).await;
    assert!(matches!(refused, Outcome::Denied(_)), "{refused:?}");
    done(store.set_limit(subject, Some(tokens(41))).await);
    assert!(!extended(&store, asked).await.repeated, "now it fits");
    stands(&store, subject, (0, 41, 0)).await;
    balances(&store).await;
}

/// The end of a reservation is its end.
pub async fn what_has_ended_is_not_extended<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (charged, voided) = (reserve(&[subject], 10), reserve(&[subject], 10));
    granted(&store, &charged).await;
    granted(&store, &voided).await;
    settled(&store, &settle(charged.id, 7)).await;
    settled(&store, &void(voided.id)).await;
    for (id, charge) in [(charged.id, 7), (voided.id, 0)] {
        for hold in [0, 50] {
            let Outcome::Settled(settlement) = try_extend(&store, extend(id, 1, hold)).await else {
                panic!("it has ended, and the answer says so")
            };
            assert_eq!(
                (settlement.charged, settlement.repeated),
                (tokens(charge), true),
                "as it ended"
            );
        }
    }
    stands(&store, subject, (7, 0, 0)).await;
    balances(&store).await;
}

/// Nothing is held for a request that never reserved.
pub async fn extending_the_unknown_is_unknown<S: LedgerStore>(store: S) {
    let outcome = try_extend(&store, extend(RequestId::new(), 1, 10)).await;
    assert_eq!(outcome, Outcome::Unknown, "there is nothing to extend");
    balances(&store).await;
}

/// Whatever the hold has become, the end resolves the whole of it.
pub async fn a_settlement_gives_the_extended_hold_back<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    for (wanted, charge) in [(60, 55), (5, 5), (5, 9)] {
        let before = done(store.standing(subject).await).used.get();
        let hold = reserve(&[subject], 20);
        granted(&store, &hold).await;
        extended(&store, extend(hold.id, 1, wanted)).await;
        settled(&store, &settle(hold.id, charge)).await;
        stands(&store, subject, (before + charge, 0, 0)).await;
    }
    let hold = reserve(&[subject], 20);
    granted(&store, &hold).await;
    extended(&store, extend(hold.id, 1, 31)).await;
    settled(&store, &void(hold.id)).await;
    stands(&store, subject, (69, 0, 0)).await;
    balances(&store).await;
}

/// Nobody knows what was used: the hold in force is charged, not the first one.
pub async fn a_presumed_charge_is_the_extended_hold<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 20);
    granted(&store, &hold).await;
    extended(&store, extend(hold.id, 1, 70)).await;
    let presumed = Settle {
        source: Source::Presumed,
        ..settle(hold.id, 0)
    };
    settled(&store, &presumed).await;
    stands(&store, subject, (70, 0, 0)).await;
    balances(&store).await;
}

/// Reserve, extensions and settlement of one request may travel together.
pub async fn a_batch_extends_in_its_order<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (ends, stays) = (reserve(&[subject], 20), reserve(&[subject], 10));
    let outcomes = apply(
        &store,
        vec![
            Operation::Extend(extend(ends.id, 1, 50)),
            Operation::Reserve(ends.clone()),
            Operation::Extend(extend(ends.id, 1, 90)),
            Operation::Reserve(stays.clone()),
            Operation::Extend(extend(stays.id, 1, 11)),
            Operation::Extend(extend(ends.id, 2, 40)),
            Operation::Settle(settle(ends.id, 40)),
            Operation::Extend(extend(stays.id, 1, 12)),
            Operation::Extend(extend(stays.id, 2, 60)),
            Operation::Extend(extend(ends.id, 3, 1)),
        ],
    )
    .await;
    let held = |at: usize| match &outcomes[at] {
        Outcome::Granted(grant) | Outcome::Extended(grant) => Some(grant.hold.get()),
        _ => None,
    };
    let holds: Vec<_> = (0..outcomes.len()).map(held).collect();
    let expected = [
        None,
        Some(20),
        Some(90),
        Some(10),
        None,
        Some(40),
        None,
        Some(12),
        Some(60),
        None,
    ];
    assert_eq!(holds, expected, "each sees what those before it left");
    stands(&store, subject, (40, 60, 0)).await;
    balances(&store).await;
    settled(&store, &settle(stays.id, 60)).await;
    stands(&store, subject, (100, 0, 0)).await;
    balances(&store).await;
}

/// Whatever order they arrive in, the newest version is in force at the end.
pub async fn of_racing_extensions_the_newest_holds<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 1_000).await;
    let hold = reserve(&[subject], 100);
    granted(&store, &hold).await;
    let (store, id) = (Arc::new(store), hold.id);
    race(&store, 32, |store, number| async move {
        let version = number as u32 + 1;
        let wanted = 100 + u64::from(version * 7 % 50);
        extended(&*store, extend(id, version, wanted)).await;
    })
    .await;
    stands(&*store, subject, (0, 100 + 32 * 7 % 50, 0)).await;
    balances(&*store).await;
}

/// No reader ever sees more held than the limit, and no room is left that somebody asked for.
pub async fn racing_extensions_never_exceed_the_limit<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 1_000).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        let hold = reserve(&[subject], 10);
        granted(&store, &hold).await;
        ids.push(hold.id);
    }
    let store = Arc::new(store);
    let over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        async move {
            while !over.load(Ordering::Acquire) {
                let standing = done(store.standing(subject).await);
                let taken = standing.used.saturating_add(standing.reserved);
                assert!(taken <= tokens(1_000), "a reader sees {taken} of 1000");
                tokio::task::yield_now().await;
            }
        }
    });
    let grown = race(&store, 40, |store, number| {
        let id = ids[number];
        async move {
            let mut hold = 10;
            for version in 1..=5 {
                match try_extend(&*store, extend(id, version, hold + 10)).await {
                    Outcome::Extended(grant) => hold = grant.hold.get(),
                    Outcome::Denied(_) => {}
                    other => panic!("granted or denied, not {other:?}"),
                }
            }
            hold
        }
    })
    .await;
    over.store(true, Ordering::Release);
    watcher.await.expect("no reader ever sees more");
    assert_eq!(grown.iter().sum::<u64>(), 1_000, "to the last token");
    stands(&*store, subject, (0, 1_000, 0)).await;
    balances(&*store).await;
}

/// An extension comes before the end or too late, never in between.
pub async fn extensions_that_race_settlements_leave_nothing_held<S: LedgerStore>(store: S) {
    let (one, two) = (with_limit(&store, 10_000).await, somebody());
    let mut ids = Vec::new();
    for _ in 0..16 {
        let hold = reserve(&[one, two], 10);
        granted(&store, &hold).await;
        ids.push(hold.id);
    }
    let store = Arc::new(store);
    race(&store, 48, |store, number| {
        let (id, part) = (ids[number / 3], number % 3);
        async move {
            if part == 0 {
                try_settle(&*store, &settle(id, 10)).await;
                return;
            }
            let outcome = try_extend(&*store, extend(id, part as u32, 40 * part as u64)).await;
            let fine = match &outcome {
                Outcome::Extended(_) => true,
                Outcome::Settled(settlement) => settlement.repeated,
                _ => false,
            };
            assert!(fine, "extended or too late, not {outcome:?}");
        }
    })
    .await;
    stands(&*store, one, (160, 0, 0)).await;
    stands(&*store, two, (160, 0, 0)).await;
    balances(&*store).await;
}
