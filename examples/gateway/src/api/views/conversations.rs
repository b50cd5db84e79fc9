use jiff::Timestamp as Moment;
use llm_gate::identity::{ConversationId, ProjectId, UserId};
use llm_gate::store::{CallPage, Conversation, ConversationPage, UsageSum};
use serde::Serialize;
use utoipa::ToSchema;

use super::moment;
use crate::api::usage::{UsedCallView, micro_units};

/// What the calls of a conversation come to.
#[derive(Serialize, ToSchema)]
#[schema(as = ConversationUsage)]
struct SumView {
    call_count: u64,
    /// Tokens that were charged.
    tokens_used: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cached_tokens: u64,
    /// In units of money, with six decimals.
    estimated_cost: String,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    first_call: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_call: Option<Moment>,
}

impl From<UsageSum> for SumView {
    fn from(sum: UsageSum) -> Self {
        Self {
            call_count: sum.calls,
            tokens_used: sum.tokens,
            prompt_tokens: sum.prompt,
            completion_tokens: sum.completion,
            cached_tokens: sum.cached,
            estimated_cost: micro_units(sum.cost),
            first_call: sum.first.and_then(moment),
            last_call: sum.last.and_then(moment),
        }
    }
}

/// A conversation of a project.
#[derive(Serialize, ToSchema)]
#[schema(as = ConversationOfProject)]
pub(crate) struct ConversationEntry {
    #[schema(value_type = String)]
    session_id: ConversationId,
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    #[serde(flatten)]
    sum: SumView,
}

impl From<Conversation> for ConversationEntry {
    fn from(conversation: Conversation) -> Self {
        Self {
            session_id: conversation.session,
            user_id: conversation.user,
            sum: conversation.sum.into(),
        }
    }
}

/// A page of conversations, the one that was gone on with last before the others.
#[derive(Serialize, ToSchema)]
pub(crate) struct Conversations {
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    conversations: Vec<ConversationEntry>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl Conversations {
    pub(crate) fn new(project: ProjectId, page: ConversationPage) -> Self {
        let conversations = page.conversations.into_iter();
        Self {
            project_id: project,
            conversations: conversations.map(ConversationEntry::from).collect(),
            next_cursor: page.next.map(|next| next.to_string()),
        }
    }
}

/// What was called in a project under the name of a conversation.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
pub(crate) struct ConversationView {
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[schema(value_type = String)]
    session_id: ConversationId,
    #[serde(flatten)]
    sum: SumView,
    /// The newest first.
    calls: Vec<UsedCallView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl ConversationView {
    pub(crate) fn new(
        project: ProjectId,
        session: ConversationId,
        all: UsageSum,
        page: CallPage,
    ) -> Self {
        Self {
            project_id: project,
            session_id: session,
            sum: all.into(),
            calls: page.calls.into_iter().map(UsedCallView::from).collect(),
            next_cursor: page.next.map(|next| next.to_string()),
        }
    }
}
