use std::net::IpAddr;

use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{NewSession, Session};

use super::{Hash, Id, text};
use crate::error::Failure;
use crate::schema::{refresh_tokens, sessions};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub(crate) struct SessionRow {
    pub(crate) id: Id,
    pub(crate) user_id: Id,
    pub(crate) created_at: i64,
    pub(crate) refreshed_at: i64,
    pub(crate) lives_until: i64,
    pub(crate) ends_at: i64,
    pub(crate) address: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) revoked: bool,
}

impl From<&NewSession> for SessionRow {
    fn from(new: &NewSession) -> Self {
        let at = new.author.at.as_micros();
        Self {
            id: new.id.into(),
            user_id: new.user.into(),
            created_at: at,
            refreshed_at: at,
            lives_until: new.idle_until.min(new.ends_at).as_micros(),
            ends_at: new.ends_at.as_micros(),
            address: new.author.address.map(|address| address.to_string()),
            agent: new.agent.clone().map(text),
            revoked: false,
        }
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = Failure;

    fn try_from(row: SessionRow) -> Result<Self, Failure> {
        Ok(Self {
            id: row.id.into(),
            user: row.user_id.into(),
            created_at: Timestamp::from_micros(row.created_at),
            refreshed_at: Timestamp::from_micros(row.refreshed_at),
            ends_at: Timestamp::from_micros(row.ends_at),
            address: address(row.address.as_deref())?,
            agent: row.agent,
        })
    }
}

/// Reads a client's address.
pub(super) fn address(text: Option<&str>) -> Result<Option<IpAddr>, Failure> {
    let address = text.map(str::parse).transpose();
    address.map_err(|_| Failure::corrupt("an address that is none"))
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = refresh_tokens, treat_none_as_default_value = false)]
pub(crate) struct RefreshTokenRow {
    pub(crate) hash: Hash,
    pub(crate) session_id: Id,
    pub(crate) created_at: i64,
    pub(crate) idle_until: i64,
    pub(crate) spent_at: Option<i64>,
    pub(crate) successor: Option<Hash>,
}
