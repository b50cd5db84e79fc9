use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{ConversationId, ProjectId, UserId};
use crate::upstream::UpstreamName;

/// What a call is, for the record.
///
/// ```
/// use llm_gate::identity::{ProjectId, UserId};
/// use llm_gate::store::CallInfo;
///
/// let session = "chat-7".parse().unwrap();
/// let call = CallInfo::new(UserId::new(), ProjectId::new(), "chat", "tiny").session(Some(session)).stream(true);
/// assert_eq!((&*call.route, call.request_bytes), ("chat", 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallInfo {
    /// Whose call it is.
    pub user: UserId,
    /// The project it is made for.
    pub project: ProjectId,
    /// The conversation it belongs to, where its client says so.
    pub session: Option<ConversationId>,
    /// The route as a word, such as `chat`.
    pub route: Cow<'static, str>,
    /// The model as asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Bytes of the request's body, as the client sent it.
    pub request_bytes: u64,
}

impl CallInfo {
    /// Describes a call that is neither streamed nor part of a conversation.
    #[must_use]
    pub fn new(
        user: UserId,
        project: ProjectId,
        route: &'static str,
        model: impl Into<String>,
    ) -> Self {
        Self {
            user,
            project,
            session: None,
            route: route.into(),
            model: model.into(),
            stream: false,
            request_bytes: 0,
        }
    }

    /// Sets the conversation. None unless set.
    #[must_use]
    pub fn session(mut self, session: Option<ConversationId>) -> Self {
        self.session = session;
        self
    }

    /// Sets whether a stream was asked for. Not unless set.
    #[must_use]
    pub const fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Sets how many bytes the request's body has. 0 unless set.
    #[must_use]
    pub const fn request_bytes(mut self, bytes: u64) -> Self {
        self.request_bytes = bytes;
        self
    }
}

/// How a call was served, for the record. Nothing of it decides about a charge. Stores keep times in whole
/// microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Which upstream it was sent to; `None` where it has no name, or it was not sent.
    pub upstream: Option<UpstreamName>,
    /// Bytes of the answer's body that were handed on.
    pub response_bytes: u64,
    /// From the reservation to the first data that were handed on, `None` if there were none.
    pub first_data: Option<Duration>,
    /// From the reservation to the end.
    pub total: Duration,
}
