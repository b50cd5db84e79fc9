//! The conversations of a project: what its members have called under the names that their clients gave.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::HeaderMap;
use llm_gate::identity::{ConversationId, UserId};
use llm_gate::store::{CallCursor, CallFilter, CallQuery, ConversationQuery, UsageScope};
use serde_json::{Value, json};

use super::caller::Reader;
use super::error::ApiError;
use super::fields::{Fields, ID, Input, Page, Path, Query};
use super::projects;
use super::usage::{Format, Report, cursor, format, limit, table_of_calls};
use super::views::{ConversationView, Conversations};
use crate::app::App;

/// Which conversations are wanted.
pub(super) struct Wanted {
    page: Page<CallCursor>,
    user: Option<UserId>,
}

impl Input for Wanted {
    const NAME: &'static str = "ConversationQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let page = Page::read(fields);
        let user = user(fields);
        Some(Self { page: page?, user })
    }

    fn example() -> Value {
        json!({ "limit": 50 })
    }
}

/// Which calls of a conversation are wanted.
pub(super) struct CallsWanted {
    limit: u32,
    cursor: Option<CallCursor>,
    user: Option<UserId>,
    format: Option<Format>,
}

impl Input for CallsWanted {
    const NAME: &'static str = "CallsOfConversation";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            limit: limit(fields),
            cursor: cursor(fields),
            user: user(fields),
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "limit": 100 })
    }
}

fn user(fields: &mut Fields) -> Option<UserId> {
    fields
        .optional("user_id", "Only those of a user", &ID)
        .map(UserId::from_uuid)
}

/// Lists the conversations of a project, the one that was gone on with last before the others.
///
/// A conversation is what one user has called under one name. Calls without a name and calls under way are in none.
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
    let query = ConversationQuery {
        user: wanted.user,
        after: wanted.page.after,
        ..ConversationQuery::new(project, wanted.page.size())
    };
    let page = app.store.conversations(query).await?;
    Ok(Answer(Conversations::new(project, page)))
}

/// Shows what was called in a project under the name of a conversation, the newest call first.
///
/// With `user_id` that user's only: two who give the same name have two conversations. As CSV all calls, without pages.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/conversations/{session}",
    params(("session" = String, Path, description = "What the client has called it: `x-session-id`")),
    responses((
        status = 404,
        description = "No such project, or not one of the caller's; no call there has such a name"
    ))
)]
pub(super) async fn show(
    State(app): State<App>,
    Reader(account): Reader,
    Path((project, session)): Path<(String, String)>,
    headers: HeaderMap,
    Query(wanted): Query<CallsWanted>,
) -> Result<Report<ConversationView>, ApiError> {
    let project = projects::member(&app, &account, &project).await?;
    let unknown = || ApiError::not_found("no such conversation");
    let session: ConversationId = session.parse().map_err(|_| unknown())?;
    let scope = UsageScope::Project(project);
    let filter = CallFilter {
        session: Some(session.clone()),
        user: wanted.user,
        ..CallFilter::default()
    };
    let all = app.store.usage(scope.clone(), filter.clone()).await?;
    if all.calls == 0 {
        return Err(unknown());
    }
    let query = CallQuery {
        filter,
        after: wanted.cursor,
        ..CallQuery::new(scope, wanted.limit)
    };
    if Format::of(wanted.format, &headers) == Format::Csv {
        return table_of_calls(Arc::clone(&app.store), query, all.calls).await;
    }
    let page = app.store.calls(query).await?;
    let view = ConversationView::new(project, session, all, page);
    Ok(Report::Json(view))
}
