use axum::Json as Answer;
use axum::extract::{Path, State};
use llm_gate::identity::{Role, Subject, UserId};
use llm_gate::store::User;
use serde_json::{Value, json};

use super::caller::{Admin, Session};
use super::error::ApiError;
use super::fields::{JsonOrQuery, QueryFields};
use super::views::{MeView, UsageView, UserView};
use crate::app::App;

/// How many users a page has unless asked for, and at most.
const PAGE: (u32, u32) = (50, 100);

const NO_USER: &str = "no such user";

pub(super) async fn me(
    State(app): State<App>,
    Session(user): Session,
) -> Result<Answer<MeView>, ApiError> {
    let default_project_id = user.personal_project;
    Ok(Answer(MeView {
        user: view(&app, user).await?,
        default_project_id,
    }))
}

pub(super) async fn usage(
    State(app): State<App>,
    Session(user): Session,
) -> Result<Answer<UsageView>, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(Answer(standing.into()))
}

/// Lowers the own limit; admins may raise theirs.
pub(super) async fn set_own_limit(
    State(app): State<App>,
    Session(user): Session,
    JsonOrQuery(mut fields): JsonOrQuery,
) -> Result<Answer<UserView>, ApiError> {
    let limit = fields.limit("token_limit");
    fields.finish()?;
    let subject = Subject::User(user.id);
    let set = match (user.role, limit) {
        (Role::Admin, _) => Some(app.store.set_limit(subject, limit).await?),
        (Role::User, Some(limit)) => app.store.lower_limit(subject, limit).await?,
        (Role::User, None) => None,
    };
    match set {
        Some(standing) => Ok(Answer(UserView::new(user, &standing))),
        None => Err(ApiError::forbidden("the own limit can only be lowered")),
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Admin: Admin,
    QueryFields(mut fields): QueryFields,
) -> Result<Answer<Value>, ApiError> {
    let limit = fields.number("limit", PAGE.0, PAGE.1);
    let cursor = fields.text("cursor").map(|text| text.parse::<UserId>());
    if let Some(Err(_)) = cursor {
        fields.refuse("cursor", "must be the next_cursor of an earlier page");
    }
    fields.finish()?;
    let after = cursor.and_then(Result::ok);
    // One more than is shown says whether there is another page.
    let mut users = app.store.users(after, limit + 1).await?;
    let more = users.len() > limit as usize;
    users.truncate(limit as usize);
    let next_cursor = users.last().filter(|_| more).map(|user| user.id);
    let mut views = Vec::with_capacity(users.len());
    for user in users {
        views.push(view(&app, user).await?);
    }
    Ok(Answer(
        json!({ "users": views, "next_cursor": next_cursor }),
    ))
}

pub(super) async fn show(
    State(app): State<App>,
    Admin: Admin,
    Path(id): Path<String>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    Ok(Answer(view(&app, user).await?))
}

pub(super) async fn set_limit(
    State(app): State<App>,
    Admin: Admin,
    Path(id): Path<String>,
    JsonOrQuery(mut fields): JsonOrQuery,
) -> Result<Answer<UserView>, ApiError> {
    let limit = fields.limit("token_limit");
    fields.finish()?;
    let user = find(&app, &id).await?;
    let standing = app.store.set_limit(Subject::User(user.id), limit).await?;
    Ok(Answer(UserView::new(user, &standing)))
}

async fn find(app: &App, id: &str) -> Result<User, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found(NO_USER))?;
    let user = app.store.user(id).await?;
    user.ok_or_else(|| ApiError::not_found(NO_USER))
}

async fn view(app: &App, user: User) -> Result<UserView, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(UserView::new(user, &standing))
}
