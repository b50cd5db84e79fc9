//! A store that is watched, a user in it, and a verifier in front of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use llm_gate::auth::{ApiKeySecret, ApiKeyVerifier, KeyHasher};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, Role, UserId};
use llm_gate::store::{
    ApiKey, ApiKeyRecord, Author, CredentialStore, KeyChange, KeyName, MemoryStore, NewApiKey,
    NewKeySecret, NewUser, StoreError, StoreErrorKind, StoreFuture, UserStore,
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

    fn keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.store.keys(project, owner, before, limit)
    }

    fn unrevoked_keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.store.unrevoked_keys(project, owner, before, limit)
    }

    fn owned_keys(
        &self,
        owner: UserId,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.store.owned_keys(owner, before, limit)
    }

    fn key_of_member(&self, id: KeyId, member: UserId) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.key_of_member(id, member)
    }

    fn key(&self, name: KeyName) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.key(name)
    }

    fn change_key(
        &self,
        name: KeyName,
        change: KeyChange,
        author: Author,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.change_key(name, change, author)
    }

    fn rotate_key(&self, name: KeyName, secret: NewKeySecret) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.rotate_key(name, secret)
    }

    fn revoke_key(&self, name: KeyName, author: Author) -> StoreFuture<'_, Option<ApiKey>> {
        self.store.revoke_key(name, author)
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.store.touch_key(key, at)
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
        let new = admin(user, project, "alice", clock.now());
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
            grants: KeyGrants::default(),
            expires_at,
            at_most: None,
            author: self.author(),
        };
        self.store.create_key(new).await.expect("a free id").id
    }

    pub(crate) async fn key(&self) -> (ApiKeySecret, KeyId) {
        let key = ApiKeySecret::generate();
        let id = self.keep(&key, None).await;
        (key, id)
    }

    fn author(&self) -> Author {
        Author::system(self.clock.now())
    }

    pub(crate) fn name(&self, id: KeyId) -> KeyName {
        KeyName {
            project: self.project,
            owner: Some(self.user),
            id,
        }
    }

    pub(crate) async fn revoke(&self, id: KeyId) {
        self.store
            .revoke_key(self.name(id), self.author())
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

/// An account that may manage everybody.
pub(crate) fn admin(id: UserId, project: ProjectId, name: &str, at: Timestamp) -> NewUser {
    NewUser {
        id,
        email: None,
        email_verified: false,
        username: Some(name.to_owned()),
        name: None,
        password_hash: None,
        identity: None,
        role: Role::Admin,
        personal_project: project,
        personal_project_name: name.to_owned(),
        token_limit: None,
        invite: None,
        author: Author::system(at),
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
