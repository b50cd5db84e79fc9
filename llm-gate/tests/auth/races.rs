//! API keys: what happens while the store is asked.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llm_gate::auth::AuthError;
use llm_gate::store::StoreErrorKind;

use crate::forge::reason;
use crate::scene::{Scene, poll_once, with_other_secret};

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
        let mut late = pin!(scene.verifier.check(key.expose()));
        assert!(poll_once(&mut late).await.is_pending());
        assert_eq!(scene.asked(), 2, "the void look-up is not joined");
        drop(held);
        assert_eq!(reason(check.await), "revoked", "it is asked again");
        assert_eq!(reason(late.await), "revoked");
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
    scene.store.gate.add_permits(1);
    drop(held);
    assert_eq!(
        reason(new.await),
        "revoked",
        "what the old one read is too old"
    );
    assert_eq!(reason(old.await), "accepted", "as of the time it was asked");
    assert_eq!(
        scene.check(key.expose()).await,
        "revoked",
        "the newer answer stays"
    );
    assert_eq!(scene.asked(), 2);
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
