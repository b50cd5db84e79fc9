use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, Network, Scope};
use llm_gate::store::{ApiKey, ApiKeyRecord, NewApiKey, TokenHash};

use super::{Hash, Id, text, user};
use crate::error::Failure;
use crate::schema::api_keys;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = api_keys, treat_none_as_default_value = false)]
pub(crate) struct ApiKeyRow {
    pub(crate) id: Id,
    pub(crate) public_id: String,
    pub(crate) hash: Hash,
    pub(crate) previous_public_id: Option<String>,
    pub(crate) previous_hash: Option<Hash>,
    pub(crate) overlap_until: Option<i64>,
    pub(crate) name: String,
    pub(crate) user_id: Id,
    pub(crate) project_id: Id,
    pub(crate) scopes: String,
    pub(crate) models: Option<String>,
    pub(crate) networks: Option<String>,
    pub(crate) clamps: bool,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
}

impl ApiKeyRow {
    pub(crate) fn new(new: &NewApiKey) -> Result<Self, Failure> {
        let grants = GrantsRow::new(&new.grants)?;
        Ok(Self {
            id: new.id.into(),
            public_id: new.public_id.clone(),
            hash: Hash(new.hash),
            previous_public_id: None,
            previous_hash: None,
            overlap_until: None,
            name: text(new.name.clone()),
            user_id: new.user.into(),
            project_id: new.project.into(),
            scopes: grants.scopes,
            models: grants.models,
            networks: grants.networks,
            clamps: grants.clamps,
            created_at: new.author.at.as_micros(),
            expires_at: new.expires_at.map(Timestamp::as_micros),
            last_used_at: None,
            revoked_at: None,
        })
    }

    /// Joins a key, the secret of it that was asked for, and what there is to know of its user.
    pub(crate) fn record(
        self,
        public_id: &str,
        role: &str,
        user_disabled: bool,
    ) -> Result<ApiKeyRecord, Failure> {
        let (hash, until) = self.secret(public_id);
        Ok(ApiKeyRecord {
            key: self.try_into()?,
            hash,
            until: until.map(Timestamp::from_micros),
            role: user::role(role)?,
            user_disabled,
        })
    }

    /// Returns the hash of the secret with this public part, and when it stops working.
    fn secret(&self, public_id: &str) -> (TokenHash, Option<i64>) {
        match (self.previous_hash, self.overlap_until) {
            (Some(hash), Some(overlap)) if self.public_id != public_id => {
                let end = self.expires_at.map_or(overlap, |end| end.min(overlap));
                (hash.0, Some(end))
            }
            _ => (self.hash.0, self.expires_at),
        }
    }
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = Failure;

    fn try_from(row: ApiKeyRow) -> Result<Self, Failure> {
        let grants = GrantsRow {
            scopes: row.scopes,
            models: row.models,
            networks: row.networks,
            clamps: row.clamps,
        };
        Ok(Self {
            id: row.id.into(),
            public_id: row.public_id,
            name: row.name,
            user: row.user_id.into(),
            project: row.project_id.into(),
            grants: grants.grants()?,
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
            last_used_at: row.last_used_at.map(Timestamp::from_micros),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
            overlap_until: row.overlap_until.map(Timestamp::from_micros),
        })
    }
}

/// What a key may do, its lists as JSON.
#[derive(AsChangeset)]
#[diesel(table_name = api_keys, treat_none_as_null = true)]
pub(crate) struct GrantsRow {
    scopes: String,
    models: Option<String>,
    networks: Option<String>,
    clamps: bool,
}

impl GrantsRow {
    fn new(grants: &KeyGrants) -> Result<Self, Failure> {
        let unwritable = |_| Failure::corrupt("what a key may do cannot be written");
        let models = grants.models.as_ref().map(serde_json::to_string);
        let networks = grants.networks.as_ref().map(serde_json::to_string);
        Ok(Self {
            scopes: serde_json::to_string(&grants.scopes).map_err(unwritable)?,
            models: models.transpose().map_err(unwritable)?,
            networks: networks.transpose().map_err(unwritable)?,
            clamps: grants.clamps,
        })
    }

    fn grants(&self) -> Result<KeyGrants, Failure> {
        let unreadable = |_| Failure::corrupt("a key may do something unknown");
        let scopes: Vec<Scope> = serde_json::from_str(&self.scopes).map_err(unreadable)?;
        let models: Option<Result<Vec<String>, _>> =
            self.models.as_deref().map(serde_json::from_str);
        let networks: Option<Result<Vec<Network>, _>> =
            self.networks.as_deref().map(serde_json::from_str);
        Ok(KeyGrants {
            scopes,
            models: models.transpose().map_err(unreadable)?,
            networks: networks.transpose().map_err(unreadable)?,
            clamps: self.clamps,
        })
    }
}

/// What of a key can be changed.
#[derive(AsChangeset)]
#[diesel(table_name = api_keys, treat_none_as_null = true)]
pub(crate) struct ChangedKey {
    name: String,
    #[diesel(embed)]
    grants: GrantsRow,
    expires_at: Option<i64>,
}

impl TryFrom<&ApiKey> for ChangedKey {
    type Error = Failure;

    fn try_from(key: &ApiKey) -> Result<Self, Failure> {
        Ok(Self {
            name: key.name.clone(),
            grants: GrantsRow::new(&key.grants)?,
            expires_at: key.expires_at.map(Timestamp::as_micros),
        })
    }
}
