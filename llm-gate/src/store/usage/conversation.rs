use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::identity::{ConversationId, ProjectId, UserId};

use super::{CallFilter, InvalidCursor, UsageSum};

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
    /// What those of its calls come to that were asked for.
    pub sum: UsageSum,
}

/// Which conversations are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationQuery {
    /// The project that the calls were made for.
    pub project: ProjectId,
    /// Which of its calls are looked at. All that are in this time are read, so it bounds what a page costs.
    pub filter: CallFilter,
    /// Only those behind this place; `None` from the newest on.
    pub after: Option<ConversationCursor>,
    /// How many at once.
    pub count: u32,
}

impl ConversationQuery {
    /// Asks for the `count` of a project that were gone on with last.
    #[must_use]
    pub fn new(project: ProjectId, filter: CallFilter, count: u32) -> Self {
        Self {
            project,
            filter,
            after: None,
            count,
        }
    }
}

/// A place in a list of conversations, behind one of them.
///
/// ```
/// use llm_gate::clock::Timestamp;
/// use llm_gate::identity::UserId;
/// use llm_gate::store::ConversationCursor;
///
/// let place = ConversationCursor {
///     last: Timestamp::from_micros(7),
///     user: UserId::new(),
///     session: "any.name".parse().unwrap(),
/// };
/// assert_eq!(place.to_string().parse(), Ok(place), "clients hand it back as they got it");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConversationCursor {
    /// When its last call was reserved.
    pub last: Timestamp,
    /// Whose it is.
    pub user: UserId,
    /// What its client calls it.
    pub session: ConversationId,
}

impl ConversationCursor {
    /// Returns the place behind a conversation; `None` if it has no call.
    #[must_use]
    pub fn behind(conversation: &Conversation) -> Option<Self> {
        Some(Self {
            last: conversation.sum.last?,
            user: conversation.user,
            session: conversation.session.clone(),
        })
    }
}

impl fmt::Display for ConversationCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            self.last.as_micros(),
            self.user,
            self.session
        )
    }
}

impl FromStr for ConversationCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        // The name comes last: it may have points.
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(InvalidCursor);
        let (last, user, session) = (part()?, part()?, part()?);
        let place = Self {
            last: Timestamp::from_micros(last.parse().map_err(|_| InvalidCursor)?),
            user: user.parse().map_err(|_| InvalidCursor)?,
            session: session.parse().map_err(|_| InvalidCursor)?,
        };
        // Written in one way only.
        (place.to_string() == text)
            .then_some(place)
            .ok_or(InvalidCursor)
    }
}

/// Some conversations, the one that was gone on with last before the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// What [`ConversationQuery::after`] is for the page behind, `None` at the end.
    pub next: Option<ConversationCursor>,
}

impl ConversationPage {
    /// Makes a page of what was found, in order: `count`, and one more where there are more.
    #[must_use]
    pub fn of(mut found: Vec<Conversation>, count: u32) -> Self {
        let more = found.len() > count as usize;
        found.truncate(count as usize);
        let last = found.last().filter(|_| more);
        Self {
            next: last.and_then(ConversationCursor::behind),
            conversations: found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wrote_is_no_cursor() {
        const ID: &str = "0199aaaa-0000-7000-8000-0000000000ff";
        let right = format!("7.{ID}.a.b");
        let right: ConversationCursor = right.parse().expect("as it is written");
        assert_eq!(&*right.session.to_string(), "a.b");
        for wrong in [
            "",
            "7",
            &format!("7.{ID}"),
            &format!("7.{ID}."),
            &format!("7.{ID}.a b"),
            &format!("07.{ID}.a"),
            &format!("x.{ID}.a"),
            "7.x.a",
        ] {
            assert_eq!(
                wrong.parse::<ConversationCursor>(),
                Err(InvalidCursor),
                "{wrong}"
            );
        }
    }
}
