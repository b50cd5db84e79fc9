//! The cookies of browsers: bound to the gateway's own host, out of reach of scripts, and no credential by themselves.

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use serde_json::json;

use super::Scene;
use super::browser::{Browser, location, parameter};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const REFRESH: &str = "/api/v1/auth/refresh";
const LOGOUT: &str = "/api/v1/auth/logout";

/// Logs a browser in that ends on a page.
async fn entered(scene: &Scene) -> Browser {
    let mut browser = scene.browser();
    let url = browser.depart_for("google", "?redirect=/").await;
    let back = browser.agree(&url).await;
    let sent = browser.get(&back).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    browser
}

#[tokio::test]
async fn under_https_a_cookie_is_of_one_host_and_of_secure_lines() {
    let web_url = "https://gate.example/llm/";
    let scene = Scene::start_with(|config| config.web_url = Some(web_url.to_owned())).await;
    let mut browser = scene.browser();
    let sent = browser.get("/auth/google/login?redirect=/console").await;
    let line = sent.headers[SET_COOKIE].to_str().expect("text").to_owned();
    let (value, attributes) = line.split_once("; ").expect("attributes");
    assert!(value.starts_with("__Host-llm-gate-login="), "{line}");
    let attributes: Vec<&str> = attributes.split("; ").collect();
    assert_eq!(
        attributes,
        [
            "Path=/",
            "HttpOnly",
            "SameSite=Lax",
            "Secure",
            "Max-Age=600"
        ]
    );
    let url = location(&sent);
    assert_eq!(
        parameter(&url, "redirect_uri").as_deref(),
        Some("https://gate.example/llm/api/v1/auth/google/callback")
    );
    let back = browser.agree(&url).await;
    let back = back.strip_prefix("/llm").expect("below the web URL");
    // The name without its prefix could be set by others.
    let mut tossed = browser.clone();
    let value = tossed.cookies.remove("__Host-llm-gate-login");
    tossed
        .cookies
        .insert("llm-gate-login".to_owned(), value.expect("set"));
    assert_eq!(tossed.get(back).await.status, StatusCode::FORBIDDEN);

    let sent = browser.get(back).await;
    assert_eq!(location(&sent), "https://gate.example/llm/console");
    let lines = sent.headers.get_all(SET_COOKIE).iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().expect("text")).collect();
    let find = |start: &str| lines.iter().find(|line| line.starts_with(start));
    let refresh = find("__Host-llm-gate-refresh=lgr_").expect("set");
    assert!(
        refresh.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=604800"),
        "{refresh}"
    );
    let gone = find("__Host-llm-gate-login=; ").expect("taken away");
    assert!(gone.ends_with("Secure; Max-Age=0"), "{gone}");
}

#[tokio::test]
async fn a_refresh_token_in_a_cookie_is_rotated_there() {
    let scene = Scene::start().await;
    let mut browser = entered(&scene).await;
    let first = browser.cookies["llm-gate-refresh"].clone();
    for _ in 0..3 {
        let before = browser.cookies["llm-gate-refresh"].clone();
        let pair = browser.ask(Method::POST, REFRESH, &JSON, "{}").await;
        assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
        assert!(!pair.text("access_token").is_empty());
        assert!(!String::from_utf8_lossy(&pair.body).contains("lgr_"));
        assert_ne!(browser.cookies["llm-gate-refresh"], before);
    }
    // The first one comes back, long spent.
    let mut thief = scene.browser();
    thief.cookies.insert("llm-gate-refresh".to_owned(), first);
    for browser in [&mut thief, &mut browser] {
        let refused = browser.ask(Method::POST, REFRESH, &JSON, "{}").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    }
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_use_its_cookie() {
    let scene = Scene::start().await;
    let mut browser = entered(&scene).await;
    // What a page may send without asking first: other types than JSON.
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        for path in [REFRESH, LOGOUT] {
            let headers = [("content-type", media)];
            let answer = browser.ask(Method::POST, path, &headers, "{}").await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    }
    for path in ["/api/v1/users/me", "/v1/models"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "no credential");
    }
    let pair = browser.ask(Method::POST, REFRESH, &JSON, "{}").await;
    assert_eq!(pair.status, StatusCode::OK, "it lives on: {pair:?}");
}

#[tokio::test]
async fn a_logout_takes_the_cookie_and_its_session() {
    let scene = Scene::start().await;
    let mut browser = entered(&scene).await;
    let kept = browser.clone();
    let gone = browser.ask(Method::POST, LOGOUT, &JSON, "{}").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    assert!(browser.cookies.is_empty());
    let again = kept.clone().ask(Method::POST, REFRESH, &JSON, "{}").await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_in_the_body_goes_before_that_of_a_cookie() {
    let scene = Scene::start().await;
    let ada = scene.gate.person("ada").await;
    let mut browser = entered(&scene).await;
    let cookie = browser.cookies.clone();
    let body = json!({ "refresh_token": ada.refresh }).to_string();
    let pair = browser.ask(Method::POST, REFRESH, &JSON, &body).await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    assert!(pair.text("refresh_token").starts_with("lgr_"));
    assert_eq!(browser.cookies, cookie, "that one was not asked for");
    let neither = scene
        .browser()
        .ask(Method::POST, REFRESH, &JSON, "{}")
        .await;
    assert_eq!(neither.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(neither.json()["detail"][0]["loc"][1], "refresh_token");
}
