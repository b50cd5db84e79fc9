//! Logins with other providers: everything secret of them is made and used, and what goes wrong is answered.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::json;
use support::Plan;
use support::browser::{Browser, location, parameter, with};
use support::provider::{CLIENT, Provider, SECRET, Trouble};

use super::FORGED;
use super::foreign::Foreign;
use super::scene::Scene;

/// Lets people log in with `provider`, by OpenID Connect and as with GitHub, and come with what a login service gives them.
pub(super) fn set(plan: &mut Plan, provider: &Provider, foreign: &Foreign) {
    provider.by_the_clock_of_the_machine();
    let file = format!("{}{}", provider.file(), foreign.file());
    plan.keep("llm-gate.toml", &file);
    for (name, value) in [
        ("GOOGLE_CLIENT_ID", CLIENT),
        ("GOOGLE_CLIENT_SECRET", SECRET),
        ("GITHUB_CLIENT_ID", CLIENT),
        ("GITHUB_CLIENT_SECRET", SECRET),
    ] {
        plan.set(name, value);
    }
}

/// A login under way: what it is remembered by, and where the provider sends the browser back to.
async fn begin(
    scene: &mut Scene,
    provider: &Provider,
    name: &str,
    query: &str,
) -> (Browser, String) {
    let mut browser = Browser::new(&scene.client);
    let url = browser.depart_for(name, query).await;
    let state = parameter(&url, "state").expect("a state");
    scene.canaries.add("state", state);
    if name == "google" {
        let nonce = parameter(&url, "nonce").expect("a nonce");
        scene.canaries.add("nonce", nonce);
    }
    for cookie in browser.cookies.values() {
        scene.canaries.add("cookie of a login", cookie.as_str());
    }
    let back = browser.agree(&url).await;
    let code = parameter(&back, "code").expect("a code");
    assert!(provider.secrets().contains(&code), "it is the provider's");
    scene.canaries.add("authorization code", code);
    (browser, back)
}

/// Logs in, in each of the ways there are, and makes each of the mistakes there are.
pub(super) async fn log_in(scene: &mut Scene, provider: &Provider) {
    for name in ["google", "github"] {
        let (mut browser, back) = begin(scene, provider, name, "").await;
        let before = browser.clone();
        let forged = with(&back, "state", Some(FORGED));
        let refused = browser.get(&forged).await;
        scene.refused(&refused);
        let pair = browser.get(&back).await;
        assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
        scene.note(&pair);
        let session = scene.client.bearer(pair.text("access_token"));
        let me = scene
            .ask(&session, Method::GET, "/api/v1/users/me", &json!({}))
            .await;
        assert_eq!(me.status, StatusCode::OK, "{me:?}");
        // Without the cookie, and with it: the code is used.
        for mut browser in [browser, before] {
            let refused = browser.get(&back).await;
            scene.refused(&refused);
        }

        // To a page of its own, with a session in a cookie.
        let (mut browser, back) = begin(scene, provider, name, "?redirect=/console").await;
        let arrived = browser.get(&back).await;
        assert_eq!(arrived.status, StatusCode::SEE_OTHER, "{arrived:?}");
        assert!(!location(&arrived).contains("login_error"), "{arrived:?}");
        scene.note(&arrived);
        let json = [("content-type", "application/json")];
        let path = "/auth/refresh";
        let refreshed = browser.ask(Method::POST, path, &json, "{}").await;
        assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
        scene.note(&refreshed);

        // A provider that tells others what it was told.
        for body in [SECRET.to_owned(), json!({ "error": SECRET }).to_string()] {
            let (mut browser, back) = begin(scene, provider, name, "").await;
            let trouble = Trouble::Answers(StatusCode::BAD_REQUEST, body);
            provider.script().trouble.insert("/token", trouble);
            let refused = browser.get(&back).await;
            scene.refused(&refused);
            provider.script().trouble.clear();
        }
    }
    let mut kinds = BTreeSet::new();
    for secret in provider.secrets() {
        let kinds_of = [
            ("code-", "authorization code"),
            ("access-", "access token of the provider"),
            ("eyJ", "ID token of the provider"),
        ];
        let kind = kinds_of.iter().find(|(begin, _)| secret.starts_with(begin));
        let kind = kind.map_or("code verifier", |(_, kind)| *kind);
        kinds.insert(kind);
        scene.canaries.add(kind, secret);
    }
    assert_eq!(kinds.len(), 4, "all of them were used: {kinds:?}");
}
