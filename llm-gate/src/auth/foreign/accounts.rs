use std::fmt;

use crate::identity::{Credential, Principal, ProjectId, Role, UserId};
use crate::store::StoreFuture;

/// An account here that belongs to a subject of a foreign issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The account.
    pub user: UserId,
    /// The project that calls are made for.
    pub project: ProjectId,
    /// What the user may do on the platform.
    pub role: Role,
    /// Whether the account may do nothing any more.
    pub disabled: bool,
}

impl Account {
    /// Describes an ordinary account.
    #[must_use]
    pub const fn new(user: UserId, project: ProjectId) -> Self {
        Self {
            user,
            project,
            role: Role::User,
            disabled: false,
        }
    }

    /// Sets the platform role. [`Role::User`] unless set.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets whether the account may do nothing any more. It may unless set.
    #[must_use]
    pub const fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    pub(super) const fn principal(&self) -> Principal {
        Principal::new(self.user, self.project, Credential::Foreign).role(self.role)
    }
}

/// Says whose account a subject of a foreign issuer is.
///
/// A subject is unique within its issuer only, so that the same word of two issuers is two people. Asked
/// when a token is first seen, and again when the answer is older than a second.
///
/// # Cancel safety
///
/// An implementation must bear that its future is dropped at any point: the client may be gone.
pub trait Accounts: fmt::Debug + Send + Sync + 'static {
    /// Finds the account of `subject`, which the token of `issuer` names in `sub`; `None` if there is none,
    /// and nobody gets in.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot answer; the caller is answered 503.
    fn account<'a>(&'a self, issuer: &'a str, subject: &'a str)
    -> StoreFuture<'a, Option<Account>>;
}
