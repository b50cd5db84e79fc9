//! Reading a request: what is refused and how, what is understood, and that the client's bytes survive.

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::body::GateBody;
use llm_gate::call::{Call, CallLayer, EditLayer, Model, Models, Route};
use llm_gate::test_util::{BodyEnd, BodyGate, ScriptedBody};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::{Recorded, chat, chat_body, collect, error_of, fixtures, models, names, post};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// Answers with the call that was understood.
async fn echo(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let call = request.extensions().get::<Call>().cloned();
    let body = request.into_body();
    Ok(Response::builder()
        .extension(call.expect("a call"))
        .body(body)
        .expect("a response"))
}

fn tiny() -> CallLayer {
    CallLayer::new(Models::fixed([
        Model::new("tiny").context_length(4096),
        Model::new("unbounded"),
    ]))
}

async fn send<B>(layer: CallLayer, request: Request<B>) -> Response<GateBody<Full<Bytes>>>
where
    B: http_body::Body<Data = Bytes>,
{
    let Ok(response) = layer.layer(service_fn(echo)).oneshot(request).await;
    response
}

/// The status, and the error's `param`.
async fn refusal(layer: CallLayer, request: Request<Full<Bytes>>) -> (u16, Value) {
    let (status, body) = collect(send(layer, request).await).await;
    assert!(
        status.is_client_error() || status.is_server_error(),
        "{body}"
    );
    let error = error_of(&body);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| !words.is_empty())
    );
    (status.as_u16(), error["param"].clone())
}

fn understand(path: &str, body: &str) -> Call {
    let response = send(tiny(), post(path, body.to_owned())).now_or_never();
    let response = response.expect("nothing to wait for");
    assert_eq!(response.status(), 200, "{body}");
    response.extensions().get::<Call>().expect("a call").clone()
}

#[tokio::test]
async fn what_is_no_route_is_a_404() {
    for path in [
        "/",
        "/v1/chat/completions/",
        "//v1/completions",
        "/v1/models",
        "/tokenize",
        "/v1/responses",
    ] {
        assert_eq!(refusal(tiny(), post(path, "{}")).await.0, 404, "{path}");
    }
    let query = post("/v1/chat/completions?a=b", chat_body(""));
    assert_eq!(
        send(tiny(), query).await.status(),
        200,
        "a query is not part of the path"
    );
}

#[tokio::test]
async fn another_method_is_a_405_that_names_the_right_one() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
        let mut request = chat("");
        *request.method_mut() = method.parse().expect("a method");
        let response = send(tiny(), request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &HeaderValue::from_static("POST")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn only_json_in_utf_8_is_read() {
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json; x=y",
    ] {
        let mut request = chat("");
        request
            .headers_mut()
            .insert("content-type", kind.parse().expect("a header"));
        assert_eq!(send(tiny(), request).await.status(), 200, "{kind}");
    }
    for kind in [
        "text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        let mut request = chat("");
        request
            .headers_mut()
            .insert("content-type", kind.parse().expect("a header"));
        assert_eq!(refusal(tiny(), request).await.0, 415, "{kind}");
    }
    let mut none = chat("");
    none.headers_mut().remove("content-type");
    assert_eq!(refusal(tiny(), none).await.0, 415, "none at all");
    let mut two = chat("");
    two.headers_mut()
        .append("content-type", HeaderValue::from_static("application/json"));
    assert_eq!(
        refusal(tiny(), two).await.0,
        415,
        "two readers might take different ones"
    );
    let mut opaque = chat("");
    opaque.headers_mut().insert(
        "content-type",
        HeaderValue::from_bytes(b"application/json\xff").expect("a header"),
    );
    assert_eq!(refusal(tiny(), opaque).await.0, 415, "not text");
    let mut zipped = chat("");
    zipped
        .headers_mut()
        .insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(refusal(tiny(), zipped).await.0, 415);
    let mut plain = chat("");
    plain
        .headers_mut()
        .insert("content-encoding", HeaderValue::from_static("identity"));
    assert_eq!(send(tiny(), plain).await.status(), 200);
}

#[tokio::test]
async fn a_large_body_is_a_413_whatever_it_declares() {
    let small = || tiny().body_limit(chat_body("").len());
    assert_eq!(
        send(small(), chat("")).await.status(),
        200,
        "the limit itself fits"
    );
    assert_eq!(refusal(small(), chat(" ")).await.0, 413, "by the size hint");
    let mut declared = chat("");
    declared
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("99999"));
    assert_eq!(
        refusal(small(), declared).await.0,
        413,
        "by Content-Length, before a byte is read"
    );

    let body = ScriptedBody::new([chat_body(""), " ".to_owned(), "never read".to_owned()]);
    let end = body.watch();
    let mut lied = Request::post("/v1/chat/completions")
        .body(body)
        .expect("a request");
    let headers = lied.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("content-length", HeaderValue::from_static("1"));
    assert_eq!(
        send(small(), lied).await.status(),
        413,
        "by the running size"
    );
    assert_eq!(
        end.get(),
        Some(BodyEnd::Early),
        "the rest is not waited for"
    );
}

fn framed(body: ScriptedBody) -> Request<ScriptedBody> {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request")
}

#[tokio::test]
async fn a_body_may_come_in_any_frames() {
    let text = chat_body(r#","max_tokens":3"#);
    for size in [1, 2, 3, 7, 50, 500] {
        let frames = text.as_bytes().chunks(size).map(Bytes::copy_from_slice);
        let response = send(tiny(), framed(ScriptedBody::new(frames))).await;
        assert_eq!(collect(response).await.1, text, "in frames of {size} bytes");
    }
    let empty = [Bytes::new(), Bytes::from(text.clone()), Bytes::new()];
    assert_eq!(
        collect(send(tiny(), framed(ScriptedBody::new(empty))).await)
            .await
            .1,
        text
    );
}

#[tokio::test]
async fn nothing_is_forwarded_before_the_body_is_whole() {
    let gate = BodyGate::new();
    let mut first = Bytes::from(chat_body(""));
    let second = first.split_off(20);
    let body = ScriptedBody::new([first]).wait(&gate).frames([second]);
    let mut call = Box::pin(send(tiny(), framed(body)));
    assert!((&mut call).now_or_never().is_none());
    gate.open();
    assert_eq!(call.await.status(), 200);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_400() {
    let body = ScriptedBody::new([chat_body("")]).error("reset");
    assert_eq!(
        send(tiny(), framed(body)).await.status(),
        400,
        "whole JSON, but not a whole body"
    );
}

#[tokio::test]
async fn what_is_not_understood_is_a_400_that_names_the_field() {
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (body, param) in [
        (String::new(), json!(null)),
        ("null".to_owned(), json!(null)),
        ("[]".to_owned(), json!(null)),
        ("{}x".to_owned(), json!(null)),
        (format!("\u{feff}{{{hi}}}"), json!(null)),
        (format!("{{{hi}}}"), json!("model")),
        (format!(r#"{{"model":"",{hi}}}"#), json!("model")),
        (format!(r#"{{"model":null,{hi}}}"#), json!("model")),
        (format!(r#"{{"model":7,{hi}}}"#), json!("model")),
        (r#"{"model":"tiny"}"#.to_owned(), json!("messages")),
        (
            r#"{"model":"tiny","messages":[]}"#.to_owned(),
            json!("messages"),
        ),
        (
            r#"{"model":"tiny","messages":"hi"}"#.to_owned(),
            json!("messages"),
        ),
        (
            r#"{"model":"tiny","messages":[1]}"#.to_owned(),
            json!("messages"),
        ),
        (chat_body(r#","n":0"#), json!("n")),
        (chat_body(r#","n":17"#), json!("n")),
        (chat_body(r#","n":1.0"#), json!("n")),
        (chat_body(r#","best_of":17"#), json!("best_of")),
        (chat_body(r#","stream":"true""#), json!("stream")),
        (
            chat_body(r#","stream_options":{"include_usage":true}"#),
            json!("stream_options"),
        ),
        (
            chat_body(r#","stream":true,"stream_options":{"include_usage":1}"#),
            json!("stream_options"),
        ),
        (
            chat_body(r#","stream":true,"stream_options":[]"#),
            json!("stream_options"),
        ),
        (chat_body(r#","max_tokens":0"#), json!("max_tokens")),
        (chat_body(r#","max_tokens":-1"#), json!("max_tokens")),
        (chat_body(r#","max_tokens":1e1"#), json!("max_tokens")),
        (chat_body(r#","max_tokens":"5""#), json!("max_tokens")),
        (
            chat_body(r#","max_tokens":99999999999999999999"#),
            json!("max_tokens"),
        ),
        (
            chat_body(r#","max_tokens":5,"min_tokens":6"#),
            json!("min_tokens"),
        ),
        (chat_body(r#","model":"other""#), json!(null)),
        (chat_body(r#","m\u006fdel":"other""#), json!(null)),
        (chat_body(r#","x":NaN"#), json!(null)),
        (chat_body(r#","x":"\ud800""#), json!(null)),
    ] {
        let expected = (400, param);
        assert_eq!(
            refusal(tiny(), post("/v1/chat/completions", body.clone())).await,
            expected,
            "{body}"
        );
    }
    let bytes = [&b"{\"model\":\"tiny\xff\","[..], hi.as_bytes(), b"}"].concat();
    assert_eq!(
        refusal(tiny(), post("/v1/chat/completions", bytes)).await.0,
        400,
        "not UTF-8"
    );
}

#[tokio::test]
async fn the_other_routes_want_their_own_fields() {
    for (path, body, param) in [
        ("/v1/completions", r#"{"model":"tiny"}"#, "prompt"),
        (
            "/v1/completions",
            r#"{"model":"tiny","prompt":[]}"#,
            "prompt",
        ),
        (
            "/v1/completions",
            r#"{"model":"tiny","prompt":null}"#,
            "prompt",
        ),
        (
            "/v1/completions",
            r#"{"model":"tiny","prompt":[1,"a"]}"#,
            "prompt",
        ),
        (
            "/v1/completions",
            r#"{"model":"tiny","prompt":[-1]}"#,
            "prompt",
        ),
        (
            "/v1/completions",
            r#"{"model":"tiny","prompt":{"a":1}}"#,
            "prompt",
        ),
        ("/v1/embeddings", r#"{"model":"tiny"}"#, "input"),
        (
            "/v1/embeddings",
            r#"{"model":"tiny","input":[["a"]]}"#,
            "input",
        ),
        (
            "/v1/embeddings",
            r#"{"model":"tiny","input":"a","encoding_format":"bytes_only"}"#,
            "encoding_format",
        ),
    ] {
        assert_eq!(
            refusal(tiny(), post(path, body)).await,
            (400, json!(param)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_model_that_is_not_served_is_a_404_and_one_without_bounds_a_503() {
    let of = |model: &str| {
        post(
            "/v1/completions",
            json!({"model": model, "prompt": "a"}).to_string(),
        )
    };
    assert_eq!(refusal(tiny(), of("other")).await, (404, json!("model")));
    assert_eq!(refusal(tiny(), of("Tiny")).await.0, 404, "names are exact");
    let response = send(tiny(), of("unbounded")).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let pending = CallLayer::new(Models::pending());
    assert_eq!(
        refusal(pending, of("tiny")).await.0,
        503,
        "not known yet is not unknown"
    );
}

#[tokio::test]
async fn a_refusal_does_not_repeat_what_is_long() {
    let long = "x".repeat(1 << 20);
    for body in [
        json!({"model": long, "prompt": "a"}).to_string(),
        format!("{{\"model\":\"tiny\",\"prompt\":\"a\",\"{long}\":1,\"{long}\":2}}"),
    ] {
        let (status, text) = collect(send(tiny(), post("/v1/completions", body)).await).await;
        assert!(status.is_client_error());
        assert!(text.len() < 1024, "{} bytes", text.len());
    }
}

#[tokio::test]
async fn a_default_model_is_written_into_the_request() {
    for (body, expected) in [
        (r#"{"prompt":"a"}"#, r#"{"model":"tiny","prompt":"a"}"#),
        (
            r#"{"prompt":"a","model":null}"#,
            r#"{"prompt":"a","model":"tiny"}"#,
        ),
        (
            r#"{"model" : "", "prompt":"a"}"#,
            r#"{"model" : "tiny", "prompt":"a"}"#,
        ),
        (
            r#"{"model":"tiny","prompt":"a"}"#,
            r#"{"model":"tiny","prompt":"a"}"#,
        ),
    ] {
        let response = send(tiny().default_model("tiny"), post("/v1/completions", body)).await;
        assert_eq!(response.status(), 200, "{body}");
        let call = response.extensions().get::<Call>().expect("a call").clone();
        assert_eq!(call.apply(), expected);
        assert_eq!(call.body(), body, "the client's bytes are kept beside it");
    }
}

#[tokio::test]
async fn edits_are_spliced_before_any_other_service() {
    let service = ServiceBuilder::new()
        .layer(tiny().default_model("tiny"))
        .layer(EditLayer::new())
        .service(service_fn(|request: Request<Full<Bytes>>| async {
            let length = request.headers()["content-length"].clone();
            let body = request
                .into_body()
                .collect()
                .await
                .expect("whole")
                .to_bytes();
            assert_eq!(
                length,
                body.len().to_string(),
                "the length is that of the edited body"
            );
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        }));
    let mut request = post("/v1/completions", r#"{"prompt":"a"}"#);
    request
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("14"));
    let Ok(response) = service.oneshot(request).await;
    assert_eq!(
        collect(response).await.1,
        r#"{"model":"tiny","prompt":"a"}"#
    );
}

#[tokio::test]
async fn without_a_call_nothing_is_edited() {
    let service = EditLayer::new().layer(service_fn(|request: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let Ok(response) = service.oneshot(post("/x", "as it is")).await;
    assert_eq!(collect(response).await.1, "as it is");
}

#[test]
fn of_edits_to_one_member_the_last_counts() {
    for body in [
        r#"{"model":"tiny","prompt":"a","max_tokens":9,"stream":true}"#,
        r#"{"model":"tiny","prompt":"a","stream":true,"stream_options":{"include_usage":false}}"#,
    ] {
        let mut call = understand("/v1/completions", body);
        for tokens in [7, 6, 5] {
            call.set_output(tokens);
            call.ask_for_usage(true);
        }
        let sent: Value = serde_json::from_slice(&call.apply()).expect("JSON");
        assert_eq!(sent["max_tokens"], 5, "{sent}");
        assert_eq!(sent["stream_options"]["include_usage"], true);
        let text = call.apply();
        let text = std::str::from_utf8(&text).expect("UTF-8");
        assert_eq!(text.matches("max_tokens").count(), 1, "{text}");
        assert_eq!(text.matches("include_usage").count(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_bomb_is_refused_without_harm() {
    for (open, count) in [
        ("[", 65),
        ("[", 2_000_000),
        ("{\"a\":", 2_000_000),
        ("[{\"a\":", 1_000_000),
    ] {
        let body = chat_body("").replacen('{', &format!("{{\"bomb\":{}", open.repeat(count)), 1);
        assert_eq!(
            refusal(tiny(), post("/v1/chat/completions", body)).await.0,
            400
        );
    }
    let wide = format!(r#","wide":[{}0]"#, "[],".repeat(1_000_000));
    assert_eq!(
        send(tiny(), chat(&wide)).await.status(),
        200,
        "wide is not deep"
    );
    let members: String = (0..2000).map(|at| format!(",\"m{at}\":0")).collect();
    assert_eq!(
        refusal(tiny(), chat(&members)).await.0,
        400,
        "too many members"
    );
    let prompts = json!({"model": "tiny", "prompt": vec!["a"; 2049]}).to_string();
    assert_eq!(
        refusal(tiny(), post("/v1/completions", prompts)).await.0,
        400,
        "too many prompts"
    );
}

#[test]
fn what_hides_its_length_is_held_at_the_context() {
    let hold = |path: &str, body: &str| understand(path, body).bound().hold().get();
    for part in [
        r#"{"type":"image_url","image_url":{"url":"http://a"}}"#,
        r#"{"type":"input_audio","input_audio":{"data":"","format":"wav"}}"#,
        r#"{"image_url":"http://a"}"#,
    ] {
        let body = format!(
            r#"{{"model":"tiny","messages":[{{"role":"user","content":[{part}]}}],"max_tokens":5}}"#
        );
        assert_eq!(hold("/v1/chat/completions", &body), 4096, "{part}");
    }
    for (embeds, prompts) in [(r#""AAAA""#, 1), (r#"["AAAA","AAAA","AAAA"]"#, 3)] {
        let body = format!(r#"{{"model":"tiny","prompt_embeds":{embeds},"max_tokens":5}}"#);
        assert_eq!(hold("/v1/completions", &body), 4096 * prompts, "{embeds}");
    }
    let both =
        r#"{"model":"tiny","prompt":["a","b"],"prompt_embeds":["AAAA"],"max_tokens":5,"n":2}"#;
    assert_eq!(
        understand("/v1/completions", both).choices(),
        6,
        "every prompt is answered"
    );
}

/// Recorded requests that vLLM served and the gate refuses with 400: two readers differ about them, nobody
/// says which model is meant, or the answer has no usage.
const NOT_SERVED: [&str; 12] = [
    "chat_body_bom",
    "chat_body_max_tokens_float",
    "chat_body_max_tokens_string",
    "chat_body_utf16",
    "chat_model_empty",
    "chat_model_null",
    "chat_no_model",
    "chat_stream_number_one",
    "chat_stream_string_false",
    "chat_stream_string_true",
    "chat_stream_usage_string_true",
    "d_embeddings_bytes_only",
];

#[test]
fn every_recorded_request_is_understood_or_refused_for_a_reason() {
    let mut served = 0;
    let mut off = Vec::new();
    for name in names() {
        let (request, response) = (Recorded::request(&name), Recorded::response(&name));
        let mut line = request.first.split(' ');
        let (method, path) = (line.next().expect("a method"), line.next().expect("a path"));
        if method != "POST" || request.is_cut() {
            continue;
        }
        let chunked = request.header("transfer-encoding").is_some();
        let mut sent = Request::post(path)
            .body(Full::from(request.body.clone()))
            .expect("a request");
        for (header, value) in request
            .headers
            .iter()
            .filter(|(header, _)| !chunked || header != "transfer-encoding")
        {
            let header: http::HeaderName = header.parse().expect("a name");
            sent.headers_mut()
                .append(header, value.parse().expect("a value"));
        }
        let answer = send(CallLayer::new(models()), sent)
            .now_or_never()
            .expect("nothing to wait for");
        let status = answer.status().as_u16();
        match (response.status(), status) {
            (200, 200) => served += 1,
            (200, 400) => off.push(name),
            // What the upstream refuses, the gate may leave to it; it adds no 5xx of its own.
            (_, 200 | 400 | 404 | 405 | 413 | 415) => {}
            (theirs, ours) => panic!("{name}: {theirs} there, {ours} here"),
        }
    }
    assert_eq!(off, NOT_SERVED);
    assert!(served > 80, "{served}");
}

#[test]
fn every_recorded_client_is_understood() {
    let folder = std::fs::read_dir(fixtures().join("clients")).expect("the folder is there");
    let mut seen = 0;
    for entry in folder {
        let name = entry
            .expect("readable")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if !name.ends_with(".request.txt") {
            continue;
        }
        let request = Recorded::read(&format!("clients/{name}"));
        let mut first = request.first.split(' ');
        let method = first.next().expect("a method").parse().expect("a method");
        let path = first.next().expect("a path");
        if Route::of(&method, path).is_err() {
            // For routes that are not served: the end-to-end tests see that they are refused.
            continue;
        }
        let body = String::from_utf8(request.body.clone()).expect("UTF-8");
        let call = {
            let response = send(CallLayer::new(models()), post(path, body.clone())).now_or_never();
            let response = response.expect("nothing to wait for");
            assert_eq!(response.status(), 200, "{name}");
            response.extensions().get::<Call>().expect("a call").clone()
        };
        assert_eq!(call.stream(), name.contains("-stream"), "{name}");
        assert_eq!(
            call.usage_asked().include,
            name.contains("-usage"),
            "{name}"
        );
        assert_eq!(call.apply(), body, "{name}: no edit, no change");
        assert!(call.bound().hold().get() >= 16, "{name}");
        seen += 1;
    }
    assert!(seen >= 25, "{seen}");
}

#[test]
fn every_recorded_usage_stays_within_the_bound() {
    let mut checked = 0;
    for name in names() {
        let (request, response) = (Recorded::request(&name), Recorded::response(&name));
        let path = request.first.split(' ').nth(1).expect("a path").to_owned();
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
            continue;
        };
        let Some(total) = body["usage"]["total_tokens"].as_u64() else {
            continue;
        };
        let layer = CallLayer::new(Models::any(Model::new("").context_length(4096)));
        let answer = send(layer, post(&path, request.body))
            .now_or_never()
            .expect("nothing to wait for");
        if let Some(call) = answer.extensions().get::<Call>() {
            let hold = call.bound().hold().get();
            assert!(total <= hold, "{name}: {total} used, {hold} held");
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Members that nobody here reads.
fn unknown() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x_.{0,10}", any_json(), 0..6)
        .prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn edits_change_what_they_say_and_nothing_else(
        members in unknown(),
        pretty in any::<bool>(),
        max in prop::option::of(1_u64..50),
        newer in prop::option::of(1_u64..50),
        options in prop::option::of((prop::option::of(any::<bool>()), prop::option::of(any::<bool>()), any::<bool>())),
        continuous in any::<bool>(),
        output in 1_u64..50,
        set in any::<bool>(),
    ) {
        let mut body = members;
        body.insert("model".to_owned(), json!("tiny"));
        body.insert("stream".to_owned(), json!(true));
        body.insert("messages".to_owned(), json!([{"role": "user", "content": "hi \"\\ \u{1f600}"}]));
        if let Some(max) = max {
            body.insert("max_tokens".to_owned(), json!(max));
        }
        if let Some(newer) = newer {
            body.insert("max_completion_tokens".to_owned(), json!(newer));
        }
        if let Some((include, running, other)) = options {
            let mut options = Map::new();
            options.extend(include.map(|value| ("include_usage".to_owned(), json!(value))));
            options.extend(running.map(|value| ("continuous_usage_stats".to_owned(), json!(value))));
            options.extend(other.then(|| ("zz".to_owned(), json!({"a": [1]}))));
            body.insert("stream_options".to_owned(), options.into());
        }
        let body = Value::Object(body);
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let text = text.expect("JSON");
        let mut call = understand("/v1/chat/completions", &text);
        prop_assert_eq!(call.apply(), text.clone(), "no edit, no change");

        let mut expected = body;
        call.ask_for_usage(continuous);
        if expected["stream_options"].is_null() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = json!(true);
        if continuous {
            expected["stream_options"]["continuous_usage_stats"] = json!(true);
        }
        if set {
            call.set_output(output);
            let field = if newer.is_some() { "max_completion_tokens" } else { "max_tokens" };
            expected[field] = json!(output);
        }
        let sent = call.apply();
        prop_assert_eq!(serde_json::from_slice::<Value>(&sent).expect("JSON"), expected);
        // Parsed again there is nothing left to edit, and every member stands there once.
        let again = understand("/v1/chat/completions", std::str::from_utf8(&sent).expect("UTF-8"));
        prop_assert!(again.usage_asked().include);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
            let response = send(tiny(), post(path, bytes.clone())).now_or_never();
            prop_assert!(response.expect("nothing to wait for").status().as_u16() >= 400);
        }
    }

    #[test]
    fn what_is_admitted_is_what_a_parser_reads(
        text in "\\{\"model\":\"tiny\",\"prompt\":(\"a\"|\\[1\\]|\\[\"a\",\"b\"\\]|null|1)(,\"(n|max_tokens|stream|min_tokens|best_of|model|x)\":(1|0|2|true|null|\"tiny\"|1\\.0|-1|17|\\{\\}|[ ]3)){0,4}\\}"
    ) {
        let response = send(tiny(), post("/v1/completions", text.clone())).now_or_never();
        let response = response.expect("nothing to wait for");
        if let Some(call) = response.extensions().get::<Call>() {
            let parsed: Value = serde_json::from_str(&text).expect("what is admitted is JSON");
            prop_assert_eq!(parsed["model"].as_str(), Some("tiny"));
            prop_assert_eq!(parsed["stream"].as_bool().unwrap_or(false), call.stream());
            let count = |name: &str| parsed[name].as_u64().unwrap_or(1);
            prop_assert_eq!(call.choices_per_prompt(), count("n"), "`best_of` only bounds");
            let prompts = parsed["prompt"].as_array().filter(|all| all[0].is_string());
            let prompts = prompts.map_or(1, Vec::len) as u64;
            prop_assert_eq!(call.choices(), prompts * call.choices_per_prompt());
            let output = parsed["max_tokens"].as_u64().unwrap_or(16).max(1);
            let generated = prompts * count("n").max(count("best_of"));
            prop_assert!(call.bound().hold().get() >= generated * output.min(4096));
        }
    }
}

#[tokio::test]
async fn a_client_may_name_the_conversation_of_a_call() {
    let named = |names: &[&[u8]]| {
        let mut request = post("/v1/chat/completions", chat_body(""));
        for name in names {
            let value = HeaderValue::from_bytes(name).expect("a header");
            request.headers_mut().append("x-session-id", value);
        }
        request
    };
    let session = async |request| {
        let response = send(tiny(), request).await;
        assert_eq!(response.status(), 200);
        let call = response.extensions().get::<Call>().expect("a call");
        call.session().map(ToString::to_string)
    };
    assert_eq!(session(named(&[])).await, None, "it need not");
    let name = session(named(&[b"ses_0199"])).await;
    assert_eq!(name.as_deref(), Some("ses_0199"));
    let long = [b'x'; 129];
    for (names, reason) in [
        (&[&b""[..]][..], "a name that says nothing"),
        (&[b"a b"], "it is written into reports"),
        (&[b"\xc3\xa4"], "ASCII"),
        (&[&long], "bounded"),
        (&[b"a", b"a"], "one call is of one conversation"),
    ] {
        let refused = refusal(tiny(), named(names)).await;
        assert_eq!(refused, (400, json!("x-session-id")), "{reason}");
    }
}
