//! Service accounts of a project.

use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Author, NewService, StoreErrorKind, User};
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
    let service = made_service(&app, place.id(), name, account.author).await?;
    Ok(Created(service.into()))
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
