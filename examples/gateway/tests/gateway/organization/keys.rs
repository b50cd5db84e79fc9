//! API keys: those of projects, and those that administer.

use llm_gate::identity::UserId;
use llm_gate::store::Author;

use super::*;

const ADMIN_KEYS: &str = "/v1/organization/admin_api_keys";

#[tokio::test]
async fn keys_of_a_project_are_shown_without_their_secrets() {
    let admin = Admin::start().await;
    let ada = admin.gate.person("ada").await;
    let key = ada.key().await;
    let keys = format!("/v1/organization/projects/{}/api_keys", ada.project);
    let expected = json!({
        "object": "organization.project.api_key", "id": key.text("id"), "name": "laptop",
        "redacted_value": format!("{}_…", key.text("prefix")),
        "created_at": 1_767_225_600, "last_used_at": null, "expires_at": null,
        "owner_project_access": "active",
        "owner": {
            "type": "user",
            "user": { "id": ada.id, "name": "ada", "email": "", "role": "owner", "created_at": 1_767_225_600 },
        },
    });
    assert_eq!(admin.get(&keys).await["data"], json!([expected]));
    let path = format!("{keys}/{}", key.text("id"));
    assert_eq!(admin.get(&path).await, expected);
    let services = format!("/v1/organization/projects/{}/service_accounts", ada.project);
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    let shown = admin
        .get(&format!("{keys}/{}", text(&service["api_key"]["id"])))
        .await;
    assert_eq!(shown["owner"]["type"], "service_account");
    assert!(shown["owner"].get("user").is_none());
    let expected = json!({
        "id": service["id"], "name": "ci", "role": "member", "created_at": 1_767_225_600,
    });
    assert_eq!(shown["owner"]["service_account"], expected);
    let all = admin.get(&keys).await.to_string();
    for secret in [key.text("api_key"), text(&service["api_key"]["value"])] {
        assert!(!all.contains(&secret), "a secret is shown once");
    }
}

#[tokio::test]
async fn a_service_account_gets_further_keys() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    let wanted = json!({ "name": "ci", "create_service_account_only": true });
    let service = admin.post(&services, wanted).await;
    let made = (&service["role"], &service["llm_gate"], &service["api_key"]);
    let member = json!({ "role": "member" });
    assert_eq!(
        made,
        (&json!("none"), &member, &Value::Null),
        "a member all the same"
    );
    let path = format!("{services}/{}", text(&service["id"]));
    assert_eq!(admin.get(&path).await["role"], "member");
    let keys = format!("{path}/api_keys");
    let body = json!({ "name": "nightly", "scopes": ["models"], "expires_in_seconds": 60 });
    let made = admin.post(&keys, body).await;
    let expected = json!({
        "object": "organization.project.service_account.api_key", "id": made["id"], "name": "nightly",
        "created_at": 1_767_225_600, "expires_at": 1_767_225_660, "value": made["value"],
    });
    assert_eq!(made, expected);
    let client = admin.gate.client.bearer(text(&made["value"]));
    assert!(works(&client).await);
    let chat = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "Hi" }] });
    let call = client.post("/v1/chat/completions", &chat).await;
    assert_eq!(
        call.expect("an answer").status,
        StatusCode::FORBIDDEN,
        "only what it is for"
    );
    let plain = admin
        .post(&keys, json!({ "expires_in_seconds": null }))
        .await;
    assert_eq!(
        (&plain["name"], &plain["expires_at"]),
        (&json!("key"), &Value::Null)
    );
    let client = admin.gate.client.bearer(text(&plain["value"]));
    let call = client.post("/v1/chat/completions", &chat).await;
    assert_eq!(call.expect("an answer").status, StatusCode::OK);
    let path = format!(
        "/v1/organization/projects/{project}/api_keys/{}",
        text(&made["id"])
    );
    let owner = &admin.get(&path).await["owner"];
    assert_eq!(owner["service_account"]["id"], service["id"]);
    let logs = "/v1/organization/audit_logs?event_types=api_key.created&resource_ids=";
    let told = admin.get(&format!("{logs}{}", text(&made["id"]))).await["data"][0].clone();
    assert_eq!(
        told["api_key.created"],
        json!({ "id": made["id"], "data": { "scopes": ["models"] } })
    );

    for scope in ["admin", "manage"] {
        let body = json!({ "scopes": [scope] });
        admin.refused(Method::POST, &keys, body, 403).await;
    }
    for (body, param) in [
        (json!({ "scopes": ["api.model.request"] }), "scopes"),
        (json!({ "name": "" }), "name"),
        (json!({ "expires_in_seconds": 0 }), "expires_in_seconds"),
    ] {
        admin.wrong(Method::POST, &keys, body, param).await;
    }
    for nobody in [&admin.root.id, "x"] {
        let path = format!("{services}/{nobody}/api_keys");
        admin.missing(Method::POST, &path, json!({})).await;
    }
    let path = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    let body = json!({ "scopes": ["admin", "models"], "expires_at": "2026-01-01T00:01:00Z" });
    let narrow = admin.root.post(&path, body).await;
    let narrow = admin.gate.client.bearer(narrow.text("api_key"));
    for (body, status) in [
        (json!({ "expires_in_seconds": 30 }), StatusCode::FORBIDDEN),
        (json!({ "scopes": ["models"] }), StatusCode::FORBIDDEN),
        (
            json!({ "scopes": ["models"], "expires_in_seconds": 30 }),
            StatusCode::OK,
        ),
    ] {
        let answer = ask(&narrow, Method::POST, &keys, &body).await;
        assert_eq!(answer.status, status, "no wider, no longer: {body}");
    }
}

#[tokio::test]
async fn a_key_of_a_project_is_changed_until_it_has_expired() {
    let admin = Admin::start().await;
    let ada = admin.gate.person("ada").await;
    let made = ada.key().await;
    let key = format!(
        "/v1/organization/projects/{}/api_keys/{}",
        ada.project,
        made.text("id")
    );
    let client = admin.gate.client.bearer(made.text("api_key"));
    let same = admin.post(&key, json!({})).await;
    assert_eq!(same, admin.get(&key).await, "nothing is asked for");
    assert!(works(&client).await);
    let body = json!({ "scopes": ["inference"], "expires_in_seconds": 90 });
    let mut changed = admin.post(&key, body).await;
    assert_eq!(changed["expires_at"], 1_767_225_690);
    // When it was used is noted a moment after it was.
    let mut seen = admin.get(&key).await;
    (changed["last_used_at"], seen["last_used_at"]) = (Value::Null, Value::Null);
    assert_eq!(changed, seen);
    admin.gate.told_everywhere();
    assert!(!works(&client).await, "it may list no models any more");
    let shown = format!(
        "/api/v1/projects/{}/api-keys/{}",
        ada.project,
        made.text("id")
    );
    let shown = ada.get(&shown).await.json();
    assert_eq!(shown["scopes"], json!(["inference"]));
    let logs = "/v1/organization/audit_logs?event_types=api_key.updated&resource_ids=";
    let told = admin.get(&format!("{logs}{}", made.text("id"))).await;
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        told["data"][0]["api_key.updated"],
        json!({
            "id": made.text("id"),
            "changes_requested": { "scopes": ["inference"], "expires_in_seconds": 90 },
        })
    );
    for scopes in [json!(["usage"]), json!(["manage"]), json!(["admin"])] {
        let body = json!({ "scopes": scopes });
        admin.refused(Method::POST, &key, body, 403).await;
    }
    for (body, param) in [
        (json!({ "scopes": "inference" }), "scopes"),
        (json!({ "expires_in_seconds": 0 }), "expires_in_seconds"),
        (json!({ "name": "another" }), "name"),
    ] {
        admin.wrong(Method::POST, &key, body, param).await;
    }
    admin.gate.clock.advance(std::time::Duration::from_secs(91));
    let late = json!({ "expires_in_seconds": 60 });
    admin.refused(Method::POST, &key, late.clone(), 409).await;
    admin.delete(&key).await;
    admin.missing(Method::POST, &key, late).await;
}

/// Reads what a key is for.
async fn scopes(whose: &Person, project: &str, key: &str) -> Value {
    let path = format!("/api/v1/projects/{project}/api-keys/{key}");
    whose.get(&path).await.json()["scopes"].clone()
}

#[tokio::test]
async fn no_scope_stands_for_all_that_may_be_given() {
    let admin = Admin::start().await;
    let all = json!({ "scopes": [] });
    let project = admin.project("research").await;
    let path = format!("/v1/organization/projects/{project}");
    let service = format!("{path}/service_accounts");
    let service = admin.post(&service, json!({ "name": "ci" })).await;
    let keys = format!("{path}/service_accounts/{}/api_keys", text(&service["id"]));
    let made = admin.post(&keys, all.clone()).await;
    let of_service = json!(["inference", "models", "usage"]);
    let id = text(&made["id"]);
    assert_eq!(scopes(&admin.root, &project, &id).await, of_service);
    let key = format!("{path}/api_keys/{id}");
    admin.post(&key, json!({ "scopes": ["models"] })).await;
    admin.post(&key, all.clone()).await;
    assert_eq!(scopes(&admin.root, &project, &id).await, of_service);
    let logs = "/v1/organization/audit_logs?limit=1&event_types=api_key.updated&resource_ids=";
    let told = admin.get(&format!("{logs}{id}")).await["data"][0].clone();
    assert_eq!(
        told["api_key.updated"]["changes_requested"]["scopes"], of_service,
        "what came of it is what is told"
    );

    let ada = admin.gate.person("ada").await;
    for (whose, given, expected, why) in [
        (
            &ada,
            json!(["models"]),
            json!(["inference", "models"]),
            "what a person used elsewhere is not for admins to show",
        ),
        (
            &admin.root,
            json!(["models"]),
            of_service,
            "nobody administers for having no restriction",
        ),
        (
            &admin.root,
            json!(["admin"]),
            json!(["inference", "models", "usage", "manage", "admin"]),
            "what administers goes on",
        ),
    ] {
        let path = format!("/api/v1/projects/{}/api-keys", whose.project);
        let made = whose.post(&path, json!({ "scopes": given })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let id = made.text("id");
        let key = format!("/v1/organization/projects/{}/api_keys/{id}", whose.project);
        admin.post(&key, all.clone()).await;
        assert_eq!(scopes(whose, &whose.project, &id).await, expected, "{why}");
    }
}

#[tokio::test]
async fn no_scope_is_no_more_than_the_key_that_asks_may_do() {
    let admin = Admin::start().await;
    let all = json!({ "scopes": [] });
    let own = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    let asks = async |grants: Value| {
        let made = admin.root.post(&own, grants).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        admin.gate.client.bearer(made.text("api_key"))
    };
    let reads = asks(json!({ "scopes": ["admin", "models"] })).await;
    let bare = asks(json!({ "scopes": ["admin"] })).await;
    let bound = asks(json!({ "scopes": ["admin", "models"], "models": ["tiny"] })).await;

    let project = admin.project("research").await;
    let path = format!("/v1/organization/projects/{project}");
    let service = format!("{path}/service_accounts");
    let service = admin.post(&service, json!({ "name": "ci" })).await;
    let keys = format!("{path}/service_accounts/{}/api_keys", text(&service["id"]));
    for (client, expected, models) in [
        (&reads, json!(["models", "usage"]), Value::Null),
        (&bound, json!(["models", "usage"]), json!(["tiny"])),
        (&bare, json!(["usage"]), Value::Null),
    ] {
        let made = ask(client, Method::POST, &keys, &all).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        let id = made.text("id");
        assert_eq!(scopes(&admin.root, &project, &id).await, expected);
        let path = format!("/api/v1/projects/{project}/api-keys/{id}");
        let shown = admin.root.get(&path).await.json();
        assert_eq!(shown["models"], models, "nor of other models");
    }

    let ada = admin.gate.person("ada").await;
    let id = ada.key().await.text("id");
    let key = format!("/v1/organization/projects/{}/api_keys/{id}", ada.project);
    let refused = ask(&bare, Method::POST, &key, &all).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let before = json!(["inference", "models"]);
    assert_eq!(scopes(&ada, &ada.project, &id).await, before, "untouched");
    let given = ask(&reads, Method::POST, &key, &all).await;
    assert_eq!(given.status, StatusCode::OK, "{given:?}");
    let left = json!(["models"]);
    assert_eq!(scopes(&ada, &ada.project, &id).await, left);

    let first = format!("{path}/api_keys/{}", text(&service["api_key"]["id"]));
    let wider = ask(&bound, Method::POST, &first, &all).await;
    assert_eq!(
        wider.status,
        StatusCode::FORBIDDEN,
        "it is for models that the one that asks is not for: {wider:?}"
    );
}

#[tokio::test]
async fn keys_are_found_by_whether_their_owner_can_use_the_project() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let keys = format!("/v1/organization/projects/{project}/api_keys");
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    let (mut active, mut inactive) = (Vec::new(), Vec::new());
    for number in 0..5 {
        let made = admin.post(&services, json!({ "name": "ci" })).await;
        let key = text(&made["api_key"]["id"]);
        if number % 2 == 0 {
            active.insert(0, key);
        } else {
            let user: UserId = text(&made["id"]).parse().expect("an id");
            let books = admin.gate.books().await;
            let author = Author::now();
            books
                .set_user_disabled(user, true, author)
                .await
                .expect("there");
            inactive.insert(0, key);
        }
    }
    let pages = async |access: &str| {
        admin
            .pages(&format!("{keys}?owner_project_access={access}"))
            .await
    };
    assert_eq!(pages("active").await, active);
    assert_eq!(pages("inactive").await, inactive);
    assert_eq!(pages("any").await, admin.pages(&keys).await);
    assert_eq!(pages("any").await.len(), 5);
    let shown = admin.get(&format!("{keys}/{}", inactive[0])).await;
    assert_eq!(shown["owner_project_access"], "inactive", "as it is shown");
    let wrong = format!("{keys}?owner_project_access=some");
    admin
        .wrong(Method::GET, &wrong, Value::Null, "owner_project_access")
        .await;
}

#[tokio::test]
async fn keys_are_listed_in_parts_and_revoked_at_once() {
    let admin = Admin::start().await;
    let (ada, eve) = (
        admin.gate.person("ada").await,
        admin.gate.person("eve").await,
    );
    let keys = format!("/v1/organization/projects/{}/api_keys", ada.project);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(ada.key().await);
    }
    let mut ids: Vec<String> = made.iter().map(|key| key.text("id")).collect();
    ids.sort_by(|one, other| other.cmp(one));
    assert_eq!(admin.pages(&keys).await, ids, "the newest first");
    let client = admin.gate.client.bearer(made[2].text("api_key"));
    assert!(works(&client).await);
    let id = made[2].text("id");
    let path = format!("{keys}/{id}");
    let gone = admin.delete(&path).await;
    assert_eq!(
        gone,
        json!({ "object": "organization.project.api_key.deleted", "id": id, "deleted": true })
    );
    admin.gate.told_everywhere();
    assert!(!works(&client).await, "the next call is refused");
    ids.retain(|other| *other != id);
    assert_eq!(admin.pages(&keys).await, ids);
    admin.missing(Method::GET, &path, Value::Null).await;
    admin.missing(Method::DELETE, &path, Value::Null).await;
    for path in [
        format!(
            "/v1/organization/projects/{}/api_keys/{}",
            eve.project, ids[0]
        ),
        format!("{keys}/x"),
        format!("/v1/organization/projects/x/api_keys/{}", ids[0]),
    ] {
        admin.missing(Method::GET, &path, Value::Null).await;
        admin.missing(Method::DELETE, &path, Value::Null).await;
    }
    let left = admin.gate.client.bearer(made[0].text("api_key"));
    assert!(works(&left).await, "nothing else was revoked");
}

#[tokio::test]
async fn revoked_keys_take_nobodys_place() {
    let admin = Admin::start().await;
    let path = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    for _ in 0..201 {
        let made = admin.post(ADMIN_KEYS, json!({ "name": "ops" })).await;
        admin
            .delete(&format!("{ADMIN_KEYS}/{}", text(&made["id"])))
            .await;
    }
    let one_more = admin.root.post(&path, json!({ "name": "laptop" })).await;
    assert_eq!(one_more.status, StatusCode::CREATED, "{one_more:?}");
}

#[tokio::test]
async fn an_admin_key_administers_until_it_is_deleted() {
    let admin = Admin::start().await;
    let made = admin
        .post(
            ADMIN_KEYS,
            json!({ "name": "ops", "expires_in_seconds": 60 }),
        )
        .await;
    let (id, value) = (text(&made["id"]), text(&made["value"]));
    let redacted = text(&made["redacted_value"]);
    assert!(
        value.starts_with(redacted.trim_end_matches('…')),
        "how it begins"
    );
    let expected = json!({
        "object": "organization.admin_api_key", "id": id, "name": "ops", "redacted_value": redacted,
        "created_at": 1_767_225_600, "last_used_at": null, "expires_at": 1_767_225_660,
        "owner": {
            "type": "user", "object": "organization.user", "id": admin.root.id, "name": "root",
            "created_at": made["owner"]["created_at"], "role": "owner",
        },
    });
    let path = format!("{ADMIN_KEYS}/{id}");
    assert_eq!(admin.get(&path).await, expected, "no secret any more");
    let key = admin.gate.client.bearer(&value);
    let next = ask(&key, Method::POST, ADMIN_KEYS, &json!({ "name": "next" })).await;
    let longer = next.status;
    assert_eq!(
        longer,
        StatusCode::FORBIDDEN,
        "none that outlives it: {next:?}"
    );
    let body = json!({ "name": "next", "expires_in_seconds": 30 });
    let next = ask(&key, Method::POST, ADMIN_KEYS, &body).await;
    assert_eq!(next.status, StatusCode::OK, "it makes another: {next:?}");
    let project = admin.project("research").await;
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    let longer = ask(&key, Method::POST, &services, &json!({ "name": "ci" })).await;
    assert_eq!(
        longer.status,
        StatusCode::FORBIDDEN,
        "nor a service account's: {longer:?}"
    );
    assert_eq!(
        admin.pages(&services).await,
        [""; 0],
        "and no account is left of it"
    );
    let gone = admin.delete(&path).await;
    assert_eq!(
        gone,
        json!({ "object": "organization.admin_api_key.deleted", "id": id, "deleted": true })
    );
    admin.gate.told_everywhere();
    let refused = ask(&key, Method::GET, ADMIN_KEYS, &Value::Null).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    admin.missing(Method::GET, &path, Value::Null).await;
    admin.missing(Method::DELETE, &path, Value::Null).await;
}

#[tokio::test]
async fn an_admin_key_is_no_wider_than_the_key_that_made_it() {
    let admin = Admin::start().await;
    let path = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    let narrow =
        json!({ "scopes": ["admin", "models"], "models": ["tiny"], "networks": ["127.0.0.0/8"] });
    let narrow = admin.root.post(&path, narrow).await;
    let client = admin.gate.client.bearer(narrow.text("api_key"));
    let made = ask(&client, Method::POST, ADMIN_KEYS, &json!({ "name": "ops" })).await;
    let shown = admin
        .root
        .get(&format!("{path}/{}", made.text("id")))
        .await
        .json();
    let before = narrow.json();
    for member in ["scopes", "models", "networks"] {
        assert_eq!(shown[member], before[member], "{member}");
    }
}

#[tokio::test]
async fn an_admin_key_is_seen_whichever_project_it_is_for() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let mut ids = Vec::new();
    for project in [&admin.root.project, &project, &admin.root.project, &project] {
        let path = format!("/api/v1/projects/{project}/api-keys");
        let made = admin.root.post(&path, json!({ "scopes": ["admin"] })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        admin.root.post(&path, json!({})).await;
        ids.push(made.text("id"));
    }
    assert_eq!(admin.pages(ADMIN_KEYS).await, ids, "and no others");
    let elsewhere = format!("{ADMIN_KEYS}/{}", ids[1]);
    assert_eq!(admin.get(&elsewhere).await["id"], ids[1].as_str());
    admin.delete(&elsewhere).await;
    admin.missing(Method::GET, &elsewhere, Value::Null).await;
    ids.remove(1);
    assert_eq!(admin.pages(ADMIN_KEYS).await, ids);
}

#[tokio::test]
async fn admin_keys_are_listed_in_both_orders() {
    let admin = Admin::start().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let made = admin.post(ADMIN_KEYS, json!({ "name": name })).await;
        ids.push(text(&made["id"]));
    }
    let plain = admin.root.key().await.text("id");
    ids.sort();
    assert_eq!(
        admin.pages(ADMIN_KEYS).await,
        ids,
        "the oldest first, and no others"
    );
    ids.reverse();
    assert_eq!(admin.pages(&format!("{ADMIN_KEYS}?order=desc")).await, ids);
    for id in [plain.as_str(), "x"] {
        admin
            .missing(Method::GET, &format!("{ADMIN_KEYS}/{id}"), Value::Null)
            .await;
        admin
            .missing(Method::DELETE, &format!("{ADMIN_KEYS}/{id}"), Value::Null)
            .await;
    }
    admin
        .wrong(Method::POST, ADMIN_KEYS, json!({}), "name")
        .await;
    let body = json!({ "name": "a", "expires_in_seconds": 0 });
    admin
        .wrong(Method::POST, ADMIN_KEYS, body, "expires_in_seconds")
        .await;
    admin
        .wrong(
            Method::GET,
            &format!("{ADMIN_KEYS}?order=up"),
            Value::Null,
            "order",
        )
        .await;
}

#[tokio::test]
async fn admin_keys_are_the_platforms_whichever_admins_they_are() {
    let admin = Admin::start().await;
    let (ada, bob) = (
        admin.gate.person("ada").await,
        admin.gate.person("bob").await,
    );
    let role = async |person: &Person, role: &str| {
        let path = format!("/v1/organization/users/{}", person.id);
        admin.post(&path, json!({ "role": role })).await;
    };
    role(&ada, "owner").await;
    role(&bob, "owner").await;
    let mut keys = Vec::new();
    // In turn, so that the order is that of the keys and not that of those whose they are.
    for number in 0..6 {
        let person = [&admin.root, &ada, &bob][number % 3];
        let made = person.post(ADMIN_KEYS, json!({ "name": "ops" })).await;
        keys.push((made.text("id"), person.id.clone(), made.text("value")));
    }
    keys.sort();
    let mut ids: Vec<String> = keys.iter().map(|(id, ..)| id.clone()).collect();
    assert_eq!(admin.pages(ADMIN_KEYS).await, ids, "the oldest first");
    ids.reverse();
    assert_eq!(admin.pages(&format!("{ADMIN_KEYS}?order=desc")).await, ids);
    for (id, owner, _) in &keys {
        let shown = admin.get(&format!("{ADMIN_KEYS}/{id}")).await;
        assert_eq!(
            (&shown["id"], &shown["owner"]["id"]),
            (&json!(id), &json!(owner))
        );
    }
    let of = |person: &Person| keys.iter().find(|(_, owner, _)| *owner == person.id);
    let (id, _, secret) = of(&admin.root).expect("a key of root's");
    let client = admin.gate.client.bearer(secret);
    assert!(works(&client).await);
    let gone = ask(
        &ada.session,
        Method::DELETE,
        &format!("{ADMIN_KEYS}/{id}"),
        &Value::Null,
    )
    .await;
    assert_eq!(gone.json()["deleted"], true, "by another: {gone:?}");
    admin.gate.told_everywhere();
    assert!(!works(&client).await, "at once");
    admin
        .missing(Method::GET, &format!("{ADMIN_KEYS}/{id}"), Value::Null)
        .await;
    let logs = format!("/v1/organization/audit_logs?event_types=api_key.deleted&resource_ids={id}");
    let event = admin.get(&logs).await["data"][0].clone();
    assert_eq!(
        event["actor"]["session"]["user"]["id"], ada.id,
        "who did it, and not whose it was: {event}"
    );
    let (id, _, secret) = of(&bob).expect("a key of bob's");
    role(&bob, "reader").await;
    let left = admin.pages(ADMIN_KEYS).await;
    assert_eq!(left.len(), 3, "what administers nothing any more is none");
    assert!(!left.contains(id));
    let path = format!("{ADMIN_KEYS}/{id}");
    admin.missing(Method::DELETE, &path, Value::Null).await;
    let client = admin.gate.client.bearer(secret);
    let refused = ask(&client, Method::GET, ADMIN_KEYS, &Value::Null).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}
