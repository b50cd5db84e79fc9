//! The rules of [`UsageStore`], over books that a [`LedgerStore`] keeps.

use std::time::Duration;

use super::rules;
use super::support::{START, apply, done, granted, later, reserve, settle, settled};
use crate::clock::Timestamp;
use crate::identity::{ConversationId, KeyId, ProjectId, RequestId, Subject, UserId};
use crate::store::{
    Author, BucketGroups, BucketKey, BucketQuery, BucketRow, BucketWidth, CallCursor, CallFilter,
    CallInfo, CallQuery, Ending, LedgerStore, Operation, Price, Rates, Refund, Reserve, Served,
    Settle, Source, StoreErrorKind, Tariff, UsageGroup, UsageKey, UsagePeriod, UsageQuery,
    UsageRow, UsageScope, UsageStatistics, UsageStore, UsageSum,
};
use crate::tokens::{Tokens, Usage};

rules!(__usage_rules where S: LedgerStore|UsageStore;
    nothing_comes_to_nothing,
    calls_are_listed_the_newest_first_and_each_once,
    calls_of_one_moment_are_listed_each_once,
    nobody_sees_more_than_its_scope,
    every_filter_leaves_out_the_others,
    sums_are_what_the_calls_come_to,
    days_begin_at_midnight_of_the_zone,
    months_are_those_of_the_zone,
    sums_are_told_apart_by_key,
    more_rows_than_asked_for_are_none,
    buckets_are_as_wide_as_asked,
    buckets_are_told_apart_by_each_combination,
    buckets_hold_what_is_wanted,
    more_rows_of_buckets_than_asked_for_are_none,
    what_is_charged_in_the_end_counts,
    a_sum_out_of_range_is_a_failure,
    statistics_are_of_everybody,
);

const HOUR: i64 = 3_600_000_000;

/// A call that has ended.
struct Call {
    user: UserId,
    project: ProjectId,
    key: Option<KeyId>,
    session: Option<ConversationId>,
    model: &'static str,
    route: &'static str,
    stream: bool,
    at: Timestamp,
    tokens: (u64, u64, u64),
    ending: Ending,
    status: u16,
    upstream: Option<&'static str>,
}

impl Call {
    fn of(user: UserId, at: i64) -> Self {
        Self {
            user,
            project: ProjectId::from_uuid(*user.as_uuid()),
            key: None,
            session: None,
            model: "model",
            route: "chat",
            stream: false,
            at: later(at),
            tokens: (20, 10, 4),
            ending: Ending::Complete,
            status: 200,
            upstream: None,
        }
    }

    fn reserve(&self) -> Reserve {
        let mut subjects = vec![Subject::User(self.user)];
        subjects.extend(self.key.map(Subject::Key));
        Reserve {
            at: self.at,
            call: CallInfo::new(self.user, self.project, self.route, self.model)
                .session(self.session.clone())
                .stream(self.stream),
            ..reserve(&subjects, 60)
        }
    }

    fn settle(&self, id: RequestId) -> Settle {
        let (prompt, completion, cached) = self.tokens;
        let usage = Usage {
            prompt,
            completion,
            cached,
            reasoning: 1,
        };
        Settle {
            ending: self.ending,
            status: self.status,
            served: Some(Served {
                upstream: self.upstream.and_then(|name| name.parse().ok()),
                response_bytes: 7,
                first_data: None,
                total: Duration::from_micros(9),
            }),
            ..Settle::upstream(id, self.at, usage)
        }
    }
}

/// Lets calls happen; returns their ids.
async fn happen<S: LedgerStore>(store: &S, calls: &[Call]) -> Vec<RequestId> {
    let mut ids = Vec::new();
    for call in calls {
        let reserve = call.reserve();
        granted(store, &reserve).await;
        settled(store, &call.settle(reserve.id)).await;
        ids.push(reserve.id);
    }
    ids
}

async fn listed<S: UsageStore>(
    store: &S,
    query: CallQuery,
) -> (Vec<RequestId>, Option<CallCursor>) {
    let page = done(store.calls(query).await);
    (page.calls.iter().map(|call| call.id).collect(), page.next)
}

fn name(name: &str) -> ConversationId {
    name.parse().expect("a name")
}

/// Who has called nothing has used nothing.
pub async fn nothing_comes_to_nothing<S: LedgerStore + UsageStore>(store: S) {
    let mine = || UsageScope::User(UserId::new());
    assert_eq!(
        listed(&store, CallQuery::new(mine(), 10)).await,
        (vec![], None)
    );
    let all = CallFilter::default;
    assert_eq!(done(store.usage(mine(), all()).await), UsageSum::default());
    let daily = UsageQuery::daily(mine(), all(), 10);
    assert_eq!(done(store.usage_by(daily).await), Some(Vec::new()));
    assert_eq!(done(store.statistics().await), UsageStatistics::default());
    // Nor has who is still at it.
    let user = UserId::new();
    granted(&store, &Call::of(user, 0).reserve()).await;
    let scope = UsageScope::User(user);
    assert_eq!(
        listed(&store, CallQuery::new(scope.clone(), 10)).await.0,
        []
    );
    assert_eq!(done(store.usage(scope, all()).await), UsageSum::default());
    assert_eq!(done(store.statistics().await), UsageStatistics::default());
}

/// Pages follow each other from the newest call to the oldest; offsets count the same list.
pub async fn calls_are_listed_the_newest_first_and_each_once<S: LedgerStore + UsageStore>(
    store: S,
) {
    let user = UserId::new();
    // Not in the order that they are written in.
    let calls = [30, 10, 50, 20, 40].map(|at| Call::of(user, at));
    let ids = happen(&store, &calls).await;
    let newest = [2, 4, 0, 3, 1].map(|place| ids[place]);
    let query = |count| CallQuery::new(UsageScope::User(user), count);
    assert_eq!(listed(&store, query(10)).await, (newest.to_vec(), None));
    let last = listed(&store, query(5)).await;
    assert_eq!(last, (newest.to_vec(), None), "none is behind the last");
    let mut paged = Vec::new();
    let mut next = query(2);
    loop {
        let (page, behind) = listed(&store, next.clone()).await;
        assert!(page.len() <= 2, "never more than asked for");
        paged.extend(page);
        match behind {
            Some(place) => next.after = Some(place),
            None => break,
        }
    }
    assert_eq!(paged, newest, "each once");
    for skip in 0..7 {
        let query = CallQuery { skip, ..query(2) };
        let from = newest.len().min(skip as usize);
        let page = &newest[from..newest.len().min(from + 2)];
        let (found, next) = listed(&store, query).await;
        assert_eq!(found, page, "from {skip} on");
        assert_eq!(next.is_some(), from + 2 < newest.len(), "from {skip} on");
    }
    let (none, _) = listed(&store, query(0)).await;
    assert_eq!(none, [], "who asks for none gets none");
}

/// Calls of the same microsecond are told apart by their ids.
pub async fn calls_of_one_moment_are_listed_each_once<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let calls = [7, 7, 7, 7, 7].map(|at| Call::of(user, at));
    let mut ids = happen(&store, &calls).await;
    ids.sort_unstable();
    ids.reverse();
    let mut paged = Vec::new();
    let mut next = CallQuery::new(UsageScope::User(user), 2);
    loop {
        let (page, behind) = listed(&store, next.clone()).await;
        paged.extend(page);
        match behind {
            Some(place) => next.after = Some(place),
            None => break,
        }
    }
    assert_eq!(paged, ids);
}

/// Whatever is asked for, calls that may not be seen are not: neither listed nor added up.
pub async fn nobody_sees_more_than_its_scope<S: LedgerStore + UsageStore>(store: S) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let shared = ProjectId::new();
    let in_shared = |user, at, session: Option<&str>| Call {
        project: shared,
        session: session.map(name),
        ..Call::of(user, at)
    };
    let calls = [
        Call::of(ada, 1),
        in_shared(ada, 2, Some("chat")),
        in_shared(bob, 3, Some("chat")),
        Call::of(bob, 4),
        in_shared(bob, 5, None),
    ];
    let ids = happen(&store, &calls).await;
    for (scope, seen) in [
        (UsageScope::User(ada), &[1, 0][..]),
        (UsageScope::User(bob), &[4, 3, 2]),
        (UsageScope::Project(shared), &[4, 2, 1]),
        (UsageScope::Project(calls[0].project), &[0]),
        (UsageScope::Session(ada, name("chat")), &[1]),
        (UsageScope::Session(bob, name("chat")), &[2]),
        (UsageScope::Session(bob, name("cha")), &[]),
        (UsageScope::User(UserId::new()), &[]),
        (UsageScope::Project(ProjectId::new()), &[]),
        (UsageScope::All, &[4, 3, 2, 1, 0]),
    ] {
        let expected: Vec<RequestId> = seen.iter().map(|place| ids[*place]).collect();
        let query = CallQuery::new(scope.clone(), 10);
        assert_eq!(listed(&store, query).await.0, expected, "{scope:?}");
        let sum = done(store.usage(scope.clone(), CallFilter::default()).await);
        assert_eq!(sum.calls, seen.len() as u64, "{scope:?}");
        // A filter narrows it and never widens it.
        let bobs = CallFilter {
            user: Some(bob),
            ..CallFilter::default()
        };
        let of_bob = seen
            .iter()
            .filter(|place| calls[**place].user == bob)
            .count();
        let sum = done(store.usage(scope.clone(), bobs.clone()).await);
        assert_eq!(sum.calls, of_bob as u64, "{scope:?}");
        let rows = UsageQuery::daily(scope.clone(), bobs, 10);
        let rows = done(store.usage_by(rows).await).expect("a few");
        let found: u64 = rows.iter().map(|row| row.sum.calls).sum();
        assert_eq!(found, of_bob as u64, "{scope:?}");
    }
}

/// A filter leaves out what it does not want, and nothing else.
pub async fn every_filter_leaves_out_the_others<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let key = KeyId::new();
    let call = |at| Call::of(user, at);
    let calls = [
        call(0),
        Call {
            key: Some(key),
            ..call(1)
        },
        Call {
            project: ProjectId::new(),
            ..call(2)
        },
        Call {
            model: "other",
            ..call(3)
        },
        Call {
            route: "embeddings",
            ..call(4)
        },
        Call {
            stream: true,
            ..call(5)
        },
        Call {
            ending: Ending::ClientGone,
            ..call(6)
        },
        Call {
            status: 400,
            ..call(7)
        },
        Call {
            session: Some(name("chat")),
            ..call(8)
        },
    ];
    let ids = happen(&store, &calls).await;
    let all = CallFilter::default;
    for (filter, wanted) in [
        (
            CallFilter {
                key: Some(key),
                ..all()
            },
            &[1][..],
        ),
        (
            CallFilter {
                key: Some(KeyId::new()),
                ..all()
            },
            &[],
        ),
        (
            CallFilter {
                project: Some(calls[2].project),
                ..all()
            },
            &[2],
        ),
        (
            CallFilter {
                user: Some(UserId::new()),
                ..all()
            },
            &[],
        ),
        (
            CallFilter {
                session: Some(name("chat")),
                ..all()
            },
            &[8],
        ),
        (
            CallFilter {
                session: Some(name("cha")),
                ..all()
            },
            &[],
        ),
        (
            CallFilter {
                model: Some("other".to_owned()),
                ..all()
            },
            &[3],
        ),
        (
            CallFilter {
                model: Some("OTHER".to_owned()),
                ..all()
            },
            &[],
        ),
        (
            CallFilter {
                route: Some("embeddings".to_owned()),
                ..all()
            },
            &[4],
        ),
        (
            CallFilter {
                stream: Some(true),
                ..all()
            },
            &[5],
        ),
        (
            CallFilter {
                ending: Some(Ending::ClientGone),
                ..all()
            },
            &[6],
        ),
        (
            CallFilter {
                status: Some(400),
                ..all()
            },
            &[7],
        ),
        (
            CallFilter {
                status: Some(400),
                stream: Some(true),
                ..all()
            },
            &[],
        ),
        (CallFilter::within(later(2), later(5)), &[4, 3, 2]),
        (CallFilter::within(later(5), later(2)), &[]),
        (
            CallFilter {
                from: later(6),
                ..all()
            },
            &[8, 7, 6],
        ),
        (
            CallFilter {
                to: later(1),
                ..all()
            },
            &[0],
        ),
    ] {
        let expected: Vec<RequestId> = wanted.iter().map(|place| ids[*place]).collect();
        let query = CallQuery {
            filter: filter.clone(),
            ..CallQuery::new(UsageScope::User(user), 10)
        };
        assert_eq!(listed(&store, query).await.0, expected, "{filter:?}");
        let sum = done(store.usage(UsageScope::User(user), filter.clone()).await);
        assert_eq!(sum.calls, wanted.len() as u64, "{filter:?}");
        let rows = UsageQuery::daily(UsageScope::User(user), filter.clone(), 10);
        let rows = done(store.usage_by(rows).await).expect("one day");
        let found: u64 = rows.iter().map(|row| row.sum.calls).sum();
        assert_eq!(found, wanted.len() as u64, "{filter:?}");
    }
}

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

/// Buckets begin at whole minutes, hours and days of UTC; what lies outside of the time that is asked for is left out.
pub async fn buckets_are_as_wide_as_asked<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    let moments = [1, 59_999_999, 60_000_000, HOUR - 1, HOUR, 25 * HOUR];
    happen(&store, &moments.map(|at| Call::of(user, at))).await;
    let rows = async |width, from, to| {
        let query = BucketQuery::new(later(from), later(to), width, 10);
        let rows = done(store.usage_in_buckets(query).await).expect("a few");
        let row = |row: BucketRow| {
            assert_eq!(row.key, BucketKey::default(), "told apart by nothing");
            assert_eq!(row.sum.prompt, 20 * row.sum.calls, "all of each call");
            (row.start.as_micros() - START.as_micros(), row.sum.calls)
        };
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    let minute = 60_000_000;
    assert_eq!(
        rows(BucketWidth::Minute, 0, 2 * HOUR).await,
        [(0, 2), (minute, 1), (HOUR - minute, 1), (HOUR, 1)]
    );
    let hours = rows(BucketWidth::Hour, 0, 48 * HOUR).await;
    assert_eq!(hours, [(0, 4), (HOUR, 1), (25 * HOUR, 1)]);
    let days = rows(BucketWidth::Day, 0, 48 * HOUR).await;
    assert_eq!(days, [(0, 5), (24 * HOUR, 1)]);
    let cut = rows(BucketWidth::Day, minute, HOUR).await;
    assert_eq!(
        cut,
        [(0, 2)],
        "the first moment is in it, the last is behind it"
    );
    assert_eq!(
        rows(BucketWidth::Day, 48 * HOUR, 0).await,
        [],
        "no time has no calls"
    );
}

/// Any of model, key, user and project together, in the order of what is told apart.
pub async fn buckets_are_told_apart_by_each_combination<S: LedgerStore + UsageStore>(store: S) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let key = KeyId::new();
    let calls = [
        Call {
            key: Some(key),
            ..Call::of(ada, 1)
        },
        Call {
            model: "other",
            key: Some(key),
            ..Call::of(ada, 2)
        },
        Call::of(ada, 3),
        Call::of(bob, 4),
    ];
    happen(&store, &calls).await;
    for number in 0..16 {
        let [model, by_key, user, project] = [1, 2, 4, 8].map(|bit| number & bit != 0);
        let groups = BucketGroups {
            model,
            key: by_key,
            user,
            project,
        };
        let query = BucketQuery {
            groups,
            ..BucketQuery::new(START, later(HOUR), BucketWidth::Hour, 10)
        };
        let rows = done(store.usage_in_buckets(query).await).expect("a few");
        let mut expected = std::collections::BTreeMap::new();
        for call in &calls {
            let found = BucketKey {
                model: model.then(|| call.model.to_owned()),
                key: call.key.filter(|_| by_key),
                user: user.then_some(call.user),
                project: project.then_some(call.project),
            };
            *expected.entry(found).or_insert(0) += 1;
        }
        let found = rows.into_iter().map(|row| (row.key, row.sum.calls));
        let expected: Vec<(BucketKey, u64)> = expected.into_iter().collect();
        assert_eq!(found.collect::<Vec<_>>(), expected, "{groups:?}");
    }
}

/// Each filter by itself: one of its list has to fit.
pub async fn buckets_hold_what_is_wanted<S: LedgerStore + UsageStore>(store: S) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let (one, two) = (KeyId::new(), KeyId::new());
    let calls = [
        Call {
            key: Some(one),
            ..Call::of(ada, 1)
        },
        Call {
            key: Some(two),
            model: "b",
            ..Call::of(ada, 2)
        },
        Call {
            route: "embeddings",
            model: "c",
            ..Call::of(bob, 3)
        },
    ];
    happen(&store, &calls).await;
    // A call under way is in none.
    granted(&store, &Call::of(ada, 4).reserve()).await;
    let all = || BucketQuery::new(START, later(HOUR), BucketWidth::Day, 10);
    let count = async |query| {
        let rows = done(store.usage_in_buckets(query).await).expect("a few");
        rows.iter().map(|row| row.sum.calls).sum::<u64>()
    };
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(count(all()).await, 3);
    assert_eq!(
        count(BucketQuery {
            users: vec![ada],
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(BucketQuery {
            users: vec![ada, bob],
            ..all()
        })
        .await,
        3
    );
    let projects = vec![calls[2].project, ProjectId::new()];
    assert_eq!(count(BucketQuery { projects, ..all() }).await, 1);
    assert_eq!(
        count(BucketQuery {
            keys: vec![two],
            ..all()
        })
        .await,
        1
    );
    assert_eq!(
        count(BucketQuery {
            keys: vec![two, one],
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(BucketQuery {
            models: texts(&["b", "c"]),
            ..all()
        })
        .await,
        2
    );
    assert_eq!(
        count(BucketQuery {
            routes: texts(&["chat", "none"]),
            ..all()
        })
        .await,
        2
    );
    let both = BucketQuery {
        users: vec![ada],
        models: texts(&["c"]),
        ..all()
    };
    assert_eq!(count(both).await, 0, "each of them has to hold");
}

/// Too long an answer is none, and not a part of one.
pub async fn more_rows_of_buckets_than_asked_for_are_none<S: LedgerStore + UsageStore>(store: S) {
    let user = UserId::new();
    happen(&store, &[0, 1, 2].map(|hour| Call::of(user, hour * HOUR))).await;
    for (count, fits) in [(0, false), (2, false), (3, true), (4, true)] {
        let query = BucketQuery::new(START, later(24 * HOUR), BucketWidth::Hour, count);
        let rows = done(store.usage_in_buckets(query).await);
        assert_eq!(rows.map(|rows| rows.len()), fits.then_some(3), "{count}");
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
