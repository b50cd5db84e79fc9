use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{ApiKey, ApiKeyRecord, NewApiKey, NewSession, Session};

use super::{Hash, Id, text, user};
use crate::error::Failure;
use crate::schema::{api_keys, refresh_tokens, sessions};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub(crate) struct ApiKeyRow {
    pub(crate) id: Id,
    pub(crate) public_id: String,
    pub(crate) hash: Hash,
    pub(crate) name: String,
    pub(crate) user_id: Id,
    pub(crate) project_id: Id,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) clamps: bool,
}

impl From<NewApiKey> for ApiKeyRow {
    fn from(new: NewApiKey) -> Self {
        Self {
            id: new.id.into(),
            public_id: new.public_id,
            hash: Hash(new.hash),
            name: text(new.name),
            user_id: new.user.into(),
            project_id: new.project.into(),
            created_at: new.created_at.as_micros(),
            expires_at: new.expires_at.map(Timestamp::as_micros),
            last_used_at: None,
            revoked_at: None,
            clamps: new.clamps,
        }
    }
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id.into(),
            public_id: row.public_id,
            name: row.name,
            user: row.user_id.into(),
            project: row.project_id.into(),
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
            last_used_at: row.last_used_at.map(Timestamp::from_micros),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
            clamps: row.clamps,
        }
    }
}

impl ApiKeyRow {
    /// Joins a key and what there is to know of its user.
    pub(crate) fn record(self, role: &str, user_disabled: bool) -> Result<ApiKeyRecord, Failure> {
        Ok(ApiKeyRecord {
            hash: self.hash.0,
            key: self.into(),
            role: user::role(role)?,
            user_disabled,
        })
    }
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub(crate) struct SessionRow {
    pub(crate) id: Id,
    pub(crate) user_id: Id,
    pub(crate) created_at: i64,
    pub(crate) ends_at: i64,
    pub(crate) revoked: bool,
}

impl From<&NewSession> for SessionRow {
    fn from(new: &NewSession) -> Self {
        Self {
            id: new.id.into(),
            user_id: new.user.into(),
            created_at: new.created_at.as_micros(),
            ends_at: new.ends_at.as_micros(),
            revoked: false,
        }
    }
}

impl From<&SessionRow> for Session {
    fn from(row: &SessionRow) -> Self {
        Self {
            id: row.id.into(),
            user: row.user_id.into(),
        }
    }
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = refresh_tokens)]
pub(crate) struct RefreshTokenRow {
    pub(crate) hash: Hash,
    pub(crate) session_id: Id,
    pub(crate) created_at: i64,
    pub(crate) idle_until: i64,
    pub(crate) spent_at: Option<i64>,
}
