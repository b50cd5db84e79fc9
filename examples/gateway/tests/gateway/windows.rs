//! Limits that come back: when, and by whose clocks.

use std::time::Duration;

use http::StatusCode;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, Person, on_both};

on_both! {
    a_spent_minute_of_money_says_when_it_comes_back;
    a_spent_month_of_money_says_when_it_comes_back;
    a_changed_rate_limit_keeps_its_day;
}

const PRICE: u64 = 1_000_000;

/// Limits ada's money in a period, and spends until a call is refused.
async fn spent(gate: &Gate, period: &str) -> (Person, Client, Answer) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let price = json!({ "model": "tiny", "prompt": PRICE, "completion": PRICE });
    let set = root.put("/api/v1/prices", price).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let limit = json!({ "subject": "user", "id": ada.id, "unit": "money", "period": period, "amount": 200 });
    let set = root.put("/api/v1/limits", limit).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let mut answer = chat(&key).await;
    assert_eq!(answer.status, StatusCode::OK, "one fits: {answer:?}");
    while answer.status == StatusCode::OK {
        gate.settled(&ada).await;
        answer = chat(&key).await;
    }
    (ada, key, answer)
}

async fn chat(client: &Client) -> Answer {
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let answer = client.post("/v1/chat/completions", &body).await;
    answer.expect("an answer")
}

/// Reads a refusal: its code, and what it says of the limit of money.
fn told(refused: &Answer) -> (StatusCode, Value, [&str; 4]) {
    let text = |name: &str| {
        let value = refused.headers.get(name).map(|value| value.to_str());
        value.and_then(Result::ok).unwrap_or_default()
    };
    let headers = [
        text("x-ratelimit-limit-cost"),
        text("x-ratelimit-reset-cost"),
        text("retry-after"),
        text("x-should-retry"),
    ];
    let code = refused.json()["error"]["code"].clone();
    (refused.status, code, headers)
}

async fn a_spent_minute_of_money_says_when_it_comes_back(gate: Gate) {
    let (ada, key, refused) = spent(&gate, "minute").await;
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    let rate = json!("rate_limit_exceeded");
    assert_eq!(
        told(&refused),
        (too_many, rate.clone(), ["200", "60s", "60", ""])
    );
    let path = format!("/api/v1/limits?subject=user&id={}", ada.id);
    let listed = ada.get(&path).await.json();
    let all = listed["limits"].as_array().expect("a list");
    let money = all.iter().find(|limit| limit["unit"] == "money");
    let left = money.expect("it is in force")["remaining"].to_string();
    assert_eq!(refused.headers["x-ratelimit-remaining-cost"], left.as_str());
    assert!(
        !refused.headers.contains_key("x-ratelimit-limit-tokens"),
        "only the limit that decided: {refused:?}"
    );
    gate.clock.advance(Duration::from_secs(15));
    let later = chat(&key).await;
    assert_eq!(
        told(&later),
        (too_many, rate, ["200", "45s", "45", ""]),
        "it moves"
    );
    gate.clock.advance(Duration::from_secs(45));
    assert_eq!(chat(&key).await.status, StatusCode::OK, "waiting helps");
}

async fn a_spent_month_of_money_says_when_it_comes_back(gate: Gate) {
    let (_, key, refused) = spent(&gate, "month").await;
    // January, from its first moment.
    let (month, quota) = (31 * 24 * 3600, json!("insufficient_quota"));
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    let reset = format!("{month}s");
    let after = month.to_string();
    assert_eq!(
        told(&refused),
        (too_many, quota.clone(), ["200", &reset, &after, "false"]),
        "nobody waits for so long"
    );
    gate.clock.advance(Duration::from_secs(3600));
    let later = chat(&key).await;
    let (reset, after) = (format!("{}s", month - 3600), (month - 3600).to_string());
    assert_eq!(
        told(&later),
        (too_many, quota, ["200", &reset, &after, "false"]),
        "it moves"
    );
}

/// What was used today counts today, also where the limit is changed by a route that knows of no zones.
async fn a_changed_rate_limit_keeps_its_day(gate: Gate) {
    let root = gate.admin().await;
    let requests = |id: Option<&str>, zone: &str, amount: u64| {
        json!({
            "subject": "project", "id": id, "model": "tiny", "unit": "requests", "period": "day",
            "zone": zone, "amount": amount,
        })
    };
    let (own, other) = (root.project.clone(), gate.person("ada").await.project);
    for body in [
        requests(Some(&own), "Asia/Tokyo", 5),
        requests(None, "America/New_York", 50),
    ] {
        let set = root.put("/api/v1/limits", body).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
    }
    let key = gate.client.bearer(root.key().await.text("api_key"));
    assert_eq!(chat(&key).await.status, StatusCode::OK);
    gate.settled(&root).await;
    for (project, zone, used) in [(&own, "Asia/Tokyo", 1), (&other, "America/New_York", 0)] {
        let path = format!("/v1/organization/projects/{project}/rate_limits/rl-tiny");
        let all = json!({
            "max_requests_per_1_minute": 60, "max_tokens_per_1_minute": 9_000, "max_requests_per_1_day": 3,
        });
        let changed = root.post(&path, all).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        let path = format!("/api/v1/limits?subject=project&id={project}");
        let listed = root.get(&path).await.json();
        let limits = listed["limits"].as_array().expect("a list");
        assert_eq!(limits.len(), 3, "all of them are set: {listed}");
        let day = limits.iter().find(|limit| limit["period"] == "day");
        let day = day.expect("it is in force");
        assert_eq!(
            (&day["id"], &day["zone"], &day["amount"], &day["used"]),
            (&json!(project), &json!(zone), &json!(3), &json!(used)),
            "the day that has begun goes on"
        );
    }
    let project = gate.person("bob").await.project;
    let query = "subject=project&model=tiny&unit=requests&period=day";
    let removed = root.delete(&format!("/api/v1/limits?{query}")).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    let path = format!("/v1/organization/projects/{project}/rate_limits/rl-tiny");
    let changed = root
        .post(&path, json!({ "max_requests_per_1_day": 3 }))
        .await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    let path = format!("/api/v1/limits?subject=project&id={project}");
    let listed = root.get(&path).await.json();
    assert_eq!(listed["limits"][0]["zone"], "UTC", "where there was none");
}
