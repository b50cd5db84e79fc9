//! The words that the API has for what is called otherwise here.

use llm_gate::identity::Role;
use llm_gate::store::User;

use crate::api::fields::Word;

/// What somebody may do on the platform: admins own it, all others read.
pub(super) const ROLE: Word<Role> = Word::new(
    || vec!["owner", "reader"],
    |word| match word {
        "owner" => Some(Role::Admin),
        "reader" => Some(Role::User),
        _ => None,
    },
);

/// Returns the word for a role.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "owner",
        _ => "reader",
    }
}

/// Returns what an account is called.
pub(super) fn name(user: &User) -> Option<String> {
    user.name.clone().or_else(|| user.username.clone())
}
