//! Scripted answers and the life of connections.

mod support;

use std::{io::ErrorKind, time::Duration};

use bytes::Bytes;
use scripted_vllm::{Answer, Config, Fault, Gate, Step};
use support::{Client, config, start, text};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_script_writes_its_bytes_as_the_test_releases_them() {
    let vllm = start(Config::default()).await;
    let (gate, key) = Gate::new();
    vllm.push(Answer::Raw(vec![
        Step::text(HEAD),
        Step::Wait(gate),
        Step::text("3\r\nabc\r\n0\r\n\r\n"),
    ]));
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    assert_eq!(client.head().await, HEAD);
    assert_eq!(vllm.counts().active, 1, "the script waits");
    key.release();
    assert_eq!(client.events().await, ["abc"]);
    client.chat("").await;
    assert!(
        client.body().await.contains("Hello"),
        "the connection and the model go on"
    );
    assert_eq!(vllm.counts().finished, 2);
}

#[tokio::test]
async fn an_answer_for_a_word_waits_for_the_request_that_has_it() {
    let vllm = start(Config::default()).await;
    vllm.push(Answer::error(400, "TakenBack", "never seen"));
    vllm.clear();
    vllm.push_for("\"seed\":7", Answer::error(503, "Busy", "not now"));
    vllm.push_for("\"seed\":8", Answer::error(500, "Broken", "never"));
    for (members, status) in [("", 200), (r#","seed":8"#, 500), (r#","seed":7"#, 503)] {
        let mut client = Client::connect(&vllm).await;
        client.chat(members).await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{members}: {head}"
        );
    }
    assert_eq!(vllm.queued(), 0, "each was taken once");
}

#[tokio::test]
async fn dropping_the_key_opens_the_gate() {
    let vllm = start(Config::default()).await;
    let (gate, key) = Gate::new();
    drop(key);
    vllm.push(Answer::Lockstep { gate });
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    client.head().await;
    assert_eq!(client.events().await.len(), 19);
}

#[tokio::test]
async fn a_script_can_close_reset_or_stall() {
    let vllm = start(Config::default()).await;
    vllm.push(Answer::Raw(vec![Step::text(HEAD), Step::Close]));
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    assert_eq!(client.rest().await, HEAD);

    vllm.push(Answer::Raw(vec![Step::Reset]));
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    let error = client.read_error().await.map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::ConnectionReset));

    vllm.push(Answer::Raw(vec![Step::text(HEAD), Step::Stall]));
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    client.head().await;
    assert_eq!(vllm.counts().active, 1);
    drop(client);
    vllm.until(|counts| counts.active == 0 && counts.aborted == 1)
        .await;
    assert_eq!(
        vllm.counts().finished,
        2,
        "a close that was asked for is no abort"
    );
}

#[tokio::test]
async fn a_recording_is_replayed_as_it_is() {
    let recording: &[u8] = include_bytes!("fixtures/chat_stream_usage.response.txt");
    let vllm = start(Config::default()).await;
    vllm.push(Answer::recording(recording));
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    assert_eq!(client.answer(false).await, text(recording));
    assert_eq!(vllm.counts().completion_tokens, 0, "nothing was generated");

    let cut = &recording[..recording.len() - 1];
    vllm.push(Answer::Recording {
        response: Bytes::from_static(cut),
    });
    client.chat(r#","stream":true"#).await;
    assert_eq!(
        client.rest().await,
        text(cut),
        "a recording that stops ends the connection"
    );
}

#[tokio::test]
async fn a_model_answer_can_fail_in_the_middle() {
    let vllm = start(Config::default()).await;
    vllm.push(Answer::Fails {
        after: 3,
        fault: Fault::Close,
    });
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    let rest = client.rest().await;
    assert_eq!(rest.matches("data: ").count(), 3);
    assert!(!rest.contains("[DONE]") && !rest.ends_with("0\r\n\r\n"));
    assert_eq!(vllm.counts().completion_tokens, 2, "what had been written");

    vllm.push(Answer::Fails {
        after: 2,
        fault: Fault::Stall,
    });
    let mut client = Client::connect(&vllm).await;
    client.chat(r#","stream":true"#).await;
    client.head().await;
    client.event().await;
    client.event().await;
    assert_eq!(vllm.counts().active, 1);
    drop(client);
    vllm.until(|counts| counts.aborted == 1).await;

    vllm.push(Answer::Fails {
        after: 0,
        fault: Fault::Close,
    });
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    assert_eq!(client.rest().await, "", "closed without a byte");
}

#[tokio::test]
async fn queued_answers_go_out_in_order_and_only_to_generation_routes() {
    let vllm = start(config(|config| config.api_key = Some("right".to_owned()))).await;
    vllm.push(Answer::error(429, "TooManyRequests", "wait \"a bit\""));
    vllm.push(Answer::Model);
    vllm.push(Answer::Status {
        status: 502,
        content_type: "text/html".to_owned(),
        headers: vec![("retry-after".to_owned(), "7".to_owned())],
        body: Bytes::from_static(b"<html>"),
    });
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    assert_eq!(client.body().await, r#"{"error":"Unauthorized"}"#);
    client.send(b"GET /health HTTP/1.1\r\n\r\n").await;
    client.head().await;
    assert_eq!(vllm.queued(), 3, "neither takes an answer");
    let request = "POST /v1/completions HTTP/1.1\r\nAuthorization: Bearer right\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"prompt\":\"Hi\"}";
    let mut answers = Vec::new();
    for _ in 0..3 {
        client.send(request.as_bytes()).await;
        answers.push(client.answer(false).await);
    }
    assert!(answers[0].ends_with(
        r#"{"error":{"message":"wait \"a bit\"","type":"TooManyRequests","param":null,"code":429}}"#
    ));
    assert!(answers[1].contains(" from a tiny model"));
    assert!(answers[2].starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert!(answers[2].contains("\r\nretry-after: 7\r\n") && answers[2].ends_with("<html>"));
}

#[tokio::test]
async fn received_requests_are_kept_as_sent() {
    let vllm = start(config(|config| config.keep_requests = 2)).await;
    let mut client = Client::connect(&vllm).await;
    for path in ["/a?b=c", "/b", "/c"] {
        client
            .send(format!("PUT {path} HTTP/1.1\r\nX-Odd: \u{e9}\r\n\r\n").as_bytes())
            .await;
        let chunks = "2;x=y\r\nhi\r\n1\r\n!\r\n0\r\nTrailer: 1\r\n\r\n";
        client
            .send(
                format!("POST {path} HTTP/1.1\r\nTRANSFER-encoding: Chunked\r\n\r\n{chunks}")
                    .as_bytes(),
            )
            .await;
        for _ in 0..2 {
            assert!(client.answer(false).await.starts_with("HTTP/1.1 404"));
        }
    }
    let kept = vllm.requests();
    assert_eq!(kept.len(), 2);
    assert_eq!(
        (kept[0].method.as_str(), kept[0].target.as_str()),
        ("PUT", "/c")
    );
    assert_eq!(kept[0].headers[0].0, "X-Odd");
    assert_eq!(&kept[0].headers[0].1[..], "\u{e9}".as_bytes());
    assert_eq!(&kept[1].body[..], b"hi!");
    assert_eq!(kept[1].header("Transfer-Encoding"), Some("Chunked"));
}

#[tokio::test]
async fn what_is_not_http_or_too_large_is_refused() {
    let vllm = start(Config::default()).await;
    for (request, status) in [
        ("nonsense\r\n\r\n", "400"),
        (
            "POST /v1/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "400",
        ),
        (
            "POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "400",
        ),
        (
            "POST /v1/completions HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n",
            "413",
        ),
        (
            "POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4000001\r\n",
            "413",
        ),
    ] {
        let mut client = Client::connect(&vllm).await;
        client.send(request.as_bytes()).await;
        let answer = client.answer(false).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    assert_eq!(vllm.counts().requests, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let vllm = start(config(|config| {
        config.keep_alive = Duration::from_millis(1)
    }))
    .await;
    let mut client = Client::connect(&vllm).await;
    client.send(b"GET /health HTTP/1.1\r\n\r\n").await;
    client.head().await;
    assert_eq!(vllm.connections(), 1);
    assert_eq!(client.rest().await, "");
    vllm.until(|counts| counts.connections == 0).await;
}

#[tokio::test]
async fn an_unhealthy_server_says_so() {
    let vllm = start(Config::default()).await;
    vllm.set_healthy(false);
    let mut client = Client::connect(&vllm).await;
    client.send(b"GET /health HTTP/1.1\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let vllm = start(Config::default()).await;
    vllm.push(Answer::Raw(vec![Step::text(HEAD), Step::Stall]));
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    client.head().await;
    drop(vllm);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_stopped_server_frees_its_address() {
    let vllm = start(Config::default()).await;
    let address = vllm.address();
    let mut client = Client::connect(&vllm).await;
    client.chat("").await;
    client.body().await;
    vllm.stop().await;
    let again = start(config(|config| config.address = Some(address))).await;
    let mut client = Client::connect(&again).await;
    client.chat("").await;
    assert!(client.body().await.contains("Hello"));
}

#[tokio::test]
async fn a_tool_is_called_only_if_there_is_one() {
    let vllm = start(Config::default()).await;
    let mut client = Client::connect(&vllm).await;
    let body = r##"{"messages":[{"role":"user","content":"the #weather"}]}"##;
    client.post("/v1/chat/completions", body).await;
    assert!(client.body().await.contains("Hello from"));
    let body = r##"{"messages":[{"role":"user","content":"the #weather"}],"tools":[{"type":"function","function":{"name":"look_up"}}]}"##;
    client.post("/v1/chat/completions", body).await;
    let answer = client.body().await;
    assert!(
        answer.contains(r#""function":{"name":"look_up","arguments":"{\"city\": \"Paris\"}"}"#),
        "{answer}"
    );
    assert!(answer.contains(r#""finish_reason":"tool_calls""#));
}
