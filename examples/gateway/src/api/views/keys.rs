//! API keys. Nothing here can hold a secret but [`IssuedKey`].

use jiff::Timestamp as Moment;
use llm_gate::auth::ApiKeySecret;
use llm_gate::identity::{KeyId, Network, Scope, UserId};
use llm_gate::store::ApiKey;
use serde::Serialize;
use utoipa::ToSchema;

use super::moment;

#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    name: String,
    prefix: String,
    /// What it may be used for.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The models it may call; null for all.
    #[schema(required)]
    models: Option<Vec<String>>,
    /// The networks it may be used from; null for any.
    #[schema(required, value_type = Option<Vec<String>>)]
    networks: Option<Vec<Network>>,
    /// Whose calls it makes.
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
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
            scopes: key.grants.scopes,
            models: key.grants.models,
            networks: key.grants.networks,
            user_id: key.user,
            created_at: moment(key.created_at),
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
            revoked: key.revoked_at.is_some(),
            clamps: key.grants.clamps,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedKey {
    #[serde(flatten)]
    pub(crate) key: KeyView,
    /// Shown this once.
    pub(crate) api_key: String,
}

impl IssuedKey {
    pub(crate) fn new(key: ApiKey, secret: &ApiKeySecret) -> Self {
        Self {
            key: key.into(),
            api_key: secret.expose().to_owned(),
        }
    }
}

/// A page of keys in a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<KeyView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<KeyId>,
}
