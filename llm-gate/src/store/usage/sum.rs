use std::collections::BTreeMap;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::CallRecord;
use crate::tokens::Tokens;

use super::UsageGroup;

/// What calls come to together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSum {
    /// How many there were, those that cost nothing too.
    pub calls: u64,
    /// The tokens that were charged, within limits and beyond them.
    pub tokens: u64,
    /// The tokens of prompts, as reported.
    pub prompt: u64,
    /// The tokens that were generated, as reported.
    pub completion: u64,
    /// The part of the prompts that came out of caches.
    pub cached: u64,
    /// What they cost, in micro-units of money.
    pub cost: u64,
    /// When the first one was.
    pub first: Option<Timestamp>,
    /// When the last one was.
    pub last: Option<Timestamp>,
}

/// A sum that no 64-bit integer can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a sum is out of range")]
pub struct OutOfRange;

impl UsageSum {
    /// Returns what one call comes to.
    #[must_use]
    pub fn of(call: &CallRecord) -> Self {
        let settlement = call.state.settlement();
        // Upstreams may say anything.
        let figure = |figure| Tokens::new(figure).get();
        let charged = settlement.charged.get() + settlement.overage.get();
        Self {
            calls: 1,
            tokens: charged,
            prompt: figure(call.usage.prompt),
            completion: figure(call.usage.completion),
            cached: figure(call.usage.cached),
            cost: settlement.cost.get(),
            first: Some(call.created_at),
            last: Some(call.created_at),
        }
    }

    /// Adds two sums.
    ///
    /// # Errors
    ///
    /// Fails where one of the figures is larger than a signed 64-bit integer.
    pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        let add = |one: u64, other: u64| {
            let sum = one.checked_add(other).ok_or(OutOfRange)?;
            i64::try_from(sum)
                .map(i64::cast_unsigned)
                .map_err(|_| OutOfRange)
        };
        let either = |pick: fn(Timestamp, Timestamp) -> Timestamp, one, other| match (one, other) {
            (Some(one), Some(other)) => Some(pick(one, other)),
            (one, other) => one.or(other),
        };
        Ok(Self {
            calls: add(self.calls, other.calls)?,
            tokens: add(self.tokens, other.tokens)?,
            prompt: add(self.prompt, other.prompt)?,
            completion: add(self.completion, other.completion)?,
            cached: add(self.cached, other.cached)?,
            cost: add(self.cost, other.cost)?,
            first: either(Ord::min, self.first, other.first),
            last: either(Ord::max, self.last, other.last),
        })
    }
}

/// What a row of sums is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageKey {
    /// A model.
    Model(String),
    /// An API key, or calls without one.
    Key(Option<KeyId>),
    /// A user.
    User(UserId),
    /// A project.
    Project(ProjectId),
}

impl UsageKey {
    /// Returns what a call is told apart by.
    #[must_use]
    pub fn of(group: UsageGroup, call: &CallRecord) -> Self {
        match group {
            UsageGroup::Model => Self::Model(call.model.clone()),
            UsageGroup::Key => Self::Key(call.key),
            UsageGroup::User => Self::User(call.user),
            UsageGroup::Project => Self::Project(call.project),
        }
    }
}

/// What calls of one period and of one key come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The first moment of the period; `None` where all time is one.
    pub start: Option<Timestamp>,
    /// What the calls are told apart by.
    pub key: Option<UsageKey>,
    /// Their sum.
    pub sum: UsageSum,
}

/// Sums on their way: for stores that add up in parts.
#[derive(Clone, Debug, Default)]
pub struct UsageTable(BTreeMap<(Option<Timestamp>, Option<UsageKey>), UsageSum>);

impl UsageTable {
    /// Adds to a row.
    ///
    /// # Errors
    ///
    /// Fails where the sum is out of range.
    pub fn add(
        &mut self,
        start: Option<Timestamp>,
        key: Option<UsageKey>,
        sum: UsageSum,
    ) -> Result<(), OutOfRange> {
        let row = self.0.entry((start, key)).or_default();
        *row = row.plus(sum)?;
        Ok(())
    }

    /// Returns the rows in their order; `None` where there are more than `count`.
    #[must_use]
    pub fn rows(self, count: u32) -> Option<Vec<UsageRow>> {
        if self.0.len() > count as usize {
            return None;
        }
        let row = |((start, key), sum)| UsageRow { start, key, sum };
        Some(self.0.into_iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_right_or_none() {
        let most = UsageSum {
            cost: i64::MAX.cast_unsigned(),
            ..UsageSum::default()
        };
        let one = UsageSum {
            cost: 1,
            ..UsageSum::default()
        };
        assert_eq!(most.plus(UsageSum::default()), Ok(most));
        assert_eq!(most.plus(one), Err(OutOfRange));
    }
}
