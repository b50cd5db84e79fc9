//! Who is calling: identifiers as newtypes and the [`Principal`] that authentication leaves behind.
//!
//! ```
//! use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
//!
//! let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
//! assert_eq!(principal.subjects().len(), 2, "a session is counted on its user and its project");
//! assert!(matches!(principal.subjects()[0], Subject::User(_)));
//! ```

mod grants;
mod holder;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use grants::{KeyGrants, Network, NotANetwork, Scope};
pub use holder::Holder;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a fresh identifier, a UUIDv7 (RFC 9562), so that later ones sort after earlier ones.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a default that differs each time surprises")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps an identifier that was made elsewhere.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the identifier without its type.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A user account.
    UserId
}
id! {
    /// A project, the tenant that calls are made for.
    ProjectId
}
id! {
    /// An API key.
    KeyId
}
id! {
    /// A login session: one family of refresh tokens.
    SessionId
}
id! {
    /// An invite to the platform or to a project.
    InviteId
}
id! {
    /// Something that was done, in the audit log.
    EventId
}
id! {
    /// One proxied request, and its reservation. Settled once, for ever.
    RequestId
}

/// A conversation, as its client names it: what a chat calls a session. 1 to 128 visible ASCII characters.
///
/// Such names are the clients' own, and two clients may choose the same: whoever looks one up says of which
/// user or project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConversationId(Arc<str>);

/// A text that cannot name a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a session is named by 1 to {} visible ASCII characters",
    ConversationId::MAX_LENGTH
)]
pub struct InvalidConversation;

impl ConversationId {
    /// The most characters.
    pub const MAX_LENGTH: usize = 128;

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConversationId {
    type Err = InvalidConversation;

    fn from_str(text: &str) -> Result<Self, InvalidConversation> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidConversation)
        }
    }
}

impl TryFrom<String> for ConversationId {
    type Error = InvalidConversation;

    fn try_from(text: String) -> Result<Self, InvalidConversation> {
        text.parse()
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Credential {
    /// A JSON web token of the gate's own: a login.
    Session,
    /// A JSON web token of another issuer.
    Foreign,
    /// An API key.
    Key(KeyId),
    /// The operator key: the platform's admin, without an account. See [`Principal::operator`].
    Operator,
}

/// What a user may do on the whole platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Manages itself and its own projects.
    #[default]
    User,
    /// Manages everybody.
    Admin,
}

/// The authenticated caller, put into the request's extensions by the auth layers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Whom the call belongs to.
    pub user: UserId,
    /// The project the call is made for.
    pub project: ProjectId,
    /// How the caller was recognised.
    pub credential: Credential,
    /// The platform role at the time the credential was issued or looked up.
    pub role: Role,
    /// Whether a call whose bound does not fit is cut down to what is left, where it would be refused else.
    pub clamps: bool,
    /// What the key may do; `None` for a caller that may do all its user may.
    pub grants: Option<Arc<KeyGrants>>,
    /// The login session, where the credential names one.
    pub session: Option<SessionId>,
    /// The public part of the secret that a key was presented by: while two overlap, of that one.
    pub public_id: Option<Arc<str>>,
}

impl Principal {
    /// Describes an ordinary caller.
    #[must_use]
    pub const fn new(user: UserId, project: ProjectId, credential: Credential) -> Self {
        Self {
            user,
            project,
            credential,
            role: Role::User,
            clamps: false,
            grants: None,
            session: None,
            public_id: None,
        }
    }

    /// Describes the operator: an admin of the platform who is nobody in the books. Its user and project are
    /// nil and stand for nobody. It has no counters, so nothing could bound or charge a call of it: layers
    /// refuse it unless told otherwise.
    #[must_use]
    pub const fn operator() -> Self {
        Self::new(
            UserId(Uuid::nil()),
            ProjectId(Uuid::nil()),
            Credential::Operator,
        )
        .role(Role::Admin)
    }

    /// Returns whether there is an account behind the caller, so that a call can be charged to somebody.
    #[must_use]
    pub const fn has_account(&self) -> bool {
        !matches!(self.credential, Credential::Operator)
    }

    /// Sets what the caller may do at most, and whether calls are cut down to what is left.
    #[must_use]
    pub fn grants(mut self, grants: Arc<KeyGrants>) -> Self {
        self.clamps = grants.clamps;
        self.grants = Some(grants);
        self
    }

    /// Sets the public part of the secret that a key was presented by.
    #[must_use]
    pub fn public_id(mut self, public_id: Arc<str>) -> Self {
        self.public_id = Some(public_id);
        self
    }

    /// Sets the login session.
    #[must_use]
    pub const fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Returns whether the caller may be here for `scope`.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.grants
            .as_ref()
            .is_none_or(|grants| grants.allows(scope))
    }

    /// Returns whether the caller may call `model`.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        self.grants
            .as_ref()
            .is_none_or(|grants| grants.allows_model(model))
    }

    /// Returns whether the caller may come from `address`.
    #[must_use]
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        self.grants
            .as_ref()
            .is_none_or(|grants| grants.allows_address(address))
    }

    /// Sets whether calls that do not fit are cut down to what is left. They are refused unless set.
    #[must_use]
    pub const fn clamps(mut self, clamps: bool) -> Self {
        self.clamps = clamps;
        self
    }

    /// Sets the platform role. [`Role::User`] unless set.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Lists whose counters a call of this principal moves: user, project and, if there is one, key. The
    /// operator has none.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        if !self.has_account() {
            return Vec::new();
        }
        let mut subjects = vec![Subject::User(self.user), Subject::Project(self.project)];
        if let Credential::Key(key) = self.credential {
            subjects.push(Subject::Key(key));
        }
        subjects
    }
}

/// Something that has counters: every call is charged to each of its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Subject {
    /// A user account.
    User(UserId),
    /// A project.
    Project(ProjectId),
    /// An API key.
    Key(KeyId),
    /// Everybody together: what limits a model, or the whole platform.
    Platform,
}

impl Subject {
    /// Stands for each user that has no limit of its own, where a limit is set.
    pub const EACH_USER: Self = Self::User(UserId(Uuid::nil()));
    /// Stands for each project that has no limit of its own, where a limit is set.
    pub const EACH_PROJECT: Self = Self::Project(ProjectId(Uuid::nil()));
    /// Stands for each key that has no limit of its own, where a limit is set.
    pub const EACH_KEY: Self = Self::Key(KeyId(Uuid::nil()));

    /// Returns whose limits hold where this one has none: those set for each of its kind.
    #[must_use]
    pub const fn each(&self) -> Option<Self> {
        match self {
            Self::User(_) => Some(Self::EACH_USER),
            Self::Project(_) => Some(Self::EACH_PROJECT),
            Self::Key(_) => Some(Self::EACH_KEY),
            Self::Platform => None,
        }
    }

    /// Returns the word and the identifier that stores keep it under.
    #[must_use]
    pub const fn parts(&self) -> (&'static str, &Uuid) {
        match self {
            Self::User(id) => ("user", id.as_uuid()),
            Self::Project(id) => ("project", id.as_uuid()),
            Self::Key(id) => ("key", id.as_uuid()),
            Self::Platform => ("platform", const { &Uuid::nil() }),
        }
    }

    /// Puts together again what [`parts`](Self::parts) took apart.
    #[must_use]
    pub fn from_parts(kind: &str, id: Uuid) -> Option<Self> {
        match kind {
            "user" => Some(Self::User(UserId(id))),
            "project" => Some(Self::Project(ProjectId(id))),
            "key" => Some(Self::Key(KeyId(id))),
            "platform" => id.is_nil().then_some(Self::Platform),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = self.parts();
        if id.is_nil() {
            f.write_str(kind)
        } else {
            write!(f, "{kind} {id}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_a_short_and_visible_name() {
        for name in ["1", "0199-a:b/c", &"x".repeat(ConversationId::MAX_LENGTH)] {
            let named: ConversationId = name.parse().expect("visible, and short enough");
            assert_eq!(named.as_str(), name);
        }
        let long = "x".repeat(ConversationId::MAX_LENGTH + 1);
        for name in ["", "a b", "a\nb", "a\0", "\u{e4}", &long] {
            let named = name.parse::<ConversationId>();
            assert_eq!(named, Err(InvalidConversation), "{name:?}");
            let read = serde_json::from_value::<ConversationId>(name.into());
            assert!(read.is_err(), "nor is it read from JSON: {name:?}");
        }
    }

    #[test]
    fn a_subject_survives_its_parts() {
        for subject in [
            Subject::User(UserId::new()),
            Subject::Project(ProjectId::new()),
            Subject::Key(KeyId::new()),
            Subject::EACH_USER,
            Subject::Platform,
        ] {
            let (kind, id) = subject.parts();
            assert_eq!(Subject::from_parts(kind, *id), Some(subject));
        }
        assert_eq!(Subject::from_parts("planet", Uuid::nil()), None);
    }

    #[test]
    fn the_operator_is_an_admin_without_counters() {
        let operator = Principal::operator();
        assert!(!operator.has_account());
        assert_eq!(operator.role, Role::Admin);
        assert_eq!(operator.subjects(), [], "nil would stand for each user");
    }

    #[test]
    fn a_key_is_counted_beside_its_user_and_project() {
        let key = KeyId::new();
        let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Key(key));
        assert_eq!(principal.subjects()[2], Subject::Key(key));
    }
}
