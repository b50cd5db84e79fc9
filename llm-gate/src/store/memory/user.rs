use crate::clock::Timestamp;
use crate::identity::{SessionId, UserId};
use crate::store::{
    Action, Author, Event, Identity, Linking, MAX_IDENTITIES, NewService, NewTicket, NewUser,
    PasswordRecord, StoreFuture, Target, Ticket, TicketPurpose, TokenHash, Unlinking, User,
    UserChange, UserKind, UserOutcome, UserStore,
};

use super::MemoryStore;
use super::people::conflict;

impl UserStore for MemoryStore {
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User> {
        self.write_both(|people, books| people.create_user(books, user))
    }

    fn create_service(&self, service: NewService) -> StoreFuture<'_, Option<User>> {
        self.write(|people| people.create_service(service))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        self.read(|people| people.account(id).map(|account| account.user.clone()))
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>> {
        self.read(|people| {
            let account = people.by_login(&login)?;
            Some(PasswordRecord {
                user: account.user.clone(),
                hash: account.hash.clone(),
            })
        })
    }

    fn user_by_identity(&self, identity: Identity) -> StoreFuture<'_, Option<User>> {
        self.read(|people| {
            let id = people.identities.get(&identity)?;
            people.account(*id).map(|account| account.user.clone())
        })
    }

    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>> {
        self.read(|people| {
            let there = people.accounts.values().filter(|account| !account.deleted);
            let mut users: Vec<User> = there
                .map(|account| &account.user)
                .filter(|user| user.kind == UserKind::Person)
                .filter(|user| after.is_none_or(|after| user.id > after))
                .cloned()
                .collect();
            users.sort_by_key(|user| user.id);
            users.truncate(limit as usize);
            users
        })
    }

    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool> {
        self.write(|people| {
            let account = people.accounts.get_mut(&id);
            let unchanged = account.filter(|account| account.hash.as_ref() == Some(&old));
            Ok(unchanged.map(|account| account.hash = Some(new)).is_some())
        })
    }

    fn next_password_hash(&self, after: String) -> StoreFuture<'_, Option<String>> {
        self.read(|people| {
            let hashes = people.accounts.values().filter_map(|one| one.hash.as_ref());
            hashes.filter(|hash| **hash > after).min().cloned()
        })
    }

    fn set_password(
        &self,
        id: UserId,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool> {
        self.write(|people| Ok(people.set_password(id, hash, keep, &author)))
    }

    fn change_password(
        &self,
        id: UserId,
        proven: Option<String>,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool> {
        self.write(|people| {
            let holds = people
                .person(id)
                .is_some_and(|account| account.hash == proven);
            Ok(holds && people.set_password(id, hash, keep, &author))
        })
    }

    fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        author: Author,
    ) -> StoreFuture<'_, UserOutcome> {
        self.write_both(|people, books| people.change_user(books, id, change, &author))
    }

    fn delete_user(&self, id: UserId, author: Author) -> StoreFuture<'_, UserOutcome> {
        self.write_both(|people, books| {
            people.heed(&author)?;
            Ok(people.delete_user(books, id, &author))
        })
    }

    fn link_identity(
        &self,
        id: UserId,
        identity: Identity,
        since: Option<Timestamp>,
        author: Author,
    ) -> StoreFuture<'_, Linking> {
        self.write(|people| {
            people.heed(&author)?;
            if people.person(id).is_none() {
                return Ok(Linking::Absent);
            }
            if since.is_some_and(|since| people.linked_after(id, since)) {
                return Ok(Linking::Over);
            }
            match people.identities.get(&identity) {
                Some(known) if *known != id => return Err(conflict()),
                Some(_) => return Ok(Linking::Done),
                None => {}
            }
            let known = people.identities.values().filter(|known| **known == id);
            if known.count() >= MAX_IDENTITIES {
                return Ok(Linking::Full);
            }
            people.put_identity(id, identity, &author);
            Ok(Linking::Done)
        })
    }

    fn unlink_identity(
        &self,
        id: UserId,
        identity: Identity,
        author: Author,
    ) -> StoreFuture<'_, Unlinking> {
        self.write(|people| {
            people.heed(&author)?;
            if people.identities.get(&identity) != Some(&id) {
                return Ok(Unlinking::Absent);
            }
            let ways = people.identities.values().filter(|known| **known == id);
            let password = people.person(id).is_some_and(|user| user.hash.is_some());
            if !password && ways.count() == 1 {
                return Ok(Unlinking::LastWay);
            }
            people.identities.remove(&identity);
            let event = Event::new(&author, Action::IdentityUnlinked, Target::new("user", id));
            people.leave(event.gone(&identity));
            Ok(Unlinking::Done)
        })
    }

    fn identities(&self, id: UserId) -> StoreFuture<'_, Vec<Identity>> {
        self.read(|people| {
            let all = people.identities.iter();
            let own = all.filter(|(_, user)| **user == id);
            let mut identities: Vec<Identity> = own.map(|(identity, _)| identity.clone()).collect();
            identities.sort_by(|one, other| {
                (&one.issuer, &one.subject).cmp(&(&other.issuer, &other.subject))
            });
            identities
        })
    }

    fn create_ticket(&self, ticket: NewTicket) -> StoreFuture<'_, ()> {
        self.write(|people| people.create_ticket(ticket))
    }

    fn ticket(
        &self,
        hash: TokenHash,
        purpose: TicketPurpose,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<Ticket>> {
        self.read(|people| people.good_ticket(hash, purpose, at))
    }

    fn verify_email(&self, ticket: TokenHash, author: Author) -> StoreFuture<'_, Option<User>> {
        self.write(|people| Ok(people.verify_email(ticket, &author)))
    }

    fn reset_password(
        &self,
        ticket: TokenHash,
        hash: String,
        author: Author,
    ) -> StoreFuture<'_, Option<User>> {
        self.write_both(|people, books| Ok(people.reset_password(books, ticket, hash, &author)))
    }

    fn secure_account(&self, id: UserId, author: Author) -> StoreFuture<'_, bool> {
        self.write_both(|people, books| Ok(people.secure(books, id, &author)))
    }
}
