use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::identity::{InviteId, ProjectId, Role, UserId};
use crate::store::{Action, Author, Event, StoreFuture, Target, TokenHash, User, UserKind};
use crate::words::words;

/// A project: the tenant that calls are made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project.
    pub id: ProjectId,
    /// Its readable name, not unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was closed for good.
    pub archived_at: Option<Timestamp>,
}

/// A project to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// The project.
    pub id: ProjectId,
    /// Its readable name.
    pub name: String,
    /// Its first owner.
    pub owner: UserId,
    /// Who makes it, and when.
    pub author: Author,
}

words! {
    /// What a member may do in a project.
    ProjectRole {
        /// Everything, the project's end included.
        Owner = "owner",
        /// Manages members, keys and limits.
        Admin = "admin",
        /// Uses it, with keys of its own.
        Member = "member",
    }
}

impl ProjectRole {
    /// Returns whether it manages members and everybody's keys.
    #[must_use]
    pub const fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// Returns the one of two that may do more.
    #[must_use]
    pub fn higher(self, other: Self) -> Self {
        // They are declared from the highest down.
        self.min(other)
    }
}

/// A project as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The project.
    pub project: Project,
    /// The member's role in it.
    pub role: ProjectRole,
}

/// A member of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub user: User,
    /// What it may do there.
    pub role: ProjectRole,
    /// Since when.
    pub since: Timestamp,
}

impl Member {
    /// Tells what everybody in its project may know of a member, and an event of it says: nothing of what the user is
    /// outside.
    #[must_use]
    pub fn facts(&self) -> Value {
        let Self { user, role, since } = self;
        json!({
            "user_id": user.id,
            "kind": user.kind,
            "username": user.username,
            "email": user.email,
            "name": user.name,
            "role": role,
            "since": since,
        })
    }
}

/// Returns whether `actor`, whose role in a project is `role`, may make a member of it who is `before` there one who is
/// `after`; `None` stands for who is no member.
#[must_use]
pub fn may_set_member(
    actor: &User,
    role: Option<ProjectRole>,
    before: Option<ProjectRole>,
    after: Option<ProjectRole>,
) -> bool {
    let owner = Some(ProjectRole::Owner);
    match role {
        _ if actor.disabled => false,
        _ if actor.role == Role::Admin || role == owner => true,
        Some(role) => role.manages() && before != owner && after != owner,
        None => false,
    }
}

/// What became of a change of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectOutcome<T> {
    /// It is done, and this is how it is now.
    Done(T),
    /// There is no such project, user or member.
    Absent,
    /// It is the last owner: somebody has to be.
    LastOwner,
    /// It is somebody's personal project, which lives as long as its user, who always owns it.
    Personal,
    /// The author may not do that there, or not any more: only who manages a project changes who belongs to it, and only
    /// an owner who owns it.
    Refused,
}

/// Somebody to be let in: to the platform with a role, and to the projects that are named.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// The invite.
    pub id: InviteId,
    /// The hash of the secret that was mailed.
    pub hash: TokenHash,
    /// The normalised address it was mailed to, which counts as confirmed when the invite is taken up.
    pub email: String,
    /// What the user may do on the platform from then on; one who may more already goes on to.
    pub role: Role,
    /// The projects to become a member of, and as what in each.
    pub projects: BTreeMap<ProjectId, ProjectRole>,
    /// When it stops being good.
    pub expires_at: Timestamp,
    /// Who invites, and when.
    pub author: Author,
}

/// An invite as those see it who may invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The invite.
    pub id: InviteId,
    /// The address it was mailed to.
    pub email: String,
    /// What the user may do on the platform from then on; one who may more already goes on to.
    pub role: Role,
    /// The projects to become a member of, and as what in each; none of those that were taken out. Of an invite to
    /// projects the last one stays, and it is withdrawn.
    pub projects: BTreeMap<ProjectId, ProjectRole>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whose login or key has made it; `None` for the operator and the gate itself.
    pub created_by: Option<UserId>,
    /// When it stops being good.
    pub expires_at: Timestamp,
    /// When it was taken up, and by whom.
    pub accepted: Option<(Timestamp, UserId)>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

impl Invite {
    /// Returns whether it can be taken up at `at`, whatever its maker may.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.accepted.is_none() && self.revoked_at.is_none() && at < self.expires_at
    }

    /// Returns whether `maker`, whose role in a project is what `role_in` says, may make it: all of it.
    #[must_use]
    pub fn is_for(&self, maker: &User, role_in: impl Fn(ProjectId) -> Option<ProjectRole>) -> bool {
        if maker.disabled || maker.role == Role::Admin {
            return !maker.disabled;
        }
        let may_give = |(project, granted): (&ProjectId, &ProjectRole)| {
            role_in(*project).is_some_and(|role| {
                role.manages() && (*granted != ProjectRole::Owner || role == ProjectRole::Owner)
            })
        };
        self.role == Role::User && !self.projects.is_empty() && self.projects.iter().all(may_give)
    }

    /// Returns the project it leads into, where that is one: its events are of that one. Those of an invite to several
    /// tell of all, so they are of none.
    #[must_use]
    pub fn project(&self) -> Option<ProjectId> {
        let mut projects = self.projects.keys();
        let first = projects.next().copied();
        first.filter(|_| projects.next().is_none())
    }

    /// Returns what those may see of it who manage one of its projects: no other one, and nothing of what becomes of it
    /// once theirs was taken out.
    #[must_use]
    pub fn within(
        self,
        project: ProjectId,
        role: ProjectRole,
        taken_out: Option<Timestamp>,
    ) -> Self {
        Self {
            projects: BTreeMap::from([(project, role)]),
            accepted: self.accepted.filter(|_| taken_out.is_none()),
            revoked_at: taken_out.or(self.revoked_at),
            ..self
        }
    }

    /// Describes that a project was taken out of an invite that leads into others, too. Its owners read that, so it tells
    /// of no other.
    #[must_use]
    pub fn taken_out(
        id: InviteId,
        project: ProjectId,
        role: ProjectRole,
        author: &Author,
    ) -> Event {
        let places = |projects: BTreeMap<ProjectId, ProjectRole>| json!({ "projects": projects });
        let event = Event::new(author, Action::InviteChanged, Target::new("invite", id));
        let before = places(BTreeMap::from([(project, role)]));
        event
            .of(Some(project))
            .change(&before, &places(BTreeMap::new()))
    }
}

/// Keeps projects, who belongs to them, and who is invited.
///
/// Every change leaves an [`Event`](crate::store::Event) in its own transaction. What ends with something else, such as
/// the keys of a project, leaves one each, by the same author; what was so already leaves none.
pub trait ProjectStore: Send + Sync + 'static {
    /// Makes a project with its owner; `None` when there is no such person.
    fn create_project(&self, project: NewProject) -> StoreFuture<'_, Option<Project>>;

    /// Lists the projects `user` is a member of, oldest first, archived ones left out.
    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>>;

    /// Reads a project as `user` may see it: `None` when it does not exist, is archived, or `user` is no member.
    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>>;

    /// Reads a project, archived or not: for admins of the platform.
    fn project(&self, id: ProjectId) -> StoreFuture<'_, Option<Project>>;

    /// Lists all projects that come after `after` by identifier, at most `limit`, those that are archived only where
    /// `archived` says so: for admins of the platform.
    fn projects(
        &self,
        after: Option<ProjectId>,
        limit: u32,
        archived: bool,
    ) -> StoreFuture<'_, Vec<Project>>;

    /// Gives a project another name; [`Absent`](ProjectOutcome::Absent) also where it is archived.
    fn rename_project(
        &self,
        id: ProjectId,
        name: String,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>>;

    /// Closes a project for good. In the same transaction its counter is frozen, its keys are revoked, and it is taken out
    /// of its invites, as [`revoke_invite`](Self::revoke_invite) does. What was used stays in the books.
    fn archive_project(
        &self,
        id: ProjectId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>>;

    /// Lists the members of a project that come after `after` by identifier, at most `limit`.
    fn members(
        &self,
        project: ProjectId,
        after: Option<UserId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Member>>;

    /// Lists the members of one kind, as [`members`](Self::members) does.
    fn members_of_kind(
        &self,
        project: ProjectId,
        kind: UserKind,
        after: Option<UserId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Member>>;

    /// Reads a member of a project.
    fn member(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Member>>;

    /// Makes somebody a member, or gives a member another role. A service is [`Absent`](ProjectOutcome::Absent) from
    /// every project but its own, and is no owner in place of a person.
    ///
    /// Where the author is a user, or a key of one, that may have changed since it was let in: it is
    /// [`Refused`](ProjectOutcome::Refused) in the same transaction unless [`may_set_member`] lets it. Authors without an
    /// account here are not judged.
    fn set_member(
        &self,
        project: ProjectId,
        user: UserId,
        role: ProjectRole,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>>;

    /// Puts a member out; answers how it was. In the same transaction the member's keys there are revoked; a service, which
    /// has no other project, is deleted. The author is judged as [`set_member`](Self::set_member) does; who leaves by itself is
    /// not.
    fn remove_member(
        &self,
        project: ProjectId,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>>;

    /// Keeps an invite; `None` when one of its projects does not exist or is archived.
    fn create_invite(&self, invite: NewInvite) -> StoreFuture<'_, Option<Invite>>;

    /// Lists invites, newest first, older than `before`, at most `limit`: those of a project, as seen
    /// [`within`](Invite::within) it and with those that it was taken out of, or all.
    fn invites(
        &self,
        project: Option<ProjectId>,
        before: Option<InviteId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Invite>>;

    /// Lists the invites of all projects and of none that are not withdrawn, newest first, older than `before`, at most
    /// `limit`.
    fn kept_invites(&self, before: Option<InviteId>, limit: u32) -> StoreFuture<'_, Vec<Invite>>;

    /// Reads an invite, withdrawn or not.
    fn invite(&self, id: InviteId) -> StoreFuture<'_, Option<Invite>>;

    /// Finds an invite by its secret, whether it is good or not.
    fn invite_by_token(&self, token: TokenHash) -> StoreFuture<'_, Option<Invite>>;

    /// Withdraws an invite, whichever projects it is to; or takes `project` out of it, where that is named, and withdraws
    /// it if that was the last one. Returns it, as seen [`within`](Invite::within) that project; `None` when there is none
    /// such that is not taken up.
    fn revoke_invite(
        &self,
        project: Option<ProjectId>,
        id: InviteId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>>;

    /// Lets somebody who has an account take up an invite, once, with all its projects; returns it, `None` when it is not
    /// good any more or the account's address is not confirmed or another than the invite's. A member keeps the higher of
    /// two roles, and so does the account on the platform.
    ///
    /// An invite is as good as who made it: not while that account is disabled, or once it is deleted, or may not make
    /// all of such an invite any more ([`Invite::is_for`]).
    fn accept_invite(
        &self,
        token: TokenHash,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>>;
}
