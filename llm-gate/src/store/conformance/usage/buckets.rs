use super::super::support::{START, done, granted, later};
use super::{Call, HOUR, happen};
use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::{
    BucketGroups, BucketKey, BucketQuery, BucketRow, BucketWidth, LedgerStore, UsageStore,
};

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
