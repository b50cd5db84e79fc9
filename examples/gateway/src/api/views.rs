//! The JSON that goes out. Nothing here can hold a secret but [`IssuedKey`] and [`TokenPair`].

use jiff::Timestamp as Moment;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, Role, UserId};
use llm_gate::store::{ApiKey, Membership, ProjectRole, Standing, User};
use llm_gate::tokens::Tokens;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct UserView {
    id: UserId,
    username: Option<String>,
    email: Option<String>,
    role: Role,
    token_limit: Option<Tokens>,
    tokens_used: Tokens,
    created_at: Option<Moment>,
}

impl UserView {
    pub(crate) fn new(user: User, standing: &Standing) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            role: user.role,
            token_limit: standing.limit,
            tokens_used: standing.used,
            created_at: moment(user.created_at),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct MeView {
    #[serde(flatten)]
    pub(crate) user: UserView,
    pub(crate) default_project_id: ProjectId,
}

#[derive(Serialize)]
pub(crate) struct Registered {
    pub(crate) id: UserId,
    pub(crate) username: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) token_limit: Option<Tokens>,
    pub(crate) tokens_used: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct UsageView {
    tokens_used: Tokens,
    token_limit: Option<Tokens>,
    remaining: Option<Tokens>,
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

#[derive(Serialize)]
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    pub(crate) refresh_token: String,
}

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: KeyId,
    name: String,
    prefix: String,
    /// Empty: a key may do what its user may. Narrower keys are still to come.
    scopes: [&'static str; 0],
    expires_at: Option<Moment>,
    last_used_at: Option<Moment>,
    revoked: bool,
    clamps: bool,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: format!("lg_{}", key.public_id),
            scopes: [],
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
            revoked: key.revoked_at.is_some(),
            clamps: key.clamps,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct IssuedKey {
    #[serde(flatten)]
    pub(crate) key: KeyView,
    /// Shown this once.
    pub(crate) api_key: String,
}

#[derive(Serialize)]
pub(crate) struct ProjectView {
    id: ProjectId,
    name: String,
    role: ProjectRole,
    created_at: Option<Moment>,
}

impl From<Membership> for ProjectView {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.project.id,
            name: membership.project.name,
            role: membership.role,
            created_at: moment(membership.project.created_at),
        }
    }
}

/// Null for a moment outside the years that can be written.
pub(crate) fn moment(at: Timestamp) -> Option<Moment> {
    Moment::from_microsecond(at.as_micros()).ok()
}
