//! The proxy against a scripted vLLM: what reaches the wire, and what becomes of every failure.

mod support;

use std::convert::Infallible;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::abort::Abort;
use llm_gate::body::GateBody;
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::identity::RequestId;
use llm_gate::meter::{MeterBody, TokenMeterLayer};
use llm_gate::proxy::{
    ModelsError, ProxyBody, ProxyError, Upstream, VllmProxyService, upstream_models,
};
use llm_gate::upstream::UpstreamName;
use scripted_vllm::{Answer, Config, Fault, Gate, GateKey, ScriptedVllm, Step};
use serde_json::{Value, json};
use support::{chat, chat_body, collect, error_of, post};
use tower::{Service, ServiceBuilder, ServiceExt};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const WHOLE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// Long enough for a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

type Answered<B> = Response<GateBody<GateBody<B>>>;

async fn vllm() -> ScriptedVllm {
    ScriptedVllm::start(Config::default())
        .await
        .expect("a port")
}

fn at(url: &str) -> Upstream {
    Upstream::new(url.parse().expect("a URL")).expect("an upstream")
}

fn proxy(vllm: &ScriptedVllm) -> VllmProxyService {
    VllmProxyService::new(at(&vllm.url()))
}

fn models() -> Models {
    Models::any(Model::new("").context_length(4096))
}

/// Sends a request through [`CallLayer`], so that it can be repeated.
async fn send(proxy: &VllmProxyService, request: Request<Full<Bytes>>) -> Answered<ProxyBody> {
    let service = CallLayer::new(models());
    let service = ServiceBuilder::new().layer(service).service(proxy.clone());
    let Ok(response) = service.oneshot(request).await;
    response
}

/// Sends a request whose answer is metered.
async fn metered(
    proxy: &VllmProxyService,
    request: Request<Full<Bytes>>,
) -> Response<GateBody<MeterBody<GateBody<ProxyBody>>>> {
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(TokenMeterLayer::new())
        .service(proxy.clone());
    let Ok(response) = service.oneshot(request).await;
    response
}

/// Reads an answer that is a failure of ours.
async fn failure(response: Answered<ProxyBody>) -> (u16, Value) {
    let kind = response.headers()["content-type"].clone();
    assert_eq!(kind, "application/json");
    let (status, body) = collect(response).await;
    assert!(
        !body.contains("127.0.0.1") && !body.contains("os error"),
        "{body}"
    );
    let error = error_of(&body);
    assert_eq!(error["type"], "upstream_error", "{body}");
    (status.as_u16(), error["code"].clone())
}

#[tokio::test]
async fn only_our_own_headers_reach_the_upstream() {
    let vllm = vllm().await;
    let upstream = at(&vllm.url()).credential("sk-upstream").expect("a header");
    let proxy = VllmProxyService::new(upstream);
    let id = RequestId::new();
    let mut request = chat("");
    request.extensions_mut().insert(id);
    *request.uri_mut() = "/v1/chat/completions?key=secret".parse().expect("a URI");
    for (name, value) in [
        ("authorization", "Bearer theirs"),
        ("x-api-key", "theirs"),
        ("cookie", "theirs"),
        ("host", "theirs"),
        ("connection", "close, te"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("transfer-encoding", "chunked"),
        ("x-request-id", "../../a b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("accept-encoding", "gzip, br"),
        ("accept", "text/event-stream"),
        ("x-session-id", "session"),
    ] {
        let value = http::HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    assert_eq!(collect(send(&proxy, request).await).await.0, 200);
    let seen = vllm.requests().remove(0);
    let mut names: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "x-request-id",
        "x-session-id",
    ];
    assert_eq!(names, expected, "nothing else, nothing twice");
    assert_eq!(seen.target, "/v1/chat/completions", "the query stays here");
    assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("accept"), Some("text/event-stream"));
    assert_eq!(seen.header("x-request-id"), Some(id.to_string().as_str()));
    assert_eq!(
        seen.header("host"),
        Some(vllm.address().to_string().as_str())
    );
    assert_eq!(seen.header("x-session-id"), Some("session"));
    assert_eq!(
        seen.header("content-length"),
        Some(chat_body("").len().to_string().as_str())
    );
}

#[tokio::test]
async fn without_a_credential_none_is_sent() {
    let vllm = vllm().await;
    let mut request = chat("");
    request.headers_mut().insert(
        "authorization",
        http::HeaderValue::from_static("Bearer theirs"),
    );
    collect(send(&proxy(&vllm), request).await).await;
    assert_eq!(
        vllm.requests()[0].header("authorization"),
        None,
        "least of all the client's"
    );
}

#[tokio::test]
async fn the_edits_are_spliced_into_the_clients_bytes() {
    let vllm = vllm().await;
    let rest = r#", "stream": true, "unknown": {"a" : 1e0}"#;
    let response = metered(&proxy(&vllm), chat(rest)).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let (_, text) = collect(response).await;
    assert!(
        text.ends_with("data: [DONE]\n\n") && !text.contains("usage"),
        "{text}"
    );
    let seen = vllm.requests().remove(0);
    let options = r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"#;
    let expected = chat_body(rest).replacen('{', options, 1);
    assert_eq!(
        seen.body, expected,
        "the client's bytes and the declared edit"
    );
    assert_eq!(
        seen.header("content-length"),
        Some(expected.len().to_string().as_str())
    );
}

#[tokio::test]
async fn a_body_without_a_call_goes_on_as_it_is() {
    let vllm = vllm().await;
    let body = r#"{"model":"tiny","prompt":"Hello","max_tokens":2}"#;
    let Ok(response) = proxy(&vllm).oneshot(post("/v1/completions", body)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(vllm.requests()[0].body, body);
}

#[tokio::test]
async fn of_an_answers_headers_only_a_few_pass() {
    let vllm = vllm().await;
    vllm.push(Answer::Status {
        status: 200,
        content_type: "application/json".to_owned(),
        headers: vec![
            ("server".to_owned(), "internal".to_owned()),
            ("set-cookie".to_owned(), "a=b".to_owned()),
            ("x-request-id".to_owned(), "theirs".to_owned()),
            ("metadata".to_owned(), "{}".to_owned()),
        ],
        body: Bytes::from_static(b"{}"),
    });
    let response = send(&proxy(&vllm), chat("")).await;
    let mut names: Vec<&str> = response
        .headers()
        .keys()
        .map(|name| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "metadata"]);
}

#[tokio::test]
async fn what_is_no_route_never_reaches_the_upstream() {
    let vllm = vllm().await;
    let proxy = proxy(&vllm);
    for (method, path) in [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/tiny"),
        ("GET", "/metrics"),
        ("POST", "/tokenize"),
        ("POST", "/invocations"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat/../chat/completions"),
        ("DELETE", "/v1/embeddings"),
        ("GET", "http://10.0.0.1/v1/other"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        let Ok(response) = proxy.clone().oneshot(request).await;
        assert_eq!(response.status(), 404, "{method} {path}");
    }
    assert_eq!(vllm.counts().requests, 0);
    assert_eq!(vllm.connections(), 0, "not even a connection");
}

#[tokio::test]
async fn nobody_listening_is_a_502_that_names_no_address() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let proxy = VllmProxyService::new(at(&url));
    let failed = failure(send(&proxy, chat("")).await).await;
    assert_eq!(failed, (502, json!("bad_gateway")));
}

#[tokio::test]
async fn every_answer_names_its_upstream_to_the_layers_and_not_to_the_client() {
    let vllm = vllm().await;
    let east = || at(&vllm.url()).name("east".parse().expect("a name"));
    let named = async |upstream| {
        let response = send(&VllmProxyService::new(upstream), chat("")).await;
        let shown = format!("{:?}", response.headers());
        assert!(!shown.contains("east"), "{shown}");
        let name = response.extensions().get::<UpstreamName>().cloned();
        let answered = collect(response).await;
        (answered.0.as_u16(), name.map(|name| name.to_string()))
    };
    let east_of = |status| (status, Some("east".to_owned()));
    assert_eq!(named(east()).await, east_of(200));
    for body in [r#"{"error":{"message":"no"}}"#, "no JSON"] {
        vllm.push(Answer::Status {
            status: 400,
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
            body: body.to_owned().into(),
        });
        assert_eq!(named(east()).await, east_of(400), "who refused: {body}");
    }
    vllm.push(Answer::Raw(vec![Step::Stall]));
    let silent = named(east().head_timeout(SHORT)).await;
    assert_eq!(silent, east_of(504), "who said nothing");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let away = at(&url).name("east".parse().expect("a name"));
    assert_eq!(named(away).await, east_of(502), "who is away");
    assert_eq!(named(at(&vllm.url())).await, (200, None), "none has none");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_a_504() {
    let vllm = vllm().await;
    for (rest, upstream) in [
        (
            r#","stream":true"#,
            at(&vllm.url()).stream_head_timeout(SHORT),
        ),
        ("", at(&vllm.url()).head_timeout(SHORT)),
        ("", at(&vllm.url()).total_timeout(SHORT)),
    ] {
        vllm.push(Answer::Raw(vec![Step::Stall]));
        let aborted = vllm.counts().aborted;
        let proxy = VllmProxyService::new(upstream);
        let failed = failure(send(&proxy, chat(rest)).await).await;
        assert_eq!(failed, (504, json!("gateway_timeout")));
        vllm.until(|counts| counts.aborted > aborted).await;
    }
}

/// Reads until the body fails.
async fn broken(response: Answered<ProxyBody>) -> (String, ProxyError) {
    assert_eq!(response.status(), 200);
    let (mut body, mut seen) = (Box::pin(response.into_body()), String::new());
    loop {
        match body.frame().await.expect("no end before the error") {
            Ok(frame) => {
                seen += std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8")
            }
            Err(error) => {
                assert!(body.frame().await.is_none(), "nothing follows");
                return (seen, error);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let vllm = vllm().await;
    let fails = Answer::Fails {
        after: 2,
        fault: Fault::Stall,
    };
    vllm.push(fails.clone());
    let proxy = VllmProxyService::new(at(&vllm.url()).idle_timeout(SHORT));
    let (seen, error) = broken(send(&proxy, chat(r#","stream":true"#)).await).await;
    assert_eq!(seen.matches("data: ").count(), 2, "what came was passed");
    assert!(matches!(error, ProxyError::Idle), "{error}");
    vllm.until(|counts| counts.aborted == 1).await;

    vllm.push(fails);
    let proxy = VllmProxyService::new(at(&vllm.url()).total_timeout(SHORT * 3));
    let (_, error) = broken(send(&proxy, chat(r#","stream":true"#)).await).await;
    assert!(matches!(error, ProxyError::Total), "{error}");
    vllm.until(|counts| counts.aborted == 2).await;
}

#[tokio::test]
async fn a_broken_stream_is_an_error_of_the_body() {
    let vllm = vllm().await;
    for fault in [Fault::Close, Fault::Reset] {
        vllm.push(Answer::Fails { after: 2, fault });
        let (seen, error) = broken(send(&proxy(&vllm), chat(r#","stream":true"#)).await).await;
        // A reset may overtake what was sent before it.
        assert!(
            fault == Fault::Reset || seen.matches("data: ").count() == 2,
            "{seen}"
        );
        assert!(matches!(error, ProxyError::Broken(_)), "{fault:?}: {error}");
    }
    vllm.push(Answer::Raw(vec![
        Step::text(HEAD),
        Step::text("ff\r\ndata: half"),
        Step::Close,
    ]));
    let (seen, error) = broken(send(&proxy(&vllm), chat("")).await).await;
    assert_eq!(seen, "data: half");
    assert!(
        matches!(error, ProxyError::Broken(_)),
        "a chunk cut short: {error}"
    );
}

#[tokio::test]
async fn a_client_of_a_broken_stream_is_told() {
    let vllm = vllm().await;
    vllm.push(Answer::Fails {
        after: 3,
        fault: Fault::Close,
    });
    let response = metered(&proxy(&vllm), chat(r#","stream":true"#)).await;
    let (mut body, mut seen) = (Box::pin(response.into_body()), String::new());
    let failed = loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                seen += std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8")
            }
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(failed, "the connection closes in the middle");
    assert!(
        seen.contains("\"upstream_error\"") && !seen.contains("[DONE]"),
        "{seen}"
    );
}

#[tokio::test]
async fn what_is_not_http_is_a_502() {
    let vllm = vllm().await;
    for script in [
        vec![Step::text("SSH-2.0-OpenSSH_9.2\r\n"), Step::Close],
        vec![Step::text("HTTP/1.1 200 OK\r\ncontent-le"), Step::Close],
        vec![
            Step::text("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
            Step::Close,
        ],
        vec![Step::Reset],
        vec![Step::Close],
    ] {
        let what = format!("{script:?}");
        vllm.push(Answer::Raw(script));
        let requests = vllm.counts().requests;
        let failed = failure(send(&proxy(&vllm), chat("")).await).await;
        assert_eq!(failed, (502, json!("bad_gateway")), "{what}");
        assert_eq!(
            vllm.counts().requests,
            requests + 1,
            "a new connection is not tried again"
        );
    }
}

#[tokio::test]
async fn a_request_that_met_a_closing_connection_is_sent_once_more() {
    for end in [Step::Close, Step::Reset] {
        let vllm = vllm().await;
        let proxy = proxy(&vllm);
        vllm.push(Answer::Raw(vec![Step::text(WHOLE)]));
        assert_eq!(collect(send(&proxy, chat("")).await).await.1, "{}");
        assert_eq!(vllm.connections(), 1, "it is kept");
        vllm.push(Answer::Raw(vec![end.clone()]));
        vllm.push(Answer::Raw(vec![Step::text(WHOLE)]));
        let (status, body) = collect(send(&proxy, chat("")).await).await;
        assert_eq!((status.as_u16(), body.as_str()), (200, "{}"), "{end:?}");
        let requests = vllm.requests();
        assert_eq!(requests.len(), 3, "the second one was sent twice");
        assert_eq!(requests[1].body, requests[2].body);
    }
}

#[tokio::test]
async fn a_request_is_sent_once_more_and_no_more() {
    let vllm = vllm().await;
    let proxy = proxy(&vllm);
    vllm.push(Answer::Raw(vec![Step::text(WHOLE)]));
    collect(send(&proxy, chat("")).await).await;
    for _ in 0..5 {
        vllm.push(Answer::Raw(vec![Step::Close]));
    }
    let failed = failure(send(&proxy, chat("")).await).await;
    assert_eq!(failed, (502, json!("bad_gateway")));
    assert_eq!(vllm.counts().requests, 3);
}

#[tokio::test]
async fn a_request_that_was_answered_in_part_is_not_sent_again() {
    let vllm = vllm().await;
    let proxy = proxy(&vllm);
    vllm.push(Answer::Raw(vec![Step::text(WHOLE)]));
    collect(send(&proxy, chat("")).await).await;
    vllm.push(Answer::Raw(vec![
        Step::text("HTTP/1.1 200 OK\r\ncontent-"),
        Step::Close,
    ]));
    let failed = failure(send(&proxy, chat("")).await).await;
    assert_eq!(failed, (502, json!("bad_gateway")));
    assert_eq!(
        vllm.counts().requests,
        2,
        "the upstream had begun to answer"
    );
}

#[tokio::test]
async fn a_body_that_is_gone_is_not_sent_again() {
    let vllm = vllm().await;
    let proxy = proxy(&vllm);
    vllm.push(Answer::Raw(vec![Step::text(WHOLE)]));
    collect(send(&proxy, chat("")).await).await;
    vllm.push(Answer::Raw(vec![Step::Close]));
    let Ok(response) = proxy.clone().oneshot(chat("")).await;
    assert_eq!(
        response.status(),
        502,
        "without a Call nobody kept the bytes"
    );
    assert_eq!(vllm.counts().requests, 2);
}

#[tokio::test]
async fn refusals_in_openai_shape_pass_byte_for_byte() {
    let vllm = vllm().await;
    for status in [400, 403, 404, 422, 429, 500, 503] {
        let body = format!("{{\"error\": {{ \"message\" : \"no\", \"code\":{status}}} , \"x\":1}}");
        vllm.push(Answer::Status {
            status,
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
            body: body.clone().into(),
        });
        let response = send(&proxy(&vllm), chat("")).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        let answered = collect(response).await;
        assert_eq!((answered.0.as_u16(), answered.1), (status, body));
    }
}

#[tokio::test]
async fn other_refusals_are_put_into_openai_shape() {
    let vllm = vllm().await;
    let html = "<html>nginx at 10.0.0.7</html>";
    for (status, body, expected, words) in [
        (404, r#"{"detail":"Not Found"}"#, 404, "Not Found"),
        (
            422,
            r#"{"detail":[{"loc":["body"]}]}"#,
            422,
            "the upstream refused the request",
        ),
        (400, html, 400, "the upstream refused the request"),
        (500, html, 500, "the upstream failed"),
        (
            500,
            r#"{"detail":"at 10.0.0.7"}"#,
            500,
            "the upstream failed",
        ),
        (502, "", 502, "the upstream failed"),
        (
            401,
            r#"{"error":"Unauthorized"}"#,
            502,
            "the upstream refused the gate",
        ),
        (403, html, 502, "the upstream refused the gate"),
        (307, "", 502, "the upstream gave an unexpected answer"),
        (304, "", 502, "the upstream gave an unexpected answer"),
    ] {
        vllm.push(Answer::Status {
            status,
            content_type: "text/html".to_owned(),
            headers: vec![("location".to_owned(), "http://10.0.0.7/".to_owned())],
            body: Bytes::from_static(body.as_bytes()),
        });
        let response = send(&proxy(&vllm), chat("")).await;
        assert!(!response.headers().contains_key("location"), "{status}");
        let (status, text) = collect(response).await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(error_of(&text)["message"], words);
    }
    assert_eq!(vllm.counts().requests, 10, "no redirect was followed");
}

#[tokio::test]
async fn a_refusal_without_end_is_cut_off() {
    let vllm = vllm().await;
    vllm.push(Answer::Status {
        status: 400,
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(1 << 17)).into(),
    });
    let (status, text) = collect(send(&proxy(&vllm), chat("")).await).await;
    assert_eq!(status, 400);
    assert!(text.len() < 300, "{} bytes", text.len());

    vllm.push(Answer::Raw(vec![
        Step::text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 99\r\n\r\n{\"error\":{"),
        Step::Stall,
    ]));
    let proxy = VllmProxyService::new(at(&vllm.url()).idle_timeout(SHORT));
    let (status, text) = collect(send(&proxy, chat("")).await).await;
    assert_eq!(
        status, 500,
        "a refusal that does not end is one all the same"
    );
    assert_eq!(error_of(&text)["message"], "the upstream failed");
}

#[tokio::test]
async fn leaving_before_the_head_closes_the_upstreams_connection() {
    let vllm = vllm().await;
    vllm.push(Answer::Raw(vec![Step::Stall]));
    let proxy = proxy(&vllm);
    let mut call = Box::pin(send(&proxy, chat("")));
    tokio::select! {
        _ = &mut call => panic!("the upstream is silent"),
        () = vllm.until(|counts| counts.active == 1) => {}
    }
    drop(call);
    vllm.until(|counts| counts.aborted == 1 && counts.connections == 0)
        .await;
}

#[tokio::test]
async fn leaving_mid_stream_closes_the_upstreams_connection() {
    let vllm = vllm().await;
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let proxy = proxy(&vllm);
    let response = send(&proxy, chat(r#","stream":true"#)).await;
    let mut body = Box::pin(response.into_body());
    key.release_many(3);
    let mut events = 0;
    while events < 3 {
        let frame = body.frame().await.expect("a frame").expect("no error");
        let text = frame.into_data().expect("data");
        events += std::str::from_utf8(&text)
            .expect("UTF-8")
            .matches("data: ")
            .count();
    }
    assert!(
        body.frame().now_or_never().is_none(),
        "the fourth is held back"
    );
    drop(body);
    vllm.until(|counts| counts.aborted == 1 && counts.connections == 0)
        .await;
    assert_eq!(vllm.counts().events, 3, "the model stopped");
}

/// Opens a stream that has nothing to give, and returns its handle.
async fn silent(vllm: &ScriptedVllm) -> (Answered<ProxyBody>, Abort, GateKey) {
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let response = send(&proxy(vllm), chat(r#","stream":true"#)).await;
    let abort = response.extensions().get::<Abort>().expect("a handle");
    let abort = abort.clone();
    (response, abort, key)
}

#[tokio::test]
async fn an_abort_closes_the_connection_of_a_body_that_nobody_polls() {
    let vllm = vllm().await;
    let (response, abort, _key) = silent(&vllm).await;
    abort.abort();
    vllm.until(|counts| counts.aborted == 1 && counts.connections == 0)
        .await;
    let (seen, error) = broken(response).await;
    assert!(seen.is_empty(), "{seen}");
    assert!(matches!(error, ProxyError::Aborted), "no regular end");
    abort.abort();
}

#[tokio::test]
async fn an_abort_wakes_whoever_waits_for_the_body() {
    let vllm = vllm().await;
    let (response, abort, _key) = silent(&vllm).await;
    let reading = tokio::spawn(broken(response));
    while vllm.counts().active == 0 {
        tokio::task::yield_now().await;
    }
    abort.abort();
    let (_, error) = reading.await.expect("no panic");
    assert!(matches!(error, ProxyError::Aborted));
}

#[tokio::test]
async fn a_handle_keeps_no_connection() {
    let vllm = vllm().await;
    let (response, abort, _key) = silent(&vllm).await;
    drop(response);
    vllm.until(|counts| counts.aborted == 1 && counts.connections == 0)
        .await;
    abort.abort();

    // Nor does it cut off what has ended.
    let response = send(&proxy(&vllm), chat("")).await;
    let abort = response.extensions().get::<Abort>().expect("a handle");
    let abort = abort.clone();
    let (status, _) = collect(response).await;
    abort.abort();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_body_read_to_its_end_keeps_the_connection() {
    let vllm = vllm().await;
    let proxy = proxy(&vllm);
    for turn in 1..=3 {
        let (_, text) = collect(send(&proxy, chat(r#","stream":true"#)).await).await;
        assert!(text.ends_with("data: [DONE]\n\n"));
        vllm.until(|counts| counts.finished == turn).await;
    }
    assert_eq!(vllm.connections(), 1, "one connection for all");
}

#[tokio::test]
async fn the_upstreams_models_are_listed() {
    let vllm = vllm().await;
    let models = upstream_models(&proxy(&vllm)).await.expect("a list");
    assert_eq!(models.len(), 1);
    assert_eq!(
        (models[0].id.as_str(), models[0].max_model_len),
        ("tiny", Some(4096))
    );
    let model: Model = models[0].clone().into();
    assert_eq!(model.id(), "tiny");
}

/// Answers every connection with these bytes.
async fn serving(answer: Vec<u8>) -> VllmProxyService {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                // The proxy may have had enough before the end.
                drop(stream.write_all(&answer).await);
            }
        }
    });
    VllmProxyService::new(at(&url))
}

fn listing(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn a_list_of_models_may_say_little() {
    let proxy = serving(listing(
        r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b","max_model_len":null}]}"#,
    ))
    .await;
    let models = upstream_models(&proxy).await.expect("a list");
    assert_eq!(
        models
            .iter()
            .map(|model| model.max_model_len)
            .collect::<Vec<_>>(),
        [None, None]
    );
}

#[tokio::test]
async fn what_is_no_list_of_models_is_none() {
    for body in [
        "",
        "[]",
        "{}",
        "{\"data\":{}}",
        "{\"data\":[{}]}",
        "{\"data\":[{\"id\":1}]}",
        "<html>",
        "{\"data\":[{\"id\":\"a\",\"max_model_len\":-1}]}",
    ] {
        let error = upstream_models(&serving(listing(body)).await).await;
        assert!(
            matches!(error, Err(ModelsError::Malformed(_))),
            "{body}: {error:?}"
        );
    }
    let long = format!("{{\"data\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let error = upstream_models(&serving(listing(&long)).await).await;
    assert!(
        matches!(error, Err(ModelsError::Unread(_))),
        "too long: {error:?}"
    );
    let mut cut = listing("{\"data\":[]}");
    cut.pop();
    let error = upstream_models(&serving(cut).await).await;
    assert!(
        matches!(error, Err(ModelsError::Unread(_))),
        "cut short: {error:?}"
    );
    let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec();
    let error = upstream_models(&serving(refused).await).await;
    assert!(
        matches!(error, Err(ModelsError::Refused(status)) if status == 503),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_service_is_always_ready() {
    let mut proxy = VllmProxyService::new(at("http://127.0.0.1:9"));
    let ready: Result<(), Infallible> =
        std::future::poll_fn(|cx| Service::<Request<Full<Bytes>>>::poll_ready(&mut proxy, cx))
            .await;
    assert!(ready.is_ok());
}
