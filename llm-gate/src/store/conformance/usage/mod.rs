//! The rules of [`UsageStore`], over books that a [`LedgerStore`] keeps.

mod buckets;
mod calls;
mod conversations;
mod sums;

pub use buckets::*;
pub use calls::*;
pub use conversations::*;
pub use sums::*;

use std::time::Duration;

use super::rules;
use super::support::{done, granted, later, reserve, settled};
use crate::clock::Timestamp;
use crate::identity::{ConversationId, KeyId, ProjectId, RequestId, Subject, UserId};
use crate::store::{
    CallCursor, CallInfo, CallQuery, Ending, LedgerStore, Reserve, Served, Settle, UsageStore,
};
use crate::tokens::Usage;

rules!(__usage_rules where S: LedgerStore|UsageStore;
    nothing_comes_to_nothing,
    calls_are_listed_the_newest_first_and_each_once,
    calls_of_one_moment_are_listed_each_once,
    conversations_are_listed_by_their_last_call,
    conversations_of_one_moment_are_listed_each_once,
    a_conversation_is_of_one_user_in_one_project,
    what_has_no_name_or_has_not_ended_is_no_conversation,
    nobody_sees_more_than_its_scope,
    every_filter_leaves_out_the_others,
    sums_are_what_the_calls_come_to,
    days_begin_at_midnight_of_the_zone,
    months_are_those_of_the_zone,
    sums_are_told_apart_by_key,
    more_rows_than_asked_for_are_none,
    buckets_are_as_wide_as_asked,
    buckets_are_told_apart_by_each_combination,
    buckets_hold_what_is_wanted,
    more_rows_of_buckets_than_asked_for_are_none,
    what_is_charged_in_the_end_counts,
    a_sum_out_of_range_is_a_failure,
    statistics_are_of_everybody,
);

const HOUR: i64 = 3_600_000_000;

/// A call that has ended.
struct Call {
    user: UserId,
    project: ProjectId,
    key: Option<KeyId>,
    session: Option<ConversationId>,
    model: &'static str,
    route: &'static str,
    stream: bool,
    at: Timestamp,
    tokens: (u64, u64, u64),
    ending: Ending,
    status: u16,
    upstream: Option<&'static str>,
}

impl Call {
    fn of(user: UserId, at: i64) -> Self {
        Self {
            user,
            project: ProjectId::from_uuid(*user.as_uuid()),
            key: None,
            session: None,
            model: "model",
            route: "chat",
            stream: false,
            at: later(at),
            tokens: (20, 10, 4),
            ending: Ending::Complete,
            status: 200,
            upstream: None,
        }
    }

    fn reserve(&self) -> Reserve {
        let mut subjects = vec![Subject::User(self.user)];
        subjects.extend(self.key.map(Subject::Key));
        Reserve {
            at: self.at,
            call: CallInfo::new(self.user, self.project, self.route, self.model)
                .session(self.session.clone())
                .stream(self.stream),
            ..reserve(&subjects, 60)
        }
    }

    fn settle(&self, id: RequestId) -> Settle {
        let (prompt, completion, cached) = self.tokens;
        let usage = Usage {
            prompt,
            completion,
            cached,
            reasoning: 1,
        };
        Settle {
            ending: self.ending,
            status: self.status,
            served: Some(Served {
                upstream: self.upstream.and_then(|name| name.parse().ok()),
                response_bytes: 7,
                first_data: None,
                total: Duration::from_micros(9),
            }),
            ..Settle::upstream(id, self.at, usage)
        }
    }
}

/// Lets calls happen; returns their ids.
async fn happen<S: LedgerStore>(store: &S, calls: &[Call]) -> Vec<RequestId> {
    let mut ids = Vec::new();
    for call in calls {
        let reserve = call.reserve();
        granted(store, &reserve).await;
        settled(store, &call.settle(reserve.id)).await;
        ids.push(reserve.id);
    }
    ids
}

async fn listed<S: UsageStore>(
    store: &S,
    query: CallQuery,
) -> (Vec<RequestId>, Option<CallCursor>) {
    let page = done(store.calls(query).await);
    (page.calls.iter().map(|call| call.id).collect(), page.next)
}

fn name(name: &str) -> ConversationId {
    name.parse().expect("a name")
}
