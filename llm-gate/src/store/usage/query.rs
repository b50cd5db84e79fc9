use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use crate::store::{CallRecord, Ending, Zone};
use crate::words::words;

/// Whose calls somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageScope {
    /// Those of a user, in whichever project.
    User(UserId),
    /// Those made for a project, by whomever.
    Project(ProjectId),
    /// Those of a user in one conversation.
    Session(UserId, ConversationId),
    /// Everybody's: for those who manage the platform.
    All,
}

impl UsageScope {
    /// Tells whether a call may be seen.
    #[must_use]
    pub fn sees(&self, call: &CallRecord) -> bool {
        match self {
            Self::User(user) => call.user == *user,
            Self::Project(project) => call.project == *project,
            Self::Session(user, session) => {
                call.user == *user && call.session.as_ref() == Some(session)
            }
            Self::All => true,
        }
    }
}

/// Which of the calls that may be seen are wanted; all of them by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFilter {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind.
    pub to: Timestamp,
    /// Only those of a user.
    pub user: Option<UserId>,
    /// Only those made for a project.
    pub project: Option<ProjectId>,
    /// Only those made with a key.
    pub key: Option<KeyId>,
    /// Only those of a conversation.
    pub session: Option<ConversationId>,
    /// Only those of a model, by the name that was asked for.
    pub model: Option<String>,
    /// Only those of a route, by its word.
    pub route: Option<String>,
    /// Only those that the client saw this HTTP status of.
    pub status: Option<u16>,
    /// Only those that ended like this.
    pub ending: Option<Ending>,
    /// Only those that asked for a stream, or did not.
    pub stream: Option<bool>,
}

impl Default for CallFilter {
    fn default() -> Self {
        Self {
            from: Timestamp::from_micros(i64::MIN),
            to: Timestamp::from_micros(i64::MAX),
            user: None,
            project: None,
            key: None,
            session: None,
            model: None,
            route: None,
            status: None,
            ending: None,
            stream: None,
        }
    }
}

impl CallFilter {
    /// Wants those of a time: from the first moment to the one behind the last.
    #[must_use]
    pub fn within(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            ..Self::default()
        }
    }

    /// Tells whether a call is wanted.
    #[must_use]
    pub fn wants(&self, call: &CallRecord) -> bool {
        fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        (self.from..self.to).contains(&call.created_at)
            && is(self.user.as_ref(), Some(&call.user))
            && is(self.project.as_ref(), Some(&call.project))
            && is(self.key.as_ref(), call.key.as_ref())
            && is(self.session.as_ref(), call.session.as_ref())
            && is(self.model.as_ref(), Some(&call.model))
            && is(self.route.as_deref(), Some(&*call.route))
            && is(self.status.as_ref(), Some(&call.status))
            && is(self.ending.as_ref(), call.ending.as_ref())
            && is(self.stream.as_ref(), Some(&call.stream))
    }
}

/// A place in a list of calls, behind one of them.
///
/// ```
/// use llm_gate::clock::Timestamp;
/// use llm_gate::identity::RequestId;
/// use llm_gate::store::CallCursor;
///
/// let place = CallCursor { at: Timestamp::from_micros(7), id: RequestId::new() };
/// assert_eq!(place.to_string().parse(), Ok(place), "clients hand it back as they got it");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallCursor {
    /// When the call was reserved.
    pub at: Timestamp,
    /// The call.
    pub id: RequestId,
}

/// A text that is no place in a list of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is no place in a list of calls")]
pub struct InvalidCursor;

impl CallCursor {
    /// Returns the place behind a call.
    #[must_use]
    pub const fn behind(call: &CallRecord) -> Self {
        Self {
            at: call.created_at,
            id: call.id,
        }
    }
}

impl fmt::Display for CallCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.as_micros(), self.id)
    }
}

impl FromStr for CallCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (at, id) = text.split_once('.').ok_or(InvalidCursor)?;
        let place = Self {
            at: Timestamp::from_micros(at.parse().map_err(|_| InvalidCursor)?),
            id: id.parse().map_err(|_| InvalidCursor)?,
        };
        // Written in one way only.
        (place.to_string() == text)
            .then_some(place)
            .ok_or(InvalidCursor)
    }
}

/// Which calls are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallQuery {
    /// Whose may be seen.
    pub scope: UsageScope,
    /// Which are wanted.
    pub filter: CallFilter,
    /// Only those behind this place; `None` from the newest on.
    pub after: Option<CallCursor>,
    /// How many of them to leave out: for clients that count and do not know places. Each is read all the same.
    pub skip: u32,
    /// How many at once.
    pub count: u32,
}

impl CallQuery {
    /// Asks for the newest `count` of all that may be seen.
    #[must_use]
    pub fn new(scope: UsageScope, count: u32) -> Self {
        Self {
            scope,
            filter: CallFilter::default(),
            after: None,
            skip: 0,
            count,
        }
    }
}

words! {
    /// How long the stretches of time are that calls are added up in.
    UsagePeriod {
        /// All of it is one.
        All = "all",
        /// Months in the zone.
        Month = "month",
        /// Days in the zone.
        Day = "day",
    }
}

words! {
    /// What calls are told apart by when they are added up.
    UsageGroup {
        /// The model that was asked for.
        Model = "model",
        /// The API key, or none.
        Key = "key",
        /// The user.
        User = "user",
        /// The project.
        Project = "project",
    }
}

/// Which calls are added up, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose may be seen.
    pub scope: UsageScope,
    /// Which are wanted.
    pub filter: CallFilter,
    /// In which stretches of time.
    pub period: UsagePeriod,
    /// On whose clocks days and months begin.
    pub zone: Zone,
    /// Told apart by what; `None` for all together.
    pub group: Option<UsageGroup>,
    /// How many rows are wanted at most.
    pub count: u32,
}

impl UsageQuery {
    /// Adds up by days in UTC, all together.
    #[must_use]
    pub fn daily(scope: UsageScope, filter: CallFilter, count: u32) -> Self {
        Self {
            scope,
            filter,
            period: UsagePeriod::Day,
            zone: Zone::UTC,
            group: None,
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wrote_is_no_cursor() {
        const ID: &str = "0199aaaa-0000-7000-8000-0000000000ff";
        let right: CallCursor = format!("7.{ID}").parse().expect("as it is written");
        assert_eq!(right.at, Timestamp::from_micros(7));
        for wrong in [
            "",
            "7",
            ".",
            "7.x",
            &format!("x.{ID}"),
            &format!("+7.{ID}"),
            &format!("07.{ID}"),
            &format!("7.{}", ID.to_uppercase()),
            &format!("9223372036854775808.{ID}"),
        ] {
            assert_eq!(wrong.parse::<CallCursor>(), Err(InvalidCursor), "{wrong}");
        }
    }
}
