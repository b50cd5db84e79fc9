use crate::clock::Timestamp;
use crate::identity::{InviteId, ProjectId, Role, UserId};
use crate::store::{Action, Author, Event, Invite, NewInvite, StoreError, Target, TokenHash};

use super::people::{People, conflict};

impl People {
    pub(super) fn create_invite(&mut self, new: NewInvite) -> Result<Option<Invite>, StoreError> {
        self.heed(&new.author)?;
        let mut hashes = self.invites.values().map(|(hash, _)| hash);
        if self.invites.contains_key(&new.id) || hashes.any(|hash| *hash == new.hash) {
            return Err(conflict());
        }
        let project = new.project.map(|(project, _)| project);
        if project.is_some_and(|project| self.open(project).is_none()) {
            return Ok(None);
        }
        let invite = Invite {
            id: new.id,
            email: new.email,
            role: new.role,
            project: new.project,
            created_at: new.author.at,
            created_by: new.author.actor.parts().1,
            expires_at: new.expires_at,
            accepted: None,
            revoked_at: None,
        };
        let target = Target::new("invite", invite.id);
        let event = Event::new(&new.author, Action::InviteCreated, target);
        self.leave(event.of(project).made(&invite));
        self.invites.insert(invite.id, (new.hash, invite.clone()));
        Ok(Some(invite))
    }

    pub(super) fn invite_by_token(&self, token: TokenHash) -> Option<&Invite> {
        let mut invites = self.invites.values();
        invites
            .find(|(hash, _)| *hash == token)
            .map(|(_, invite)| invite)
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
        let role = invite.project.and_then(|(project, _)| {
            let (role, _) = self.members.get(&(project, maker))?;
            Some(*role)
        });
        let maker = self.account(maker);
        maker.is_some_and(|maker| invite.is_for(&maker.user, role))
    }

    /// Marks an invite as taken up, makes the user an admin of the platform where that is what it grants, and a member of
    /// its project.
    pub(super) fn take_up(
        &mut self,
        id: InviteId,
        user: UserId,
        author: &Author,
    ) -> Option<Invite> {
        let (_, invite) = self.invites.get_mut(&id)?;
        let before = invite.clone();
        invite.accepted = Some((author.at, user));
        let after = invite.clone();
        let project = after.project.map(|(project, _)| project);
        let event = Event::new(author, Action::InviteAccepted, Target::new("invite", id));
        self.leave(event.of(project).change(&before, &after));
        self.promote(user, after.role, author);
        if let Some((project, role)) = after.project {
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
        let (_, invite) = self.invites.get(&id)?;
        let in_project = invite.project.map(|(project, _)| project);
        if invite.accepted.is_some() || (project.is_some() && project != in_project) {
            return None;
        }
        self.revoke_invites(author, |invite| invite.id == id);
        self.invites.get(&id).map(|(_, invite)| invite.clone())
    }
}
