//! The log itself.

use serde_json::{Value, json};

use super::{listed, someone};
use crate::identity::{EventId, KeyId, ProjectId, UserId};
use crate::store::conformance::support::{at, done, later};
use crate::store::{Action, Actor, Author, Event, EventQuery, Store, Target};

/// An event by somebody, about something.
fn event(author: Author, action: Action, target: &str) -> Event {
    Event::new(&author, action, Target::new("user", target))
}

/// Every kind of actor and every fact survives, to the microsecond.
pub async fn an_event_is_read_as_it_was_noted<S: Store>(store: S) {
    let (user, key) = (UserId::new(), KeyId::new());
    let actors = [
        Actor::System,
        Actor::Anonymous,
        Actor::Operator,
        Actor::User(user),
        Actor::Key(key, user),
    ];
    let mut noted = Vec::new();
    for (number, actor) in actors.into_iter().enumerate() {
        let mut author = Author::new(actor, later(5));
        if number % 2 == 1 {
            author.address = Some("2001:db8::7".parse().expect("an address"));
            author.request = Some("req_größer".to_owned());
        }
        let mut event = event(author, Action::LoginFailed, "größer");
        event.before = Value::Null;
        event.after = json!({"login": "größer \"quoted\"", "tries": [1, 2], "none": null});
        event.project = (number == 2).then(ProjectId::new);
        done(store.note(event.clone()).await);
        noted.push(event);
    }
    for action in Action::ALL {
        let event = event(at(6), *action, "each");
        done(store.note(event.clone()).await);
        noted.push(event);
    }
    noted.reverse();
    assert_eq!(
        listed(&store, EventQuery::default()).await,
        noted,
        "it is what was noted"
    );
}

/// Order is that of the identifiers, whatever the order of arrival.
pub async fn events_are_listed_newest_first<S: Store>(store: S) {
    let mut made: Vec<Event> = (0..6)
        .map(|number| event(at(5), Action::LoginFailed, &number.to_string()))
        .collect();
    for number in [3, 0, 5, 1, 4, 2] {
        done(store.note(made[number].clone()).await);
    }
    made.reverse();
    let page = async |before: Option<EventId>, limit| {
        let query = EventQuery {
            before,
            ..EventQuery::default()
        };
        done(store.events(query, limit).await)
    };
    assert_eq!(page(None, 10).await, made, "the newest first");
    assert_eq!(page(None, 2).await, made[..2], "at most as many as asked");
    assert_eq!(
        page(Some(made[1].id), 3).await,
        made[2..5],
        "and on behind the last one"
    );
    assert!(page(Some(made[5].id), 10).await.is_empty(), "to the end");
    assert!(page(None, 0).await.is_empty(), "none were asked for");
    let back = async |after: EventId, before, limit| {
        let query = EventQuery {
            after: Some(after),
            before,
            ..EventQuery::default()
        };
        done(store.events(query, limit).await)
    };
    assert_eq!(
        back(made[4].id, None, 2).await,
        made[2..4],
        "back, next to where it was"
    );
    assert_eq!(
        back(made[2].id, None, 10).await,
        made[..2],
        "as far as there is more"
    );
    assert!(
        back(made[0].id, None, 10).await.is_empty(),
        "there is nothing newer"
    );
    let between = back(made[5].id, Some(made[1].id), 10).await;
    assert_eq!(between, made[2..5], "between two of them");
}

/// Each filter by itself, and all together.
pub async fn events_are_found_by_what_they_are_about<S: Store>(store: S) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let (one, two) = (ProjectId::new(), ProjectId::new());
    let key = KeyId::new();
    let facts = [
        (Actor::User(ada), Action::KeyCreated, "a", Some(one), 1),
        (Actor::Key(key, ada), Action::KeyRevoked, "a", Some(two), 2),
        (Actor::User(bob), Action::KeyCreated, "b", Some(one), 3),
        (Actor::Operator, Action::KeyRotated, "b", Some(one), 4),
        (Actor::System, Action::LoginFailed, "c", None, 5),
    ];
    for (actor, action, target, project, moment) in facts {
        let author = Author::new(actor, later(moment));
        done(store.note(event(author, action, target).of(project)).await);
    }
    let found = async |query: EventQuery| -> Vec<i64> {
        let events = listed(&store, query).await;
        let moments = events.iter().map(|event| event.author.at);
        moments
            .map(|at| at.as_micros() - later(0).as_micros())
            .collect()
    };
    let query = EventQuery::default;
    let projects = vec![one];
    assert_eq!(
        found(EventQuery {
            projects,
            ..query()
        })
        .await,
        [4, 3, 1],
        "of a project"
    );
    let actors = vec![ada];
    assert_eq!(
        found(EventQuery { actors, ..query() }).await,
        [2, 1],
        "by login and by key"
    );
    let targets = vec!["b".to_owned()];
    assert_eq!(
        found(EventQuery { targets, ..query() }).await,
        [4, 3],
        "about a target"
    );
    let projects = vec![two, one];
    let targets = vec!["a".to_owned(), "c".to_owned()];
    let any = EventQuery {
        projects,
        targets,
        ..query()
    };
    assert_eq!(found(any).await, [2, 1], "of one of each list");
    let keys = vec![key];
    let by_key = EventQuery { keys, ..query() };
    assert_eq!(
        found(by_key.clone()).await,
        [2],
        "a key by itself is somebody too"
    );
    let either = EventQuery {
        actors: vec![bob],
        ..by_key
    };
    assert_eq!(found(either).await, [3, 2], "users and keys together");
    let actions = vec![Action::KeyRevoked, Action::LoginFailed];
    assert_eq!(
        found(EventQuery { actions, ..query() }).await,
        [5, 2],
        "of any of the actions"
    );
    let from = Some(later(3));
    assert_eq!(
        found(EventQuery { from, ..query() }).await,
        [5, 4, 3],
        "that moment is in it"
    );
    let until = Some(later(3));
    assert_eq!(
        found(EventQuery { until, ..query() }).await,
        [2, 1],
        "and is not in that"
    );
    let in_projects = EventQuery {
        actions: vec![Action::KeyRevoked],
        in_projects: vec![Action::KeyCreated, Action::LoginFailed],
        ..query()
    };
    assert_eq!(
        found(in_projects).await,
        [3, 2, 1],
        "some only where a project is concerned"
    );
    let beside_projects = EventQuery {
        beside_projects: vec![Action::KeyCreated, Action::LoginFailed],
        ..query()
    };
    assert_eq!(
        found(beside_projects).await,
        [5],
        "and some only where none is"
    );
    let several = EventQuery {
        projects: vec![one],
        targets: vec!["b".to_owned()],
        actions: vec![Action::KeyCreated],
        from: Some(later(2)),
        until: Some(later(4)),
        ..query()
    };
    assert_eq!(
        found(several.clone()).await,
        [3],
        "each of them has to hold"
    );
    let other = EventQuery {
        actors: vec![ada],
        ..several
    };
    assert!(found(other).await.is_empty(), "all of them");
    let unknown = EventQuery {
        projects: vec![ProjectId::new()],
        ..query()
    };
    assert!(
        found(unknown).await.is_empty(),
        "a project that nothing concerns"
    );
    let nobody = EventQuery {
        actors: Vec::from_iter(someone(0).actor.parts().1),
        ..query()
    };
    assert!(found(nobody).await.is_empty(), "a user who did nothing");
}
