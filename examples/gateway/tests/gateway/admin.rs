//! What only admins may do.

use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::Registration;
use serde_json::{Value, json};

use super::support::{PASSWORD, send, start, start_with};

#[tokio::test]
async fn admins_list_users_page_by_page() {
    let gate = start().await;
    for name in ["ada", "bea", "eve"] {
        gate.person(name).await;
    }
    let root = gate.admin().await;
    let first = root.get("/api/v1/users?limit=3").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(first.json()["users"].as_array().map(Vec::len), Some(3));
    let cursor = first.text("next_cursor");
    let second = root
        .get(&format!("/api/v1/users?limit=3&cursor={cursor}"))
        .await
        .json();
    assert_eq!(second["users"].as_array().map(Vec::len), Some(1));
    assert!(second["next_cursor"].is_null());
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x", "page=2"] {
        let answer = root.get(&format!("/api/v1/users?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn admins_see_anybody_and_set_any_limit() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let path = format!("/api/v1/users/{}", ada.id);
    assert_eq!(root.get(&path).await.text("username"), "ada");
    for limit in [json!(50_000), json!(null)] {
        let answer = root
            .put(
                &format!("{path}/token-limit"),
                json!({ "token_limit": limit }),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(
            ada.get("/api/v1/users/me").await.json()["token_limit"],
            limit
        );
    }
    let own = root
        .put(
            "/api/v1/users/me/token-limit",
            json!({ "token_limit": 99_999 }),
        )
        .await;
    assert_eq!(
        own.status,
        StatusCode::OK,
        "an admin may raise the own limit"
    );
    for missing in [ada.project.as_str(), "x"] {
        let path = format!("/api/v1/users/{missing}");
        assert_eq!(root.get(&path).await.status, StatusCode::NOT_FOUND);
        let limit = root
            .put(&format!("{path}/token-limit"), json!({ "token_limit": 1 }))
            .await;
        assert_eq!(limit.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn others_may_not() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    assert_eq!(eve.get("/api/v1/users").await.status, StatusCode::FORBIDDEN);
    let path = format!("/api/v1/users/{}", ada.id);
    assert_eq!(eve.get(&path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(gate.get(&path).await.status, StatusCode::UNAUTHORIZED);
    for id in [&ada.id, &eve.id] {
        let path = format!("/api/v1/users/{id}/token-limit");
        let answer = eve.put(&path, json!({ "token_limit": 5 })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

async fn patch(client: &Client, path: &str, body: Value) -> Answer {
    let json = [("content-type", "application/json")];
    send(client, Method::PATCH, path, &json, body.to_string()).await
}

#[tokio::test]
async fn an_admin_makes_accounts_also_where_registration_is_closed() {
    let gate = start_with(|config| config.registration = Some(Registration::Closed)).await;
    let admin = gate.admin().await;
    let wanted = json!({
        "username": "Grace", "email": "Grace@example.com", "name": "Grace", "password": PASSWORD,
        "token_limit": 50,
    });
    let made = admin.post("/api/v1/users", wanted.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let shown = made.json();
    assert_eq!(
        (&shown["username"], &shown["email"]),
        (&json!("grace"), &json!("grace@example.com"))
    );
    assert_eq!(
        (&shown["role"], &shown["token_limit"]),
        (&json!("user"), &json!(50))
    );
    assert!(!String::from_utf8_lossy(&made.body).contains(PASSWORD));
    let grace = gate.enter("grace").await;
    assert_eq!(grace.id, made.text("id"), "it can log in");

    let again = admin.post("/api/v1/users", wanted).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "the names are taken");
    for (bad, field) in [
        (json!({ "password": PASSWORD }), "username"),
        (json!({ "username": "x", "password": "short" }), "password"),
        (
            json!({ "username": "x y", "password": PASSWORD }),
            "username",
        ),
        (
            json!({ "username": "x", "password": PASSWORD, "role": "root" }),
            "role",
        ),
        (
            json!({ "username": "x", "password": PASSWORD, "token_limit": -1 }),
            "token_limit",
        ),
    ] {
        let refused = admin.post("/api/v1/users", bad.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        assert_eq!(refused.json()["detail"][0]["loc"][1], field, "{bad}");
    }
    let unlimited = json!({ "username": "ina", "password": PASSWORD, "token_limit": null });
    let unlimited = admin.post("/api/v1/users", unlimited).await;
    assert_eq!(unlimited.json()["token_limit"], Value::Null);
    let defaulted = json!({ "username": "dan", "password": PASSWORD, "role": "admin" });
    let defaulted = admin.post("/api/v1/users", defaulted).await;
    assert_eq!(defaulted.json()["token_limit"], 10_000);
    assert_eq!(defaulted.json()["role"], "admin");
}

#[tokio::test]
async fn an_admin_changes_disables_and_deletes_accounts() {
    let gate = start().await;
    let (admin, ada, eve) = (
        gate.admin().await,
        gate.person("ada").await,
        gate.person("eve").await,
    );
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let path = format!("/api/v1/users/{}", ada.id);
    let renamed = patch(
        &admin.session,
        &path,
        json!({ "name": "Ada L.", "email": "a@example.com" }),
    )
    .await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(
        (renamed.text("name"), renamed.text("email")),
        ("Ada L.".into(), "a@example.com".into())
    );
    assert_eq!(renamed.json()["username"], "ada", "what is missing stays");
    let taken = patch(&admin.session, &path, json!({ "username": "eve" })).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    let nameless = patch(
        &admin.session,
        &path,
        json!({ "username": null, "email": null }),
    )
    .await;
    assert_eq!(
        nameless.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "it could not log in any more"
    );

    let disabled = patch(&admin.session, &path, json!({ "disabled": true })).await;
    gate.told_everywhere();
    assert_eq!(disabled.json()["disabled"], true, "{disabled:?}");
    assert_eq!(
        ada.get("/api/v1/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let call = key.get("/v1/models").await.expect("an answer");
    assert_eq!(
        call.status,
        StatusCode::UNAUTHORIZED,
        "its keys stop at once"
    );
    patch(&admin.session, &path, json!({ "disabled": false })).await;
    gate.told_everywhere();
    let call = key.get("/v1/models").await.expect("an answer");
    assert_eq!(call.status, StatusCode::OK, "and work again");

    let promoted = patch(&admin.session, &path, json!({ "role": "admin" })).await;
    assert_eq!(promoted.json()["role"], "admin");
    let ada = gate.enter("ada").await;
    assert_eq!(ada.get("/api/v1/users").await.status, StatusCode::OK);
    let own = format!("/api/v1/users/{}", admin.id);
    assert_eq!(
        patch(&ada.session, &own, json!({ "role": "user" }))
            .await
            .status,
        StatusCode::OK
    );
    let last = patch(&ada.session, &path, json!({ "role": "user" })).await;
    assert_eq!(last.status, StatusCode::CONFLICT, "one admin stays");
    assert_eq!(
        ada.delete(&path).await.status,
        StatusCode::CONFLICT,
        "one admin stays"
    );

    let theirs = format!("/api/v1/users/{}", eve.id);
    assert_eq!(ada.delete(&theirs).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get(&theirs).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ada.delete(&theirs).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        eve.get("/api/v1/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let events = ada
        .get(&format!("/api/v1/audit?target_id={}", eve.id))
        .await
        .json();
    assert_eq!(events["events"][0]["action"], "user.deleted");
    assert_eq!(
        events["events"][0]["actor_id"], ada.id,
        "it says who did it"
    );
}

#[tokio::test]
async fn a_service_account_has_no_names_to_log_in_with_and_no_role() {
    let gate = start().await;
    let admin = gate.admin().await;
    let project = admin.post("/api/v1/projects", json!({})).await.text("id");
    let path = format!("/api/v1/projects/{project}/services");
    let service = admin.post(&path, json!({ "name": "ci" })).await.text("id");
    let path = format!("/api/v1/users/{service}");
    for bad in [
        json!({ "username": "ci" }),
        json!({ "email": "ci@example.com" }),
        json!({ "role": "admin" }),
    ] {
        let refused = patch(&admin.session, &path, bad.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let renamed = patch(&admin.session, &path, json!({ "name": "builds" })).await;
    assert_eq!(renamed.text("name"), "builds");
    assert_eq!(admin.delete(&path).await.status, StatusCode::NO_CONTENT);
}
