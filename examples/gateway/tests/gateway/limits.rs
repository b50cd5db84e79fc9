//! Limits and prices, set over HTTP and by command.

use http::{Method, StatusCode};
use llm_gate_gateway::client::Client;
use serde_json::{Value, json};

use super::support::{Gate, Person, on_both, send};

on_both! {
    amounts_are_exact_up_to_the_largest_and_refused_beyond;
    what_names_no_limit_is_refused;
    limits_are_listed_with_how_one_stands;
    a_limit_for_each_user_holds_for_who_has_none;
    a_limit_of_requests_is_in_force_for_the_next_one;
    a_limit_of_money_needs_a_price_and_is_charged_by_it;
    prices_are_set_listed_and_removed;
    limits_and_prices_are_listed_page_by_page;
    commands_set_limits_and_prices;
    a_reset_starts_a_user_anew_and_erases_nothing;
    none_of_it_is_for_others;
    owners_set_and_lower_the_limits_of_their_projects_and_raise_none;
    whoever_manages_a_project_limits_its_keys;
}

async fn a_reset_starts_a_user_anew_and_erases_nothing(gate: Gate) {
    let ((ada, key), root) = (caller(&gate).await, gate.admin().await);
    let limit = json!({ "token_limit": 200 });
    ada.put("/api/v1/users/me/token-limit", limit).await;
    let mut served = 0;
    while chat(&key).await.status == StatusCode::OK {
        served += 1;
        gate.settled(&ada).await;
    }
    let before = ada.get("/api/v1/users/me/usage").await.json();
    let path = format!("/api/v1/users/{}/reset-usage", ada.id);
    let reset = root.post(&path, json!({})).await;
    assert_eq!(reset.status, StatusCode::OK, "{reset:?}");
    assert_eq!(
        (&reset.json()["tokens_used"], &reset.json()["token_limit"]),
        (&json!(0), &json!(200))
    );
    assert_eq!(
        chat(&key).await.status,
        StatusCode::OK,
        "there is room again"
    );
    gate.settled(&ada).await;

    let calls = ada.get("/api/v1/usage/calls").await.json();
    assert_eq!(calls["total_calls"], served + 1, "its calls stay on record");
    let lines = root.get("/api/v1/ledger/export?format=jsonl").await;
    let lines = String::from_utf8_lossy(&lines.body).into_owned();
    let credits: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["kind"] == "credit")
        .collect();
    assert_eq!(credits.len(), 1, "{lines}");
    let used = before["tokens_used"].as_i64().expect("a number");
    assert_eq!(credits[0]["charge"], -used, "a line takes it off");
    let verified = root.get("/api/v1/ledger/verify").await.json();
    assert_eq!(verified["clean"], true, "{verified}");
    let events = root
        .get(&format!(
            "/api/v1/audit?target_id={}&action=usage.reset",
            ada.id
        ))
        .await
        .json();
    assert_eq!(events["events"][0]["actor_id"], root.id, "{events}");

    let unknown = format!("/api/v1/users/{}/reset-usage", ada.project);
    assert_eq!(
        root.post(&unknown, json!({})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ada.post(&path, json!({})).await.status,
        StatusCode::FORBIDDEN
    );
}

async fn put(person: &Person, body: Value) -> u16 {
    let answer = person.put("/api/v1/limits", body).await;
    answer.status.as_u16()
}

async fn remove(person: &Person, mut body: Value) -> u16 {
    body.as_object_mut().expect("an object").remove("amount");
    let json = [("content-type", "application/json")];
    let removed = send(
        &person.session,
        Method::DELETE,
        "/api/v1/limits",
        &json,
        body.to_string(),
    );
    removed.await.status.as_u16()
}

/// A project of ada's with adam as admin and mia as member.
async fn project(gate: &Gate) -> (String, [Person; 3]) {
    let people = [
        gate.person("ada").await,
        gate.person("adam").await,
        gate.person("mia").await,
    ];
    let project = people[0]
        .post("/api/v1/projects", json!({}))
        .await
        .text("id");
    let members = format!("/api/v1/projects/{project}/members");
    for (person, role) in [(&people[1], "admin"), (&people[2], "member")] {
        let body = json!({ "user_id": person.id, "role": role });
        assert_eq!(people[0].post(&members, body).await.status, StatusCode::OK);
    }
    (project, people)
}

async fn owners_set_and_lower_the_limits_of_their_projects_and_raise_none(gate: Gate) {
    let (project, [ada, adam, mia]) = project(&gate).await;
    let (root, eve) = (gate.admin().await, gate.person("eve").await);
    let of = |amount: u64| limit("project", Some(&project), "tokens", "month", amount);
    assert_eq!(put(&ada, of(1000)).await, 200, "there was none");
    assert_eq!(put(&ada, of(500)).await, 200, "lower");
    assert_eq!(put(&ada, of(501)).await, 403, "higher");
    assert_eq!(remove(&ada, of(0)).await, 403, "none is higher still");
    assert_eq!(put(&adam, of(1)).await, 403, "only owners do");
    assert_eq!(put(&mia, of(1)).await, 403, "only owners do");
    assert_eq!(put(&eve, of(1)).await, 404, "it is not there for others");
    let list = format!("/api/v1/limits?subject=project&id={project}");
    for (person, status) in [(&ada, 200), (&adam, 200), (&mia, 403), (&eve, 404)] {
        assert_eq!(person.get(&list).await.status, status);
    }
    let listed = ada.get(&list).await.json();
    let amounts: Vec<&Value> = listed["limits"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|limit| limit["period"] == "month")
        .map(|limit| &limit["amount"])
        .collect();
    assert_eq!(amounts, [&json!(500)]);
    assert_eq!(put(&root, of(2000)).await, 200, "admins raise it");
    assert_eq!(remove(&root, of(0)).await, 204, "and remove it");

    let own = |amount: u64| limit("user", Some(&mia.id), "requests", "day", amount);
    assert_eq!(put(&mia, own(10)).await, 200);
    assert_eq!(put(&mia, own(11)).await, 403, "nobody raises the own limit");
    assert_eq!(put(&ada, own(1)).await, 404, "nor sets another user's");
    for all in ["user", "project", "key", "platform"] {
        let everybodys = limit(all, None, "tokens", "total", 1);
        assert_eq!(put(&ada, everybodys).await, 403, "{all}");
    }
    assert_eq!(
        ada.get("/api/v1/limits").await.status,
        StatusCode::FORBIDDEN
    );
    for (action, count) in [("changed", 3), ("removed", 1)] {
        let path = format!("/api/v1/audit?target_id={project}&action=limit.{action}");
        let events = root.get(&path).await.json();
        let found = events["events"].as_array().map(Vec::len);
        assert_eq!(found, Some(count), "{action}: {events}");
    }
}

async fn whoever_manages_a_project_limits_its_keys(gate: Gate) {
    let (project, [ada, adam, mia]) = project(&gate).await;
    let eve = gate.person("eve").await;
    let keys = format!("/api/v1/projects/{project}/api-keys");
    let key = mia.post(&keys, json!({})).await.text("id");
    let of = |amount: u64| limit("key", Some(&key), "tokens", "minute", amount);
    assert_eq!(put(&adam, of(100)).await, 200);
    assert_eq!(put(&adam, of(200)).await, 200, "and raises it");
    assert_eq!(put(&mia, of(50)).await, 200, "its user lowers it");
    assert_eq!(put(&mia, of(60)).await, 403, "and does not raise it");
    assert_eq!(remove(&mia, of(0)).await, 403);
    assert_eq!(put(&eve, of(1)).await, 404);
    assert_eq!(remove(&ada, of(0)).await, 204);
    let foreign = eve.key().await.text("id");
    let foreign = limit("key", Some(&foreign), "tokens", "total", 5u64);
    assert_eq!(put(&ada, foreign).await, 404);
}

const LARGEST: u64 = (1 << 53) - 1;

async fn caller(gate: &Gate) -> (Person, Client) {
    let ada = gate.person("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    (ada, key)
}

async fn chat(client: &Client) -> llm_gate_gateway::client::Answer {
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let answer = client.post("/v1/chat/completions", &body).await;
    answer.expect("an answer")
}

fn limit(
    subject: &str,
    id: Option<&str>,
    unit: &str,
    period: &str,
    amount: impl Into<Value>,
) -> Value {
    json!({ "subject": subject, "id": id, "unit": unit, "period": period, "amount": amount.into() })
}

async fn amounts_are_exact_up_to_the_largest_and_refused_beyond(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    for amount in [0, 1, LARGEST] {
        let body = limit("user", Some(&ada.id), "money", "total", amount);
        let set = root.put("/api/v1/limits", body).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
        assert_eq!(set.json()["amount"], amount);
        let path = format!("/api/v1/limits?subject=user&id={}", ada.id);
        let listed = root.get(&path).await.json();
        let all = listed["limits"].as_array().expect("a list");
        let money = all.iter().find(|limit| limit["unit"] == "money");
        let money = money.expect("it is in force");
        assert_eq!(
            (&money["amount"], &money["remaining"]),
            (&json!(amount), &json!(amount))
        );
    }
    for wrong in [
        json!(LARGEST + 1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(1e300),
        json!("5"),
        json!(true),
        json!([5]),
        Value::Null,
    ] {
        let body = limit("user", Some(&ada.id), "money", "total", wrong.clone());
        let refused = root.put("/api/v1/limits", body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert_eq!(
            refused.json()["detail"][0]["loc"][1],
            "amount",
            "{refused:?}"
        );
    }
}

async fn what_names_no_limit_is_refused(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let right = limit("user", Some(&ada.id), "tokens", "day", 5);
    for (field, value) in [
        ("subject", json!("planet")),
        ("subject", Value::Null),
        ("subject", json!("platform")),
        ("id", json!("ada")),
        ("id", json!("00000000-0000-0000-0000-000000000000")),
        ("unit", json!("coffee")),
        ("unit", Value::Null),
        ("period", json!("week")),
        ("zone", json!("Mars/Olympus")),
        ("model", json!("")),
        ("model", json!("a\u{0}b")),
        ("burst", json!(5)),
    ] {
        let mut body = right.clone();
        body[field] = value.clone();
        let refused = root.put("/api/v1/limits", body).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{field} {value}: {refused:?}"
        );
    }
    for (subject, id) in [
        ("user", &ada.project),
        ("project", &ada.id),
        ("key", &ada.id),
    ] {
        let body = limit(subject, Some(id), "tokens", "day", 5);
        let unknown = root.put("/api/v1/limits", body).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
        let query = format!("subject={subject}&id={id}");
        let unknown = root.get(&format!("/api/v1/limits?{query}")).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
        let unknown = root
            .delete(&format!("/api/v1/limits?{query}&unit=tokens&period=day"))
            .await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
    }
    let set = root.put("/api/v1/limits", right.clone()).await;
    assert_eq!(set.status, StatusCode::OK, "nothing is wrong with this one");
    let mut named = right;
    named.as_object_mut().expect("an object").remove("amount");
    // In the body as well as in the query.
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        let kind = [("content-type", "application/json")];
        let body = named.to_string();
        let removed = send(&root.session, Method::DELETE, "/api/v1/limits", &kind, body).await;
        assert_eq!(removed.status, status, "once: {removed:?}");
    }
}

async fn limits_are_listed_with_how_one_stands(gate: Gate) {
    let ((ada, key), root) = (caller(&gate).await, gate.admin().await);
    let mut monthly = limit("project", Some(&ada.project), "tokens", "month", 1_000);
    monthly["zone"] = json!("Europe/Berlin");
    monthly["model"] = json!("tiny");
    let set = root.put("/api/v1/limits", monthly).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let answer = chat(&key).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    gate.settled(&ada).await;
    let counts = gate.upstream.counts();
    let used = counts.prompt_tokens + counts.completion_tokens;
    let path = format!("/api/v1/limits?subject=project&id={}", ada.project);
    let listed = root.get(&path).await.json();
    let resets = listed["limits"][0]["resets_at"].clone();
    assert_eq!(
        listed["limits"],
        json!([{
            "subject": "project", "id": ada.project, "model": "tiny", "unit": "tokens", "period": "month",
            "zone": "Europe/Berlin", "amount": 1_000, "voluntary": false, "used": used, "reserved": 0, "overage": 0,
            "remaining": 1_000 - used, "resets_at": resets,
        }])
    );
    assert!(
        resets
            .as_str()
            .is_some_and(|at| at.ends_with("T23:00:00Z") || at.ends_with("T22:00:00Z")),
        "{resets}"
    );
    let query = format!(
        "subject=project&id={}&unit=tokens&period=month&model=tiny",
        ada.project
    );
    let removed = root.delete(&format!("/api/v1/limits?{query}")).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    assert_eq!(root.get(&path).await.json()["limits"], json!([]));
}

async fn a_limit_for_each_user_holds_for_who_has_none(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    for body in [
        limit("user", None, "requests", "day", 7),
        limit("platform", None, "tokens", "minute", 100_000),
    ] {
        let set = root.put("/api/v1/limits", body).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
    }
    let general = root.get("/api/v1/limits").await.json();
    let general = general["limits"].as_array().expect("a list").clone();
    assert_eq!(general.len(), 2, "{general:?}");
    assert_eq!(
        (&general[0]["subject"], &general[0]["used"]),
        (&json!("platform"), &json!(0))
    );
    assert_eq!(
        (&general[1]["subject"], &general[1]["id"]),
        (&json!("user"), &Value::Null)
    );
    assert_eq!(general[1]["used"], Value::Null, "nobody stands there");
    let path = format!("/api/v1/limits?subject=user&id={}", ada.id);
    let listed = root.get(&path).await.json();
    let all = listed["limits"].as_array().expect("a list").clone();
    let each = all.iter().find(|limit| limit["unit"] == "requests");
    let each = each.expect("it is in force for her");
    assert_eq!((&each["id"], &each["remaining"]), (&Value::Null, &json!(7)));
}

async fn a_limit_of_requests_is_in_force_for_the_next_one(gate: Gate) {
    let ((ada, key), root) = (caller(&gate).await, gate.admin().await);
    assert_eq!(chat(&key).await.status, StatusCode::OK, "nothing limits it");
    let body = limit("user", Some(&ada.id), "requests", "minute", 1);
    let set = root.put("/api/v1/limits", body).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    assert_eq!(chat(&key).await.status, StatusCode::OK, "one fits");
    let refused = chat(&key).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    let wait = refused.headers["retry-after"].to_str().expect("text");
    let wait: u64 = wait.parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    gate.clock.advance(std::time::Duration::from_secs(wait));
    assert_eq!(chat(&key).await.status, StatusCode::OK, "waiting helps");
}

async fn a_limit_of_money_needs_a_price_and_is_charged_by_it(gate: Gate) {
    let ((ada, key), root) = (caller(&gate).await, gate.admin().await);
    let body = limit("user", Some(&ada.id), "money", "total", 1_000_000);
    let set = root.put("/api/v1/limits", body).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let refused = chat(&key).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "model_not_priced");
    assert_eq!(gate.upstream.counts().requests, 0, "nothing was sent");

    let price = json!({ "model": "tiny", "prompt": 150_001, "completion": 600_003 });
    let set = root.put("/api/v1/prices", price).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let answer = chat(&key).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    gate.settled(&ada).await;
    let counts = gate.upstream.counts();
    let parts = counts.prompt_tokens * 150_001 + counts.completion_tokens * 600_003;
    let path = format!("/api/v1/limits?subject=user&id={}", ada.id);
    let listed = root.get(&path).await.json();
    let all = listed["limits"].as_array().expect("a list").clone();
    let money = all.iter().find(|limit| limit["unit"] == "money");
    let money = money.expect("it is in force");
    assert_eq!(money["used"], parts.div_ceil(1_000_000), "rounded up, once");
}

async fn prices_are_set_listed_and_removed(gate: Gate) {
    const MOST: u64 = 1 << 40;
    let root = gate.admin().await;
    let whole = json!({
        "model": "big", "prompt": MOST, "completion": 0, "cached": 7,
        "weight_prompt": 500, "weight_completion": MOST, "weight_cached": 0,
    });
    let set = root.put("/api/v1/prices", whole.clone()).await;
    assert_eq!(
        (set.status, set.json()),
        (StatusCode::OK, whole.clone()),
        "as it was sent"
    );
    let weights = json!({ "model": "heavy", "weight_completion": 4_000 });
    let set = root.put("/api/v1/prices", weights).await.json();
    assert_eq!(
        (&set["prompt"], &set["weight_prompt"]),
        (&Value::Null, &json!(1_000))
    );
    let listed = root.get("/api/v1/prices").await.json();
    assert_eq!(listed["prices"], json!([whole, set]));
    for wrong in [
        json!({ "prompt": 1, "completion": 1 }),
        json!({ "model": "" , "prompt": 1, "completion": 1 }),
        json!({ "model": "m" }),
        json!({ "model": "m", "weight_prompt": 1_000 }),
        json!({ "model": "m", "prompt": 1 }),
        json!({ "model": "m", "cached": 1 }),
        json!({ "model": "m", "prompt": MOST + 1, "completion": 1 }),
        json!({ "model": "m", "prompt": -1, "completion": 1 }),
        json!({ "model": "m", "prompt": 1.5, "completion": 1 }),
        json!({ "model": "m", "prompt": "1", "completion": 1 }),
        json!({ "model": "m", "weight_cached": MOST + 1 }),
        json!({ "model": "m", "prompt": 1, "completion": 1, "image": 1 }),
    ] {
        let refused = root.put("/api/v1/prices", wrong.clone()).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}: {refused:?}"
        );
    }
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        assert_eq!(root.delete("/api/v1/prices?model=big").await.status, status);
    }
    let listed = root.get("/api/v1/prices").await.json();
    assert_eq!(listed["prices"].as_array().map(Vec::len), Some(1));
}

async fn limits_and_prices_are_listed_page_by_page(gate: Gate) {
    let root = gate.admin().await;
    for model in ["a", "b", "c"] {
        let price = json!({ "model": model, "prompt": 1, "completion": 1 });
        let set = root.put("/api/v1/prices", price).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
        let limit = json!({
            "subject": "platform", "model": model, "unit": "tokens", "period": "day", "amount": 5,
        });
        let set = root.put("/api/v1/limits", limit).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
    }
    for (path, list) in [
        ("/api/v1/prices?", "prices"),
        ("/api/v1/limits?subject=platform&", "limits"),
    ] {
        let first = root.get(&format!("{path}limit=2")).await;
        let cursor = first.text("next_cursor");
        let second = root.get(&format!("{path}limit=2&cursor={cursor}")).await;
        assert!(second.json()["next_cursor"].is_null(), "{second:?}");
        let pages = [first.json(), second.json()];
        let entries = pages.iter().filter_map(|page| page[list].as_array());
        let models: Vec<&Value> = entries.flatten().map(|entry| &entry["model"]).collect();
        assert_eq!(models, ["a", "b", "c"], "each once, in order");
        for wrong in ["limit=0", "limit=101", "limit=x"] {
            let refused = root.get(&format!("{path}{wrong}")).await;
            assert_eq!(
                refused.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{path}{wrong}"
            );
        }
    }
}

async fn commands_set_limits_and_prices(gate: Gate) {
    let (ada, _) = caller(&gate).await;
    let largest = LARGEST.to_string();
    let beyond = (LARGEST + 1).to_string();
    let by_id = format!("user:{}", ada.id);
    let project = format!("project:{}", ada.project);
    for (command, line) in [
        (
            &["limit", "set", "user:ada", &largest, "--unit", "money"][..],
            format!("total money of user {}: {largest}", ada.id),
        ),
        (
            &[
                "limit", "set", "key", "60", "--unit", "requests", "--period", "minute",
            ],
            "minute requests of key: 60".to_owned(),
        ),
        (
            &[
                "limit",
                "set",
                &project,
                "5",
                "--period",
                "day",
                "--zone",
                "Europe/Berlin",
                "--model",
                "tiny",
            ],
            format!("day tokens of project {} for tiny: 5", ada.project),
        ),
        (
            &["limit", "list", &project],
            format!(
                "project {}\ttiny\ttokens\tday\tEurope/Berlin\t5\t0\t0\t5",
                ada.project
            ),
        ),
        (
            &["limit", "list"],
            "key\tall\trequests\tminute\tUTC\t60\t\t\t".to_owned(),
        ),
        (
            &["limit", "remove", &by_id, "--unit", "money"],
            format!("total money of user {}: no limit", ada.id),
        ),
        (
            &[
                "price",
                "set",
                "tiny",
                "--prompt",
                "5",
                "--completion",
                "7",
                "--weight-cached",
                "100",
            ],
            "tiny\t5\t7\t5\t1000/1000/100".to_owned(),
        ),
        (
            &["price", "list"],
            "tiny\t5\t7\t5\t1000/1000/100".to_owned(),
        ),
        (&["price", "remove", "tiny"], "tiny: no price".to_owned()),
    ] {
        let output = gate.command(command).await;
        assert_eq!(output.code, Some(0), "{command:?}: {output:?}");
        assert!(
            output.stdout.lines().any(|found| found == line),
            "{line:?} in {output:?}"
        );
    }
    for (wrong, code) in [
        (&["limit", "set", "user:ada", &beyond][..], 2),
        (&["limit", "set", "user:ada", "-5"], 2),
        (&["limit", "set", "planet", "5"], 2),
        (&["limit", "set", "platform:x", "5"], 2),
        (&["limit", "set", "user:ada", "5", "--period", "week"], 2),
        (&["limit", "set", "user:ada", "5", "--zone", "Mars"], 2),
        (&["limit", "set", "user:eve", "5"], 1),
        (&["limit", "set", "key:lg_nothing", "5"], 1),
        (&["limit", "remove", "user:ada", "--unit", "money"], 1),
        (&["price", "set", "tiny", "--prompt", "5"], 2),
        (&["price", "set", "tiny"], 2),
        (&["price", "remove", "tiny"], 1),
    ] {
        let output = gate.command(wrong).await;
        assert_eq!(output.code, Some(code), "{wrong:?}: {output:?}");
    }
}

async fn none_of_it_is_for_others(gate: Gate) {
    let (ada, key) = caller(&gate).await;
    let body = limit("user", Some(&ada.id), "tokens", "total", LARGEST);
    let limits = ada.get("/api/v1/limits").await;
    assert_eq!(limits.status, StatusCode::FORBIDDEN, "those of everybody");
    let prices = ada.get("/api/v1/prices").await;
    assert_eq!(
        prices.status,
        StatusCode::OK,
        "who limits money has to know them"
    );
    for path in ["/api/v1/limits", "/api/v1/prices"] {
        let by_key = key.get(path).await.expect("an answer");
        assert_eq!(by_key.status, StatusCode::FORBIDDEN, "{path} with a key");
        assert_eq!(
            gate.get(path).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    let key_puts = key.put("/api/v1/limits", &body).await.expect("an answer");
    assert_eq!(key_puts.status, StatusCode::FORBIDDEN);
    let price = json!({ "model": "tiny", "price_prompt": 1 });
    assert_eq!(
        ada.put("/api/v1/prices", price).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ada.delete("/api/v1/prices").await.status,
        StatusCode::FORBIDDEN
    );
}
