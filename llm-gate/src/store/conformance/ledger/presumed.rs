//! Owners that are not heard of any more, and what is charged of what they leave behind.

use std::time::Duration;

use crate::identity::{RequestId, Subject};
use crate::store::conformance::support::{
    START, apply, balances, denied, done, granted, later, reserve, settle, settled, somebody,
    stands, tokens, try_settle, void, with_limit,
};
use crate::store::{
    Ending, Extend, LedgerStore, Operation, Outcome, OwnerId, Refund, Reserve, Settle, Settlement,
    Source,
};
use crate::tokens::Tokens;

const LEASE: Duration = Duration::from_micros(15);
const GRACE: Duration = Duration::from_micros(30);

fn owned(subject: Subject, hold: u64, owner: OwnerId) -> Reserve {
    Reserve {
        owner: Some(owner),
        ..reserve(&[subject], hold)
    }
}

/// Charges the whole hold: nobody knows how far it had come.
fn presumed(id: RequestId) -> Settle {
    Settle {
        source: Source::Presumed,
        ending: Ending::Expired,
        ..settle(id, 0)
    }
}

async fn refund<S: LedgerStore>(store: &S, id: RequestId) -> Outcome {
    let refund = Refund { id, at: later(9) };
    let mut outcomes = apply(store, vec![Operation::Refund(refund)]).await;
    outcomes.remove(0)
}

/// As long as an owner is heard of, what it holds is its own business.
pub async fn only_an_owner_that_is_silent_for_long_is_given_up<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (alive, dead) = (
        done(store.enlist(START, LEASE).await),
        done(store.enlist(START, LEASE).await),
    );
    assert_ne!(alive, dead, "every process is somebody else");
    let (kept, left) = (owned(subject, 10, alive), owned(subject, 20, dead));
    let unowned = reserve(&[subject], 30);
    for hold in [&kept, &left, &unowned] {
        granted(&store, hold).await;
    }
    // The lease and the grace, to the last moment.
    assert!(done(store.orphans(later(45), GRACE, 9).await).is_empty());
    assert!(done(store.renew(alive, later(40), LEASE).await));
    let orphans = done(store.orphans(later(46), GRACE, 9).await);
    assert_eq!(orphans, [left.id], "of the one that is silent");
    assert!(
        !done(store.renew(dead, later(46), LEASE).await),
        "it is too late for it"
    );
    assert!(
        done(store.renew(alive, later(46), LEASE).await),
        "the other one goes on"
    );
    settled(&store, &presumed(left.id)).await;
    assert!(
        done(store.orphans(later(47), GRACE, 9).await).is_empty(),
        "settled is settled"
    );
    stands(&store, subject, (20, 40, 0)).await;
    balances(&store).await;
}

/// Many are listed a few at a time.
pub async fn orphans_are_listed_in_parts<S: LedgerStore>(store: S) {
    let subject = somebody();
    let owner = done(store.enlist(START, LEASE).await);
    for _ in 0..5 {
        granted(&store, &owned(subject, 1, owner)).await;
    }
    let mut seen = 0;
    loop {
        let some = done(store.orphans(later(100), GRACE, 2).await);
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= 2, "as many as were asked for");
        seen += some.len();
        for id in some {
            settled(&store, &presumed(id)).await;
        }
    }
    assert_eq!(seen, 5, "all of them in the end");
    stands(&store, subject, (5, 0, 0)).await;
}

/// A presumed charge is the whole hold, once, and nothing else can be had from it.
pub async fn what_is_presumed_is_the_hold<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject], 60);
    granted(&store, &hold).await;
    let first = settled(&store, &presumed(hold.id)).await;
    assert_eq!((first.charged, first.repeated), (tokens(60), false));
    let again = settled(&store, &presumed(hold.id)).await;
    assert_eq!((again.charged, again.repeated), (tokens(60), true), "once");
    stands(&store, subject, (60, 0, 0)).await;
    let extend = Operation::Extend(Extend {
        id: hold.id,
        version: 1,
        hold: tokens(70).into(),
    });
    let outcome = apply(&store, vec![extend]).await.remove(0);
    assert!(
        matches!(outcome, Outcome::Settled(Settlement { repeated: true, .. })),
        "it has ended"
    );
    denied(&store, &reserve(&[subject], 41)).await;
    balances(&store).await;
}

/// Figures that come to light correct what was presumed, up to and beyond it.
pub async fn what_was_presumed_is_corrected_once<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let holds: Vec<Reserve> = (0..3).map(|_| reserve(&[subject], 30)).collect();
    for hold in &holds {
        granted(&store, hold).await;
        settled(&store, &presumed(hold.id)).await;
    }
    stands(&store, subject, (90, 0, 0)).await;
    let less = settled(&store, &settle(holds[0].id, 7)).await;
    assert_eq!(
        (less.charged, less.overage),
        (tokens(7), Tokens::ZERO),
        "less was used"
    );
    stands(&store, subject, (67, 0, 0)).await;
    let none = settled(&store, &void(holds[1].id)).await;
    assert_eq!(none.charged, Tokens::ZERO, "nothing was");
    stands(&store, subject, (37, 0, 0)).await;
    let more = settled(&store, &settle(holds[2].id, 130)).await;
    assert_eq!(
        (more.charged, more.overage),
        (tokens(93), tokens(37)),
        "more than there is room"
    );
    stands(&store, subject, (100, 0, 37)).await;
    for (hold, charged) in holds.iter().zip([7, 0, 93]) {
        let again = settled(&store, &settle(hold.id, 1)).await;
        assert_eq!(
            (again.charged, again.repeated),
            (tokens(charged), true),
            "once"
        );
        let again = settled(&store, &presumed(hold.id)).await;
        assert!(again.repeated, "nor is it presumed again");
    }
    balances(&store).await;
}

/// A refund gives back what was presumed, and nothing else.
pub async fn only_what_is_presumed_can_be_refunded<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (lost, pending, done_with) = (
        reserve(&[subject], 30),
        reserve(&[subject], 10),
        reserve(&[subject], 20),
    );
    for hold in [&lost, &pending, &done_with] {
        granted(&store, hold).await;
    }
    settled(&store, &presumed(lost.id)).await;
    settled(&store, &settle(done_with.id, 15)).await;
    let Outcome::Settled(refunded) = refund(&store, lost.id).await else {
        panic!("it was presumed");
    };
    assert_eq!((refunded.charged, refunded.repeated), (Tokens::ZERO, false));
    stands(&store, subject, (15, 10, 0)).await;
    for other in [&lost, &pending, &done_with] {
        let Outcome::Settled(nothing) = refund(&store, other.id).await else {
            panic!("it is known");
        };
        assert!(nothing.repeated, "there is nothing to give back");
    }
    assert_eq!(refund(&store, RequestId::new()).await, Outcome::Unknown);
    stands(&store, subject, (15, 10, 0)).await;
    granted(&store, &reserve(&[subject], 75)).await;
    balances(&store).await;
}

/// A refund is final: what comes to light later is an overage, and is not forgotten.
pub async fn what_comes_to_light_after_a_refund_is_an_overage<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (used, unused) = (reserve(&[subject], 30), reserve(&[subject], 30));
    for hold in [&used, &unused] {
        granted(&store, hold).await;
        settled(&store, &presumed(hold.id)).await;
        refund(&store, hold.id).await;
    }
    let late = settled(&store, &settle(used.id, 12)).await;
    assert_eq!((late.charged, late.overage), (Tokens::ZERO, tokens(12)));
    stands(&store, subject, (0, 0, 12)).await;
    let again = settled(&store, &settle(used.id, 12)).await;
    assert!(again.repeated, "once");
    let nothing = try_settle(&store, &void(unused.id)).await;
    assert!(
        matches!(nothing, Outcome::Settled(Settlement { repeated: true, .. })),
        "nothing used is nothing new"
    );
    stands(&store, subject, (0, 0, 12)).await;
    balances(&store).await;
}

/// One batch may presume, refund and correct, in its order.
pub async fn a_batch_presumes_and_corrects_in_its_order<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (corrected, refunded) = (reserve(&[subject], 20), reserve(&[subject], 30));
    let at = later(9);
    let batch = vec![
        Operation::Reserve(corrected.clone()),
        Operation::Reserve(refunded.clone()),
        Operation::Settle(presumed(corrected.id)),
        Operation::Settle(presumed(refunded.id)),
        Operation::Refund(Refund {
            id: refunded.id,
            at,
        }),
        Operation::Settle(settle(corrected.id, 5)),
        Operation::Settle(settle(refunded.id, 6)),
        Operation::Refund(Refund {
            id: corrected.id,
            at,
        }),
    ];
    apply(&store, batch.clone()).await;
    stands(&store, subject, (5, 0, 6)).await;
    apply(&store, batch).await;
    stands(&store, subject, (5, 0, 6)).await;
    balances(&store).await;
}
