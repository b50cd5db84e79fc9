use llm_gate::clock::Timestamp;
use llm_gate::identity::{SessionId, UserId};
use llm_gate::store::{
    Action, Author, Event, Identity, Linking, MAX_IDENTITIES, NewService, NewTicket, NewUser,
    PasswordRecord, StoreFuture, Target, Ticket, TicketPurpose, TokenHash, Unlinking, User,
    UserChange, UserOutcome, UserStore,
};
use uuid::Uuid;

use super::queries::{events, identities, users};
use super::{Connection, Store, account, event, people, ticket};
use crate::error::Failure;
use crate::models::{Id, IdentityRow, text};

fn link(
    connection: &mut Connection,
    id: UserId,
    identity: &Identity,
    since: Option<Timestamp>,
    author: &Author,
) -> Result<Linking, Failure> {
    people::lock(connection, author)?;
    if people::person(connection, id)?.is_none() {
        return Ok(Linking::Absent);
    }
    let linked = Action::IdentityLinked.as_str();
    if let Some(since) = since
        && events::is_after(connection, linked, &id.to_string(), since.as_micros())?
    {
        return Ok(Linking::Over);
    }
    let row = IdentityRow::new(identity, id.into(), author.at);
    match identities::user(connection, &row.issuer, &row.subject)? {
        Some(known) if known.id == row.user_id => return Ok(Linking::Done),
        // Another account's: the index refuses it.
        Some(_) => {}
        None if identities::of_user(connection, row.user_id)?.len() >= MAX_IDENTITIES => {
            return Ok(Linking::Full);
        }
        None => {}
    }
    people::put_identity(connection, id, identity, author)?;
    Ok(Linking::Done)
}

fn unlink(
    connection: &mut Connection,
    id: UserId,
    identity: &Identity,
    author: &Author,
) -> Result<Unlinking, Failure> {
    people::lock(connection, author)?;
    let row = IdentityRow::new(identity, id.into(), author.at);
    let ways = identities::of_user(connection, row.user_id)?;
    let is_it = |known: &IdentityRow| known.issuer == row.issuer && known.subject == row.subject;
    if !ways.iter().any(is_it) {
        return Ok(Unlinking::Absent);
    }
    let user = users::by_id(connection, row.user_id)?;
    let password = user.is_some_and(|user| user.password_hash.is_some());
    if !password && ways.len() == 1 {
        return Ok(Unlinking::LastWay);
    }
    identities::delete(connection, &row)?;
    let event = Event::new(author, Action::IdentityUnlinked, Target::new("user", id));
    event::leave(connection, &[event.gone(identity)])?;
    Ok(Unlinking::Done)
}

impl UserStore for Store {
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User> {
        let desk = self.desk();
        self.write(move |connection| account::create(connection, desk, &user))
    }

    fn create_service(&self, service: NewService) -> StoreFuture<'_, Option<User>> {
        self.write(move |connection| account::create_service(connection, &service))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        self.read(move |connection| people::account(connection, id))
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>> {
        self.read(move |connection| {
            users::by_login(connection, &text(login.clone()))?
                .map(PasswordRecord::try_from)
                .transpose()
        })
    }

    fn user_by_identity(&self, identity: Identity) -> StoreFuture<'_, Option<User>> {
        self.read(move |connection| {
            let Identity { issuer, subject } = identity.clone();
            identities::user(connection, &text(issuer), &text(subject))?
                .map(User::try_from)
                .transpose()
        })
    }

    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>> {
        self.read(move |connection| {
            // Nobody has the nil identifier, so all come after it.
            let after = after.map_or(Id(Uuid::nil()), Id::from);
            users::after(connection, after, limit)?
                .into_iter()
                .map(User::try_from)
                .collect()
        })
    }

    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            Ok(users::replace_hash(connection, id.into(), &old, &new)? == 1)
        })
    }

    fn next_password_hash(&self, after: String) -> StoreFuture<'_, Option<String>> {
        self.read(move |connection| Ok(users::next_hash(connection, &after)?))
    }

    fn set_password(
        &self,
        id: UserId,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool> {
        self.write(move |connection| ticket::set_password(connection, id, &hash, keep, &author))
    }

    fn change_password(
        &self,
        id: UserId,
        proven: Option<String>,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            ticket::change_password(connection, id, proven.as_deref(), &hash, keep, &author)
        })
    }

    fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        author: Author,
    ) -> StoreFuture<'_, UserOutcome> {
        self.write(move |connection| account::change(connection, id, &change, &author))
    }

    fn delete_user(&self, id: UserId, author: Author) -> StoreFuture<'_, UserOutcome> {
        self.write(move |connection| account::delete(connection, id, &author))
    }

    fn link_identity(
        &self,
        id: UserId,
        identity: Identity,
        since: Option<Timestamp>,
        author: Author,
    ) -> StoreFuture<'_, Linking> {
        self.write(move |connection| link(connection, id, &identity, since, &author))
    }

    fn unlink_identity(
        &self,
        id: UserId,
        identity: Identity,
        author: Author,
    ) -> StoreFuture<'_, Unlinking> {
        self.write(move |connection| unlink(connection, id, &identity, &author))
    }

    fn identities(&self, id: UserId) -> StoreFuture<'_, Vec<Identity>> {
        self.read(move |connection| {
            let rows = identities::of_user(connection, id.into())?;
            Ok(rows.into_iter().map(Identity::from).collect())
        })
    }

    fn create_ticket(&self, ticket: NewTicket) -> StoreFuture<'_, ()> {
        self.write(move |connection| ticket::create(connection, ticket.clone()))
    }

    fn ticket(
        &self,
        hash: TokenHash,
        purpose: TicketPurpose,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<Ticket>> {
        self.read(move |connection| ticket::good(connection, hash, purpose, at))
    }

    fn verify_email(&self, ticket: TokenHash, author: Author) -> StoreFuture<'_, Option<User>> {
        self.write(move |connection| ticket::verify_email(connection, ticket, &author))
    }

    fn reset_password(
        &self,
        ticket: TokenHash,
        hash: String,
        author: Author,
    ) -> StoreFuture<'_, Option<User>> {
        self.write(move |connection| ticket::reset_password(connection, ticket, &hash, &author))
    }

    fn secure_account(&self, id: UserId, author: Author) -> StoreFuture<'_, bool> {
        self.write(move |connection| ticket::secure(connection, id, &author))
    }
}
