//! API keys: how often the store is asked, and how soon a change is seen.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use llm_gate::auth::{ApiKeySecret, ApiKeyVerifier, AuthError, KeyHasher};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{Credential, KeyId, Principal, ProjectId, Role, UserId};
use llm_gate::store::{
    ApiKey, ApiKeyRecord, CredentialStore, MemoryStore, NewApiKey, NewSession, NewUser, Rotation,
    StoreError, StoreErrorKind, StoreFuture, TokenHash, UserStore,
};
use llm_gate::test_util::ManualClock;
use tokio::sync::Semaphore;

/// Counts look-ups, and holds their answers back or fails them when told to.
struct Watched {
    store: MemoryStore,
    asked: AtomicUsize,
    down: AtomicBool,
    gate: Semaphore,
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

struct Scene {
    store: Arc<Watched>,
    clock: ManualClock,
    hasher: KeyHasher,
    verifier: ApiKeyVerifier,
    user: UserId,
    project: ProjectId,
}

impl Scene {
    async fn new() -> Self {
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

    async fn keep(&self, key: &ApiKeySecret, expires_at: Option<Timestamp>) -> KeyId {
        let new = NewApiKey {
            id: KeyId::new(),
            public_id: key.public_id().to_owned(),
            hash: key.hash(&self.hasher),
            name: "test".into(),
            user: self.user,
            project: self.project,
            created_at: self.clock.now(),
            expires_at,
        };
        self.store.create_key(new).await.expect("a free id").id
    }

    async fn key(&self) -> (ApiKeySecret, KeyId) {
        let key = ApiKeySecret::generate();
        let id = self.keep(&key, None).await;
        (key, id)
    }

    async fn revoke(&self, id: KeyId) {
        self.store
            .revoke_key(self.project, self.user, id, self.clock.now())
            .await
            .expect("the store is there")
            .expect("the key is there");
    }

    async fn check(&self, key: &str) -> &'static str {
        reason(self.verifier.check(key).await)
    }

    fn asked(&self) -> usize {
        self.store.asked.load(Ordering::SeqCst)
    }
}

fn reason(answer: Result<Principal, AuthError>) -> &'static str {
    match answer {
        Ok(_) => "accepted",
        Err(error) => error.reason(),
    }
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

/// Puts another secret behind the public id of `key`, with a checksum that holds.
fn with_other_secret(key: &ApiKeySecret) -> String {
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

#[tokio::test]
async fn a_good_key_tells_whose_it_is_and_costs_one_look_up() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    for _ in 0..3 {
        let principal = scene.verifier.check(key.expose()).await.expect("good");
        let expected = Principal::new(scene.user, scene.project, Credential::Key(id));
        assert_eq!(principal, expected.role(Role::Admin));
    }
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_bad_key_costs_at_most_one_look_up() {
    let scene = Scene::new().await;
    let mistyped = ApiKeySecret::generate().expose().replace("lg_", "lg-");
    assert_eq!(scene.check(&mistyped).await, "malformed");
    assert_eq!(scene.check("").await, "malformed");
    assert_eq!(scene.asked(), 0, "a wrong form or checksum asks nobody");

    let unknown = ApiKeySecret::generate();
    for _ in 0..5 {
        assert_eq!(scene.check(unknown.expose()).await, "invalid");
        scene.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(scene.asked(), 1, "it is remembered that there is none");
    scene.clock.advance(Duration::from_secs(10));
    assert_eq!(scene.check(unknown.expose()).await, "invalid");
    assert_eq!(scene.asked(), 2, "but not for ever");
}

#[tokio::test]
async fn a_wrong_secret_neither_harms_the_right_one_nor_asks_again() {
    let scene = Scene::new().await;
    let (key, _) = scene.key().await;
    for _ in 0..3 {
        assert_eq!(scene.check(&with_other_secret(&key)).await, "invalid");
    }
    assert_eq!(
        scene.check(key.expose()).await,
        "accepted",
        "after wrong ones"
    );
    assert_eq!(
        scene.check(&with_other_secret(&key)).await,
        "invalid",
        "after the right one"
    );
    assert_eq!(scene.check(key.expose()).await, "accepted");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_key_hashed_under_another_pepper_is_invalid() {
    let scene = Scene::new().await;
    let (key, _) = scene.key().await;
    let other = KeyHasher::new(&[6; 32]).expect("long enough");
    let verifier = ApiKeyVerifier::new(scene.store.clone(), other, Arc::new(scene.clock.clone()));
    assert_eq!(reason(verifier.check(key.expose()).await), "invalid");
}

#[tokio::test]
async fn a_key_revoked_elsewhere_stops_within_a_second() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    assert_eq!(scene.check(key.expose()).await, "accepted");
    scene.revoke(id).await;
    scene.clock.advance(Duration::from_millis(999));
    assert_eq!(
        scene.check(key.expose()).await,
        "accepted",
        "still remembered"
    );
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.check(key.expose()).await, "revoked");
    assert_eq!(
        scene.check(&with_other_secret(&key)).await,
        "invalid",
        "tells nobody else"
    );
}

#[tokio::test]
async fn a_clock_set_back_does_not_lengthen_the_memory() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    assert_eq!(scene.check(key.expose()).await, "accepted");
    scene.revoke(id).await;
    scene.clock.set(Timestamp::from_micros(
        scene.clock.now().as_micros() - 3_600_000_000,
    ));
    assert_eq!(scene.check(key.expose()).await, "revoked");
}

#[tokio::test]
async fn a_key_revoked_here_stops_at_once() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    assert_eq!(scene.check(key.expose()).await, "accepted");
    scene.revoke(id).await;
    scene.verifier.clone().invalidate(key.public_id());
    assert_eq!(
        scene.check(key.expose()).await,
        "revoked",
        "clones share their memory"
    );
    scene.verifier.invalidate("not one of ours");
}

#[tokio::test]
async fn a_look_up_under_way_does_not_bring_a_revoked_key_back() {
    for all in [false, true] {
        let scene = Scene::new().await;
        let (key, id) = scene.key().await;
        let held = scene.store.gate.acquire().await.expect("never closed");
        let mut check = pin!(scene.verifier.check(key.expose()));
        assert!(
            poll_once(&mut check).await.is_pending(),
            "the store has read, not answered"
        );

        scene.revoke(id).await;
        if all {
            scene.verifier.invalidate_all();
        } else {
            scene.verifier.invalidate(key.public_id());
        }
        drop(held);
        assert_eq!(reason(check.await), "revoked", "it is asked again");
        assert_eq!(
            scene.check(key.expose()).await,
            "revoked",
            "nor is it remembered"
        );
        assert_eq!(scene.asked(), 2);
    }
}

#[tokio::test]
async fn an_answer_not_picked_up_yet_is_taken_back_too() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    let held = scene.store.gate.acquire().await.expect("never closed");
    let mut first = pin!(scene.verifier.check(key.expose()));
    let mut second = pin!(scene.verifier.check(key.expose()));
    assert!(poll_once(&mut first).await.is_pending());
    assert!(poll_once(&mut second).await.is_pending());
    drop(held);
    assert_eq!(reason(first.await), "accepted", "before the revocation");
    scene.revoke(id).await;
    scene.verifier.invalidate(key.public_id());
    assert_eq!(
        reason(second.await),
        "revoked",
        "the shared answer is void by now"
    );
}

#[tokio::test]
async fn a_key_made_after_it_was_tried_works_at_once() {
    let scene = Scene::new().await;
    let key = ApiKeySecret::generate();
    assert_eq!(scene.check(key.expose()).await, "invalid");
    scene.keep(&key, None).await;
    scene.verifier.created(key.public_id());
    assert_eq!(scene.check(key.expose()).await, "accepted");
}

#[tokio::test]
async fn an_expired_key_stops_on_the_dot_though_it_is_remembered() {
    let scene = Scene::new().await;
    let key = ApiKeySecret::generate();
    let end = scene.clock.now().after(Duration::from_millis(500));
    scene.keep(&key, Some(end)).await;
    assert_eq!(scene.check(key.expose()).await, "accepted");
    scene.clock.advance(Duration::from_millis(500));
    assert_eq!(scene.check(key.expose()).await, "expired");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn the_keys_of_a_disabled_user_stop() {
    let scene = Scene::new().await;
    let (key, _) = scene.key().await;
    assert_eq!(scene.check(key.expose()).await, "accepted");
    let done = scene.store.store.set_user_disabled(scene.user, true).await;
    assert!(done.expect("the store is there"));
    scene.verifier.invalidate_all();
    assert_eq!(scene.check(key.expose()).await, "revoked");
}

#[tokio::test]
async fn a_store_that_is_down_is_not_remembered() {
    let scene = Scene::new().await;
    let (key, _) = scene.key().await;
    scene.store.down.store(true, Ordering::SeqCst);
    let error = scene.verifier.check(key.expose()).await.expect_err("down");
    let AuthError::Unavailable(cause) = error else {
        panic!("{error:?}");
    };
    assert_eq!(cause.kind(), StoreErrorKind::Unavailable);
    scene.store.down.store(false, Ordering::SeqCst);
    assert_eq!(scene.check(key.expose()).await, "accepted");
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_one_look_up() {
    let scene = Scene::new().await;
    let (key, _) = scene.key().await;
    let wrong = with_other_secret(&key);
    let held = scene.store.gate.acquire().await.expect("never closed");
    let mut checks: Vec<_> = (0..10)
        .map(|n| {
            scene
                .verifier
                .check(if n % 2 == 0 { key.expose() } else { &wrong })
        })
        .collect();
    for check in &mut checks {
        assert!(poll_once(check).await.is_pending());
    }
    // The one that began the look-up goes, and takes nobody's answer with it.
    drop(checks.remove(0));
    drop(held);
    for (n, check) in checks.into_iter().enumerate() {
        let expected = if n % 2 == 0 { "invalid" } else { "accepted" };
        assert_eq!(reason(check.await), expected, "each by its own secret");
    }
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_look_up_nobody_waits_for_any_more_is_begun_anew() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    let held = scene.store.gate.acquire().await.expect("never closed");
    let mut check = scene.verifier.check(key.expose());
    assert!(poll_once(&mut check).await.is_pending());
    drop(check);
    drop(held);
    scene.revoke(id).await;
    assert_eq!(scene.check(key.expose()).await, "revoked");
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn an_old_look_up_is_not_joined_and_does_not_overwrite_a_newer_one() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    let held = scene.store.gate.acquire().await.expect("never closed");
    let mut old = scene.verifier.check(key.expose());
    assert!(poll_once(&mut old).await.is_pending());
    scene.clock.advance(Duration::from_secs(1));
    scene.revoke(id).await;
    let mut new = scene.verifier.check(key.expose());
    assert!(poll_once(&mut new).await.is_pending());
    drop(held);
    assert_eq!(reason(old.await), "accepted", "as of the time it was asked");
    assert_eq!(
        reason(new.await),
        "revoked",
        "what the old one read is too old"
    );
    assert_eq!(scene.check(key.expose()).await, "revoked");
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn memory_is_bounded_and_can_be_done_without() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    let forgetful = scene.verifier.clone().capacity(8).life(Duration::ZERO);
    assert_eq!(reason(forgetful.check(key.expose()).await), "accepted");
    scene.revoke(id).await;
    assert_eq!(reason(forgetful.check(key.expose()).await), "revoked");
    for _ in 0..100 {
        let unknown = ApiKeySecret::generate();
        assert_eq!(reason(forgetful.check(unknown.expose()).await), "invalid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocation_wins_every_race() {
    let scene = Arc::new(Scene::new().await);
    scene.store.gate.add_permits(64);
    for _ in 0..50 {
        let (key, id) = scene.key().await;
        let checks: Vec<_> = (0..4)
            .map(|_| {
                let (scene, key) = (scene.clone(), key.clone());
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let reason = scene.check(key.expose()).await;
                        assert!(matches!(reason, "accepted" | "revoked"), "{reason}");
                    }
                })
            })
            .collect();
        scene.revoke(id).await;
        scene.verifier.invalidate(key.public_id());
        assert_eq!(
            scene.check(key.expose()).await,
            "revoked",
            "the clock stands still"
        );
        for check in checks {
            check.await.expect("no panic");
        }
        assert_eq!(
            scene.check(key.expose()).await,
            "revoked",
            "nothing brought it back"
        );
    }
}
