//! Who belongs to a project.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Author, Member, ProjectRole};
use serde_json::{Value, json};

use super::{Place, outcome, place, unowned};
use crate::api::caller::{Account, Origin};
use crate::api::document::NoContent;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, ID, Input, Json, Page, Path, Query};
use crate::api::views::{MemberView, Members};
use crate::api::words::PROJECT_ROLE;
use crate::app::App;

pub(in crate::api) const NO_MEMBER: &str = "no such member";

/// Lists the members of a project.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/members",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(in crate::api) async fn members(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    Query(page): Query<Page<UserId>>,
) -> Result<Answer<Members>, ApiError> {
    let place = place(&app, &account, &id).await?;
    let found = app
        .store
        .members(place.id(), page.after, page.ask())
        .await?;
    let page = page.of(found, |member| member.user.id);
    Ok(Answer(Members {
        members: page.entries.into_iter().map(MemberView::from).collect(),
        next_cursor: page.next,
    }))
}

/// Somebody to become a member.
pub(in crate::api) struct NewMember {
    user: UserId,
    role: ProjectRole,
}

impl Input for NewMember {
    const NAME: &'static str = "NewMember";

    fn read(fields: &mut Fields) -> Option<Self> {
        let user = fields.required("user_id", "Who it is", &ID);
        let role = fields
            .optional("role", "What the member may do", &PROJECT_ROLE)
            .unwrap_or(ProjectRole::Member);
        Some(Self {
            user: UserId::from_uuid(user?),
            role,
        })
    }

    fn example() -> Value {
        json!({"user_id": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "member"})
    }
}

/// Makes somebody who has an account a member, or gives a member another role.
///
/// Whoever manages the project may do that; only owners make owners, and change what owners are. Nobody asks the user, so
/// new members count like invites.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/members",
    responses(
        (status = 404, description = "No such project or user, or not one of the caller's"),
        (status = 409, description = "The project would have no owner"),
    )
)]
pub(in crate::api) async fn set_member(
    State(app): State<App>,
    account: Account,
    origin: Origin,
    Path(id): Path<String>,
    Json(NewMember { user: who, role }): Json<NewMember>,
) -> Result<Answer<MemberView>, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    touches_owner(&app, &place, who, Some(role)).await?;
    if role.manages() {
        account.gives_power(&app).await?;
    }
    if !account.admin && app.store.membership(place.id(), who).await?.is_none() {
        let counted = app.rates.invite(account.user.id);
        counted.map_err(|exceeded| origin.refuse(&exceeded, "new members and invites"))?;
    }
    let member = joined(&app, place.id(), who, role, account.author).await?;
    Ok(Answer(member.into()))
}

/// Makes somebody a member, or gives a member another role.
pub(in crate::api) async fn joined(
    app: &App,
    project: ProjectId,
    who: UserId,
    role: ProjectRole,
    author: Author,
) -> Result<Member, ApiError> {
    let set = app.store.set_member(project, who, role, author).await?;
    outcome(set, crate::api::people::NO_USER)
}

/// Puts a member out, and revokes the member's keys here. Members may leave by themselves.
#[utoipa::path(
    delete,
    path = "/api/v1/projects/{id}/members/{user}",
    responses(
        (status = 404, description = "No such project or member, or not one of the caller's"),
        (status = 409, description = "The project would have no owner"),
    )
)]
pub(in crate::api) async fn remove_member(
    State(app): State<App>,
    account: Account,
    Path((id, member)): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let mut place = place(&app, &account, &id).await?;
    let who: UserId = member.parse().map_err(|_| ApiError::not_found(NO_MEMBER))?;
    if who != account.user.id {
        place = place.managed()?;
        touches_owner(&app, &place, who, None).await?;
    }
    put_out(&app, place.id(), who, account.author).await?;
    Ok(NoContent)
}

/// Puts a member out, and has its keys forgotten where they are known.
pub(in crate::api) async fn put_out(
    app: &App,
    project: ProjectId,
    who: UserId,
    author: Author,
) -> Result<Member, ApiError> {
    let removed = app.store.remove_member(project, who, author).await?;
    let member = outcome(removed, NO_MEMBER)?;
    app.keys.invalidate_all();
    Ok(member)
}

/// Refuses admins of a project what only its owners may do, before anything is counted. The store looks again when it
/// writes.
async fn touches_owner(
    app: &App,
    place: &Place,
    who: UserId,
    role: Option<ProjectRole>,
) -> Result<(), ApiError> {
    if place.owns {
        return Ok(());
    }
    let now = app.store.membership(place.id(), who).await?;
    let is_owner = now.is_some_and(|membership| membership.role == ProjectRole::Owner);
    if is_owner || role == Some(ProjectRole::Owner) {
        Err(unowned())
    } else {
        Ok(())
    }
}
