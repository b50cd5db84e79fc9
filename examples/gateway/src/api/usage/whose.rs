//! Whose calls a report is of, and how it says so.

use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{UsageScope, User};
use serde::Serialize;
use utoipa::ToSchema;

/// Whose calls a report is of.
pub(super) enum Whose {
    /// Those of a user, in whichever project.
    User(User),
    /// Those made for a project, by whomever.
    Project(ProjectId),
    /// Everybody's.
    Platform,
}

impl Whose {
    pub(super) fn scope(&self) -> UsageScope {
        match self {
            Self::User(user) => UsageScope::User(user.id),
            Self::Project(project) => UsageScope::Project(*project),
            Self::Platform => UsageScope::All,
        }
    }

    /// Returns the name of the user, who may have none.
    pub(super) fn username(self) -> Option<Option<String>> {
        match self {
            Self::User(user) => Some(user.username),
            _ => None,
        }
    }
}

/// The user or the project that a report is of; neither where it is of everybody.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = ReportedOf)]
pub(super) struct WhoseView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
}

impl From<&Whose> for WhoseView {
    fn from(whose: &Whose) -> Self {
        let (user_id, project_id) = match whose {
            Whose::User(user) => (Some(user.id), None),
            Whose::Project(project) => (None, Some(*project)),
            Whose::Platform => (None, None),
        };
        Self {
            user_id,
            project_id,
        }
    }
}
