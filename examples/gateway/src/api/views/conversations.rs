use jiff::Timestamp as Moment;
use llm_gate::identity::{ConversationId, ProjectId, UserId};
use llm_gate::store::{CallPage, Conversation, ConversationPage};
use serde::Serialize;
use utoipa::ToSchema;

use super::moment;
use crate::api::usage::{UsedCallView, micro_units};

/// What a user has called for a project under one name.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
pub(crate) struct ConversationView {
    #[schema(value_type = String)]
    session_id: ConversationId,
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
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

impl From<Conversation> for ConversationView {
    fn from(Conversation { session, user, sum }: Conversation) -> Self {
        Self {
            session_id: session,
            user_id: user,
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

/// A page of conversations, the one with the newest call first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Conversations {
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    period_days: u32,
    /// What their calls come to in those days.
    conversations: Vec<ConversationView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl Conversations {
    pub(crate) fn new(project: ProjectId, days: u32, page: ConversationPage) -> Self {
        let conversations = page.conversations.into_iter();
        Self {
            project_id: project,
            period_days: days,
            conversations: conversations.map(ConversationView::from).collect(),
            next_cursor: page.next.map(|next| next.to_string()),
        }
    }
}

/// A conversation with its calls.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationWithCalls {
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[serde(flatten)]
    conversation: ConversationView,
    /// The newest first.
    calls: Vec<UsedCallView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl ConversationWithCalls {
    pub(crate) fn new(project: ProjectId, conversation: Conversation, page: CallPage) -> Self {
        Self {
            project_id: project,
            conversation: conversation.into(),
            calls: page.calls.into_iter().map(UsedCallView::from).collect(),
            next_cursor: page.next.map(|next| next.to_string()),
        }
    }
}
