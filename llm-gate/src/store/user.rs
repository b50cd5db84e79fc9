use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{ProjectId, Role, SessionId, UserId};
use crate::store::{Action, Author, Event, StoreFuture, Target, TokenHash};
use crate::tokens::Tokens;
use crate::words::words;

/// How many services a project has at most.
pub const MAX_SERVICES: usize = 100;

/// By how many identities an account is found at most.
pub const MAX_IDENTITIES: usize = 100;

words! {
    /// What kind of account it is.
    UserKind {
        /// Somebody who logs in.
        Person = "person",
        /// Something that has API keys and nothing else: it belongs to one project and cannot log in.
        Service = "service",
    }
}

/// A user account, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The account.
    pub id: UserId,
    /// Whether it is a person's or a service's.
    pub kind: UserKind,
    /// The normalised e-mail address.
    pub email: Option<String>,
    /// Whether somebody who reads that address has said so.
    pub email_verified: bool,
    /// The normalised user name.
    pub username: Option<String>,
    /// What the user wants to be called, or what a service is called.
    pub name: Option<String>,
    /// What the user may do on the platform.
    pub role: Role,
    /// Whether the account may do nothing any more.
    pub disabled: bool,
    /// The personal project, which calls are made for when no other is named; a service's project.
    pub personal_project: ProjectId,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A person's account to be made, together with its personal project and its limit.
#[derive(Clone)]
pub struct NewUser {
    /// The account.
    pub id: UserId,
    /// The normalised e-mail address.
    pub email: Option<String>,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
    /// The normalised user name.
    pub username: Option<String>,
    /// What the user wants to be called.
    pub name: Option<String>,
    /// The password's hash in PHC string format; `None` for an account without a password.
    pub password_hash: Option<String>,
    /// By whom else the user is known.
    pub identity: Option<Identity>,
    /// What the user may do on the platform.
    pub role: Role,
    /// The personal project to make.
    pub personal_project: ProjectId,
    /// Its name.
    pub personal_project_name: String,
    /// How many tokens the user may spend in total, `None` for no limit.
    pub token_limit: Option<Tokens>,
    /// The invite to be taken up with it, by the hash of its secret: the user gets what it grants, and its address,
    /// which is the invite's, is confirmed.
    pub invite: Option<TokenHash>,
    /// Who makes it, and when.
    pub author: Author,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A service's account to be made in a project.
#[derive(Clone, Debug)]
pub struct NewService {
    /// The account.
    pub id: UserId,
    /// What it is called.
    pub name: String,
    /// The project it belongs to, as a member.
    pub project: ProjectId,
    /// Who makes it, and when.
    pub author: Author,
}

/// A user with the hash that a password is checked against.
#[derive(Clone)]
pub struct PasswordRecord {
    /// Whose password it is.
    pub user: User,
    /// The hash in PHC string format; `None` for an account without a password.
    pub hash: Option<String>,
}

impl std::fmt::Debug for PasswordRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordRecord")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl User {
    /// Returns whether it can be called by a name: an address or a user name.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.email.is_some() || self.username.is_some()
    }
}

/// What of an account is to be changed; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The normalised e-mail address, or none. Another address is unverified unless `email_verified` says otherwise.
    pub email: Option<Option<String>>,
    /// Whether the address is known to be the user's.
    pub email_verified: Option<bool>,
    /// The normalised user name, or none.
    pub username: Option<Option<String>>,
    /// What the user wants to be called, or nothing.
    pub name: Option<Option<String>>,
    /// What the user may do on the platform.
    pub role: Option<Role>,
    /// Whether the account may do nothing any more.
    pub disabled: Option<bool>,
}

/// What became of a change of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserOutcome {
    /// It is done; the account is so now. One that was deleted is as it was before.
    Done(User),
    /// There is no such account.
    Absent,
    /// It is the last admin who is enabled: somebody has to be.
    LastAdmin,
    /// It is the only owner of projects with other members, the first of which is this.
    LastOwner(ProjectId),
    /// It is the last name of a person, who could not log in any more without.
    LastName,
}

/// By whom else a user is known: a subject of an issuer (OpenID Connect Core 1.0, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The provider, by its issuer identifier.
    pub issuer: String,
    /// The user, by the name that the provider never gives to another.
    pub subject: String,
}

/// What became of an identity that an account was to be entered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Linking {
    /// The account has it.
    Done,
    /// There is no such person.
    Absent,
    /// The account got an identity after this was begun: perhaps by the same login, which is over then.
    Over,
    /// The account has [`MAX_IDENTITIES`].
    Full,
}

/// What became of an identity that was to be taken from an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlinking {
    /// The account does not have it any more.
    Done,
    /// The account does not have it.
    Absent,
    /// The account has no password and no other identity: nobody could enter it any more.
    LastWay,
}

words! {
    /// What a ticket is good for.
    TicketPurpose {
        /// Confirms an e-mail address.
        VerifyEmail = "verify_email",
        /// Sets a new password.
        ResetPassword = "reset_password",
    }
}

/// A secret that was mailed to somebody, or is handed over. Several may be good at once; with one all of that purpose are
/// used.
#[derive(Clone, Debug)]
pub struct NewTicket {
    /// The hash of the secret.
    pub hash: TokenHash,
    /// What it is good for.
    pub purpose: TicketPurpose,
    /// For whom.
    pub user: UserId,
    /// The address it was mailed to. If the user has another by then, it is good for nothing. `None` for one that its author
    /// hands over: it says nothing of an address, and is good whatever the user has by then.
    pub email: Option<String>,
    /// Whether somebody asked for it, which leaves an event. One that goes out with a new account or a new address is told by
    /// the event of that.
    pub asked: bool,
    /// Who has it mailed or hands it over, and when.
    pub author: Author,
    /// When it stops being good.
    pub expires_at: Timestamp,
}

impl NewTicket {
    /// Returns the event that it leaves; none where nobody asked for the letter.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let action = match self.purpose {
            TicketPurpose::VerifyEmail => Action::EmailVerificationRequested,
            TicketPurpose::ResetPassword => Action::PasswordResetRequested,
        };
        let target = Target::new("user", self.user);
        self.asked.then(|| Event::new(&self.author, action, target))
    }

    /// Returns whether it can be good for something: only a letter says who reads an address.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        self.email.is_some() || self.purpose != TicketPurpose::VerifyEmail
    }
}

/// A ticket that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub user: User,
    /// Whether it was mailed, so that who has it reads the address of the account.
    pub mailed: bool,
}

/// Keeps user accounts.
///
/// Every change leaves an [`Event`] in its own transaction. What ends with something else, such as the keys of an account,
/// leaves one each, by the same author; what was so already leaves none.
///
/// What changes accounts, identities, projects, members, invites or keys, or keeps a ticket, fails with
/// [`Stale`](crate::store::StoreErrorKind::Stale) where its author is a key that is revoked by then, or a user, or a key of
/// one, whose account was [secured](Self::secure_account) later than [`Author::at`].
pub trait UserStore: Send + Sync + 'static {
    /// Makes an account, its personal project with the user as owner, its limit, and what its invite grants: all or
    /// nothing.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the e-mail address or the
    /// user name is taken, by either kind of name of another account; when the identity is another's; and when
    /// the invite is used, revoked, too old, none, for another address than the account's, or of somebody who may not
    /// make it any more.
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User>;

    /// Makes the account of a service, as a member of its project; `None` when there is no such project, or it is
    /// archived.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the project has [`MAX_SERVICES`], and when the
    /// identifier is taken.
    fn create_service(&self, service: NewService) -> StoreFuture<'_, Option<User>>;

    /// Reads an account. One that was deleted is none.
    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>>;

    /// Finds a person's account by its normalised e-mail address or user name.
    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>>;

    /// Finds an account by whom else it is known.
    fn user_by_identity(&self, identity: Identity) -> StoreFuture<'_, Option<User>>;

    /// Lists persons' accounts that come after `after` by identifier, at most `limit`.
    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>>;

    /// Replaces the password hash if it is still `old`; returns whether it was. The same password with another
    /// hash: no event, and sessions live on.
    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool>;

    /// Returns the least password hash on record that is greater than `after`, byte by byte: whoever goes on behind the end
    /// of each kind learns in a few steps which kinds there are.
    fn next_password_hash(&self, after: String) -> StoreFuture<'_, Option<String>>;

    /// Sets a person's password, and ends all its sessions but `keep`. Tickets for a new password are void then.
    /// Returns whether there is such an account.
    fn set_password(
        &self,
        id: UserId,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool>;

    /// Sets a person's password as [`set_password`](Self::set_password) does, if its hash is still `proven`: what was
    /// checked before the new one was hashed, which takes a while; `None` for no password. Returns whether it was.
    fn change_password(
        &self,
        id: UserId,
        proven: Option<String>,
        hash: String,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, bool>;

    /// Changes an account.
    ///
    /// In the same transaction: one that is disabled has its counter frozen, so that no further reservation is
    /// granted, and its sessions end; one that is enabled is thawed.
    ///
    /// Of a service only the name changes, and whether it is disabled: what else is asked finds it
    /// [`Absent`](UserOutcome::Absent). An account without an address has none that is confirmed. A person who has an
    /// address or a user name keeps one of the two: of any number of racing calls one finds that nothing else is left.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when a name is taken.
    fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        author: Author,
    ) -> StoreFuture<'_, UserOutcome>;

    /// Deletes an account: its names are free again, its sessions end, its keys are revoked, its memberships, its
    /// identities and its tickets are gone, its counter is frozen. A person's personal project is archived, and so is
    /// each other one that nobody is left in. What it used stays in the books under its identifier, which is never given
    /// again.
    fn delete_user(&self, id: UserId, author: Author) -> StoreFuture<'_, UserOutcome>;

    /// Disables or enables an account; returns whether there is one and it may be.
    fn set_user_disabled(
        &self,
        id: UserId,
        disabled: bool,
        author: Author,
    ) -> StoreFuture<'_, bool> {
        let change = UserChange {
            disabled: Some(disabled),
            ..UserChange::default()
        };
        let changed = self.change_user(id, change, author);
        Box::pin(async move { Ok(matches!(changed.await?, UserOutcome::Done(_))) })
    }

    /// Lets an account be found by another identity.
    ///
    /// What proves the identity can be sent again, and may be after it was unlinked. So whoever was sent to prove it says
    /// `since` when: where the account got one after that moment, as its events tell, this is [`Over`](Linking::Over) and
    /// links nothing.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when it is another account's.
    fn link_identity(
        &self,
        id: UserId,
        identity: Identity,
        since: Option<Timestamp>,
        author: Author,
    ) -> StoreFuture<'_, Linking>;

    /// Takes an identity from an account again, but never the last way into it: of any number of racing calls one finds
    /// that nothing else is left.
    fn unlink_identity(
        &self,
        id: UserId,
        identity: Identity,
        author: Author,
    ) -> StoreFuture<'_, Unlinking>;

    /// Lists the identities of an account.
    fn identities(&self, id: UserId) -> StoreFuture<'_, Vec<Identity>>;

    /// Keeps a ticket beside those there are: who asks for another letter in somebody's name takes nothing from the one
    /// under way. Keeps none for an account that is a service's or not there any more, and none that confirms an address and
    /// was not mailed.
    ///
    /// An event is left in the same transaction where one is kept: the ticket's own ([`NewTicket::event`]).
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when there is one with that secret.
    fn create_ticket(&self, ticket: NewTicket) -> StoreFuture<'_, ()>;

    /// Reads a ticket, if it is good at `at`. Those of accounts that are disabled or deleted are not.
    fn ticket(
        &self,
        hash: TokenHash,
        purpose: TicketPurpose,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<Ticket>>;

    /// Uses a ticket to confirm an address, and voids the others for that; returns the account, `None` when the ticket is
    /// not good. Of any number of racing calls one uses it.
    fn verify_email(&self, ticket: TokenHash, author: Author) -> StoreFuture<'_, Option<User>>;

    /// Uses a ticket to set a password, as [`set_password`](Self::set_password) does; returns the account, `None` when
    /// the ticket is not good. One that was mailed confirms the address, too; one that was handed over says nothing of it.
    ///
    /// Where the address is confirmed by that, and was not before, the account may have been somebody else's, who registered with an address that
    /// is not theirs: then its keys are revoked and its identities unlinked as well, all others are put out of its
    /// personal project, its services are deleted, the invites that the account has made are withdrawn, and the project
    /// is taken out of those of others.
    fn reset_password(
        &self,
        ticket: TokenHash,
        hash: String,
        author: Author,
    ) -> StoreFuture<'_, Option<User>>;

    /// Ends the sessions of a person and, as [`reset_password`](Self::reset_password) does where the address was not
    /// confirmed, all else that others may have made of the account. Returns whether there is such an account.
    ///
    /// From then on whoever has begun something in its name before `author.at` is refused as
    /// [`Stale`](crate::store::StoreErrorKind::Stale) by what changes accounts, identities, projects, members, invites
    /// and keys, as after such a reset. A reset says when it began, and lets requests in until it is committed; who calls
    /// this afterwards, with the moment at which it does, ends what those have made and refuses the rest.
    fn secure_account(&self, id: UserId, author: Author) -> StoreFuture<'_, bool>;
}
