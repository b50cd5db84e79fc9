//! Service accounts of a project.

use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::{ProjectId, Subject, UserId};
use llm_gate::store::{Author, Limit, NewService, StoreErrorKind, Unit, User};
use serde_json::{Value, json};

use super::{NO_PROJECT, place};
use crate::api::caller::Account;
use crate::api::document::Created;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, Path};
use crate::api::people::NAME;
use crate::api::views::ServiceView;
use crate::app::App;

/// A service that is wanted.
pub(in crate::api) struct WantedService {
    name: String,
}

impl Input for WantedService {
    const NAME: &'static str = "NewService";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", "What it is called", &NAME);
        Some(Self { name: name? })
    }

    fn example() -> Value {
        json!({"name": "ci"})
    }
}

/// Makes a service account: a member that has API keys and cannot log in.
///
/// No user's limit bounds what it uses. So whoever is no admin of the platform makes one only where an admin has set a limit
/// of tokens or money for the project.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/services",
    responses(
        (status = 404, description = "No such project, or not one of the caller's"),
        (status = 409, description = "The project has as many services as it may"),
    )
)]
pub(in crate::api) async fn create_service(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    Json(WantedService { name }): Json<WantedService>,
) -> Result<Created<ServiceView>, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    if !account.admin {
        granted(&app, place.id()).await?;
    }
    let service = made_service(&app, place.id(), name, account.author).await?;
    Ok(Created(service.into()))
}

/// Refuses a project that no admin has given a limit. What a service uses counts against itself and the project, so with
/// services nobody's own limit would bound what somebody uses.
async fn granted(app: &App, project: ProjectId) -> Result<(), ApiError> {
    let limits = app.store.limits(Some(Subject::Project(project))).await?;
    let bounds = |limit: &Limit| {
        let all = limit.key.model.is_none() && limit.key.unit != Unit::Requests;
        // One that is voluntary an owner has set.
        all && !limit.voluntary
    };
    if limits.iter().any(bounds) {
        Ok(())
    } else {
        Err(ApiError::forbidden(
            "only where an admin has limited the tokens or the money of the project: ask one for a limit, or for the service",
        ))
    }
}

/// Makes a service account.
pub(in crate::api) async fn made_service(
    app: &App,
    project: ProjectId,
    name: String,
    author: Author,
) -> Result<User, ApiError> {
    let new = NewService {
        id: UserId::new(),
        name,
        project,
        author,
    };
    let made = match app.store.create_service(new).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "the project has as many services as it may: delete one first",
            ));
        }
        other => other?,
    };
    made.ok_or_else(|| ApiError::not_found(NO_PROJECT))
}
