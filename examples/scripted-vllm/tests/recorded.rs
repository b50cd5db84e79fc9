//! Generated answers against the recordings: the same requests, byte for byte the same answers once
//! identifiers and times are masked.

#[expect(dead_code, reason = "each test uses its part of the client")]
mod support;

use std::path::Path;

use scripted_vllm::Config;
use support::{Client, config, start, text};

/// Answers that are equal in every byte, chunk sizes included.
const EXACT: &[&str] = &[
    "models",
    "health",
    "health_head",
    "version",
    "unknown_path",
    "models_trailing_slash",
    "chat",
    "chat_get",
    "chat_stream",
    "chat_stream_usage",
    "chat_stream_usage_continuous",
    "chat_stream_usage_false",
    "chat_stream_string_true",
    "chat_n2",
    "chat_max_tokens_stream_usage",
    "chat_max_both",
    "chat_max_tokens_zero",
    "chat_max_tokens_negative",
    "chat_max_tokens_too_large",
    "chat_stream_options_without_stream",
    "chat_unknown_model_stream",
    "chat_missing_messages",
    "chat_empty_messages",
    "chat_n_zero",
    "chat_stop",
    "chat_stop_include",
    "chat_body_duplicate_keys",
    "chat_body_bom",
    "chat_body_array",
    "chat_body_trailing_garbage",
    "chat_body_not_utf8",
    "chat_invalid_json",
    "chat_empty_body",
    "chat_content_type_text",
    "chat_connection_close",
    "chat_http10_stream",
    "chat_request_expect_100",
    "chat_request_chunked",
    "chat_request_id_header_odd",
    "completions_string",
    "completions_stream_usage",
    "completions_stream_usage_continuous",
    "completions_echo",
    "completions_empty_list",
    "completions_empty_prompt",
    "completions_unknown_model",
    "d_embeddings_dimensions",
    "d_embeddings_empty",
    "d_embeddings_unknown_model",
];

/// Answers whose members are equal in name and order, but whose figures, texts or order of events
/// are the model's own.
const SAME_SHAPE: &[&str] = &[
    "chat_n2_stream_usage_continuous",
    "chat_tools_auto",
    "chat_tools_auto_stream_usage",
    "chat_tools_required",
    "chat_tools_named_stream_usage",
    "completions_list_stream_usage_continuous",
    "d_embeddings_string",
    "d_embeddings_list",
];

#[tokio::test]
async fn answers_have_the_recorded_bytes() {
    compare(Config::default(), EXACT, mask).await;
}

#[tokio::test]
async fn answers_have_the_recorded_shape() {
    compare(Config::default(), SAME_SHAPE, shape).await;
}

#[tokio::test]
async fn answers_of_a_reasoning_server_that_forces_usage_have_the_recorded_shape() {
    let forced = config(|config| (config.reasoning, config.force_include_usage) = (true, true));
    compare(
        forced,
        &["c_reasoning", "c_reasoning_stream_usage"],
        |text| mask(&measured(text)),
    )
    .await;
    let forced = config(|config| config.force_include_usage = true);
    compare(forced, &["c_completions_stream_no_options"], |text| {
        mask(&measured(text))
    })
    .await;
}

#[tokio::test]
async fn cached_tokens_come_in_the_recorded_members() {
    let cached = config(|config| config.cached_tokens = Some(640));
    compare(cached, &["b_cached_stream_usage_continuous"], shape).await;
}

#[tokio::test]
async fn a_wrong_key_gets_the_recorded_refusal() {
    let guarded = config(|config| config.api_key = Some("sk-upstream-1".to_owned()));
    compare(guarded, &["b_models_no_key"], mask).await;
}

#[tokio::test]
async fn a_dying_engine_ends_as_recorded() {
    let recorded = fixture("k_engine_killed_mid_stream.response.txt");
    let vllm = start(Config::default()).await;
    vllm.push(scripted_vllm::Answer::Fails {
        after: 2,
        fault: scripted_vllm::Fault::Engine,
    });
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    let answer = client.answer(false).await;
    let end = "a9\r\ndata: {\"error\":";
    let from = |text: &str| text.rfind(end).map(|at| text[at..].to_owned());
    assert_eq!(from(&answer), from(&text(&recorded)));
    assert!(from(&answer).is_some(), "{answer}");

    vllm.push(scripted_vllm::Answer::Fails {
        after: 0,
        fault: scripted_vllm::Fault::Engine,
    });
    client.chat("").await;
    let answer = client.answer(false).await;
    assert_eq!(
        mask(&answer),
        mask(&text(&fixture("k_engine_killed_non_stream.response.txt")))
    );
}

/// Sends the recorded requests to a server and compares what comes back.
async fn compare(config: Config, names: &[&str], masked: impl Fn(&str) -> String) {
    let vllm = start(config).await;
    for name in names {
        let request = fixture(&format!("{name}.request.txt"));
        let recorded = fixture(&format!("{name}.response.txt"));
        let mut client = Client::connect(&vllm).await;
        client.send(&request).await;
        let answer = client.answer(request.starts_with(b"HEAD")).await;
        assert_eq!(masked(&answer), masked(&text(&recorded)), "{name}");
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Masks what no two answers share: date, identifiers, times. The lengths stay.
fn mask(answer: &str) -> String {
    let lines = answer
        .split("\r\n")
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("x-request-id: "));
    let mut text = lines.collect::<Vec<_>>().join("\r\n");
    for mark in [
        "\"id\":\"chatcmpl-tool-",
        "\"id\":\"chatcmpl-",
        "\"id\":\"cmpl-",
        "\"id\":\"embd-",
        "\"id\":\"modelperm-",
    ] {
        text = replace(&text, mark, |rest| {
            let digits = rest.chars().take_while(char::is_ascii_hexdigit).count();
            (digits == 16).then_some((16, "0123456789abcdef"))
        });
    }
    replace(&text, "\"created\":", |_| Some((10, "1234567890")))
}

/// Masks figures, texts, vectors and lengths as well, and the order of events.
fn shape(answer: &str) -> String {
    let digits = |rest: &str| Some((rest.chars().take_while(char::is_ascii_digit).count(), "0"));
    let mut text = mask(answer);
    for mark in [
        "prompt_tokens\":",
        "cached_tokens\":",
        "total_tokens\":",
        "completion_tokens\":",
        "content-length: ",
    ] {
        text = replace(&text, mark, digits);
    }
    text = replace(&text, "\"text\":\"", |rest| Some((rest.find('"')?, "")));
    text = replace(&text, "\"embedding\":[", |rest| Some((rest.find(']')?, "")));
    let mut lines: Vec<_> = text.split("\r\n").filter(|line| !is_size(line)).collect();
    lines.sort_unstable();
    lines.join("\r\n")
}

/// Takes the measurements away that a flag of the recorded server added, and the lengths with them.
fn measured(answer: &str) -> String {
    let cut = replace(answer, ",\"metrics\":", |rest| {
        rest.starts_with('{')
            .then(|| (rest.find('}').map_or(0, |at| at + 1), "null"))
    });
    let cut = cut.replace(",\"metrics\":null", "");
    let lines = cut
        .split("\r\n")
        .filter(|line| !is_size(line) && !line.starts_with("content-length"));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Whether a line is the size of a chunk.
fn is_size(line: &str) -> bool {
    line.len() > 1 && usize::from_str_radix(line, 16).is_ok()
}

/// Replaces what follows each `mark`: as many bytes as `with` says, by its text.
fn replace<'a>(text: &str, mark: &str, with: impl Fn(&str) -> Option<(usize, &'a str)>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, after) = rest.split_at(at + mark.len());
        out.push_str(before);
        rest = after;
        if let Some((length, other)) = with(rest) {
            out.push_str(other);
            rest = &rest[length..];
        }
    }
    out + rest
}
