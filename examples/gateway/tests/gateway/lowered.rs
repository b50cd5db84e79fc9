//! Limits that those have set whom they bind, and what API keys may do about theirs.

use http::{Method, StatusCode};
use llm_gate::identity::Subject;
use llm_gate::store::{
    Author, Limit, LimitChange, LimitKey, MAX_LIMITS, MAX_VOLUNTARY_LIMITS, Period, Unit, Zone,
};
use llm_gate::tokens::Amount;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, PASSWORD, Person, on_both, send};

on_both! {
    what_users_set_for_themselves_gives_way_to_a_stricter_default;
    what_owners_and_members_set_gives_way_too;
    what_an_admin_has_granted_is_not_cut_by_the_default_when_it_is_lowered;
    an_api_key_lowers_limits_and_raises_none;
    a_key_with_limits_of_its_own_makes_no_other;
    an_admins_key_with_limits_of_its_own_makes_no_other;
    nobody_has_more_limits_than_allowed;
}

const LARGEST: u64 = (1 << 53) - 1;

/// A limit of requests a day.
fn limit(subject: &str, id: Option<&str>, amount: u64) -> Value {
    json!({ "subject": subject, "id": id, "unit": "requests", "period": "day", "amount": amount })
}

async fn put(client: &Client, body: Value) -> Answer {
    client
        .put("/api/v1/limits", &body)
        .await
        .expect("an answer")
}

async fn sets(client: &Client, body: Value) -> Value {
    let set = put(client, body).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    set.json()
}

/// The limit of requests a day that is in force for somebody.
async fn in_force(root: &Person, subject: &str, id: &str) -> Value {
    let path = format!("/api/v1/limits?subject={subject}&id={id}");
    let listed = root.get(&path).await.json();
    let all = listed["limits"].as_array().expect("a list").clone();
    let mut daily = all.into_iter().filter(|one| one["unit"] == "requests");
    let one = daily.next().expect("one is in force");
    assert_eq!(daily.next(), None, "and no other");
    one
}

async fn chat(client: &Client) -> StatusCode {
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let answer = client.post("/v1/chat/completions", &body).await;
    answer.expect("an answer").status
}

async fn what_users_set_for_themselves_gives_way_to_a_stricter_default(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let set = sets(&ada.session, limit("user", Some(&ada.id), LARGEST)).await;
    assert_eq!(set["voluntary"], true, "no admin has set it: {set}");
    let set = sets(&root.session, limit("user", None, 2)).await;
    assert_eq!(set["voluntary"], false, "{set}");
    let one = in_force(&root, "user", &ada.id).await;
    assert_eq!((&one["id"], &one["amount"]), (&Value::Null, &json!(2)));
    let answers = [chat(&key).await, chat(&key).await, chat(&key).await];
    assert_eq!(
        answers,
        [
            StatusCode::OK,
            StatusCode::OK,
            StatusCode::TOO_MANY_REQUESTS
        ],
        "what holds for each user holds for her"
    );
    let raised = put(&ada.session, limit("user", Some(&ada.id), 3)).await;
    assert_eq!(raised.status, StatusCode::FORBIDDEN, "{raised:?}");

    sets(&root.session, limit("user", None, 100)).await;
    sets(&ada.session, limit("user", Some(&ada.id), 50)).await;
    sets(&root.session, limit("user", None, 10)).await;
    let one = in_force(&root, "user", &ada.id).await;
    assert_eq!(one["amount"], 10, "lowered below hers: {one}");
    sets(&root.session, limit("user", None, 60)).await;
    let one = in_force(&root, "user", &ada.id).await;
    assert_eq!(
        (&one["id"], &one["amount"], &one["voluntary"]),
        (&json!(ada.id), &json!(50), &json!(true)),
        "hers is the stricter one again"
    );
    sets(&root.session, limit("user", Some(&ada.id), 1_000)).await;
    let one = in_force(&root, "user", &ada.id).await;
    assert_eq!(
        (&one["amount"], &one["voluntary"]),
        (&json!(1_000), &json!(false)),
        "an admin grants more than everybody has"
    );
    let path = format!("/api/v1/audit?target_id={}&action=limit.changed", ada.id);
    let events = root.get(&path).await.json();
    let last = &events["events"][0];
    assert_eq!(
        (&last["before"]["voluntary"], &last["after"]["voluntary"]),
        (&json!(true), &json!(false)),
        "{events}"
    );
}

async fn what_owners_and_members_set_gives_way_too(gate: Gate) {
    let (ada, mia) = (gate.person("ada").await, gate.person("mia").await);
    let root = gate.admin().await;
    let project = ada.post("/api/v1/projects", json!({})).await.text("id");
    let members = format!("/api/v1/projects/{project}/members");
    let body = json!({ "user_id": mia.id, "role": "member" });
    assert_eq!(ada.post(&members, body).await.status, StatusCode::OK);
    let keys = format!("/api/v1/projects/{project}/api-keys");
    let key = mia.post(&keys, json!({})).await.text("id");
    for (person, subject, id) in [(&ada, "project", &project), (&mia, "key", &key)] {
        let set = sets(&person.session, limit(subject, Some(id), LARGEST)).await;
        assert_eq!(set["voluntary"], true, "{set}");
        sets(&root.session, limit(subject, None, 7)).await;
        let one = in_force(&root, subject, id).await;
        assert_eq!(one["amount"], 7, "{one}");
    }
    let set = sets(&ada.session, limit("key", Some(&key), 9)).await;
    assert_eq!(
        set["voluntary"], false,
        "who manages the project is not bound by a key's: {set}"
    );
    assert_eq!(in_force(&root, "key", &key).await["amount"], 9);
}

async fn what_an_admin_has_granted_is_not_cut_by_the_default_when_it_is_lowered(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    sets(&root.session, limit("user", None, 10)).await;
    sets(&root.session, limit("user", Some(&ada.id), 1_000)).await;
    let set = sets(&ada.session, limit("user", Some(&ada.id), 500)).await;
    assert_eq!(set["voluntary"], false, "{set}");
    assert_eq!(in_force(&root, "user", &ada.id).await["amount"], 500);
    // So is what every account gets of tokens.
    let lowered = ada
        .put(
            "/api/v1/users/me/token-limit",
            json!({ "token_limit": 500 }),
        )
        .await;
    assert_eq!(lowered.status, StatusCode::OK, "{lowered:?}");
    let each = json!({ "subject": "user", "unit": "tokens", "period": "total", "amount": 10 });
    sets(&root.session, each).await;
    assert_eq!(ada.get("/api/v1/users/me").await.json()["token_limit"], 500);
}

/// A key of somebody's in the own project: the client that has it, and its path.
async fn key(gate: &Gate, person: &Person, body: Value) -> (Client, String, String) {
    let keys = format!("/api/v1/projects/{}/api-keys", person.project);
    let made = person.post(&keys, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let id = made.text("id");
    let path = format!("{keys}/{id}");
    (gate.client.bearer(made.text("api_key")), id, path)
}

async fn post(client: &Client, path: &str, body: Value) -> Answer {
    client.post(path, &body).await.expect("an answer")
}

async fn patch(client: &Client, path: &str, body: Value) -> StatusCode {
    let changed = send(client, Method::PATCH, path, &[], body.to_string());
    changed.await.status
}

async fn remove(client: &Client, mut body: Value) -> StatusCode {
    body.as_object_mut().expect("an object").remove("amount");
    let json = [("content-type", "application/json")];
    let removed = send(
        client,
        Method::DELETE,
        "/api/v1/limits",
        &json,
        body.to_string(),
    );
    removed.await.status
}

async fn an_api_key_lowers_limits_and_raises_none(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let (manages, own, _) = key(&gate, &ada, json!({ "scopes": ["manage"] })).await;
    let (_, other, _) = key(&gate, &ada, json!({})).await;
    sets(&root.session, limit("key", Some(&own), 100)).await;
    sets(&ada.session, limit("key", Some(&other), 100)).await;
    for id in [&own, &other] {
        let of = |amount| limit("key", Some(id), amount);
        let raised = put(&manages, of(101)).await;
        assert_eq!(raised.status, StatusCode::FORBIDDEN, "{raised:?}");
        let removed = remove(&manages, of(0)).await;
        assert_eq!(removed, StatusCode::FORBIDDEN, "none is higher still");
        sets(&manages, of(50)).await;
    }
    let set = sets(&ada.session, limit("key", Some(&other), 200)).await;
    assert_eq!(
        set["amount"], 200,
        "with a login, who manages the project may"
    );
    let removed = remove(&ada.session, limit("key", Some(&other), 0)).await;
    assert_eq!(removed, StatusCode::NO_CONTENT);
    let (administers, _, _) = key(&gate, &root, json!({ "scopes": ["admin"] })).await;
    sets(&administers, limit("key", Some(&own), 1_000)).await;
}

async fn a_key_with_limits_of_its_own_makes_no_other(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let scopes = json!(["inference", "models", "manage"]);
    let (manages, id, own) = key(&gate, &ada, json!({ "scopes": scopes })).await;
    let wanted = json!({ "models": ["tiny"] });
    let made = post(&manages, &keys, wanted.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "it has no limit yet");
    let other = format!("{keys}/{}", made.text("id"));
    let services = format!("/api/v1/projects/{}/services", ada.project);
    gate.allow_services(&ada.project).await;
    let service = ada
        .post(&services, json!({ "name": "ci" }))
        .await
        .text("id");

    sets(&root.session, limit("key", Some(&id), 100)).await;
    for body in [wanted.clone(), json!({ "service_id": service })] {
        let refused = post(&manages, &keys, body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
        let words = refused.text("detail");
        assert!(words.contains("limits of its own"), "{words}");
    }
    let rotated = post(&manages, &format!("{other}/rotate"), json!({})).await;
    assert_eq!(
        rotated.status,
        StatusCode::FORBIDDEN,
        "its secret is as good"
    );
    let wider = patch(&manages, &other, json!({ "models": null })).await;
    assert_eq!(wider, StatusCode::FORBIDDEN);
    for less in [json!({ "name": "desk" }), json!({ "scopes": ["models"] })] {
        assert_eq!(patch(&manages, &other, less).await, StatusCode::OK);
    }
    let rotated = post(&manages, &format!("{own}/rotate"), json!({})).await;
    assert_eq!(
        rotated.status,
        StatusCode::OK,
        "its limits stay: {rotated:?}"
    );

    let made = ada.post(&keys, wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "a login makes keys");
}

async fn an_admins_key_with_limits_of_its_own_makes_no_other(gate: Gate) {
    const ADMIN_KEYS: &str = "/v1/organization/admin_api_keys";
    let root = gate.admin().await;
    let made = root.post(ADMIN_KEYS, json!({ "name": "terraform" })).await;
    let admin = gate.client.bearer(made.text("value"));
    let project = root.post("/api/v1/projects", json!({})).await.text("id");
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    sets(&root.session, limit("key", Some(&made.text("id")), 100)).await;
    for path in [ADMIN_KEYS, services.as_str()] {
        let refused = post(&admin, path, json!({ "name": "ci" })).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {refused:?}");
    }
    let listed = root.get(&services).await.json();
    assert_eq!(listed["data"], json!([]), "nothing was made half");
    let own = limit("key", Some(&made.text("id")), 101);
    let raised = put(&admin, own.clone()).await;
    assert_eq!(raised.status, StatusCode::FORBIDDEN, "its own: {raised:?}");
    let removed = send(
        &admin,
        Method::DELETE,
        "/api/v1/limits",
        &[("content-type", "application/json")],
        own.to_string(),
    )
    .await;
    assert!(!removed.status.is_success(), "{removed:?}");
    let wanted = json!({ "username": "eve", "password": PASSWORD, "role": "admin" });
    let refused = post(&admin, "/api/v1/users", wanted).await;
    assert_eq!(
        refused.status,
        StatusCode::FORBIDDEN,
        "an admin has no limits: {refused:?}"
    );
    let alone = json!({ "name": "ci", "create_service_account_only": true });
    let made = post(&admin, &services, alone).await;
    assert_eq!(made.status, StatusCode::OK, "it has no key: {made:?}");
}

async fn nobody_has_more_limits_than_allowed(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let of_model = |model: String| {
        let mut body = limit("user", Some(&ada.id), 9);
        body["model"] = json!(model);
        body
    };
    let books = gate.books().await;
    let subject = Subject::User(ada.id.parse().expect("an id"));
    let there = books.limits(Some(subject)).await.expect("a store").len();
    let zone = Zone::UTC;
    let change = |number: usize| {
        let key = LimitKey {
            subject,
            model: Some(format!("m{number}").into()),
            unit: Unit::Requests,
            period: Period::Day,
        };
        let limit = Limit {
            key,
            zone: zone.clone(),
            amount: Amount::ZERO,
            voluntary: true,
        };
        LimitChange::set(limit, Author::now())
    };
    let made = (there..MAX_VOLUNTARY_LIMITS - 1).map(change);
    let made = books.change_limits(made.collect()).await;
    made.expect("a store").expect("there is room");
    sets(&ada.session, of_model("the last".to_owned())).await;
    let full = put(&ada.session, of_model("one more".to_owned())).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    sets(&root.session, of_model("an admin's".to_owned())).await;
    let mut lower = of_model("the last".to_owned());
    lower["amount"] = json!(8);
    sets(&ada.session, lower).await;
    let own = json!({ "token_limit": 5 });
    let own = ada.put("/api/v1/users/me/token-limit", own).await;
    assert_eq!(own.status, StatusCode::OK, "that always has room: {own:?}");

    let there = books.limits(Some(subject)).await.expect("a store").len();
    let made = (there..MAX_LIMITS).map(|number| change(MAX_LIMITS + number));
    let made = books.change_limits(made.collect()).await;
    made.expect("a store")
        .expect("there is room for an admin's");
    let full = put(&root.session, of_model("one more".to_owned())).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let full = [
        "limit", "set", "user:ada", "5", "--unit", "money", "--period", "month",
    ];
    let full = gate.command(&full).await;
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.contains("1000 limits"), "{full:?}");
}
