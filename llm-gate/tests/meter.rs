//! The meter over recorded and made-up answers, cut into frames anywhere.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::call::{Call, CallLayer, Model, Models, Route};
use llm_gate::meter::TokenMeterLayer;
use llm_gate::test_util::ScriptedBody;
use llm_gate::tokens::{Metered, Usage};
use proptest::prelude::*;
use serde_json::Value;
use support::{Recorded, answer, chat_body, event, names, post, sse, usage};
use tower::{Layer, Service, ServiceExt, service_fn};

/// What came out of the meter.
#[derive(Debug, Default, PartialEq)]
struct Metering {
    out: Vec<u8>,
    /// After every frame.
    running: Vec<Option<Usage>>,
    usage: Option<Usage>,
    complete: bool,
    failed: bool,
    /// Whether the body had nothing to give for a moment.
    paused: bool,
}

impl Metering {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("UTF-8")
    }
}

/// Reads a request as [`CallLayer`] does; `None` if it refuses it.
fn understand(path: &str, body: &[u8]) -> Option<Call> {
    let models = Models::any(Model::new("").context_length(4096));
    let echo = service_fn(|request: Request<Full<Bytes>>| {
        let call = request.extensions().get::<Call>().cloned();
        std::future::ready(Ok::<_, std::convert::Infallible>(
            Response::builder()
                .extension(call.expect("a call"))
                .body(Full::<Bytes>::default())
                .expect("a response"),
        ))
    });
    let service = CallLayer::new(models).default_model("tiny").layer(echo);
    let response = service
        .oneshot(post(path, body.to_vec()))
        .now_or_never()
        .expect("nothing to wait for")
        .expect("infallible");
    response.extensions().get::<Call>().cloned()
}

fn chat(rest: &str) -> Option<Call> {
    Some(understand("/v1/chat/completions", chat_body(rest).as_bytes()).expect("valid"))
}

/// Meters an answer to `call`.
fn meter(call: Option<&Call>, response: Response<ScriptedBody>) -> Metering {
    let once = std::sync::Mutex::new(Some(response));
    let mut service = TokenMeterLayer::new().layer(service_fn(move |_: Request<()>| {
        let response = once.lock().expect("no panic").take().expect("called once");
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    }));
    let mut request = Request::new(());
    request.extensions_mut().extend(
        call.cloned()
            .map(|call| {
                let mut extensions = http::Extensions::new();
                extensions.insert(call);
                extensions
            })
            .unwrap_or_default(),
    );
    let response = service.call(request).now_or_never();
    let Ok(response) = response.expect("nothing to wait for");
    let metered = response
        .extensions()
        .get::<Metered>()
        .expect("a handle")
        .clone();
    let mut body = response.into_body();
    let mut metering = Metering::default();
    loop {
        let Some(frame) = body.frame().now_or_never() else {
            assert!(!metering.paused, "nothing to wait for");
            metering.paused = true;
            continue;
        };
        let Some(frame) = frame else { break };
        match frame {
            Ok(frame) => metering
                .out
                .extend_from_slice(&frame.into_data().expect("data")),
            Err(_) => metering.failed = true,
        }
        metering.running.push(metered.usage());
    }
    assert_eq!(
        metering.paused, metering.failed,
        "only an error is waited for"
    );
    metering.usage = metered.usage();
    metering.complete = metered.is_complete();
    metering
}

/// Meters a stream that comes in these frames.
fn stream(call: Option<&Call>, frames: &[&[u8]]) -> Metering {
    let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame));
    meter(call, sse(ScriptedBody::new(frames)))
}

/// Recorded streams with the calls they answer; without one where the gate refuses the request.
/// The recordings of the routes that are metered.
fn metered_names() -> impl Iterator<Item = String> {
    names().into_iter().filter(|name| {
        let request = Recorded::request(name);
        let path = request.first.split([' ', '?']).nth(1).unwrap_or_default();
        Route::of(&http::Method::POST, path).is_ok()
    })
}

fn streams() -> Vec<(String, Recorded, Option<Call>)> {
    let recorded = metered_names().filter_map(|name| {
        let response = Recorded::response(&name);
        if !response.is_stream() || response.is_cut() {
            return None;
        }
        let request = Recorded::request(&name);
        let path = request
            .first
            .split(' ')
            .nth(1)?
            .split('?')
            .next()?
            .to_owned();
        let call = understand(&path, &request.body);
        Some((name, response, call))
    });
    recorded.collect()
}

fn data(body: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(body)
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect()
}

fn figures(usage: &Value) -> Usage {
    let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        prompt: number("/prompt_tokens"),
        completion: number("/completion_tokens"),
        cached: number("/prompt_tokens_details/cached_tokens"),
        reasoning: number("/completion_tokens_details/reasoning_tokens"),
    }
}

fn asked(call: &Option<Call>) -> (bool, bool) {
    let asked = call.as_ref().map(Call::usage_asked);
    asked.map_or((true, true), |asked| {
        (asked.include, asked.include && asked.continuous)
    })
}

#[test]
fn there_are_recordings_of_every_kind() {
    let all = streams();
    assert!(all.len() >= 35, "{}", all.len());
    assert!(all.iter().filter(|(_, _, call)| call.is_some()).count() >= 30);
}

#[test]
fn what_was_asked_for_is_byte_for_byte_the_upstreams() {
    for (name, response, call) in streams() {
        let forced = name.starts_with("c_") && asked(&call) != (true, true);
        if forced || !response.whole {
            continue;
        }
        let metering = stream(call.as_ref(), &[&response.body]);
        assert_eq!(
            metering.text(),
            String::from_utf8_lossy(&response.body),
            "{name}: the client gets what it asked for and nothing else was there"
        );
    }
}

#[test]
fn usage_is_the_recorded_one_to_the_last_detail() {
    let mut with_usage = 0;
    for (name, response, call) in streams() {
        let events = data(&response.body);
        let last = events.iter().rev().find(|event| event["usage"].is_object());
        let metering = stream(call.as_ref(), &[&response.body]);
        match last {
            Some(last) if last["choices"].as_array().is_some_and(Vec::is_empty) => {
                assert_eq!(metering.usage, Some(figures(&last["usage"])), "{name}");
                with_usage += 1;
            }
            Some(_) => assert!(metering.usage.is_some(), "{name}"),
            None => assert_eq!(metering.usage, None, "{name}"),
        }
        let failed = events.iter().any(|event| event["error"].is_object());
        let done = response.body.ends_with(b"data: [DONE]\n\n");
        assert_eq!(
            metering.complete,
            done && !failed,
            "{name}: [DONE] is not success"
        );
    }
    assert!(with_usage >= 15, "{with_usage}");
    let cached = stream(
        None,
        &[&Recorded::response("b_cached_stream_usage_continuous").body],
    );
    assert!(
        cached.usage.expect("reported").cached > 0,
        "cached tokens are read"
    );
    let thought = stream(
        None,
        &[&Recorded::response("c_reasoning_stream_usage").body],
    );
    assert!(
        thought.usage.expect("reported").reasoning > 0,
        "reasoning is read"
    );
}

#[test]
fn the_running_usage_is_the_sum_over_the_choices() {
    for (name, response, call) in streams() {
        let events: Vec<&[u8]> = response
            .body
            .split_inclusive(|&byte| byte == b'\n')
            .collect();
        // One frame an event: two lines, the second one blank.
        let frames: Vec<Vec<u8>> = events.chunks(2).map(<[&[u8]]>::concat).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let metering = stream(call.as_ref(), &frames);
        let mut last = Usage::default();
        for usage in metering.running.iter().flatten() {
            assert!(
                usage.prompt >= last.prompt && usage.completion >= last.completion,
                "{name}: what was reported stays reported"
            );
            last = *usage;
        }
        if metering.text().as_bytes() != response.body {
            continue;
        }
        // Nothing was taken out, so frame k is event k.
        let n = call.as_ref().map_or(1, Call::choices_per_prompt);
        let (mut choices, mut prompts) = (BTreeMap::new(), BTreeMap::new());
        for (frame, running) in frames.iter().zip(&metering.running) {
            for event in data(frame)
                .iter()
                .filter(|event| event["usage"].is_object())
            {
                let usage = figures(&event["usage"]);
                if let Some(index) = event["choices"][0]["index"].as_u64() {
                    choices.insert(index, usage.completion);
                    prompts.insert(index / n, usage.prompt);
                    let running = running.expect("reported");
                    assert_eq!(running.completion, choices.values().sum::<u64>(), "{name}");
                    assert_eq!(running.prompt, prompts.values().sum::<u64>(), "{name}");
                }
            }
        }
    }
}

#[test]
fn any_cut_into_two_frames_gives_the_same() {
    for (name, response, call) in streams() {
        let whole = stream(call.as_ref(), &[&response.body]);
        for at in 1..response.body.len() {
            let (first, second) = response.body.split_at(at);
            let cut = stream(call.as_ref(), &[first, second]);
            assert!(cut.out == whole.out, "{name} cut at {at}: other bytes");
            assert_eq!(cut.usage, whole.usage, "{name} cut at {at}");
            assert_eq!(cut.complete, whole.complete, "{name} cut at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_cut_into_many_frames_gives_the_same(which in 0_usize..1000, cuts in prop::collection::vec(1_usize..400, 1..80)) {
        let mut all = streams();
        let (name, response, call) = all.swap_remove(which % all.len());
        let whole = stream(call.as_ref(), &[&response.body]);
        let (mut frames, mut rest) = (Vec::new(), &response.body[..]);
        for cut in cuts.iter().cycle() {
            let (frame, behind) = rest.split_at((*cut).min(rest.len()));
            frames.push(frame);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let cut = stream(call.as_ref(), &frames);
        prop_assert!(cut.out == whole.out, "{}", name);
        prop_assert_eq!(cut.usage, whole.usage);
        prop_assert_eq!(cut.complete, whole.complete);
    }
}

/// Takes out what differs between two recordings of the same request.
fn alike(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for (name, end) in [("\"id\":\"", '"'), ("\"created\":", ',')] {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(name) {
            let value = at + name.len();
            out.push_str(&rest[..value]);
            rest = &rest[value + rest[value..].find(end).expect("an end")..];
        }
        text = out + rest;
    }
    text
}

#[test]
fn what_was_not_asked_for_leaves_no_trace() {
    for (asked, answered) in [
        ("chat_stream", "chat_stream_usage"),
        ("chat_stream", "chat_stream_usage_continuous"),
        ("chat_stream_usage", "chat_stream_usage_continuous"),
        ("completions_stream", "completions_stream_usage"),
        ("completions_stream", "completions_stream_usage_continuous"),
        (
            "completions_stream_usage",
            "completions_stream_usage_continuous",
        ),
        (
            "completions_list_stream_usage",
            "completions_list_stream_usage_continuous",
        ),
        ("chat_n2_stream_usage", "chat_n2_stream_usage_continuous"),
        ("b_cached_stream_no_usage", "b_cached_stream_usage"),
        (
            "b_cached_stream_no_usage",
            "b_cached_stream_usage_continuous",
        ),
        ("b_cached_stream_usage", "b_cached_stream_usage_continuous"),
    ] {
        let request = Recorded::request(asked);
        let path = request.first.split(' ').nth(1).expect("a path");
        let call = understand(path, &request.body).expect("valid");
        let expected = Recorded::response(asked);
        let full = Recorded::response(answered);
        let metering = stream(Some(&call), &[&full.body]);
        if ["n2", "list", "cached"]
            .iter()
            .any(|other| asked.contains(other))
        {
            // The choices came in another order, or fewer tokens were asked for.
            assert_eq!(
                metering.text().matches("\"usage\"").count(),
                usize::from(!asked.contains("no_usage")),
                "{asked}"
            );
            continue;
        }
        assert_eq!(
            alike(&metering.out),
            alike(&expected.body),
            "{answered} stripped is {asked}"
        );
        let usage = data(&full.body)
            .iter()
            .rev()
            .find(|event| event["usage"].is_object())
            .map(|event| figures(&event["usage"]));
        assert_eq!(metering.usage, usage, "it is metered all the same");
    }
}

#[test]
fn usage_that_an_upstream_sends_unasked_goes() {
    for name in [
        "c_chat_stream_no_options",
        "c_chat_stream_usage_false",
        "c_completions_stream_no_options",
        "c_chat_n2_stream_no_options",
    ] {
        let (_, response, call) = streams()
            .into_iter()
            .find(|(found, ..)| found == name)
            .expect("recorded");
        let metering = stream(call.as_ref(), &[&response.body]);
        assert!(!metering.text().contains("\"usage\""), "{name}");
        assert!(
            metering.text().contains("\"system_fingerprint\""),
            "{name}: it moves"
        );
        for event in metering
            .text()
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: {"))
        {
            let event: Result<Value, _> = serde_json::from_str(&format!("{{{event}"));
            assert!(event.is_ok(), "{name}: what is left is JSON");
        }
        assert!(metering.usage.is_some_and(|usage| usage.completion > 0));
    }
}

#[test]
fn recorded_json_answers_pass_and_are_read() {
    let mut read = 0;
    for name in metered_names() {
        let response = Recorded::response(&name);
        let kind = response
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        if response.status() != 200 || response.is_stream() || !response.whole || response.is_cut()
        {
            continue;
        }
        let made = Response::builder()
            .header("content-type", &kind)
            .header("metadata", response.header("metadata").unwrap_or("none"))
            .body(ScriptedBody::new([response.body.clone()]))
            .expect("a response");
        let metering = meter(None, made);
        assert_eq!(metering.out, response.body, "{name}");
        let usage = serde_json::from_slice::<Value>(&response.body)
            .ok()
            .or_else(|| serde_json::from_str(response.header("metadata")?).ok())
            .and_then(|all| {
                all.get("usage")
                    .filter(|usage| usage.is_object())
                    .map(figures)
            });
        assert_eq!(metering.usage, usage, "{name}");
        read += usize::from(usage.is_some());
    }
    assert!(read >= 45, "{read}");
}

#[test]
fn refusals_pass_untouched() {
    let body = r#"{"error":{"message":"usage","code":400},"usage":{"prompt_tokens":9}}"#;
    let metering = meter(
        None,
        answer(400, "application/json", ScriptedBody::new([body])),
    );
    assert_eq!(
        (metering.text(), metering.usage),
        (body, None),
        "nothing was served"
    );
}

#[test]
fn the_content_type_alone_says_what_is_a_stream() {
    let stream_asked = chat(r#","stream":true"#);
    let body = format!("{{\"choices\":[],{}}}", usage(3, 4));
    let metering = meter(
        stream_asked.as_ref(),
        answer(
            200,
            "Application/JSON; charset=utf-8",
            ScriptedBody::new([body.clone()]),
        ),
    );
    assert_eq!(metering.text(), body);
    assert_eq!(metering.usage.map(|usage| usage.total().get()), Some(7));
    let events = format!("data: {body}\n\n");
    let metering = meter(
        chat("").as_ref(),
        answer(200, "TEXT/event-stream", ScriptedBody::new([events])),
    );
    assert_eq!(metering.usage.map(|usage| usage.total().get()), Some(7));
}

#[test]
fn comments_and_unknown_fields_pass_at_once() {
    let call = chat(r#","stream":true"#);
    for frame in [
        ": keep-alive\n\n",
        ":\n\n",
        "event: ping\ndata: x\n\n",
        "id: 1\nretry: 5\n\n",
        "\n",
    ] {
        let metering = stream(call.as_ref(), &[frame.as_bytes()]);
        assert_eq!(metering.text(), frame);
        assert_eq!(metering.running.len(), 1, "in one frame, not held back");
    }
}

#[test]
fn continuous_usage_alone_is_as_good_as_nothing() {
    let call = chat(r#","stream":true,"stream_options":{"continuous_usage_stats":true}"#);
    let all = event("a", &format!(",{}", usage(3, 1))) + "data: [DONE]\n\n";
    let metering = stream(call.as_ref(), &[all.as_bytes()]);
    assert_eq!(
        metering.text(),
        event("a", "") + "data: [DONE]\n\n",
        "as vLLM without include_usage"
    );
}

#[test]
fn null_usage_goes_unless_it_was_asked_for() {
    let all = event("a", ",\"usage\":null")
        + &format!(
            "data: {{\"choices\":[],{}}}\n\ndata: [DONE]\n\n",
            usage(3, 1)
        );
    let stripped = stream(chat(r#","stream":true"#).as_ref(), &[all.as_bytes()]);
    assert_eq!(stripped.text(), event("a", "") + "data: [DONE]\n\n");
    let kept = chat(r#","stream":true,"stream_options":{"include_usage":true}"#);
    assert_eq!(
        stream(kept.as_ref(), &[all.as_bytes()]).text(),
        all,
        "OpenAI's own form"
    );
    assert_eq!(stripped.usage.map(|usage| usage.total().get()), Some(4));
}

#[test]
fn line_ends_of_any_kind_are_kept() {
    let lf = event("a", &format!(",{}", usage(3, 1)))
        + ": c\n\n"
        + &event("b", &format!(",{}", usage(3, 2)))
        + "data: [DONE]\n\n";
    let plain = stream(chat(r#","stream":true"#).as_ref(), &[lf.as_bytes()]);
    for end in ["\r\n", "\r"] {
        let all = lf.replace('\n', end);
        for at in 1..all.len() {
            let (first, second) = all.as_bytes().split_at(at);
            let metering = stream(chat(r#","stream":true"#).as_ref(), &[first, second]);
            assert_eq!(
                metering.text(),
                plain.text().replace('\n', end),
                "cut at {at}"
            );
            assert_eq!((metering.usage, metering.complete), (plain.usage, true));
        }
    }
}

#[test]
fn an_error_event_passes_and_is_no_success() {
    let all = event("a", &format!(",{}", usage(3, 1)))
        + "data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\ndata: [DONE]\n\n";
    let metering = stream(None, &[all.as_bytes()]);
    assert_eq!(metering.text(), all);
    assert!(!metering.complete);
    assert_eq!(metering.usage.map(|usage| usage.total().get()), Some(4));
}

#[test]
fn an_event_without_end_becomes_an_error() {
    let before = event("a", &format!(",{}", usage(3, 1)));
    let asked = chat(
        r#","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#,
    );
    let endless = "data: ".to_owned() + &"x".repeat((1 << 20) + 100);
    // In frames of its own, and in the frame of an event that is whole.
    let together = before.clone() + &endless;
    let apart: Vec<&[u8]> = std::iter::once(before.as_bytes())
        .chain(endless.as_bytes().chunks(1 << 16))
        .collect();
    for frames in [vec![together.as_bytes()], apart] {
        let metering = stream(asked.as_ref(), &frames);
        let text = metering.text();
        assert!(text.starts_with(&before), "what was whole is delivered");
        assert!(
            text.len() < before.len() + 300,
            "and the rest is not: {} bytes",
            text.len()
        );
        assert!(
            text.contains("\"error\"") && !text.contains("[DONE]"),
            "{text}"
        );
        assert!(!metering.complete);
        assert_eq!(metering.usage.map(|usage| usage.total().get()), Some(4));
    }
}

#[test]
fn an_upstream_that_breaks_off_ends_in_an_error() {
    let body = ScriptedBody::new([event("a", "")]).error("reset");
    let metering = meter(chat(r#","stream":true"#).as_ref(), sse(body));
    assert!(
        metering.paused,
        "the server writes the event before it meets the error"
    );
    assert!(metering.failed, "the connection closes");
    assert!(
        metering.text().ends_with("\"code\":\"bad_gateway\"}}\n\n"),
        "{}",
        metering.text()
    );
}

#[test]
fn text_that_looks_like_usage_is_text() {
    let text = r#"\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9}}"#;
    let all = event(text, "");
    let metering = stream(chat(r#","stream":true"#).as_ref(), &[all.as_bytes()]);
    assert_eq!((metering.text(), metering.usage), (all.as_str(), None));
}

proptest! {
    #[test]
    fn any_bytes_pass_unharmed(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..300) {
        // Nothing panics, and complete events go on as they are.
        let asked = chat(r#","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#);
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        let metering = stream(asked.as_ref(), &[first, second]);
        prop_assert!(bytes.starts_with(&metering.out));
        stream(chat(r#","stream":true"#).as_ref(), &[first, second]);
        meter(None, answer(200, "application/json", ScriptedBody::new([bytes])));
    }

    #[test]
    fn any_text_of_json_pieces_passes_unharmed(text in "(data: |\\n|\\n\\n|\\{|\\}|\"usage\"|:|,|\"choices\":\\[|\\]|\"finish_reason\":\"stop\"|\"prompt_tokens\":1|\"|\\\\|null|\"system_fingerprint\":\"f\"){0,40}") {
        let all = text.as_bytes();
        for at in 0..=all.len() {
            if text.is_char_boundary(at) {
                let (first, second) = all.split_at(at);
                let (a, b) = (stream(None, &[all]), stream(None, &[first, second]));
                prop_assert_eq!(&a.out, &b.out);
                prop_assert_eq!(a.usage, b.usage);
                let call = chat(r#","stream":true"#);
                let (a, b) = (stream(call.as_ref(), &[all]), stream(call.as_ref(), &[first, second]));
                prop_assert_eq!(a.out, b.out);
                prop_assert_eq!(a.usage, b.usage);
            }
        }
    }
}
