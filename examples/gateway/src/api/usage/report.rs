//! How a report is made, whoever's calls it is of.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp as Moment;
use jiff::civil::Date;
use llm_gate::clock::Timestamp;
use llm_gate::store::{
    CallFilter, CallQuery, UsageGroup, UsagePeriod, UsageQuery, UsageRow, UsageScope, UsageSum,
    Zone,
};

use super::input::{CallsAsked, DaysAsked, MonthAsked};
use super::table::{self, FEWER_DAYS, Format, Report};
use super::views::{CallsView, DayView, DaysView, MonthView, UsedView};
use super::whose::Whose;
use crate::api::error::ApiError;
use crate::api::taker::Taking;
use crate::app::App;

/// How many days and groups a report has at most.
const MAX_ROWS: u32 = 10_000;

/// Days of a zone that a report is of.
struct Span {
    zone: Zone,
    clocks: jiff::tz::TimeZone,
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// Reaches from the beginning of one day to the end of another.
    fn of(zone: Zone, first: Option<Date>, last: Option<Date>) -> Option<Self> {
        let clocks = jiff::tz::TimeZone::get(zone.name()).ok()?;
        // Where clocks are set forward over midnight, a day begins behind the gap.
        let begins = |day: Date| {
            let midnight = day.to_zoned(clocks.clone()).ok()?;
            Some(Timestamp::from_micros(
                midnight.timestamp().as_microsecond(),
            ))
        };
        let all = CallFilter::default();
        // At the end of the calendar some days have no midnight any more, and behind them there is nothing.
        let from = first.map_or(all.from, |first| begins(first).unwrap_or(all.to));
        let to = last.and_then(|last| begins(last.tomorrow().ok()?));
        Some(Self {
            from,
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

    /// Wants those of some calls that were made in this time.
    fn narrow(&self, filter: CallFilter) -> CallFilter {
        CallFilter {
            from: self.from,
            to: self.to,
            ..filter
        }
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
    filter: CallFilter,
    group: Option<UsageGroup>,
) -> Result<(Vec<DayView>, UsageSum), ApiError> {
    let query = UsageQuery {
        scope,
        filter: span.narrow(filter),
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
fn last_days(app: &App, days: u32, zone: &Zone) -> Result<Span, ApiError> {
    let span = Span::of(zone.clone(), None, None).ok_or_else(no_such_day)?;
    let today = span.day(app.clock.now()).ok_or_else(no_such_day)?;
    let back = jiff::Span::new().days(i64::from(days) - 1);
    let first = today.checked_sub(back).map_err(|_| no_such_day())?;
    Span::of(zone.clone(), Some(first), Some(today)).ok_or_else(no_such_day)
}

/// Wants the calls of so many days, of which today is the last.
pub(in crate::api) fn of_days(app: &App, days: u32, zone: &Zone) -> Result<CallFilter, ApiError> {
    Ok(last_days(app, days, zone)?.narrow(CallFilter::default()))
}

/// Adds up calls by day.
pub(super) async fn daily(
    app: &App,
    whose: Whose,
    headers: &HeaderMap,
    asked: DaysAsked,
) -> Result<Report<DaysView>, ApiError> {
    let span = last_days(app, asked.days, &asked.zone)?;
    let (days, all) = days(app, whose.scope(), &span, asked.filter, asked.group).await?;
    if Format::of(asked.format, headers) == Format::Csv {
        return Ok(table::days("usage", &days, asked.group));
    }
    Ok(Report::Json(DaysView {
        whose: (&whose).into(),
        username: whose.username(),
        period_days: asked.days,
        daily_usage: days,
        summary: UsedView::from(all),
    }))
}

/// Lists calls, the newest first.
pub(super) async fn calls(
    app: &App,
    whose: Whose,
    headers: &HeaderMap,
    taking: Taking,
    asked: CallsAsked,
) -> Result<Report<CallsView>, ApiError> {
    let span = Span::of(asked.zone, asked.start, asked.end).ok_or_else(no_such_day)?;
    let scope = whose.scope();
    let filter = span.narrow(asked.filter);
    let all = app.store.usage(scope.clone(), filter.clone()).await?;
    let query = CallQuery {
        filter,
        after: asked.cursor,
        skip: asked.offset,
        ..CallQuery::new(scope, asked.limit)
    };
    if Format::of(asked.format, headers) == Format::Csv {
        return table::calls(Arc::clone(&app.store), taking, query, all.calls, FEWER_DAYS).await;
    }
    let page = app.store.calls(query).await?;
    let shown = (asked.offset, asked.limit);
    Ok(Report::Json(CallsView::new(&whose, all.calls, shown, page)))
}

/// Adds up the calls of a month.
pub(super) async fn month(
    app: &App,
    whose: Whose,
    headers: &HeaderMap,
    asked: MonthAsked,
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
    let (days, all) = days(app, whose.scope(), &span, asked.filter, None).await?;
    if Format::of(asked.format, headers) == Format::Csv {
        return Ok(table::days("usage-summary", &days, None));
    }
    Ok(Report::Json(MonthView::new(&whose, first, all, &days)))
}
