use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::CallRecord;
use crate::words::words;

use super::UsageSum;

words! {
    /// How long buckets are. They begin at multiples of it since 1970 in UTC.
    BucketWidth {
        /// A minute.
        Minute = "1m",
        /// An hour.
        Hour = "1h",
        /// A day.
        Day = "1d",
    }
}

impl BucketWidth {
    /// Returns the length in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        const MINUTE: i64 = 60_000_000;
        match self {
            Self::Minute => MINUTE,
            Self::Hour => 60 * MINUTE,
            Self::Day => 24 * 60 * MINUTE,
        }
    }

    /// Returns when the bucket begins that a moment lies in.
    #[must_use]
    pub const fn start(self, at: Timestamp) -> Timestamp {
        let width = self.micros();
        Timestamp::from_micros(at.as_micros().div_euclid(width).saturating_mul(width))
    }
}

/// What the calls of a bucket are told apart by; by nothing unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketGroups {
    /// By the model that was asked for.
    pub model: bool,
    /// By the API key, or none.
    pub key: bool,
    /// By the user.
    pub user: bool,
    /// By the project.
    pub project: bool,
}

/// Which calls of everybody are added up in buckets: for those who manage the platform. Of a list, one has to fit; an
/// empty one fits all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketQuery {
    /// The first moment; nothing is called before 1970.
    pub from: Timestamp,
    /// The first moment behind.
    pub to: Timestamp,
    /// How long the buckets are.
    pub width: BucketWidth,
    /// Only those of these users.
    pub users: Vec<UserId>,
    /// Only those made for these projects.
    pub projects: Vec<ProjectId>,
    /// Only those made with these keys.
    pub keys: Vec<KeyId>,
    /// Only those of these models, by the names that were asked for.
    pub models: Vec<String>,
    /// Only those of these routes, by their words.
    pub routes: Vec<String>,
    /// What the calls of a bucket are told apart by.
    pub groups: BucketGroups,
    /// How many rows are wanted at most.
    pub count: u32,
}

impl BucketQuery {
    /// Adds up all calls of a time, from its first moment to the one behind it.
    #[must_use]
    pub fn new(from: Timestamp, to: Timestamp, width: BucketWidth, count: u32) -> Self {
        Self {
            from: from.max(Timestamp::from_micros(0)),
            to,
            width,
            users: Vec::new(),
            projects: Vec::new(),
            keys: Vec::new(),
            models: Vec::new(),
            routes: Vec::new(),
            groups: BucketGroups::default(),
            count,
        }
    }

    /// Tells whether a call is wanted.
    #[must_use]
    pub fn wants(&self, call: &CallRecord) -> bool {
        let keys = &self.keys;
        (self.from..self.to).contains(&call.created_at)
            && (self.users.is_empty() || self.users.contains(&call.user))
            && (self.projects.is_empty() || self.projects.contains(&call.project))
            && (keys.is_empty() || call.key.is_some_and(|key| keys.contains(&key)))
            && (self.models.is_empty() || self.models.contains(&call.model))
            && (self.routes.is_empty() || self.routes.iter().any(|route| *route == call.route))
    }
}

/// What the calls of a row have in common; what they are not told apart by is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketKey {
    /// The model.
    pub model: Option<String>,
    /// The API key; `None` for calls without one, too.
    pub key: Option<KeyId>,
    /// The user.
    pub user: Option<UserId>,
    /// The project.
    pub project: Option<ProjectId>,
}

impl BucketKey {
    /// Returns what a call is told apart by.
    #[must_use]
    pub fn of(groups: BucketGroups, call: &CallRecord) -> Self {
        Self {
            model: groups.model.then(|| call.model.clone()),
            key: call.key.filter(|_| groups.key),
            user: groups.user.then_some(call.user),
            project: groups.project.then_some(call.project),
        }
    }
}

/// What calls of one bucket and of one key come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRow {
    /// When the bucket begins.
    pub start: Timestamp,
    /// What the calls have in common.
    pub key: BucketKey,
    /// Their sum.
    pub sum: UsageSum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_at_or_before_what_lies_in_it() {
        for width in BucketWidth::ALL {
            for at in [0, 1, 59_999_999, 86_399_999_999, 1_767_225_600_000_001] {
                let at = Timestamp::from_micros(at);
                let start = width.start(at);
                let into = at.as_micros() - start.as_micros();
                assert!((0..width.micros()).contains(&into), "{width}");
                assert_eq!(width.start(start), start, "{width}: its own first moment");
            }
        }
    }
}
