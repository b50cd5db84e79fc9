//! The logins with other providers that lead to the own account.

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate::clock::Clock;
use llm_gate::store::{Action, Actor, Author, Identity, Linking, MAX_IDENTITIES};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::browser::{Browser, location};
use super::provider::{ADA, Person};
use super::{Scene, me, refused};
use crate::support::{PASSWORD, send};

const IDENTITIES: &str = "/api/v1/users/me/identities";

async fn listed(session: &Client) -> Vec<Value> {
    let listed = session.get(IDENTITIES).await.expect("an answer");
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    let identities = listed.json()["identities"].clone();
    identities.as_array().expect("a list").clone()
}

async fn unlink(session: &Client, id: &str) -> Answer {
    let path = format!("{IDENTITIES}/{id}");
    send(session, Method::DELETE, &path, &[], "").await
}

/// Begins to link the account of `session`, and comes back from the provider.
async fn link(browser: &mut Browser, session: &Client, body: Value) -> Answer {
    let asked = session.post(IDENTITIES, &body).await.expect("an answer");
    if asked.status != StatusCode::OK {
        return asked;
    }
    browser.keep(&asked);
    let back = browser.agree(&asked.text("auth_url")).await;
    browser.get(&back).await
}

#[tokio::test]
async fn an_account_is_linked_with_its_password_and_entered_so_from_then_on() {
    let scene = Scene::start().await;
    // Neither address nor anything else is the same there.
    let ada = scene.gate.person("ada").await;
    let mut browser = scene.browser();
    let linked = link(
        &mut browser,
        &ada.session,
        json!({ "provider": "google", "password": PASSWORD }),
    )
    .await;
    assert_eq!(linked.status, StatusCode::OK, "{linked:?}");
    assert_eq!(linked.text("provider"), "google");
    assert!(linked.json().get("access_token").is_none(), "nobody enters");
    let entered = scene.browser().enter("google").await;
    assert_eq!(me(&entered).await.text("id"), ada.id);

    let identities = listed(&ada.session).await;
    assert_eq!(identities.len(), 1);
    assert_eq!(identities[0], linked.json());
    assert_eq!(identities[0]["issuer"], scene.provider.url);
    assert_eq!(identities[0]["subject"], ADA.subject);
    let events = scene.events(&[Action::IdentityLinked]).await;
    let id = ada.id.parse().expect("an id");
    assert_eq!(events[0].author.actor, Actor::User(id));

    let again = json!({ "provider": "google", "password": PASSWORD });
    let again = link(&mut browser, &ada.session, again).await;
    assert_eq!(again.status, StatusCode::OK, "it is so already");
    assert_eq!(listed(&ada.session).await.len(), 1);
}

#[tokio::test]
async fn a_session_alone_makes_no_other_way_in() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    for body in [
        json!({ "provider": "google" }),
        json!({ "provider": "google", "password": "wrong horse battery" }),
    ] {
        let answer = link(&mut scene.browser(), &ada.session, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let key = scene.gate.client.bearer(ada.key().await.text("api_key"));
    let body = json!({ "provider": "google", "password": PASSWORD });
    let answer = link(&mut scene.browser(), &key, body.clone()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "no key does");
    let answer = link(&mut scene.browser(), &scene.gate.client, body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let body = json!({ "provider": "work", "password": PASSWORD });
    let answer = link(&mut scene.browser(), &ada.session, body).await;
    refused(&answer, StatusCode::NOT_FOUND);
    assert!(listed(&ada.session).await.is_empty());
}

#[tokio::test]
async fn what_is_linked_to_another_account_stays_there() {
    let scene = Scene::start().await;
    let eve = scene.browser().enter("google").await;
    let ada = scene.gate.person("ada").await;
    let body = json!({ "provider": "google", "password": PASSWORD });
    let answer = link(&mut scene.browser(), &ada.session, body).await;
    refused(&answer, StatusCode::CONFLICT);
    assert!(listed(&ada.session).await.is_empty());
    assert_eq!(listed(&eve).await.len(), 1);
}

#[tokio::test]
async fn an_account_has_so_many_identities_and_no_more() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let (books, id) = (scene.gate.books().await, ada.id.parse().expect("an id"));
    for number in 0..MAX_IDENTITIES {
        let identity = Identity {
            issuer: "https://elsewhere.example".to_owned(),
            subject: number.to_string(),
        };
        // As long ago as the account is old: what is asked for now is asked for after that.
        let author = Author::system(scene.gate.clock.now());
        let linked = books.link_identity(id, identity, None, author).await;
        assert_eq!(linked.expect("written"), Linking::Done);
    }
    scene.gate.clock.advance(Duration::from_secs(1));
    let body = json!({ "provider": "google", "password": PASSWORD });
    let answer = link(&mut scene.browser(), &ada.session, body).await;
    refused(&answer, StatusCode::CONFLICT);
    assert_eq!(listed(&ada.session).await.len(), MAX_IDENTITIES);
}

#[tokio::test]
async fn an_account_that_was_disabled_meanwhile_is_not_linked() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let mut browser = scene.browser();
    let body = json!({ "provider": "google", "password": PASSWORD });
    let asked = ada.post(IDENTITIES, body).await;
    browser.keep(&asked);
    let back = browser.agree(&asked.text("auth_url")).await;
    scene.gate.command(&["user", "disable", "ada"]).await;
    refused(&browser.get(&back).await, StatusCode::UNAUTHORIZED);
    assert!(scene.events(&[Action::IdentityLinked]).await.is_empty());
}

#[tokio::test]
async fn a_session_that_has_ended_meanwhile_links_nothing() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let mut browser = scene.browser();
    let body = json!({ "provider": "google", "password": PASSWORD });
    let asked = ada.post(IDENTITIES, body).await;
    browser.keep(&asked);
    let back = browser.agree(&asked.text("auth_url")).await;
    let body = json!({ "refresh_token": ada.refresh });
    let gone = scene.gate.post("/auth/logout", body).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    refused(&browser.get(&back).await, StatusCode::UNAUTHORIZED);
    let ada = scene.gate.enter("ada").await;
    assert!(listed(&ada.session).await.is_empty());
}

#[tokio::test]
async fn a_browser_that_links_ends_where_it_wanted() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let mut browser = scene.browser();
    let body = json!({ "provider": "github", "password": PASSWORD, "redirect": "/settings" });
    let sent = link(&mut browser, &ada.session, body).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    let place = format!("{}/settings", scene.gate.url());
    assert_eq!(location(&sent), place);
    assert!(browser.cookies.is_empty(), "no session was opened");
    assert_eq!(listed(&ada.session).await[0]["provider"], "github");
    let body = json!({ "provider": "github", "redirect": "//evil.example" });
    let answer = link(&mut browser, &ada.session, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let ada = browser.enter("google").await;
    let google = listed(&ada).await[0]["id"].clone();
    let google = google.as_str().expect("an id");
    let words = refused(&unlink(&ada, google).await, StatusCode::CONFLICT);
    assert!(words.contains("password"), "what to do: {words}");
    // Who has no password proves nothing with one.
    let linked = link(&mut browser, &ada, json!({ "provider": "github" })).await;
    assert_eq!(linked.status, StatusCode::OK, "{linked:?}");
    assert_eq!(listed(&ada).await.len(), 2);
    assert_eq!(unlink(&ada, google).await.status, StatusCode::NO_CONTENT);
    refused(&unlink(&ada, google).await, StatusCode::NOT_FOUND);
    let github = linked.text("id");
    refused(&unlink(&ada, &github).await, StatusCode::CONFLICT);
    let password = json!({ "new_password": PASSWORD });
    let set = ada.put("/api/v1/users/me/password", &password).await;
    assert_eq!(set.expect("an answer").status, StatusCode::NO_CONTENT);
    assert_eq!(unlink(&ada, &github).await.status, StatusCode::NO_CONTENT);
    assert!(listed(&ada).await.is_empty());
    let events = scene.events(&[Action::IdentityUnlinked]).await;
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn nobody_touches_the_identities_of_another() {
    let scene = Scene::start().await;
    let ada = scene.browser().enter("google").await;
    let id = listed(&ada).await[0]["id"].clone();
    scene.provider.script().person = Person {
        subject: "2",
        email: Some("eve@example.org"),
        ..ADA
    };
    let eve = scene.browser().enter("google").await;
    let id = id.as_str().expect("an id");
    refused(&unlink(&eve, id).await, StatusCode::NOT_FOUND);
    refused(&unlink(&eve, "x").await, StatusCode::NOT_FOUND);
    assert_eq!(listed(&ada).await.len(), 1);
    assert_ne!(listed(&eve).await[0]["id"], id);
}

#[tokio::test]
async fn one_login_at_a_provider_links_once() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let mut browser = scene.browser();
    let body = json!({ "provider": "google", "password": PASSWORD });
    let asked = ada.post(IDENTITIES, body.clone()).await;
    browser.keep(&asked);
    let mut other = browser.clone();
    let url = asked.text("auth_url");
    scene.gate.clock.advance(Duration::from_secs(1));
    let back = browser.agree(&url).await;
    let linked = browser.get(&back).await;
    assert_eq!(linked.status, StatusCode::OK, "{linked:?}");
    let id = linked.text("id");
    assert_eq!(
        unlink(&ada.session, &id).await.status,
        StatusCode::NO_CONTENT
    );
    // The cookie was kept, and the provider gives out another code.
    let again = other.agree(&url).await;
    let words = refused(&other.get(&again).await, StatusCode::FORBIDDEN);
    assert!(words.contains("over"), "{words}");
    assert!(listed(&ada.session).await.is_empty(), "nothing is linked");

    scene.gate.clock.advance(Duration::from_secs(1));
    let anew = link(&mut browser, &ada.session, body).await;
    assert_eq!(
        anew.status,
        StatusCode::OK,
        "who begins again may: {anew:?}"
    );
}
