//! A provider that is away, slow, or talks nonsense: a 502 or a 503, never a 500, and nothing of it gets out.

use std::time::Duration;

use http::StatusCode;
use llm_gate::store::Action;
use llm_gate_gateway::client::Answer;
use serde_json::json;

use super::browser::{location, with};
use super::provider::{Provider, Trouble};
use super::{Scene, refused};

const BAD: StatusCode = StatusCode::BAD_GATEWAY;
const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn answers(status: StatusCode, body: &str) -> Trouble {
    Trouble::Answers(status, body.to_owned())
}

async fn trouble(path: &'static str, trouble: Trouble) -> Scene {
    let scene = Scene::start().await;
    scene.provider.script().trouble.insert(path, trouble);
    scene
}

/// Begins, and comes back if it gets as far as that.
async fn attempt(scene: &Scene, provider: &str) -> Answer {
    let mut browser = scene.browser();
    let sent = browser.get(&format!("/api/v1/auth/{provider}/login")).await;
    if sent.status != StatusCode::FOUND {
        assert!(browser.cookies.is_empty(), "nothing was begun");
        return sent;
    }
    let back = browser.agree(&location(&sent)).await;
    let answer = browser.get(&back).await;
    assert!(browser.cookies.is_empty(), "it is over: {answer:?}");
    answer
}

/// Does so at each gateway, where none gets any further than to begin.
async fn attempts(scene: &Scene) -> Vec<Answer> {
    let begin = async || attempt(scene, "google").await;
    scene.gate.everywhere(begin).await
}

fn check(answer: &Answer, expected: StatusCode, at: &str) {
    assert_eq!(answer.status, expected, "{at}: {answer:?}");
    let words = refused(answer, expected);
    for inner in ["hunter2", "127.0.0.1", "token", "JSON", "secret"] {
        assert!(!words.contains(inner), "{at}: {words}");
    }
    let again = answer.headers.contains_key("retry-after");
    assert_eq!(again, expected == AWAY, "{at}");
}

#[tokio::test]
async fn whatever_a_provider_answers_is_no_failure_of_ours() {
    let refusal = r#"{"error":"invalid_client","error_description":"hunter2"}"#;
    for (provider, path, status, body, expected) in [
        (
            "google",
            "/.well-known/openid-configuration",
            500,
            "hunter2",
            AWAY,
        ),
        (
            "google",
            "/.well-known/openid-configuration",
            404,
            "hunter2",
            BAD,
        ),
        (
            "google",
            "/.well-known/openid-configuration",
            200,
            "hunter2",
            BAD,
        ),
        (
            "google",
            "/.well-known/openid-configuration",
            200,
            "{}",
            BAD,
        ),
        ("google", "/keys", 500, "", AWAY),
        ("google", "/keys", 200, "hunter2", AWAY),
        ("google", "/token", 500, "hunter2", AWAY),
        ("google", "/token", 503, refusal, AWAY),
        ("google", "/token", 429, "hunter2", AWAY),
        ("google", "/token", 401, refusal, BAD),
        ("google", "/token", 400, "hunter2", BAD),
        ("google", "/token", 200, "hunter2", BAD),
        ("google", "/token", 200, "", BAD),
        ("google", "/token", 200, "[]", BAD),
        (
            "google",
            "/token",
            200,
            r#"{"access_token":"hunter2"}"#,
            BAD,
        ),
        ("google", "/token", 200, r#"{"id_token":7}"#, BAD),
        (
            "google",
            "/token",
            200,
            r#"{"id_token":"hunter2"}"#,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "google",
            "/token",
            200,
            r#"{"id_token":"a.b.c"}"#,
            StatusCode::UNAUTHORIZED,
        ),
        ("google", "/token", 204, "", BAD),
        ("github", "/token", 200, refusal, BAD),
        ("github", "/token", 200, "access_token=hunter2", BAD),
        (
            "github",
            "/token",
            200,
            r#"{"access_token":"hunter2\n"}"#,
            BAD,
        ),
        ("github", "/user", 500, "hunter2", AWAY),
        ("github", "/user", 401, "hunter2", BAD),
        ("github", "/user", 200, r#"{"login":"ada"}"#, BAD),
        ("github", "/user", 200, r#"{"id":"hunter2"}"#, BAD),
        ("github", "/user/emails", 500, "hunter2", AWAY),
        ("github", "/user/emails", 200, r#"{"email":"hunter2"}"#, BAD),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let scene = trouble(path, answers(status, body)).await;
        let answer = attempt(&scene, provider).await;
        check(
            &answer,
            expected,
            &format!("{provider} {path} {status} {body}"),
        );
        let done = [Action::UserCreated, Action::SessionCreated];
        assert!(scene.events(&done).await.is_empty());
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    for (provider, path, expected) in [
        ("google", "/.well-known/openid-configuration", BAD),
        ("google", "/token", BAD),
        ("google", "/keys", AWAY),
        ("github", "/token", BAD),
        ("github", "/user", BAD),
        ("github", "/user/emails", BAD),
    ] {
        let scene = trouble(path, Trouble::Endless).await;
        check(&attempt(&scene, provider).await, expected, path);
    }
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let waiting = [
        ("google", "/.well-known/openid-configuration"),
        ("google", "/token"),
        ("google", "/keys"),
        ("github", "/token"),
        ("github", "/user"),
    ]
    .map(async |(provider, path)| {
        let scene = trouble(path, Trouble::Silent).await;
        check(&attempt(&scene, provider).await, AWAY, path);
    });
    futures_util::future::join_all(waiting).await;
}

#[tokio::test]
async fn a_redirect_is_followed_nowhere() {
    for (provider, path, expected) in [
        ("google", "/.well-known/openid-configuration", BAD),
        ("google", "/token", BAD),
        ("google", "/keys", AWAY),
        ("github", "/token", BAD),
        ("github", "/user", BAD),
    ] {
        let elsewhere = Provider::start().await;
        let url = format!("{}{path}", elsewhere.url);
        let scene = trouble(path, Trouble::Redirects(url)).await;
        check(&attempt(&scene, provider).await, expected, path);
        assert!(elsewhere.asked().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_provider_that_is_gone_is_a_503() {
    let scene = Scene::start().await;
    let mut began = Vec::new();
    for provider in ["google", "github"] {
        let mut browser = scene.browser();
        let url = browser.depart(provider).await;
        began.push((browser.clone(), browser.agree(&url).await));
    }
    let Scene { provider, gate } = scene;
    provider.gone().await;
    for (mut browser, back) in began {
        check(&browser.get(&back).await, AWAY, "on the way back");
    }
    let fresh = crate::support::start_with(|config| {
        let known = llm_gate_gateway::config::OAuthConfig {
            client_id: Some("gate".to_owned()),
            client_secret: Some("hunter2".into()),
            // Port 9 of loopback: nobody is there.
            issuer: Some("http://127.0.0.1:9".to_owned()),
            ..Default::default()
        };
        config.oauth.insert("google".to_owned(), known);
    })
    .await;
    let answer = fresh.get("/api/v1/auth/google/login").await;
    check(&answer, AWAY, "on the way there");
    drop(gate);
}

#[tokio::test]
async fn a_provider_that_was_away_is_asked_again_after_a_pause() {
    const METADATA: &str = "/.well-known/openid-configuration";
    let away = answers(StatusCode::INTERNAL_SERVER_ERROR, "");
    let scene = trouble(METADATA, away).await;
    for _ in 0..3 {
        for answer in attempts(&scene).await {
            check(&answer, AWAY, "away");
        }
    }
    let asked = scene.provider.asked().len();
    assert_eq!(asked, scene.gate.gateways(), "not by every browser");
    scene.provider.script().trouble.clear();
    for answer in attempts(&scene).await {
        check(&answer, AWAY, "nobody knows yet");
    }
    scene.gate.clock.advance(Duration::from_secs(5));
    // There by one, and back by the other.
    scene.browser().enter("google").await;
}

#[tokio::test]
async fn who_leaves_while_a_provider_is_asked_does_not_let_the_next_one_ask_at_once() {
    let scene = trouble("/.well-known/openid-configuration", Trouble::Silent).await;
    let gateways = scene.gate.gateways();
    for before in 0..gateways {
        let client = scene.gate.client.clone();
        let leaves = tokio::spawn(async move { client.get("/api/v1/auth/google/login").await });
        while scene.provider.asked().len() == before {
            tokio::task::yield_now().await;
        }
        leaves.abort();
        assert!(leaves.await.is_err(), "gone before there was an answer");
    }
    for answer in attempts(&scene).await {
        check(&answer, AWAY, "the next one");
    }
    let asked = scene.provider.asked().len();
    assert_eq!(asked, gateways, "is told to wait");
}

#[tokio::test]
async fn what_a_provider_said_of_itself_holds_while_it_is_away() {
    const METADATA: &str = "/.well-known/openid-configuration";
    let scene = Scene::start().await;
    // With two, one of them is asked on the way there, and the other on the way back.
    scene.browser().enter("google").await;
    let away = answers(StatusCode::INTERNAL_SERVER_ERROR, "");
    scene.provider.script().trouble.insert(METADATA, away);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    scene.gate.clock.advance(hours(2));
    let departs = async || scene.browser().depart("google").await;
    scene.gate.everywhere(departs).await;
    let asked = || {
        let asked = scene.provider.asked();
        asked.iter().filter(|path| *path == METADATA).count()
    };
    let twice = 2 * scene.gate.gateways();
    assert_eq!(asked(), twice, "it was asked again");
    scene.gate.clock.advance(hours(22));
    for answer in attempts(&scene).await {
        check(&answer, AWAY, "a day later");
    }
}

#[tokio::test]
async fn a_provider_names_only_addresses_that_are_safe_and_itself() {
    for (member, value) in [
        ("issuer", json!("https://accounts.google.com")),
        ("authorization_endpoint", json!("http://login.example/a")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("token_endpoint", json!("http://login.example/a")),
        ("token_endpoint", json!("http://169.254.169.254/a")),
        ("token_endpoint", json!("https://user@login.example/a")),
        ("jwks_uri", json!("http://login.example/keys")),
        ("jwks_uri", json!(7)),
        ("userinfo_endpoint", json!("http://login.example/a")),
        (
            "token_endpoint_auth_methods_supported",
            json!(["private_key_jwt", "none"]),
        ),
    ] {
        let scene = Scene::start().await;
        let said = value.clone();
        scene.provider.script().discovered =
            Box::new(move |discovered| discovered[member] = said.clone());
        let answer = attempt(&scene, "google").await;
        check(&answer, BAD, &format!("{member} {value}"));
    }
}

#[tokio::test]
async fn who_gives_up_at_the_provider_is_told_so() {
    let scene = Scene::start().await;
    for (error, expected) in [
        ("access_denied", StatusCode::FORBIDDEN),
        ("login_required", StatusCode::FORBIDDEN),
        ("temporarily_unavailable", AWAY),
        ("server_error", AWAY),
        ("unauthorized_client", BAD),
        ("<script>hunter2</script>", BAD),
    ] {
        let mut browser = scene.browser();
        let url = browser.depart("google").await;
        let back = browser.agree(&url).await;
        let back = with(&with(&back, "code", None), "error", Some(error));
        let back = with(&back, "error_description", Some("hunter2"));
        check(&browser.get(&back).await, expected, error);
        assert!(browser.cookies.is_empty(), "it is over");
    }
    assert!(!scene.provider.asked().contains(&"/token".to_owned()));
}

#[tokio::test]
async fn a_browser_that_wanted_to_go_somewhere_is_told_there() {
    let scene = Scene::start().await;
    let place = format!("{}/console#login_error=", scene.gate.url());
    let ending = async |change: &dyn Fn(&str) -> String| {
        let mut browser = scene.browser();
        let url = browser.depart_for("google", "?redirect=/console").await;
        let back = browser.agree(&url).await;
        let sent = browser.get(&change(&back)).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
        assert!(browser.cookies.is_empty(), "nobody has entered");
        let ending = location(&sent);
        let word = ending.strip_prefix(&place).expect("where it wanted to");
        word.to_owned()
    };
    let denied = |back: &str| with(&with(back, "code", None), "error", Some("access_denied"));
    assert_eq!(ending(&denied).await, "denied");
    assert_eq!(
        ending(&|back| with(back, "code", Some("x"))).await,
        "failed"
    );
    scene.provider.script().person.verified = false;
    assert_eq!(ending(&str::to_owned).await, "no_email");
    scene.provider.script().person.verified = true;
    scene.registered("ada@example.org", false).await;
    assert_eq!(ending(&str::to_owned).await, "unconfirmed");
}
