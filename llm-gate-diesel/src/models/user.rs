use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::Role;
use llm_gate::store::{Identity, NewService, NewTicket, NewUser, PasswordRecord, User, UserKind};

use super::{Hash, Id, text};
use crate::error::Failure;
use crate::schema::{identities, logins, tickets, users};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub(crate) struct UserRow {
    pub(crate) id: Id,
    pub(crate) kind: String,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) username: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) password_hash: Option<String>,
    pub(crate) role: String,
    pub(crate) disabled: bool,
    pub(crate) personal_project: Id,
    pub(crate) created_at: i64,
}

impl UserRow {
    pub(crate) fn person(new: &NewUser) -> Self {
        Self {
            id: new.id.into(),
            kind: UserKind::Person.as_str().to_owned(),
            email: new.email.clone().map(text),
            email_verified: new.email_verified && new.email.is_some(),
            username: new.username.clone().map(text),
            name: new.name.clone().map(text),
            password_hash: new.password_hash.clone(),
            role: role_word(new.role).to_owned(),
            disabled: false,
            personal_project: new.personal_project.into(),
            created_at: new.author.at.as_micros(),
        }
    }

    pub(crate) fn set_role(&mut self, role: Role) {
        role_word(role).clone_into(&mut self.role);
    }

    pub(crate) fn service(new: &NewService) -> Self {
        Self {
            id: new.id.into(),
            kind: UserKind::Service.as_str().to_owned(),
            email: None,
            email_verified: false,
            username: None,
            name: Some(text(new.name.clone())),
            password_hash: None,
            role: role_word(Role::User).to_owned(),
            disabled: false,
            personal_project: new.project.into(),
            created_at: new.author.at.as_micros(),
        }
    }
}

impl TryFrom<UserRow> for PasswordRecord {
    type Error = Failure;

    fn try_from(row: UserRow) -> Result<Self, Failure> {
        let user = User {
            id: row.id.into(),
            kind: UserKind::from_word(&row.kind)
                .ok_or_else(|| Failure::corrupt("a user of unknown kind"))?,
            email: row.email,
            email_verified: row.email_verified,
            username: row.username,
            name: row.name,
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

/// What of an account can be changed.
#[derive(AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
pub(crate) struct ChangedUser {
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) username: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) role: &'static str,
    pub(crate) disabled: bool,
}

impl From<&User> for ChangedUser {
    fn from(user: &User) -> Self {
        Self {
            email: user.email.clone(),
            email_verified: user.email_verified,
            username: user.username.clone(),
            name: user.name.clone(),
            role: role_word(user.role),
            disabled: user.disabled,
        }
    }
}

/// A name by which a user logs in.
#[derive(Insertable)]
#[diesel(table_name = logins, treat_none_as_default_value = false)]
pub(crate) struct LoginRow<'a> {
    pub(crate) name: &'a str,
    pub(crate) user_id: Id,
}

/// By whom else a user is known.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = identities)]
pub(crate) struct IdentityRow {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) user_id: Id,
    pub(crate) created_at: i64,
}

impl IdentityRow {
    pub(crate) fn new(identity: &Identity, user_id: Id, at: Timestamp) -> Self {
        Self {
            issuer: text(identity.issuer.clone()),
            subject: text(identity.subject.clone()),
            user_id,
            created_at: at.as_micros(),
        }
    }
}

impl From<IdentityRow> for Identity {
    fn from(row: IdentityRow) -> Self {
        Self {
            issuer: row.issuer,
            subject: row.subject,
        }
    }
}

/// A secret that was mailed or handed over.
#[derive(Insertable)]
#[diesel(table_name = tickets, treat_none_as_default_value = false)]
pub(crate) struct TicketRow {
    pub(crate) hash: Hash,
    pub(crate) purpose: &'static str,
    pub(crate) user_id: Id,
    pub(crate) email: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

impl From<NewTicket> for TicketRow {
    fn from(new: NewTicket) -> Self {
        Self {
            hash: Hash(new.hash),
            purpose: new.purpose.as_str(),
            user_id: new.user.into(),
            email: new.email.map(text),
            created_at: new.author.at.as_micros(),
            expires_at: new.expires_at.as_micros(),
        }
    }
}

/// Spells a platform role.
pub(super) const fn role_word(role: Role) -> &'static str {
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
