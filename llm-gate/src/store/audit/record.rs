use std::borrow::Cow;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use crate::store::rules::{Entry, State};
use crate::store::{Action, Author, Ending, Event, Served, Source, Target};
use crate::tokens::{Tokens, Usage};

/// A reservation on record: whose call it was, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The request.
    pub id: RequestId,
    /// Whose call it was.
    pub user: UserId,
    /// The project it was made for.
    pub project: ProjectId,
    /// The API key it was made with.
    pub key: Option<KeyId>,
    /// The conversation it belongs to.
    pub session: Option<ConversationId>,
    /// The route as a word.
    pub route: Cow<'static, str>,
    /// The model as asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// What is or was held for it.
    pub hold: Tokens,
    /// Where it is in its life, with what it was charged.
    pub state: State,
    /// When it was reserved.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The figures behind the charge.
    pub usage: Usage,
    /// Where they come from.
    pub source: Option<Source>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// The HTTP status that the client saw, 0 if it saw none.
    pub status: u16,
    /// How it was served; `None` before its end, and where nobody knows.
    pub served: Option<Served>,
}

impl CallRecord {
    /// Returns the event that a refund of it leaves, `self` being what it was before.
    #[must_use]
    pub fn refund_event(&self, author: &Author) -> Event {
        let settlement = self.state.settlement();
        let event = Event::new(author, Action::ChargeRefunded, Target::new("call", self.id));
        let gone = serde_json::json!({
            "user": self.user, "charged": settlement.charged, "cost": settlement.cost,
        });
        event.of(Some(self.project)).gone(&gone)
    }
}

/// A line of the ledger on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its row. Later lines have larger ones.
    pub id: i64,
    /// What it says.
    pub entry: Entry,
    /// Where it stands in its writer's chain, where the store has chains.
    pub link: Option<Link>,
    /// The call that it is about.
    pub call: Option<CallRecord>,
}

/// Where a line stands in its writer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who wrote it.
    pub writer: Uuid,
    /// Which of the writer's lines it is.
    pub sequence: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Which lines of the ledger are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineQuery {
    /// Only those behind this row; 0 for all.
    pub after: i64,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind.
    pub to: Timestamp,
    /// How many at once.
    pub count: u32,
}

impl LineQuery {
    /// Asks for all of them, in pages of `count`.
    #[must_use]
    pub const fn all(count: u32) -> Self {
        Self {
            after: 0,
            from: Timestamp::from_micros(i64::MIN),
            to: Timestamp::from_micros(i64::MAX),
            count,
        }
    }
}

/// Some lines of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The lines in the order of their rows; there may be none, and more to come.
    pub lines: Vec<LedgerLine>,
    /// What [`LineQuery::after`] is for the page behind, `None` at the end.
    pub next: Option<i64>,
}
