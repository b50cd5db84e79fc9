use crate::clock::Timestamp;
use crate::identity::{SessionId, UserId};
use crate::store::{
    Action, Author, Event, Identity, MemoryBooks, NewTicket, StoreError, Target, Ticket,
    TicketPurpose, TokenHash, User,
};

use super::people::{People, conflict};

impl People {
    pub(super) fn create_ticket(&mut self, new: NewTicket) -> Result<(), StoreError> {
        self.heed(&new.author)?;
        if self.tickets.contains_key(&new.hash) {
            return Err(conflict());
        }
        // Who was deleted meanwhile has no use for it.
        if new.is_of_use() && self.person(new.user).is_some() {
            if let Some(event) = new.event() {
                self.leave(event);
            }
            self.tickets.insert(new.hash, new);
        }
        Ok(())
    }

    fn void_tickets(&mut self, user: UserId, purpose: TicketPurpose) {
        self.tickets
            .retain(|_, ticket| ticket.user != user || ticket.purpose != purpose);
    }

    /// Returns a ticket, if it is good.
    pub(super) fn good_ticket(
        &self,
        hash: TokenHash,
        purpose: TicketPurpose,
        at: Timestamp,
    ) -> Option<Ticket> {
        let ticket = self.tickets.get(&hash)?;
        let user = self.enabled(ticket.user)?;
        let good = ticket.purpose == purpose
            && at < ticket.expires_at
            && (ticket.email.is_none() || user.email == ticket.email);
        good.then(|| Ticket {
            user: user.clone(),
            mailed: ticket.email.is_some(),
        })
    }

    pub(super) fn verify_email(&mut self, ticket: TokenHash, author: &Author) -> Option<User> {
        let ticket = self.good_ticket(ticket, TicketPurpose::VerifyEmail, author.at)?;
        let id = ticket.user.id;
        self.void_tickets(id, TicketPurpose::VerifyEmail);
        self.confirm(id, author)
    }

    pub(super) fn reset_password(
        &mut self,
        books: &mut MemoryBooks,
        ticket: TokenHash,
        hash: String,
        author: &Author,
    ) -> Option<User> {
        let purpose = TicketPurpose::ResetPassword;
        let Ticket { user, mailed } = self.good_ticket(ticket, purpose, author.at)?;
        if mailed && !user.email_verified {
            self.disown(books, user.id, author);
        }
        self.set_password(user.id, hash, None, author);
        if mailed {
            self.confirm(user.id, author)
        } else {
            Some(user)
        }
    }

    /// Ends what others may have made of an account: its keys and identities, who else is in its personal project, and
    /// whom it has invited. What they have begun before is refused from then on.
    fn disown(&mut self, books: &mut MemoryBooks, id: UserId, author: &Author) {
        let Some(own) = self
            .account(id)
            .map(|account| account.user.personal_project)
        else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(&id) {
            account.secured_at = Some(author.at);
        }
        self.revoke_keys(books, author, |key| key.user == id);
        self.unlink_all(id, author);
        let inside = self.members.keys();
        let others: Vec<User> = inside
            .filter(|(project, user)| *project == own && *user != id)
            .filter_map(|(_, user)| Some(self.account(*user)?.user.clone()))
            .collect();
        for other in others {
            self.put_out(books, own, &other, author);
        }
        self.revoke_invites(author, |invite| invite.created_by == Some(id));
        self.uninvite(own, author, |_| true);
    }

    pub(super) fn secure(&mut self, books: &mut MemoryBooks, id: UserId, author: &Author) -> bool {
        if self.person(id).is_none() {
            return false;
        }
        self.end_sessions(author, |session| session.user == id);
        self.disown(books, id, author);
        true
    }

    pub(super) fn unlink_all(&mut self, id: UserId, author: &Author) {
        let all = self.identities.iter();
        let own = all.filter(|(_, user)| **user == id);
        let mut own: Vec<Identity> = own.map(|(identity, _)| identity.clone()).collect();
        own.sort_by(|one, other| (&one.issuer, &one.subject).cmp(&(&other.issuer, &other.subject)));
        for identity in own {
            self.identities.remove(&identity);
            let event = Event::new(author, Action::IdentityUnlinked, Target::new("user", id));
            self.leave(event.gone(&identity));
        }
    }

    /// Notes that a user reads its address.
    fn confirm(&mut self, id: UserId, author: &Author) -> Option<User> {
        let user = &mut self.accounts.get_mut(&id)?.user;
        let before = user.clone();
        user.email_verified = true;
        let after = user.clone();
        if before != after {
            let event = Event::new(author, Action::EmailVerified, Target::new("user", id));
            self.leave(event.change(&before, &after));
        }
        Some(after)
    }

    pub(super) fn set_password(
        &mut self,
        id: UserId,
        hash: String,
        keep: Option<SessionId>,
        author: &Author,
    ) -> bool {
        if self.person(id).is_none() {
            return false;
        }
        if let Some(account) = self.accounts.get_mut(&id) {
            account.hash = Some(hash);
        }
        self.void_tickets(id, TicketPurpose::ResetPassword);
        let target = Target::new("user", id);
        self.leave(Event::new(author, Action::PasswordChanged, target));
        self.end_sessions(author, |session| {
            session.user == id && Some(session.id) != keep
        });
        true
    }
}
