use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::identity::{EventId, KeyId, ProjectId, UserId};
use crate::store::StoreFuture;
use crate::words::words;

/// Who changes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Actor {
    /// The gate itself, or its command line.
    #[default]
    System,
    /// Somebody who has not said who it is: a registration, a failed login.
    Anonymous,
    /// The holder of the operator key.
    Operator,
    /// A user who has logged in.
    User(UserId),
    /// An API key, and the user behind it.
    Key(KeyId, UserId),
}

impl Actor {
    /// Returns the word, the user and the key that stores keep.
    #[must_use]
    pub const fn parts(&self) -> (&'static str, Option<UserId>, Option<KeyId>) {
        match self {
            Self::System => ("system", None, None),
            Self::Anonymous => ("anonymous", None, None),
            Self::Operator => ("operator", None, None),
            Self::User(user) => ("user", Some(*user), None),
            Self::Key(key, user) => ("key", Some(*user), Some(*key)),
        }
    }

    /// Puts together again what [`parts`](Self::parts) took apart.
    #[must_use]
    pub fn from_parts(word: &str, user: Option<UserId>, key: Option<KeyId>) -> Option<Self> {
        match (word, user, key) {
            ("system", None, None) => Some(Self::System),
            ("anonymous", None, None) => Some(Self::Anonymous),
            ("operator", None, None) => Some(Self::Operator),
            ("user", Some(user), None) => Some(Self::User(user)),
            ("key", Some(user), Some(key)) => Some(Self::Key(key, user)),
            _ => None,
        }
    }
}

/// Who changes something, from where, and when: every change takes one, and leaves an [`Event`] in the same transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Who it is.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// The client's address, where there is a client.
    pub address: Option<IpAddr>,
    /// The request's identifier, as the client was told it.
    pub request: Option<String>,
}

impl Author {
    /// Describes somebody without an address.
    #[must_use]
    pub const fn new(actor: Actor, at: Timestamp) -> Self {
        Self {
            actor,
            at,
            address: None,
            request: None,
        }
    }

    /// Describes the gate itself.
    #[must_use]
    pub const fn system(at: Timestamp) -> Self {
        Self::new(Actor::System, at)
    }

    /// Describes the gate itself, now by the machine's clock.
    #[must_use]
    pub fn now() -> Self {
        Self::system(SystemClock.now())
    }
}

words! {
    /// What was done. The target is what the first part of the word says: for `password`, `email`, `identity` and
    /// `member` the user, for `limit` the subject, for `price` the model, for `charge` the call.
    Action {
        /// An account was made.
        UserCreated = "user.created",
        /// An account has other names, another role, or was disabled or enabled.
        UserChanged = "user.changed",
        /// An account was deleted.
        UserDeleted = "user.deleted",
        /// A password was set.
        PasswordChanged = "password.changed",
        /// A letter that sets another password was asked for.
        PasswordResetRequested = "password.reset_requested",
        /// Another letter that confirms the address was asked for.
        EmailVerificationRequested = "email.verification_requested",
        /// An e-mail address was confirmed.
        EmailVerified = "email.verified",
        /// An account can be entered by another provider from now on.
        IdentityLinked = "identity.linked",
        /// It cannot any more.
        IdentityUnlinked = "identity.unlinked",
        /// Somebody logged in.
        SessionCreated = "session.created",
        /// A session was ended.
        SessionRevoked = "session.revoked",
        /// A spent refresh token came back, and its session was ended.
        SessionReused = "session.reused",
        /// A login was refused.
        LoginFailed = "login.failed",
        /// A project was made.
        ProjectCreated = "project.created",
        /// A project has another name.
        ProjectChanged = "project.changed",
        /// A project was closed.
        ProjectArchived = "project.archived",
        /// Somebody became a member.
        MemberAdded = "member.added",
        /// A member has another role.
        MemberChanged = "member.changed",
        /// Somebody is no member any more.
        MemberRemoved = "member.removed",
        /// A key was made.
        KeyCreated = "key.created",
        /// A key may do something else.
        KeyChanged = "key.changed",
        /// A key has another secret.
        KeyRotated = "key.rotated",
        /// A key was revoked.
        KeyRevoked = "key.revoked",
        /// Somebody was invited.
        InviteCreated = "invite.created",
        /// A project was taken out of an invite, which leads into others.
        InviteChanged = "invite.changed",
        /// An invite was taken up.
        InviteAccepted = "invite.accepted",
        /// An invite was withdrawn.
        InviteRevoked = "invite.revoked",
        /// A limit was set or changed.
        LimitChanged = "limit.changed",
        /// A limit was removed.
        LimitRemoved = "limit.removed",
        /// What somebody or something had used was taken off.
        UsageReset = "usage.reset",
        /// A tariff was set or removed.
        PriceChanged = "price.changed",
        /// A presumed charge was given back.
        ChargeRefunded = "charge.refunded",
    }
}

/// What was changed: a kind of thing and which one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The kind as a word: `user`, `project`, `key`, `session`, `invite`, `model`, `platform` or `call`.
    pub kind: String,
    /// Which one.
    pub id: String,
}

impl Target {
    /// Names something by its identifier.
    #[must_use]
    pub fn new(kind: &str, id: impl ToString) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.to_string(),
        }
    }
}

/// What was done, by whom, to what: never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event. Later ones have greater identifiers.
    pub id: EventId,
    /// Who did it, from where, and when.
    pub author: Author,
    /// What was done.
    pub action: Action,
    /// To what.
    pub target: Target,
    /// The project it concerns, whose owners may read it.
    pub project: Option<ProjectId>,
    /// What of the target was different before, without secrets; null where it did not exist.
    pub before: Value,
    /// What it is now, without secrets; null where it does not exist any more.
    pub after: Value,
}

impl Event {
    /// Describes a change from `before` to `after`, of which what is the same in both is left out.
    #[must_use]
    pub fn new(author: &Author, action: Action, target: Target) -> Self {
        Self {
            id: EventId::new(),
            author: author.clone(),
            action,
            target,
            project: None,
            before: Value::Null,
            after: Value::Null,
        }
    }

    /// Names the project it concerns.
    #[must_use]
    pub const fn of(mut self, project: Option<ProjectId>) -> Self {
        self.project = project;
        self
    }

    /// Tells what was and what is. Of two objects only the members that differ are kept.
    #[must_use]
    pub fn change(mut self, before: &impl Serialize, after: &impl Serialize) -> Self {
        let facts = |of: Result<Value, _>| of.unwrap_or(Value::Null);
        self.before = facts(serde_json::to_value(before));
        self.after = facts(serde_json::to_value(after));
        if let (Value::Object(before), Value::Object(after)) = (&mut self.before, &mut self.after) {
            let same = |(name, value): (&String, &Value), other: &Map<String, Value>| {
                other.get(name) == Some(value)
            };
            let all = before.clone();
            before.retain(|name, value| !same((name, value), after));
            after.retain(|name, value| !same((name, value), &all));
        }
        self
    }

    /// Tells what there is now, where there was nothing before.
    #[must_use]
    pub fn made(self, after: &impl Serialize) -> Self {
        self.change(&Value::Null, after)
    }

    /// Tells what there was, where there is nothing now.
    #[must_use]
    pub fn gone(self, before: &impl Serialize) -> Self {
        self.change(before, &Value::Null)
    }
}

/// Which events are wanted: nothing set means all. Of a list, one has to fit; an empty one fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those of these projects.
    pub projects: Vec<ProjectId>,
    /// Only what these users did, by login or by key, and what the keys of the next list did.
    pub actors: Vec<UserId>,
    /// Only what these keys did, and the users of the list before.
    pub keys: Vec<KeyId>,
    /// Only what was done to these: targets' identifiers.
    pub targets: Vec<String>,
    /// Only these actions, and those of the two lists below.
    pub actions: Vec<Action>,
    /// Only these actions where they concern a project, such as what is done to a service.
    pub in_projects: Vec<Action>,
    /// Only these actions where they concern none, such as what is done to a person.
    pub beside_projects: Vec<Action>,
    /// Only those at or after this moment.
    pub from: Option<Timestamp>,
    /// Only those before this moment.
    pub until: Option<Timestamp>,
    /// Only those older than this one: the cursor.
    pub before: Option<EventId>,
    /// Only those newer than this one: the cursor of who reads back. Of these the ones next to it are listed, which are
    /// the oldest; the newest of them comes first all the same.
    pub after: Option<EventId>,
}

impl EventQuery {
    /// Returns whether an event is wanted.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let at = event.author.at;
        let (_, user, key) = event.author.actor.parts();
        let did = user.is_some_and(|user| self.actors.contains(&user))
            || key.is_some_and(|key| self.keys.contains(&key));
        let of = |id: &ProjectId| event.project == Some(*id);
        (self.projects.is_empty() || self.projects.iter().any(of))
            && (self.actors.is_empty() && self.keys.is_empty() || did)
            && (self.targets.is_empty() || self.targets.contains(&event.target.id))
            && (self.actions.is_empty()
                && self.in_projects.is_empty()
                && self.beside_projects.is_empty()
                || self.actions.contains(&event.action)
                || self.in_projects.contains(&event.action) && event.project.is_some()
                || self.beside_projects.contains(&event.action) && event.project.is_none())
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
            && self.before.is_none_or(|before| event.id < before)
            && self.after.is_none_or(|after| event.id > after)
    }
}

/// Keeps what was done. All other traits write their events themselves, in the transaction of the change.
pub trait EventStore: Send + Sync + 'static {
    /// Notes what is no change of anything kept here, such as a refused login. Its place in the list is that of its
    /// identifier.
    fn note(&self, event: Event) -> StoreFuture<'_, ()>;

    /// Lists events, newest first, at most `limit`.
    fn events(&self, query: EventQuery, limit: u32) -> StoreFuture<'_, Vec<Event>>;
}

/// Names an event's target for a subject's kind: `user`, `project`, `key` or `platform`.
impl From<crate::identity::Subject> for Target {
    fn from(subject: crate::identity::Subject) -> Self {
        let (kind, id): (&str, &Uuid) = subject.parts();
        Self::new(kind, id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_kept() {
        let target = Target::new("user", "1");
        let event = Event::new(&Author::default(), Action::UserChanged, target.clone());
        let event = event.change(
            &json!({"name": "a", "role": "user", "old": 1}),
            &json!({"name": "b", "role": "user", "new": 2}),
        );
        assert_eq!(event.before, json!({"name": "a", "old": 1}));
        assert_eq!(event.after, json!({"name": "b", "new": 2}));
        let made =
            Event::new(&Author::default(), Action::UserCreated, target).made(&json!({"a": 1}));
        assert_eq!((made.before, made.after), (Value::Null, json!({"a": 1})));
    }

    #[test]
    fn an_actor_survives_its_parts() {
        let (user, key) = (UserId::new(), KeyId::new());
        for actor in [
            Actor::System,
            Actor::Anonymous,
            Actor::Operator,
            Actor::User(user),
            Actor::Key(key, user),
        ] {
            let (word, user, key) = actor.parts();
            assert_eq!(Actor::from_parts(word, user, key), Some(actor));
        }
        assert_eq!(Actor::from_parts("user", None, None), None, "no user");
    }
}
