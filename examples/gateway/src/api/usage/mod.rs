//! Reports: what was used, by day and call by call.

mod input;
mod table;
mod views;

use std::sync::Arc;

use axum::extract::State;
use http::HeaderMap;
use jiff::Timestamp as Moment;
use jiff::civil::Date;
use llm_gate::clock::Timestamp;
use llm_gate::store::{
    CallFilter, CallQuery, UsageGroup, UsagePeriod, UsageQuery, UsageRow, UsageScope, UsageSum,
};

use self::input::{CallsAsked, DaysAsked, MonthAsked};
use self::views::{CallsView, DayView, DaysView, MonthView, ProjectDaysView, UsedView};
use super::caller::Reader;
use super::error::ApiError;
use super::fields::{Path, Query};
use super::projects;
use crate::app::App;

pub(super) use self::input::{cursor, format, limit};
pub(super) use self::table::{Format, Report, calls as table_of_calls, weight_of};
pub(super) use self::views::{RecordsView, StatisticsView};

/// How many days and groups a report has at most.
const MAX_ROWS: u32 = 10_000;

/// Days of a zone that a report is of.
struct Span {
    zone: llm_gate::store::Zone,
    clocks: jiff::tz::TimeZone,
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// Reaches from the beginning of one day to the end of another.
    fn of(zone: llm_gate::store::Zone, first: Option<Date>, last: Option<Date>) -> Option<Self> {
        let clocks = jiff::tz::TimeZone::get(zone.name()).ok()?;
        // Where clocks are set forward over midnight, a day begins behind the gap.
        let begins = |day: Date| {
            let midnight = day.to_zoned(clocks.clone()).ok()?;
            Some(Timestamp::from_micros(
                midnight.timestamp().as_microsecond(),
            ))
        };
        let all = CallFilter::default();
        let from = first.map_or(Some(all.from), begins);
        // Behind the last day of the calendar there is nothing.
        let to = last.and_then(|last| begins(last.tomorrow().ok()?));
        Some(Self {
            from: from?,
            to: to.unwrap_or(all.to),
            zone,
            clocks,
        })
    }

    /// Returns the day that a moment lies on.
    fn day(&self, at: Timestamp) -> Option<Date> {
        let moment = Moment::from_microsecond(at.as_micros()).ok()?;
        Some(moment.to_zoned(self.clocks.clone()).date())
    }

    fn filter(&self) -> CallFilter {
        CallFilter::within(self.from, self.to)
    }
}

/// A zone whose clocks have no such day, which none has that is read.
fn no_such_day() -> ApiError {
    ApiError::defect(&"a day of a time zone could not be worked out")
}

/// Adds up the days of a span.
async fn days(
    app: &App,
    scope: UsageScope,
    span: &Span,
    group: Option<UsageGroup>,
) -> Result<(Vec<DayView>, UsageSum), ApiError> {
    let query = UsageQuery {
        scope,
        filter: span.filter(),
        period: UsagePeriod::Day,
        zone: span.zone.clone(),
        group,
        count: MAX_ROWS,
    };
    let rows = app.store.usage_by(query).await?;
    let rows = rows.ok_or_else(|| ApiError::field("days", "has too many groups: ask for fewer"))?;
    let all = rows
        .iter()
        .try_fold(UsageSum::default(), |all, row| all.plus(row.sum));
    let view = |row: UsageRow| {
        let date = row.start.and_then(|start| span.day(start));
        DayView::new(date, row)
    };
    let all = all.map_err(|error| ApiError::defect(&error))?;
    Ok((rows.into_iter().map(view).collect(), all))
}

/// Works out which days are asked for: so many, and today is the last.
fn last_days(app: &App, asked: &DaysAsked) -> Result<Span, ApiError> {
    let span = Span::of(asked.zone.clone(), None, None).ok_or_else(no_such_day)?;
    let today = span.day(app.clock.now()).ok_or_else(no_such_day)?;
    let back = jiff::Span::new().days(i64::from(asked.days) - 1);
    let first = today.checked_sub(back).map_err(|_| no_such_day())?;
    Span::of(asked.zone.clone(), Some(first), Some(today)).ok_or_else(no_such_day)
}

/// Adds up the own calls by day.
///
/// Days without a call are left out.
#[utoipa::path(get, path = "/api/v1/usage/daily")]
pub(super) async fn daily(
    State(app): State<App>,
    Reader(account): Reader,
    headers: HeaderMap,
    Query(asked): Query<DaysAsked>,
) -> Result<Report<DaysView>, ApiError> {
    let span = last_days(&app, &asked)?;
    let (days, all) = days(&app, UsageScope::User(account.user.id), &span, asked.group).await?;
    if Format::of(asked.format, &headers) == Format::Csv {
        return Ok(table::days("usage", &days, asked.group));
    }
    Ok(Report::Json(DaysView {
        user_id: account.user.id,
        username: account.user.username,
        period_days: asked.days,
        daily_usage: days,
        summary: UsedView::from(all),
    }))
}

/// Adds up the calls of a project by day, whoever made them.
///
/// Days without a call are left out.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/usage",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn project(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<DaysAsked>,
) -> Result<Report<ProjectDaysView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let span = last_days(&app, &asked)?;
    let (days, all) = days(&app, UsageScope::Project(project), &span, asked.group).await?;
    if Format::of(asked.format, &headers) == Format::Csv {
        return Ok(table::days("project-usage", &days, asked.group));
    }
    Ok(Report::Json(ProjectDaysView {
        project_id: project,
        period_days: asked.days,
        daily_usage: days,
        summary: UsedView::from(all),
    }))
}

/// Lists the own calls, the newest first.
///
/// Calls under way are not in it. As CSV all that are asked for are listed, without pages.
#[utoipa::path(get, path = "/api/v1/usage/calls")]
pub(super) async fn calls(
    State(app): State<App>,
    Reader(account): Reader,
    headers: HeaderMap,
    Query(asked): Query<CallsAsked>,
) -> Result<Report<CallsView>, ApiError> {
    let span = Span::of(asked.zone.clone(), asked.start, asked.end).ok_or_else(no_such_day)?;
    let scope = match asked.session {
        Some(session) => UsageScope::Session(account.user.id, session),
        None => UsageScope::User(account.user.id),
    };
    let filter = CallFilter {
        from: span.from,
        to: span.to,
        ..asked.filter
    };
    let all = app.store.usage(scope.clone(), filter.clone()).await?;
    let query = CallQuery {
        filter,
        after: asked.cursor,
        skip: asked.offset,
        ..CallQuery::new(scope, asked.limit)
    };
    if Format::of(asked.format, &headers) == Format::Csv {
        return table::calls(Arc::clone(&app.store), query, all.calls).await;
    }
    let page = app.store.calls(query).await?;
    Ok(Report::Json(CallsView::new(
        account.user.id,
        all.calls,
        (asked.offset, asked.limit),
        page,
    )))
}

/// Adds up the own calls of a month.
#[utoipa::path(get, path = "/api/v1/usage/summary")]
pub(super) async fn summary(
    State(app): State<App>,
    Reader(account): Reader,
    headers: HeaderMap,
    Query(asked): Query<MonthAsked>,
) -> Result<Report<MonthView>, ApiError> {
    let span = Span::of(asked.zone.clone(), None, None).ok_or_else(no_such_day)?;
    let today = span.day(app.clock.now()).ok_or_else(no_such_day)?;
    let (year, month) = (
        asked.year.unwrap_or_else(|| today.year()),
        asked.month.unwrap_or_else(|| today.month()),
    );
    let first = Date::new(year, month, 1).map_err(|_| no_such_day())?;
    let span = Span::of(asked.zone, Some(first), Some(first.last_of_month()));
    let span = span.ok_or_else(no_such_day)?;
    let (days, all) = days(&app, UsageScope::User(account.user.id), &span, None).await?;
    if Format::of(asked.format, &headers) == Format::Csv {
        return Ok(table::days("usage-summary", &days, None));
    }
    Ok(Report::Json(MonthView::new(
        account.user.id,
        first,
        all,
        &days,
    )))
}
