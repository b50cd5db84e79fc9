//! API keys: who is recognised, how often the store is asked, and how soon a change is seen.

use std::sync::Arc;
use std::time::Duration;

use llm_gate::auth::{ApiKeySecret, ApiKeyVerifier, KeyHasher};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{Credential, KeyGrants, Principal, ProjectId, Role, UserId};
use llm_gate::store::{Author, CredentialStore, KeyChange, NewKeySecret, UserStore};

use crate::forge::reason;
use crate::scene::{Scene, admin, with_other_secret};

#[tokio::test]
async fn a_good_key_tells_whose_it_is_and_costs_one_look_up() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    for _ in 0..3 {
        let principal = scene.verifier.check(key.expose()).await.expect("good");
        let expected = Principal::new(scene.user, scene.project, Credential::Key(id))
            .role(Role::Admin)
            .grants(Arc::new(KeyGrants::default()))
            .public_id(key.public_id().into());
        assert_eq!(principal, expected);
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
    let (store, now) = (&scene.store.store, scene.clock.now());
    // Somebody has to administer the platform after that.
    let other = admin(UserId::new(), ProjectId::new(), "bob", now);
    store.create_user(other).await.expect("a free name");
    let done = store.set_user_disabled(scene.user, true, Author::system(now));
    assert!(done.await.expect("the store is there"));
    scene.verifier.invalidate_all();
    assert_eq!(scene.check(key.expose()).await, "revoked");
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

#[tokio::test]
async fn unknown_keys_are_remembered_but_not_without_bound() {
    let scene = Scene::new().await;
    let verifier = scene.verifier.clone().capacity(64);
    let unknown: Vec<ApiKeySecret> = (0..500).map(|_| ApiKeySecret::generate()).collect();
    for key in &unknown {
        assert_eq!(reason(verifier.check(key.expose()).await), "invalid");
        assert_eq!(reason(verifier.check(key.expose()).await), "invalid");
    }
    assert_eq!(
        scene.asked(),
        500,
        "one look-up a bad key, however often it is sent"
    );
    for key in &unknown {
        assert_eq!(reason(verifier.check(key.expose()).await), "invalid");
    }
    let again = scene.asked() - 500;
    assert!(
        again >= 500 - 128,
        "{} of 500 are remembered in room for 64",
        500 - again
    );
}

#[tokio::test]
async fn a_rotated_key_works_with_both_secrets_until_the_overlap_ends() {
    let scene = Scene::new().await;
    let (old, id) = scene.key().await;
    let new = ApiKeySecret::generate();
    let now = scene.clock.now();
    let secret = NewKeySecret {
        public_id: new.public_id().to_owned(),
        hash: new.hash(&scene.hasher),
        overlap_until: now.after(Duration::from_secs(60)),
        judged: None,
        author: Author::system(now),
    };
    let rotated = scene.store.rotate_key(scene.name(id), secret).await;
    assert!(rotated.expect("in memory").is_some(), "the key is there");
    for key in [&old, &new] {
        let principal = scene.verifier.check(key.expose()).await.expect("good");
        assert_eq!(principal.credential, Credential::Key(id), "it is one key");
    }
    scene.clock.advance(Duration::from_secs(60));
    assert_eq!(
        scene.check(old.expose()).await,
        "expired",
        "the overlap is over"
    );
    assert_eq!(
        scene.check(new.expose()).await,
        "accepted",
        "the new one stays"
    );
    let swapped = with_other_secret(&new);
    assert_eq!(
        scene.check(&swapped).await,
        "invalid",
        "each public part has one secret"
    );
}

#[tokio::test]
async fn a_key_brings_along_what_it_may_do() {
    let scene = Scene::new().await;
    let (key, id) = scene.key().await;
    let grants = KeyGrants {
        models: Some(vec!["small".to_owned()]),
        clamps: true,
        ..KeyGrants::default()
    };
    let change = KeyChange {
        grants: Some(grants.clone()),
        ..KeyChange::default()
    };
    let author = Author::system(scene.clock.now());
    let changed = scene.store.change_key(scene.name(id), change, author).await;
    assert!(changed.expect("in memory").is_some(), "the key is there");
    let principal = scene.verifier.check(key.expose()).await.expect("good");
    assert!(principal.clamps, "calls are cut to what is left");
    assert!(principal.allows_model("small"), "this model it may call");
    assert!(!principal.allows_model("large"), "and no other");
    assert_eq!(principal.grants.as_deref(), Some(&grants), "all of it");
}
