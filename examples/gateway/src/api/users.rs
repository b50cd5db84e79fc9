use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::{Subject, UserId};
use llm_gate::store::{LimitChange, User};
use llm_gate::tokens::Tokens;
use serde_json::{Value, json};

use super::caller::{Account, Admin, By, Reader};
use super::error::ApiError;
use super::fields::{Fields, Input, JsonOrQuery, Page, Path, Query, TOKENS};
use super::views::{MeView, UsageView, UserView, Users};
use crate::app::App;

const NO_USER: &str = "no such user";

/// Shows the own account.
#[utoipa::path(get, path = "/api/v1/users/me")]
pub(super) async fn me(
    State(app): State<App>,
    Account { user, .. }: Account,
) -> Result<Answer<MeView>, ApiError> {
    let default_project_id = user.personal_project;
    Ok(Answer(MeView {
        user: view(&app, user).await?,
        default_project_id,
    }))
}

/// Shows how much of the own token limit is used.
#[utoipa::path(get, path = "/api/v1/users/me/usage")]
pub(super) async fn usage(
    State(app): State<App>,
    Reader(Account { user, .. }): Reader,
) -> Result<Answer<UsageView>, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(Answer(standing.into()))
}

/// How many tokens somebody may use in all.
pub(super) struct TokenLimit {
    token_limit: Option<Tokens>,
}

impl Input for TokenLimit {
    const NAME: &'static str = "TokenLimit";

    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.nullable(
            "token_limit",
            "How many tokens may be used in all; null for no limit",
            &TOKENS,
        );
        Some(Self {
            token_limit: limit?,
        })
    }

    fn example() -> Value {
        json!({ "token_limit": 10_000 })
    }
}

/// Lowers the own token limit.
///
/// Admins may raise theirs.
#[utoipa::path(
    put,
    path = "/api/v1/users/me/token-limit",
    responses((status = 403, description = "The own limit can only be lowered"))
)]
pub(super) async fn set_own_limit(
    State(app): State<App>,
    Account {
        user,
        admin,
        author,
        ..
    }: Account,
    JsonOrQuery(TokenLimit { token_limit: limit }): JsonOrQuery<TokenLimit>,
) -> Result<Answer<UserView>, ApiError> {
    let subject = Subject::User(user.id);
    if limit.is_none() && !admin {
        return Err(only_down());
    }
    let change = LimitChange {
        only_down: !admin,
        author,
        ..LimitChange::total_tokens(subject, limit)
    };
    match app.store.change_limit(change).await? {
        Some(standing) => Ok(Answer(UserView::new(user, &standing))),
        None => Err(only_down()),
    }
}

fn only_down() -> ApiError {
    ApiError::forbidden("the own limit can only be lowered")
}

/// Lists users, page by page.
#[utoipa::path(get, path = "/api/v1/users")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(page): Query<Page<UserId>>,
) -> Result<Answer<Users>, ApiError> {
    let found = app.store.users(page.after, page.ask()).await?;
    let page = page.of(found, |user| user.id);
    let mut users = Vec::with_capacity(page.entries.len());
    for user in page.entries {
        users.push(view(&app, user).await?);
    }
    Ok(Answer(Users {
        users,
        next_cursor: page.next,
    }))
}

/// Shows a user.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    Ok(Answer(view(&app, user).await?))
}

/// Sets the token limit of a user.
#[utoipa::path(
    put,
    path = "/api/v1/users/{id}/token-limit",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn set_limit(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
    JsonOrQuery(TokenLimit { token_limit: limit }): JsonOrQuery<TokenLimit>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    let change = LimitChange {
        author,
        ..LimitChange::total_tokens(Subject::User(user.id), limit)
    };
    let standing = app.store.change_limit(change).await?;
    Ok(Answer(UserView::new(user, &standing.unwrap_or_default())))
}

async fn find(app: &App, id: &str) -> Result<User, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found(NO_USER))?;
    let user = app.store.user(id).await?;
    user.ok_or_else(|| ApiError::not_found(NO_USER))
}

pub(super) async fn view(app: &App, user: User) -> Result<UserView, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(UserView::new(user, &standing))
}
