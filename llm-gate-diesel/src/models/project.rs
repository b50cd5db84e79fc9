use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Member, Membership, Project, ProjectRole};

use super::{Id, UserRow};
use crate::error::Failure;
use crate::schema::{project_members, projects};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = projects, treat_none_as_default_value = false)]
pub(crate) struct ProjectRow {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) created_at: i64,
    pub(crate) archived_at: Option<i64>,
}

impl From<ProjectRow> for Project {
    fn from(row: ProjectRow) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            created_at: Timestamp::from_micros(row.created_at),
            archived_at: row.archived_at.map(Timestamp::from_micros),
        }
    }
}

impl ProjectRow {
    /// Joins a project and a role in it.
    pub(crate) fn membership(self, role: &str) -> Result<Membership, Failure> {
        Ok(Membership {
            project: self.into(),
            role: project_role(role)?,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = project_members)]
pub(crate) struct NewMemberRow {
    pub(crate) project_id: Id,
    pub(crate) user_id: Id,
    pub(crate) role: &'static str,
    pub(crate) since: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = project_members)]
pub(crate) struct MemberRow {
    pub(crate) role: String,
    pub(crate) since: i64,
}

impl MemberRow {
    /// Joins a membership and its user.
    pub(crate) fn member(self, user: UserRow) -> Result<Member, Failure> {
        Ok(Member {
            user: user.try_into()?,
            role: project_role(&self.role)?,
            since: Timestamp::from_micros(self.since),
        })
    }
}

/// Reads a role in a project.
pub(super) fn project_role(word: &str) -> Result<ProjectRole, Failure> {
    ProjectRole::from_word(word).ok_or_else(|| Failure::corrupt("a member has an unknown role"))
}
