//! Projects.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::ProjectId;
use llm_gate::store::Project;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::list::{Entry, List, Listing, seconds};
use crate::api::caller::{Admin, AdminAccount, By};
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, Input, Json, Path, Query};
use crate::api::people::NAME;
use crate::api::projects::{NO_PROJECT, archived, made, renamed};
use crate::app::App;

/// A project.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationProject)]
pub(super) struct ProjectView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: ProjectId,
    name: String,
    created_at: i64,
    archived_at: Option<i64>,
    /// `active` or `archived`.
    status: &'static str,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            object: "organization.project",
            id: project.id,
            name: project.name,
            created_at: seconds(project.created_at),
            archived_at: project.archived_at.map(seconds),
            status: match project.archived_at {
                Some(_) => "archived",
                None => "active",
            },
        }
    }
}

impl Entry for ProjectView {
    const LIST: &'static str = "OrganizationProjects";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Which projects are wanted.
pub(super) struct Wanted {
    listing: Listing<ProjectId>,
    archived: bool,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationProjectQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let listing = Listing::read(fields);
        let archived = fields.or(
            "include_archived",
            "Whether to list those that are archived, too",
            &FLAG,
            false,
        );
        Some(Self {
            listing: listing?,
            archived,
        })
    }

    fn example() -> Value {
        json!({ "limit": 20 })
    }
}

/// Lists all projects.
#[utoipa::path(get, path = "/v1/organization/projects")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(Wanted { listing, archived }): Query<Wanted>,
) -> Result<Answer<List<ProjectView>>, ApiError> {
    let found = app
        .store
        .projects(listing.after, listing.ask(), archived)
        .await?;
    Ok(Answer(listing.of(found.into_iter().map(ProjectView::from))))
}

/// A project that is wanted.
pub(super) struct NewProject {
    name: String,
}

impl Input for NewProject {
    const NAME: &'static str = "OrganizationNewProject";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", "What it is called", &NAME);
        Some(Self { name: name? })
    }

    fn example() -> Value {
        json!({ "name": "Research" })
    }
}

/// Makes a project, which the caller owns.
#[utoipa::path(
    post,
    path = "/v1/organization/projects",
    responses((status = 409, description = "The caller is a member of as many projects as one may be"))
)]
pub(super) async fn create(
    State(app): State<App>,
    AdminAccount(account): AdminAccount,
    Json(NewProject { name }): Json<NewProject>,
) -> Result<Answer<ProjectView>, ApiError> {
    let project = made(&app, name, account.user.id, account.author).await?;
    Ok(Answer(project.into()))
}

/// Reads a project, archived or not.
async fn any(app: &App, id: &str) -> Result<Project, ApiError> {
    let no_project = || ApiError::not_found(NO_PROJECT);
    let project = app.store.project(id.parse().map_err(|_| no_project())?);
    project.await?.ok_or_else(no_project)
}

/// Reads a project in which something can be done.
pub(super) async fn open(app: &App, id: &str) -> Result<Project, ApiError> {
    let project = any(app, id).await?;
    match project.archived_at {
        Some(_) => Err(ApiError::not_found(NO_PROJECT)),
        None => Ok(project),
    }
}

/// Shows a project, archived or not.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}",
    responses((status = 404, description = "No such project"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<ProjectView>, ApiError> {
    Ok(Answer(any(&app, &id).await?.into()))
}

/// Another name for a project.
pub(super) struct Changes {
    name: Option<String>,
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationProjectChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.optional("name", "What it is called from now on", &NAME),
        })
    }

    fn example() -> Value {
        json!({ "name": "Research" })
    }
}

/// Gives a project another name.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}",
    responses((status = 404, description = "No such project, or it is archived"))
)]
pub(super) async fn change(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
    Json(Changes { name }): Json<Changes>,
) -> Result<Answer<ProjectView>, ApiError> {
    let project = open(&app, &id).await?;
    let project = match name {
        Some(name) => renamed(&app, project.id, name, author).await?,
        None => project,
    };
    Ok(Answer(project.into()))
}

/// Closes a project for good: its keys are revoked, its invites withdrawn. What was used stays in the books.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/archive",
    responses(
        (status = 404, description = "No such project, or it is archived"),
        (status = 409, description = "Somebody's personal project"),
    )
)]
pub(super) async fn archive(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Answer<ProjectView>, ApiError> {
    let project = open(&app, &id).await?;
    Ok(Answer(archived(&app, project.id, author).await?.into()))
}
