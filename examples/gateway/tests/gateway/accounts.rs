//! Registering, the own profile, the own limit.

use http::{Method, StatusCode};
use serde_json::json;

use super::support::{PASSWORD, send, start, start_with};

const REGISTER: &str = "/api/v1/auth/register";

#[tokio::test]
async fn registers_with_either_name_and_a_first_key() {
    let gate = start().await;
    let body = json!({
        "email": " Ada@Example.com ", "username": "Ada", "password": PASSWORD, "create_api_key": true,
    });
    let answer = gate.post(REGISTER, body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let made = answer.json();
    assert_eq!(made["email"], "ada@example.com");
    assert_eq!(made["username"], "ada");
    assert_eq!(made["token_limit"], 10_000);
    assert_eq!(made["tokens_used"], 0);
    let key = gate.client.bearer(answer.text("api_key"));
    let check = key.get("/api/v1/auth/check").await.expect("an answer");
    assert_eq!(check.text("credential"), "api_key", "the key works at once");
    assert_eq!(made.as_object().expect("an object").len(), 6);

    let answer = gate
        .post(
            REGISTER,
            json!({ "email": "b@example.com", "password": PASSWORD }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(answer.json().get("api_key").is_none(), "only if asked for");
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_in_any_case() {
    let gate = start().await;
    gate.person("ada").await;
    let answer = gate
        .post(
            REGISTER,
            json!({ "username": " ADA ", "password": PASSWORD }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.json()["detail"].is_string());
}

#[tokio::test]
async fn says_field_by_field_what_is_wrong() {
    let gate = start().await;
    let fields = |answer: &llm_gate_gateway::client::Answer| -> Vec<String> {
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        let detail = answer.json()["detail"].clone();
        let list = detail.as_array().expect("a list").iter();
        list.map(|error| error["loc"][1].as_str().expect("a name").to_owned())
            .collect()
    };
    for (body, wrong) in [
        (json!({}), "password username"),
        (
            json!({ "username": "ada", "password": "short" }),
            "password",
        ),
        (
            json!({ "username": "ada", "password": "passwordpassword" }),
            "password",
        ),
        (
            json!({ "username": "ada", "password": "x".repeat(129) }),
            "password",
        ),
        (json!({ "username": "ada", "password": 5 }), "password"),
        (
            json!({ "username": "a b", "email": "nobody", "password": PASSWORD }),
            "email username",
        ),
        (
            json!({ "username": "ada", "password": PASSWORD, "token_limit": 9 }),
            "token_limit",
        ),
        (
            json!({ "username": "ada", "password": PASSWORD, "role": "admin" }),
            "role",
        ),
    ] {
        let answer = gate.post(REGISTER, body.clone()).await;
        let mut found = fields(&answer);
        found.sort();
        assert_eq!(found.join(" "), wrong, "{body}");
    }
    let none_made = gate
        .post(
            "/auth/login",
            json!({ "username": "ada", "password": PASSWORD }),
        )
        .await;
    assert_eq!(none_made.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_no_json_is_malformed_not_invalid() {
    let gate = start().await;
    let answer = send(&gate.client, Method::POST, REGISTER, &[], "{").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["detail"].is_string());

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = send(&gate.client, Method::POST, REGISTER, &form, "{}").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let answer = send(
        &gate.client,
        Method::POST,
        REGISTER,
        &[],
        vec![b' '; 70_000],
    )
    .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn closed_registration_is_forbidden() {
    let gate = start_with(|config| {
        config.registration = Some(llm_gate_gateway::config::Registration::Closed);
    })
    .await;
    let answer = gate
        .post(REGISTER, json!({ "username": "ada", "password": PASSWORD }))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn shows_the_own_profile_and_no_secret() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let me = ada.get("/api/v1/users/me").await;
    let members = me.json();
    let mut names: Vec<&String> = members.as_object().expect("an object").keys().collect();
    names.sort();
    let expected = [
        "created_at",
        "default_project_id",
        "disabled",
        "email",
        "email_verified",
        "id",
        "name",
        "role",
        "token_limit",
        "tokens_used",
        "username",
    ];
    assert_eq!(names, expected);
    assert_eq!(members["created_at"], "2026-01-01T00:00:00Z");
    assert_eq!(members["role"], "user");

    let anonymous = gate.get("/api/v1/users/me").await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    assert_eq!(anonymous.headers["www-authenticate"], "Bearer");
    assert!(anonymous.json()["detail"].is_string());
}

#[tokio::test]
async fn an_api_key_manages_nothing() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    for path in [
        "/api/v1/users/me",
        "/api/v1/users/me/usage",
        "/api/v1/projects",
        "/api/v1/users",
    ] {
        let answer = key.get(path).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn shows_the_own_usage() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let usage = ada.get("/api/v1/users/me/usage").await;
    let expected =
        json!({ "tokens_used": 0, "token_limit": 10_000, "remaining": 10_000, "reserved": 0 });
    assert_eq!(usage.json(), expected);
    assert_eq!(
        gate.get("/api/v1/users/me/usage").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_own_limit_goes_down_only() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = "/api/v1/users/me/token-limit";
    let lowered = ada.put(path, json!({ "token_limit": 500 })).await;
    assert_eq!(lowered.status, StatusCode::OK, "{lowered:?}");
    assert_eq!(lowered.json()["token_limit"], 500);

    for raised in [json!(501), json!(null)] {
        let answer = ada.put(path, json!({ "token_limit": raised })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{raised}");
    }
    let query = send(
        &ada.session,
        Method::PUT,
        &format!("{path}?token_limit=400"),
        &[],
        "",
    )
    .await;
    assert_eq!(query.json()["token_limit"], 400, "the query does as well");
    for wrong in [json!(-1), json!(1.5), json!("5"), json!(1_u64 << 53)] {
        let answer = ada.put(path, json!({ "token_limit": wrong })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(
        ada.get("/api/v1/users/me/usage").await.json()["token_limit"],
        400
    );
}
