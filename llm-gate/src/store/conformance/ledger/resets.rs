//! Usage that is taken off again.

use crate::identity::Subject;
use crate::store::conformance::support::{
    apply, at, balances, denied, done, granted, later, reserve, settle, settled, somebody, stands,
    tokens, with_limit,
};
use crate::store::{
    Ending, LedgerStore, Limit, LimitChange, LimitKey, Operation, Period, Refund, Settle, Source,
    Unit, UsageReset, Zone,
};

async fn reset<S: LedgerStore>(store: &S, subject: Subject) {
    let author = at(5);
    done(store.reset_usage(UsageReset { subject, author }).await);
}

/// The limit starts anew, and what is under way is still held.
pub async fn a_reset_takes_off_what_is_used_and_keeps_what_is_held<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (ended, open) = (reserve(&[subject], 60), reserve(&[subject], 30));
    granted(&store, &ended).await;
    granted(&store, &open).await;
    // Ten more than its hold and five more than there is room for.
    settled(&store, &settle(ended.id, 75)).await;
    stands(&store, subject, (70, 30, 5)).await;
    denied(&store, &reserve(&[subject], 1)).await;
    let after = UsageReset {
        subject,
        author: at(5),
    };
    let standing = done(store.reset_usage(after).await);
    assert_eq!(standing.used.get(), 0, "it answers how the subject stands");
    assert_eq!(standing.limit, Some(tokens(100)), "the limit stays");
    stands(&store, subject, (0, 30, 0)).await;
    balances(&store).await;
    granted(&store, &reserve(&[subject], 70)).await;
    denied(&store, &reserve(&[subject], 1)).await;
    settled(&store, &settle(open.id, 30)).await;
    stands(&store, subject, (30, 70, 0)).await;
    balances(&store).await;
}

/// Those of its limits, that of a model and that of requests among them, and nobody else's.
pub async fn a_reset_sets_every_window_at_hand_back<S: LedgerStore>(store: S) {
    let (subject, other) = (somebody(), with_limit(&store, 100).await);
    for (unit, model) in [
        (Unit::Tokens, None),
        (Unit::Requests, None),
        (Unit::Tokens, Some("model")),
    ] {
        let key = LimitKey {
            subject,
            model: model.map(Into::into),
            unit,
            period: Period::Day,
        };
        let limit = Limit {
            key,
            zone: Zone::UTC,
            amount: tokens(50),
            voluntary: false,
        };
        done(store.change_limit(LimitChange::set(limit, at(0))).await);
    }
    let call = reserve(&[subject, other], 40);
    granted(&store, &call).await;
    settled(&store, &settle(call.id, 40)).await;
    let used = async || -> Vec<u64> {
        let standings = done(store.standings(subject, later(5)).await);
        standings.iter().map(|(_, one)| one.used.get()).collect()
    };
    let mut before = used().await;
    before.sort_unstable();
    assert_eq!(before.last(), Some(&40), "something is used: {before:?}");
    reset(&store, subject).await;
    assert_eq!(
        used().await,
        vec![0; before.len()],
        "all of them start anew"
    );
    stands(&store, other, (40, 0, 0)).await;
    balances(&store).await;
    reset(&store, subject).await;
    balances(&store).await;
}

/// A refund takes off what was presumed, and nothing can be taken off twice.
pub async fn what_is_presumed_outlasts_a_reset<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (known, lost, found) = (
        reserve(&[subject], 10),
        reserve(&[subject], 20),
        reserve(&[subject], 30),
    );
    for hold in [&known, &lost, &found] {
        granted(&store, hold).await;
    }
    settled(&store, &settle(known.id, 10)).await;
    for id in [lost.id, found.id] {
        let presumed = Settle {
            source: Source::Presumed,
            ending: Ending::Expired,
            ..settle(id, 0)
        };
        settled(&store, &presumed).await;
    }
    stands(&store, subject, (60, 0, 0)).await;
    reset(&store, subject).await;
    stands(&store, subject, (50, 0, 0)).await;
    balances(&store).await;
    let refund = Refund {
        id: lost.id,
        at: later(9),
    };
    apply(&store, vec![Operation::Refund(refund)]).await;
    stands(&store, subject, (30, 0, 0)).await;
    // The figures of the other one come to light.
    settled(&store, &settle(found.id, 4)).await;
    stands(&store, subject, (4, 0, 0)).await;
    balances(&store).await;
}
