use crate::identity::{InviteId, ProjectId, UserId};
use crate::store::{
    Action, Author, Event, Invite, Member, Membership, MemoryBooks, NewInvite, NewProject, Project,
    ProjectOutcome, ProjectRole, ProjectStore, StoreError, StoreFuture, Target, TokenHash, User,
    UserKind, may_set_member,
};

use super::MemoryStore;
use super::people::{People, conflict};

impl People {
    fn create_project(&mut self, new: NewProject) -> Result<Option<Project>, StoreError> {
        self.heed(&new.author)?;
        if self.projects.contains_key(&new.id) {
            return Err(conflict());
        }
        if self.person(new.owner).is_none() {
            return Ok(None);
        }
        let project = Project {
            id: new.id,
            name: new.name,
            created_at: new.author.at,
            archived_at: None,
        };
        let target = Target::new("project", project.id);
        let event = Event::new(&new.author, Action::ProjectCreated, target);
        self.leave(event.of(Some(project.id)).made(&project));
        self.projects.insert(project.id, project.clone());
        self.join(project.id, new.owner, ProjectRole::Owner, &new.author);
        Ok(Some(project))
    }

    fn rename(&mut self, id: ProjectId, name: String, author: &Author) -> ProjectOutcome<Project> {
        let project = self.projects.get_mut(&id);
        let Some(project) = project.filter(|project| project.archived_at.is_none()) else {
            return ProjectOutcome::Absent;
        };
        let before = project.clone();
        project.name = name;
        let after = project.clone();
        if before != after {
            let event = Event::new(author, Action::ProjectChanged, Target::new("project", id));
            self.leave(event.of(Some(id)).change(&before, &after));
        }
        ProjectOutcome::Done(after)
    }

    /// Returns whether a project is the personal one of `user`, or of anybody where that is `None`.
    fn is_personal(&self, id: ProjectId, user: Option<UserId>) -> bool {
        let mut persons = self.accounts.keys().filter_map(|id| self.person(*id));
        persons.any(|account| {
            account.user.personal_project == id && user.is_none_or(|user| account.user.id == user)
        })
    }

    fn close(
        &mut self,
        books: &mut MemoryBooks,
        id: ProjectId,
        author: &Author,
    ) -> ProjectOutcome<Project> {
        if self.open(id).is_none() {
            return ProjectOutcome::Absent;
        }
        if self.is_personal(id, None) {
            return ProjectOutcome::Personal;
        }
        self.archive(books, id, author)
            .map_or(ProjectOutcome::Absent, ProjectOutcome::Done)
    }

    fn membership(&self, project: ProjectId, user: UserId) -> Option<Membership> {
        let (role, _) = self.members.get(&(project, user))?;
        Some(Membership {
            project: self.open(project)?.clone(),
            role: *role,
        })
    }

    fn member(&self, project: ProjectId, user: UserId) -> Option<Member> {
        let (role, since) = self.members.get(&(project, user))?;
        Some(Member {
            user: self.account(user)?.user.clone(),
            role: *role,
            since: *since,
        })
    }

    /// Returns whether an author may give a user another role in a project, or put it out.
    fn may_set(
        &self,
        project: ProjectId,
        user: UserId,
        after: Option<ProjectRole>,
        author: &Author,
    ) -> bool {
        let (_, actor, _) = author.actor.parts();
        let Some(account) = actor.and_then(|actor| self.accounts.get(&actor)) else {
            return true;
        };
        let role = |of: UserId| self.members.get(&(project, of)).map(|(role, _)| *role);
        let actor = &account.user;
        let leaves = actor.id == user && after.is_none();
        leaves || may_set_member(actor, role(actor.id), role(user), after)
    }

    fn set_member(
        &mut self,
        project: ProjectId,
        user: UserId,
        role: ProjectRole,
        author: &Author,
    ) -> ProjectOutcome<Member> {
        let Some(account) = self.open(project).and_then(|_| self.account(user)) else {
            return ProjectOutcome::Absent;
        };
        let service = account.user.kind == UserKind::Service;
        if service && account.user.personal_project != project {
            return ProjectOutcome::Absent;
        }
        if !self.may_set(project, user, Some(role), author) {
            return ProjectOutcome::Refused;
        }
        let owns =
            self.members.get(&(project, user)).map(|(role, _)| *role) == Some(ProjectRole::Owner);
        if owns && !service && role != ProjectRole::Owner {
            if self.is_personal(project, Some(user)) {
                return ProjectOutcome::Personal;
            }
            if !self.has_owner_but(project, user) {
                return ProjectOutcome::LastOwner;
            }
        }
        self.join(project, user, role, author)
            .map_or(ProjectOutcome::Absent, ProjectOutcome::Done)
    }

    /// Makes a user a member with a role.
    pub(super) fn join(
        &mut self,
        project: ProjectId,
        user: UserId,
        role: ProjectRole,
        author: &Author,
    ) -> Option<Member> {
        let before = self.member(project, user);
        let since = before.as_ref().map_or(author.at, |member| member.since);
        self.members.insert((project, user), (role, since));
        let after = self.member(project, user)?;
        let event =
            |action| Event::new(author, action, Target::new("user", user)).of(Some(project));
        match &before {
            None => self.leave(event(Action::MemberAdded).made(&after.facts())),
            Some(before) if *before != after => {
                self.leave(event(Action::MemberChanged).change(&before.facts(), &after.facts()));
            }
            Some(_) => {}
        }
        Some(after)
    }

    /// Ends a membership; returns how it was.
    pub(super) fn leave_project(
        &mut self,
        project: ProjectId,
        user: UserId,
        author: &Author,
    ) -> Option<Member> {
        let member = self.member(project, user)?;
        self.members.remove(&(project, user));
        let event = Event::new(author, Action::MemberRemoved, Target::new("user", user));
        self.leave(event.of(Some(project)).gone(&member.facts()));
        Some(member)
    }

    fn remove_member(
        &mut self,
        books: &mut MemoryBooks,
        project: ProjectId,
        user: UserId,
        author: &Author,
    ) -> ProjectOutcome<Member> {
        let Some(member) = self.open(project).and_then(|_| self.member(project, user)) else {
            return ProjectOutcome::Absent;
        };
        if !self.may_set(project, user, None, author) {
            return ProjectOutcome::Refused;
        }
        if member.user.kind == UserKind::Service {
            self.put_out(books, project, &member.user, author);
            return ProjectOutcome::Done(member);
        }
        if self.is_personal(project, Some(user)) {
            return ProjectOutcome::Personal;
        }
        if member.role == ProjectRole::Owner && !self.has_owner_but(project, user) {
            return ProjectOutcome::LastOwner;
        }
        self.put_out(books, project, &member.user, author);
        ProjectOutcome::Done(member)
    }

    /// Puts a member out, with its keys there. A service is nowhere else, so it goes.
    pub(super) fn put_out(
        &mut self,
        books: &mut MemoryBooks,
        project: ProjectId,
        user: &User,
        author: &Author,
    ) {
        if user.kind == UserKind::Service {
            return self.erase(books, user, author);
        }
        self.leave_project(project, user.id, author);
        self.revoke_keys(books, author, |key| {
            key.project == project && key.user == user.id
        });
    }
}

impl ProjectStore for MemoryStore {
    fn create_project(&self, project: NewProject) -> StoreFuture<'_, Option<Project>> {
        self.write(|people| people.create_project(project))
    }

    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>> {
        self.read(|people| {
            let members = people.members.keys();
            members
                .filter(|(_, member)| *member == user)
                .filter_map(|(project, _)| people.membership(*project, user))
                .collect()
        })
    }

    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>> {
        self.read(|people| people.membership(project, user))
    }

    fn project(&self, id: ProjectId) -> StoreFuture<'_, Option<Project>> {
        self.read(|people| people.projects.get(&id).cloned())
    }

    fn projects(
        &self,
        after: Option<ProjectId>,
        limit: u32,
        archived: bool,
    ) -> StoreFuture<'_, Vec<Project>> {
        self.read(|people| {
            let projects = people.projects.values();
            projects
                .filter(|project| after.is_none_or(|after| project.id > after))
                .filter(|project| archived || project.archived_at.is_none())
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    fn rename_project(
        &self,
        id: ProjectId,
        name: String,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>> {
        self.write(|people| {
            people.heed(&author)?;
            Ok(people.rename(id, name, &author))
        })
    }

    fn archive_project(
        &self,
        id: ProjectId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Project>> {
        self.write_both(|people, books| {
            people.heed(&author)?;
            Ok(people.close(books, id, &author))
        })
    }

    fn members(
        &self,
        project: ProjectId,
        after: Option<UserId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Member>> {
        self.read(|people| {
            let members = people.members.keys().filter(|(id, _)| *id == project);
            members
                .filter(|(_, user)| after.is_none_or(|after| *user > after))
                .filter_map(|(_, user)| people.member(project, *user))
                .take(limit as usize)
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
        self.read(|people| {
            let members = people.members.keys().filter(|(id, _)| *id == project);
            members
                .filter(|(_, user)| after.is_none_or(|after| *user > after))
                .filter_map(|(_, user)| people.member(project, *user))
                .filter(|member| member.user.kind == kind)
                .take(limit as usize)
                .collect()
        })
    }

    fn member(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Member>> {
        self.read(|people| people.member(project, user))
    }

    fn set_member(
        &self,
        project: ProjectId,
        user: UserId,
        role: ProjectRole,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>> {
        self.write(|people| {
            people.heed(&author)?;
            Ok(people.set_member(project, user, role, &author))
        })
    }

    fn remove_member(
        &self,
        project: ProjectId,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, ProjectOutcome<Member>> {
        self.write_both(|people, books| {
            people.heed(&author)?;
            Ok(people.remove_member(books, project, user, &author))
        })
    }

    fn create_invite(&self, invite: NewInvite) -> StoreFuture<'_, Option<Invite>> {
        self.write(|people| people.create_invite(invite))
    }

    fn invites(
        &self,
        project: Option<ProjectId>,
        before: Option<InviteId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Invite>> {
        self.read(|people| {
            let newest_first = people.invites.values().rev();
            newest_first
                .filter_map(|kept| kept.seen(project))
                .filter(|invite| before.is_none_or(|before| invite.id < before))
                .take(limit as usize)
                .collect()
        })
    }

    fn kept_invites(&self, before: Option<InviteId>, limit: u32) -> StoreFuture<'_, Vec<Invite>> {
        self.read(|people| {
            let newest_first = people.invites.values().rev().map(|kept| &kept.invite);
            newest_first
                .filter(|invite| before.is_none_or(|before| invite.id < before))
                .filter(|invite| invite.revoked_at.is_none())
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    fn invite(&self, id: InviteId) -> StoreFuture<'_, Option<Invite>> {
        self.read(|people| people.invites.get(&id)?.seen(None))
    }

    fn invite_by_token(&self, token: TokenHash) -> StoreFuture<'_, Option<Invite>> {
        self.read(|people| people.invite_by_token(token).cloned())
    }

    fn revoke_invite(
        &self,
        project: Option<ProjectId>,
        id: InviteId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>> {
        self.write(|people| {
            people.heed(&author)?;
            Ok(people.revoke_invite(project, id, &author))
        })
    }

    fn accept_invite(
        &self,
        token: TokenHash,
        user: UserId,
        author: Author,
    ) -> StoreFuture<'_, Option<Invite>> {
        self.write(|people| {
            people.heed(&author)?;
            Ok(people.accept_invite(token, user, &author))
        })
    }
}
