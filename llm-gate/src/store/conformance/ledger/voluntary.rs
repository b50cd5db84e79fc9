//! Limits that somebody has set for oneself.

use super::windows::{key, limit, moment};
use crate::identity::{KeyId, ProjectId, Subject};
use crate::store::conformance::support::{
    conflict, denied, done, granted, reserve, somebody, tokens,
};
use crate::store::{
    Author, LedgerStore, Limit, LimitChange, LimitKey, MAX_LIMITS, MAX_VOLUNTARY_LIMITS, Period,
    Reserve, Standing, Unit, Zone,
};
use crate::tokens::Amount;

const NOW: &str = "2026-05-05T10:00:00Z";

/// Asks for a limit as those do whom it binds; whether it is set.
async fn lower<S: LedgerStore>(store: &S, key: LimitKey, zone: &str, amount: Amount) -> bool {
    let limit = Limit {
        key,
        zone: zone.parse().expect("a zone"),
        amount,
        voluntary: false,
    };
    let change = LimitChange {
        only_down: true,
        ..LimitChange::set(limit, Author::system(moment(NOW)))
    };
    done(store.change_limit(change).await).is_some()
}

async fn remove<S: LedgerStore>(store: &S, key: LimitKey) {
    let change = LimitChange::remove(key, Author::system(moment(NOW)));
    done(store.change_limit(change).await);
}

/// The only limit in force for a subject, and how it stands.
async fn only<S: LedgerStore>(store: &S, subject: Subject) -> (Limit, Standing) {
    let mut all = done(store.standings(subject, moment(NOW)).await);
    assert_eq!(all.len(), 1, "one limit is in force: {all:?}");
    let (limit, standing) = all.remove(0);
    assert_eq!(
        standing.limit,
        Some(limit.amount),
        "it is the one that decides"
    );
    (limit, standing)
}

fn call(subject: Subject, hold: u64) -> Reserve {
    Reserve {
        at: moment(NOW),
        ..reserve(&[subject], hold)
    }
}

/// Whoever may only lower what binds him has no way around what is set for all later, and gets back what he has set.
pub async fn what_somebody_set_for_oneself_gives_way_to_a_stricter_default<S: LedgerStore>(
    store: S,
) {
    for (subject, each) in [
        (somebody(), Subject::EACH_USER),
        (Subject::Project(ProjectId::new()), Subject::EACH_PROJECT),
        (Subject::Key(KeyId::new()), Subject::EACH_KEY),
    ] {
        let (own, each) = [subject, each]
            .map(|subject| key(subject, Unit::Tokens, Period::Day))
            .into();
        assert!(
            lower(&store, own.clone(), "UTC", Amount::MAX).await,
            "there was none"
        );
        let (set, _) = only(&store, subject).await;
        assert!(set.voluntary, "no admin has set it: {set:?}");
        granted(&store, &call(subject, 60)).await;

        limit(&store, each.clone(), "UTC", 100).await;
        let (set, standing) = only(&store, subject).await;
        assert_eq!(set.key, each, "what holds for all holds here too");
        assert_eq!(standing.reserved, tokens(60), "in the window of before");
        let denial = denied(&store, &call(subject, 41)).await;
        assert_eq!(denial.standing.limit, Some(tokens(100)));
        assert!(
            !lower(&store, own.clone(), "UTC", tokens(101)).await,
            "more than what is in force"
        );

        assert!(lower(&store, own.clone(), "UTC", tokens(90)).await);
        assert_eq!(only(&store, subject).await.0.key, own, "it is stricter");
        denied(&store, &call(subject, 31)).await;
        limit(&store, each.clone(), "UTC", 70).await;
        assert_eq!(
            only(&store, subject).await.0.key,
            each,
            "that was lowered below it"
        );
        denied(&store, &call(subject, 11)).await;
        granted(&store, &call(subject, 10)).await;
        limit(&store, each.clone(), "UTC", 90).await;
        assert_eq!(
            only(&store, subject).await.0.key,
            own,
            "it is as strict again, and in force again"
        );
        remove(&store, each).await;
        let (set, _) = only(&store, subject).await;
        assert_eq!(
            (set.key, set.amount),
            (own, tokens(90)),
            "nothing else is there"
        );
        denied(&store, &call(subject, 21)).await;
    }
}

/// A day that begins at another hour is not stricter, however little it allows.
pub async fn what_somebody_set_for_oneself_by_another_zone_gives_way_to_the_default<
    S: LedgerStore,
>(
    store: S,
) {
    let subject = somebody();
    for (period, gives_way) in [
        (Period::Day, true),
        (Period::Month, true),
        (Period::Minute, false),
        (Period::Total, false),
    ] {
        let own = key(subject, Unit::Tokens, period);
        let each = key(Subject::EACH_USER, Unit::Tokens, period);
        assert!(lower(&store, own.clone(), "Asia/Tokyo", tokens(50)).await);
        limit(&store, each.clone(), "UTC", 100).await;
        let in_force = only(&store, subject).await.0.key;
        assert_eq!(in_force == each, gives_way, "{period}");
        limit(&store, each.clone(), "Asia/Tokyo", 100).await;
        assert_eq!(
            only(&store, subject).await.0.key,
            own,
            "{period} of the same clocks"
        );
        remove(&store, own).await;
        remove(&store, each).await;
    }
}

/// What holds for all would cut it down at once if it became the user's own.
pub async fn what_an_admin_has_granted_stays_granted_when_it_is_lowered<S: LedgerStore>(store: S) {
    let subject = somebody();
    let own = key(subject, Unit::Tokens, Period::Month);
    let each = key(Subject::EACH_USER, Unit::Tokens, Period::Month);
    limit(&store, each.clone(), "UTC", 100).await;
    limit(&store, own.clone(), "UTC", 1_000).await;
    assert!(lower(&store, own.clone(), "UTC", tokens(500)).await);
    let (set, _) = only(&store, subject).await;
    assert_eq!((&set.key, set.amount), (&own, tokens(500)));
    assert!(!set.voluntary, "an admin has granted more than that");
    limit(&store, each, "UTC", 50).await;
    assert_eq!(only(&store, subject).await.0.key, own);
    assert!(!lower(&store, own, "UTC", tokens(501)).await);
}

/// An admin who sets a limit means it, also where it was there.
pub async fn what_an_admin_sets_stands_whoever_set_it_before<S: LedgerStore>(store: S) {
    let subject = somebody();
    let own = key(subject, Unit::Tokens, Period::Month);
    let each = key(Subject::EACH_USER, Unit::Tokens, Period::Month);
    limit(&store, each.clone(), "UTC", 100).await;
    assert!(lower(&store, own.clone(), "UTC", tokens(100)).await);
    assert!(
        only(&store, subject).await.0.voluntary,
        "where only the general one was in force"
    );
    assert!(lower(&store, own.clone(), "UTC", tokens(80)).await);
    assert!(only(&store, subject).await.0.voluntary, "lowered again");
    limit(&store, each.clone(), "UTC", 10).await;
    assert_eq!(only(&store, subject).await.0.key, each);
    limit(&store, own.clone(), "UTC", 80).await;
    let (set, _) = only(&store, subject).await;
    assert_eq!((&set.key, set.voluntary), (&own, false));
    let kept = done(store.limits(Some(subject)).await);
    assert_eq!(kept, [set], "under its one name");
}

/// Each reservation reads the limits of its subjects, so who may set them does not make it slow; what is there is changed all
/// the same, and all tokens together always have room.
pub async fn a_subject_has_no_more_limits_than_allowed<S: LedgerStore>(store: S) {
    let subject = somebody();
    let of_model = |number: usize| LimitKey {
        model: Some(format!("model {number}").into()),
        ..key(subject, Unit::Tokens, Period::Day)
    };
    let set = |key: LimitKey, amount| LimitChange {
        key,
        zone: Zone::UTC,
        amount: Some(tokens(amount)),
        only_down: false,
        author: Author::system(moment(NOW)),
    };
    let own = |number: usize| LimitChange {
        only_down: true,
        ..set(of_model(number), 5)
    };
    let all = (1..=MAX_VOLUNTARY_LIMITS).map(own);
    done(store.change_limits(all.collect()).await).expect("there is room");
    conflict(
        store.change_limit(own(MAX_VOLUNTARY_LIMITS + 1)).await,
        "who may only lower them has set enough",
    );
    let all = (1..MAX_LIMITS).map(|number| set(of_model(number), 5));
    done(store.change_limits(all.collect()).await).expect("there is room");
    let two = vec![
        set(of_model(MAX_LIMITS), 5),
        set(of_model(MAX_LIMITS + 1), 5),
    ];
    conflict(
        store.change_limits(two.clone()).await,
        "there is room for one of them only",
    );
    let kept = done(store.limits(Some(subject)).await).len();
    assert_eq!(kept, MAX_LIMITS - 1, "and none was set");
    done(store.change_limit(two[0].clone()).await).expect("there is room for one");
    conflict(store.change_limit(two[1].clone()).await, "and for no other");
    done(store.change_limit(set(of_model(1), 4)).await).expect("one that is there is changed");
    let total = set(LimitKey::total_tokens(subject), 100);
    done(store.change_limit(total).await).expect("that of all tokens always fits");
    let removed = LimitChange::remove(of_model(2), Author::system(moment(NOW)));
    done(store.change_limit(removed.clone()).await);
    let removed = LimitChange {
        key: of_model(3),
        ..removed
    };
    done(store.change_limit(removed).await);
    done(store.change_limit(two[1].clone()).await).expect("two gone make room for one");
    let other = LimitKey {
        subject: somebody(),
        ..of_model(1)
    };
    done(store.change_limit(set(other, 5)).await).expect("others have room for themselves");
}

/// Who is told that a change was refused finds everything as it was.
pub async fn limits_are_changed_all_or_none<S: LedgerStore>(store: S) {
    let subject = somebody();
    let total = key(subject, Unit::Tokens, Period::Total);
    let minute = key(subject, Unit::Requests, Period::Minute);
    limit(&store, total.clone(), "UTC", 100).await;
    let change = |key: &LimitKey, amount| LimitChange {
        key: key.clone(),
        zone: Zone::UTC,
        amount: Some(tokens(amount)),
        only_down: true,
        author: Author::system(moment(NOW)),
    };
    let set = async || -> Vec<Amount> {
        let mut set = done(store.limits(Some(subject)).await);
        set.sort_unstable_by_key(|limit| limit.amount);
        set.iter().map(|limit| limit.amount).collect()
    };
    let refused = vec![change(&minute, 5), change(&total, 101)];
    let standings = done(store.change_limits(refused).await);
    assert_eq!(standings, None, "the second would raise one");
    assert_eq!(set().await, [tokens(100)], "the first is not set either");
    let may = vec![change(&minute, 5), change(&total, 50)];
    let standings = done(store.change_limits(may).await).expect("none is raised");
    let limits: Vec<Option<Amount>> = standings.iter().map(|standing| standing.limit).collect();
    assert_eq!(
        limits,
        [Some(tokens(5)), Some(tokens(50))],
        "in their order"
    );
    assert_eq!(set().await, [tokens(5), tokens(50)]);
    assert_eq!(
        done(store.change_limits(Vec::new()).await),
        Some(Vec::new())
    );
}
