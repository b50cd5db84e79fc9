use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Invite, NewInvite, ProjectRole};

use super::project::project_role;
use super::{Hash, Id, text, user};
use crate::error::Failure;
use crate::schema::{invite_projects, invites};

#[derive(Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = invites, treat_none_as_default_value = false)]
pub(crate) struct InviteRow {
    pub(crate) id: Id,
    pub(crate) hash: Hash,
    pub(crate) email: String,
    pub(crate) role: String,
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
            created_at: new.author.at.as_micros(),
            created_by: new.author.actor.parts().1.map(Id::from),
            expires_at: new.expires_at.as_micros(),
            accepted_at: None,
            accepted_by: None,
            revoked_at: None,
        }
    }
}

impl InviteRow {
    /// Joins an invite and where it leads.
    pub(crate) fn invite(
        self,
        places: impl IntoIterator<Item = PlaceRow>,
    ) -> Result<Invite, Failure> {
        let places = places.into_iter();
        let projects = places.map(|row| Ok((row.project_id.into(), row.role()?)));
        Ok(Invite {
            id: self.id.into(),
            email: self.email,
            role: user::role(&self.role)?,
            projects: projects.collect::<Result<_, Failure>>()?,
            created_at: Timestamp::from_micros(self.created_at),
            created_by: self.created_by.map(Into::into),
            expires_at: Timestamp::from_micros(self.expires_at),
            accepted: self
                .accepted_at
                .zip(self.accepted_by)
                .map(|(at, by)| (Timestamp::from_micros(at), by.into())),
            revoked_at: self.revoked_at.map(Timestamp::from_micros),
        })
    }
}

/// A project that an invite leads into, or was taken out of.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = invite_projects, treat_none_as_default_value = false)]
pub(crate) struct PlaceRow {
    pub(crate) invite_id: Id,
    pub(crate) project_id: Id,
    pub(crate) role: String,
    pub(crate) revoked_at: Option<i64>,
}

impl PlaceRow {
    /// Lists where a new invite leads.
    pub(crate) fn of(new: &NewInvite) -> Vec<Self> {
        let places = new.projects.iter();
        places
            .map(|(project, role)| Self {
                invite_id: new.id.into(),
                project_id: (*project).into(),
                role: role.as_str().to_owned(),
                revoked_at: None,
            })
            .collect()
    }

    /// Reads as what somebody is invited there.
    pub(crate) fn role(&self) -> Result<ProjectRole, Failure> {
        project_role(&self.role)
    }

    /// Reads the invite as those see it who manage the project.
    pub(crate) fn seen(self, row: InviteRow) -> Result<Invite, Failure> {
        let (project, role) = (self.project_id.into(), self.role()?);
        let taken_out = self.revoked_at.map(Timestamp::from_micros);
        Ok(row.invite([])?.within(project, role, taken_out))
    }
}
