//! Who may administer, and how it is said that somebody may not.

use llm_gate::auth::OperatorSecret;

use super::super::support::start_with;
use super::*;

const ANYWHERE: &str = "/v1/organization/users";

#[tokio::test]
async fn only_admins_administer_and_others_are_told_as_openai_does() {
    let admin = Admin::start().await;
    let ada = admin.gate.person("ada").await;
    let key = admin.gate.client.bearer(ada.key().await.text("api_key"));
    for (client, status, code) in [
        (&admin.gate.client, 401, json!("invalid_api_key")),
        (
            &admin.gate.client.bearer("wrong"),
            401,
            json!("invalid_api_key"),
        ),
        (&ada.session, 403, Value::Null),
        (&key, 403, Value::Null),
    ] {
        let answer = ask(client, Method::GET, ANYWHERE, &Value::Null).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], code, "{answer:?}");
        assert!(error["message"].is_string(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_conflict_is_final_and_is_not_tried_again() {
    let admin = Admin::start().await;
    let path = format!("{ANYWHERE}/{}", admin.root.id);
    let refused = ask(&admin.root.session, Method::DELETE, &path, &Value::Null).await;
    assert_eq!(
        refused.status,
        StatusCode::CONFLICT,
        "the last admin: {refused:?}"
    );
    assert_eq!(refused.headers["x-should-retry"], "false");
    let found = ask(&admin.root.session, Method::GET, &path, &Value::Null).await;
    assert!(!found.headers.contains_key("x-should-retry"), "{found:?}");
}

#[tokio::test]
async fn an_admins_key_needs_the_scope() {
    let admin = Admin::start().await;
    let path = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    for (scopes, status) in [
        (json!(["inference", "manage"]), 403),
        (json!(["admin"]), 200),
    ] {
        let key = admin.root.post(&path, json!({ "scopes": scopes })).await;
        let key = admin.gate.client.bearer(key.text("api_key"));
        let answer = ask(&key, Method::GET, ANYWHERE, &Value::Null).await;
        assert_eq!(answer.status.as_u16(), status, "{scopes}");
    }
}

#[tokio::test]
async fn an_admin_who_is_none_any_more_is_refused_with_the_same_key() {
    let admin = Admin::start().await;
    let made = admin
        .post("/v1/organization/admin_api_keys", json!({ "name": "ops" }))
        .await;
    let key = admin.gate.client.bearer(text(&made["value"]));
    let ada = admin.gate.person("ada").await;
    let role = |role| json!({ "role": role });
    admin
        .post(&format!("{ANYWHERE}/{}", ada.id), role("owner"))
        .await;
    let path = format!("{ANYWHERE}/{}", admin.root.id);
    let done = ask(&key, Method::POST, &path, &role("reader")).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let refused = ask(&key, Method::GET, ANYWHERE, &Value::Null).await;
    assert_eq!(
        refused.status,
        StatusCode::FORBIDDEN,
        "its user is no admin"
    );
}

#[tokio::test]
async fn the_operator_administers_but_owns_nothing() {
    let operator = OperatorSecret::generate();
    let hash = operator.hash().to_string();
    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    let ada = gate.person("ada").await;
    let operator = gate.client.bearer(operator.expose());
    let users = ask(&operator, Method::GET, ANYWHERE, &Value::Null).await;
    assert_eq!(users.json()["data"][0]["id"], ada.id, "{users:?}");
    let service = format!("/v1/organization/projects/{}/service_accounts", ada.project);
    let made = ask(&operator, Method::POST, &service, &json!({ "name": "ci" })).await;
    assert_eq!(
        made.status,
        StatusCode::OK,
        "for a project that is there: {made:?}"
    );
    let root = gate.admin().await;
    let keys = "/v1/organization/admin_api_keys";
    let key = root.post(keys, json!({ "name": "ops" })).await.text("id");
    let listed = ask(&operator, Method::GET, keys, &Value::Null).await;
    assert_eq!(listed.json()["data"][0]["id"], key, "{listed:?}");
    assert_eq!(listed.json()["data"][0]["owner"]["id"], root.id);
    let path = format!("{keys}/{key}");
    for (method, status) in [
        (Method::GET, 200),
        (Method::DELETE, 200),
        (Method::GET, 404),
    ] {
        let answer = ask(&operator, method, &path, &Value::Null).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "the admins' own: {answer:?}"
        );
    }
    for (method, path, body) in [
        (
            Method::POST,
            "/v1/organization/projects",
            json!({ "name": "mine" }),
        ),
        (
            Method::POST,
            "/v1/organization/admin_api_keys",
            json!({ "name": "mine" }),
        ),
    ] {
        let refused = ask(&operator, method, path, &body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {refused:?}");
        assert_eq!(
            refused.json()["error"]["code"],
            "account_required",
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_as_openai_does() {
    let admin = Admin::start().await;
    let path = "/v1/organization/projects";
    let json = [("content-type", "application/json")];
    let plain = [("content-type", "text/plain")];
    let huge = "x".repeat(65 * 1024);
    for (kind, body, status) in [
        (&json, "{", 400),
        (&json, "[]", 400),
        (&plain, "{}", 415),
        (&json, huge.as_str(), 413),
    ] {
        let body = body.to_owned();
        let refused = send(&admin.root.session, Method::POST, path, kind, body).await;
        assert_eq!(refused.status.as_u16(), status, "{refused:?}");
        assert!(
            refused.json()["error"]["message"].is_string(),
            "{refused:?}"
        );
    }
    for (method, path, status) in [
        (Method::PUT, path, 405),
        (Method::GET, "/v1/organization", 404),
        (Method::GET, "/v1/organization/certificates", 404),
        (Method::GET, "/v1/organization/usage/images", 404),
    ] {
        let refused = ask(&admin.root.session, method, path, &Value::Null).await;
        assert_eq!(refused.status.as_u16(), status, "{path}: {refused:?}");
        assert!(
            refused.json()["error"]["message"].is_string(),
            "{path}: {refused:?}"
        );
    }
    admin
        .wrong(
            Method::GET,
            "/v1/organization/users?limit=0",
            Value::Null,
            "limit",
        )
        .await;
    admin
        .wrong(
            Method::GET,
            "/v1/organization/users?limit=101",
            Value::Null,
            "limit",
        )
        .await;
    admin
        .wrong(
            Method::GET,
            "/v1/organization/users?after=x",
            Value::Null,
            "after",
        )
        .await;
    admin
        .wrong(
            Method::GET,
            "/v1/organization/users?before=x",
            Value::Null,
            "before",
        )
        .await;
}
