//! How somebody is let in.

use std::collections::BTreeMap;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, ProjectId, Role, UserId};
use llm_gate::store::{Action, Author, Event, Invite, NewInvite, Target, TokenHash, User};

use super::people;
use super::queries::{invites, users};
use super::{Connection, batch, event};
use crate::error::Failure;
use crate::models::{ChangedUser, Hash, Id, InviteRow, PlaceRow};

pub(super) fn create(
    connection: &mut Connection,
    new: &NewInvite,
) -> Result<Option<Invite>, Failure> {
    people::lock(connection, &new.author)?;
    for project in new.projects.keys() {
        if people::open(connection, *project)?.is_none() {
            return Ok(None);
        }
    }
    let (row, places) = (InviteRow::from(new), PlaceRow::of(new));
    invites::insert(connection, &row)?;
    if !places.is_empty() {
        invites::insert_places(connection, &places)?;
    }
    let invite = row.invite(places)?;
    let target = Target::new("invite", invite.id);
    let event = Event::new(&new.author, Action::InviteCreated, target);
    event::leave(connection, &[event.of(invite.project()).made(&invite)])?;
    Ok(Some(invite))
}

/// Reads where invites lead.
pub(super) fn all(
    connection: &mut Connection,
    rows: Vec<InviteRow>,
) -> Result<Vec<Invite>, Failure> {
    let ids: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let mut places = BTreeMap::<Id, Vec<PlaceRow>>::new();
    for ids in ids.chunks(batch::CHUNK) {
        for place in invites::places(connection, ids)? {
            places.entry(place.invite_id).or_default().push(place);
        }
    }
    rows.into_iter()
        .map(|row| {
            let places = places.remove(&row.id).unwrap_or_default();
            row.invite(places)
        })
        .collect()
}

/// Reads where an invite leads that was found.
pub(super) fn found(
    connection: &mut Connection,
    row: Option<InviteRow>,
) -> Result<Option<Invite>, Failure> {
    Ok(all(connection, Vec::from_iter(row))?.pop())
}

/// Reads an invite that somebody with this address can take up.
pub(super) fn good(
    connection: &mut Connection,
    token: TokenHash,
    email: Option<&str>,
    at: Timestamp,
) -> Result<Option<Invite>, Failure> {
    let row = invites::by_token(connection, Hash(token))?;
    let invite = found(connection, row)?;
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
    let mut roles = BTreeMap::new();
    for project in invite.projects.keys() {
        if let Some(member) = people::member(connection, *project, maker)? {
            roles.insert(*project, member.role);
        }
    }
    Ok(invite.is_for(&account, |project| roles.get(&project).copied()))
}

/// Marks an invite as taken up, makes the user an admin of the platform where that is what it grants, and a member of its
/// projects; `None` where somebody else was faster.
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
    let event = event.of(after.project()).change(&before, &after);
    event::leave(connection, &[event])?;
    let user = promote(connection, user, after.role, author)?;
    for (&project, &role) in &after.projects {
        let member = people::member(connection, project, user.id)?;
        let role = member.map_or(role, |member| member.role.higher(role));
        people::join(connection, project, user.clone(), role, author)?;
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
    let id = Id::from(id);
    match seen(connection, project, id)? {
        Some(invite) if invite.accepted.is_none() => {}
        _ => return Ok(None),
    }
    match project {
        Some(project) => uninvite(connection, project, Some(id), author)?,
        None => {
            let rows = invites::revoke(connection, id, author.at.as_micros())?;
            withdrawn(connection, rows, author)?;
        }
    }
    seen(connection, project, id)
}

/// Reads an invite as those see it who manage a project, if it is to that; or as it is.
fn seen(
    connection: &mut Connection,
    project: Option<ProjectId>,
    id: Id,
) -> Result<Option<Invite>, Failure> {
    let Some(project) = project else {
        let row = invites::by_id(connection, id)?;
        return found(connection, row);
    };
    let found = invites::in_project(connection, project.into(), id)?;
    found.map(|(row, place)| place.seen(row)).transpose()
}

/// Takes a project out of its invites that are not taken up, or of one; those that lead nowhere else are withdrawn.
pub(super) fn uninvite(
    connection: &mut Connection,
    project: ProjectId,
    only: Option<Id>,
    author: &Author,
) -> Result<(), Failure> {
    let at = author.at.as_micros();
    let rows = invites::revoke_of_project(connection, project.into(), only, at)?;
    withdrawn(connection, rows, author)?;
    let mut rows = invites::take_out(connection, project.into(), only, at)?;
    rows.sort_unstable_by_key(|row| row.invite_id);
    let mut done = Vec::with_capacity(rows.len());
    for row in rows {
        let (id, role) = (row.invite_id.into(), row.role()?);
        done.push(Invite::taken_out(id, project, role, author));
    }
    event::leave(connection, &done)
}

/// Tells of invites that were withdrawn.
pub(super) fn withdrawn(
    connection: &mut Connection,
    mut rows: Vec<InviteRow>,
    author: &Author,
) -> Result<(), Failure> {
    rows.sort_unstable_by_key(|row| row.id);
    let mut done = Vec::with_capacity(rows.len());
    for after in all(connection, rows)? {
        let before = Invite {
            revoked_at: None,
            ..after.clone()
        };
        let target = Target::new("invite", after.id);
        let event = Event::new(author, Action::InviteRevoked, target);
        done.push(event.of(after.project()).change(&before, &after));
    }
    event::leave(connection, &done)
}
