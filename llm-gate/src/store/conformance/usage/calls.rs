use super::super::support::{done, granted, later};
use super::{Call, happen, listed, name};
use crate::identity::{KeyId, ProjectId, RequestId, UserId};
use crate::store::{
    CallFilter, CallQuery, Ending, LedgerStore, UsageQuery, UsageScope, UsageStatistics,
    UsageStore, UsageSum,
};

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
