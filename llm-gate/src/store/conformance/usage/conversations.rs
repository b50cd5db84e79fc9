use super::super::support::{done, granted, later};
use super::{Call, happen, name};
use crate::identity::{ProjectId, UserId};
use crate::store::{
    CallFilter, Conversation, ConversationQuery, Ending, LedgerStore, UsageStore, UsageSum,
};

/// Who talks, and under what name.
fn whose(found: &[Conversation]) -> Vec<(UserId, String)> {
    let whose = |one: &Conversation| (one.user, one.session.to_string());
    found.iter().map(whose).collect()
}

fn asked(project: ProjectId, count: u32) -> ConversationQuery {
    ConversationQuery::new(project, CallFilter::default(), count)
}

/// Asks page by page, `count` at once.
async fn all<S: UsageStore>(store: &S, query: ConversationQuery) -> Vec<Conversation> {
    let mut found = Vec::new();
    let mut next = query;
    loop {
        let page = done(store.conversations(next.clone()).await);
        assert!(page.conversations.len() <= next.count as usize);
        found.extend(page.conversations);
        let Some(place) = page.next else {
            return found;
        };
        assert!(!found.is_empty(), "nothing is no page before another");
        next.after = Some(place);
    }
}

/// The one that was gone on with last comes first, with the sum of all its calls.
pub async fn conversations_are_listed_by_their_last_call<S: LedgerStore + UsageStore>(store: S) {
    let project = ProjectId::new();
    let ada = UserId::new();
    let call = |session, at| Call {
        project,
        session: Some(name(session)),
        ..Call::of(ada, at)
    };
    let calls = [
        call("old", 10),
        call("long", 5),
        call("long", 40),
        call("new", 30),
        call("long", 20),
    ];
    happen(&store, &calls).await;
    let found = all(&store, asked(project, 10)).await;
    let order = ["long", "new", "old"].map(|session| (ada, session.to_owned()));
    assert_eq!(whose(&found), order);
    let sum = found[0].sum;
    assert_eq!((sum.calls, sum.tokens), (3, 90), "all of it: {sum:?}");
    assert_eq!((sum.prompt, sum.completion, sum.cached), (60, 30, 12));
    assert_eq!((sum.first, sum.last), (Some(later(5)), Some(later(40))));
    for count in 1..=3 {
        let paged = all(&store, asked(project, count)).await;
        assert_eq!(paged, found, "each once, by {count}");
    }
    let all_at_once = asked(project, 3);
    let page = done(store.conversations(all_at_once).await);
    assert_eq!(page.next, None, "none is behind the last");
    let other = asked(ProjectId::new(), 10);
    assert_eq!(all(&store, other).await, []);
}

/// Calls of one moment keep pages apart too.
pub async fn conversations_of_one_moment_are_listed_each_once<S: LedgerStore + UsageStore>(
    store: S,
) {
    let project = ProjectId::new();
    let users = [UserId::new(), UserId::new(), UserId::new()];
    let mut calls = Vec::new();
    for _ in 0..2 {
        for session in ["a", "b"] {
            let call = |user| Call {
                project,
                session: Some(name(session)),
                ..Call::of(user, 7)
            };
            calls.extend(users.map(call));
        }
    }
    happen(&store, &calls).await;
    let at_once = all(&store, asked(project, 100)).await;
    assert_eq!(at_once.len(), 6);
    assert!(at_once.iter().all(|one| one.sum.calls == 2), "{at_once:?}");
    for count in [1, 2, 4] {
        let paged = all(&store, asked(project, count)).await;
        assert_eq!(paged, at_once, "by {count}");
    }
}

/// A name is its user's in its project, whoever and wherever else has the same.
pub async fn a_conversation_is_of_one_user_in_one_project<S: LedgerStore + UsageStore>(store: S) {
    let (work, play) = (ProjectId::new(), ProjectId::new());
    let (ada, eve) = (UserId::new(), UserId::new());
    let call = |user, project, at| Call {
        project,
        session: Some(name("chat")),
        ..Call::of(user, at)
    };
    let calls = [
        call(ada, work, 1),
        call(eve, work, 2),
        call(ada, work, 3),
        // Later than all of them, and not in that project.
        call(ada, play, 9),
        call(eve, play, 8),
    ];
    happen(&store, &calls).await;
    let found = all(&store, asked(work, 10)).await;
    let chat = |user| (user, "chat".to_owned());
    assert_eq!(whose(&found), [chat(ada), chat(eve)]);
    assert_eq!((found[0].sum.calls, found[1].sum.calls), (2, 1));
    assert_eq!(found[0].sum.last, Some(later(3)), "of this project");
    let of = |user| {
        let filter = CallFilter {
            user: Some(user),
            ..CallFilter::default()
        };
        ConversationQuery::new(work, filter, 1)
    };
    assert_eq!(whose(&all(&store, of(eve)).await), [chat(eve)]);
    let before = CallFilter::within(later(0), later(3));
    let then = all(&store, ConversationQuery::new(work, before, 1)).await;
    assert_eq!(whose(&then), [chat(eve), chat(ada)], "as it was then");
    assert_eq!(then[1].sum.calls, 1, "only what is looked at");
    assert_eq!(all(&store, of(UserId::new())).await, []);
}

/// What clients do not name is not listed, nor what is under way; what failed is part of it.
pub async fn what_has_no_name_or_has_not_ended_is_no_conversation<S: LedgerStore + UsageStore>(
    store: S,
) {
    let project = ProjectId::new();
    let ada = UserId::new();
    let call = |session: Option<&str>, at| Call {
        project,
        session: session.map(name),
        ..Call::of(ada, at)
    };
    granted(&store, &call(Some("begun"), 1).reserve()).await;
    let failed = Call {
        ending: Ending::Refused,
        status: 502,
        tokens: (0, 0, 0),
        ..call(Some("chat"), 3)
    };
    happen(&store, &[call(None, 2), failed, call(Some("chat"), 4)]).await;
    granted(&store, &call(Some("chat"), 5).reserve()).await;
    let found = all(&store, asked(project, 10)).await;
    assert_eq!(whose(&found), [(ada, "chat".to_owned())]);
    let sum = UsageSum {
        calls: 2,
        tokens: 30,
        prompt: 20,
        completion: 10,
        cached: 4,
        cost: 0,
        first: Some(later(3)),
        last: Some(later(4)),
    };
    assert_eq!(found[0].sum, sum);
}
