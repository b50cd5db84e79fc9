use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Invite, NewInvite};

use super::project::project_role;
use super::{Hash, Id, text, user};
use crate::error::Failure;
use crate::schema::invites;

#[derive(Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = invites, treat_none_as_default_value = false)]
pub(crate) struct InviteRow {
    pub(crate) id: Id,
    pub(crate) hash: Hash,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) project_id: Option<Id>,
    pub(crate) project_role: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) created_by: Option<Id>,
    pub(crate) expires_at: i64,
    pub(crate) accepted_at: Option<i64>,
    pub(crate) accepted_by: Option<Id>,
    pub(crate) revoked_at: Option<i64>,
}

impl From<&NewInvite> for InviteRow {
    fn from(new: &NewInvite) -> Self {
        Self {
            id: new.id.into(),
            hash: Hash(new.hash),
            email: text(new.email.clone()),
            role: user::role_word(new.role).to_owned(),
            project_id: new.project.map(|(project, _)| project.into()),
            project_role: new.project.map(|(_, role)| role.as_str().to_owned()),
            created_at: new.author.at.as_micros(),
            created_by: new.author.actor.parts().1.map(Id::from),
            expires_at: new.expires_at.as_micros(),
            accepted_at: None,
            accepted_by: None,
            revoked_at: None,
        }
    }
}

impl TryFrom<InviteRow> for Invite {
    type Error = Failure;

    fn try_from(row: InviteRow) -> Result<Self, Failure> {
        let project = match row.project_id.zip(row.project_role) {
            Some((project, role)) => Some((project.into(), project_role(&role)?)),
            None => None,
        };
        Ok(Self {
            id: row.id.into(),
            email: row.email,
            role: user::role(&row.role)?,
            project,
            created_at: Timestamp::from_micros(row.created_at),
            created_by: row.created_by.map(Into::into),
            expires_at: Timestamp::from_micros(row.expires_at),
            accepted: row
                .accepted_at
                .zip(row.accepted_by)
                .map(|(at, by)| (Timestamp::from_micros(at), by.into())),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
        })
    }
}
