use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{
    ApiKey, ApiKeyRecord, AuditStore, CallFilter, CallPage, CallQuery, CallRecord, Check,
    CredentialStore, LedgerStore, Limit, LimitChange, LineQuery, Lines, Membership, NewApiKey,
    NewSession, NewUser, Operation, Outcome, OwnerId, PasswordRecord, Price, ProjectStore,
    Rotation, Standing, StoreError, StoreErrorKind, StoreFuture, TokenHash, Totals, UsageQuery,
    UsageRow, UsageScope, UsageStatistics, UsageStore, UsageSum, User, UserStore, Verification,
};
use llm_gate_diesel::SqliteStore;
use tokio::sync::watch;

/// The real database, watched: counts what the gateway asks of it, tells when the books change, and can
/// be cut off.
#[derive(Debug)]
pub struct WatchedStore {
    inner: SqliteStore,
    changes: watch::Sender<u64>,
    key_lookups: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    batches: AtomicU64,
    refused: watch::Sender<u64>,
    away: AtomicBool,
}

/// How often the gateway has asked what of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Look-ups of keys by their public ids.
    pub key_lookups: u64,
    /// Other reads.
    pub reads: u64,
    /// Writes, the books not counted.
    pub writes: u64,
    /// Transactions on the books.
    pub batches: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    KeyLookup,
    Read,
    Write,
    Batch,
}

impl WatchedStore {
    /// Watches `inner`.
    #[must_use]
    pub fn new(inner: SqliteStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            changes: watch::Sender::new(0),
            key_lookups: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            refused: watch::Sender::new(0),
            away: AtomicBool::new(false),
        })
    }

    /// Returns the database behind it.
    #[must_use]
    pub const fn database(&self) -> &SqliteStore {
        &self.inner
    }

    /// Returns what has been asked so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            key_lookups: self.key_lookups.load(Ordering::SeqCst),
            reads: self.reads.load(Ordering::SeqCst),
            writes: self.writes.load(Ordering::SeqCst),
            batches: self.batches.load(Ordering::SeqCst),
        }
    }

    /// Cuts the database off, or connects it again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Watches how many transactions on the books were written.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Watches how many transactions on the books failed.
    pub fn failures(&self) -> watch::Receiver<u64> {
        self.refused.subscribe()
    }

    fn ask<'a, T: 'a>(&'a self, kind: Kind, call: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        let counter = match kind {
            Kind::KeyLookup => &self.key_lookups,
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
            Kind::Batch => &self.batches,
        };
        counter.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new(StoreErrorKind::Unavailable)) });
        }
        call
    }
}

impl LedgerStore for WatchedStore {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        let applied = self.ask(Kind::Batch, self.inner.apply(batch));
        Box::pin(async move {
            let applied = applied.await;
            let told = if applied.is_ok() {
                &self.changes
            } else {
                &self.refused
            };
            told.send_modify(|count| *count += 1);
            applied
        })
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        self.ask(Kind::Read, self.inner.standing(subject))
    }

    fn standings(
        &self,
        subject: Subject,
        at: Timestamp,
    ) -> StoreFuture<'_, Vec<(Limit, Standing)>> {
        self.ask(Kind::Read, self.inner.standings(subject, at))
    }

    fn change_limit(&self, change: LimitChange) -> StoreFuture<'_, Option<Standing>> {
        self.ask(Kind::Write, self.inner.change_limit(change))
    }

    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>> {
        self.ask(Kind::Read, self.inner.limits(subject))
    }

    fn set_price(&self, price: Price, at: Timestamp) -> StoreFuture<'_, Price> {
        self.ask(Kind::Write, self.inner.set_price(price, at))
    }

    fn prices(&self) -> StoreFuture<'_, Vec<Price>> {
        self.ask(Kind::Read, self.inner.prices())
    }

    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId> {
        self.ask(Kind::Write, self.inner.enlist(at, lease))
    }

    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool> {
        self.ask(Kind::Write, self.inner.renew(owner, at, lease))
    }

    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>> {
        self.ask(Kind::Write, self.inner.orphans(at, grace, count))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.ask(Kind::Read, self.inner.totals())
    }
}

impl AuditStore for WatchedStore {
    fn verify(&self, check: Check) -> StoreFuture<'_, Verification> {
        self.ask(Kind::Read, self.inner.verify(check))
    }

    fn lines(&self, query: LineQuery) -> StoreFuture<'_, Lines> {
        self.ask(Kind::Read, self.inner.lines(query))
    }

    fn presumed(&self, after: Option<RequestId>, count: u32) -> StoreFuture<'_, Vec<CallRecord>> {
        self.ask(Kind::Read, self.inner.presumed(after, count))
    }

    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>> {
        self.ask(Kind::Read, self.inner.call(id))
    }

    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool> {
        self.ask(Kind::Read, self.inner.knows(subject))
    }
}

impl UserStore for WatchedStore {
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User> {
        self.ask(Kind::Write, self.inner.create_user(user))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        self.ask(Kind::Read, self.inner.user(id))
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>> {
        self.ask(Kind::Read, self.inner.user_by_login(login))
    }

    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>> {
        self.ask(Kind::Read, self.inner.users(after, limit))
    }

    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool> {
        self.ask(Kind::Write, self.inner.replace_password_hash(id, old, new))
    }

    fn set_user_disabled(&self, id: UserId, disabled: bool) -> StoreFuture<'_, bool> {
        self.ask(Kind::Write, self.inner.set_user_disabled(id, disabled))
    }
}

impl UsageStore for WatchedStore {
    fn calls(&self, query: CallQuery) -> StoreFuture<'_, CallPage> {
        self.ask(Kind::Read, self.inner.calls(query))
    }

    fn usage(&self, scope: UsageScope, filter: CallFilter) -> StoreFuture<'_, UsageSum> {
        self.ask(Kind::Read, self.inner.usage(scope, filter))
    }

    fn usage_by(&self, query: UsageQuery) -> StoreFuture<'_, Option<Vec<UsageRow>>> {
        self.ask(Kind::Read, self.inner.usage_by(query))
    }

    fn statistics(&self) -> StoreFuture<'_, UsageStatistics> {
        self.ask(Kind::Read, self.inner.statistics())
    }
}

impl ProjectStore for WatchedStore {
    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>> {
        self.ask(Kind::Read, self.inner.projects_of(user))
    }

    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>> {
        self.ask(Kind::Read, self.inner.membership(project, user))
    }
}

impl CredentialStore for WatchedStore {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey> {
        self.ask(Kind::Write, self.inner.create_key(key))
    }

    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.ask(Kind::KeyLookup, self.inner.key_by_public_id(public_id))
    }

    fn keys(&self, project: ProjectId, user: UserId, limit: u32) -> StoreFuture<'_, Vec<ApiKey>> {
        self.ask(Kind::Read, self.inner.keys(project, user, limit))
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        user: UserId,
        key: KeyId,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.ask(Kind::Write, self.inner.revoke_key(project, user, key, at))
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.ask(Kind::Write, self.inner.touch_key(key, at))
    }

    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()> {
        self.ask(Kind::Write, self.inner.create_session(session))
    }

    fn rotate_session(
        &self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> StoreFuture<'_, Rotation> {
        self.ask(
            Kind::Write,
            self.inner.rotate_session(old, new, at, idle_until),
        )
    }

    fn revoke_session(&self, token: TokenHash, at: Timestamp) -> StoreFuture<'_, bool> {
        self.ask(Kind::Write, self.inner.revoke_session(token, at))
    }
}
