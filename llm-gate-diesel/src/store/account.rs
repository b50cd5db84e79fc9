//! How accounts are made, changed and deleted.

use std::collections::BTreeSet;

use llm_gate::identity::{ProjectId, Role, Subject, UserId};
use llm_gate::store::{
    Action, Author, Event, LimitChange, MAX_SERVICES, NewService, NewUser, ProjectRole, Target,
    User, UserChange, UserKind, UserOutcome,
};

use super::page::Desk;
use super::people::{self, project_of};
use super::queries::{members, projects, users};
use super::{Connection, event, invite, ledger};
use crate::error::Failure;
use crate::models::{ChangedUser, Id, ProjectRow, UserRow, text};

pub(super) fn create(
    connection: &mut Connection,
    desk: Desk,
    new: &NewUser,
) -> Result<User, Failure> {
    let author = &new.author;
    people::lock(connection, author)?;
    let mut row = UserRow::person(new);
    let mut role = new.role;
    let invited = match new.invite {
        Some(token) => {
            let email = row.email.as_deref();
            let invite = invite::good(connection, token, email, author.at)?;
            Some(invite.ok_or_else(|| Failure::conflict("the invite is not good"))?)
        }
        None => None,
    };
    if let Some(invite) = &invited {
        // Whoever has the secret reads the address that it was mailed to.
        row.email_verified = true;
        if invite.role == Role::Admin {
            role = Role::Admin;
        }
    }
    row.set_role(role);
    let project = ProjectRow {
        id: row.personal_project,
        name: text(new.personal_project_name.clone()),
        created_at: row.created_at,
        archived_at: None,
    };
    projects::insert(connection, &project)?;
    users::insert(connection, &row)?;
    let user = User::try_from(row)?;
    people::rename(connection, user.id, &BTreeSet::new(), &people::names(&user))?;
    ledger::make(connection, Subject::Project(new.personal_project))?;
    ledger::make(connection, Subject::User(new.id))?;
    let event = Event::new(author, Action::UserCreated, Target::new("user", user.id));
    event::leave(connection, &[event.made(&user)])?;
    let own = new.personal_project;
    people::join(connection, own, user.clone(), ProjectRole::Owner, author)?;
    if let Some(identity) = &new.identity {
        people::put_identity(connection, user.id, identity, author)?;
    }
    if let Some(invite) = invited {
        let taken_up = invite::take_up(connection, invite, user.clone(), author)?;
        taken_up.ok_or_else(|| Failure::conflict("the invite was taken up"))?;
    }
    if new.token_limit.is_some() {
        let change = LimitChange::total_tokens(Subject::User(new.id), new.token_limit);
        let author = author.clone();
        ledger::change_limits(connection, desk, &[LimitChange { author, ..change }])?;
    }
    Ok(user)
}

pub(super) fn create_service(
    connection: &mut Connection,
    new: &NewService,
) -> Result<Option<User>, Failure> {
    people::lock(connection, &new.author)?;
    if people::open(connection, new.project)?.is_none() {
        return Ok(None);
    }
    if members::services(connection, new.project.into())? >= MAX_SERVICES as i64 {
        return Err(Failure::conflict(
            "the project has as many services as it may",
        ));
    }
    let row = UserRow::service(new);
    users::insert(connection, &row)?;
    ledger::make(connection, Subject::User(new.id))?;
    let user = User::try_from(row)?;
    let event = Event::new(
        &new.author,
        Action::UserCreated,
        Target::new("user", new.id),
    );
    event::leave(connection, &[event.of(project_of(&user)).made(&user)])?;
    let (project, author) = (new.project, &new.author);
    people::join(
        connection,
        project,
        user.clone(),
        ProjectRole::Member,
        author,
    )?;
    Ok(Some(user))
}

const fn administers(user: &User) -> bool {
    matches!(user.role, Role::Admin) && !user.disabled
}

pub(super) fn change(
    connection: &mut Connection,
    id: UserId,
    change: &UserChange,
    author: &Author,
) -> Result<UserOutcome, Failure> {
    people::lock(connection, author)?;
    let Some(before) = people::account(connection, id)? else {
        return Ok(UserOutcome::Absent);
    };
    if before.kind == UserKind::Service && !suits_service(change) {
        return Ok(UserOutcome::Absent);
    }
    let after = changed(&before, change.clone());
    if before.is_named() && !after.is_named() {
        return Ok(UserOutcome::LastName);
    }
    if administers(&before)
        && !administers(&after)
        && users::other_admin(connection, id.into())?.is_none()
    {
        return Ok(UserOutcome::LastAdmin);
    }
    people::rename(
        connection,
        id,
        &people::names(&before),
        &people::names(&after),
    )?;
    if before != after {
        users::change(connection, id.into(), &ChangedUser::from(&after))?;
        let event = Event::new(author, Action::UserChanged, Target::new("user", id));
        let event = event.of(project_of(&after)).change(&before, &after);
        event::leave(connection, &[event])?;
    }
    if after.disabled {
        people::end_sessions(connection, id, None, author)?;
    }
    if after.disabled != before.disabled {
        let subject = BTreeSet::from([Subject::User(id)]);
        ledger::freeze(connection, &subject, after.disabled)?;
    }
    Ok(UserOutcome::Done(after))
}

/// Returns whether a change is of what a service has: a name, and whether it is disabled.
const fn suits_service(change: &UserChange) -> bool {
    change.email.is_none()
        && change.email_verified.is_none()
        && change.username.is_none()
        && change.role.is_none()
}

fn changed(before: &User, change: UserChange) -> User {
    let mut after = before.clone();
    if let Some(email) = change.email.map(|email| email.map(text))
        && email != after.email
    {
        after.email = email;
        after.email_verified = false;
    }
    if let Some(verified) = change.email_verified {
        after.email_verified = verified && after.email.is_some();
    }
    if let Some(username) = change.username {
        after.username = username.map(text);
    }
    if let Some(name) = change.name {
        after.name = name.map(text);
    }
    after.role = change.role.unwrap_or(after.role);
    after.disabled = change.disabled.unwrap_or(after.disabled);
    after
}

pub(super) fn delete(
    connection: &mut Connection,
    id: UserId,
    author: &Author,
) -> Result<UserOutcome, Failure> {
    people::lock(connection, author)?;
    let Some(user) = people::account(connection, id)? else {
        return Ok(UserOutcome::Absent);
    };
    if administers(&user) && users::other_admin(connection, id.into())?.is_none() {
        return Ok(UserOutcome::LastAdmin);
    }
    if let Some(project) = only_owned(connection, &user)? {
        return Ok(UserOutcome::LastOwner(project));
    }
    people::erase(connection, &user, author)?;
    Ok(UserOutcome::Done(user))
}

/// Finds the first project with other members that nobody but `user` owns.
fn only_owned(connection: &mut Connection, user: &User) -> Result<Option<ProjectId>, Failure> {
    let (id, own) = (Id::from(user.id), Id::from(user.personal_project));
    for (project, role) in members::of_user(connection, id)? {
        if role == ProjectRole::Owner.as_str()
            && project.id != own
            && members::other(connection, project.id, id)?.is_some()
            && members::other_owner(connection, project.id, id)?.is_none()
        {
            return Ok(Some(project.id.into()));
        }
    }
    Ok(None)
}
