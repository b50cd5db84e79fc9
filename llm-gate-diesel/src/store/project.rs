use llm_gate::identity::{InviteId, ProjectId, Subject, UserId};
use llm_gate::store::{
    Action, Author, Event, Invite, Member, Membership, NewInvite, NewProject, Project,
    ProjectOutcome, ProjectRole, ProjectStore, StoreFuture, Target, TokenHash, User, UserKind,
    may_set_member,
};
use uuid::Uuid;

use super::queries::{invites, members, projects, users};
use super::{Connection, Store, event, invite, ledger, people};
use crate::error::Failure;
use crate::models::{Hash, Id, ProjectRow, text};

fn create(connection: &mut Connection, new: &NewProject) -> Result<Option<Project>, Failure> {
    people::lock(connection, &new.author)?;
    let Some(owner) = people::person(connection, new.owner)? else {
        return Ok(None);
    };
    let row = ProjectRow {
        id: new.id.into(),
        name: text(new.name.clone()),
        created_at: new.author.at.as_micros(),
        archived_at: None,
    };
    projects::insert(connection, &row)?;
    ledger::make(connection, Subject::Project(new.id))?;
    let project = Project::from(row);
    let target = Target::new("project", project.id);
    let event = Event::new(&new.author, Action::ProjectCreated, target);
    event::leave(connection, &[event.of(Some(project.id)).made(&project)])?;
    let role = ProjectRole::Owner;
    people::join(connection, project.id, owner, role, &new.author)?;
    Ok(Some(project))
}

fn rename(
    connection: &mut Connection,
    id: ProjectId,
    name: &str,
    author: &Author,
) -> Result<ProjectOutcome<Project>, Failure> {
    people::lock(connection, author)?;
    let Some(before) = people::open(connection, id)? else {
        return Ok(ProjectOutcome::Absent);
    };
    let after = Project {
        name: text(name.to_owned()),
        ..before.clone()
    };
    if before != after {
        projects::rename(connection, id.into(), &after.name)?;
        let event = Event::new(author, Action::ProjectChanged, Target::new("project", id));
        let event = event.of(Some(id)).change(&before, &after);
        event::leave(connection, &[event])?;
    }
    Ok(ProjectOutcome::Done(after))
}

fn archive(
    connection: &mut Connection,
    id: ProjectId,
    author: &Author,
) -> Result<ProjectOutcome<Project>, Failure> {
    people::lock(connection, author)?;
    if people::open(connection, id)?.is_none() {
        return Ok(ProjectOutcome::Absent);
    }
    if users::of_personal_project(connection, id.into())?.is_some() {
        return Ok(ProjectOutcome::Personal);
    }
    let archived = people::archive(connection, id, author)?;
    Ok(archived.map_or(ProjectOutcome::Absent, ProjectOutcome::Done))
}

/// Returns what keeps a person from being an owner no more.
fn kept<T>(
    connection: &mut Connection,
    project: ProjectId,
    member: &Member,
) -> Result<Option<ProjectOutcome<T>>, Failure> {
    let user = &member.user;
    if user.kind != UserKind::Person {
        return Ok(None);
    }
    if user.personal_project == project {
        return Ok(Some(ProjectOutcome::Personal));
    }
    let (project, id) = (project.into(), user.id.into());
    let last = member.role == ProjectRole::Owner
        && members::other_owner(connection, project, id)?.is_none();
    Ok(last.then_some(ProjectOutcome::LastOwner))
}

/// Returns whether an author may give a user another role in a project, or put it out. A request is let in before it waits
/// for the lock, and the author's own role may be another by then.
fn may_set(
    connection: &mut Connection,
    project: ProjectId,
    user: UserId,
    after: Option<ProjectRole>,
    author: &Author,
) -> Result<bool, Failure> {
    let (_, Some(actor), _) = author.actor.parts() else {
        return Ok(true);
    };
    if actor == user && after.is_none() {
        return Ok(true);
    }
    let Some(row) = users::ever(connection, actor.into())? else {
        return Ok(true);
    };
    let actor = User::try_from(row)?;
    let role = people::member(connection, project, actor.id)?.map(|member| member.role);
    let before = people::member(connection, project, user)?.map(|member| member.role);
    Ok(may_set_member(&actor, role, before, after))
}

fn set_member(
    connection: &mut Connection,
    project: ProjectId,
    user: UserId,
    role: ProjectRole,
    author: &Author,
) -> Result<ProjectOutcome<Member>, Failure> {
    people::lock(connection, author)?;
    if people::open(connection, project)?.is_none() {
        return Ok(ProjectOutcome::Absent);
    }
    let account = people::account(connection, user)?;
    // A service has no other project than its own.
    let Some(user) =
        account.filter(|user| user.kind == UserKind::Person || user.personal_project == project)
    else {
        return Ok(ProjectOutcome::Absent);
    };
    if !may_set(connection, project, user.id, Some(role), author)? {
        return Ok(ProjectOutcome::Refused);
    }
    if role != ProjectRole::Owner
        && let Some(member) = people::member(connection, project, user.id)?
        && member.role == ProjectRole::Owner
        && let Some(refusal) = kept(connection, project, &member)?
    {
        return Ok(refusal);
    }
    let member = people::join(connection, project, user, role, author)?;
    Ok(ProjectOutcome::Done(member))
}

fn remove_member(
    connection: &mut Connection,
    project: ProjectId,
    user: UserId,
    author: &Author,
) -> Result<ProjectOutcome<Member>, Failure> {
    people::lock(connection, author)?;
    if people::open(connection, project)?.is_none() {
        return Ok(ProjectOutcome::Absent);
    }
    let Some(member) = people::member(connection, project, user)? else {
        return Ok(ProjectOutcome::Absent);
    };
    if !may_set(connection, project, user, None, author)? {
        return Ok(ProjectOutcome::Refused);
    }
    if let Some(refusal) = kept(connection, project, &member)? {
        return Ok(refusal);
    }
    people::put_out(connection, project, &member, author)?;
    Ok(ProjectOutcome::Done(member))
}

impl ProjectStore for Store {
    fn create_project(&self, project: NewProject) -> StoreFuture<'_, Option<Project>> {
        self.write(move |connection| create(connection, &project))
    }

    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>> {
        self.read(move |connection| {
            members::of_user(connection, user.into())?
                .into_iter()
                .map(|(row, role)| row.membership(&role))
                .collect()
        })
    }

    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>> {
        self.read(move |connection| {
            members::membership(connection, project.into(), user.into())?
                .map(|(row, role)| row.membership(&role))
                .transpose()
        })
    }

    fn project(&self, id: ProjectId) -> StoreFuture<'_, Option<Project>> {
        self.read(move |connection| {
            let row = projects::by_id(connection, id.into())?;
            Ok(row.map(Project::from))
        })
    }

    fn projects(
        &self,
        after: Option<ProjectId>,
        limit: u32,
        archived: bool,
    ) -> StoreFuture<'_, Vec<Project>> {
        self.read(move |connection| {
            // None has the nil identifier, so all come after it.
            let after = after.map_or(Id(Uuid::nil()), Id::from);
            let rows = projects::after(connection, after, limit, archived)?;
            Ok(rows.into_iter().map(Project::from).collect())
        })
    }

    fn rename_project(
        &self,
        id: ProjectId,
        name: String,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>> {
        self.write(move |connection| rename(connection, id, &name, &author))
    }

    fn archive_project(
        &self,
        id: ProjectId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>> {
        self.write(move |connection| archive(connection, id, &author))
    }

    fn members(
        &self,
        project: ProjectId,
        after: Option<UserId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Member>> {
        self.read(move |connection| {
            let after = after.map_or(Id(Uuid::nil()), Id::from);
            members::after(connection, project.into(), after, limit)?
                .into_iter()
                .map(|(row, user)| row.member(user))
                .collect()
        })
    }

    fn members_of_kind(
        &self,
        project: ProjectId,
        kind: UserKind,
        after: Option<UserId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Member>> {
        self.read(move |connection| {
            let after = after.map_or(Id(Uuid::nil()), Id::from);
            members::of_kind(connection, project.into(), kind.as_str(), after, limit)?
                .into_iter()
                .map(|(row, user)| row.member(user))
                .collect()
        })
    }

    fn member(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Member>> {
        self.read(move |connection| people::member(connection, project, user))
    }

    fn set_member(
        &self,
        project: ProjectId,
        user: UserId,
        role: ProjectRole,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>> {
        self.write(move |connection| set_member(connection, project, user, role, &author))
    }

    fn remove_member(
        &self,
        project: ProjectId,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>> {
        self.write(move |connection| remove_member(connection, project, user, &author))
    }

    fn create_invite(&self, invite: NewInvite) -> StoreFuture<'_, Option<Invite>> {
        self.write(move |connection| invite::create(connection, &invite))
    }

    fn invites(
        &self,
        project: Option<ProjectId>,
        before: Option<InviteId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Invite>> {
        self.read(move |connection| {
            let before = before.map(Id::from);
            let Some(project) = project else {
                let rows = invites::before(connection, before, limit)?;
                return invite::all(connection, rows);
            };
            invites::of_project(connection, project.into(), before, limit)?
                .into_iter()
                .map(|(row, place)| place.seen(row))
                .collect()
        })
    }

    fn kept_invites(&self, before: Option<InviteId>, limit: u32) -> StoreFuture<'_, Vec<Invite>> {
        self.read(move |connection| {
            let rows = invites::kept(connection, before.map(Id::from), limit)?;
            invite::all(connection, rows)
        })
    }

    fn invite(&self, id: InviteId) -> StoreFuture<'_, Option<Invite>> {
        self.read(move |connection| {
            let row = invites::by_id(connection, id.into())?;
            invite::found(connection, row)
        })
    }

    fn invite_by_token(&self, token: TokenHash) -> StoreFuture<'_, Option<Invite>> {
        self.read(move |connection| {
            let row = invites::by_token(connection, Hash(token))?;
            invite::found(connection, row)
        })
    }

    fn revoke_invite(
        &self,
        project: Option<ProjectId>,
        id: InviteId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>> {
        self.write(move |connection| invite::revoke(connection, project, id, &author))
    }

    fn accept_invite(
        &self,
        token: TokenHash,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>> {
        self.write(move |connection| invite::accept(connection, token, user, &author))
    }
}
