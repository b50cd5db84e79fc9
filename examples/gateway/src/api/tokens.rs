use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::HeaderMap;
use llm_gate::identity::ConversationId;
use llm_gate::store::{CallCursor, CallFilter, CallPage, CallQuery, UsageScope, UsageSum};
use serde_json::{Value, json};

use super::caller::{Admin, Reader};
use super::error::ApiError;
use super::fields::{Fields, Input, Path, Query};
use super::projects;
use super::taker::{Taker, Taking};
use super::usage::{
    BY_DAYS, Format, RecordsView, Report, StatisticsView, cursor, format, limit, table_of_calls,
};
use super::views::moment;
use crate::app::App;

/// How old statistics may be: they are of all calls there are.
const FRESH: Duration = Duration::from_secs(60);

const NO_SESSION: &str = "no such session";

/// A page of calls.
pub(super) struct RecordsAsked {
    limit: u32,
    cursor: Option<CallCursor>,
    format: Option<Format>,
}

impl Input for RecordsAsked {
    const NAME: &'static str = "RecordsAsked";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            limit: limit(fields),
            cursor: cursor(fields),
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "limit": 100 })
    }
}

/// Reads what is asked for: a page of records with the sum of all, or all calls as a table.
async fn records(
    app: &App,
    scope: UsageScope,
    asked: &RecordsAsked,
    headers: &HeaderMap,
    taking: Taking,
    view: impl FnOnce(UsageSum, CallPage) -> RecordsView,
) -> Result<Report<RecordsView>, ApiError> {
    let all = app
        .store
        .usage(scope.clone(), CallFilter::default())
        .await?;
    if all.calls == 0 && matches!(scope, UsageScope::Session(..)) {
        return Err(ApiError::not_found(NO_SESSION));
    }
    let query = CallQuery {
        after: asked.cursor,
        ..CallQuery::new(scope, asked.limit)
    };
    if Format::of(asked.format, headers) == Format::Csv {
        return table_of_calls(Arc::clone(&app.store), taking, query, all.calls, BY_DAYS).await;
    }
    Ok(Report::Json(view(all, app.store.calls(query).await?)))
}

/// Shows the tokens of a conversation of one's own. As CSV all its calls, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/usage/{session}",
    params(("session" = String, Path, description = "What the client has called it: `x-session-id`")),
    responses((status = 404, description = "No call of the caller is part of such a session"))
)]
pub(super) async fn session(
    State(app): State<App>,
    Reader(account): Reader,
    Path(session): Path<String>,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<RecordsAsked>,
) -> Result<Report<RecordsView>, ApiError> {
    let session: ConversationId = session
        .parse()
        .map_err(|_| ApiError::not_found(NO_SESSION))?;
    let scope = UsageScope::Session(account.user.id, session.clone());
    let view = |all, page| RecordsView::of_session(session, all, page);
    let taking = taker.by_reader();
    records(&app, scope, &asked, &headers, taking, view).await
}

/// Shows the tokens of a project, whoever used them. As CSV all its calls, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/project/{project}",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn project(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    headers: HeaderMap,
    taker: Taker,
    Query(asked): Query<RecordsAsked>,
) -> Result<Report<RecordsView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let view = |all, page| RecordsView::of_project(project, all, page);
    let scope = UsageScope::Project(project);
    let taking = taker.by_member(project);
    records(&app, scope, &asked, &headers, taking, view).await
}

/// Shows what everybody has used, ever.
///
/// It is added up at most once a minute.
#[utoipa::path(get, path = "/api/v1/tokens/stats")]
pub(super) async fn stats(
    State(app): State<App>,
    _: Admin,
) -> Result<Answer<StatisticsView>, ApiError> {
    // It goes on after its client has left, so who asks again and again waits for the same one.
    let adding = {
        let app = app.clone();
        tokio::spawn(async move {
            let mut known = app.statistics.lock().await;
            let now = app.clock.now();
            if let Some((at, statistics)) = &*known
                && now.since(*at) < FRESH
                && now >= *at
            {
                return Ok((*at, statistics.clone()));
            }
            let statistics = app.store.statistics().await?;
            *known = Some((now, statistics.clone()));
            Ok::<_, llm_gate::store::StoreError>((now, statistics))
        })
    };
    let added = adding.await.map_err(|error| ApiError::defect(&error))?;
    let (at, statistics) = added?;
    Ok(Answer(StatisticsView::new(statistics, moment(at))))
}
