use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId};
use llm_gate::store::{KeyName, User};
use serde_json::{Value, json};

use super::caller::{By, Session};
use super::document::Created;
use super::error::ApiError;
use super::fields::{FLAG, Fields, Input, JsonDraft, MOMENT, Path, Text};
use super::views::{IssuedKey, KeyView, Keys, ProjectView, Projects};
use crate::accounts::{self, KeyRequest};
use crate::app::App;

/// How many keys somebody may have in one project, revoked ones included, so that a list stays a page.
const MAX_KEYS: u32 = 200;

/// Lists the own projects.
#[utoipa::path(get, path = "/api/v1/projects")]
pub(super) async fn list(
    State(app): State<App>,
    Session(user): Session,
) -> Result<Answer<Projects>, ApiError> {
    let projects = app.store.projects_of(user.id).await?;
    let projects = projects.into_iter().map(ProjectView::from);
    Ok(Answer(Projects(projects.collect())))
}

/// Lists the own API keys of a project.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/api-keys",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn list_keys(
    State(app): State<App>,
    Session(user): Session,
    Path(project): Path<String>,
) -> Result<Answer<Keys>, ApiError> {
    let project = member(&app, &user, &project).await?;
    let keys = app
        .store
        .keys(project, Some(user.id), None, MAX_KEYS)
        .await?;
    Ok(Answer(Keys(keys.into_iter().map(KeyView::from).collect())))
}

/// A key that is wanted.
pub(super) struct WantedKey {
    name: String,
    expires_at: Option<Timestamp>,
    clamps: bool,
}

impl Input for WantedKey {
    const NAME: &'static str = "NewKey";

    fn read(fields: &mut Fields) -> Option<Self> {
        const NAME: Text<String> =
            Text::new(|text| accounts::key_name(text).map_err(Into::into)).sized(1, 100);
        let name = fields.or("name", "What the key is for", &NAME, "key".to_owned());
        let expires_at = fields.optional("expires_at", "When it stops working by itself", &MOMENT);
        let clamps = fields.or(
            "clamps",
            "Whether a call that does not fit is cut down to what is left",
            &FLAG,
            false,
        );
        Some(Self {
            name,
            expires_at: expires_at.map(|at| Timestamp::from_micros(at.as_microsecond())),
            clamps,
        })
    }

    fn example() -> Value {
        json!({ "name": "laptop" })
    }
}

/// Makes an API key. Its secret is shown this once.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/api-keys",
    responses(
        (status = 404, description = "No such project, or not one of the caller's"),
        (status = 409, description = "There are as many keys in the project as one may have"),
    )
)]
pub(super) async fn create_key(
    State(app): State<App>,
    Session(user): Session,
    By(author): By,
    Path(project): Path<String>,
    JsonDraft(mut draft): JsonDraft<WantedKey>,
) -> Result<Created<IssuedKey>, ApiError> {
    let project = member(&app, &user, &project).await?;
    let now = app.clock.now();
    draft.check("expires_at", |wanted| {
        let past = wanted.expires_at.is_some_and(|at| at <= now);
        if past {
            Err("must lie in the future")
        } else {
            Ok(())
        }
    });
    let WantedKey {
        name,
        expires_at,
        clamps,
    } = draft.finish()?;
    let known = app
        .store
        .keys(project, Some(user.id), None, MAX_KEYS)
        .await?;
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
        grants: KeyGrants {
            clamps,
            ..KeyGrants::default()
        },
        author,
    };
    let (key, secret) = accounts::create_key(&*app.store, &app.hasher, request).await?;
    app.keys.created(&key.public_id);
    let issued = IssuedKey {
        key: key.into(),
        api_key: secret.expose().to_owned(),
    };
    Ok(Created(issued))
}

/// Revokes an API key: it gets no further reservation.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/api-keys/{key}/revoke",
    responses((status = 404, description = "No such project or key, or not one of the caller's"))
)]
pub(super) async fn revoke_key(
    State(app): State<App>,
    Session(user): Session,
    By(author): By,
    Path((project, key)): Path<(String, String)>,
) -> Result<Answer<KeyView>, ApiError> {
    const NO_KEY: &str = "no such key";
    let project = member(&app, &user, &project).await?;
    let key: KeyId = key.parse().map_err(|_| ApiError::not_found(NO_KEY))?;
    let revoked = app
        .store
        .revoke_key(
            KeyName {
                project,
                owner: Some(user.id),
                id: key,
            },
            author,
        )
        .await?;
    let key = revoked.ok_or_else(|| ApiError::not_found(NO_KEY))?;
    app.keys.invalidate(&key.public_id);
    Ok(Answer(key.into()))
}

/// Reads the project of a path. One of others looks as if it did not exist.
pub(super) async fn member(app: &App, user: &User, project: &str) -> Result<ProjectId, ApiError> {
    const NO_PROJECT: &str = "no such project";
    let project: ProjectId = project
        .parse()
        .map_err(|_| ApiError::not_found(NO_PROJECT))?;
    match app.store.membership(project, user.id).await? {
        Some(membership) => Ok(membership.project.id),
        None => Err(ApiError::not_found(NO_PROJECT)),
    }
}
