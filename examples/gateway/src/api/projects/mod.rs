//! Projects and who belongs to them. One of others looks as if it did not exist; admins of the platform see all.

mod members;
mod services;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Author, Membership, NewProject, Project, ProjectOutcome, ProjectRole};
use serde_json::{Value, json};

pub(super) use self::members::*;
pub(super) use self::services::*;
use super::caller::Account;
use super::document::{Created, NoContent};
use super::error::ApiError;
use super::fields::{Fields, Input, Json, Page, Path, Query};
use super::people::NAME;
use super::views::{ProjectView, Projects};
use crate::app::App;
use crate::names;

/// How many projects somebody may own who makes another one; those that others let one into take no room. It keeps tables
/// from growing without end and is looked at before, so calls that race may pass it by as many as they are.
const MAX_PROJECTS: usize = 500;

pub(super) const NO_PROJECT: &str = "no such project";

/// What somebody may do in a project that is named in a path.
pub(super) struct Place {
    pub(super) membership: Membership,
    /// Whether the caller manages it: as owner or admin, or as admin of the platform.
    pub(super) manages: bool,
    /// Whether the caller may do what owners may: as one, or as admin of the platform.
    pub(super) owns: bool,
}

impl Place {
    pub(super) const fn id(&self) -> ProjectId {
        self.membership.project.id
    }

    /// Refuses those who may only use the project.
    pub(super) fn managed(self) -> Result<Self, ApiError> {
        if self.manages {
            Ok(self)
        } else {
            Err(unmanaged())
        }
    }

    /// Refuses all but owners.
    fn owned(self) -> Result<Self, ApiError> {
        if self.owns { Ok(self) } else { Err(unowned()) }
    }
}

pub(super) fn unowned() -> ApiError {
    ApiError::forbidden("only owners of the project may do that")
}

pub(super) fn unmanaged() -> ApiError {
    ApiError::forbidden("only owners and admins of the project may do that")
}

/// Reads which project a path names, of which `user` is a member.
pub(super) async fn member(
    app: &App,
    account: &Account,
    project: &str,
) -> Result<ProjectId, ApiError> {
    Ok(place(app, account, project).await?.id())
}

/// Reads the project of a path as the caller may see it.
pub(super) async fn place(app: &App, account: &Account, project: &str) -> Result<Place, ApiError> {
    let id: ProjectId = project
        .parse()
        .map_err(|_| ApiError::not_found(NO_PROJECT))?;
    if account.only.is_some_and(|only| only != id) {
        return Err(ApiError::not_found(NO_PROJECT));
    }
    if let Some(membership) = app.store.membership(id, account.user.id).await? {
        return Ok(Place {
            manages: membership.role.manages() || account.admin,
            owns: membership.role == ProjectRole::Owner || account.admin,
            membership,
        });
    }
    if account.admin
        && let Some(project) = app.store.project(id).await?
        && project.archived_at.is_none()
    {
        let membership = Membership {
            project,
            role: ProjectRole::Owner,
        };
        return Ok(Place {
            membership,
            manages: true,
            owns: true,
        });
    }
    Err(ApiError::not_found(NO_PROJECT))
}

pub(super) fn outcome<T>(outcome: ProjectOutcome<T>, absent: &'static str) -> Result<T, ApiError> {
    match outcome {
        ProjectOutcome::Done(value) => Ok(value),
        ProjectOutcome::LastOwner => Err(ApiError::new(
            StatusCode::CONFLICT,
            "a project needs an owner: make another one first",
        )),
        ProjectOutcome::Personal => Err(ApiError::new(
            StatusCode::CONFLICT,
            "a personal project lives as long as its user, who always owns it",
        )),
        ProjectOutcome::Refused => Err(ApiError::forbidden(
            "only owners and admins of the project may do that, and only owners where it is about an owner",
        )),
        _ => Err(ApiError::not_found(absent)),
    }
}

/// Lists the own projects, the oldest first.
#[utoipa::path(get, path = "/api/v1/projects")]
pub(super) async fn list(
    State(app): State<App>,
    Account { user, .. }: Account,
    Query(page): Query<Page<ProjectId>>,
) -> Result<Answer<Projects>, ApiError> {
    let found = app.store.projects_of(user.id).await?;
    let page = page.of_all(found, |membership| membership.project.id);
    Ok(Answer(Projects {
        projects: page.entries.into_iter().map(ProjectView::from).collect(),
        next_cursor: page.next,
    }))
}

/// A project that is wanted, or another name for one.
pub(super) struct ProjectName {
    name: Option<String>,
}

impl Input for ProjectName {
    const NAME: &'static str = "NewProject";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.optional(
                "name",
                "What it is called; one is made up unless given",
                &NAME,
            ),
        })
    }

    fn example() -> Value {
        json!({"name": "Research"})
    }
}

/// Makes a project, which the caller owns.
#[utoipa::path(
    post,
    path = "/api/v1/projects",
    responses((status = 409, description = "The caller owns as many projects as one may"))
)]
pub(super) async fn create(
    State(app): State<App>,
    Account { user, author, .. }: Account,
    Json(ProjectName { name }): Json<ProjectName>,
) -> Result<Created<ProjectView>, ApiError> {
    let name = name.unwrap_or_else(names::project);
    let project = made(&app, name, user.id, author).await?;
    Ok(Created(ProjectView::from(Membership {
        project,
        role: ProjectRole::Owner,
    })))
}

/// Makes a project.
pub(super) async fn made(
    app: &App,
    name: String,
    owner: UserId,
    author: Author,
) -> Result<Project, ApiError> {
    let projects = app.store.projects_of(owner).await?.into_iter();
    let owned = projects.filter(|membership| membership.role == ProjectRole::Owner);
    if owned.count() >= MAX_PROJECTS {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "you own as many projects as one may: archive one first",
        ));
    }
    let new = NewProject {
        id: ProjectId::new(),
        name,
        owner,
        author,
    };
    let made = app.store.create_project(new).await?;
    made.ok_or_else(|| ApiError::not_found(super::people::NO_USER))
}

/// Shows a project.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn show(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
) -> Result<Answer<ProjectView>, ApiError> {
    Ok(Answer(place(&app, &account, &id).await?.membership.into()))
}

/// Another name for a project.
pub(super) struct Renaming {
    name: String,
}

impl Input for Renaming {
    const NAME: &'static str = "ProjectChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", "What it is called from now on", &NAME);
        Some(Self { name: name? })
    }

    fn example() -> Value {
        json!({"name": "Research"})
    }
}

/// Gives a project another name.
#[utoipa::path(
    patch,
    path = "/api/v1/projects/{id}",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn rename(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    Json(Renaming { name }): Json<Renaming>,
) -> Result<Answer<ProjectView>, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    let project = renamed(&app, place.id(), name, account.author).await?;
    Ok(Answer(ProjectView::from(Membership {
        project,
        role: place.membership.role,
    })))
}

/// Gives a project another name.
pub(super) async fn renamed(
    app: &App,
    id: ProjectId,
    name: String,
    author: Author,
) -> Result<Project, ApiError> {
    outcome(
        app.store.rename_project(id, name, author).await?,
        NO_PROJECT,
    )
}

/// Closes a project for good: its keys are revoked, its invites withdrawn. What was used stays in the books.
#[utoipa::path(
    delete,
    path = "/api/v1/projects/{id}",
    responses(
        (status = 404, description = "No such project, or not one of the caller's"),
        (status = 409, description = "Somebody's personal project"),
    )
)]
pub(super) async fn archive(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    let place = place(&app, &account, &id).await?.owned()?;
    archived(&app, place.id(), account.author).await?;
    Ok(NoContent)
}

/// Closes a project for good, and has its keys forgotten where they are known.
pub(super) async fn archived(
    app: &App,
    id: ProjectId,
    author: Author,
) -> Result<Project, ApiError> {
    let project = outcome(app.store.archive_project(id, author).await?, NO_PROJECT)?;
    app.keys.invalidate_all();
    Ok(project)
}
