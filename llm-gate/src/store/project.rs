use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{ProjectId, UserId};
use crate::store::StoreFuture;

/// A project: the tenant that calls are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project.
    pub id: ProjectId,
    /// Its readable name, not unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a member may do in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProjectRole {
    /// Everything, the project's end included.
    Owner,
    /// Manages members, keys and limits.
    Admin,
    /// Uses it, with keys of its own.
    Member,
}

impl ProjectRole {
    /// Returns the word that stores and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Owner, Self::Admin, Self::Member]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// A project as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The project.
    pub project: Project,
    /// The member's role in it.
    pub role: ProjectRole,
}

/// Keeps projects and who belongs to them.
pub trait ProjectStore: Send + Sync + 'static {
    /// Lists the projects `user` is a member of, oldest first.
    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>>;

    /// Reads a project as `user` may see it: `None` when it does not exist or `user` is no member.
    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>>;
}
