use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::identity::{ConversationId, UserId};
use crate::store::rules::State;
use crate::store::{
    BucketKey, BucketQuery, BucketRow, CallCursor, CallFilter, CallPage, CallQuery, CallRecord,
    Conversation, ConversationCursor, ConversationPage, ConversationQuery, OutOfRange, UsageKey,
    UsageQuery, UsageRow, UsageScope, UsageStatistics, UsageSum, UsageTable,
};

use super::MemoryBooks;

impl MemoryBooks {
    /// Lists the calls that have ended.
    fn ended(&self) -> impl Iterator<Item = CallRecord> {
        let ended = self
            .reservations
            .iter()
            .filter(|(_, kept)| kept.reservation.state != State::Pending);
        ended.filter_map(|(id, _)| self.call(*id))
    }

    fn seen<'a>(
        &'a self,
        scope: &'a UsageScope,
        filter: &'a CallFilter,
    ) -> impl Iterator<Item = CallRecord> + 'a {
        self.ended()
            .filter(|call| scope.sees(call) && filter.wants(call))
    }

    /// Lists calls, the newest first.
    #[must_use]
    pub fn calls(&self, query: &CallQuery) -> CallPage {
        let seen = self.seen(&query.scope, &query.filter);
        let mut calls: Vec<CallRecord> = seen
            .filter(|call| {
                query
                    .after
                    .is_none_or(|place| CallCursor::behind(call) < place)
            })
            .collect();
        calls.sort_unstable_by_key(|call| Reverse(CallCursor::behind(call)));
        let mut calls: Vec<CallRecord> = calls.into_iter().skip(query.skip as usize).collect();
        let more = calls.len() > query.count as usize;
        calls.truncate(query.count as usize);
        let next = calls.last().filter(|_| more).map(CallCursor::behind);
        CallPage { calls, next }
    }

    /// Lists the conversations of a project by their last call, the newest first.
    ///
    /// # Errors
    ///
    /// Fails where a sum is out of range.
    pub fn conversations(&self, query: &ConversationQuery) -> Result<ConversationPage, OutOfRange> {
        let mut sums: BTreeMap<(UserId, ConversationId), UsageSum> = BTreeMap::new();
        for call in self.seen(&UsageScope::Project(query.project), &query.filter) {
            let sum = UsageSum::of(&call);
            if let Some(session) = call.session {
                let all = sums.entry((call.user, session)).or_default();
                *all = all.plus(sum)?;
            }
        }
        let conversation = |((user, session), sum)| Conversation { session, user, sum };
        let mut found: Vec<Conversation> = sums.into_iter().map(conversation).collect();
        found.sort_by_cached_key(|one| Reverse(ConversationCursor::behind(one)));
        if query.after.is_some() {
            found.retain(|one| ConversationCursor::behind(one) < query.after);
        }
        Ok(ConversationPage::of(found, query.count))
    }

    /// Adds calls up.
    ///
    /// # Errors
    ///
    /// Fails where a sum is out of range.
    pub fn usage(&self, scope: &UsageScope, filter: &CallFilter) -> Result<UsageSum, OutOfRange> {
        self.seen(scope, filter)
            .try_fold(UsageSum::default(), |sum, call| {
                sum.plus(UsageSum::of(&call))
            })
    }

    /// Adds calls up by period and key; `None` where there are more rows than asked for.
    ///
    /// # Errors
    ///
    /// Fails where a sum is out of range.
    pub fn usage_by(&self, query: &UsageQuery) -> Result<Option<Vec<UsageRow>>, OutOfRange> {
        let mut table = UsageTable::default();
        for call in self.seen(&query.scope, &query.filter) {
            let start = query.period.start(&query.zone, call.created_at);
            let key = query.group.map(|group| UsageKey::of(group, &call));
            table.add(start, key, UsageSum::of(&call))?;
        }
        Ok(table.rows(query.count))
    }

    /// Adds calls up by bucket and key; `None` where there are more rows than asked for.
    ///
    /// # Errors
    ///
    /// Fails where a sum is out of range.
    pub fn usage_in_buckets(
        &self,
        query: &BucketQuery,
    ) -> Result<Option<Vec<BucketRow>>, OutOfRange> {
        let mut sums: BTreeMap<(Timestamp, BucketKey), UsageSum> = BTreeMap::new();
        for call in self.ended().filter(|call| query.wants(call)) {
            let start = query.width.start(call.created_at);
            let row = sums.entry((start, BucketKey::of(query.groups, &call)));
            let sum = row.or_default();
            *sum = sum.plus(UsageSum::of(&call))?;
        }
        if sums.len() > query.count as usize {
            return Ok(None);
        }
        let row = |((start, key), sum)| BucketRow { start, key, sum };
        Ok(Some(sums.into_iter().map(row).collect()))
    }

    /// Adds up the calls of everybody.
    ///
    /// # Errors
    ///
    /// Fails where a sum is out of range.
    pub fn statistics(&self) -> Result<UsageStatistics, OutOfRange> {
        let (mut models, mut upstreams) = (BTreeSet::new(), BTreeSet::new());
        let mut sessions = BTreeSet::new();
        let mut sum = UsageSum::default();
        for call in self.ended() {
            sum = sum.plus(UsageSum::of(&call))?;
            models.insert(call.model);
            let upstream = call.served.and_then(|served| served.upstream);
            upstreams.extend(upstream.map(|upstream| upstream.to_string()));
            sessions.extend(call.session.map(|session| (call.user, session)));
        }
        let first = |names: BTreeSet<String>| {
            let most = UsageStatistics::MAX_NAMES as usize;
            names.into_iter().take(most).collect()
        };
        Ok(UsageStatistics {
            sum,
            sessions: sessions.len() as u64,
            models: first(models),
            upstreams: first(upstreams),
        })
    }
}
