//! The rules of [`EventStore`], and of what every change leaves there.

mod accounts;
mod books;
mod following;
mod log;
mod none;
mod projects;

pub use accounts::*;
pub use books::*;
pub use following::*;
pub use log::*;
pub use none::*;
pub use projects::*;

use serde_json::Value;

use super::rules;
use super::support::{done, later};
use crate::identity::{ProjectId, UserId};
use crate::store::{Action, Actor, Author, Event, EventQuery, EventStore, NewService, Store, User};

rules!(__events_rules where S: Store;
    an_event_is_read_as_it_was_noted,
    events_are_listed_newest_first,
    events_are_found_by_what_they_are_about,
    an_account_leaves_events,
    a_service_leaves_events,
    a_password_leaves_events,
    an_address_leaves_events,
    a_letter_leaves_an_event_where_somebody_asked_for_it,
    an_identity_leaves_events,
    the_first_identity_leaves_events,
    a_session_leaves_events,
    a_theft_is_told_with_who_brought_the_token,
    a_project_leaves_events,
    a_member_leaves_events,
    an_invite_leaves_events,
    an_invite_to_several_projects_leaves_events,
    a_key_leaves_events,
    a_limit_leaves_events,
    a_price_leaves_events,
    a_reset_of_usage_leaves_events,
    a_refund_leaves_an_event,
    what_goes_with_an_account_leaves_events,
    what_goes_with_a_project_leaves_events,
    what_goes_with_a_member_leaves_events,
    racing_changes_leave_an_event_each,
    what_changes_nothing_leaves_no_event,
    what_fails_leaves_no_event,
    a_ticket_that_is_not_kept_leaves_no_event,
    no_event_tells_a_secret,
);

/// Who changes something in these rules: with all that is known of somebody.
fn someone(micros: i64) -> Author {
    Author {
        actor: Actor::User(UserId::from_uuid(uuid::Uuid::from_u128(7))),
        at: later(micros),
        address: Some("192.0.2.7".parse().expect("an address")),
        request: Some("req_7".to_owned()),
    }
}

fn to_value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).expect("what is kept can be written")
}

async fn service<S: Store>(store: &S, project: ProjectId) -> User {
    let new = NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project,
        author: someone(0),
    };
    done(store.create_service(new).await).expect("there is such a project")
}

async fn listed<S: EventStore>(store: &S, query: EventQuery) -> Vec<Event> {
    done(store.events(query, 10_000).await)
}

/// Reads what is left from one step to the next.
struct Trail<'a, S> {
    store: &'a S,
    seen: usize,
}

impl<'a, S: EventStore> Trail<'a, S> {
    /// Begins behind all that is there.
    async fn begin(store: &'a S) -> Self {
        let mut trail = Self { store, seen: 0 };
        trail.left().await;
        trail
    }

    /// Returns the events that are new, the oldest first.
    async fn left(&mut self) -> Vec<Event> {
        let mut events = listed(self.store, EventQuery::default()).await;
        events.reverse();
        let new = events.split_off(self.seen);
        self.seen += new.len();
        new
    }

    async fn nothing(&mut self, reason: &str) {
        let left = self.left().await;
        assert!(left.is_empty(), "{reason}: {left:?}");
    }

    /// Returns the one event that is new, by [`someone`] at a moment, of an action, about a target.
    async fn one(
        &mut self,
        micros: i64,
        action: Action,
        target: (&str, &dyn ToString),
        project: Option<ProjectId>,
    ) -> Event {
        let (event, beside) = self.first(micros, action, target, project).await;
        assert!(beside.is_empty(), "one event of {action}: {beside:?}");
        event
    }

    /// Returns the first event that is new, as [`one`](Self::one) does, and those that are beside it.
    async fn first(
        &mut self,
        micros: i64,
        action: Action,
        target: (&str, &dyn ToString),
        project: Option<ProjectId>,
    ) -> (Event, Vec<Event>) {
        let mut left = self.left().await;
        assert!(!left.is_empty(), "{action} leaves an event");
        let event = left.remove(0);
        assert_eq!(event.action, action, "what was done");
        assert_eq!(event.author, someone(micros), "by whom, from where, when");
        let found = (event.target.kind.as_str(), event.target.id.clone());
        assert_eq!(found, (target.0, target.1.to_string()), "to what");
        assert_eq!(event.project, project, "the project it concerns");
        (event, left)
    }

    /// Returns the actions and targets that are new, in an order of their own.
    async fn several(&mut self, micros: i64) -> Vec<(Action, String)> {
        let left = self.left().await;
        let told = left.into_iter().map(|event| {
            assert_eq!(event.author, someone(micros), "all by the one who began it");
            (event.action, event.target.id)
        });
        let mut told: Vec<(Action, String)> = told.collect();
        told.sort_unstable();
        told
    }
}

/// Checks that the one event beside another is that somebody became a member.
fn became_member(beside: &[Event], micros: i64, user: UserId, project: ProjectId, role: &str) {
    let [event] = beside else {
        panic!("one event beside it: {beside:?}");
    };
    assert_eq!(event.action, Action::MemberAdded, "who is in the project");
    assert_eq!(event.author, someone(micros), "by whom");
    assert_eq!(event.target.id, user.to_string(), "who");
    assert_eq!(event.project, Some(project), "where");
    assert_eq!(event.before, Value::Null, "nobody was");
    assert_eq!(event.after["role"], role, "as what");
}

/// Puts what is expected into the order of [`Trail::several`].
fn sorted<const N: usize>(expected: [(Action, &dyn ToString); N]) -> Vec<(Action, String)> {
    let expected = expected.map(|(action, target)| (action, target.to_string()));
    let mut expected = Vec::from(expected);
    expected.sort_unstable();
    expected
}
