//! Older paths answer like the ones they stand for.

use http::{Method, StatusCode};
use llm_gate_gateway::client::Answer;
use llm_gate_gateway::config::RateLimitConfig;
use serde_json::{Value, json};

use super::operations::operations;
use super::support::{PASSWORD, send, start, start_with};

#[tokio::test]
async fn every_alias_answers_identically() {
    // Two requests never leave the same allowance.
    let gate = start_with(|config| config.rate_limits = RateLimitConfig::off()).await;
    let ada = gate.person("ada").await;
    let wrong = json!({ "username": "ada", "password": "wrong horse battery" }).to_string();
    let taken = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let none = json!({ "refresh_token": "none" }).to_string();
    let limit = json!({ "token_limit": 10_000 }).to_string();
    let table: [(Method, &str, &[&str]); 14] = [
        (
            Method::POST,
            &taken,
            &[
                "/api/v1/auth/register",
                "/auth/register",
                "/api/auth/register",
            ],
        ),
        (
            Method::POST,
            &wrong,
            &["/api/v1/auth/login", "/auth/login", "/api/auth/login"],
        ),
        (Method::POST, "", &["/api/v1/auth/token", "/auth/token"]),
        (
            Method::POST,
            &none,
            &["/api/v1/auth/refresh", "/auth/refresh", "/api/auth/refresh"],
        ),
        (
            Method::POST,
            &none,
            &["/api/v1/auth/logout", "/auth/logout", "/api/auth/logout"],
        ),
        (Method::GET, "", &["/api/v1/auth/check", "/api/login"]),
        (
            Method::GET,
            "",
            &["/api/v1/users/me", "/users/me", "/api/me"],
        ),
        (Method::GET, "", &["/api/v1/users/me/usage", "/users/usage"]),
        (
            Method::PUT,
            &limit,
            &["/api/v1/users/me/token-limit", "/users/me/token-limit"],
        ),
        (Method::GET, "", &["/api/v1/projects", "/api/projects"]),
        (
            Method::GET,
            "",
            &["/api/v1/usage/daily", "/users/billing/daily"],
        ),
        (
            Method::GET,
            "",
            &["/api/v1/usage/calls", "/users/billing/calls"],
        ),
        (
            Method::GET,
            "",
            &["/api/v1/usage/summary", "/users/billing/summary"],
        ),
        (
            Method::GET,
            "",
            &[
                "/api/v1/health/ready",
                "/health/ready",
                "/health",
                "/api/health",
            ],
        ),
    ];
    for (method, body, paths) in table {
        let mut answers = Vec::new();
        for path in paths {
            let answer = send(&ada.session, method.clone(), path, &[], body.to_owned()).await;
            assert_ne!(answer.status, 404, "{path}");
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            headers.remove("date");
            answers.push((path, answer.status, headers, answer.body));
        }
        for other in &answers[1..] {
            assert_eq!(other.1, answers[0].1, "{}", other.0);
            assert_eq!(other.2, answers[0].2, "{}", other.0);
            assert_eq!(other.3, answers[0].3, "{}", other.0);
        }
    }
}

#[tokio::test]
async fn the_model_overview_has_one_shape_on_both_paths() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let expected = json!({ "provider": "vllm", "current": "tiny", "models": ["tiny"] });
    for path in ["/api/v1/models", "/models"] {
        assert_eq!(ada.get(path).await.json(), expected);
        assert_eq!(gate.get(path).await.status, 401);
    }
}

#[tokio::test]
async fn health_says_what_its_status_says() {
    let gate = start().await;
    for path in ["/health/live", "/api/v1/health/live", "/health/ready"] {
        let health: Value = gate.get(path).await.json();
        assert_eq!(health["code"], 200);
        assert_eq!(health["status"], "healthy");
        assert_eq!(health["timestamp"], "2026-01-01T00:00:00Z");
    }
    let root = gate.get("/").await.json();
    assert_eq!(root["name"], "llm-gate");
    assert!(root["version"].is_string());
}

/// The older paths that have to be there, and what they stand for.
const ALIASES: [(&str, &str, &str); 38] = [
    ("POST", "/auth/register", "/api/v1/auth/register"),
    ("POST", "/api/auth/register", "/api/v1/auth/register"),
    ("POST", "/auth/login", "/api/v1/auth/login"),
    ("POST", "/api/auth/login", "/api/v1/auth/login"),
    ("POST", "/auth/token", "/api/v1/auth/token"),
    ("POST", "/auth/refresh", "/api/v1/auth/refresh"),
    ("POST", "/api/auth/refresh", "/api/v1/auth/refresh"),
    ("POST", "/auth/logout", "/api/v1/auth/logout"),
    ("POST", "/api/auth/logout", "/api/v1/auth/logout"),
    (
        "GET",
        "/auth/{provider}/login",
        "/api/v1/auth/{provider}/login",
    ),
    (
        "GET",
        "/auth/{provider}/callback",
        "/api/v1/auth/{provider}/callback",
    ),
    ("GET", "/api/login", "/api/v1/auth/check"),
    ("GET", "/users/me", "/api/v1/users/me"),
    ("GET", "/api/me", "/api/v1/users/me"),
    (
        "PUT",
        "/users/me/token-limit",
        "/api/v1/users/me/token-limit",
    ),
    ("GET", "/users/usage", "/api/v1/users/me/usage"),
    ("GET", "/users/billing/daily", "/api/v1/usage/daily"),
    ("GET", "/users/billing/calls", "/api/v1/usage/calls"),
    ("GET", "/users/billing/summary", "/api/v1/usage/summary"),
    ("GET", "/api/projects", "/api/v1/projects"),
    ("POST", "/api/projects", "/api/v1/projects"),
    ("GET", "/api/projects/{id}", "/api/v1/projects/{id}"),
    ("PATCH", "/api/projects/{id}", "/api/v1/projects/{id}"),
    ("DELETE", "/api/projects/{id}", "/api/v1/projects/{id}"),
    (
        "GET",
        "/api/projects/{id}/members",
        "/api/v1/projects/{id}/members",
    ),
    (
        "POST",
        "/api/projects/{id}/members",
        "/api/v1/projects/{id}/members",
    ),
    (
        "DELETE",
        "/api/projects/{id}/members/{user}",
        "/api/v1/projects/{id}/members/{user}",
    ),
    (
        "GET",
        "/api/projects/{id}/usage",
        "/api/v1/projects/{id}/usage",
    ),
    (
        "GET",
        "/tokens/usage/{session}",
        "/api/v1/tokens/usage/{session}",
    ),
    (
        "GET",
        "/tokens/project/{project}",
        "/api/v1/tokens/project/{project}",
    ),
    ("GET", "/tokens/stats", "/api/v1/tokens/stats"),
    ("GET", "/models", "/api/v1/models"),
    ("GET", "/models/all", "/api/v1/models"),
    ("GET", "/health", "/api/v1/health/ready"),
    ("GET", "/api/health", "/api/v1/health/ready"),
    ("GET", "/health/live", "/api/v1/health/live"),
    ("GET", "/health/ready", "/api/v1/health/ready"),
    ("POST", "/chat/completions", "/v1/chat/completions"),
];

#[test]
fn every_older_path_is_there_and_says_what_it_stands_for() {
    let all = operations();
    for (method, alias, original) in ALIASES {
        let found = all
            .iter()
            .find(|one| one.path == alias && one.method == method);
        let found = found.unwrap_or_else(|| panic!("{method} {alias} is not there"));
        assert_eq!(found.is["x-alias-of"], original, "{method} {alias}");
    }
}

#[tokio::test]
async fn every_older_path_answers_as_what_it_stands_for() {
    // Two requests never leave the same allowance.
    let gate = start_with(|config| config.rate_limits = RateLimitConfig::off()).await;
    let ada = gate.person("ada").await;
    for (method, alias, original) in ALIASES {
        if alias == "/chat/completions" {
            // Its answers have an identifier each: see the calls.
            continue;
        }
        let method: Method = method.parse().expect("a method");
        let mut answers = Vec::new();
        for path in [original, alias] {
            let path = path
                .replace("{id}", &ada.project)
                .replace("{project}", &ada.project)
                .replace("{user}", &ada.id)
                .replace("{session}", "none")
                .replace("{provider}", "none");
            let json = [("content-type", "application/json")];
            let body = if method == Method::GET { "" } else { "{}" };
            let answer = send(&ada.session, method.clone(), &path, &json, body).await;
            let mut value = answer.json();
            for moving in ["request_id", "timestamp", "id", "name", "created_at"] {
                if let Some(members) = value.as_object_mut() {
                    members.remove(moving);
                }
            }
            answers.push((answer.status, value));
        }
        assert_eq!(answers[0], answers[1], "{method} {alias}");
    }
}

/// Checks that an answer is a success with these members and no others.
fn shaped(answer: &Answer, status: StatusCode, members: &[&str]) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    let json = answer.json();
    let mut found: Vec<&str> = json
        .as_object()
        .map(|object| object.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let mut members = members.to_vec();
    found.sort_unstable();
    members.sort_unstable();
    assert_eq!(found, members, "{json}");
    json
}

/// The shapes that older clients rely on, from an account's beginning to its project's end.
#[tokio::test]
async fn an_older_client_gets_what_it_relies_on_all_the_way() {
    const PAIR: [&str; 4] = ["access_token", "token_type", "expires_in", "refresh_token"];
    const PROJECT: [&str; 4] = ["id", "name", "role", "created_at"];
    let gate = start_with(|config| config.rate_limits = RateLimitConfig::off()).await;
    let bea = gate.person("bea").await;
    for (prefix, name) in [("", "ada"), ("/api", "eve")] {
        let body = json!({ "username": name, "password": PASSWORD, "create_api_key": true });
        let made = gate.post(&format!("{prefix}/auth/register"), body).await;
        let account = [
            "id",
            "username",
            "email",
            "token_limit",
            "tokens_used",
            "api_key",
        ];
        let made = shaped(&made, StatusCode::CREATED, &account);
        let login = json!({ "username": name, "password": PASSWORD });
        let pair = gate.post(&format!("{prefix}/auth/login"), login).await;
        let pair = shaped(&pair, StatusCode::OK, &PAIR);
        assert_eq!(
            (&pair["token_type"], &pair["expires_in"]),
            (&json!("bearer"), &json!(600))
        );
        let refresh = json!({ "refresh_token": pair["refresh_token"] });
        let next = gate.post(&format!("{prefix}/auth/refresh"), refresh).await;
        let next = shaped(&next, StatusCode::OK, &PAIR);
        let session = gate
            .client
            .bearer(next["access_token"].as_str().expect("a token"));
        let me = session
            .get(if prefix.is_empty() {
                "/users/me"
            } else {
                "/api/me"
            })
            .await;
        assert_eq!(me.expect("an answer").json()["id"], made["id"]);

        let wanted = json!({ "name": "Research" });
        let project = session
            .post("/api/projects", &wanted)
            .await
            .expect("an answer");
        let project = shaped(&project, StatusCode::CREATED, &PROJECT);
        assert_eq!(
            (&project["name"], &project["role"]),
            (&json!("Research"), &json!("owner"))
        );
        let path = format!("/api/projects/{}", project["id"].as_str().expect("an id"));
        let shown = session.get(&path).await.expect("an answer");
        assert_eq!(shaped(&shown, StatusCode::OK, &PROJECT), project);
        let renamed = json!({ "name": "Teaching" }).to_string();
        let renamed = send(&session, Method::PATCH, &path, &[], renamed).await;
        assert_eq!(
            shaped(&renamed, StatusCode::OK, &PROJECT)["name"],
            "Teaching"
        );
        let member = json!({ "user_id": bea.id });
        let members = format!("{path}/members");
        let joined = session.post(&members, &member).await.expect("an answer");
        assert_eq!(joined.status, StatusCode::OK, "{joined:?}");
        let listed = session.get(&members).await.expect("an answer");
        assert_eq!(listed.json()["members"].as_array().map(Vec::len), Some(2));
        let out = format!("{members}/{}", bea.id);
        let out = send(&session, Method::DELETE, &out, &[], "").await;
        assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");
        let keys = path.replace("/api/", "/api/v1/") + "/api-keys";
        let key = session
            .post(&keys, &json!({ "name": "ci" }))
            .await
            .expect("an answer");
        let key = shaped(&key, StatusCode::CREATED, &[KEY, &["api_key"]].concat());
        let listed = session.get(&keys).await.expect("an answer").json()["keys"][0].clone();
        let mut shown = key.clone();
        shown.as_object_mut().expect("a key").remove("api_key");
        assert_eq!(listed, shown, "the secret is shown once");
        let closed = send(&session, Method::DELETE, &path, &[], "").await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
        let models = session.get("/models/all").await.expect("an answer");
        shaped(&models, StatusCode::OK, &["provider", "current", "models"]);

        let refresh = json!({ "refresh_token": next["refresh_token"] });
        let out = gate
            .post(&format!("{prefix}/auth/logout"), refresh.clone())
            .await;
        assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");
        let over = gate.post(&format!("{prefix}/auth/refresh"), refresh).await;
        assert_eq!(
            over.status,
            StatusCode::UNAUTHORIZED,
            "it is over: {over:?}"
        );
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!(
        "grant_type=password&username=ada&password={}",
        PASSWORD.replace(' ', "+")
    );
    let pair = send(&gate.client, Method::POST, "/auth/token", &form, body).await;
    shaped(&pair, StatusCode::OK, &PAIR);
}

/// What is shown of a key.
const KEY: &[&str] = &[
    "id",
    "name",
    "prefix",
    "scopes",
    "models",
    "networks",
    "user_id",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked",
    "clamps",
];
