//! A store that is watched, a user in it, and a verifier in front of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use llm_gate::auth::{ApiKeySecret, ApiKeyVerifier, KeyHasher};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{KeyId, ProjectId, Role, UserId};
use llm_gate::store::{
    ApiKey, ApiKeyRecord, CredentialStore, MemoryStore, NewApiKey, NewSession, NewUser, Rotation,
    StoreError, StoreErrorKind, StoreFuture, TokenHash, UserStore,
};
use llm_gate::test_util::ManualClock;
use tokio::sync::Semaphore;

use crate::forge::reason;

/// Counts look-ups, and holds their answers back or fails them when told to.
pub(crate) struct Watched {
    pub(crate) store: MemoryStore,
    pub(crate) asked: AtomicUsize,
    pub(crate) down: AtomicBool,
    pub(crate) gate: Semaphore,
}

impl CredentialStore for Watched {
    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // The worst case: read first, answer late.
            let answer = self.store.key_by_public_id(public_id).await;
            let _open = self.gate.acquire().await.expect("never closed");
            if self.down.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            answer
        })
    }

    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey> {
        self.store.create_key(key)
    }

    fn keys(&self, project: ProjectId, user: UserId, limit: u32) -> StoreFuture<'_, Vec<ApiKey>> {
        self.store.keys(project, user, limit)
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        user: UserId,
        key: KeyId,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.revoke_key(project, user, key, at)
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.store.touch_key(key, at)
    }

    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()> {
        self.store.create_session(session)
    }

    fn rotate_session(
        &self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> StoreFuture<'_, Rotation> {
        self.store.rotate_session(old, new, at, idle_until)
    }

    fn revoke_session(&self, token: TokenHash, at: Timestamp) -> StoreFuture<'_, bool> {
        self.store.revoke_session(token, at)
    }
}

pub(crate) struct Scene {
    pub(crate) store: Arc<Watched>,
    pub(crate) clock: ManualClock,
    pub(crate) hasher: KeyHasher,
    pub(crate) verifier: ApiKeyVerifier,
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(Watched {
            store: MemoryStore::new(),
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            gate: Semaphore::new(1),
        });
        let clock = ManualClock::new();
        let hasher = KeyHasher::new(&[5; 32]).expect("long enough");
        let (user, project) = (UserId::new(), ProjectId::new());
        let new = NewUser {
            id: user,
            email: None,
            username: Some("alice".into()),
            password_hash: String::new(),
            role: Role::Admin,
            personal_project: project,
            personal_project_name: "alice".into(),
            token_limit: None,
            created_at: clock.now(),
        };
        store.store.create_user(new).await.expect("a free name");
        let verifier = ApiKeyVerifier::new(store.clone(), hasher.clone(), Arc::new(clock.clone()));
        Self {
            store,
            clock,
            hasher,
            verifier,
            user,
            project,
        }
    }

    pub(crate) async fn keep(&self, key: &ApiKeySecret, expires_at: Option<Timestamp>) -> KeyId {
        let new = NewApiKey {
            id: KeyId::new(),
            public_id: key.public_id().to_owned(),
            hash: key.hash(&self.hasher),
            name: "test".into(),
            user: self.user,
            project: self.project,
            created_at: self.clock.now(),
            expires_at,
            clamps: false,
        };
        self.store.create_key(new).await.expect("a free id").id
    }

    pub(crate) async fn key(&self) -> (ApiKeySecret, KeyId) {
        let key = ApiKeySecret::generate();
        let id = self.keep(&key, None).await;
        (key, id)
    }

    pub(crate) async fn revoke(&self, id: KeyId) {
        self.store
            .revoke_key(self.project, self.user, id, self.clock.now())
            .await
            .expect("the store is there")
            .expect("the key is there");
    }

    pub(crate) async fn check(&self, key: &str) -> &'static str {
        reason(self.verifier.check(key).await)
    }

    pub(crate) fn asked(&self) -> usize {
        self.store.asked.load(Ordering::SeqCst)
    }
}

/// Polls once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Puts another secret behind the public id of `key`, with a checksum that holds.
pub(crate) fn with_other_secret(key: &ApiKeySecret) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let other = ApiKeySecret::generate();
    let mut text = format!("{}{}", &key.expose()[..16], &other.expose()[16..59]);
    let mut crc = crc32fast::hash(text.as_bytes());
    let mut checksum = [0; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    text.push_str(str::from_utf8(&checksum).expect("ASCII"));
    text
}
