//! The conversations of a project: what its members have called under the names that their clients gave.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::HeaderMap;
use llm_gate::identity::{ConversationId, UserId};
use llm_gate::store::{
    CallCursor, CallFilter, CallQuery, Conversation, ConversationCursor, ConversationQuery,
    UsageScope, Zone,
};
use serde_json::{Value, json};

use super::caller::Reader;
use super::error::ApiError;
use super::fields::{Fields, ID, Input, Page, Path, Query};
use super::projects;
use super::taker::Taker;
use super::usage::{
    BY_DAYS, Format, Report, cursor, days, format, limit, of_days, table_of_calls, zone,
};
use super::views::{ConversationWithCalls, Conversations};
use crate::app::App;

/// Which conversations are wanted.
pub(super) struct Wanted {
    page: Page<ConversationCursor>,
    days: u32,
    zone: Zone,
    user: Option<UserId>,
}

impl Input for Wanted {
    const NAME: &'static str = "ConversationQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let page = Page::read(fields);
        let days = days(fields);
        let zone = zone(fields);
        let user = fields.optional("user_id", "Only those of a user", &ID);
        Some(Self {
            page: page?,
            days,
            zone,
            user: user.map(UserId::from_uuid),
        })
    }

    fn example() -> Value {
        json!({ "days": 7, "zone": "Europe/Berlin" })
    }
}

/// Which calls of a conversation are wanted.
pub(super) struct CallsWanted {
    user: Option<UserId>,
    limit: u32,
    cursor: Option<CallCursor>,
    format: Option<Format>,
}

impl Input for CallsWanted {
    const NAME: &'static str = "CallsOfConversation";

    fn read(fields: &mut Fields) -> Option<Self> {
        let user = fields.optional("user_id", "Whose it is; the own one unless said", &ID);
        Some(Self {
            user: user.map(UserId::from_uuid),
            limit: limit(fields),
            cursor: cursor(fields),
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "limit": 100 })
    }
}

/// Lists the conversations of a project that were gone on with in the last days, the one with the newest call first.
///
/// A conversation is what one user calls for one project under one name. What is said of it is of its calls in those days.
/// Calls without a name and calls under way are in none.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/conversations",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn list(
    State(app): State<App>,
    Reader(account): Reader,
    Path(project): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Conversations>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let filter = CallFilter {
        user: wanted.user,
        ..of_days(&app, wanted.days, &wanted.zone)?
    };
    let query = ConversationQuery {
        project,
        filter,
        count: wanted.page.size(),
        after: wanted.page.after,
    };
    let page = app.store.conversations(query).await?;
    Ok(Answer(Conversations::new(project, wanted.days, page)))
}

/// Shows a conversation of a project with all its calls, the newest first; another member's with `user_id`.
///
/// As CSV all its calls, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/conversations/{session}",
    params(("session" = String, Path, description = "What the client has called it: `x-session-id`")),
    responses((
        status = 404,
        description = "No such project, or not one of the caller's; no call there is part of such a conversation"
    ))
)]
pub(super) async fn show(
    State(app): State<App>,
    Reader(account): Reader,
    Path((project, session)): Path<(String, String)>,
    headers: HeaderMap,
    taker: Taker,
    Query(wanted): Query<CallsWanted>,
) -> Result<Report<ConversationWithCalls>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let unknown = || ApiError::not_found("no such conversation");
    let session: ConversationId = session.parse().map_err(|_| unknown())?;
    let user = wanted.user.unwrap_or(account.user.id);
    let scope = UsageScope::Session(user, session.clone());
    let filter = CallFilter {
        project: Some(project),
        ..CallFilter::default()
    };
    let sum = app.store.usage(scope.clone(), filter.clone()).await?;
    if sum.calls == 0 {
        return Err(unknown());
    }
    let query = CallQuery {
        filter,
        after: wanted.cursor,
        ..CallQuery::new(scope, wanted.limit)
    };
    if Format::of(wanted.format, &headers) == Format::Csv {
        let taking = taker.by_member(project);
        return table_of_calls(Arc::clone(&app.store), taking, query, sum.calls, BY_DAYS).await;
    }
    let page = app.store.calls(query).await?;
    let conversation = Conversation { session, user, sum };
    Ok(Report::Json(ConversationWithCalls::new(
        project,
        conversation,
        page,
    )))
}
