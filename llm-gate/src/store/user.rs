use crate::clock::Timestamp;
use crate::identity::{ProjectId, Role, UserId};
use crate::store::StoreFuture;
use crate::tokens::Tokens;

/// A user account, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub id: UserId,
    /// The normalised e-mail address.
    pub email: Option<String>,
    /// The normalised user name.
    pub username: Option<String>,
    /// What the user may do on the platform.
    pub role: Role,
    /// Whether the account may do nothing any more.
    pub disabled: bool,
    /// The personal project, which calls are made for when no other is named.
    pub personal_project: ProjectId,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A user account to be made, together with its personal project and its limit.
#[derive(Clone)]
pub struct NewUser {
    /// The account.
    pub id: UserId,
    /// The normalised e-mail address.
    pub email: Option<String>,
    /// The normalised user name.
    pub username: Option<String>,
    /// The password's hash in PHC string format.
    pub password_hash: String,
    /// What the user may do on the platform.
    pub role: Role,
    /// The personal project to make.
    pub personal_project: ProjectId,
    /// Its name.
    pub personal_project_name: String,
    /// How many tokens the user may spend in total, `None` for no limit.
    pub token_limit: Option<Tokens>,
    /// When the account was made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A user with the hash that a password is checked against.
#[derive(Clone)]
pub struct PasswordRecord {
    /// Whose password it is.
    pub user: User,
    /// The hash in PHC string format.
    pub hash: String,
}

impl std::fmt::Debug for PasswordRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordRecord")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Keeps user accounts.
pub trait UserStore: Send + Sync + 'static {
    /// Makes an account, its personal project with the user as owner, and its limit, all or nothing.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the e-mail address or the
    /// user name is taken, by either kind of name of another account.
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User>;

    /// Reads an account.
    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>>;

    /// Finds an account by its normalised e-mail address or user name.
    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>>;

    /// Lists accounts that come after `after` by identifier, at most `limit`.
    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>>;

    /// Replaces the password hash if it is still `old`; returns whether it was.
    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool>;

    /// Disables or enables an account; returns whether there is one.
    ///
    /// In the same transaction the user's counter is frozen, so that no further reservation is granted,
    /// and when disabling all its sessions end.
    fn set_user_disabled(&self, id: UserId, disabled: bool) -> StoreFuture<'_, bool>;
}
