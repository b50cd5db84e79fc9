//! What a browser keeps, and who cannot take it away.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::{HOME, LOGIN, Place, WRONG, device, proxied, rate};
use crate::support::{PASSWORD, send, start_with};

/// A page of somebody else's logs the browser in to its own account, without the cookies that the browser keeps.
#[tokio::test]
async fn no_other_site_takes_from_the_browser_what_it_keeps() {
    let gate = start_with(|config| {
        proxied(config);
        config.web_url = Some("https://gate.example/llm".to_owned());
    });
    let gate = gate.await;
    gate.made("eve").await;
    let form = format!("username=eve&password={PASSWORD}").replace(' ', "+");
    for (name, value, sets) in [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("origin", "https://evil.example", false),
        ("origin", "https://gate.exampl", false),
        ("origin", "null", false),
        ("origin", "https://gate.example", true),
        ("user-agent", "curl", true),
    ] {
        let headers = [
            (name, value),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let path = "/api/v1/auth/token";
        let answer = send(&gate.client, Method::POST, path, &headers, form.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let set = answer.headers.contains_key(SET_COOKIE);
        assert_eq!(set, sets, "{name}: {value}");
    }
}

/// Other hosts of a domain may set cookies for all of it, with whatever in them.
#[tokio::test]
async fn no_cookie_of_others_hides_ours() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    ada.enter("ada").await;
    assert_eq!(Place::new(&gate, HOME).exhaust("ada").await, 1);
    let own = ada.cookie.expect("entered");
    for line in [
        format!("x=\u{e9}; {own}"),
        format!("{own};x=\u{e9}"),
        format!("llm-gate-device-too=x; {own}; y"),
    ] {
        let body = json!({ "username": "ada", "password": PASSWORD });
        let request = gate.client.request(Method::POST, LOGIN, body.to_string());
        let mut request = request.expect("a request");
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("a value");
        headers.insert("x-forwarded-for", value(HOME));
        headers.insert("content-type", value("application/json"));
        headers.insert(COOKIE, value(&line));
        let answer = gate.client.send(request).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn a_browser_knows_the_account_by_the_name_it_has_now() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    let session = gate
        .client
        .bearer(ada.enter("ada").await.text("access_token"));
    let path = "/api/v1/users/me";
    let body = json!({ "username": "lovelace" });
    let renamed = ada.send(&session, Method::PATCH, path, &body).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(Place::new(&gate, HOME).exhaust("lovelace").await, 1);
    let (ok, too_many) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    ada.everywhere("lovelace", PASSWORD, too_many, "as it was")
        .await;
    ada.cookie = device(&renamed);
    ada.everywhere("lovelace", PASSWORD, ok, "as it is").await;
    // Nobody's browser learns of it that has not entered.
    let other = Place::new(&gate, HOME);
    let body = json!({ "username": "countess" });
    let renamed = other.send(&session, Method::PATCH, path, &body).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(device(&renamed), None);
}

#[tokio::test]
async fn a_refused_login_gives_nothing_to_the_browser() {
    let gate = start_with(proxied).await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    ada.enter("ada").await;
    let root = gate.admin().await;
    for (name, password) in [("ada", WRONG), ("nobody", PASSWORD)] {
        let refused = ada.login(name, password).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(!refused.headers.contains_key(SET_COOKIE), "{refused:?}");
    }
    let path = format!("/api/v1/users/{}", gate.enter("ada").await.id);
    let disabled = root.patch(&path, json!({ "disabled": true })).await;
    assert_eq!(disabled.status, StatusCode::OK, "{disabled:?}");
    let refused = ada.login("ada", PASSWORD).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "known, and disabled"
    );
    assert!(!refused.headers.contains_key(SET_COOKIE));
}

#[tokio::test]
async fn what_the_browser_keeps_is_of_one_host_and_out_of_reach_of_scripts() {
    let gate = start_with(|config| {
        proxied(config);
        config.web_url = Some("https://gate.example".to_owned());
    });
    let gate = gate.await;
    gate.made("ada").await;
    let answer = Place::new(&gate, HOME).login("ada", PASSWORD).await;
    let line = answer.headers[SET_COOKIE].to_str().expect("text");
    let (value, attributes) = line.split_once("; ").expect("attributes");
    assert!(value.starts_with("__Host-llm-gate-device="), "{line}");
    assert_eq!(
        attributes,
        "Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=34560000"
    );
    for secret in ["access_token", "refresh_token"] {
        assert!(!line.contains(&answer.text(secret)), "{secret}");
    }
}
