//! How somebody is let in.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, ProjectId, Role, UserId};
use llm_gate::store::{Action, Author, Event, Invite, NewInvite, Target, TokenHash, User};

use super::people;
use super::queries::{invites, users};
use super::{Connection, event};
use crate::error::Failure;
use crate::models::{ChangedUser, Hash, Id, InviteRow};

pub(super) fn create(
    connection: &mut Connection,
    new: &NewInvite,
) -> Result<Option<Invite>, Failure> {
    people::lock(connection, &new.author)?;
    let project = new.project.map(|(project, _)| project);
    if let Some(project) = project
        && people::open(connection, project)?.is_none()
    {
        return Ok(None);
    }
    let row = InviteRow::from(new);
    invites::insert(connection, &row)?;
    let invite = Invite::try_from(row)?;
    let target = Target::new("invite", invite.id);
    let event = Event::new(&new.author, Action::InviteCreated, target);
    event::leave(connection, &[event.of(project).made(&invite)])?;
    Ok(Some(invite))
}

/// Reads an invite that somebody with this address can take up.
pub(super) fn good(
    connection: &mut Connection,
    token: TokenHash,
    email: Option<&str>,
    at: Timestamp,
) -> Result<Option<Invite>, Failure> {
    let row = invites::by_token(connection, Hash(token))?;
    let invite = row.map(Invite::try_from).transpose()?;
    match invite.filter(|invite| invite.is_open(at) && email == Some(&invite.email)) {
        Some(invite) if stands(connection, &invite)? => Ok(Some(invite)),
        _ => Ok(None),
    }
}

/// Returns whether who has made an invite may still make it.
fn stands(connection: &mut Connection, invite: &Invite) -> Result<bool, Failure> {
    let Some(maker) = invite.created_by else {
        return Ok(true);
    };
    let Some(account) = people::account(connection, maker)? else {
        return Ok(false);
    };
    let member = match invite.project {
        Some((project, _)) => people::member(connection, project, maker)?,
        None => None,
    };
    Ok(invite.is_for(&account, member.map(|member| member.role)))
}

/// Marks an invite as taken up, makes the user an admin of the platform where that is what it grants, and a member of its
/// project; `None` where somebody else was faster.
pub(super) fn take_up(
    connection: &mut Connection,
    before: Invite,
    user: User,
    author: &Author,
) -> Result<Option<Invite>, Failure> {
    let (id, at) = (before.id.into(), author.at.as_micros());
    if invites::accept(connection, id, user.id.into(), at)? == 0 {
        return Ok(None);
    }
    let after = Invite {
        accepted: Some((author.at, user.id)),
        ..before.clone()
    };
    let target = Target::new("invite", after.id);
    let event = Event::new(author, Action::InviteAccepted, target);
    let project = after.project.map(|(project, _)| project);
    event::leave(connection, &[event.of(project).change(&before, &after)])?;
    let user = promote(connection, user, after.role, author)?;
    if let Some((project, role)) = after.project {
        let member = people::member(connection, project, user.id)?;
        let role = member.map_or(role, |member| member.role.higher(role));
        people::join(connection, project, user, role, author)?;
    }
    Ok(Some(after))
}

/// Gives an account the role that an invite grants, unless it has it or may more.
fn promote(
    connection: &mut Connection,
    before: User,
    role: Role,
    author: &Author,
) -> Result<User, Failure> {
    if role != Role::Admin || before.role == Role::Admin {
        return Ok(before);
    }
    let after = User {
        role,
        ..before.clone()
    };
    users::change(connection, after.id.into(), &ChangedUser::from(&after))?;
    let event = Event::new(author, Action::UserChanged, Target::new("user", after.id));
    event::leave(connection, &[event.change(&before, &after)])?;
    Ok(after)
}

pub(super) fn accept(
    connection: &mut Connection,
    token: TokenHash,
    user: UserId,
    author: &Author,
) -> Result<Option<Invite>, Failure> {
    people::lock(connection, author)?;
    let user = people::account(connection, user)?;
    let Some(user) = user.filter(|user| !user.disabled && user.email_verified) else {
        return Ok(None);
    };
    match good(connection, token, user.email.as_deref(), author.at)? {
        Some(invite) => take_up(connection, invite, user, author),
        None => Ok(None),
    }
}

pub(super) fn revoke(
    connection: &mut Connection,
    project: Option<ProjectId>,
    id: InviteId,
    author: &Author,
) -> Result<Option<Invite>, Failure> {
    people::lock(connection, author)?;
    let (project, id) = (project.map(Id::from), Id::from(id));
    if invites::by_id(connection, project, id)?.is_none() {
        return Ok(None);
    }
    let revoked = invites::revoke(connection, id, author.at.as_micros())? == 1;
    let row = invites::by_id(connection, project, id)?;
    let row = row.filter(|row| row.accepted_at.is_none());
    if let (true, Some(row)) = (revoked, row.clone()) {
        people::withdrawn(connection, vec![row], author)?;
    }
    row.map(Invite::try_from).transpose()
}
