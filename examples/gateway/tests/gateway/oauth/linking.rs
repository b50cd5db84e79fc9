//! Whose account it is: the identity alone says who is known, and an address counts if both sides have confirmed it.

use http::StatusCode;
use llm_gate::store::{Action, Actor};
use llm_gate_gateway::config::Registration;
use serde_json::json;

use super::provider::{ADA, Person};
use super::{Scene, me, refused};
use crate::support::PASSWORD;

const ADDRESS: &str = "ada@example.org";

#[tokio::test]
async fn a_confirmed_address_here_and_there_is_one_person() {
    for provider in ["google", "github"] {
        let scene = Scene::start().await;
        let ada = scene.registered(ADDRESS, true).await;
        let session = scene.browser().enter(provider).await;
        assert_eq!(me(&session).await.text("id"), ada.to_string());
        let linked = scene.events(&[Action::IdentityLinked]).await;
        assert_eq!(linked.len(), 1, "it is on record");
        assert_eq!(linked[0].author.actor, Actor::User(ada));
        assert_eq!(linked[0].after["subject"], ADA.subject);

        scene.provider.script().person.verified = false;
        let again = scene.browser().enter(provider).await;
        assert_eq!(me(&again).await.text("id"), ada.to_string(), "known now");
        assert_eq!(scene.events(&[Action::IdentityLinked]).await.len(), 1);
        assert_eq!(scene.users().await, 1);
        let body = json!({ "email": ADDRESS, "password": PASSWORD });
        let login = scene.gate.post("/auth/login", body).await;
        assert_eq!(login.status, StatusCode::OK, "the password stays");
    }
}

#[tokio::test]
async fn who_has_not_confirmed_an_address_here_is_not_taken_over_nor_takes_over() {
    for provider in ["google", "github"] {
        let scene = Scene::start().await;
        let squatter = scene.registered(ADDRESS, false).await;
        let words = refused(&scene.browser().login(provider).await, StatusCode::CONFLICT);
        assert!(words.contains("confirm"), "what to do: {words}");
        let store = scene.store().await;
        let identities = store.identities(squatter).await.expect("a store");
        assert!(identities.is_empty(), "nothing is linked");
        let user = store.user(squatter).await.expect("a store");
        assert!(!user.expect("there").email_verified, "nothing is confirmed");
        assert!(scene.events(&[Action::SessionCreated]).await.is_empty());
        let failed = scene.events(&[Action::LoginFailed]).await;
        assert_eq!(failed[0].target.id, squatter.to_string(), "on record");
        assert_eq!(scene.users().await, 1, "nor made beside it");
    }
}

#[tokio::test]
async fn an_address_that_nobody_has_confirmed_there_counts_for_nothing() {
    for provider in ["google", "github"] {
        for (email, verified) in [
            (Some(ADDRESS), false),
            (None, true),
            (Some("no address"), true),
            // A Kelvin sign, which is a small k for those who ask Unicode.
            (Some("\u{212a}im@example.org"), true),
        ] {
            let scene = Scene::start().await;
            scene.registered(ADDRESS, true).await;
            scene.registered("kim@example.org", true).await;
            scene.provider.script().person = Person {
                email,
                verified,
                ..ADA
            };
            scene.provider.script().userinfo =
                Box::new(|said| said["email_verified"] = "yes".into());
            if email.is_none() {
                scene.provider.script().emails = Some(json!([]));
            }
            let answer = scene.browser().login(provider).await;
            refused(&answer, StatusCode::FORBIDDEN);
            assert_eq!(scene.users().await, 2, "{email:?} {verified}");
            assert!(scene.events(&[Action::IdentityLinked]).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_second_address_of_github_is_not_the_first() {
    let scene = Scene::start().await;
    scene.registered("second@example.org", true).await;
    scene.registered("shown@example.org", true).await;
    scene.provider.script().person.verified = false;
    refused(
        &scene.browser().login("github").await,
        StatusCode::FORBIDDEN,
    );
    // Somebody does not let us see addresses.
    for status in [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN] {
        let none = super::provider::Trouble::Answers(status, "{}".to_owned());
        scene.provider.script().trouble.insert("/user/emails", none);
        refused(
            &scene.browser().login("github").await,
            StatusCode::FORBIDDEN,
        );
    }
}

#[tokio::test]
async fn where_registration_is_closed_nobody_new_comes_in() {
    for provider in ["google", "github"] {
        let scene =
            Scene::start_with(|config| config.registration = Some(Registration::Closed)).await;
        let words = refused(
            &scene.browser().login(provider).await,
            StatusCode::FORBIDDEN,
        );
        assert!(words.contains("closed"), "{words}");
        assert_eq!(scene.users().await, 0);
        // Whom an admin has made comes in.
        let made = scene.gate.command(&["user", "create", ADDRESS]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let store = scene.store().await;
        let record = store.user_by_login(ADDRESS.to_owned()).await;
        let ada = record.expect("a store").expect("made").user.id;
        let change = llm_gate::store::UserChange {
            email_verified: Some(true),
            ..Default::default()
        };
        let changed = store.change_user(ada, change, Default::default()).await;
        changed.expect("a store");
        let session = scene.browser().enter(provider).await;
        assert_eq!(me(&session).await.text("id"), ada.to_string());
    }
}

#[tokio::test]
async fn a_disabled_account_is_entered_by_nobody() {
    let scene = Scene::start().await;
    let session = scene.browser().enter("google").await;
    let ada = me(&session).await.text("email");
    let disabled = scene.gate.command(&["user", "disable", &ada]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    let known = scene.browser().login("google").await;
    refused(&known, StatusCode::UNAUTHORIZED);
    assert!(known.headers.contains_key("www-authenticate"));
    let by_address = scene.browser().login("github").await;
    refused(&by_address, StatusCode::UNAUTHORIZED);
    assert_eq!(scene.events(&[Action::SessionCreated]).await.len(), 1);
    let linked = scene.events(&[Action::IdentityLinked]).await;
    assert_eq!(linked.len(), 1, "that with which it was made");
    assert_eq!(scene.events(&[Action::LoginFailed]).await.len(), 2);
}

#[tokio::test]
async fn a_subject_is_one_of_its_provider() {
    let scene = Scene::start().await;
    let ada = me(&scene.browser().enter("google").await).await;
    scene.provider.script().person.email = Some("eve@example.org");
    // The same number at another provider.
    let eve = me(&scene.browser().enter("github").await).await;
    assert_ne!(ada.text("id"), eve.text("id"));
}

#[tokio::test]
async fn of_two_browsers_that_come_first_at_once_both_enter_one_account() {
    let scene = Scene::start().await;
    let mut browsers = [scene.browser(), scene.browser(), scene.browser()];
    let mut backs = Vec::new();
    for browser in &mut browsers {
        let url = browser.depart("google").await;
        backs.push(browser.agree(&url).await);
    }
    let coming = browsers.iter_mut().zip(&backs);
    let coming = coming.map(|(browser, back)| browser.get(back));
    for entered in futures_util::future::join_all(coming).await {
        assert_eq!(entered.status, StatusCode::OK, "{entered:?}");
    }
    assert_eq!(scene.users().await, 1);
}
