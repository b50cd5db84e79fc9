//! The JSON of reports. Money is a decimal number in a text, never a float.

use jiff::Timestamp as Moment;
use jiff::civil::Date;
use llm_gate::call::Route;
use llm_gate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use llm_gate::store::{
    CallCursor, CallPage, CallRecord, Ending, Source, UsageKey, UsageRow, UsageStatistics, UsageSum,
};
use llm_gate::upstream::UpstreamName;
use serde::Serialize;
use utoipa::ToSchema;

use super::whose::{Whose, WhoseView};
use crate::api::views::{micros, moment};
use crate::api::words;

/// Writes micro-units of money as units.
pub(in crate::api) fn micro_units(amount: u64) -> String {
    format!("{}.{:06}", amount / 1_000_000, amount % 1_000_000)
}

/// What calls of a day come to.
#[derive(Serialize, ToSchema)]
#[schema(as = DayOfUsage)]
pub(in crate::api) struct DayView {
    /// The day, in the zone that was asked for.
    #[schema(required, value_type = Option<String>, format = Date)]
    pub(super) date: Option<Date>,
    /// The model, the key, the user or the project of the calls, where they are told apart by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    pub(super) call_count: u64,
    /// Tokens that were charged.
    pub(super) tokens_used: u64,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cached_tokens: u64,
    /// In units of money, with six decimals.
    pub(super) estimated_cost: String,
}

impl DayView {
    pub(super) fn new(date: Option<Date>, row: UsageRow) -> Self {
        let group = row.key.map(|key| match key {
            UsageKey::Model(model) => model,
            UsageKey::Key(None) => "none".to_owned(),
            UsageKey::Key(Some(key)) => key.to_string(),
            UsageKey::User(user) => user.to_string(),
            UsageKey::Project(project) => project.to_string(),
        });
        Self {
            date,
            group,
            call_count: row.sum.calls,
            tokens_used: row.sum.tokens,
            prompt_tokens: row.sum.prompt,
            completion_tokens: row.sum.completion,
            cached_tokens: row.sum.cached,
            estimated_cost: micro_units(row.sum.cost),
        }
    }
}

/// What calls come to together.
#[derive(Serialize, ToSchema)]
#[schema(as = Used)]
pub(in crate::api) struct UsedView {
    total_calls: u64,
    total_tokens: u64,
    /// In units of money, with six decimals.
    total_cost: String,
}

impl From<UsageSum> for UsedView {
    fn from(sum: UsageSum) -> Self {
        Self {
            total_calls: sum.calls,
            total_tokens: sum.tokens,
            total_cost: micro_units(sum.cost),
        }
    }
}

/// Calls by day.
#[derive(Serialize, ToSchema)]
#[schema(as = DailyUsage)]
pub(in crate::api) struct DaysView {
    #[serde(flatten)]
    pub(super) whose: WhoseView,
    /// Null for a user without one; only where it is of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) username: Option<Option<String>>,
    pub(super) period_days: u32,
    pub(super) daily_usage: Vec<DayView>,
    pub(super) summary: UsedView,
}

/// A call that has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub(in crate::api) struct CallView {
    #[schema(value_type = String, format = Uuid)]
    pub(super) id: RequestId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub(super) timestamp: Option<Moment>,
    pub(super) endpoint: String,
    pub(super) method: &'static str,
    /// What the client saw, 0 if it saw nothing.
    pub(super) status_code: u16,
    /// Tokens that were charged.
    pub(super) tokens_used: u64,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) model: String,
    /// In units of money, with six decimals.
    pub(super) estimated_cost: String,
    /// Bytes of the request's body.
    pub(super) request_size: u64,
    /// Bytes of the answer's body; null where nobody knows.
    #[schema(required)]
    pub(super) response_size: Option<u64>,
    #[schema(value_type = String, format = Uuid)]
    pub(super) user_id: UserId,
    #[schema(value_type = String, format = Uuid)]
    pub(super) project_id: ProjectId,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(super) key_id: Option<KeyId>,
    #[schema(required, value_type = Option<String>)]
    pub(super) session_id: Option<ConversationId>,
    pub(super) stream: bool,
    #[schema(required, schema_with = words::ending)]
    pub(super) ending: Option<Ending>,
    #[schema(required, schema_with = words::source)]
    pub(super) source: Option<Source>,
    /// The upstream that served it.
    #[schema(required, value_type = Option<String>)]
    pub(super) provider: Option<UpstreamName>,
    /// Microseconds from the reservation to the first data, and to the end.
    #[schema(required)]
    pub(super) first_data_us: Option<u64>,
    #[schema(required)]
    pub(super) total_us: Option<u64>,
}

impl From<CallRecord> for CallView {
    fn from(call: CallRecord) -> Self {
        let sum = UsageSum::of(&call);
        let served = call.served.as_ref();
        let route = Route::from_word(&call.route);
        Self {
            id: call.id,
            timestamp: moment(call.created_at),
            endpoint: route.map_or_else(|| call.route.to_string(), |route| route.path().to_owned()),
            method: "POST",
            status_code: call.status,
            tokens_used: sum.tokens,
            prompt_tokens: sum.prompt,
            completion_tokens: sum.completion,
            cached_tokens: sum.cached,
            estimated_cost: micro_units(sum.cost),
            request_size: call.request_bytes,
            response_size: served.map(|served| served.response_bytes),
            user_id: call.user,
            project_id: call.project,
            key_id: call.key,
            stream: call.stream,
            ending: call.ending,
            source: call.source,
            provider: served.and_then(|served| served.upstream.clone()),
            first_data_us: served.and_then(|served| served.first_data.map(micros)),
            total_us: served.map(|served| micros(served.total)),
            session_id: call.session,
            model: call.model,
        }
    }
}

/// A page of calls, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Calls)]
pub(in crate::api) struct CallsView {
    #[serde(flatten)]
    whose: WhoseView,
    /// How many there are on all pages.
    total_calls: u64,
    calls_returned: usize,
    offset: u32,
    limit: u32,
    calls: Vec<CallView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl CallsView {
    pub(super) fn new(
        whose: &Whose,
        total: u64,
        (offset, limit): (u32, u32),
        page: CallPage,
    ) -> Self {
        let calls: Vec<CallView> = page.calls.into_iter().map(CallView::from).collect();
        Self {
            whose: whose.into(),
            total_calls: total,
            calls_returned: calls.len(),
            offset,
            limit,
            calls,
            next_cursor: next(page.next),
        }
    }
}

fn next(cursor: Option<CallCursor>) -> Option<String> {
    cursor.map(|cursor| cursor.to_string())
}

/// The calls of a month.
#[derive(Serialize, ToSchema)]
#[schema(as = MonthOfUsage)]
pub(in crate::api) struct MonthView {
    #[serde(flatten)]
    whose: WhoseView,
    /// Such as 2026-12.
    billing_period: String,
    summary: MonthSummary,
    daily_breakdown: Vec<MonthDay>,
}

/// What the calls of a month come to.
#[derive(Serialize, ToSchema)]
struct MonthSummary {
    total_calls: u64,
    total_tokens: u64,
    /// In units of money, with six decimals.
    estimated_cost: String,
    /// Rounded to a whole number.
    avg_tokens_per_call: u64,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    first_call: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_call: Option<Moment>,
}

/// A day of a month.
#[derive(Serialize, ToSchema)]
struct MonthDay {
    #[schema(required, value_type = Option<String>, format = Date)]
    date: Option<Date>,
    calls: u64,
    tokens: u64,
}

impl MonthView {
    pub(super) fn new(whose: &Whose, first: Date, all: UsageSum, days: &[DayView]) -> Self {
        let day = |day: &DayView| MonthDay {
            date: day.date,
            calls: day.call_count,
            tokens: day.tokens_used,
        };
        Self {
            whose: whose.into(),
            billing_period: format!("{:04}-{:02}", first.year(), first.month()),
            summary: MonthSummary {
                total_calls: all.calls,
                total_tokens: all.tokens,
                estimated_cost: micro_units(all.cost),
                avg_tokens_per_call: average(all.tokens, all.calls),
                first_call: all.first.and_then(moment),
                last_call: all.last.and_then(moment),
            },
            daily_breakdown: days.iter().map(day).collect(),
        }
    }
}

/// Divides and rounds half up; nothing by nothing is nothing.
const fn average(sum: u64, count: u64) -> u64 {
    if count == 0 {
        return 0;
    }
    let half = count / 2 + count % 2;
    sum / count + (sum % count >= half) as u64
}

/// The calls of a conversation or a project.
#[derive(Serialize, ToSchema)]
#[schema(as = Records)]
pub(in crate::api) struct RecordsView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    session_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    /// Tokens that were charged.
    total_tokens: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// The newest first.
    records: Vec<TokenRecord>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A call, in tokens.
#[derive(Serialize, ToSchema)]
struct TokenRecord {
    #[schema(value_type = String, format = Uuid)]
    id: RequestId,
    #[schema(required, value_type = Option<String>)]
    session_id: Option<ConversationId>,
    model: String,
    #[schema(required, value_type = Option<String>)]
    provider: Option<UpstreamName>,
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl From<CallRecord> for TokenRecord {
    fn from(call: CallRecord) -> Self {
        let sum = UsageSum::of(&call);
        Self {
            id: call.id,
            provider: call.served.and_then(|served| served.upstream),
            input_tokens: sum.prompt,
            output_tokens: sum.completion,
            total_tokens: sum.tokens,
            created_at: moment(call.created_at),
            session_id: call.session,
            model: call.model,
        }
    }
}

impl RecordsView {
    fn new(all: UsageSum, page: CallPage) -> Self {
        Self {
            session_id: None,
            project_id: None,
            total_tokens: all.tokens,
            input_tokens: all.prompt,
            output_tokens: all.completion,
            records: page.calls.into_iter().map(TokenRecord::from).collect(),
            next_cursor: next(page.next),
        }
    }

    pub(in crate::api) fn of_session(id: ConversationId, all: UsageSum, page: CallPage) -> Self {
        Self {
            session_id: Some(id),
            ..Self::new(all, page)
        }
    }

    pub(in crate::api) fn of_project(id: ProjectId, all: UsageSum, page: CallPage) -> Self {
        Self {
            project_id: Some(id),
            ..Self::new(all, page)
        }
    }
}

/// What everybody has used.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageStatistics)]
pub(in crate::api) struct StatisticsView {
    total_calls: u64,
    /// Tokens that were charged.
    total_tokens: u64,
    total_input_tokens: u64,
    total_output_tokens: u64,
    /// In units of money, with six decimals.
    total_cost: String,
    total_sessions: u64,
    models_used: Vec<String>,
    providers_used: Vec<String>,
    /// When it was added up: at most a minute ago.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_updated: Option<Moment>,
}

impl StatisticsView {
    pub(in crate::api) fn new(statistics: UsageStatistics, at: Option<Moment>) -> Self {
        let sum = statistics.sum;
        Self {
            total_calls: sum.calls,
            total_tokens: sum.tokens,
            total_input_tokens: sum.prompt,
            total_output_tokens: sum.completion,
            total_cost: micro_units(sum.cost),
            total_sessions: statistics.sessions,
            models_used: statistics.models,
            providers_used: statistics.upstreams,
            last_updated: at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_to_the_last_micro_unit() {
        assert_eq!(micro_units(0), "0.000000");
        assert_eq!(micro_units(1), "0.000001");
        assert_eq!(micro_units(1_234_567), "1.234567");
        assert_eq!(
            micro_units(u64::MAX),
            "18446744073709.551615",
            "no float could"
        );
    }

    #[test]
    fn an_average_is_rounded_and_of_nothing_nothing() {
        assert_eq!(
            (average(0, 0), average(7, 2), average(7, 3), average(8, 3)),
            (0, 4, 2, 3)
        );
        assert_eq!(average(u64::MAX, 2), u64::MAX / 2 + 1);
    }
}
