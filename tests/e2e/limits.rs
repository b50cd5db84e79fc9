//! What is too much: of tokens, of bytes, of nesting; and the manners of every answer.

use http::Method;
use scripted_vllm::Answer;
use serde_json::{Value, json};
use support::{Answer as Whole, Client, World, chat};

/// What the gate adds to the bytes of a body for the chat template.
const ALLOWANCE: u64 = 64;

async fn set_limit(admin: &Client, id: impl std::fmt::Display, limit: Value) -> Whole {
    let path = format!("/api/v1/users/{id}/token-limit");
    let body = json!({ "token_limit": limit });
    admin.put(&path, &body).await.expect("an answer")
}

#[tokio::test]
async fn a_limit_lowered_below_what_is_used_grants_nothing_more() {
    let world = World::start().await;
    let ada = world.register().await;
    let admin = world.admin().await;
    let ask = chat("Hi").max_tokens(3);
    assert_eq!(ada.chat(&ask).await.status, 200);
    world.settle().await;
    let used = world.used(&ada).await;

    let lowered = set_limit(&admin, ada.id, json!(used - 1)).await;
    assert_eq!(lowered.status, 200, "{:?}", lowered.json());
    assert_eq!(
        lowered.json()["tokens_used"],
        used,
        "what is spent stays spent"
    );
    assert_eq!(ada.chat(&ask).await.status, 429);
    assert_eq!(ada.usage().await["remaining"], 0, "never less than nothing");

    let raised = set_limit(&admin, ada.id, json!(null)).await;
    assert_eq!(raised.status, 200, "{:?}", raised.json());
    let answer = ada.chat(&ask).await;
    assert_eq!(answer.status, 200);
    assert!(
        !answer.headers.contains_key("x-ratelimit-limit-tokens"),
        "there is none"
    );
    world.settle().await;
    assert_eq!(
        world.used(&ada).await,
        2 * used,
        "what was refused is free, whatever the upstream had begun"
    );
    let by_others = set_limit(&ada.session().await, ada.id, json!(1)).await;
    assert_eq!(
        by_others.status, 403,
        "only admins set the limits of others"
    );
}

#[tokio::test]
async fn the_own_limit_can_be_lowered_and_not_raised() {
    let world = World::start().await;
    let ada = world.register().await;
    let session = ada.session().await;
    let path = "/api/v1/users/me/token-limit";
    for (limit, status) in [
        (json!(500), 200),
        (json!(501), 403),
        (json!(null), 403),
        (json!(0), 200),
    ] {
        let body = json!({ "token_limit": limit });
        let answer = session.put(path, &body).await.expect("an answer");
        assert_eq!(answer.status, status, "{limit}: {:?}", answer.json());
    }
    assert_eq!(ada.chat(&chat("Hi").max_tokens(1)).await.status, 429);
    world.settle().await;
}

#[tokio::test]
async fn a_429_says_how_much_is_left_and_that_retrying_is_no_use() {
    let world = World::start().await;
    let ask = chat("Hi").max_tokens(3);
    let bound = ask.json().to_string().len() as u64 + ALLOWANCE + 3;
    let ada = world.register_with(bound - 1).await;
    let answer = ada.chat(&ask).await;
    assert_eq!(answer.status, 429);
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "insufficient_quota");
    assert_eq!(error["code"], "insufficient_quota");
    let words = error["message"].as_str().expect("words");
    for figure in [bound, bound - 1] {
        assert!(words.contains(&figure.to_string()), "{figure} in {words}");
    }
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert_eq!(
        answer.headers["retry-after"], "3600",
        "a total limit does not come back by itself: who asks again at all asks seldom"
    );
    assert_eq!(
        answer.headers["x-ratelimit-limit-tokens"],
        (bound - 1).to_string()
    );
    assert_eq!(
        answer.headers["x-ratelimit-remaining-tokens"],
        (bound - 1).to_string()
    );
    assert_eq!(world.vllm().counts().requests, 0, "nothing was sent");

    world.limit(&ada, bound).await;
    let answer = ada.chat(&ask).await;
    assert_eq!(answer.status, 200, "the bound itself fits");
    assert_eq!(
        answer.headers["x-ratelimit-limit-tokens"],
        bound.to_string()
    );
    assert_eq!(
        answer.headers["x-ratelimit-remaining-tokens"], "0",
        "as long as it is held"
    );
    world.settle().await;
}

#[tokio::test]
async fn an_open_end_is_filled_with_what_is_left() {
    let world = World::start().await;
    for ask in [
        chat("Hi").with("ignore_eos", true),
        chat("Hi").with("ignore_eos", true).stream(),
    ] {
        let prompt = ask.json().to_string().len() as u64 + ALLOWANCE;
        let ada = world.register_with(prompt + 7).await;
        let answer = ada.open(&ask).await;
        assert_eq!(answer.status, 200);
        assert!(answer.to_end().await.whole);
        let sent = world.vllm().requests().pop().expect("it was sent");
        let sent: Value = serde_json::from_slice(&sent.body).expect("JSON");
        let bound = sent
            .get("max_completion_tokens")
            .or_else(|| sent.get("max_tokens"));
        assert_eq!(bound, Some(&json!(7)), "{sent}");
        world.settle().await;
        let used = world.used(&ada).await;
        assert!(used <= prompt + 7, "{used}");
        // One token is the least that makes sense.
        world.limit(&ada, used + prompt).await;
        assert_eq!(ada.chat(&ask).await.status, 429);
    }
    world.settle().await;
}

#[tokio::test]
async fn many_choices_are_held_for_each() {
    let world = World::start().await;
    let ask = chat("Hi").max_tokens(10).with("n", 4);
    let prompt = ask.json().to_string().len() as u64 + ALLOWANCE;
    let ada = world.register_with(prompt + 39).await;
    assert_eq!(ada.chat(&ask).await.status, 429);
    world.limit(&ada, prompt + 40).await;
    assert_eq!(ada.chat(&ask).await.status, 200);
    let absurd = ada.chat(&chat("Hi").max_tokens(1).with("n", 1000)).await;
    assert_eq!(absurd.status, 400, "{:?}", absurd.json());
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_400_in_openai_shape_and_reserves_nothing() {
    let world = World::start().await;
    let ada = world.register().await;
    let deep = format!(
        r#"{{"model":"tiny","messages":[],"x":{}{}}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    let hello = r#""messages":[{"role":"user","content":"Hi"}]"#;
    let bodies = [
        String::new(),
        "nonsense".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        deep,
        format!(r#"{{"model":"tiny",{hello},"model":"tiny"}}"#),
        format!(r#"{{"model":"tiny",{hello},"stream":"true"}}"#),
        format!(r#"{{"model":"tiny",{hello},"max_tokens":3.5}}"#),
        format!(r#"{{"model":"tiny",{hello},"max_tokens":-1}}"#),
        format!(r#"{{"model":"tiny",{hello},"stream_options":{{"include_usage":true}}}}"#),
        format!(r#"{{"model":"",{hello}}}"#),
        format!(r#"{{{hello}}}"#),
        format!("\u{feff}{{\"model\":\"tiny\",{hello}}}"),
    ];
    for body in bodies {
        let mut request = ada
            .client
            .request(Method::POST, "/v1/chat/completions", body.clone())
            .expect("a request");
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        let answer = ada.client.send(request).await.expect("an answer");
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.json());
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        assert!(error["message"].is_string(), "{body}");
    }
    assert_eq!(world.vllm().counts().requests, 0);
    assert_eq!(
        world.store().tally().batches,
        0,
        "the books were not touched"
    );
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let world = World::start().await;
    let ada = world.register().await;
    let kind = "content-type: application/json";
    let mut client = world.raw().await;
    let (key, length) = (&ada.key, (32 << 20) + 1);
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {key}\r\n{kind}");
    client
        .send(format!(
            "{head}\r\nhost: gate\r\ncontent-length: {length}\r\n\r\n{{"
        ))
        .await;
    let answer = client.until("\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 413"),
        "by its length alone: {answer}"
    );

    let body = "x".repeat((64 << 10) + 1);
    let mut client = world.raw().await;
    let head = format!("POST /api/v1/auth/login HTTP/1.1\r\n{kind}");
    let answer = client.request(&head, &body).await.until("\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 413"),
        "logins are short: {answer}"
    );

    let mut client = world.raw().await;
    client
        .send(format!(
            "{head}\r\nhost: gate\r\ncontent-length: {}\r\n\r\n{{",
            body.len()
        ))
        .await;
    let answer = client.until("\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 413"),
        "by its length alone, here too: {answer}"
    );
    world.settle().await;
}

#[tokio::test]
async fn a_body_of_another_kind_is_a_415() {
    let world = World::start().await;
    let ada = world.register().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let mut request = ada.request("/v1/chat/completions", &chat("Hi"));
        let value = http::HeaderValue::from_static(kind);
        request.headers_mut().insert("content-type", value);
        let answer = ada.client.send(request).await.expect("an answer");
        assert_eq!(answer.status, 415, "{kind}: {:?}", answer.json());
        assert!(answer.json()["error"].is_object());
    }
    world.settle().await;
}

#[tokio::test]
async fn every_answer_has_an_id_and_the_security_headers() {
    let world = World::start().await;
    let ada = world.register().await;
    let poor = world.register_with(1).await;
    world
        .vllm()
        .push(Answer::error(500, "InternalServerError", "no"));
    let call = chat("Hi").max_tokens(1).json();
    let nobody = world.client();
    let chats = "/v1/chat/completions";
    let answers = [
        (500, ada.post(chats, &call).await),
        (200, ada.post(chats, &call).await),
        (200, ada.get("/v1/models").await),
        (200, nobody.get("/health/live").await.expect("an answer")),
        (400, ada.post(chats, &json!({})).await),
        (401, nobody.post(chats, &call).await.expect("an answer")),
        (
            401,
            nobody.get("/api/v1/users/me").await.expect("an answer"),
        ),
        (404, ada.post("/v1/nothing", &call).await),
        (404, ada.get("/v1/models/nothing").await),
        (404, nobody.get("/nothing").await.expect("an answer")),
        (405, ada.get(chats).await),
        (
            405,
            nobody.get("/api/v1/auth/login").await.expect("an answer"),
        ),
        (429, poor.post(chats, &call).await),
    ];
    let mut ids = Vec::new();
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{:?}", answer.json());
        let headers = &answer.headers;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(
                headers.get(name).map(|value| value.as_bytes()),
                Some(value.as_bytes()),
                "{status} {name}"
            );
        }
        assert!(headers.contains_key("content-security-policy"), "{status}");
        assert!(!headers.contains_key("server"), "{status}");
        ids.push(headers["x-request-id"].clone());
    }
    let all = ids.len();
    ids.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    ids.dedup();
    assert_eq!(ids.len(), all, "no two requests have one id");
    world.settle().await;
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_in_the_shape_of_their_surface() {
    let world = World::start().await;
    let ada = world.register().await;
    for (path, status) in [
        ("/v1/nothing", 404),
        ("/v1/chat/completions/", 404),
        ("/v1/chat/completions", 405),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{path}: {:?}",
            answer.json()
        );
    }
    for (path, status) in [
        ("/api/v1/nothing", 404),
        ("/api/v1/auth/login", 405),
        ("/metrics", 404),
        ("/tokenize", 404),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(
            answer.json()["detail"].is_string(),
            "{path}: {:?}",
            answer.json()
        );
    }
    assert_eq!(
        ada.get("/v1/chat/completions").await.headers["allow"],
        "POST"
    );
    assert_eq!(world.vllm().counts().requests, 0);
}

#[tokio::test]
async fn a_clients_own_request_id_is_not_taken_for_ours() {
    let world = World::start().await;
    let ada = world.register().await;
    for _ in 0..2 {
        let mut request = ada.request("/v1/chat/completions", &chat("Hi").max_tokens(2));
        let theirs = http::HeaderValue::from_static("the same as ever");
        request.headers_mut().insert("x-request-id", theirs);
        let answer = ada.client.send(request).await.expect("an answer");
        assert_eq!(answer.status, 200);
        let id = answer.headers["x-request-id"].clone();
        assert_ne!(id, "the same as ever");
        let sent = world.vllm().requests().pop().expect("it was sent");
        assert_eq!(
            sent.header("x-request-id"),
            id.to_str().ok(),
            "the upstream logs ours"
        );
    }
    let totals = world.settle().await;
    assert_eq!(totals.settled, 2, "two requests of one name are two");
}
