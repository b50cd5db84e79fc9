//! Streams, usage and the server's own counts.

#[expect(dead_code, reason = "each test uses its part of the client")]
mod support;

use std::time::Duration;

use scripted_vllm::{Answer, Config, Counts, Figure, Gate, UsageMode};
use serde_json::Value;
use support::{Client, config, start};

const HOUR: Duration = Duration::from_secs(3600);
const USAGE: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;
const RUNNING: &str =
    r#","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#;

fn data(event: &str) -> Value {
    let data = event.strip_prefix("data: ").expect("data");
    serde_json::from_str(data).expect("JSON")
}

fn tokens(usage: &Value) -> (u64, u64) {
    let member = |name: &str| usage[name].as_u64().expect("a number");
    (member("prompt_tokens"), member("completion_tokens"))
}

fn counted(counts: Counts) -> (u64, u64) {
    (counts.prompt_tokens, counts.completion_tokens)
}

#[tokio::test]
async fn counts_are_what_usage_reports() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(USAGE).await;
    client.head().await;
    let events = client.events().await;
    let usage = data(&events[events.len() - 2]);
    assert_eq!(tokens(&usage["usage"]), (11, 17));
    assert_eq!(counted(vllm.counts()), (11, 17));

    client.chat("").await;
    let body: Value = serde_json::from_str(&client.body().await).expect("JSON");
    assert_eq!(tokens(&body["usage"]), (11, 17));
    let counts = vllm.counts();
    assert_eq!(counted(counts), (22, 34));
    assert_eq!(
        (
            counts.requests,
            counts.finished,
            counts.active,
            counts.aborted
        ),
        (2, 2, 0, 0)
    );
}

#[tokio::test]
async fn running_usage_counts_each_choice_by_itself() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    client
        .chat(&format!(r#"{RUNNING},"n":2,"max_tokens":6"#))
        .await;
    client.head().await;
    let mut events = client.events().await;
    assert_eq!(events.pop().as_deref(), Some("data: [DONE]"));
    let last = data(&events.pop().expect("the usage event"));
    assert_eq!(last["choices"], Value::Array(Vec::new()));
    assert_eq!(
        tokens(&last["usage"]),
        (11, 12),
        "the prompt once, the completions summed"
    );
    let mut seen = [0, 0];
    for event in &events {
        let event = data(event);
        let index = usize::from(event["choices"][0]["index"] == 1);
        let (prompt, completion) = tokens(&event["usage"]);
        assert_eq!(prompt, 11);
        assert!(
            completion == 0 || completion == seen[index] + 1,
            "one token each"
        );
        seen[index] = completion;
    }
    assert_eq!(seen, [6, 6]);
    assert_eq!(counted(vllm.counts()), (11, 12));
}

#[tokio::test]
async fn running_usage_of_several_prompts_counts_each_prompt_by_itself() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    let body =
        format!(r#"{{"model":"tiny","prompt":[[1,2,3],[4]],"n":2,"max_tokens":2{RUNNING}}}"#);
    client.post("/v1/completions", &body).await;
    client.head().await;
    let mut events = client.events().await;
    events.pop();
    let last = data(&events.pop().expect("the usage event"));
    assert_eq!(tokens(&last["usage"]), (4, 8));
    for event in &events {
        let event = data(event);
        let first = event["choices"][0]["index"].as_u64().expect("an index") < 2;
        assert_eq!(tokens(&event["usage"]).0, if first { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_stream_without_options_has_no_usage() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    client.head().await;
    let events = client.events().await;
    assert!(
        events.iter().all(|event| !event.contains("usage")),
        "{events:?}"
    );
    assert!(events[events.len() - 2].contains("system_fingerprint"));
    assert_eq!(counted(vllm.counts()), (11, 17), "counted all the same");
}

#[tokio::test]
async fn an_event_can_hold_several_tokens() {
    let vllm = start(config(|config| config.tokens_per_event = 4)).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(RUNNING).await;
    client.head().await;
    let events = client.events().await;
    assert_eq!(events.len(), 8, "role, four with text, end, usage, done");
    assert_eq!(tokens(&data(&events[1])["usage"]), (11, 4));
    assert_eq!(tokens(&data(&events[6])["usage"]), (11, 17));
}

#[tokio::test]
async fn a_whole_bound_is_reported_whatever_is_generated() {
    let usage = UsageMode::WholeBound {
        prompt: Figure::new(|asked| asked.body.len() as u64),
        completion: Figure::max_tokens(),
    };
    let vllm = start(config(|config| config.usage = usage)).await;
    let mut client = Client::connect(&vllm).await;
    for members in [
        r#","max_tokens":1001,"n":3"#.to_owned(),
        format!(r#"{RUNNING},"max_tokens":1001,"n":3"#),
    ] {
        let before = vllm.counts();
        client.chat(&members).await;
        let body = client.body().await;
        assert!(body.contains("\"completion_tokens\":3003"), "{body}");
        let after = vllm.counts();
        assert_eq!(after.completion_tokens - before.completion_tokens, 3003);
        let length = vllm
            .requests()
            .last()
            .map_or(0, |request| request.body.len() as u64);
        assert_eq!(after.prompt_tokens - before.prompt_tokens, length);
    }
}

#[tokio::test]
async fn a_refused_request_generates_nothing() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","max_tokens":0"#).await;
    assert!(client.head().await.starts_with("HTTP/1.1 400"));
    assert_eq!(counted(vllm.counts()), (0, 0));
    assert_eq!(vllm.counts().finished, 1);
}

#[tokio::test]
async fn a_prompt_and_limit_beyond_the_context_are_refused() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","max_tokens":4086"#).await;
    let body = client.body().await;
    assert!(
        body.contains("(parameter=input_tokens, value=11)"),
        "{body}"
    );
    client.chat(r#","max_tokens":4085,"ignore_eos":true"#).await;
    let body = client.body().await;
    assert!(body.contains("\"completion_tokens\":4085"), "{body}");
    let long = format!(r#"{{"prompt":"{}"}}"#, "a ".repeat(5000));
    client.post("/v1/completions", &long).await;
    assert!(
        client
            .body()
            .await
            .contains("your prompt contains at least 4097 input tokens")
    );
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_is_counted_as_aborted() {
    let vllm = start(Config::default()).await;
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    assert!(
        client.head().await.starts_with("HTTP/1.1 200"),
        "the head comes before any event"
    );
    key.release_many(4);
    for _ in 0..4 {
        assert!(client.event().await.is_some());
    }
    assert_eq!(vllm.counts().active, 1);
    drop(client);
    vllm.until(|counts| counts.aborted == 1).await;
    let counts = vllm.counts();
    assert_eq!(
        counted(counts),
        (11, 3),
        "a role and three tokens were written"
    );
    assert_eq!((counts.active, counts.finished, counts.events), (0, 0, 4));
    vllm.until(|counts| counts.connections == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_event_leaves_no_tokens() {
    let vllm = start(Config::default()).await;
    for members in [r#","stream":true"#, ""] {
        let before = vllm.counts();
        let (gate, _key) = Gate::new();
        vllm.push(Answer::Lockstep { gate });
        let mut client = Client::connect(&vllm).await;
        client.chat(members).await;
        vllm.until(|counts| counts.active == 1).await;
        drop(client);
        vllm.until(|counts| counts.aborted == before.aborted + 1)
            .await;
        assert_eq!(counted(vllm.counts()), (0, 0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_a_pause_is_noticed_at_once() {
    let vllm = start(config(|config| config.pace = HOUR)).await;
    for (members, tokens) in [(r#","stream":true"#, (11, 0)), ("", (0, 0))] {
        let before = vllm.counts();
        let mut client = Client::connect(&vllm).await;
        client.chat(members).await;
        vllm.until(|counts| counts.active == 1).await;
        if !members.is_empty() {
            client.head().await;
            client.event().await;
        }
        drop(client);
        vllm.until(|counts| counts.aborted == before.aborted + 1)
            .await;
        let after = vllm.counts();
        assert_eq!(after.prompt_tokens - before.prompt_tokens, tokens.0);
        assert_eq!(after.completion_tokens - before.completion_tokens, tokens.1);
    }
}

#[tokio::test]
async fn a_paced_answer_counts_all_its_tokens() {
    let vllm = start(config(|config| config.pace = Duration::from_micros(1))).await;
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    client.body().await;
    assert_eq!(counted(vllm.counts()), (11, 17));
}

#[tokio::test]
async fn a_silent_stream_sends_comments() {
    let slow = config(|config| {
        config.pace = HOUR;
        config.keep_alive_comments = Some(Duration::from_millis(1));
    });
    let vllm = start(slow).await;
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    client.head().await;
    assert!(
        client
            .event()
            .await
            .expect("the role")
            .contains("assistant")
    );
    assert_eq!(client.event().await.as_deref(), Some(": keep-alive"));
    assert_eq!(client.event().await.as_deref(), Some(": keep-alive"));
}

#[tokio::test]
async fn embeddings_count_their_prompts_however_they_are_encoded() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    for encoding in ["float", "base64", "bytes", "bytes_only"] {
        let body = format!(
            r#"{{"model":"tiny","input":["one two",[1,2,3]],"encoding_format":"{encoding}"}}"#
        );
        let request = format!(
            "POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = vllm.counts();
        let mut other = Client::connect(&vllm).await;
        other.send(request.as_bytes()).await;
        let head = other.head().await;
        assert_eq!(
            head.contains("\r\nmetadata: {"),
            encoding == "bytes",
            "{head}"
        );
        assert_eq!(vllm.counts().prompt_tokens - before.prompt_tokens, 5);
    }
    client
        .post("/v1/embeddings", r#"{"input":["one two",[1,2,3]]}"#)
        .await;
    assert!(
        client
            .body()
            .await
            .contains(r#""usage":{"prompt_tokens":5,"total_tokens":5,"completion_tokens":0,"#)
    );
}
