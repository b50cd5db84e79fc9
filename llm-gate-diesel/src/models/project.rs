use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Membership, Project, ProjectRole};

use super::Id;
use crate::error::Failure;
use crate::schema::{project_members, projects};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = projects)]
pub(crate) struct ProjectRow {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) created_at: i64,
}

#[derive(Insertable)]
#[diesel(table_name = project_members)]
pub(crate) struct MemberRow {
    pub(crate) project_id: Id,
    pub(crate) user_id: Id,
    pub(crate) role: &'static str,
}

impl ProjectRow {
    /// Joins a project and a role in it.
    pub(crate) fn membership(self, role: &str) -> Result<Membership, Failure> {
        let role = ProjectRole::from_word(role)
            .ok_or_else(|| Failure::corrupt("a member has an unknown role"))?;
        Ok(Membership {
            project: Project {
                id: self.id.into(),
                name: self.name,
                created_at: Timestamp::from_micros(self.created_at),
            },
            role,
        })
    }
}
