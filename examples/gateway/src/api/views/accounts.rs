//! Accounts, and how one enters them. Nothing here can hold a secret but [`TokenPair`], [`Registered`] and [`ResetLink`].

use std::net::IpAddr;

use jiff::Timestamp as Moment;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, Role, SessionId, UserId};
use llm_gate::store::{Identity as Identified, Session, Standing, User};
use llm_gate::tokens::Tokens;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::moment;
use crate::api::words;
use crate::oauth::Providers;

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(required)]
    username: Option<String>,
    #[schema(required)]
    email: Option<String>,
    /// Whether the address was confirmed.
    email_verified: bool,
    #[schema(required)]
    name: Option<String>,
    #[schema(schema_with = words::role)]
    role: Role,
    /// Whether the user may do nothing any more.
    disabled: bool,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    token_limit: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    tokens_used: Tokens,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl UserView {
    pub(crate) fn new(user: User, standing: &Standing) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            email_verified: user.email_verified,
            name: user.name,
            role: user.role,
            disabled: user.disabled,
            token_limit: standing.limit,
            tokens_used: standing.used,
            created_at: moment(user.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    #[serde(flatten)]
    pub(crate) user: UserView,
    #[schema(value_type = String, format = Uuid)]
    pub(crate) default_project_id: ProjectId,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    #[schema(value_type = String, format = Uuid)]
    pub(crate) id: UserId,
    #[schema(required)]
    pub(crate) username: Option<String>,
    #[schema(required)]
    pub(crate) email: Option<String>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    pub(crate) token_limit: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    pub(crate) tokens_used: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    #[schema(value_type = i64, minimum = 0)]
    tokens_used: Tokens,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    token_limit: Option<Tokens>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    remaining: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    reserved: Tokens,
}

impl From<Standing> for UsageView {
    fn from(standing: Standing) -> Self {
        Self {
            tokens_used: standing.used,
            token_limit: standing.limit,
            remaining: standing.remaining(),
            reserved: standing.reserved,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    /// Missing where it is in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

/// What sets a new password, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResetLink {
    token: String,
    /// The page that takes it.
    link: String,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
}

impl ResetLink {
    pub(crate) fn new(token: &str, link: String, end: Timestamp) -> Self {
        Self {
            token: token.to_owned(),
            link,
            expires_at: moment(end),
        }
    }
}

/// Where to log in with another provider.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthUrl {
    pub(crate) auth_url: String,
}

/// A login with another provider that leads to an account.
#[derive(Serialize, ToSchema)]
#[schema(as = LinkedIdentity)]
pub(crate) struct IdentityView {
    id: Uuid,
    /// The provider as it is called here; null if it is not known any more.
    #[schema(required)]
    provider: Option<String>,
    /// The provider as it calls itself.
    issuer: String,
    /// Who it is there.
    subject: String,
}

impl IdentityView {
    pub(crate) fn new(identity: Identified, providers: &Providers) -> Self {
        let provider = providers.of_issuer(&identity.issuer);
        Self {
            id: Self::id(&identity),
            provider: provider.map(|provider| provider.name().to_owned()),
            issuer: identity.issuer,
            subject: identity.subject,
        }
    }

    /// Names it, always the same: a hash of both parts.
    pub(crate) fn id(identity: &Identified) -> Uuid {
        let hash = Sha256::new()
            .chain_update(identity.issuer.len().to_be_bytes())
            .chain_update(&identity.issuer)
            .chain_update(&identity.subject)
            .finalize();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(hash) {
            *to = from;
        }
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The logins with other providers that lead to an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    pub(crate) identities: Vec<IdentityView>,
}

/// One of the own sessions.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    #[schema(value_type = String, format = Uuid)]
    id: SessionId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    refreshed_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ends_at: Option<Moment>,
    /// From where it was made.
    #[schema(required, value_type = Option<String>)]
    address: Option<IpAddr>,
    /// What the client calls itself.
    #[schema(required)]
    agent: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

impl SessionView {
    pub(crate) fn new(session: Session, current: Option<SessionId>) -> Self {
        Self {
            current: current == Some(session.id),
            id: session.id,
            created_at: moment(session.created_at),
            refreshed_at: moment(session.refreshed_at),
            ends_at: moment(session.ends_at),
            address: session.address,
            agent: session.agent,
        }
    }
}

/// The own sessions, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    pub(crate) sessions: Vec<SessionView>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct Users {
    pub(crate) users: Vec<UserView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<UserId>,
}

/// Who is calling, and with what.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identity {
    /// Always true; who is nobody gets a 401.
    pub(crate) authenticated: bool,
    /// Null for the operator key, which has no account.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) user_id: Option<UserId>,
    #[schema(required)]
    pub(crate) username: Option<String>,
    #[schema(required)]
    pub(crate) email: Option<String>,
    #[schema(schema_with = words::role)]
    pub(crate) role: Role,
    /// The project calls are made for.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) project_id: Option<ProjectId>,
    /// `session`, `foreign`, `api_key` or `operator`.
    pub(crate) credential: &'static str,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) key_id: Option<KeyId>,
}
