use crate::identity::{ConversationId, ProjectId, UserId};

use super::{CallCursor, UsageSum};

/// What a user has called for a project under one name of a conversation.
///
/// The names are the clients' ([`ConversationId`]): two users who give the same one have two conversations, and so has
/// one user in two projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// What its client calls it.
    pub session: ConversationId,
    /// Whose it is.
    pub user: UserId,
    /// What its calls for the project come to.
    pub sum: UsageSum,
}

/// Which conversations are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationQuery {
    /// The project that the calls were made for.
    pub project: ProjectId,
    /// Only those of a user.
    pub user: Option<UserId>,
    /// Only those whose last call is behind this place; `None` from the newest on.
    pub after: Option<CallCursor>,
    /// How many at once.
    pub count: u32,
}

impl ConversationQuery {
    /// Asks for the `count` of a project that were gone on with last.
    #[must_use]
    pub const fn new(project: ProjectId, count: u32) -> Self {
        Self {
            project,
            user: None,
            after: None,
            count,
        }
    }
}

/// Some conversations, the one that was gone on with last before the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// What [`ConversationQuery::after`] is for the page behind, `None` at the end.
    pub next: Option<CallCursor>,
}
