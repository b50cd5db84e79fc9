use crate::identity::{ProjectId, Role, Subject, UserId};
use crate::store::{
    Action, Author, Event, LimitChange, MAX_SERVICES, MemoryBooks, NewService, NewUser, Project,
    ProjectRole, StoreError, Target, User, UserChange, UserKind, UserOutcome,
};

use super::people::{Account, People, conflict};

/// The project that a service's events concern. A person's concern none.
pub(super) fn project_of(user: &User) -> Option<ProjectId> {
    (user.kind == UserKind::Service).then_some(user.personal_project)
}

impl People {
    pub(super) fn by_login(&self, login: &str) -> Option<&Account> {
        self.accounts.values().find(|account| {
            let user = &account.user;
            user.email.as_deref() == Some(login) || user.username.as_deref() == Some(login)
        })
    }

    /// Returns whether another account has one of the names.
    fn taken(&self, id: UserId, names: [Option<&str>; 2]) -> bool {
        names.into_iter().flatten().any(|name| {
            self.by_login(name)
                .is_some_and(|account| account.user.id != id)
        })
    }

    pub(super) fn create_user(
        &mut self,
        books: &mut MemoryBooks,
        new: NewUser,
    ) -> Result<User, StoreError> {
        self.heed(&new.author)?;
        let names = [new.email.as_deref(), new.username.as_deref()];
        if self.taken(new.id, names)
            || self.accounts.contains_key(&new.id)
            || self.projects.contains_key(&new.personal_project)
            || (new.identity.as_ref()).is_some_and(|known| self.identities.contains_key(known))
        {
            return Err(conflict());
        }
        let author = new.author;
        let invite = match new.invite {
            Some(token) => {
                let email = new.email.as_deref();
                Some(
                    self.good_invite(token, email, author.at)
                        .ok_or_else(conflict)?,
                )
            }
            None => None,
        };
        let role = match &invite {
            Some(invite) if invite.role == Role::Admin => Role::Admin,
            _ => new.role,
        };
        let user = User {
            id: new.id,
            kind: UserKind::Person,
            email_verified: new.email.is_some() && (new.email_verified || invite.is_some()),
            email: new.email,
            username: new.username,
            name: new.name,
            role,
            disabled: false,
            personal_project: new.personal_project,
            created_at: author.at,
        };
        let project = Project {
            id: new.personal_project,
            name: new.personal_project_name,
            created_at: author.at,
            archived_at: None,
        };
        let own = project.id;
        self.projects.insert(own, project);
        self.insert(user.clone(), new.password_hash, &author);
        self.join(own, user.id, ProjectRole::Owner, &author);
        if let Some(identity) = new.identity {
            self.put_identity(user.id, identity, &author);
        }
        if let Some(invite) = invite {
            self.take_up(invite.id, user.id, &author);
        }
        if new.token_limit.is_some() {
            let change = LimitChange::total_tokens(Subject::User(user.id), new.token_limit);
            self.change_limits(books, &[LimitChange { author, ..change }])?;
        }
        Ok(user)
    }

    pub(super) fn create_service(&mut self, new: NewService) -> Result<Option<User>, StoreError> {
        self.heed(&new.author)?;
        if self.accounts.contains_key(&new.id) {
            return Err(conflict());
        }
        if self.open(new.project).is_none() {
            return Ok(None);
        }
        let inside = self.members.keys().filter(|(id, _)| *id == new.project);
        let services = inside.filter(|(_, user)| {
            let account = self.account(*user);
            account.is_some_and(|account| account.user.kind == UserKind::Service)
        });
        if services.count() >= MAX_SERVICES {
            return Err(conflict());
        }
        let user = User {
            id: new.id,
            kind: UserKind::Service,
            email: None,
            email_verified: false,
            username: None,
            name: Some(new.name),
            role: Role::User,
            disabled: false,
            personal_project: new.project,
            created_at: new.author.at,
        };
        self.insert(user.clone(), None, &new.author);
        self.join(new.project, user.id, ProjectRole::Member, &new.author);
        Ok(Some(user))
    }

    fn insert(&mut self, user: User, hash: Option<String>, author: &Author) {
        let event = Event::new(author, Action::UserCreated, Target::new("user", user.id));
        self.leave(event.of(project_of(&user)).made(&user));
        let account = Account {
            user,
            hash,
            deleted: false,
            secured_at: None,
        };
        self.accounts.insert(account.user.id, account);
    }

    pub(super) fn change_user(
        &mut self,
        books: &mut MemoryBooks,
        id: UserId,
        change: UserChange,
        author: &Author,
    ) -> Result<UserOutcome, StoreError> {
        self.heed(author)?;
        let Some(before) = self.account(id).map(|account| account.user.clone()) else {
            return Ok(UserOutcome::Absent);
        };
        if before.kind == UserKind::Service && !suits_service(&change) {
            return Ok(UserOutcome::Absent);
        }
        let after = changed(&before, change);
        if before.is_named() && !after.is_named() {
            return Ok(UserOutcome::LastName);
        }
        if self.taken(id, [after.email.as_deref(), after.username.as_deref()]) {
            return Err(conflict());
        }
        let administers = |user: &User| user.role == Role::Admin && !user.disabled;
        if administers(&before) && !administers(&after) && !self.has_admin_but(id) {
            return Ok(UserOutcome::LastAdmin);
        }
        if let Some(account) = self.accounts.get_mut(&id) {
            account.user = after.clone();
        }
        if before != after {
            let event = Event::new(author, Action::UserChanged, Target::new("user", id));
            self.leave(event.of(project_of(&after)).change(&before, &after));
        }
        if after.disabled {
            self.end_sessions(author, |session| session.user == id);
        }
        if after.disabled != before.disabled {
            books.set_frozen(Subject::User(id), after.disabled);
        }
        Ok(UserOutcome::Done(after))
    }

    pub(super) fn delete_user(
        &mut self,
        books: &mut MemoryBooks,
        id: UserId,
        author: &Author,
    ) -> UserOutcome {
        let Some(user) = self.account(id).map(|account| account.user.clone()) else {
            return UserOutcome::Absent;
        };
        if user.role == Role::Admin && !user.disabled && !self.has_admin_but(id) {
            return UserOutcome::LastAdmin;
        }
        if let Some(project) = self.only_owned(&user) {
            return UserOutcome::LastOwner(project);
        }
        self.erase(books, &user, author);
        UserOutcome::Done(user)
    }

    /// Finds the first project with other members that nobody but `user` owns.
    fn only_owned(&self, user: &User) -> Option<ProjectId> {
        let owned = self
            .members
            .iter()
            .filter(|((project, member), (role, _))| {
                *member == user.id
                    && *role == ProjectRole::Owner
                    && *project != user.personal_project
                    && self.open(*project).is_some()
            });
        owned.map(|((project, _), _)| *project).find(|project| {
            !self.is_alone(*project, user.id) && !self.has_owner_but(*project, user.id)
        })
    }

    /// Returns whether a project has no member but `user`.
    fn is_alone(&self, project: ProjectId, user: UserId) -> bool {
        let mut members = self.members.keys();
        members.all(|(id, member)| *id != project || *member == user)
    }

    /// Takes an account away. What is bound to it goes first, so that its events come before the account's own.
    pub(super) fn erase(&mut self, books: &mut MemoryBooks, user: &User, author: &Author) {
        let id = user.id;
        self.end_sessions(author, |session| session.user == id);
        self.revoke_keys(books, author, |key| key.user == id);
        let memberships = self.members.keys().filter(|(_, member)| *member == id);
        let projects: Vec<ProjectId> = memberships.map(|(project, _)| *project).collect();
        for project in projects {
            let alone = self.is_alone(project, id);
            self.leave_project(project, id, author);
            if user.kind == UserKind::Person && (alone || project == user.personal_project) {
                self.archive(books, project, author);
            }
        }
        self.unlink_all(id, author);
        self.tickets.retain(|_, ticket| ticket.user != id);
        books.set_frozen(Subject::User(id), true);
        if let Some(account) = self.accounts.get_mut(&id) {
            account.deleted = true;
            account.hash = None;
            account.user.email = None;
            account.user.username = None;
            account.user.name = None;
            account.user.disabled = true;
        }
        let event = Event::new(author, Action::UserDeleted, Target::new("user", id));
        self.leave(event.of(project_of(user)).gone(user));
    }
}

/// Returns whether a change is of what a service has: a name, and whether it is disabled.
const fn suits_service(change: &UserChange) -> bool {
    change.email.is_none()
        && change.email_verified.is_none()
        && change.username.is_none()
        && change.role.is_none()
}

fn changed(before: &User, change: UserChange) -> User {
    let mut after = before.clone();
    if let Some(email) = change.email
        && email != after.email
    {
        after.email = email;
        after.email_verified = false;
    }
    if let Some(verified) = change.email_verified {
        after.email_verified = verified && after.email.is_some();
    }
    if let Some(username) = change.username {
        after.username = username;
    }
    if let Some(name) = change.name {
        after.name = name;
    }
    after.role = change.role.unwrap_or(after.role);
    after.disabled = change.disabled.unwrap_or(after.disabled);
    after
}
