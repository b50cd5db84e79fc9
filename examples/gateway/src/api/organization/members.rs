//! The persons in a project, which the API calls its users.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Author, Member, ProjectRole, UserKind};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::list::{Deleted, Entry, List, Listing, seconds};
use super::names::{self, OwnRole};
use super::{projects, users};
use crate::api::caller::{Admin, By};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, ID, Input, Json, Path, Query};
use crate::api::people::{EMAIL, NO_USER};
use crate::api::projects::{NO_MEMBER, joined, put_out};
use crate::api::words::PROJECT_ROLE;
use crate::app::App;

/// A person in a project.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationProjectUser)]
pub(super) struct MemberView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    name: Option<String>,
    email: Option<String>,
    /// `owner` or `member`: an admin of the project is an owner here.
    role: &'static str,
    added_at: i64,
    /// The role by its own name, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_gate: Option<OwnRole>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let role = names::project_role(member.role);
        Self {
            object: "organization.project.user",
            id: member.user.id,
            name: names::name(&member.user),
            role,
            added_at: seconds(member.since),
            llm_gate: OwnRole::beside(role, member.role),
            email: member.user.email,
        }
    }
}

impl Entry for MemberView {
    const LIST: &'static str = "OrganizationProjectUsers";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Lists the persons in a project.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/users",
    responses((status = 404, description = "No such project, or it is archived"))
)]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Path(project): Path<String>,
    Query(listing): Query<Listing<UserId>>,
) -> Result<Answer<List<MemberView>>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let (kind, after) = (UserKind::Person, listing.after);
    let found = app
        .store
        .members_of_kind(project, kind, after, listing.ask())
        .await?;
    Ok(Answer(listing.of(found.into_iter().map(MemberView::from))))
}

/// Somebody to become a member.
pub(super) struct NewMember {
    user: Option<UserId>,
    email: Option<String>,
    role: ProjectRole,
}

impl Input for NewMember {
    const NAME: &'static str = "OrganizationNewProjectUser";

    fn read(fields: &mut Fields) -> Option<Self> {
        let user = fields.optional("user_id", "Who it is", &ID);
        let email = fields.optional("email", "Whose address it is, without an id", &EMAIL);
        let role = fields.required("role", "What the member may do", &PROJECT_ROLE);
        let named = user.is_some() || email.is_some();
        if !named && !fields.refused("user_id") && !fields.refused("email") {
            fields.refuse("user_id", "is required where there is no email");
        }
        Some(Self {
            user: user.map(UserId::from_uuid),
            email,
            role: role?,
        })
    }

    fn example() -> Value {
        json!({ "user_id": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "member" })
    }
}

/// Makes somebody who has an account a member, or gives a member another role.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/users",
    responses(
        (status = 404, description = "No such project or user"),
        (status = 409, description = "The project would have no owner"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(project): Path<String>,
    Json(NewMember { user, email, role }): Json<NewMember>,
) -> Result<Answer<MemberView>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let user = match (user, email) {
        (Some(id), _) => app.store.user(id).await?,
        (None, Some(email)) => users::of_address(&app, email).await?,
        (None, None) => None,
    };
    let person = user.filter(|user| user.kind == UserKind::Person);
    let person = person.ok_or_else(|| ApiError::not_found(NO_USER))?;
    if role.manages() {
        admin.gives_power(&app).await?;
    }
    let member = given(&app, project, person.id, role, author).await?;
    Ok(Answer(member.into()))
}

/// Gives somebody a role in a project. An admin of it is told as an owner, so `owner` leaves one an admin: who writes back
/// what was read changes nothing.
///
/// The role is read before the store takes its lock. Who becomes an admin just then is made the owner that was asked for, and
/// who just was one stays what it is by then: neither gets more than was asked for.
pub(super) async fn given(
    app: &App,
    project: ProjectId,
    who: UserId,
    role: ProjectRole,
    author: Author,
) -> Result<Member, ApiError> {
    if role == ProjectRole::Owner
        && let Some(member) = app.store.member(project, who).await?
        && member.role == ProjectRole::Admin
    {
        return Ok(member);
    }
    joined(app, project, who, role, author).await
}

/// Reads a member of a kind.
pub(super) async fn named(
    app: &App,
    project: &str,
    member: &str,
    kind: UserKind,
    absent: &'static str,
) -> Result<(ProjectId, Member), ApiError> {
    let project = projects::open(app, project).await?.id;
    let absent = || ApiError::not_found(absent);
    let id = member.parse().map_err(|_| absent())?;
    let member = app.store.member(project, id).await?;
    let member = member.filter(|member| member.user.kind == kind);
    Ok((project, member.ok_or_else(absent)?))
}

/// Shows a person in a project.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/users/{user_id}",
    responses((status = 404, description = "No such project or member"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path((project, user)): Path<(String, String)>,
) -> Result<Answer<MemberView>, ApiError> {
    let (_, member) = named(&app, &project, &user, UserKind::Person, NO_MEMBER).await?;
    Ok(Answer(member.into()))
}

/// Another role for a member.
pub(super) struct Changes {
    role: Option<ProjectRole>,
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationProjectUserChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            role: fields.optional("role", "What the member may do", &PROJECT_ROLE),
        })
    }

    fn example() -> Value {
        json!({ "role": "owner" })
    }
}

/// Gives a member another role.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/users/{user_id}",
    responses(
        (status = 404, description = "No such project or member"),
        (status = 409, description = "The project would have no owner, or it is the member's personal one"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path((project, user)): Path<(String, String)>,
    Json(Changes { role }): Json<Changes>,
) -> Result<Answer<MemberView>, ApiError> {
    let (project, mut member) = named(&app, &project, &user, UserKind::Person, NO_MEMBER).await?;
    if let Some(role) = role {
        if role.manages() {
            admin.gives_power(&app).await?;
        }
        member = given(&app, project, member.user.id, role, author).await?;
    }
    Ok(Answer(member.into()))
}

/// Puts a member out, and revokes the member's keys there.
#[utoipa::path(
    delete,
    path = "/v1/organization/projects/{project_id}/users/{user_id}",
    responses(
        (status = 404, description = "No such project or member"),
        (status = 409, description = "The project would have no owner, or it is the member's personal one"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path((project, user)): Path<(String, String)>,
) -> Result<Answer<Deleted>, ApiError> {
    let (project, member) = named(&app, &project, &user, UserKind::Person, NO_MEMBER).await?;
    put_out(&app, project, member.user.id, author).await?;
    Ok(Answer(Deleted::new(
        "organization.project.user.deleted",
        member.user.id,
    )))
}
