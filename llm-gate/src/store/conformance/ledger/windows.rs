//! Limits that come back, limits of models and of everybody, and limits by default.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::{ProjectId, Subject};
use crate::store::conformance::support::{
    apply, balances, denied, done, granted, reserve, settle, settled, somebody, stands, tokens,
    try_reserve, void, with_limit,
};
use crate::store::{
    Author, DenialReason, LedgerStore, Limit, LimitChange, LimitKey, Operation, Outcome, Period,
    Reserve, Standing, Unit, Zone,
};
use crate::tokens::{Amount, Tokens};

/// Reads a moment.
pub(super) fn moment(text: &str) -> Timestamp {
    let moment: jiff::Timestamp = text.parse().expect("a moment");
    Timestamp::from_micros(moment.as_microsecond())
}

pub(super) fn key(subject: Subject, unit: Unit, period: Period) -> LimitKey {
    LimitKey {
        subject,
        model: None,
        unit,
        period,
    }
}

pub(super) async fn limit<S: LedgerStore>(store: &S, key: LimitKey, zone: &str, amount: u64) {
    let zone: Zone = zone.parse().expect("a zone");
    let amount = tokens(amount);
    let limit = Limit {
        key,
        zone,
        amount,
        voluntary: false,
    };
    let author = Author::system(moment("2026-01-01T00:00:00Z"));
    done(store.change_limit(LimitChange::set(limit, author)).await);
}

fn at(subject: Subject, hold: u64, when: &str) -> Reserve {
    Reserve {
        at: moment(when),
        ..reserve(&[subject], hold)
    }
}

/// How a subject stands on its only limit at a moment.
async fn standing<S: LedgerStore>(store: &S, subject: Subject, when: &str) -> Standing {
    let mut all = done(store.standings(subject, moment(when)).await);
    assert_eq!(all.len(), 1, "one limit is in force: {all:?}");
    all.remove(0).1
}

/// What was held and used in a minute is no matter of the next.
pub async fn a_minute_comes_back<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit(
        &store,
        key(subject, Unit::Tokens, Period::Minute),
        "UTC",
        100,
    )
    .await;
    let first = at(subject, 100, "2026-05-05T10:00:30Z");
    let grant = granted(&store, &first).await;
    assert_eq!(
        grant.standing.remaining(),
        Some(Tokens::ZERO),
        "the minute is full"
    );
    let denial = denied(&store, &at(subject, 1, "2026-05-05T10:00:59.999999Z")).await;
    assert_eq!(
        denial.counter.period,
        Period::Minute,
        "the minute's counter refuses"
    );
    assert_eq!(
        denial.standing.resets,
        Some(moment("2026-05-05T10:01:00Z")),
        "and tells when it comes back"
    );
    let second = at(subject, 60, "2026-05-05T10:01:00Z");
    granted(&store, &second).await;
    denied(&store, &at(subject, 41, "2026-05-05T10:01:01Z")).await;
    // All of it counts in the total, which is not limited.
    stands(&store, subject, (0, 160, 0)).await;
    settled(&store, &settle(first.id, 70)).await;
    settled(&store, &settle(second.id, 60)).await;
    stands(&store, subject, (130, 0, 0)).await;
    balances(&store).await;
}

/// A request counts where it was admitted, however long it takes.
pub async fn a_late_settlement_lands_in_the_window_that_admitted<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit(&store, key(subject, Unit::Tokens, Period::Day), "UTC", 100).await;
    let late = at(subject, 80, "2026-05-05T23:59:59.999999Z");
    granted(&store, &late).await;
    let end = crate::store::Settle {
        at: moment("2026-05-07T12:00:00Z"),
        ..settle(late.id, 75)
    };
    settled(&store, &end).await;
    let then = standing(&store, subject, "2026-05-05T12:00:00Z").await;
    assert_eq!(
        (then.used, then.reserved),
        (tokens(75), Tokens::ZERO),
        "the day before"
    );
    for day in ["2026-05-06T00:00:00Z", "2026-05-07T12:00:00Z"] {
        let then = standing(&store, subject, day).await;
        assert_eq!(then.used, Tokens::ZERO, "nothing on {day}");
        granted(&store, &at(subject, 100, day)).await;
    }
    balances(&store).await;
}

/// A window that was spent is spent when the clock comes back to it.
pub async fn a_clock_that_goes_back_finds_spent_windows_spent<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit(
        &store,
        key(subject, Unit::Tokens, Period::Minute),
        "UTC",
        100,
    )
    .await;
    let spent = at(subject, 100, "2026-10-25T01:30:00Z");
    granted(&store, &spent).await;
    settled(&store, &settle(spent.id, 100)).await;
    granted(&store, &at(subject, 100, "2026-10-25T02:30:00Z")).await;
    // An hour back.
    denied(&store, &at(subject, 1, "2026-10-25T01:30:30Z")).await;
    granted(&store, &at(subject, 100, "2026-10-25T01:31:00Z")).await;
    balances(&store).await;
}

/// Midnight is where the clocks of the limit's zone have it.
pub async fn days_are_as_long_as_their_zone_has_them<S: LedgerStore>(store: S) {
    // The first and last moments of a day of 23 hours, one of 25, one whose midnight is skipped, a leap day.
    for (zone, first, last) in [
        (
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            "2026-03-29T21:59:59.999999Z",
        ),
        (
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            "2026-10-25T22:59:59.999999Z",
        ),
        (
            "Africa/Cairo",
            "2026-04-23T22:00:00Z",
            "2026-04-24T20:59:59.999999Z",
        ),
        (
            "America/New_York",
            "2028-02-29T05:00:00Z",
            "2028-03-01T04:59:59.999999Z",
        ),
        (
            "Asia/Kolkata",
            "2026-01-01T18:30:00Z",
            "2026-01-02T18:29:59.999999Z",
        ),
    ] {
        let subject = somebody();
        limit(&store, key(subject, Unit::Tokens, Period::Day), zone, 10).await;
        let beyond = |when: &str, micros| {
            let when = moment(when).as_micros() + micros;
            Reserve {
                at: Timestamp::from_micros(when),
                ..reserve(&[subject], 10)
            }
        };
        granted(&store, &beyond(first, 0)).await;
        let denial = denied(&store, &beyond(last, 0)).await;
        let next = moment(last).as_micros() + 1;
        assert_eq!(
            denial.standing.resets,
            Some(Timestamp::from_micros(next)),
            "the last moment of a day in {zone}"
        );
        granted(&store, &beyond(first, -1)).await;
        granted(&store, &beyond(last, 1)).await;
    }
}

/// A month begins at midnight of its first day in the limit's zone.
pub async fn months_follow_the_calendar<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit(
        &store,
        key(subject, Unit::Tokens, Period::Month),
        "America/New_York",
        10,
    )
    .await;
    granted(&store, &at(subject, 10, "2028-02-01T05:00:00Z")).await;
    let denial = denied(&store, &at(subject, 1, "2028-02-29T23:00:00Z")).await;
    assert_eq!(
        denial.standing.resets,
        Some(moment("2028-03-01T05:00:00Z")),
        "a February of 29 days"
    );
    denied(&store, &at(subject, 1, "2028-03-01T04:59:59Z")).await;
    granted(&store, &at(subject, 10, "2028-03-01T05:00:00Z")).await;
    granted(&store, &at(subject, 10, "2028-02-01T04:59:59Z")).await;
}

/// Every limit of every subject has to have room, or none is touched.
pub async fn limits_of_all_kinds_hold_together<S: LedgerStore>(store: S) {
    let (user, project) = (somebody(), Subject::Project(ProjectId::new()));
    limit(&store, key(user, Unit::Tokens, Period::Total), "UTC", 1_000).await;
    limit(&store, key(user, Unit::Tokens, Period::Day), "UTC", 500).await;
    limit(&store, key(user, Unit::Tokens, Period::Minute), "UTC", 100).await;
    limit(&store, key(user, Unit::Requests, Period::Minute), "UTC", 2).await;
    limit(
        &store,
        key(project, Unit::Requests, Period::Total),
        "UTC",
        3,
    )
    .await;
    let when = "2026-05-05T10:00:00Z";
    let call = |hold| Reserve {
        at: moment(when),
        ..reserve(&[user, project], hold)
    };
    let grant = granted(&store, &call(30)).await;
    assert_eq!(
        grant.standing.remaining(),
        Some(tokens(70)),
        "the minute is tightest"
    );
    let requests = grant.requests.and_then(|requests| requests.remaining());
    assert_eq!(requests, Some(tokens(1)), "of requests, too");
    let denial = denied(&store, &call(71)).await;
    assert_eq!(
        (denial.counter.unit, denial.counter.period),
        (Unit::Tokens, Period::Minute)
    );
    assert_eq!(denial.fits, tokens(70), "so much would have fitted");
    let second = call(20);
    granted(&store, &second).await;
    let denial = denied(&store, &call(1)).await;
    assert_eq!(
        (denial.counter.unit, denial.asked),
        (Unit::Requests, Amount::new(1))
    );
    // What is not served is no request.
    settled(&store, &void(second.id)).await;
    granted(&store, &call(20)).await;
    for (limit, standing) in done(store.standings(user, moment(when)).await) {
        let expected = if limit.key.unit == Unit::Requests {
            2
        } else {
            50
        };
        assert_eq!(standing.reserved.get(), expected, "on {:?}", limit.key);
    }
    balances(&store).await;
}

/// A limit of a model counts that model's calls alone, of one subject or of everybody.
pub async fn a_limit_of_a_model_counts_its_calls_alone<S: LedgerStore>(store: S) {
    let (ada, ben) = (somebody(), somebody());
    let model: Arc<str> = "large".into();
    let of = |subject| LimitKey {
        model: Some(model.clone()),
        ..key(subject, Unit::Tokens, Period::Total)
    };
    limit(&store, of(ada), "UTC", 50).await;
    limit(&store, of(Subject::Platform), "UTC", 100).await;
    let call = |subject, model: &str, hold| {
        let mut call = reserve(&[subject], hold);
        call.call.model = model.to_owned();
        call
    };
    granted(&store, &call(ada, "small", 500)).await;
    granted(&store, &call(ada, "large", 40)).await;
    let denial = denied(&store, &call(ada, "large", 11)).await;
    assert_eq!(denial.counter.subject, ada, "her own limit of it");
    assert_eq!(denial.counter.model.as_deref(), Some("large"));
    granted(&store, &call(ben, "large", 60)).await;
    let denial = denied(&store, &call(ben, "large", 1)).await;
    assert_eq!(
        denial.counter.subject,
        Subject::Platform,
        "all of them together"
    );
    granted(&store, &call(ben, "small", 500)).await;
    balances(&store).await;
}

/// Whoever has no limit of its own has that of each.
pub async fn a_default_holds_for_each_without_a_limit_of_its_own<S: LedgerStore>(store: S) {
    limit(
        &store,
        key(Subject::EACH_USER, Unit::Tokens, Period::Total),
        "UTC",
        20,
    )
    .await;
    let (known, one, other) = (with_limit(&store, 100).await, somebody(), somebody());
    granted(&store, &reserve(&[known], 100)).await;
    for unknown in [one, other] {
        granted(&store, &reserve(&[unknown], 20)).await;
        denied(&store, &reserve(&[unknown], 1)).await;
        let standing = done(store.standing(unknown).await);
        assert_eq!(standing.limit, Some(tokens(20)), "each has one of its own");
    }
    // Of another kind.
    granted(&store, &reserve(&[Subject::Project(ProjectId::new())], 500)).await;
    // A limit of its own takes its place, a larger one too.
    done(store.set_limit(one, Some(tokens(30))).await);
    granted(&store, &reserve(&[one], 10)).await;
    denied(&store, &reserve(&[one], 1)).await;
    done(store.set_limit(one, None).await);
    let standing = done(store.standing(one).await);
    assert_eq!(
        standing.limit,
        Some(tokens(20)),
        "and is the default again without it"
    );
    balances(&store).await;
}

/// What replicas have to agree on is decided in the order of the batch.
pub async fn a_limit_is_in_force_from_the_next_reservation_on<S: LedgerStore>(store: S) {
    let subject = somebody();
    let before = reserve(&[subject], 500);
    granted(&store, &before).await;
    limit(
        &store,
        key(subject, Unit::Requests, Period::Total),
        "UTC",
        1,
    )
    .await;
    granted(&store, &reserve(&[subject], 5)).await;
    let outcome = try_reserve(&store, &reserve(&[subject], 5)).await;
    assert!(
        matches!(outcome, Outcome::Denied(_)),
        "the one before it does not count"
    );
    settled(&store, &settle(before.id, 5)).await;
    let author = Author::system(before.at);
    let removed = LimitChange::remove(key(subject, Unit::Requests, Period::Total), author);
    done(store.change_limit(removed).await);
    granted(&store, &reserve(&[subject], 5)).await;
    assert!(
        done(store.limits(Some(subject)).await).is_empty(),
        "it is gone"
    );
    balances(&store).await;
}

/// The largest amounts there are, and no more, on every kind of counter.
pub async fn the_largest_limits_hold<S: LedgerStore>(store: S) {
    let subject = somebody();
    for unit in [Unit::Tokens, Unit::Requests] {
        for period in Period::ALL {
            let most = Amount::MAX.get();
            limit(&store, key(subject, unit, *period), "UTC", most).await;
        }
    }
    let all = Amount::MAX.get();
    granted(&store, &at(subject, all, "2026-05-05T10:00:00Z")).await;
    let denial = denied(&store, &at(subject, 1, "2026-05-05T10:00:00Z")).await;
    assert_eq!(
        denial.reason,
        DenialReason::Exhausted,
        "nothing is left and nothing wraps"
    );
    let totals = done(store.totals().await);
    assert!(totals.balance(), "{totals:?}");
}

/// An extension has to fit on all of them as well.
pub async fn a_window_gates_extensions<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit(
        &store,
        key(subject, Unit::Tokens, Period::Minute),
        "UTC",
        100,
    )
    .await;
    let call = at(subject, 60, "2026-05-05T10:00:00Z");
    granted(&store, &call).await;
    let extend = |version, hold| {
        Operation::Extend(crate::store::Extend {
            id: call.id,
            version,
            hold: tokens(hold).into(),
        })
    };
    let outcomes = apply(&store, vec![extend(1, 100), extend(2, 101), extend(3, 20)]).await;
    assert!(matches!(outcomes[0], Outcome::Extended(_)), "what is left");
    let Outcome::Denied(denial) = &outcomes[1] else {
        panic!("the minute has no room: {:?}", outcomes[1]);
    };
    assert_eq!(denial.fits, tokens(100), "it may be asked for what fits");
    assert!(matches!(outcomes[2], Outcome::Extended(_)), "giving back");
    let then = standing(&store, subject, "2026-05-05T10:00:10Z").await;
    assert_eq!(then.reserved, tokens(20), "in the window that admitted it");
    balances(&store).await;
}

/// Whoever is told to come back should not be refused then for good.
pub async fn of_several_limits_the_one_that_lasts_is_told<S: LedgerStore>(store: S) {
    let (user, project) = (somebody(), Subject::Project(ProjectId::new()));
    limit(&store, key(user, Unit::Tokens, Period::Minute), "UTC", 100).await;
    limit(&store, key(user, Unit::Tokens, Period::Day), "UTC", 100).await;
    limit(
        &store,
        key(project, Unit::Tokens, Period::Total),
        "UTC",
        100,
    )
    .await;
    let when = moment("2026-05-05T10:00:00Z");
    let call = |subjects: &[Subject]| Reserve {
        at: when,
        ..reserve(subjects, 60)
    };
    granted(&store, &call(&[user, project])).await;
    let denial = denied(&store, &call(&[user, project])).await;
    assert_eq!(
        denial.counter.period,
        Period::Total,
        "it does not come back"
    );
    let denial = denied(&store, &call(&[user])).await;
    assert_eq!(
        denial.counter.period,
        Period::Day,
        "a day is longer than a minute"
    );
    assert_eq!(denial.at, Some(when), "by the clock that has decided");
    limit(&store, key(user, Unit::Tokens, Period::Minute), "UTC", 59).await;
    let denial = denied(&store, &call(&[user, project])).await;
    assert_eq!(
        denial.counter.period,
        Period::Minute,
        "which never has room for it"
    );
}

/// Whoever may only lower a limit gets no fresh day by taking another zone's.
pub async fn another_zone_is_no_lower_limit<S: LedgerStore>(store: S) {
    let subject = somebody();
    let lower = async |period, zone: &str, amount| {
        let limit = Limit {
            key: key(subject, Unit::Tokens, period),
            zone: zone.parse().expect("a zone"),
            amount: tokens(amount),
            voluntary: false,
        };
        let change = LimitChange {
            only_down: true,
            ..LimitChange::set(limit, Author::system(moment("2026-05-05T10:00:00Z")))
        };
        done(store.change_limit(change).await).is_some()
    };
    for period in [Period::Day, Period::Month] {
        limit(&store, key(subject, Unit::Tokens, period), "UTC", 100).await;
        assert!(
            !lower(period, "Asia/Tokyo", 50).await,
            "another {period} begins at 0"
        );
        assert!(lower(period, "UTC", 50).await, "the same {period} goes on");
    }
    limit(
        &store,
        key(subject, Unit::Tokens, Period::Minute),
        "UTC",
        100,
    )
    .await;
    assert!(
        lower(Period::Minute, "Asia/Tokyo", 50).await,
        "minutes are the same everywhere"
    );
}
