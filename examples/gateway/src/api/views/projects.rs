//! Projects, who belongs to them, and who is invited. Nothing here can hold a secret but [`IssuedInvite`].

use jiff::Timestamp as Moment;
use llm_gate::identity::{InviteId, ProjectId, Role, UserId};
use llm_gate::store::{Invite, Member, Membership, ProjectRole, User, UserKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::moment;
use crate::api::words;

/// A member of a project.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    /// `person` or `service`.
    #[schema(value_type = String)]
    kind: UserKind,
    #[schema(required)]
    username: Option<String>,
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    #[schema(schema_with = words::project_role)]
    role: ProjectRole,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    since: Option<Moment>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user.id,
            kind: member.user.kind,
            username: member.user.username,
            email: member.user.email,
            name: member.user.name,
            role: member.role,
            since: moment(member.since),
        }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Members {
    pub(crate) members: Vec<MemberView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<UserId>,
}

/// A service account.
#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl From<User> for ServiceView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            project_id: user.personal_project,
            created_at: moment(user.created_at),
        }
    }
}

/// An invite.
#[derive(Serialize, ToSchema)]
#[schema(as = Invite)]
pub(crate) struct InviteView {
    #[schema(value_type = String, format = Uuid)]
    id: InviteId,
    email: String,
    #[schema(schema_with = words::role)]
    role: Role,
    /// The project that is joined with it; null where there is none, or several.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    /// As what; null where there is no such project.
    #[schema(required, value_type = Option<String>)]
    project_role: Option<ProjectRole>,
    /// All that are joined with it. Those who manage one of them see that one alone.
    projects: Vec<PlaceView>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    /// Who made it; null for the operator and the command line.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    created_by: Option<UserId>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    accepted_at: Option<Moment>,
    revoked: bool,
}

/// A project to become a member of, and as what.
#[derive(Serialize, ToSchema)]
#[schema(as = InviteProject)]
pub(crate) struct PlaceView {
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[schema(schema_with = words::project_role)]
    role: ProjectRole,
}

impl From<Invite> for InviteView {
    fn from(invite: Invite) -> Self {
        let project = invite.project();
        let place = |(&project_id, &role)| PlaceView { project_id, role };
        Self {
            id: invite.id,
            email: invite.email,
            role: invite.role,
            project_id: project,
            project_role: project.and_then(|project| invite.projects.get(&project).copied()),
            projects: invite.projects.iter().map(place).collect(),
            created_at: moment(invite.created_at),
            created_by: invite.created_by,
            expires_at: moment(invite.expires_at),
            accepted_at: invite.accepted.and_then(|(at, _)| moment(at)),
            revoked: invite.revoked_at.is_some(),
        }
    }
}

/// An invite and its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedInvite {
    #[serde(flatten)]
    invite: InviteView,
    /// Shown this once, to admins of the platform; null for others, because it is for the reader of the address.
    #[schema(required)]
    token: Option<String>,
}

impl IssuedInvite {
    pub(crate) fn new(invite: Invite, token: Option<&str>) -> Self {
        Self {
            invite: invite.into(),
            token: token.map(str::to_owned),
        }
    }
}

/// A page of invites, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invites {
    pub(crate) invites: Vec<InviteView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<InviteId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectView {
    #[schema(value_type = String, format = Uuid)]
    id: ProjectId,
    name: String,
    #[schema(schema_with = words::project_role)]
    role: ProjectRole,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl From<Membership> for ProjectView {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.project.id,
            name: membership.project.name,
            role: membership.role,
            created_at: moment(membership.project.created_at),
        }
    }
}

/// A page of the projects of the caller.
#[derive(Serialize, ToSchema)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<ProjectView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<ProjectId>,
}
