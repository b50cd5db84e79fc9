//! The words that the API has for what is called otherwise here.

use llm_gate::identity::Role;
use llm_gate::store::{ProjectRole, User};
use serde::Serialize;
use utoipa::ToSchema;

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

/// Returns the word for a role in a project. Who manages one is an owner there: there is no word between that and a member.
pub(super) const fn project_role(role: ProjectRole) -> &'static str {
    if role.manages() { "owner" } else { "member" }
}

/// What the API's word for a role in a project does not say.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OrganizationOwnRole)]
pub(super) struct OwnRole {
    /// The role by its own name: `owner`, `admin` or `member`.
    role: &'static str,
}

impl OwnRole {
    /// Returns it where the word of the API is not its own name.
    pub(super) fn beside(word: &str, role: ProjectRole) -> Option<Self> {
        let role = role.as_str();
        (role != word).then_some(Self { role })
    }
}

/// Returns what an account is called.
pub(super) fn name(user: &User) -> Option<String> {
    user.name.clone().or_else(|| user.username.clone())
}
