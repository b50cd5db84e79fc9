//! Limits that come back: when, and by whose clocks.

use std::time::Duration;

use http::StatusCode;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, Person, on_both};

on_both! {
    a_spent_minute_of_money_says_when_it_comes_back;
    a_spent_month_of_money_says_when_it_comes_back;
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
