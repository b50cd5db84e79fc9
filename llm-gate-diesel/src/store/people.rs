//! What accounts and projects take with them when they go. Each part runs in the transaction of the change, after
//! `batch::lock_people`.

use std::collections::BTreeSet;

use llm_gate::identity::{KeyId, ProjectId, SessionId, Subject, UserId};
use llm_gate::store::{
    Action, ApiKey, Author, Event, Identity, Member, Project, ProjectRole, Session, Target, User,
    UserKind,
};

use super::queries::{identities, invites, keys, members, projects, sessions, tickets, users};
use super::{Connection, batch, event, invite, ledger};
use crate::error::Failure;
use crate::models::{ApiKeyRow, Id, IdentityRow, LoginRow, NewMemberRow, SessionRow};

/// Keeps accounts, projects, members, invites and keys as they are for this transaction, unless what `author` was let in
/// by has ended: a request looks that up before it waits here.
pub(super) fn lock(connection: &mut Connection, author: &Author) -> Result<(), Failure> {
    batch::lock_people(connection)?;
    let (_, user, key) = author.actor.parts();
    if let Some(user) = user
        && let Some(secured) = users::secured_at(connection, user.into())?
        && author.at.as_micros() < secured
    {
        return Err(Failure::stale("the account was secured meanwhile"));
    }
    if let Some(key) = key
        && keys::is_revoked(connection, key.into())?
    {
        return Err(Failure::stale("the key was revoked meanwhile"));
    }
    Ok(())
}

/// Returns the project that a user's events concern: that of a service. A person's concern none.
pub(super) fn project_of(user: &User) -> Option<ProjectId> {
    (user.kind == UserKind::Service).then_some(user.personal_project)
}

/// Reads an account that was not deleted.
pub(super) fn account(connection: &mut Connection, id: UserId) -> Result<Option<User>, Failure> {
    let row = users::by_id(connection, id.into())?;
    row.map(User::try_from).transpose()
}

/// Reads a person's account that was not deleted.
pub(super) fn person(connection: &mut Connection, id: UserId) -> Result<Option<User>, Failure> {
    let account = account(connection, id)?;
    Ok(account.filter(|user| user.kind == UserKind::Person))
}

/// Reads a project that is not archived.
pub(super) fn open(connection: &mut Connection, id: ProjectId) -> Result<Option<Project>, Failure> {
    let project = projects::by_id(connection, id.into())?.map(Project::from);
    Ok(project.filter(|project| project.archived_at.is_none()))
}

/// Lists what an account logs in by: an address that is also the user name counts once.
pub(super) fn names(user: &User) -> BTreeSet<&str> {
    let names = [&user.email, &user.username];
    names.into_iter().flatten().map(String::as_str).collect()
}

/// Claims and gives up names. Fails when one is taken.
pub(super) fn rename(
    connection: &mut Connection,
    id: UserId,
    before: &BTreeSet<&str>,
    after: &BTreeSet<&str>,
) -> Result<(), Failure> {
    let user_id = Id::from(id);
    let released: Vec<&str> = before.difference(after).copied().collect();
    if !released.is_empty() {
        users::release(connection, user_id, &released)?;
    }
    let claimed = after.difference(before).copied();
    let claimed: Vec<LoginRow<'_>> = claimed.map(|name| LoginRow { name, user_id }).collect();
    if !claimed.is_empty() {
        users::claim(connection, &claimed)?;
    }
    Ok(())
}

/// Tells of sessions that were ended; returns how many.
pub(super) fn ended(
    connection: &mut Connection,
    mut rows: Vec<SessionRow>,
    author: &Author,
) -> Result<u64, Failure> {
    rows.sort_unstable_by_key(|row| row.id);
    let mut done = Vec::with_capacity(rows.len());
    for row in rows {
        let session = Session::try_from(row)?;
        let target = Target::new("session", session.id);
        done.push(Event::new(author, Action::SessionRevoked, target).gone(&session));
    }
    event::leave(connection, &done)?;
    Ok(done.len() as u64)
}

/// Ends the sessions of a user that live, but `keep`; returns how many.
pub(super) fn end_sessions(
    connection: &mut Connection,
    user: UserId,
    keep: Option<SessionId>,
    author: &Author,
) -> Result<u64, Failure> {
    // No session has the nil identifier, so all are ended then.
    let keep = keep.map_or(Id(uuid::Uuid::nil()), Id::from);
    let at = author.at.as_micros();
    let rows = sessions::end_of_user(connection, user.into(), keep, at)?;
    ended(connection, rows, author)
}

/// Freezes the counters of keys that were revoked, and tells of it.
pub(super) fn revoked(
    connection: &mut Connection,
    mut rows: Vec<ApiKeyRow>,
    author: &Author,
) -> Result<(), Failure> {
    rows.sort_unstable_by_key(|row| row.id);
    let mut done = Vec::with_capacity(rows.len());
    let mut frozen = BTreeSet::new();
    for row in rows {
        let after = ApiKey::try_from(row)?;
        let before = ApiKey {
            revoked_at: None,
            ..after.clone()
        };
        frozen.insert(Subject::Key(after.id));
        let event = Event::new(author, Action::KeyRevoked, Target::new("key", after.id));
        done.push(event.of(Some(after.project)).change(&before, &after));
    }
    ledger::freeze(connection, &frozen, true)?;
    event::leave(connection, &done)
}

/// Ends what others may have made of an account: its keys and identities, who else is in its personal project, and whom
/// it has invited. What they have begun before is refused from then on.
pub(super) fn disown(
    connection: &mut Connection,
    account: &User,
    author: &Author,
) -> Result<(), Failure> {
    let (user, project) = (account.id, account.personal_project);
    let (id, own) = (Id::from(user), Id::from(project));
    let at = author.at.as_micros();
    users::secure(connection, id, at)?;
    let mut others = Vec::new();
    for (row, other) in members::after(connection, own, Id(uuid::Uuid::nil()), u32::MAX)? {
        let member = row.member(other)?;
        if member.user.id != user {
            others.push(member);
        }
    }
    let mut subjects = keys_of(keys::valid_of_user(connection, id)?);
    subjects.extend(keys_of(keys::valid_of_project(connection, own)?));
    let services = (others.iter()).filter(|member| member.user.kind == UserKind::Service);
    subjects.extend(services.map(|member| Subject::User(member.user.id)));
    ledger::hold(connection, &subjects)?;

    let rows = keys::revoke_of_user(connection, id, at)?;
    revoked(connection, rows, author)?;
    unlink_all(connection, user, author)?;
    for member in &others {
        put_out(connection, project, member, author)?;
    }
    let rows = invites::revoke_of_maker(connection, id, at)?;
    invite::withdrawn(connection, rows, author)?;
    invite::uninvite(connection, project, None, author)
}

/// Lets an account be found by an identity. Fails when it is another's.
pub(super) fn put_identity(
    connection: &mut Connection,
    user: UserId,
    identity: &Identity,
    author: &Author,
) -> Result<(), Failure> {
    let row = IdentityRow::new(identity, user.into(), author.at);
    identities::insert(connection, &row)?;
    let event = Event::new(author, Action::IdentityLinked, Target::new("user", user));
    event::leave(connection, &[event.made(identity)])
}

/// Takes all identities from an account.
fn unlink_all(connection: &mut Connection, user: UserId, author: &Author) -> Result<(), Failure> {
    let id = Id::from(user);
    let mut gone = Vec::new();
    for row in identities::of_user(connection, id)? {
        let event = Event::new(author, Action::IdentityUnlinked, Target::new("user", user));
        gone.push(event.gone(&Identity::from(row)));
    }
    identities::delete_of_user(connection, id)?;
    event::leave(connection, &gone)
}

/// Closes a project, with its keys and its invites; `None` if it is closed or was never there.
pub(super) fn archive(
    connection: &mut Connection,
    id: ProjectId,
    author: &Author,
) -> Result<Option<Project>, Failure> {
    let at = author.at.as_micros();
    let Some(before) = open(connection, id)? else {
        return Ok(None);
    };
    if projects::archive(connection, id.into(), at)? == 0 {
        return Ok(None);
    }
    let mut subjects = keys_of(keys::valid_of_project(connection, id.into())?);
    subjects.insert(Subject::Project(id));
    ledger::hold(connection, &subjects)?;
    let after = Project {
        archived_at: Some(author.at),
        ..before.clone()
    };
    ledger::freeze(connection, &BTreeSet::from([Subject::Project(id)]), true)?;
    let target = Target::new("project", id);
    let event = Event::new(author, Action::ProjectArchived, target).of(Some(id));
    event::leave(connection, &[event.change(&before, &after)])?;
    let rows = keys::revoke_of_project(connection, id.into(), at)?;
    revoked(connection, rows, author)?;
    invite::uninvite(connection, id, None, author)?;
    Ok(Some(after))
}

fn keys_of(ids: Vec<Id>) -> BTreeSet<Subject> {
    let keys = ids.into_iter().map(KeyId::from);
    keys.map(Subject::Key).collect()
}

/// Reads a member.
pub(super) fn member(
    connection: &mut Connection,
    project: ProjectId,
    user: UserId,
) -> Result<Option<Member>, Failure> {
    let found = members::one(connection, project.into(), user.into())?;
    found.map(|(row, user)| row.member(user)).transpose()
}

/// Makes a user a member with a role, or gives a member that role.
pub(super) fn join(
    connection: &mut Connection,
    project: ProjectId,
    user: User,
    role: ProjectRole,
    author: &Author,
) -> Result<Member, Failure> {
    let before = member(connection, project, user.id)?;
    let event = |action| {
        let target = Target::new("user", user.id);
        Event::new(author, action, target).of(Some(project))
    };
    let (user_id, project_id) = (user.id.into(), project.into());
    match before {
        Some(before) if before.role == role => Ok(before),
        Some(before) => {
            let after = Member {
                role,
                ..before.clone()
            };
            members::set_role(connection, project_id, user_id, role.as_str())?;
            let event = event(Action::MemberChanged).change(&before.facts(), &after.facts());
            event::leave(connection, &[event])?;
            Ok(after)
        }
        None => {
            let row = NewMemberRow {
                project_id,
                user_id,
                role: role.as_str(),
                since: author.at.as_micros(),
            };
            members::insert(connection, &row)?;
            let event = event(Action::MemberAdded);
            let after = Member {
                user,
                role,
                since: author.at,
            };
            event::leave(connection, &[event.made(&after.facts())])?;
            Ok(after)
        }
    }
}

/// Ends a membership.
pub(super) fn part(
    connection: &mut Connection,
    project: ProjectId,
    member: &Member,
    author: &Author,
) -> Result<(), Failure> {
    let user = member.user.id;
    members::delete(connection, project.into(), user.into())?;
    let event = Event::new(author, Action::MemberRemoved, Target::new("user", user));
    event::leave(connection, &[event.of(Some(project)).gone(&member.facts())])
}

/// Puts a member out, with its keys there. A service is nowhere else, so it goes.
pub(super) fn put_out(
    connection: &mut Connection,
    project: ProjectId,
    member: &Member,
    author: &Author,
) -> Result<(), Failure> {
    let user = &member.user;
    if user.kind == UserKind::Service {
        return erase(connection, user, author);
    }
    part(connection, project, member, author)?;
    let (of, id, at) = (project.into(), user.id.into(), author.at.as_micros());
    let rows = keys::revoke_of_member(connection, of, id, at)?;
    revoked(connection, rows, author)
}

/// Takes an account away. What is bound to it goes first, so that its events come before the account's own.
pub(super) fn erase(
    connection: &mut Connection,
    user: &User,
    author: &Author,
) -> Result<(), Failure> {
    let (id, at) = (Id::from(user.id), author.at.as_micros());
    let projects = members::all_of_user(connection, id)?;
    let mut closing = BTreeSet::new();
    for &project in &projects {
        let own = project == Id::from(user.personal_project);
        if user.kind == UserKind::Person
            && (own || members::other(connection, project, id)?.is_none())
        {
            closing.insert(project);
        }
    }
    let mut subjects = keys_of(keys::valid_of_user(connection, id)?);
    subjects.insert(Subject::User(user.id));
    for &project in &closing {
        subjects.insert(Subject::Project(project.into()));
        subjects.extend(keys_of(keys::valid_of_project(connection, project)?));
    }
    ledger::hold(connection, &subjects)?;

    end_sessions(connection, user.id, None, author)?;
    let rows = keys::revoke_of_user(connection, id, at)?;
    revoked(connection, rows, author)?;
    for row in projects {
        let project = ProjectId::from(row);
        if let Some(member) = member(connection, project, user.id)? {
            part(connection, project, &member, author)?;
        }
        if closing.contains(&row) {
            archive(connection, project, author)?;
        }
    }
    unlink_all(connection, user.id, author)?;
    tickets::delete_of_user(connection, id)?;
    rename(connection, user.id, &names(user), &BTreeSet::new())?;
    users::delete(connection, id, at)?;
    ledger::freeze(connection, &BTreeSet::from([Subject::User(user.id)]), true)?;
    let event = Event::new(author, Action::UserDeleted, Target::new("user", user.id));
    event::leave(connection, &[event.of(project_of(user)).gone(user)])
}
