//! Invites to the platform, and with it to projects.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, ProjectId, Role};
use llm_gate::store::{Invite, ProjectRole};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};

use super::list::{Deleted, Entry, List, Listing, seconds};
use super::names::{self, OwnRole};
use super::projects;
use crate::api::caller::{Admin, By, Origin};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Given, ID, Input, Json, Kind, List as Several, Path, Query};
use crate::api::invites::{self, NO_INVITE, withdrawn};
use crate::api::people::EMAIL;
use crate::api::words::PROJECT_ROLE;
use crate::app::App;

/// How many projects an invite leads into at most. Whoever takes it up joins them all in one step, and the letter names
/// them.
const MAX_PROJECTS: usize = 20;

/// An invite.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationInvite)]
pub(super) struct InviteView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: InviteId,
    email: String,
    /// `owner` or `reader`: what whoever takes it up is on the platform, or more.
    role: &'static str,
    /// `pending`, `accepted` or `expired`; one that was withdrawn is `expired`, too.
    status: &'static str,
    created_at: i64,
    /// The same, as older clients know it.
    invited_at: i64,
    expires_at: i64,
    accepted_at: Option<i64>,
    /// The projects that are joined with it, if any, the oldest first.
    projects: Vec<PlaceView>,
}

/// A project to become a member of, and as what.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationInviteProject)]
pub(super) struct PlaceView {
    #[schema(value_type = String, format = Uuid)]
    id: ProjectId,
    /// `owner` or `member`: an admin of the project is an owner here.
    role: &'static str,
    /// The role by its own name, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_gate: Option<OwnRole>,
}

impl From<(&ProjectId, &ProjectRole)> for PlaceView {
    fn from((&id, &role): (&ProjectId, &ProjectRole)) -> Self {
        let word = names::project_role(role);
        Self {
            id,
            role: word,
            llm_gate: OwnRole::beside(word, role),
        }
    }
}

impl InviteView {
    fn new(invite: Invite, now: Timestamp) -> Self {
        Self {
            object: "organization.invite",
            id: invite.id,
            role: names::role(invite.role),
            status: match invite.accepted {
                Some(_) => "accepted",
                None if invite.is_open(now) => "pending",
                None => "expired",
            },
            created_at: seconds(invite.created_at),
            invited_at: seconds(invite.created_at),
            expires_at: seconds(invite.expires_at),
            accepted_at: invite.accepted.map(|(at, _)| seconds(at)),
            projects: invite.projects.iter().map(PlaceView::from).collect(),
            email: invite.email,
        }
    }
}

impl Entry for InviteView {
    const LIST: &'static str = "OrganizationInvites";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// An invite that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationIssuedInvite)]
pub(super) struct IssuedView {
    #[serde(flatten)]
    invite: InviteView,
    /// The secret that is mailed, where mail is sent. Shown this once.
    token: String,
}

/// Lists the invites that are not withdrawn, newest first.
#[utoipa::path(get, path = "/v1/organization/invites")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(listing): Query<Listing<InviteId>>,
) -> Result<Answer<List<InviteView>>, ApiError> {
    let found = app.store.kept_invites(listing.after, listing.ask()).await?;
    let now = app.clock.now();
    let views = found.into_iter().map(|invite| InviteView::new(invite, now));
    Ok(Answer(listing.of(views)))
}

/// A project and a role in it.
struct Place;

impl Kind for Place {
    type Value = (ProjectId, ProjectRole);

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("id", ID.schema())
            .required("id")
            .property("role", PROJECT_ROLE.schema())
            .required("role")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    }

    fn read(&self, given: Given<'_>) -> Result<Self::Value, Cow<'static, str>> {
        let member = |name| {
            let value = given.value.get(name).unwrap_or(&Value::Null);
            Given { value, ..given }
        };
        let known = |(name, _): (&String, &Value)| name == "id" || name == "role";
        let object = given.value.as_object();
        if !object.is_some_and(|object| object.iter().all(known)) {
            return Err("must have entries with an id and a role".into());
        }
        let id = ID.read(member("id"));
        let id = id.map_err(|reason| format!("must have entries whose id {reason}"))?;
        let role = PROJECT_ROLE.read(member("role"));
        let role = role.map_err(|reason| format!("must have entries whose role {reason}"))?;
        Ok((ProjectId::from_uuid(id), role))
    }
}

/// Somebody to be invited.
pub(super) struct Wanted {
    email: String,
    role: Role,
    places: BTreeMap<ProjectId, ProjectRole>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationNewInvite";

    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", "Whom to invite", &EMAIL);
        let role = fields.required("role", "What the user may do on the platform", &names::ROLE);
        let listed = fields.optional(
            "projects",
            "The projects to become a member of, each once, with a role in it",
            &Several::new(&Place, 0, MAX_PROJECTS),
        );
        let listed = listed.unwrap_or_default();
        let count = listed.len();
        let places = BTreeMap::from_iter(listed);
        if places.len() < count {
            fields.refuse("projects", "must name each project once");
        }
        Some(Self {
            email: email?,
            role: role?,
            places,
        })
    }

    fn example() -> Value {
        json!({ "email": "grace@example.org", "role": "reader" })
    }
}

/// Invites somebody. The secret is mailed, and shown this once.
#[utoipa::path(
    post,
    path = "/v1/organization/invites",
    responses((status = 404, description = "No such project"))
)]
pub(super) async fn create(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    origin: Origin,
    Json(Wanted {
        email,
        role,
        places,
    }): Json<Wanted>,
) -> Result<Answer<IssuedView>, ApiError> {
    if role == Role::Admin {
        admin.makes_admins(&app).await?;
    }
    if places.values().any(|role| role.manages()) {
        admin.gives_power(&app).await?;
    }
    let mut found = Vec::with_capacity(places.len());
    for (id, role) in &places {
        found.push((projects::open(&app, &id.to_string()).await?, *role));
    }
    let now = author.at;
    let wanted = invites::Wanted {
        email,
        role,
        projects: found
            .iter()
            .map(|(project, role)| (project, *role))
            .collect(),
        shown: true,
    };
    let (invite, token) = invites::issue(&app, &origin, author, wanted).await?;
    Ok(Answer(IssuedView {
        invite: InviteView::new(invite, now),
        token: token.expose().to_owned(),
    }))
}

/// Shows an invite.
#[utoipa::path(
    get,
    path = "/v1/organization/invites/{invite_id}",
    responses((status = 404, description = "No such invite, or it is withdrawn"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<InviteView>, ApiError> {
    let no_invite = || ApiError::not_found(NO_INVITE);
    let invite = app
        .store
        .invite(id.parse().map_err(|_| no_invite())?)
        .await?;
    let invite = invite.filter(|invite| invite.revoked_at.is_none());
    let invite = invite.ok_or_else(no_invite)?;
    Ok(Answer(InviteView::new(invite, app.clock.now())))
}

/// Withdraws an invite.
#[utoipa::path(
    delete,
    path = "/v1/organization/invites/{invite_id}",
    responses((status = 404, description = "No such invite, or it is taken up"))
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Answer<Deleted>, ApiError> {
    let invite = withdrawn(&app, &id, author).await?;
    Ok(Answer(Deleted::new(
        "organization.invite.deleted",
        invite.id,
    )))
}
