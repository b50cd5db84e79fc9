use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, KeyId, ProjectId, RequestId, SessionId, Subject, UserId};
use llm_gate::store::*;
use llm_gate_diesel::SqliteStore;
use tokio::sync::watch;

/// The real database, watched: counts what the gateway asks of it, tells when the books change, and can
/// be cut off.
#[derive(Debug)]
pub struct WatchedStore<S = SqliteStore> {
    inner: S,
    changes: watch::Sender<u64>,
    key_lookups: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    batches: AtomicU64,
    upkeep: AtomicU64,
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
    /// Writes, neither the books nor the upkeep counted.
    pub writes: u64,
    /// Transactions on the books.
    pub batches: u64,
    /// What the gateway does by itself from time to time: renews its lease, forgets what ended long ago.
    pub upkeep: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    KeyLookup,
    Read,
    Write,
    Batch,
    Upkeep,
}

impl<S> WatchedStore<S> {
    /// Watches `inner`.
    #[must_use]
    pub fn new(inner: S) -> Arc<Self> {
        Arc::new(Self {
            inner,
            changes: watch::Sender::new(0),
            key_lookups: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            upkeep: AtomicU64::new(0),
            refused: watch::Sender::new(0),
            away: AtomicBool::new(false),
        })
    }

    /// Returns the database behind it.
    #[must_use]
    pub const fn database(&self) -> &S {
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
            upkeep: self.upkeep.load(Ordering::SeqCst),
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
            Kind::Upkeep => &self.upkeep,
        };
        counter.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new(StoreErrorKind::Unavailable)) });
        }
        call
    }
}

/// Passes calls on, each of its kind.
macro_rules! watched {
    ($($kind:ident $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $argument: $type)*) -> StoreFuture<'_, $answer> {
            self.ask(Kind::$kind, self.inner.$name($($argument),*))
        }
    )*};
}

impl<S: Store> LedgerStore for WatchedStore<S> {
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

    fn change_limits(&self, changes: Vec<LimitChange>) -> StoreFuture<'_, Option<Vec<Standing>>> {
        self.ask(Kind::Write, self.inner.change_limits(changes))
    }

    fn reset_usage(&self, reset: UsageReset) -> StoreFuture<'_, Standing> {
        self.ask(Kind::Write, self.inner.reset_usage(reset))
    }

    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>> {
        self.ask(Kind::Read, self.inner.limits(subject))
    }

    fn set_price(&self, price: Price, author: Author) -> StoreFuture<'_, Price> {
        self.ask(Kind::Write, self.inner.set_price(price, author))
    }

    fn prices(&self) -> StoreFuture<'_, Vec<Price>> {
        self.ask(Kind::Read, self.inner.prices())
    }

    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId> {
        self.ask(Kind::Upkeep, self.inner.enlist(at, lease))
    }

    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool> {
        self.ask(Kind::Upkeep, self.inner.renew(owner, at, lease))
    }

    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>> {
        self.ask(Kind::Upkeep, self.inner.orphans(at, grace, count))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.ask(Kind::Read, self.inner.totals())
    }
}

impl<S: Store> AuditStore for WatchedStore<S> {
    fn verify(&self, check: Check) -> StoreFuture<'_, Verification> {
        self.ask(Kind::Read, self.inner.verify(check))
    }

    fn lines(&self, query: LineQuery) -> StoreFuture<'_, Lines> {
        self.ask(Kind::Read, self.inner.lines(query))
    }

    fn presumed(&self, after: Option<RequestId>, count: u32) -> StoreFuture<'_, Vec<CallRecord>> {
        self.ask(Kind::Read, self.inner.presumed(after, count))
    }

    fn refund_presumed(
        &self,
        id: RequestId,
        author: Author,
    ) -> StoreFuture<'_, Option<CallRecord>> {
        self.ask(Kind::Write, self.inner.refund_presumed(id, author))
    }

    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>> {
        self.ask(Kind::Read, self.inner.call(id))
    }

    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool> {
        self.ask(Kind::Read, self.inner.knows(subject))
    }
}

impl<S: Store> UserStore for WatchedStore<S> {
    watched! {
        Write create_user(user: NewUser) -> User;
        Write create_service(service: NewService) -> Option<User>;
        Read user(id: UserId) -> Option<User>;
        Read user_by_login(login: String) -> Option<PasswordRecord>;
        Read user_by_identity(identity: Identity) -> Option<User>;
        Read users(after: Option<UserId>, limit: u32) -> Vec<User>;
        Write replace_password_hash(id: UserId, old: String, new: String) -> bool;
        Read next_password_hash(after: String) -> Option<String>;
        Write set_password(id: UserId, hash: String, keep: Option<SessionId>, author: Author) -> bool;
        Write change_password(
            id: UserId, proven: Option<String>, hash: String, keep: Option<SessionId>, author: Author
        ) -> bool;
        Write change_user(id: UserId, change: UserChange, author: Author) -> UserOutcome;
        Write delete_user(id: UserId, author: Author) -> UserOutcome;
        Write set_user_disabled(id: UserId, disabled: bool, author: Author) -> bool;
        Write link_identity(id: UserId, identity: Identity, since: Option<Timestamp>, author: Author) -> Linking;
        Write unlink_identity(id: UserId, identity: Identity, author: Author) -> Unlinking;
        Read identities(id: UserId) -> Vec<Identity>;
        Write create_ticket(ticket: NewTicket) -> ();
        Read ticket(hash: TokenHash, purpose: TicketPurpose, at: Timestamp) -> Option<Ticket>;
        Write verify_email(ticket: TokenHash, author: Author) -> Option<User>;
        Write reset_password(ticket: TokenHash, hash: String, author: Author) -> Option<User>;
        Write secure_account(id: UserId, author: Author) -> bool;
    }
}

impl<S: Store> UsageStore for WatchedStore<S> {
    fn calls(&self, query: CallQuery) -> StoreFuture<'_, CallPage> {
        self.ask(Kind::Read, self.inner.calls(query))
    }

    fn conversations(&self, query: ConversationQuery) -> StoreFuture<'_, ConversationPage> {
        self.ask(Kind::Read, self.inner.conversations(query))
    }

    fn usage(&self, scope: UsageScope, filter: CallFilter) -> StoreFuture<'_, UsageSum> {
        self.ask(Kind::Read, self.inner.usage(scope, filter))
    }

    fn usage_by(&self, query: UsageQuery) -> StoreFuture<'_, Option<Vec<UsageRow>>> {
        self.ask(Kind::Read, self.inner.usage_by(query))
    }

    fn usage_in_buckets(&self, query: BucketQuery) -> StoreFuture<'_, Option<Vec<BucketRow>>> {
        self.ask(Kind::Read, self.inner.usage_in_buckets(query))
    }

    fn statistics(&self) -> StoreFuture<'_, UsageStatistics> {
        self.ask(Kind::Read, self.inner.statistics())
    }
}

impl<S: Store> ProjectStore for WatchedStore<S> {
    watched! {
        Write create_project(project: NewProject) -> Option<Project>;
        Read projects_of(user: UserId) -> Vec<Membership>;
        Read membership(project: ProjectId, user: UserId) -> Option<Membership>;
        Read project(id: ProjectId) -> Option<Project>;
        Read projects(after: Option<ProjectId>, limit: u32, archived: bool) -> Vec<Project>;
        Write rename_project(id: ProjectId, name: String, author: Author) -> ProjectOutcome<Project>;
        Write archive_project(id: ProjectId, author: Author) -> ProjectOutcome<Project>;
        Read members(project: ProjectId, after: Option<UserId>, limit: u32) -> Vec<Member>;
        Read members_of_kind(project: ProjectId, kind: UserKind, after: Option<UserId>, limit: u32) -> Vec<Member>;
        Read member(project: ProjectId, user: UserId) -> Option<Member>;
        Write set_member(project: ProjectId, user: UserId, role: ProjectRole, author: Author) -> ProjectOutcome<Member>;
        Write remove_member(project: ProjectId, user: UserId, author: Author) -> ProjectOutcome<Member>;
        Write create_invite(invite: NewInvite) -> Option<Invite>;
        Read invites(project: Option<ProjectId>, before: Option<InviteId>, limit: u32) -> Vec<Invite>;
        Read kept_invites(before: Option<InviteId>, limit: u32) -> Vec<Invite>;
        Read invite(id: InviteId) -> Option<Invite>;
        Read invite_by_token(token: TokenHash) -> Option<Invite>;
        Write revoke_invite(project: Option<ProjectId>, id: InviteId, author: Author) -> Option<Invite>;
        Write accept_invite(token: TokenHash, user: UserId, author: Author) -> Option<Invite>;
    }
}

impl<S: Store> CredentialStore for WatchedStore<S> {
    watched! {
        Write create_key(key: NewApiKey) -> ApiKey;
        KeyLookup key_by_public_id(public_id: String) -> Option<ApiKeyRecord>;
        Read keys(project: ProjectId, owner: Option<UserId>, before: Option<KeyId>, limit: u32) -> Vec<ApiKey>;
        Read unrevoked_keys(project: ProjectId, owner: Option<UserId>, before: Option<KeyId>, limit: u32) -> Vec<ApiKey>;
        Read owned_keys(owner: UserId, before: Option<KeyId>, limit: u32) -> Vec<ApiKey>;
        Read key_of_member(id: KeyId, member: UserId) -> Option<ApiKey>;
        Read key(name: KeyName) -> Option<ApiKey>;
        Write change_key(name: KeyName, change: KeyChange, author: Author) -> Option<ApiKey>;
        Write rotate_key(name: KeyName, secret: NewKeySecret) -> Option<ApiKey>;
        Write revoke_key(name: KeyName, author: Author) -> Option<ApiKey>;
        Write touch_key(key: KeyId, at: Timestamp) -> ();
    }
}

impl<S: Store> SessionStore for WatchedStore<S> {
    watched! {
        Write create_session(session: NewSession) -> ();
        Write rotate_session(refresh: Refresh) -> Rotation;
        Read session(id: SessionId, at: Timestamp) -> Option<Session>;
        Read sessions(user: UserId, at: Timestamp) -> Vec<Session>;
        Write revoke_session(token: TokenHash, author: Author) -> bool;
        Write end_session(user: UserId, id: SessionId, author: Author) -> bool;
        Write end_sessions(user: UserId, keep: Option<SessionId>, author: Author) -> u64;
        Upkeep prune(before: Timestamp) -> u64;
    }
}

impl<S: Store> EventStore for WatchedStore<S> {
    watched! {
        Write note(event: Event) -> ();
        Read events(query: EventQuery, limit: u32) -> Vec<Event>;
    }
}
