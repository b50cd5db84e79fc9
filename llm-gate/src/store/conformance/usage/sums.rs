use super::super::support::{START, apply, done, granted, later, settle, settled};
use super::{Call, HOUR, happen, listed, name};
use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::{
    Author, CallFilter, CallQuery, Ending, LedgerStore, Operation, Price, Rates, Refund, Reserve,
    Settle, Source, StoreErrorKind, Tariff, UsageGroup, UsageKey, UsagePeriod, UsageQuery,
    UsageRow, UsageScope, UsageStore, UsageSum,
};
use crate::tokens::Tokens;

/// Sums are of all figures, and know the first and the last call.
pub async fn sums_are_what_the_calls_come_to<S: LedgerStore + UsageStore>(store: S) {
    let rates = Rates {
        prompt: 1_000_000,
        completion: 2_000_000,
        cached: 500_000,
    };
    let tariff = Tariff {
        price: Some(rates),
        ..Tariff::default()
    };
    let model = "model".to_owned();
    done(
        store
            .set_price(Price { model, tariff }, Author::system(START))
            .await,
    );
    let user = UserId::new();
    let calls = [
        Call::of(user, 10),
        Call {
            tokens: (100, 1, 0),
            ..Call::of(user, 5)
        },
    ];
    happen(&store, &calls).await;
    let free = Call::of(user, 20).reserve();
    granted(&store, &free).await;
    settled(&store, &Settle::void(free.id, later(20), Ending::Refused)).await;
    let sum = done(
        store
            .usage(UsageScope::User(user), CallFilter::default())
            .await,
    );
    let expected = UsageSum {
        calls: 3,
        tokens: 30 + 101,
        prompt: 120,
        completion: 11,
        cached: 4,
        cost: (16 + 2 + 20) + (100 + 2),
        first: Some(later(5)),
        last: Some(later(20)),
    };
    assert_eq!(sum, expected, "what costs nothing is a call too");
}

/// 2026-03-29 00:00 UTC; at 01:00 clocks are set forward in Berlin.
const SPRING: i64 = (31 + 28 + 28) * 24 * HOUR;

/// A day belongs to the clocks of its zone, also when they are changed.
pub async fn days_begin_at_midnight_of_the_zone<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let hours = [-2, -1, 0, 1, 21, 22, 23];
    let calls = hours.map(|hour| Call::of(user, SPRING + hour * HOUR));
    happen(&store, &calls).await;
    let days = async |zone: &str| {
        let query = UsageQuery {
            zone: zone.parse().expect("a zone"),
            ..UsageQuery::daily(UsageScope::User(user), CallFilter::default(), 10)
        };
        let rows = done(store.usage_by(query).await).expect("a few days");
        let day = |row: &UsageRow| {
            let start = row.start.expect("days begin").as_micros() - START.as_micros();
            ((start - SPRING) / HOUR, row.sum.calls)
        };
        rows.iter().map(day).collect::<Vec<_>>()
    };
    assert_eq!(days("UTC").await, [(-24, 2), (0, 5)]);
    // From 23:00 the day before to 22:00: 23 hours.
    assert_eq!(days("Europe/Berlin").await, [(-25, 1), (-1, 4), (22, 2)]);
    // Behind UTC, after its own change of clocks.
    assert_eq!(days("America/New_York").await, [(-20, 4), (4, 3)]);
    // From 18:30 on; here in whole hours.
    assert_eq!(days("Asia/Kolkata").await, [(-5, 4), (18, 3)]);
}

/// Months are months of the calendar, not of thirty days.
pub async fn months_are_those_of_the_zone<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let day = 24 * HOUR;
    // New Year in UTC, an hour before it, the end of February, the first of March.
    let at = [0, -HOUR, 59 * day - 1, 59 * day, 59 * day + 1];
    happen(&store, &at.map(|at| Call::of(user, at))).await;
    let months = async |zone: &str| {
        let query = UsageQuery {
            period: UsagePeriod::Month,
            zone: zone.parse().expect("a zone"),
            ..UsageQuery::daily(UsageScope::User(user), CallFilter::default(), 10)
        };
        let rows = done(store.usage_by(query).await).expect("a few months");
        let month = |row: &UsageRow| {
            let start = row.start.expect("months begin").as_micros() - START.as_micros();
            (start / HOUR, row.sum.calls)
        };
        rows.iter().map(month).collect::<Vec<_>>()
    };
    let february = 31 * 24;
    let march = 59 * 24;
    assert_eq!(
        months("UTC").await,
        [(-31 * 24, 1), (0, 1), (february, 1), (march, 2)]
    );
    // An hour ahead.
    assert_eq!(months("Europe/Berlin").await, [(-1, 2), (march - 1, 3)]);
}

/// Sums are told apart by model, key, user or project, in that order within a period.
pub async fn sums_are_told_apart_by_key<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let key = KeyId::new();
    let call = |at| Call::of(user, at);
    let other = ProjectId::from_uuid(uuid::Uuid::max());
    let calls = [
        Call {
            model: "b",
            ..call(1)
        },
        Call {
            model: "a",
            key: Some(key),
            ..call(2)
        },
        Call {
            model: "a",
            project: other,
            ..call(24 * HOUR)
        },
    ];
    happen(&store, &calls).await;
    let rows = async |group, period| {
        let query = UsageQuery {
            group: Some(group),
            period,
            ..UsageQuery::daily(UsageScope::User(user), CallFilter::default(), 10)
        };
        let rows = done(store.usage_by(query).await).expect("a few");
        let row = |row: UsageRow| {
            let day = row.start.map(|start| start.since(START).as_secs() / 86_400);
            (day, row.key.expect("a key"), row.sum.calls)
        };
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    let model = |name: &str| UsageKey::Model(name.to_owned());
    let day = UsagePeriod::Day;
    assert_eq!(
        rows(UsageGroup::Model, day).await,
        [
            (Some(0), model("a"), 1),
            (Some(0), model("b"), 1),
            (Some(1), model("a"), 1)
        ]
    );
    let all = UsagePeriod::All;
    assert_eq!(
        rows(UsageGroup::Model, all).await,
        [(None, model("a"), 2), (None, model("b"), 1)],
        "of all time"
    );
    assert_eq!(
        rows(UsageGroup::Key, all).await,
        [
            (None, UsageKey::Key(None), 2),
            (None, UsageKey::Key(Some(key)), 1)
        ]
    );
    assert_eq!(
        rows(UsageGroup::User, all).await,
        [(None, UsageKey::User(user), 3)]
    );
    let own = UsageKey::Project(calls[0].project);
    assert_eq!(
        rows(UsageGroup::Project, all).await,
        [(None, own, 2), (None, UsageKey::Project(other), 1)]
    );
}

/// A report that would be too long is none, and not a part of one.
pub async fn more_rows_than_asked_for_are_none<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let calls = [0, 1, 2].map(|day| Call::of(user, day * 24 * HOUR));
    happen(&store, &calls).await;
    for (count, fits) in [(0, false), (2, false), (3, true), (4, true)] {
        let query = UsageQuery::daily(UsageScope::User(user), CallFilter::default(), count);
        let rows = done(store.usage_by(query.clone()).await);
        assert_eq!(rows.map(|rows| rows.len()), fits.then_some(3), "{count}");
        let month = UsageQuery {
            period: UsagePeriod::Month,
            ..query
        };
        let rows = done(store.usage_by(month).await);
        assert_eq!(
            rows.map(|rows| rows.len()),
            (count > 0).then_some(1),
            "{count}"
        );
    }
}

/// What was presumed counts until it is corrected or taken back.
pub async fn what_is_charged_in_the_end_counts<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let used = async || {
        let sum = done(
            store
                .usage(UsageScope::User(user), CallFilter::default())
                .await,
        );
        (sum.calls, sum.tokens)
    };
    let (one, other) = (Call::of(user, 0).reserve(), Call::of(user, 1).reserve());
    for hold in [&one, &other] {
        granted(&store, hold).await;
        settled(
            &store,
            &Settle::presumed(hold.id, later(9), Ending::Expired),
        )
        .await;
    }
    assert_eq!(used().await, (2, 120), "what they held");
    settled(&store, &settle(one.id, 25)).await;
    assert_eq!(used().await, (2, 85), "what it came to");
    let (id, at) = (other.id, later(10));
    apply(&store, vec![Operation::Refund(Refund { id, at })]).await;
    assert_eq!(used().await, (2, 25), "taken back, and still a call");
    let late = Settle {
        source: Source::Estimated,
        ..settle(other.id, 7)
    };
    settled(&store, &late).await;
    assert_eq!(used().await, (2, 32), "beyond the refund");
}

/// No sum is cut off or wraps.
pub async fn a_sum_out_of_range_is_a_failure<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let huge = Call {
        tokens: (Tokens::MAX.get(), 0, 0),
        ..Call::of(user, 0)
    };
    let mut batch = Vec::new();
    // Ten more than 2^63 needs.
    for _ in 0..1_024 + 10 {
        let reserve = Reserve {
            subjects: Vec::new(),
            ..huge.reserve()
        };
        let settle = huge.settle(reserve.id);
        batch.extend([Operation::Reserve(reserve), Operation::Settle(settle)]);
    }
    apply(&store, batch).await;
    let scope = || UsageScope::User(user);
    let kind = |failed: Option<crate::store::StoreError>| failed.map(|error| error.kind());
    let sum = store.usage(scope(), CallFilter::default()).await;
    assert_eq!(kind(sum.err()), Some(StoreErrorKind::Other));
    let daily = UsageQuery::daily(scope(), CallFilter::default(), 10);
    let rows = store.usage_by(daily).await;
    assert_eq!(kind(rows.err()), Some(StoreErrorKind::Other));
    let listed = listed(&store, CallQuery::new(scope(), 3)).await;
    assert_eq!(listed.0.len(), 3, "the calls themselves can be read");
}

/// Statistics know all calls, models, upstreams and conversations.
pub async fn statistics_are_of_everybody<S: LedgerStore + UsageStore>(store: S) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let call = |user, at, model, upstream, session: Option<&str>| Call {
        model,
        upstream,
        session: session.map(name),
        ..Call::of(user, at)
    };
    let calls = [
        call(ada, 1, "b", Some("west"), Some("chat")),
        call(ada, 2, "a", Some("east"), Some("chat")),
        call(bob, 3, "a", None, Some("chat")),
        call(bob, 4, "a", Some("west"), None),
    ];
    happen(&store, &calls).await;
    let statistics = done(store.statistics().await);
    assert_eq!(statistics.sum.calls, 4);
    assert_eq!(statistics.sum.tokens, 120);
    assert_eq!(statistics.sum.last, Some(later(4)));
    assert_eq!(statistics.sessions, 2, "two users, two conversations");
    assert_eq!(statistics.models, ["a", "b"]);
    assert_eq!(statistics.upstreams, ["east", "west"]);
}
