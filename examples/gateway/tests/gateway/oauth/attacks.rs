//! Everything that could let somebody in who is not who they say, or lead somebody astray.

use std::time::Duration;

use http::header::{COOKIE, LOCATION};
use http::{Method, StatusCode};
use llm_gate::store::Action;
use llm_gate_gateway::client::Client;
use serde_json::{Value, json};

use super::browser::{parameter, with};
use super::provider::{CLIENT, NOW, Signature};
use super::{Scene, refused};
use crate::ledger::tamper;
use crate::support::send;

/// Comes back, and is refused; nobody has entered, and nothing was made.
async fn turned_away(scene: &Scene, provider: &str, expected: StatusCode) {
    let answer = scene.browser().login(provider).await;
    refused(&answer, expected);
    let done = [
        Action::SessionCreated,
        Action::UserCreated,
        Action::IdentityLinked,
    ];
    assert!(scene.events(&done).await.is_empty());
}

#[tokio::test]
async fn a_login_is_of_the_browser_that_began_it() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let back = browser.agree(&url).await;
    refused(&scene.browser().get(&back).await, StatusCode::FORBIDDEN);
    let mut other = scene.browser();
    other.depart("google").await;
    refused(&other.get(&back).await, StatusCode::FORBIDDEN);
    assert_eq!(other.cookies.len(), 1, "its own login may go on");
    assert!(
        !scene.provider.asked().contains(&"/token".to_owned()),
        "nobody was asked what the code is worth"
    );
    assert_eq!(browser.get(&back).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_state_is_the_one_that_was_given_out() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let back = browser.agree(&url).await;
    let nonce = parameter(&url, "nonce");
    let challenge = parameter(&url, "code_challenge");
    let cookie = browser.cookies["llm-gate-login"].clone();
    for wrong in [
        Some("x"),
        Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        nonce.as_deref(),
        challenge.as_deref(),
        Some(&*cookie),
        Some(""),
    ] {
        let answer = browser.get(&with(&back, "state", wrong)).await;
        refused(&answer, StatusCode::FORBIDDEN);
    }
    let missing = browser.get(&with(&back, "state", None)).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    let state = parameter(&back, "state").expect("there");
    let twice = browser.get(&format!("{back}&state={state}")).await;
    assert_eq!(twice.status, StatusCode::UNPROCESSABLE_ENTITY, "{twice:?}");
    assert_eq!(browser.get(&back).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_cookie_is_none_that_somebody_makes_up() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let back = browser.agree(&url).await;
    let cookie = browser.cookies["llm-gate-login"].clone();
    let json = URL_SAFE_NO_PAD.decode(&cookie).expect("base64");
    let pending: Value = serde_json::from_slice(&json).expect("JSON");
    for (member, value) in [
        ("redirect", json!("//evil.example")),
        ("provider", json!("github")),
        (
            "purpose",
            json!({ "link": { "user": "0198f000-0000-7000-8000-000000000001", "session": null } }),
        ),
    ] {
        let mut forged = pending.clone();
        forged[member] = value;
        let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
        browser.cookies.insert("llm-gate-login".to_owned(), forged);
        refused(&browser.get(&back).await, StatusCode::FORBIDDEN);
    }
    // Two of one name: one of them is not ours.
    let both = format!("llm-gate-login={cookie}; llm-gate-login={cookie}");
    let both = [(COOKIE.as_str(), &*both)];
    let answer = send(&scene.gate.client, Method::GET, &back, &both, "").await;
    refused(&answer, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_login_enters_once_even_where_the_provider_forgets() {
    for provider in ["google", "github"] {
        let scene = Scene::start().await;
        scene.provider.script().forgetful = true;
        let mut browser = scene.browser();
        let url = browser.depart(provider).await;
        let back = browser.agree(&url).await;
        let kept = browser.clone();
        assert_eq!(browser.get(&back).await.status, StatusCode::OK);
        assert!(browser.cookies.is_empty(), "the cookie is gone");
        refused(&browser.get(&back).await, StatusCode::FORBIDDEN);
        refused(&kept.clone().get(&back).await, StatusCode::FORBIDDEN);
        assert_eq!(scene.events(&[Action::SessionCreated]).await.len(), 1);
        // And with a fresh code for the same login.
        let fresh = kept.agree(&url).await;
        refused(&kept.clone().get(&fresh).await, StatusCode::FORBIDDEN);
        assert_eq!(scene.events(&[Action::SessionCreated]).await.len(), 1);
    }
}

#[tokio::test]
async fn a_code_is_good_once() {
    for provider in ["google", "github"] {
        let scene = Scene::start().await;
        let mut browser = scene.browser();
        let url = browser.depart(provider).await;
        let back = browser.agree(&url).await;
        let kept = browser.clone();
        assert_eq!(browser.get(&back).await.status, StatusCode::OK);
        let answer = kept.clone().get(&back).await;
        refused(&answer, StatusCode::UNAUTHORIZED);
        let failed = scene.events(&[Action::LoginFailed]).await;
        assert_eq!(failed.len(), 1, "it is on record");
    }
}

#[tokio::test]
async fn a_login_is_under_way_for_ten_minutes() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let back = browser.agree(&url).await;
    scene.gate.clock.advance(Duration::from_secs(600));
    let words = refused(&browser.get(&back).await, StatusCode::FORBIDDEN);
    assert!(words.contains("begin again"), "{words}");
}

#[tokio::test]
async fn a_code_of_another_login_is_not_put_in_its_place() {
    for provider in ["google", "github"] {
        let scene = Scene::start().await;
        let mut eve = scene.browser();
        let eves = eve.depart(provider).await;
        let eves = eve.agree(&eves).await;
        let eves = parameter(&eves, "code");
        let mut ada = scene.browser();
        let url = ada.depart(provider).await;
        let back = ada.agree(&url).await;
        // The provider finds that the verifier is another's.
        let answer = ada.get(&with(&back, "code", eves.as_deref())).await;
        refused(&answer, StatusCode::UNAUTHORIZED);
        assert!(scene.events(&[Action::UserCreated]).await.is_empty());
    }
}

#[tokio::test]
async fn a_login_with_one_provider_does_not_come_back_from_another() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let back = browser.agree(&url).await;
    let elsewhere = back.replace("/google/", "/github/");
    refused(&browser.get(&elsewhere).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn whoever_names_itself_is_the_one_that_was_asked() {
    let scene = Scene::start().await;
    let url = scene.provider.url.clone();
    // As GitHub does, without announcing it.
    for (provider, issuer, entered) in [
        ("google", url.clone(), true),
        ("google", "https://evil.example".to_owned(), false),
        ("google", format!("{url}/"), false),
        ("github", format!("{url}/login/oauth"), true),
        ("github", url.clone(), false),
    ] {
        scene.provider.script().issuer = Some(issuer.clone());
        let answer = scene.browser().login(provider).await;
        if entered {
            assert_eq!(answer.status, StatusCode::OK, "{provider} {issuer}");
        } else {
            refused(&answer, StatusCode::UNAUTHORIZED);
        }
    }
    let mut browser = scene.browser();
    scene.provider.script().issuer = Some(url);
    let departed = browser.depart("google").await;
    let back = browser.agree(&departed).await;
    let silent = browser.get(&with(&back, "iss", None)).await;
    refused(&silent, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_id_token_is_of_this_login_for_this_client_and_fresh() {
    let scene = Scene::start().await;
    for (claim, value) in [
        ("nonce", json!("another")),
        ("nonce", json!(null)),
        ("iss", json!("https://accounts.google.com")),
        ("aud", json!("another")),
        ("aud", json!([CLIENT, "another"])),
        ("azp", json!("another")),
        ("exp", json!(NOW - 60)),
        ("iat", json!(NOW + 600)),
        ("sub", json!("")),
        ("sub", json!(7)),
    ] {
        scene.provider.script().claims = Box::new(move |claims| claims[claim] = value.clone());
        turned_away(&scene, "google", StatusCode::UNAUTHORIZED).await;
    }
    for claim in ["nonce", "iss", "aud", "exp", "iat", "sub"] {
        scene.provider.script().claims = Box::new(move |claims| {
            claims.as_object_mut().expect("claims").remove(claim);
        });
        turned_away(&scene, "google", StatusCode::UNAUTHORIZED).await;
    }
    scene.provider.script().claims = Box::new(|_| ());
    scene.browser().enter("google").await;
}

#[tokio::test]
async fn an_id_token_is_signed_by_a_key_that_the_provider_publishes() {
    let scene = Scene::start().await;
    for signature in [
        Signature::None,
        Signature::SharedPublicKey,
        Signature::AnotherKey,
    ] {
        scene.provider.script().signature = signature;
        turned_away(&scene, "google", StatusCode::UNAUTHORIZED).await;
    }
    scene.provider.script().signature = Signature::Good;
    for (member, value) in [
        ("kid", json!("another")),
        ("typ", json!("at+jwt")),
        ("alg", json!("ES256")),
        ("jku", json!("https://evil.example/keys")),
        ("crit", json!(["b64"])),
    ] {
        scene.provider.script().header = Box::new(move |header| header[member] = value.clone());
        turned_away(&scene, "google", StatusCode::UNAUTHORIZED).await;
    }
    scene.provider.script().header = Box::new(|_| ());
    scene.browser().enter("google").await;
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let scene = Scene::start().await;
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "evil.example",
        "@evil.example",
        ".evil.example",
        "javascript:alert(1)",
        "/a%23b",
        "",
    ] {
        let path = format!("/api/v1/auth/google/login?redirect={elsewhere}");
        let answer = scene.gate.get(&path).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{elsewhere}: {answer:?}"
        );
        assert!(!answer.headers.contains_key(LOCATION));
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    // What stands in the way back counts for nothing.
    let mut browser = scene.browser();
    let url = browser.depart_for("google", "?redirect=/here").await;
    let back = browser.agree(&url).await;
    let sent = browser
        .get(&format!("{back}&redirect=https://evil.example"))
        .await;
    let place = format!("{}/here", scene.gate.url());
    assert_eq!(super::browser::location(&sent), place);
}

#[tokio::test]
async fn guesses_are_counted_by_address() {
    let scene = Scene::start_with(|config| {
        config.rate_limits.failures_per_address = "3/day".parse().expect("a rate");
    })
    .await;
    let guess = async |code: u8| {
        let path = format!("/api/v1/auth/google/callback?state=x&code={code}");
        let gate = &scene.gate;
        gate.everywhere(async || gate.get(&path).await).await
    };
    for code in 0..3 {
        for answer in guess(code).await {
            refused(&answer, StatusCode::FORBIDDEN);
        }
    }
    // Of two gateways each is asked in turn, so the way back may lead to either.
    let mut browser = scene.browser();
    let url = browser.depart_for("google", "?redirect=/here").await;
    let back = browser.agree(&url).await;
    for answer in guess(9).await {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.headers.contains_key("retry-after"));
    }
    let place = format!("{}/here", scene.gate.url());
    let sent = browser.get(&back).await;
    assert_eq!(
        super::browser::location(&sent),
        place,
        "what this browser has begun is no guess"
    );
}

#[tokio::test]
async fn logins_with_others_are_limited_like_logins_here() {
    let scene = Scene::start_with(|config| {
        config.rate_limits.logins_per_address = "3/day".parse().expect("a rate");
    })
    .await;
    let gate = &scene.gate;
    let ask = async |path: &'static str| gate.everywhere(async || gate.get(path).await).await;
    for path in [
        "/auth/google/login",
        "/api/v1/auth/github/login",
        "/auth/google/callback?state=x&code=y",
    ] {
        for answer in ask(path).await {
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        }
    }
    for answer in ask("/api/v1/auth/google/login").await {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn what_was_refused_is_counted_where_other_credentials_are() {
    // The counters are those of the whole process: a name of its own tells this test's from others.
    let scene = Scene::start_with(|config| {
        let known = config.oauth.remove("google").expect("known");
        config.oauth.insert("metered".to_owned(), known);
    })
    .await;
    let operators = Client::new(scene.gate.running.metrics_address);
    let metrics = async || {
        let metrics = operators.get("/metrics").await.expect("an answer");
        String::from_utf8_lossy(&metrics.body).into_owned()
    };
    let count = |metrics: &str, name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.trim().parse().expect("a number"))
    };
    let before = metrics().await;
    scene
        .gate
        .get("/auth/metered/callback?state=x&code=y")
        .await;
    scene.provider.script().signature = Signature::None;
    scene.browser().login("metered").await;
    scene.provider.script().signature = Signature::Good;
    scene.browser().enter("metered").await;
    let after = metrics().await;
    for reason in ["missing", "invalid"] {
        let name = format!("auth_failure_total{{reason=\"{reason}\"}}");
        assert!(count(&after, &name) > count(&before, &name), "{name}");
    }
    assert!(count(&after, "auth_success_total") > count(&before, "auth_success_total"));
    for (result, times) in [("expired", 1), ("failed", 1), ("ok", 1)] {
        let name =
            format!("llm_gate_provider_logins_total{{provider=\"metered\",result=\"{result}\"}}");
        assert_eq!(count(&after, &name), times, "{name}");
    }
}

#[tokio::test]
async fn an_identity_that_is_unlinked_while_it_enters_does_not_enter() {
    let scene = Scene::start().await;
    let first = scene.browser().login("google").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    // Between the look at whose it is and the answer, and on no clock: with the session that is opened.
    let unlinks = match scene.gate.database {
        Some(_) => "CREATE RULE unlinks AS ON INSERT TO sessions DO ALSO DELETE FROM identities",
        None => "CREATE TRIGGER unlinks AFTER INSERT ON sessions BEGIN DELETE FROM identities; END",
    };
    tamper(&scene.gate, unlinks).await;
    let second = scene.browser().login("google").await;
    refused(&second, StatusCode::UNAUTHORIZED);
    let opened = scene.events(&[Action::SessionCreated]).await;
    let ended = scene.events(&[Action::SessionRevoked]).await;
    assert_eq!((opened.len(), ended.len()), (2, 1), "it lives no longer");
    assert_eq!(ended[0].target, opened[0].target, "and the first lives on");
}
