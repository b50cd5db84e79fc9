//! Invites to the platform and to projects.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::InviteToken;
use llm_gate::identity::{InviteId, ProjectId, Role};
use llm_gate::store::{Author, Invite, NewInvite, Project, ProjectRole};

use serde_json::{Value, json};

use super::account::LETTERS;
use super::caller::{Account, Admin, By, Login, Origin};
use super::document::{Created, NoContent};
use super::error::ApiError;
use super::fields::{Fields, Input, Json, Page, Path, Query, SECRET};
use super::people::EMAIL;
use super::projects::{place, unowned};
use super::views::{InviteView, Invites, IssuedInvite};
use super::words::{PROJECT_ROLE, ROLE};
use crate::app::App;
use crate::config::Secret;
use crate::mail::Letter;
use crate::rates::Purpose;

/// How long an invite is good.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
pub(super) const NO_INVITE: &str = "no such invite";

/// Somebody to be invited to a project.
pub(super) struct NewProjectInvite {
    email: String,
    role: ProjectRole,
}

impl Input for NewProjectInvite {
    const NAME: &'static str = "NewProjectInvite";

    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", "Whom to invite", &EMAIL);
        let role = fields
            .optional("role", "What the member may do", &PROJECT_ROLE)
            .unwrap_or(ProjectRole::Member);
        Some(Self {
            email: email?,
            role,
        })
    }

    fn example() -> Value {
        json!({"email": "grace@example.org", "role": "member"})
    }
}

/// Invites somebody to a project. The secret is mailed.
///
/// Admins of the platform are shown it, this once. Others are not: who takes it up counts as the reader of the address.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/invites",
    responses(
        (status = 404, description = "No such project, or not one of the caller's"),
        (status = 409, description = "No mail is sent here"),
    )
)]
pub(super) async fn create_for_project(
    State(app): State<App>,
    account: Account,
    origin: Origin,
    Path(id): Path<String>,
    Json(NewProjectInvite { email, role }): Json<NewProjectInvite>,
) -> Result<Created<IssuedInvite>, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    if !account.admin && app.mailer.is_none() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "no mail is sent here: let an admin of the platform invite, or add who has an account by its id",
        ));
    }
    if role == ProjectRole::Owner && !place.owns {
        return Err(unowned());
    }
    if role.manages() {
        account.gives_power(&app).await?;
    }
    if !account.admin {
        let counted = app.rates.invite(account.user.id);
        counted.map_err(|exceeded| origin.refuse(&exceeded, "invites"))?;
    }
    let wanted = Wanted {
        email,
        role: Role::User,
        projects: vec![(&place.membership.project, role)],
        shown: account.admin,
    };
    let shown = wanted.shown;
    let (invite, token) = issue(&app, &origin, account.author, wanted).await?;
    let shown = shown.then(|| token.expose());
    Ok(Created(IssuedInvite::new(invite, shown)))
}

/// Somebody to be invited to the platform.
pub(super) struct NewPlatformInvite {
    email: String,
    role: Role,
}

impl Input for NewPlatformInvite {
    const NAME: &'static str = "NewInvite";

    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", "Whom to invite", &EMAIL);
        let role = fields
            .optional("role", "What the user may do on the platform", &ROLE)
            .unwrap_or(Role::User);
        Some(Self {
            email: email?,
            role,
        })
    }

    fn example() -> Value {
        json!({"email": "grace@example.org", "role": "user"})
    }
}

/// Invites somebody to make an account, also where registration is closed. The secret is mailed, and shown this once.
#[utoipa::path(post, path = "/api/v1/invites")]
pub(super) async fn create(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    origin: Origin,
    Json(NewPlatformInvite { email, role }): Json<NewPlatformInvite>,
) -> Result<Created<IssuedInvite>, ApiError> {
    if role == Role::Admin {
        admin.makes_admins(&app).await?;
    }
    let wanted = Wanted {
        email,
        role,
        projects: Vec::new(),
        shown: true,
    };
    let (invite, token) = issue(&app, &origin, author, wanted).await?;
    Ok(Created(IssuedInvite::new(invite, Some(token.expose()))))
}

/// An invite that may be made.
pub(super) struct Wanted<'a> {
    pub(super) email: String,
    pub(super) role: Role,
    /// Each once.
    pub(super) projects: Vec<(&'a Project, ProjectRole)>,
    /// Whether who makes it sees the secret.
    pub(super) shown: bool,
}

/// Keeps an invite, and mails its secret where mail is sent.
pub(super) async fn issue(
    app: &App,
    origin: &Origin,
    author: Author,
    wanted: Wanted<'_>,
) -> Result<(Invite, InviteToken), ApiError> {
    if app.mailer.is_some() {
        let counted = app.rates.letter(Purpose::Invite, &wanted.email);
        counted.map_err(|exceeded| origin.refuse(&exceeded, LETTERS))?;
    }
    let token = InviteToken::generate();
    let places = wanted.projects.iter();
    let new = NewInvite {
        id: InviteId::new(),
        hash: token.hash(),
        email: wanted.email,
        role: wanted.role,
        projects: places.map(|(project, role)| (project.id, *role)).collect(),
        expires_at: author.at.after(GOOD_FOR),
        author,
    };
    let made = app.store.create_invite(new).await?;
    let invite = made.ok_or_else(|| ApiError::not_found("no such project"))?;
    if let Some(mailer) = &app.mailer {
        let names = wanted.projects.iter();
        let names: Vec<&str> = names.map(|(project, _)| project.name.as_str()).collect();
        let letter = Letter::invite(mailer.web_url(), &invite.email, &names, token.expose());
        mailer.post(letter);
    }
    Ok((invite, token))
}

/// Lists the invites to a project, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/invites",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn list_of_project(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    Query(page): Query<Page<InviteId>>,
) -> Result<Answer<Invites>, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    listed(&app, Some(place.id()), page).await
}

/// Lists all invites, newest first.
#[utoipa::path(get, path = "/api/v1/invites")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(page): Query<Page<InviteId>>,
) -> Result<Answer<Invites>, ApiError> {
    listed(&app, None, page).await
}

async fn listed(
    app: &App,
    project: Option<ProjectId>,
    page: Page<InviteId>,
) -> Result<Answer<Invites>, ApiError> {
    let found = app.store.invites(project, page.after, page.ask()).await?;
    let page = page.of(found, |invite| invite.id);
    Ok(Answer(Invites {
        invites: page.entries.into_iter().map(InviteView::from).collect(),
        next_cursor: page.next,
    }))
}

/// Withdraws an invite to a project.
///
/// One that leads into others, too, goes on into those.
#[utoipa::path(
    delete,
    path = "/api/v1/projects/{id}/invites/{invite}",
    responses((status = 404, description = "No such project or invite, or it is taken up"))
)]
pub(super) async fn revoke_of_project(
    State(app): State<App>,
    account: Account,
    Path((id, invite)): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let place = place(&app, &account, &id).await?.managed()?;
    let invite = invite.parse().map_err(|_| ApiError::not_found(NO_INVITE))?;
    let revoked = app
        .store
        .revoke_invite(Some(place.id()), invite, account.author)
        .await?;
    revoked
        .map(|_| NoContent)
        .ok_or_else(|| ApiError::not_found(NO_INVITE))
}

/// Withdraws an invite.
#[utoipa::path(
    delete,
    path = "/api/v1/invites/{id}",
    responses((status = 404, description = "No such invite, or it is taken up"))
)]
pub(super) async fn revoke(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    withdrawn(&app, &id, author).await?;
    Ok(NoContent)
}

/// Withdraws an invite, whichever projects it is to.
pub(super) async fn withdrawn(app: &App, id: &str, author: Author) -> Result<Invite, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found(NO_INVITE))?;
    let revoked = app.store.revoke_invite(None, id, author).await?;
    revoked.ok_or_else(|| ApiError::not_found(NO_INVITE))
}

/// The secret of an invite.
pub(super) struct Acceptance {
    token: Secret,
}

impl Input for Acceptance {
    const NAME: &'static str = "InviteAcceptance";

    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", "What stands in the link that was mailed", &SECRET);
        Some(Self { token: token? })
    }

    fn example() -> Value {
        json!({"token": "lgi_…"})
    }
}

/// Takes up an invite with the own account, whose confirmed address must be the one that was invited.
#[utoipa::path(
    post,
    path = "/api/v1/invites/accept",
    responses((
        status = 403,
        description = "Used, withdrawn, too old, for another address, of somebody who may not invite any more, or no login"
    ))
)]
pub(super) async fn accept(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    Json(Acceptance { token }): Json<Acceptance>,
) -> Result<Answer<InviteView>, ApiError> {
    let token = InviteToken::parse(token.expose()).map_err(|_| spent())?;
    let accepted = app
        .store
        .accept_invite(token.hash(), user.id, author)
        .await?;
    accepted
        .map(|invite| Answer(invite.into()))
        .ok_or_else(spent)
}

/// What somebody is told whose invite does not hold. It does not say why.
pub(super) fn spent() -> ApiError {
    ApiError::forbidden(
        "the invite is used, withdrawn, too old, for another address, or of somebody who may not invite any more",
    )
}
