use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::identity::{InviteId, ProjectId, Role, UserId};
use crate::store::{
    Action, Author, Event, Invite, NewInvite, ProjectRole, StoreError, Target, TokenHash,
};

use super::people::{People, conflict};

/// An invite with its secret.
pub(super) struct Kept {
    hash: TokenHash,
    pub(super) invite: Invite,
    /// The projects that it does not lead into any more, and since when.
    taken_out: BTreeMap<ProjectId, (ProjectRole, Timestamp)>,
}

impl Kept {
    /// Returns it as those see it who manage a project, if it is to that; or as it is.
    pub(super) fn seen(&self, project: Option<ProjectId>) -> Option<Invite> {
        let invite = self.invite.clone();
        let Some(project) = project else {
            return Some(invite);
        };
        let place = match invite.projects.get(&project) {
            Some(role) => (*role, None),
            None => self
                .taken_out
                .get(&project)
                .map(|(role, at)| (*role, Some(*at)))?,
        };
        Some(invite.within(project, place.0, place.1))
    }

    /// Returns whether it is neither taken up nor withdrawn.
    const fn stands(&self) -> bool {
        self.invite.accepted.is_none() && self.invite.revoked_at.is_none()
    }
}

impl People {
    pub(super) fn create_invite(&mut self, new: NewInvite) -> Result<Option<Invite>, StoreError> {
        self.heed(&new.author)?;
        let mut hashes = self.invites.values().map(|kept| kept.hash);
        if self.invites.contains_key(&new.id) || hashes.any(|hash| hash == new.hash) {
            return Err(conflict());
        }
        let mut projects = new.projects.keys();
        if projects.any(|project| self.open(*project).is_none()) {
            return Ok(None);
        }
        let invite = Invite {
            id: new.id,
            email: new.email,
            role: new.role,
            projects: new.projects,
            created_at: new.author.at,
            created_by: new.author.actor.parts().1,
            expires_at: new.expires_at,
            accepted: None,
            revoked_at: None,
        };
        let target = Target::new("invite", invite.id);
        let event = Event::new(&new.author, Action::InviteCreated, target);
        self.leave(event.of(invite.project()).made(&invite));
        let kept = Kept {
            hash: new.hash,
            invite: invite.clone(),
            taken_out: BTreeMap::new(),
        };
        self.invites.insert(invite.id, kept);
        Ok(Some(invite))
    }

    pub(super) fn invite_by_token(&self, token: TokenHash) -> Option<&Invite> {
        let mut invites = self.invites.values();
        invites
            .find(|kept| kept.hash == token)
            .map(|kept| &kept.invite)
    }

    /// Finds an invite that somebody with this address can take up.
    pub(super) fn good_invite(
        &self,
        token: TokenHash,
        email: Option<&str>,
        at: Timestamp,
    ) -> Option<Invite> {
        let invite = self.invite_by_token(token)?;
        let good = invite.is_open(at) && email == Some(&invite.email) && self.stands(invite);
        good.then(|| invite.clone())
    }

    /// Returns whether who has made an invite may still make it.
    fn stands(&self, invite: &Invite) -> bool {
        let Some(maker) = invite.created_by else {
            return true;
        };
        let role_in = |project| {
            let (role, _) = self.members.get(&(project, maker))?;
            Some(*role)
        };
        let account = self.account(maker);
        account.is_some_and(|maker| invite.is_for(&maker.user, role_in))
    }

    /// Marks an invite as taken up, makes the user an admin of the platform where that is what it grants, and a member of
    /// its projects.
    pub(super) fn take_up(
        &mut self,
        id: InviteId,
        user: UserId,
        author: &Author,
    ) -> Option<Invite> {
        let invite = &mut self.invites.get_mut(&id)?.invite;
        let before = invite.clone();
        invite.accepted = Some((author.at, user));
        let after = invite.clone();
        let event = Event::new(author, Action::InviteAccepted, Target::new("invite", id));
        self.leave(event.of(after.project()).change(&before, &after));
        self.promote(user, after.role, author);
        for (&project, &role) in &after.projects {
            let now = self.members.get(&(project, user)).map(|(role, _)| *role);
            self.join(
                project,
                user,
                now.map_or(role, |now| now.higher(role)),
                author,
            );
        }
        Some(after)
    }

    /// Gives an account the role that an invite grants, unless it has it or may more.
    fn promote(&mut self, id: UserId, role: Role, author: &Author) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        if role == Role::Admin && account.user.role != Role::Admin {
            let before = account.user.clone();
            account.user.role = role;
            let after = account.user.clone();
            let event = Event::new(author, Action::UserChanged, Target::new("user", id));
            self.leave(event.change(&before, &after));
        }
    }

    pub(super) fn accept_invite(
        &mut self,
        token: TokenHash,
        user: UserId,
        author: &Author,
    ) -> Option<Invite> {
        let account = self.enabled(user)?;
        let email = account.email.as_deref().filter(|_| account.email_verified);
        let invite = self.good_invite(token, email, author.at)?;
        self.take_up(invite.id, user, author)
    }

    pub(super) fn revoke_invite(
        &mut self,
        project: Option<ProjectId>,
        id: InviteId,
        author: &Author,
    ) -> Option<Invite> {
        let seen = self.invites.get(&id)?.seen(project)?;
        if seen.accepted.is_some() {
            return None;
        }
        match project {
            Some(project) => self.uninvite(project, author, |invite| invite.id == id),
            None => self.revoke_invites(author, |invite| invite.id == id),
        }
        self.invites.get(&id)?.seen(project)
    }

    /// Withdraws those of the invites asked for that are not taken up or withdrawn.
    pub(super) fn revoke_invites(&mut self, author: &Author, which: impl Fn(&Invite) -> bool) {
        for kept in self.invites.values_mut() {
            if kept.stands() && which(&kept.invite) {
                let invite = &mut kept.invite;
                let before = invite.clone();
                invite.revoked_at = Some(author.at);
                let target = Target::new("invite", invite.id);
                let event = Event::new(author, Action::InviteRevoked, target);
                let event = event.of(invite.project()).change(&before, invite);
                self.events.insert(event.id, event);
            }
        }
    }

    /// Takes a project out of those of its invites asked for that are not taken up or withdrawn; one that leads nowhere
    /// else is withdrawn.
    pub(super) fn uninvite(
        &mut self,
        project: ProjectId,
        author: &Author,
        which: impl Fn(&Invite) -> bool,
    ) {
        self.revoke_invites(author, |invite| {
            which(invite) && invite.project() == Some(project)
        });
        for kept in self.invites.values_mut() {
            if kept.stands()
                && which(&kept.invite)
                && let Some(role) = kept.invite.projects.remove(&project)
            {
                kept.taken_out.insert(project, (role, author.at));
                let event = Invite::taken_out(kept.invite.id, project, role, author);
                self.events.insert(event.id, event);
            }
        }
    }
}
