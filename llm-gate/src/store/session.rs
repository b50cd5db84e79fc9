use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{SessionId, UserId};
use crate::store::{Author, StoreFuture, TokenHash};

/// How many sessions of a user live at once: one more ends the oldest.
pub const MAX_SESSIONS: usize = 100;

/// A login session to be kept: the first refresh token of a family.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The family.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// The hash of the refresh token.
    pub token: TokenHash,
    /// When the refresh token stops working unless it is rotated.
    pub idle_until: Timestamp,
    /// When the whole family ends, rotated or not.
    pub ends_at: Timestamp,
    /// What the client calls itself, bounded by the caller.
    pub agent: Option<String>,
    /// Who logs in, from where, and when.
    pub author: Author,
}

/// A login session as its user sees it. Neither token nor hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The family.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last got a new refresh token.
    pub refreshed_at: Timestamp,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    /// From where it was made.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: Option<String>,
}

/// A refresh token to be replaced by another.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The hash of the one that came.
    pub old: TokenHash,
    /// The hash of the one to be given out for it, always the same one for the same old one.
    pub new: TokenHash,
    /// Who brings it, from where, and when.
    pub author: Author,
    /// When the new one stops working; it never passes the family's own end.
    pub idle_until: Timestamp,
    /// How long after its rotation the old one may come again, as from racing tabs, and gets the same new one as long as
    /// that is unused.
    pub grace: Duration,
}

/// What became of an attempt to rotate a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// The old token is spent, the new one is in force; or was already, within the grace.
    Rotated(Session),
    /// The token was spent before: its whole family has been revoked by this call.
    Reused(Session),
    /// The token is unknown, revoked or too old.
    Refused,
}

/// Keeps login sessions, by the hashes of their refresh tokens.
///
/// Beginnings and ends leave an [`Event`](crate::store::Event) each in their own transaction; rotations do not.
///
/// A session lives until it is ended, its token idles out, or its own end comes, and while its user is enabled.
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a session. Where the user has [`MAX_SESSIONS`] that live, the oldest of them ends in the same transaction.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when identifier or token are taken.
    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()>;

    /// Replaces a refresh token by another in one atomic step: any number of racing calls with the same one get the same
    /// other one.
    ///
    /// A spent token whose successor was used or is another, or that comes after the grace, was stolen or its successor
    /// was: the family is revoked (RFC 9700, section 4.14.2). The event of that says who brought the token.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the new token is another's.
    fn rotate_session(&self, refresh: Refresh) -> StoreFuture<'_, Rotation>;

    /// Returns a session that lives at `at`.
    fn session(&self, id: SessionId, at: Timestamp) -> StoreFuture<'_, Option<Session>>;

    /// Lists the sessions of a user that live at `at`, newest first.
    fn sessions(&self, user: UserId, at: Timestamp) -> StoreFuture<'_, Vec<Session>>;

    /// Ends the session that a refresh token belongs to, spent or not; returns whether one lived.
    fn revoke_session(&self, token: TokenHash, author: Author) -> StoreFuture<'_, bool>;

    /// Ends one session of a user; returns whether it lived.
    fn end_session(&self, user: UserId, id: SessionId, author: Author) -> StoreFuture<'_, bool>;

    /// Ends all sessions of a user but `keep`; returns how many.
    fn end_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, u64>;

    /// Forgets sessions that ended, and tickets that stopped being good, before `before`; at most some thousands of each.
    /// Returns how many.
    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64>;
}
