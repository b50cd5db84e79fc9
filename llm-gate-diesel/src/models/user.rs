use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::Role;
use llm_gate::store::{NewUser, PasswordRecord, User};

use super::{Id, text};
use crate::error::Failure;
use crate::schema::{logins, users};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    pub(crate) id: Id,
    pub(crate) email: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) disabled: bool,
    pub(crate) personal_project: Id,
    pub(crate) created_at: i64,
}

impl UserRow {
    pub(crate) fn new(new: &NewUser) -> Self {
        Self {
            id: new.id.into(),
            email: new.email.clone().map(text),
            username: new.username.clone().map(text),
            password_hash: new.password_hash.clone(),
            role: role_word(new.role).to_owned(),
            disabled: false,
            personal_project: new.personal_project.into(),
            created_at: new.created_at.as_micros(),
        }
    }
}

impl TryFrom<UserRow> for PasswordRecord {
    type Error = Failure;

    fn try_from(row: UserRow) -> Result<Self, Failure> {
        let user = User {
            id: row.id.into(),
            email: row.email,
            username: row.username,
            role: role(&row.role)?,
            disabled: row.disabled,
            personal_project: row.personal_project.into(),
            created_at: Timestamp::from_micros(row.created_at),
        };
        Ok(Self {
            user,
            hash: row.password_hash,
        })
    }
}

impl TryFrom<UserRow> for User {
    type Error = Failure;

    fn try_from(row: UserRow) -> Result<Self, Failure> {
        PasswordRecord::try_from(row).map(|record| record.user)
    }
}

/// A name by which a user logs in.
#[derive(Insertable)]
#[diesel(table_name = logins, treat_none_as_default_value = false)]
pub(crate) struct LoginRow<'a> {
    pub(crate) name: &'a str,
    pub(crate) user_id: Id,
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Admin => "admin",
    }
}

/// Reads a platform role.
pub(super) fn role(word: &str) -> Result<Role, Failure> {
    [Role::User, Role::Admin]
        .into_iter()
        .find(|&role| role_word(role) == word)
        .ok_or_else(|| Failure::corrupt("a user has an unknown role"))
}
