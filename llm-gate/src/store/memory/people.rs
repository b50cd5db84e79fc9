use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::identity::{EventId, InviteId, KeyId, ProjectId, Role, SessionId, Subject, UserId};
use crate::store::{
    Action, ApiKey, Author, Event, Identity, LimitChange, MemoryBooks, NewTicket, Project,
    ProjectRole, Session, Standing, StoreError, StoreErrorKind, Target, TokenHash, UsageReset,
    User, UserKind,
};

use super::invite::Kept;

/// What the store keeps beside its books.
#[derive(Default)]
pub(super) struct People {
    /// Those that were deleted, too, without names: an identifier is given once.
    pub(super) accounts: HashMap<UserId, Account>,
    pub(super) identities: HashMap<Identity, UserId>,
    pub(super) tickets: HashMap<TokenHash, NewTicket>,
    pub(super) projects: BTreeMap<ProjectId, Project>,
    pub(super) members: BTreeMap<(ProjectId, UserId), (ProjectRole, Timestamp)>,
    pub(super) invites: BTreeMap<InviteId, Kept>,
    pub(super) keys: BTreeMap<KeyId, Key>,
    /// The keys by each public id that finds them.
    pub(super) public_ids: HashMap<String, KeyId>,
    pub(super) sessions: BTreeMap<SessionId, Family>,
    pub(super) tokens: HashMap<TokenHash, RefreshToken>,
    pub(super) events: BTreeMap<EventId, Event>,
}

/// An account with its password.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: User,
    pub(super) hash: Option<String>,
    pub(super) deleted: bool,
    /// When it was last taken back from whoever else may have made it.
    pub(super) secured_at: Option<Timestamp>,
}

/// A key with its secrets.
pub(super) struct Key {
    pub(super) key: ApiKey,
    pub(super) hash: TokenHash,
    /// The public id and hash of the secret before this one.
    pub(super) before: Option<(String, TokenHash)>,
}

/// A family of refresh tokens.
pub(super) struct Family {
    pub(super) session: Session,
    /// When the token in force stops working.
    pub(super) idle_until: Timestamp,
    pub(super) revoked_at: Option<Timestamp>,
}

impl Family {
    pub(super) fn ends(&self) -> Timestamp {
        let by_itself = self.idle_until.min(self.session.ends_at);
        self.revoked_at.unwrap_or(by_itself)
    }

    pub(super) fn lives(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && at < self.ends()
    }
}

/// One refresh token of a family.
pub(super) struct RefreshToken {
    pub(super) family: SessionId,
    /// When it was spent, and for which.
    pub(super) spent: Option<(Timestamp, TokenHash)>,
}

pub(super) const fn conflict() -> StoreError {
    StoreError::new(StoreErrorKind::Conflict)
}

impl People {
    /// Refuses who was let in by what has ended.
    pub(super) fn heed(&self, author: &Author) -> Result<(), StoreError> {
        let (_, user, key) = author.actor.parts();
        let account = user.and_then(|user| self.accounts.get(&user));
        let secured = account.and_then(|account| account.secured_at);
        let key = key.and_then(|key| self.keys.get(&key));
        if secured.is_some_and(|secured| author.at < secured)
            || key.is_some_and(|kept| kept.key.revoked_at.is_some())
        {
            return Err(StoreError::new(StoreErrorKind::Stale));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, event: Event) {
        self.events.insert(event.id, event);
    }

    /// Lets an account be found by an identity that is nobody's.
    pub(super) fn put_identity(&mut self, id: UserId, identity: Identity, author: &Author) {
        let event = Event::new(author, Action::IdentityLinked, Target::new("user", id));
        self.leave(event.made(&identity));
        self.identities.insert(identity, id);
    }

    /// Returns whether an account got an identity after a moment.
    pub(super) fn linked_after(&self, id: UserId, since: Timestamp) -> bool {
        let id = id.to_string();
        self.events.values().any(|event| {
            event.action == Action::IdentityLinked
                && event.target.id == id
                && event.author.at > since
        })
    }

    /// Finds an account that was not deleted.
    pub(super) fn account(&self, id: UserId) -> Option<&Account> {
        self.accounts.get(&id).filter(|account| !account.deleted)
    }

    /// Finds a person's account that was not deleted.
    pub(super) fn person(&self, id: UserId) -> Option<&Account> {
        self.account(id)
            .filter(|account| account.user.kind == UserKind::Person)
    }

    /// Finds an account that may do something.
    pub(super) fn enabled(&self, id: UserId) -> Option<&User> {
        let account = self.account(id)?;
        (!account.user.disabled).then_some(&account.user)
    }

    /// Finds a project that is not archived.
    pub(super) fn open(&self, id: ProjectId) -> Option<&Project> {
        let project = self.projects.get(&id)?;
        project.archived_at.is_none().then_some(project)
    }

    /// Returns whether somebody who can log in owns a project, `but` left aside.
    pub(super) fn has_owner_but(&self, project: ProjectId, but: UserId) -> bool {
        self.members.iter().any(|((id, user), (role, _))| {
            *id == project
                && *user != but
                && *role == ProjectRole::Owner
                && self.person(*user).is_some()
        })
    }

    /// Returns whether an enabled admin is there, `but` left aside.
    pub(super) fn has_admin_but(&self, but: UserId) -> bool {
        self.accounts.keys().any(|id| {
            *id != but
                && self
                    .enabled(*id)
                    .is_some_and(|user| user.role == Role::Admin)
        })
    }

    /// Returns the project that a subject's limits concern.
    fn project_of(&self, subject: Subject) -> Option<ProjectId> {
        match subject {
            Subject::Project(id) => Some(id).filter(|_| subject.each() != Some(subject)),
            Subject::Key(id) => self.keys.get(&id).map(|key| key.key.project),
            Subject::User(_) | Subject::Platform => None,
        }
    }

    pub(super) fn change_limits(
        &mut self,
        books: &mut MemoryBooks,
        changes: &[LimitChange],
    ) -> Result<Option<Vec<Standing>>, StoreError> {
        if !changes.iter().all(|change| books.may_change(change)) {
            return Ok(None);
        }
        if books.are_too_many(changes) {
            return Err(conflict());
        }
        let change = |change: &LimitChange| {
            let before = books.limit(&change.key).cloned();
            let standing = books.put_limit(change);
            if let Some(event) = change.event(before.as_ref()) {
                self.leave(event.of(self.project_of(change.key.subject)));
            }
            standing
        };
        Ok(Some(changes.iter().map(change).collect()))
    }

    pub(super) fn reset_usage(&mut self, books: &mut MemoryBooks, reset: &UsageReset) -> Standing {
        let lines = books.reset_usage(reset.subject, reset.author.at);
        if let Some(event) = reset.event(&lines) {
            self.leave(event.of(self.project_of(reset.subject)));
        }
        books.standing(reset.subject)
    }

    /// Ends the sessions that live of those asked for; returns how many.
    pub(super) fn end_sessions(
        &mut self,
        author: &Author,
        which: impl Fn(&Session) -> bool,
    ) -> u64 {
        let mut ended = 0;
        for family in self.sessions.values_mut() {
            if family.lives(author.at) && which(&family.session) {
                family.revoked_at = Some(author.at);
                let target = Target::new("session", family.session.id);
                let event =
                    Event::new(author, Action::SessionRevoked, target).gone(&family.session);
                self.events.insert(event.id, event);
                ended += 1;
            }
        }
        ended
    }

    /// Revokes those of the keys asked for that are not, and freezes their counters.
    pub(super) fn revoke_keys(
        &mut self,
        books: &mut MemoryBooks,
        author: &Author,
        which: impl Fn(&ApiKey) -> bool,
    ) {
        for Key { key, .. } in self.keys.values_mut() {
            if key.revoked_at.is_none() && which(key) {
                let before = key.clone();
                key.revoked_at = Some(author.at);
                books.set_frozen(Subject::Key(key.id), true);
                let event = Event::new(author, Action::KeyRevoked, Target::new("key", key.id))
                    .of(Some(key.project))
                    .change(&before, key);
                self.events.insert(event.id, event);
            }
        }
    }

    /// Closes a project that is not, with its keys and its invites.
    pub(super) fn archive(
        &mut self,
        books: &mut MemoryBooks,
        id: ProjectId,
        author: &Author,
    ) -> Option<Project> {
        let project = self.projects.get_mut(&id)?;
        if project.archived_at.is_some() {
            return None;
        }
        let before = project.clone();
        project.archived_at = Some(author.at);
        let after = project.clone();
        books.set_frozen(Subject::Project(id), true);
        let event = Event::new(author, Action::ProjectArchived, Target::new("project", id));
        self.leave(event.of(Some(id)).change(&before, &after));
        self.revoke_keys(books, author, |key| key.project == id);
        self.uninvite(id, author, |_| true);
        Some(after)
    }
}
