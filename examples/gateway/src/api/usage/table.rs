//! Reports as tables for spreadsheets.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use llm_gate::store::{CallQuery, Store, UsageGroup};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::views::{CallView, DayView};
use crate::api::document::{Reply, Sketch};
use crate::api::error::ApiError;
use crate::api::taker::Taking;
use crate::export::cell;

/// How many calls a table has at most, and how many are in memory at once.
const MAX_CALLS: u64 = 100_000;
const PAGE: u32 = 1_000;

/// What a table that would be too long is refused by, and what to do: where the route takes days, and where it does not.
pub(super) const FEWER_DAYS: (&str, &str) = ("start_date", "ask for fewer days");
pub(in crate::api) const BY_DAYS: (&str, &str) = ("format", "ask a list of calls for some days");

const CALL_COLUMNS: [&str; 23] = [
    "id",
    "timestamp",
    "endpoint",
    "method",
    "status_code",
    "tokens_used",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "model",
    "estimated_cost",
    "request_size",
    "response_size",
    "user_id",
    "project_id",
    "key_id",
    "session_id",
    "stream",
    "ending",
    "source",
    "provider",
    "first_data_us",
    "total_us",
];
const DAY_COLUMNS: [&str; 7] = [
    "date",
    "call_count",
    "tokens_used",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "estimated_cost",
];

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Format {
    Json,
    Csv,
}

impl Format {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Takes what was asked for by name, else what the client would rather have.
    pub(in crate::api) fn of(asked: Option<Self>, headers: &HeaderMap) -> Self {
        let csv = weight_of(headers, "text/csv");
        let json = weight_of(headers, "application/json");
        asked.unwrap_or(if csv > json { Self::Csv } else { Self::Json })
    }
}

/// Returns how much a client would like a media type; nothing if it does not name it.
pub(in crate::api) fn weight_of(headers: &HeaderMap, media: &str) -> u16 {
    let lists = headers.get_all(ACCEPT).iter();
    let weights = lists.filter_map(|value| weight(value.to_str().ok()?, media));
    weights.max().unwrap_or(0)
}

/// Returns the weight of a media type in a list of them, in thousandths (RFC 9110, section 12.4.2). Ranges do not
/// count: who takes anything gets JSON.
fn weight(list: &str, media: &str) -> Option<u16> {
    let of = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(media) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
        let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
        // A weight has at most three decimals.
        Some((weight.clamp(0.0, 1.0) * 1_000.0) as u16)
    };
    list.split(',').filter_map(of).max()
}

/// A report as JSON, or as a table.
pub(in crate::api) enum Report<T> {
    Json(T),
    Csv { name: &'static str, body: Body },
}

impl<T: Serialize> IntoResponse for Report<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Json(view) => Json(view).into_response(),
            Self::Csv { name, body } => {
                let file = format!("attachment; filename=\"{name}.csv\"");
                let kind = "text/csv; charset=utf-8; header=present".to_owned();
                ([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, file)], body).into_response()
            }
        }
    }
}

impl<T: ToSchema> Reply for Report<T> {
    fn describe(sketch: &mut Sketch) {
        let table = ObjectBuilder::new().schema_type(Type::String).into();
        sketch.answer_json::<T>(StatusCode::OK, "The report");
        sketch.answer(StatusCode::OK, "The report", [("text/csv", table)]);
    }
}

/// Writes a line. What a client may have written is no formula.
fn line(text: &mut String, values: &[Value]) {
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        cell(text, value, true);
    }
    text.push_str("\r\n");
}

/// Writes days, each with its group where there are groups.
pub(super) fn days<T>(
    name: &'static str,
    days: &[DayView],
    group: Option<UsageGroup>,
) -> Report<T> {
    let mut head: Vec<Value> = DAY_COLUMNS.iter().map(|name| json!(name)).collect();
    if let Some(group) = group {
        head.insert(1, json!(group.as_str()));
    }
    let mut text = String::new();
    line(&mut text, &head);
    for day in days {
        let mut values = vec![
            json!(day.date),
            json!(day.call_count),
            json!(day.tokens_used),
            json!(day.prompt_tokens),
            json!(day.completion_tokens),
            json!(day.cached_tokens),
            json!(day.estimated_cost),
        ];
        if group.is_some() {
            values.insert(1, json!(day.group));
        }
        line(&mut text, &values);
    }
    let body = Body::from(text);
    Report::Csv { name, body }
}

fn call(call: &CallView) -> [Value; CALL_COLUMNS.len()] {
    [
        json!(call.id),
        json!(call.timestamp),
        json!(call.endpoint),
        json!(call.method),
        json!(call.status_code),
        json!(call.tokens_used),
        json!(call.prompt_tokens),
        json!(call.completion_tokens),
        json!(call.cached_tokens),
        json!(call.model),
        json!(call.estimated_cost),
        json!(call.request_size),
        json!(call.response_size),
        json!(call.user_id),
        json!(call.project_id),
        json!(call.key_id),
        json!(call.session_id),
        json!(call.stream),
        json!(call.ending),
        json!(call.source),
        json!(call.provider),
        json!(call.first_data_us),
        json!(call.total_us),
    ]
}

/// A table of calls under way: page by page, so that nothing is kept open however slowly a client reads.
struct Calls {
    store: Arc<dyn Store>,
    taking: Taking,
    /// What is asked for next, `None` at the end.
    query: Option<CallQuery>,
}

impl Calls {
    async fn next(&mut self) -> Result<Option<String>, ApiError> {
        let Some(query) = self.query.take() else {
            return Ok(None);
        };
        self.taking.ask().await?;
        let page = self.store.calls(query.clone()).await?;
        self.query = page.next.map(|after| CallQuery {
            after: Some(after),
            ..query
        });
        let mut text = String::new();
        for record in page.calls {
            line(&mut text, &call(&record.into()));
        }
        Ok(Some(text))
    }
}

/// Refuses a table that would be too long, by the name of what would make it shorter.
fn in_bounds(total: u64, (field, instead): (&'static str, &str)) -> Result<(), ApiError> {
    if total <= MAX_CALLS {
        return Ok(());
    }
    let words = format!("a table has at most {MAX_CALLS} calls: {instead}");
    Err(ApiError::field(field, words))
}

/// Streams calls, all that are asked for.
pub(in crate::api) async fn calls<T>(
    store: Arc<dyn Store>,
    taking: Taking,
    query: CallQuery,
    total: u64,
    instead: (&'static str, &str),
) -> Result<Report<T>, ApiError> {
    if query.after.is_some() || query.skip > 0 {
        return Err(ApiError::field("format", "a table has no pages"));
    }
    in_bounds(total, instead)?;
    let mut head = String::new();
    line(&mut head, &CALL_COLUMNS.map(|name| json!(name)));
    let query = Some(CallQuery {
        count: PAGE,
        ..query
    });
    let mut calls = Calls {
        store,
        taking,
        query,
    };
    // While nothing is sent, a store that cannot answer is still a 503.
    let first = head + &calls.next().await?.unwrap_or_default();
    let rest = stream::try_unfold(calls, |mut calls| async move {
        let next = calls.next().await.inspect_err(|error| {
            // The client sees an answer that breaks off.
            tracing::warn!(%error, "a report is broken off");
        })?;
        Ok::<_, ApiError>(next.map(|text| (text, calls)))
    });
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
    let name = "calls";
    Ok(Report::Csv { name, body })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(accept: &'static str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Format::of(None, &headers)
    }

    #[test]
    fn a_table_that_would_be_too_long_is_none() {
        for (total, fits) in [(0, true), (MAX_CALLS, true), (MAX_CALLS + 1, false)] {
            let refused = in_bounds(total, FEWER_DAYS);
            let refused = matches!(refused, Err(ApiError::Fields(_)));
            assert_eq!(refused, !fits, "{total}");
        }
    }

    #[test]
    fn who_would_rather_have_a_table_gets_one() {
        for accept in [
            "text/csv",
            "Text/CSV; q=0.1",
            "text/csv, application/json;q=0.9",
            "*/*, text/csv",
        ] {
            assert_eq!(of(accept), Format::Csv, "{accept}");
        }
        for accept in [
            "*/*",
            "text/*",
            "application/json",
            "text/csv;q=0",
            "text/csv, application/json",
            "text/csv;q=x",
            "",
        ] {
            assert_eq!(of(accept), Format::Json, "{accept}");
        }
        let headers = HeaderMap::new();
        assert_eq!(Format::of(Some(Format::Csv), &headers), Format::Csv);
    }
}
