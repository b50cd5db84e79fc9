//! The storage traits: what the gate keeps, and what every backend promises.
//!
//! Each trait stands in the file of the data it exchanges. [`MemoryStore`] is the reference
//! implementation; `conformance` (feature `test-util`) is the suite that every backend passes.
//!
//! The methods return boxed futures, so that a server can choose its backend at run time. None of them
//! lies on the hot path: credentials are cached and reservations travel in batches.
//!
//! # Cancel safety
//!
//! Every method is one transaction: after its future was dropped it has happened as a whole or not at
//! all, never in part.
//!
//! ```
//! use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
//! use llm_gate::store::{LedgerStore, MemoryStore};
//! use llm_gate::tokens::Tokens;
//!
//! # async fn doc() -> Result<(), llm_gate::store::StoreError> {
//! let store = MemoryStore::new();
//! let user = Subject::User(UserId::new());
//! store.set_limit(user, Some(Tokens::new(10_000))).await?;
//! assert_eq!(store.standing(user).await?.remaining(), Some(Tokens::new(10_000)));
//! # Ok(()) }
//! ```

mod audit;
mod call;
mod credential;
mod error;
mod event;
mod ledger;
mod limit;
#[cfg(feature = "memory")]
mod memory;
mod operation;
mod price;
mod project;
pub mod rules;
mod session;
mod usage;
mod user;

#[cfg(feature = "test-util")]
pub mod conformance;

use std::pin::Pin;

pub use audit::{
    AuditStore, CallRecord, Check, Figure, Finding, LedgerLine, LineFault, LineName, LineQuery,
    Lines, Link, Verification,
};
pub use call::{CallInfo, Served};
pub use credential::{
    ApiKey, ApiKeyRecord, CredentialStore, Judged, KeyChange, KeyName, NewApiKey, NewKeySecret,
    TOUCH_EVERY, TokenHash,
};
pub use error::{StoreError, StoreErrorKind};
pub use event::{Action, Actor, Author, Event, EventQuery, EventStore, Target};
pub use ledger::{LedgerStore, LimitChange, Totals, UsageReset};
pub use limit::{
    CounterKey, Limit, LimitKey, Limits, MAX_LIMITS, MAX_VOLUNTARY_LIMITS, Period, Unit,
    UnknownZone, Window, Zone,
};
#[cfg(feature = "memory")]
pub use memory::{MemoryBooks, MemoryStore};
pub use operation::{
    Denial, DenialReason, Ending, Extend, Grant, Hold, Operation, Outcome, OwnerId, Refund,
    Reserve, Settle, Settlement, Source, Standing,
};
pub use price::{MAX_RATE, PRICE_SCALE, Price, Rates, Tariff, WEIGHT_SCALE};
pub use project::{
    Invite, Member, Membership, NewInvite, NewProject, Project, ProjectOutcome, ProjectRole,
    ProjectStore, may_set_member,
};
pub use session::{MAX_SESSIONS, NewSession, Refresh, Rotation, Session, SessionStore};
pub use usage::{
    BucketGroups, BucketKey, BucketQuery, BucketRow, BucketWidth, CallCursor, CallFilter, CallPage,
    CallQuery, Conversation, ConversationCursor, ConversationPage, ConversationQuery,
    InvalidCursor, OutOfRange, Stretch, UsageGroup, UsageKey, UsagePeriod, UsageQuery, UsageRow,
    UsageScope, UsageStatistics, UsageStore, UsageSum, UsageTable,
};
pub use user::{
    Identity, Linking, MAX_IDENTITIES, MAX_SERVICES, NewService, NewTicket, NewUser,
    PasswordRecord, Ticket, TicketPurpose, Unlinking, User, UserChange, UserKind, UserOutcome,
    UserStore,
};

/// What a storage method returns: a boxed future of a result.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Everything a server needs, in one bound: implemented by whatever implements all of it.
pub trait Store:
    UserStore
    + ProjectStore
    + CredentialStore
    + SessionStore
    + EventStore
    + LedgerStore
    + AuditStore
    + UsageStore
{
}

impl<T> Store for T where
    T: UserStore
        + ProjectStore
        + CredentialStore
        + SessionStore
        + EventStore
        + LedgerStore
        + AuditStore
        + UsageStore
{
}
