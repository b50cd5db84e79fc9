//! What reports ask a store for.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use llm_gate::store::{
    BucketQuery, BucketWidth, CallCursor, CallFilter, CallQuery, ConversationCursor,
    ConversationQuery, UsageGroup, UsagePeriod, UsageQuery, UsageScope, UsageStore,
};

/// Asks what the routes ask: a page, a page behind it, a sum and sums by day, of each scope, and for conversations of a
/// project.
pub async fn ask(store: &impl UsageStore) {
    let session: ConversationId = "chat".parse().unwrap();
    let month = CallFilter::within(Timestamp::from_micros(1), Timestamp::from_micros(9));
    for scope in [
        UsageScope::User(UserId::new()),
        UsageScope::Project(ProjectId::new()),
        UsageScope::Session(UserId::new(), session.clone()),
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
    let (project, user) = (ProjectId::new(), UserId::new());
    let conversations = ConversationQuery::new(project, month.clone(), 100);
    let behind = ConversationQuery {
        after: Some(ConversationCursor {
            last: Timestamp::from_micros(5),
            user,
            session: session.clone(),
        }),
        ..conversations.clone()
    };
    for query in [conversations, behind] {
        store.conversations(query).await.unwrap();
    }
    let one = UsageScope::Session(user, session);
    let there = CallFilter {
        project: Some(project),
        ..CallFilter::default()
    };
    store.usage(one.clone(), there.clone()).await.unwrap();
    let page = CallQuery {
        filter: there,
        ..CallQuery::new(one, 100)
    };
    store.calls(page).await.unwrap();
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
