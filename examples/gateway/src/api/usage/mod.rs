//! Reports: what was used, by day, by month and call by call. Each is there for the own calls, and for those of a user,
//! a project and everybody, for whoever may see them.

mod input;
mod report;
mod table;
mod views;
mod whose;

use axum::extract::State;
use http::HeaderMap;

use self::input::{CallsAsked, DaysAsked, MonthAsked};
use self::views::{CallsView, DaysView, MonthView};
use self::whose::Whose;
use super::caller::{Admin, Reader};
use super::error::ApiError;
use super::fields::{Path, Query};
use super::taker::Taker;
use super::{projects, users};
use crate::app::App;

pub(super) use self::input::{cursor, days, format, limit, zone};
pub(super) use self::report::of_days;
pub(super) use self::table::{BY_DAYS, Format, Report, calls as table_of_calls, weight_of};
pub(super) use self::views::{CallView as UsedCallView, RecordsView, StatisticsView, micro_units};

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
    report::daily(&app, Whose::User(account.user), &headers, asked).await
}

/// Lists the own calls, the newest first.
///
/// Calls under way are not in it. As CSV all that are asked for are listed, without pages.
#[utoipa::path(get, path = "/api/v1/usage/calls")]
pub(super) async fn calls(
    State(app): State<App>,
    Reader(account): Reader,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<CallsAsked>,
) -> Result<Report<CallsView>, ApiError> {
    let taking = taker.by_reader();
    report::calls(&app, Whose::User(account.user), &headers, taking, asked).await
}

/// Adds up the own calls of a month.
#[utoipa::path(get, path = "/api/v1/usage/summary")]
pub(super) async fn summary(
    State(app): State<App>,
    Reader(account): Reader,
    headers: HeaderMap,
    Query(asked): Query<MonthAsked>,
) -> Result<Report<MonthView>, ApiError> {
    report::month(&app, Whose::User(account.user), &headers, asked).await
}

/// Adds up the calls of a project by day, whoever made them.
///
/// Days without a call are left out.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/usage",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn project_daily(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<DaysAsked>,
) -> Result<Report<DaysView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    report::daily(&app, Whose::Project(project), &headers, asked).await
}

/// Lists the calls of a project, whoever made them, the newest first.
///
/// Calls under way are not in it. As CSV all that are asked for are listed, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/usage/calls",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn project_calls(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<CallsAsked>,
) -> Result<Report<CallsView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let taking = taker.by_member(project);
    report::calls(&app, Whose::Project(project), &headers, taking, asked).await
}

/// Adds up the calls of a project in a month, whoever made them.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/usage/summary",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn project_summary(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<MonthAsked>,
) -> Result<Report<MonthView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    report::month(&app, Whose::Project(project), &headers, asked).await
}

/// Adds up the calls of a user by day.
///
/// Days without a call are left out.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/usage/daily",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn user_daily(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<DaysAsked>,
) -> Result<Report<DaysView>, ApiError> {
    let user = users::find(&app, &id).await?;
    report::daily(&app, Whose::User(user), &headers, asked).await
}

/// Lists the calls of a user, the newest first.
///
/// Calls under way are not in it. As CSV all that are asked for are listed, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/usage/calls",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn user_calls(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<CallsAsked>,
) -> Result<Report<CallsView>, ApiError> {
    let user = users::find(&app, &id).await?;
    let taking = taker.by_admin();
    report::calls(&app, Whose::User(user), &headers, taking, asked).await
}

/// Adds up the calls of a user in a month.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/usage/summary",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn user_summary(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<MonthAsked>,
) -> Result<Report<MonthView>, ApiError> {
    let user = users::find(&app, &id).await?;
    report::month(&app, Whose::User(user), &headers, asked).await
}

/// Adds up everybody's calls by day.
///
/// Days without a call are left out.
#[utoipa::path(get, path = "/api/v1/platform/usage/daily")]
pub(super) async fn platform_daily(
    State(app): State<App>,
    _: Admin,
    headers: HeaderMap,
    Query(asked): Query<DaysAsked>,
) -> Result<Report<DaysView>, ApiError> {
    report::daily(&app, Whose::Platform, &headers, asked).await
}

/// Lists everybody's calls, the newest first.
///
/// Calls under way are not in it. As CSV all that are asked for are listed, without pages.
#[utoipa::path(get, path = "/api/v1/platform/usage/calls")]
pub(super) async fn platform_calls(
    State(app): State<App>,
    _: Admin,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<CallsAsked>,
) -> Result<Report<CallsView>, ApiError> {
    let taking = taker.by_admin();
    report::calls(&app, Whose::Platform, &headers, taking, asked).await
}

/// Adds up everybody's calls of a month.
#[utoipa::path(get, path = "/api/v1/platform/usage/summary")]
pub(super) async fn platform_summary(
    State(app): State<App>,
    _: Admin,
    headers: HeaderMap,
    Query(asked): Query<MonthAsked>,
) -> Result<Report<MonthView>, ApiError> {
    report::month(&app, Whose::Platform, &headers, asked).await
}
