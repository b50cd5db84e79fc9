use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId};
use llm_gate::store::User;

use super::caller::Session;
use super::error::ApiError;
use super::fields::Json;
use super::views::{IssuedKey, KeyView, ProjectView};
use crate::accounts::{self, KeyRequest};
use crate::app::App;

/// How many keys somebody may have in one project, revoked ones included, so that a list stays a page.
const MAX_KEYS: u32 = 200;

pub(super) async fn list(
    State(app): State<App>,
    Session(user): Session,
) -> Result<Answer<Vec<ProjectView>>, ApiError> {
    let projects = app.store.projects_of(user.id).await?;
    Ok(Answer(
        projects.into_iter().map(ProjectView::from).collect(),
    ))
}

pub(super) async fn list_keys(
    State(app): State<App>,
    Session(user): Session,
    Path(project): Path<String>,
) -> Result<Answer<Vec<KeyView>>, ApiError> {
    let project = member(&app, &user, &project).await?;
    let keys = app.store.keys(project, user.id, MAX_KEYS).await?;
    Ok(Answer(keys.into_iter().map(KeyView::from).collect()))
}

pub(super) async fn create_key(
    State(app): State<App>,
    Session(user): Session,
    Path(project): Path<String>,
    Json(mut fields): Json,
) -> Result<Response, ApiError> {
    let project = member(&app, &user, &project).await?;
    let now = app.clock.now();
    let name = fields.text("name").unwrap_or_else(|| "key".to_owned());
    let name = accounts::key_name(&name).unwrap_or_else(|reason| {
        fields.refuse("name", reason);
        name
    });
    let expires_at = fields
        .moment("expires_at")
        .map(|moment| Timestamp::from_micros(moment.as_microsecond()));
    if expires_at.is_some_and(|at| at <= now) {
        fields.refuse("expires_at", "must lie in the future");
    }
    let clamps = fields.flag("clamps");
    fields.finish()?;
    let known = app.store.keys(project, user.id, MAX_KEYS).await?;
    if known.len() >= MAX_KEYS as usize {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "there are as many keys in this project as one may have",
        ));
    }
    let request = KeyRequest {
        name,
        user: user.id,
        project,
        expires_at,
        clamps,
    };
    let (key, secret) = accounts::create_key(&*app.store, &app.hasher, request, now).await?;
    app.keys.created(&key.public_id);
    let issued = IssuedKey {
        key: key.into(),
        api_key: secret.expose().to_owned(),
    };
    Ok((StatusCode::CREATED, Answer(issued)).into_response())
}

pub(super) async fn revoke_key(
    State(app): State<App>,
    Session(user): Session,
    Path((project, key)): Path<(String, String)>,
) -> Result<Answer<KeyView>, ApiError> {
    const NO_KEY: &str = "no such key";
    let project = member(&app, &user, &project).await?;
    let key: KeyId = key.parse().map_err(|_| ApiError::not_found(NO_KEY))?;
    let revoked = app
        .store
        .revoke_key(project, user.id, key, app.clock.now())
        .await?;
    let key = revoked.ok_or_else(|| ApiError::not_found(NO_KEY))?;
    app.keys.invalidate(&key.public_id);
    Ok(Answer(key.into()))
}

/// Reads the project of a path. One of others looks as if it did not exist.
async fn member(app: &App, user: &User, project: &str) -> Result<ProjectId, ApiError> {
    const NO_PROJECT: &str = "no such project";
    let project: ProjectId = project
        .parse()
        .map_err(|_| ApiError::not_found(NO_PROJECT))?;
    match app.store.membership(project, user.id).await? {
        Some(membership) => Ok(membership.project.id),
        None => Err(ApiError::not_found(NO_PROJECT)),
    }
}
