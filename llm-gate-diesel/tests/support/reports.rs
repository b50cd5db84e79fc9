//! What reports ask a store for.

use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use llm_gate::store::{
    BucketQuery, BucketWidth, CallCursor, CallFilter, CallInfo, CallQuery, ConversationQuery,
    LedgerStore, Reserve, UsageGroup, UsagePeriod, UsageQuery, UsageScope, UsageStore,
};

use super::{granted, reserve, settle};

fn session() -> ConversationId {
    "chat".parse().unwrap()
}

/// Lets a call be made that is part of a conversation; returns its project.
pub async fn prepare(store: &impl LedgerStore) -> ProjectId {
    let (user, project) = (UserId::new(), ProjectId::new());
    let reserve = Reserve {
        call: CallInfo::new(user, project, "chat", "model").session(Some(session())),
        ..reserve(Subject::User(user), 10)
    };
    assert!(granted(store, &reserve).await);
    store.apply(vec![settle(reserve.id, 10)]).await.unwrap();
    project
}

/// Asks what the routes ask: a page, a page behind it, a sum and sums by day, of each scope, and for the conversations of
/// a project that has one.
pub async fn ask(store: &impl UsageStore, talking: ProjectId) {
    let session = session();
    let month = CallFilter::within(Timestamp::from_micros(1), Timestamp::from_micros(9));
    for scope in [
        UsageScope::User(UserId::new()),
        UsageScope::Project(ProjectId::new()),
        UsageScope::Session(UserId::new(), session),
        UsageScope::All,
    ] {
        let page = CallQuery {
            filter: month.clone(),
            ..CallQuery::new(scope.clone(), 100)
        };
        let behind = CallQuery {
            after: Some(CallCursor {
                at: Timestamp::from_micros(5),
                id: RequestId::new(),
            }),
            ..CallQuery::new(scope.clone(), 100)
        };
        let of_key = CallQuery {
            filter: CallFilter {
                key: Some(KeyId::new()),
                ..CallFilter::default()
            },
            ..CallQuery::new(scope.clone(), 100)
        };
        for query in [page, behind] {
            store.calls(query).await.unwrap();
        }
        if scope != UsageScope::All {
            store.calls(of_key).await.unwrap();
        }
        store.usage(scope.clone(), month.clone()).await.unwrap();
        let daily = UsageQuery::daily(scope, month.clone(), 1_000);
        let by_key = UsageQuery {
            group: Some(UsageGroup::Key),
            period: UsagePeriod::All,
            ..daily.clone()
        };
        for query in [daily, by_key] {
            store.usage_by(query).await.unwrap();
        }
    }
    let conversations = ConversationQuery::new(talking, 100);
    let behind = ConversationQuery {
        user: Some(UserId::new()),
        after: Some(CallCursor {
            at: Timestamp::from_micros(5),
            id: RequestId::new(),
        }),
        ..conversations.clone()
    };
    let found = store.conversations(conversations).await.unwrap();
    assert_eq!(
        found.conversations.len(),
        1,
        "or the sums are not asked for"
    );
    store.conversations(behind).await.unwrap();
    let minutes = BucketQuery::new(
        Timestamp::from_micros(1),
        Timestamp::from_micros(9),
        BucketWidth::Minute,
        1_000,
    );
    let of_users = BucketQuery {
        users: vec![UserId::new(), UserId::new()],
        ..minutes.clone()
    };
    let of_projects = BucketQuery {
        projects: vec![ProjectId::new()],
        ..minutes.clone()
    };
    for query in [minutes, of_users, of_projects] {
        store.usage_in_buckets(query).await.unwrap();
    }
}
