//! Projects and API keys.

use std::sync::mpsc;

use diesel::connection::SimpleConnection;
use futures_util::future::join;
use http::{Method, StatusCode};
use llm_gate_diesel::{PgConfig, PgStore};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::support::{Gate, PATIENCE, send, start, start_pair};

#[tokio::test]
async fn everybody_has_a_project() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let projects = ada.get("/api/v1/projects").await.json();
    assert_eq!(projects["next_cursor"], json!(null));
    let projects = &projects["projects"];
    assert_eq!(projects.as_array().map(Vec::len), Some(1));
    assert_eq!(projects[0]["id"], ada.project);
    assert_eq!(projects[0]["role"], "owner");
    assert_eq!(projects[0]["name"], "ada's project");
    assert_eq!(
        gate.get("/api/v1/projects").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.key().await;
    let secret = made.text("api_key");
    assert!(secret.starts_with(&made.text("prefix")));
    assert_eq!(made.text("name"), "laptop");

    let listed = ada
        .get(&format!("/api/v1/projects/{}/api-keys", ada.project))
        .await;
    assert_eq!(listed.status, StatusCode::OK);
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert!(!text.contains(&secret) && !text.contains("api_key") && !text.contains("hash"));
    let expected = json!({ "next_cursor": null, "keys": [{
        "id": made.text("id"), "name": "laptop", "prefix": made.text("prefix"),
        "scopes": ["inference", "models"],
        "models": null, "networks": null, "user_id": ada.id, "created_at": made.text("created_at"),
        "expires_at": null, "last_used_at": null, "revoked": false, "clamps": false,
    }]});
    assert_eq!(listed.json(), expected);
}

#[tokio::test]
async fn a_key_can_end_by_itself() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let made = ada
        .post(&path, json!({ "expires_at": "2026-01-01T01:00:00Z" }))
        .await;
    assert_eq!(made.text("expires_at"), "2026-01-01T01:00:00Z");
    let key = gate.client.bearer(made.text("api_key"));
    assert_eq!(
        key.get("/v1/models").await.expect("an answer").status,
        StatusCode::OK
    );
    gate.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(
        key.get("/v1/models").await.expect("an answer").status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn wrong_fields_make_no_key() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    for body in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(101) }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "expires_at": "2025-01-01T00:00:00Z" }),
        json!({ "user": "somebody else" }),
    ] {
        let answer = ada.post(&path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(ada.get(&path).await.json()["keys"], json!([]));
}

#[tokio::test]
async fn a_revoked_key_stops_at_once() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.key().await;
    let key = gate.client.bearer(made.text("api_key"));
    assert_eq!(
        key.get("/v1/models").await.expect("an answer").status,
        StatusCode::OK
    );
    let path = format!(
        "/api/v1/projects/{}/api-keys/{}/revoke",
        ada.project,
        made.text("id")
    );
    let revoked = send(&ada.session, Method::POST, &path, &[], "").await;
    assert_eq!(revoked.status, StatusCode::OK);
    assert_eq!(revoked.json()["revoked"], true);
    gate.told_everywhere();
    assert_eq!(
        key.get("/v1/models").await.expect("an answer").status,
        StatusCode::UNAUTHORIZED
    );

    let unknown = path.replace(&made.text("id"), &ada.id);
    let missing = send(&ada.session, Method::POST, &unknown, &[], "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_that_is_held_back_ends_with_its_key_too() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let own = format!("/api/v1/projects/{}/api-keys", ada.project);
    let admin = "/v1/organization/admin_api_keys".to_owned();
    for (person, scopes, path) in [
        (&ada, json!(["manage"]), own),
        (&root, json!(["admin"]), admin),
    ] {
        let keys = format!("/api/v1/projects/{}/api-keys", person.project);
        for (end, body) in [
            ("revoke", json!({})),
            ("rotate", json!({ "overlap_seconds": 0 })),
        ] {
            let made = person.post(&keys, json!({ "scopes": scopes })).await;
            let bearer = format!("Bearer {}", made.text("api_key"));
            let successor = json!({ "name": "successor" });
            let held = gate.held_back(&path, &bearer, successor).await;
            let path = format!("{keys}/{}/{end}", made.text("id"));
            let ended = person.post(&path, body).await;
            assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
            gate.told_everywhere();
            assert_eq!(held.let_go().await, 401, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_no_successor_where_it_is_still_remembered() {
    let gate = start_pair().await;
    let ada = gate.person("ada").await;
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let made = ada.post(&keys, json!({ "scopes": ["manage"] })).await;
    let path = format!("{keys}/{}", made.text("id"));
    let client = gate.client.bearer(made.text("api_key"));
    let ask = async || {
        // One gateway, and the other one.
        let scopes = json!({ "scopes": ["manage"] });
        let first = client.post(&keys, &scopes).await.expect("an answer");
        let second = client.post(&keys, &scopes).await.expect("an answer");
        [first.status.as_u16(), second.status.as_u16()]
    };
    assert_eq!(ask().await, [201; 2], "known to both from now on");
    let narrowed = ada.patch(&path, json!({ "scopes": ["inference"] })).await;
    assert_eq!(narrowed.status, StatusCode::OK, "{narrowed:?}");
    assert_eq!(ask().await, [403; 2], "it may less by now");
    let revoked = ada.post(&format!("{path}/revoke"), json!({})).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    assert_eq!(ask().await, [401; 2], "no second is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_rotated_away_manages_nothing_where_it_is_still_remembered() {
    let gate = start_pair().await;
    let ada = gate.person("ada").await;
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let scopes = json!({ "scopes": ["manage"] });
    let made = ada.post(&keys, scopes.clone()).await;
    let old = gate.client.bearer(made.text("api_key"));
    for _ in 0..2 {
        let listed = old.get(&keys).await.expect("an answer");
        assert_eq!(listed.status, StatusCode::OK, "known to both from now on");
    }
    let rotate = format!("{keys}/{}/rotate", made.text("id"));
    let at_once = json!({ "overlap_seconds": 0 });
    let rotated = ada.post(&rotate, at_once.clone()).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    for (path, body) in [(&keys, &scopes), (&rotate, &at_once)] {
        for _ in 0..2 {
            let refused = old.post(path, body).await.expect("an answer");
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    let new = gate.client.bearer(rotated.text("api_key"));
    let kept = new.get(&keys).await.expect("an answer");
    assert_eq!(
        kept.status,
        StatusCode::OK,
        "the next secret is the owner's"
    );
    let overlap = json!({ "overlap_seconds": 60 });
    let rotated = ada.post(&rotate, overlap).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    for _ in 0..2 {
        let overlapping = new.get(&keys).await.expect("an answer");
        assert_eq!(overlapping.status, StatusCode::OK, "for a minute both work");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admins_key_gives_no_more_than_it_has_now_where_it_is_still_remembered() {
    let gate = start_pair().await;
    let root = gate.admin().await;
    let keys = format!("/api/v1/projects/{}/api-keys", root.project);
    let scopes = json!({ "scopes": ["admin", "inference", "models"] });
    let made = root.post(&keys, scopes).await;
    let path = format!("{keys}/{}", made.text("id"));
    let client = gate.client.bearer(made.text("api_key"));
    let project = root.post("/api/v1/projects", json!({})).await.text("id");
    let project = format!("/v1/organization/projects/{project}");
    let services = format!("{project}/service_accounts");
    let service = root
        .post(&services, json!({ "name": "ci" }))
        .await
        .text("id");
    let of_service = format!("{services}/{service}/api_keys");
    let narrow = json!({ "scopes": ["models"] });
    let narrow = root.post(&of_service, narrow).await.text("id");
    let asks = [
        (services, json!({ "name": "another" })),
        (of_service, json!({})),
        (
            format!("{project}/api_keys/{narrow}"),
            json!({ "scopes": ["inference"] }),
        ),
    ];
    // One gateway, and the other one: known to both from now on.
    for _ in 0..2 {
        let listed = client.get("/v1/organization/projects").await;
        assert_eq!(listed.expect("an answer").status, StatusCode::OK);
    }
    let narrowed = root
        .patch(&path, json!({ "scopes": ["admin", "models"] }))
        .await;
    assert_eq!(narrowed.status, StatusCode::OK, "{narrowed:?}");
    for (path, body) in asks {
        for _ in 0..2 {
            let refused = client.post(&path, &body).await.expect("an answer");
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_gets_no_reservation_and_after_a_second_no_answer_from_any_gateway() {
    let gate = start_pair().await;
    let ada = gate.person("ada").await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let grants = json!({ "scopes": ["inference", "models", "usage", "manage"] });
    let made = ada.post(&path, grants).await;
    let key = gate.client.bearer(made.text("api_key"));
    let chat = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    // Both gateways know it.
    for _ in 0..4 {
        let answer = key.post("/v1/chat/completions", &chat).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::OK);
    }
    gate.settled(&ada).await;
    let served = gate.upstream.counts().requests;
    let revoke = format!("{path}/{}/revoke", made.text("id"));
    let revoked = ada.post(&revoke, json!({})).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    for _ in 0..4 {
        let answer = key.post("/v1/chat/completions", &chat).await;
        let answer = answer.expect("an answer");
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "no reservation: {answer:?}"
        );
    }
    gate.clock.advance(std::time::Duration::from_secs(1));
    for path in [
        "/v1/models",
        "/v1/models/tiny",
        "/api/v1/users/me",
        "/api/v1/projects",
    ] {
        for _ in 0..4 {
            let answer = key.get(path).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "no answer: {path}");
        }
    }
    gate.settled(&ada).await;
    let used = ada.get("/api/v1/usage/calls").await.json();
    assert_eq!(used["total_calls"], served, "and nothing more is on record");
}

/// Counters that nobody changes for now.
struct Locked {
    release: mpsc::Sender<()>,
    released: JoinHandle<()>,
}

impl Locked {
    async fn new(gate: &Gate) -> Self {
        let url = gate.database.clone().expect("PostgreSQL");
        // The timeout of statements also ends a transaction that has nothing to do, as this one.
        let patient = PgConfig::new(url)
            .connect_timeout(PATIENCE)
            .lock_timeout(PATIENCE)
            .statement_timeout(PATIENCE);
        let outside = PgStore::open(patient).await.expect("opened");
        let (release, when) = mpsc::channel();
        let (tell, locked) = oneshot::channel();
        let released = tokio::spawn(async move {
            let held = outside.on_connection(move |connection| {
                let lock = "BEGIN; SELECT id FROM counters FOR UPDATE";
                connection.batch_execute(lock).expect("locked");
                tell.send(()).expect("somebody waits");
                // Also when the test has failed meanwhile.
                let _ = when.recv();
                connection.batch_execute("COMMIT").expect("released");
            });
            held.await.expect("a connection");
        });
        locked.await.expect("locked");
        Self { release, released }
    }

    async fn release(self) {
        self.release.send(()).expect("it is held");
        self.released.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_revoked_key_begins_where_it_is_remembered_is_for_nobody_and_billed_to_nobody() {
    let gate = start_pair().await;
    let ada = gate.person("ada").await;
    let made = ada.key().await;
    let key = gate.client.bearer(made.text("api_key"));
    let chat = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    for _ in 0..2 {
        let answer = key.post("/v1/chat/completions", &chat).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::OK);
    }
    gate.settled(&ada).await;
    let served = gate.upstream.counts();
    let id = made.text("id");
    let revoke = format!("/api/v1/projects/{}/api-keys/{id}/revoke", ada.project);
    let revoked = ada.post(&revoke, json!({})).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");

    // While the books cannot say no, the upstream is asked already.
    let locked = Locked::new(&gate).await;
    let both = join(
        key.post("/v1/chat/completions", &chat),
        key.post("/v1/chat/completions", &chat),
    );
    let releasing = async {
        while gate.upstream.counts().prompt_tokens == served.prompt_tokens {
            tokio::task::yield_now().await;
        }
        locked.release().await;
    };
    let ((one, other), ()) = join(both, releasing).await;
    for answer in [one, other] {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert!(
            answer.json()["choices"].is_null(),
            "nothing of it: {answer:?}"
        );
    }
    gate.settled(&ada).await;
    assert_eq!(
        gate.upstream.counts().requests,
        served.requests + 1,
        "the gateway that has revoked it begins nothing"
    );
    let used = ada.get("/api/v1/usage/calls").await.json();
    assert_eq!(
        used["total_calls"], served.requests,
        "the others are on record"
    );
    let used = ada.get("/users/usage").await.json();
    let counted = served.prompt_tokens + served.completion_tokens;
    assert_eq!(used["tokens_used"], counted, "and paid for: {used}");
}

#[tokio::test]
async fn a_foreign_project_looks_as_if_it_did_not_exist() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let key = ada.key().await;
    let foreign = format!("/api/v1/projects/{}/api-keys", ada.project);
    let nowhere = format!("/api/v1/projects/{}/api-keys", eve.id);
    let revoke = format!("/{}/revoke", key.text("id"));
    for (one, other) in [
        (eve.get(&foreign).await, eve.get(&nowhere).await),
        (
            eve.post(&foreign, json!({})).await,
            eve.post(&nowhere, json!({})).await,
        ),
        (
            eve.post(&(foreign.clone() + &revoke), json!({})).await,
            eve.post(&(nowhere.clone() + &revoke), json!({})).await,
        ),
    ] {
        assert_eq!(one.status, StatusCode::NOT_FOUND);
        assert_eq!(one.body, other.body);
    }
    let own = format!("/api/v1/projects/{}/api-keys", eve.project);
    let crossed = eve.post(&(own + &revoke), json!({})).await;
    assert_eq!(
        crossed.status,
        StatusCode::NOT_FOUND,
        "a foreign key in the own project"
    );
    let works = gate
        .client
        .bearer(key.text("api_key"))
        .get("/v1/models")
        .await;
    assert_eq!(
        works.expect("an answer").status,
        StatusCode::OK,
        "nothing was revoked"
    );
}
