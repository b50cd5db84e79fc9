//! How passwords are set and addresses are confirmed, by login and by ticket.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{SessionId, UserId};
use llm_gate::store::{
    Action, Author, Event, NewTicket, Target, Ticket, TicketPurpose, TokenHash, User,
};

use super::people;
use super::queries::{tickets, users};
use super::{Connection, batch, event};
use crate::error::Failure;
use crate::models::{ChangedUser, Hash, TicketRow};

pub(super) fn create(connection: &mut Connection, new: NewTicket) -> Result<(), Failure> {
    people::lock(connection, &new.author)?;
    // Who was deleted meanwhile has no use for it.
    if new.is_of_use() && people::person(connection, new.user)?.is_some() {
        let event = new.event();
        tickets::insert(connection, &TicketRow::from(new))?;
        if let Some(event) = event {
            event::leave(connection, &[event])?;
        }
    }
    Ok(())
}

/// Reads a ticket, if it is good.
pub(super) fn good(
    connection: &mut Connection,
    hash: TokenHash,
    purpose: TicketPurpose,
    at: Timestamp,
) -> Result<Option<Ticket>, Failure> {
    let found = tickets::user(connection, Hash(hash), purpose.as_str(), at.as_micros())?;
    let Some((row, mailed)) = found else {
        return Ok(None);
    };
    let user = row.try_into()?;
    Ok(Some(Ticket { user, mailed }))
}

/// Uses a ticket up, if it is good, and all others of its purpose with it. Of those who come at once one finds it there.
fn take(
    connection: &mut Connection,
    hash: TokenHash,
    purpose: TicketPurpose,
    at: Timestamp,
) -> Result<Option<Ticket>, Failure> {
    let Some(ticket) = good(connection, hash, purpose, at)? else {
        return Ok(None);
    };
    if tickets::take(connection, Hash(hash))? == 0 {
        return Ok(None);
    }
    tickets::delete_of_purpose(connection, ticket.user.id.into(), purpose.as_str())?;
    Ok(Some(ticket))
}

pub(super) fn verify_email(
    connection: &mut Connection,
    ticket: TokenHash,
    author: &Author,
) -> Result<Option<User>, Failure> {
    batch::lock_people(connection)?;
    match take(connection, ticket, TicketPurpose::VerifyEmail, author.at)? {
        Some(ticket) => confirm(connection, ticket.user, author).map(Some),
        None => Ok(None),
    }
}

pub(super) fn reset_password(
    connection: &mut Connection,
    ticket: TokenHash,
    hash: &str,
    author: &Author,
) -> Result<Option<User>, Failure> {
    batch::lock_people(connection)?;
    let purpose = TicketPurpose::ResetPassword;
    let Some(Ticket { user, mailed }) = take(connection, ticket, purpose, author.at)? else {
        return Ok(None);
    };
    if mailed && !user.email_verified {
        people::disown(connection, &user, author)?;
    }
    put_password(connection, user.id, hash, None, author)?;
    if mailed {
        confirm(connection, user, author).map(Some)
    } else {
        Ok(Some(user))
    }
}

/// Takes an account back once more, from whoever came between what a reset has looked at and its commit.
pub(super) fn secure(
    connection: &mut Connection,
    id: UserId,
    author: &Author,
) -> Result<bool, Failure> {
    batch::lock_people(connection)?;
    let Some(user) = people::person(connection, id)? else {
        return Ok(false);
    };
    people::end_sessions(connection, id, None, author)?;
    people::disown(connection, &user, author)?;
    Ok(true)
}

/// Notes that a user reads its address.
fn confirm(connection: &mut Connection, before: User, author: &Author) -> Result<User, Failure> {
    if before.email_verified {
        return Ok(before);
    }
    let after = User {
        email_verified: true,
        ..before.clone()
    };
    users::change(connection, after.id.into(), &ChangedUser::from(&after))?;
    let event = Event::new(author, Action::EmailVerified, Target::new("user", after.id));
    event::leave(connection, &[event.change(&before, &after)])?;
    Ok(after)
}

pub(super) fn set_password(
    connection: &mut Connection,
    id: UserId,
    hash: &str,
    keep: Option<SessionId>,
    author: &Author,
) -> Result<bool, Failure> {
    batch::lock_people(connection)?;
    put_password(connection, id, hash, keep, author)
}

/// Sets a password in place of the one that was proven, unless there is another by now.
pub(super) fn change_password(
    connection: &mut Connection,
    id: UserId,
    proven: Option<&str>,
    hash: &str,
    keep: Option<SessionId>,
    author: &Author,
) -> Result<bool, Failure> {
    batch::lock_people(connection)?;
    let changed = match proven {
        Some(proven) => users::replace_hash(connection, id.into(), proven, hash)?,
        None => users::set_first_hash(connection, id.into(), hash)?,
    };
    if changed == 0 {
        return Ok(false);
    }
    another_password(connection, id, keep, author)?;
    Ok(true)
}

fn put_password(
    connection: &mut Connection,
    id: UserId,
    hash: &str,
    keep: Option<SessionId>,
    author: &Author,
) -> Result<bool, Failure> {
    if users::set_hash(connection, id.into(), hash)? == 0 {
        return Ok(false);
    }
    another_password(connection, id, keep, author)?;
    Ok(true)
}

/// Ends what does not outlive a password, and tells of the new one.
fn another_password(
    connection: &mut Connection,
    id: UserId,
    keep: Option<SessionId>,
    author: &Author,
) -> Result<(), Failure> {
    let purpose = TicketPurpose::ResetPassword.as_str();
    tickets::delete_of_purpose(connection, id.into(), purpose)?;
    let event = Event::new(author, Action::PasswordChanged, Target::new("user", id));
    event::leave(connection, &[event])?;
    people::end_sessions(connection, id, keep, author)?;
    Ok(())
}
