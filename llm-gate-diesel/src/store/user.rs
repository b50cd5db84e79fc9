use llm_gate::identity::{Subject, UserId};
use llm_gate::store::{
    LimitChange, NewUser, PasswordRecord, ProjectRole, StoreFuture, User, UserStore,
};
use uuid::Uuid;

use super::page::Desk;
use super::queries::{projects, sessions, users};
use super::{Connection, Store, ledger};
use crate::error::Failure;
use crate::models::{Id, LoginRow, MemberRow, ProjectRow, UserRow, text};

fn create(connection: &mut Connection, desk: Desk, new: &NewUser) -> Result<User, Failure> {
    let row = UserRow::new(new);
    let created_at = row.created_at;
    let project = ProjectRow {
        id: new.personal_project.into(),
        name: text(new.personal_project_name.clone()),
        created_at,
    };
    projects::insert(connection, &project)?;
    users::insert(connection, &row)?;
    users::claim(connection, &names(&row))?;
    let member = MemberRow {
        project_id: project.id,
        user_id: row.id,
        role: ProjectRole::Owner.as_str(),
    };
    projects::add_member(connection, &member)?;
    ledger::make(connection, Subject::Project(new.personal_project))?;
    ledger::make(connection, Subject::User(new.id))?;
    if new.token_limit.is_some() {
        let change = LimitChange::total_tokens(Subject::User(new.id), new.token_limit);
        let at = new.created_at;
        ledger::change_limit(connection, desk, &LimitChange { at, ..change })?;
    }
    row.try_into()
}

/// What an account logs in by: an address that is also the user name counts once.
fn names(row: &UserRow) -> Vec<LoginRow<'_>> {
    let mut names: Vec<&str> = [&row.email, &row.username]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    names.dedup();
    let user_id = row.id;
    names
        .into_iter()
        .map(|name| LoginRow { name, user_id })
        .collect()
}

fn set_disabled(connection: &mut Connection, id: UserId, disabled: bool) -> Result<bool, Failure> {
    if users::set_disabled(connection, id.into(), disabled)? == 0 {
        return Ok(false);
    }
    if disabled {
        sessions::revoke_of_user(connection, id.into())?;
    }
    ledger::freeze(connection, Subject::User(id), disabled)?;
    Ok(true)
}

impl UserStore for Store {
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User> {
        let desk = self.desk();
        self.write(move |connection| create(connection, desk, &user))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        self.read(move |connection| {
            users::by_id(connection, id.into())?
                .map(User::try_from)
                .transpose()
        })
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>> {
        self.read(move |connection| {
            users::by_login(connection, &text(login.clone()))?
                .map(PasswordRecord::try_from)
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

    fn set_user_disabled(&self, id: UserId, disabled: bool) -> StoreFuture<'_, bool> {
        self.write(move |connection| set_disabled(connection, id, disabled))
    }
}
