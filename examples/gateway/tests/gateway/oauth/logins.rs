use http::header::{ACCEPT, SET_COOKIE};
use http::{Method, StatusCode};
use llm_gate::store::{Action, Actor};

use super::browser::{location, parameter};
use super::provider::{ADA, Person};
use super::{Scene, me, refused};

#[tokio::test]
async fn whoever_comes_first_gets_an_account_and_the_same_one_ever_after() {
    for (provider, subject) in [("google", ADA.subject), ("github", ADA.subject)] {
        let scene = Scene::start().await;
        let session = scene.browser().enter(provider).await;
        let first = me(&session).await;
        assert_eq!(first.text("email"), "ada@example.org", "normalised");
        assert_eq!(first.text("role"), "user");
        assert_eq!(first.json()["token_limit"], 10_000, "as for who registers");
        let store = scene.store().await;
        let user = first.text("id").parse().expect("an id");
        let record = store.user(user).await;
        let record = record.expect("a store").expect("an account");
        assert!(record.email_verified, "the provider knows it");
        let identities = store.identities(user).await;
        assert_eq!(identities.expect("a store")[0].subject, subject);

        // Another browser, another address there: the subject is what counts.
        scene.provider.script().person = Person {
            email: Some("countess@example.org"),
            verified: false,
            ..ADA
        };
        let again = me(&scene.browser().enter(provider).await).await;
        assert_eq!(again.text("id"), first.text("id"), "{provider}");
        assert_eq!(again.text("email"), "ada@example.org");
        assert_eq!(scene.users().await, 1);
    }
}

#[tokio::test]
async fn a_login_is_a_session_like_any_other() {
    let scene = Scene::start().await;
    let pair = scene.browser().login("google").await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    assert_eq!(pair.text("token_type"), "bearer");
    assert_eq!(pair.json()["expires_in"], 600);
    assert_eq!(pair.headers["cache-control"], "no-store");
    let user = me(&scene.gate.client.bearer(pair.text("access_token"))).await;
    let body = serde_json::json!({ "refresh_token": pair.text("refresh_token") });
    let refreshed = scene.gate.post("/auth/refresh", body).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");

    let made = scene.events(&[Action::UserCreated]).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].author.actor, Actor::Anonymous, "as a registration");
    let opened = scene.events(&[Action::SessionCreated]).await;
    let id = user.text("id").parse().expect("an id");
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].author.actor, Actor::User(id));
    assert!(opened[0].author.address.is_some());
}

#[tokio::test]
async fn the_way_there_is_that_of_the_standards() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser.depart("google").await;
    let issuer = &scene.provider.url;
    assert!(
        url.starts_with(&format!("{issuer}/authorize?tenant=1&")),
        "behind what is there: {url}"
    );
    let callback = format!("{}/api/v1/auth/google/callback", scene.gate.url());
    let of = |name| parameter(&url, name);
    assert_eq!(of("redirect_uri"), Some(callback));
    assert_eq!(of("scope").as_deref(), Some("openid email"));
    assert_eq!(of("code_challenge_method").as_deref(), Some("S256"));
    let (state, nonce) = (of("state"), of("nonce"));
    assert!(nonce.is_some() && state != nonce);
    let again = browser.depart("google").await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&again, name), of(name), "{name} is of one login");
    }
    assert_eq!(of("client_secret"), None);
    let github = browser.depart("github").await;
    assert_eq!(parameter(&github, "scope").as_deref(), Some("user:email"));
    assert_eq!(parameter(&github, "nonce"), None, "there is no ID token");
}

#[tokio::test]
async fn a_script_is_told_where_to_go() {
    let scene = Scene::start().await;
    for path in ["/api/v1/auth/google/login", "/auth/google/login"] {
        let mut browser = scene.browser();
        let json = [(ACCEPT.as_str(), "application/json, text/plain, */*")];
        let told = browser.ask(Method::GET, path, &json, "").await;
        assert_eq!(told.status, StatusCode::OK);
        assert_eq!(browser.cookies.len(), 1, "the cookie is set all the same");
        let back = browser.agree(&told.text("auth_url")).await;
        let entered = browser.get(&back.replace("/api/v1", "")).await;
        assert_eq!(entered.status, StatusCode::OK, "by the older path too");
    }
    for accept in ["*/*", "text/html", "text/html, application/json;q=0.5"] {
        let sent = [(ACCEPT.as_str(), accept)];
        let sent = scene
            .browser()
            .ask(Method::GET, "/auth/google/login", &sent, "")
            .await;
        assert_eq!(sent.status, StatusCode::FOUND, "{accept}");
    }
}

#[tokio::test]
async fn a_browser_ends_where_it_wanted_and_no_script_has_its_refresh_token() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let url = browser
        .depart_for("google", "?redirect=%2Fconsole%3Ftab%3D1")
        .await;
    let back = browser.agree(&url).await;
    let sent = browser.get(&back).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    let place = format!("{}/console?tab=1", scene.gate.url());
    assert_eq!(location(&sent), place, "with nothing secret in it");
    assert!(sent.body.is_empty());
    assert_eq!(
        browser.cookies.keys().collect::<Vec<_>>(),
        ["llm-gate-refresh"],
        "the login is over"
    );
    let line = sent.headers.get_all(SET_COOKIE).iter().find_map(|line| {
        let line = line.to_str().expect("text");
        line.starts_with("llm-gate-refresh=").then_some(line)
    });
    let line = line.expect("set");
    assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Strict"));
    let json = [("content-type", "application/json")];
    let pair = browser
        .ask(Method::POST, "/api/v1/auth/refresh", &json, "{}")
        .await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    assert_eq!(pair.json().get("refresh_token"), None, "it is in a cookie");
    me(&scene.gate.client.bearer(pair.text("access_token"))).await;
}

#[tokio::test]
async fn an_address_may_be_told_apart_from_the_token() {
    let scene = Scene::start().await;
    scene.provider.script().tells_in_token = false;
    let session = scene.browser().enter("google").await;
    assert_eq!(me(&session).await.text("email"), "ada@example.org");
    scene.provider.script().person = Person {
        subject: "2",
        email: Some("eve@example.org"),
        verified: false,
    };
    let answer = scene.browser().login("google").await;
    refused(&answer, StatusCode::FORBIDDEN);
    // Somebody else's address.
    scene.provider.script().person.verified = true;
    scene.provider.script().userinfo = Box::new(|said| said["sub"] = "3".into());
    let answer = scene.browser().login("google").await;
    refused(&answer, StatusCode::BAD_GATEWAY);
    assert_eq!(scene.users().await, 1);
}

#[tokio::test]
async fn a_secret_goes_where_the_provider_wants_it() {
    for methods in [
        serde_json::json!(["client_secret_post"]),
        serde_json::json!(["private_key_jwt", "client_secret_basic"]),
    ] {
        let scene = Scene::start().await;
        let said = methods.clone();
        scene.provider.script().discovered = Box::new(move |discovered| {
            discovered["token_endpoint_auth_methods_supported"] = said.clone();
        });
        let entered = scene.browser().login("google").await;
        assert_eq!(entered.status, StatusCode::OK, "{methods}: {entered:?}");
    }
}

#[tokio::test]
async fn what_a_provider_says_of_itself_is_kept() {
    let scene = Scene::start().await;
    let gateways = scene.gate.gateways();
    for _ in 0..3 * gateways {
        scene.browser().enter("google").await;
        // Back to where another one has come from.
        scene.gate.turn().await;
    }
    let asked = scene.provider.asked();
    let times = |path: &str| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!(
        times("/.well-known/openid-configuration"),
        gateways,
        "each asks for itself, once"
    );
    assert_eq!(times("/keys"), gateways);
    assert_eq!(times("/token"), 3 * gateways);
}

#[tokio::test]
async fn who_is_not_configured_is_nobody() {
    let scene = Scene::start().await;
    for path in [
        "/api/v1/auth/work/login",
        "/auth/work/login",
        "/api/v1/auth/work/callback?code=a&state=b",
        "/api/v1/auth/Google/login",
    ] {
        refused(&scene.gate.get(path).await, StatusCode::NOT_FOUND);
    }
    let plain = crate::support::start().await;
    refused(
        &plain.get("/api/v1/auth/google/login").await,
        StatusCode::NOT_FOUND,
    );
}
