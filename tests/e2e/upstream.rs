//! A model server that refuses, fails, lies, hangs or dies: what the client sees, and what it costs.

use http::StatusCode;
use scripted_vllm::{Answer, Fault, Step};
use support::{Answer as Whole, Ask, Person, World, chat};

const HTML: &str = "<html><body><h1>502 Bad Gateway</h1>nginx at 10.0.0.7:8000</body></html>";

fn stream() -> Ask {
    chat("Hello").max_tokens(6).stream()
}

/// What is answered with a status, and whether the body goes on byte for byte.
fn status(status: u16, content_type: &str, body: &str) -> Answer {
    Answer::Status {
        status,
        content_type: content_type.to_owned(),
        headers: vec![("x-internal".to_owned(), "10.0.0.7".to_owned())],
        body: body.to_owned().into(),
    }
}

/// Nothing of the inside is told: no address, no header, no name of a server.
fn tells_nothing(world: &World, answer: &Whole) {
    let port = world.vllm().address().port().to_string();
    let text = format!(
        "{:?} {}",
        answer.headers,
        String::from_utf8_lossy(&answer.body)
    );
    for word in [
        "10.0.0.7",
        "127.0.0.1",
        port.as_str(),
        "nginx",
        "uvicorn",
        "x-internal",
    ] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

async fn costs_nothing(world: &World, person: &Person) {
    let totals = world.settle().await;
    assert_eq!(world.used(person).await, 0, "nothing was served");
    assert_eq!(totals.settled, 0, "the hold is void");
}

#[tokio::test]
async fn a_refusal_in_openai_shape_goes_on_byte_for_byte_and_costs_nothing() {
    let world = World::start().await;
    let person = world.register().await;
    for code in [400, 404, 429, 500, 503] {
        let body = format!(
            r#"{{"error": {{"message":"no, {code}",  "type":"SomeError","param":null,"code":{code}}}}}"#
        );
        for ask in [stream(), chat("Hi").max_tokens(3)] {
            world.vllm().push(status(code, "application/json", &body));
            let answer = person.chat(&ask).await;
            assert_eq!(answer.status, code);
            assert_eq!(
                answer.body, body,
                "{code}: an upstream's words are the client's to read"
            );
            tells_nothing(&world, &answer);
            costs_nothing(&world, &person).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_in_another_shape_is_turned_into_openais() {
    let world = World::start().await;
    let person = world.register().await;
    let cases = [
        (
            422,
            "application/json",
            r#"{"detail":"Unprocessable"}"#,
            422,
        ),
        (404, "application/json", r#"{"detail":"Not Found"}"#, 404),
        (500, "application/json", r#"{"detail":"at 10.0.0.7"}"#, 500),
        (502, "text/html", HTML, 502),
        (503, "text/plain", "upstream 127.0.0.1 is busy", 503),
        (500, "text/plain", "", 500),
        (307, "text/plain", "", 502),
    ];
    for (from, kind, body, to) in cases {
        world.vllm().push(status(from, kind, body));
        let answer = person.chat(&stream()).await;
        assert_eq!(answer.status, to, "{from} {body}");
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{from}: {:?}",
            answer.body
        );
        assert_eq!(answer.headers["content-type"], "application/json");
        tells_nothing(&world, &answer);
        costs_nothing(&world, &person).await;
    }
}

#[tokio::test]
async fn a_wrong_key_for_the_upstream_is_not_the_clients_fault() {
    // The models are known before the operator changes the upstream's key.
    let world = World::start().await;
    let person = world.register().await;
    world.vllm().push(status(
        401,
        "application/json",
        r#"{"error":"Unauthorized"}"#,
    ));
    let answer = person.chat(&stream()).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(
        !answer.headers.contains_key("www-authenticate"),
        "it is not asked for a key"
    );
    tells_nothing(&world, &answer);
    costs_nothing(&world, &person).await;
}

#[tokio::test]
async fn the_upstream_gets_the_gates_key_and_never_the_callers() {
    let world = World::builder()
        .config(|config| config.upstream.api_key = Some("the key of the upstream".into()))
        .vllm(|vllm| vllm.api_key = Some("the key of the upstream".to_owned()))
        .start()
        .await;
    let person = world.register().await;
    assert_eq!(person.chat(&chat("Hi").max_tokens(2)).await.status, 200);
    for request in world.vllm().requests() {
        assert_eq!(
            request.header("authorization"),
            Some("Bearer the key of the upstream")
        );
        let all = format!("{request:?}");
        assert!(!all.contains(&person.key), "{all}");
    }
    world.settle().await;
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_a_502_without_its_address() {
    let mut world = World::start().await;
    let person = world.register().await;
    let port = world.vllm().address().port().to_string();
    world.stop_vllm().await;
    for ask in [stream(), chat("Hi").max_tokens(3)] {
        let answer = person.chat(&ask).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_GATEWAY,
            "{:?}",
            answer.json()
        );
        assert_eq!(answer.json()["error"]["code"], "bad_gateway");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !text.contains(&port) && !text.contains("127.0.0.1"),
            "{text}"
        );
        costs_nothing(&world, &person).await;
    }
    assert_eq!(
        person.get("/v1/models").await.status,
        200,
        "what was known stays known"
    );
}

#[tokio::test]
async fn a_head_that_never_comes_is_a_504_and_costs_nothing() {
    let world = World::builder()
        .config(|config| {
            config.upstream.stream_head_timeout_seconds = 1;
            config.upstream.head_timeout_seconds = 1;
        })
        .start()
        .await;
    let person = world.register().await;
    for ask in [stream(), chat("Hi").max_tokens(3)] {
        let aborted = world.vllm().counts().aborted;
        world.vllm().push(Answer::Raw(vec![Step::Stall]));
        let answer = person.chat(&ask).await;
        assert_eq!(
            answer.status,
            StatusCode::GATEWAY_TIMEOUT,
            "{:?}",
            answer.json()
        );
        tells_nothing(&world, &answer);
        world.upstream(|counts| counts.aborted > aborted).await;
        costs_nothing(&world, &person).await;
    }
}

/// Tokens that events handed to the client: every event with text is one.
fn delivered(ended: &support::Ended) -> usize {
    let text = |event: &&serde_json::Value| {
        event["choices"][0]["delta"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    ended.values().iter().filter(text).count()
}

#[tokio::test]
async fn a_stream_that_its_upstream_cuts_says_so_and_charges_what_was_delivered() {
    let world = World::builder()
        .config(|config| config.upstream.idle_timeout_seconds = 1)
        .start()
        .await;
    for fault in [Fault::Close, Fault::Reset, Fault::Stall] {
        for after in [0, 1, 3, 6] {
            let person = world.register().await;
            let before = world.generated();
            world.vllm().push(Answer::Fails { after, fault });
            let answer = person.open(&stream()).await;
            assert_eq!(answer.status, 200, "the head was there");
            let ended = answer.to_end().await;
            assert!(
                !ended.whole,
                "{fault:?} after {after}: the connection is cut"
            );
            assert!(
                !ended.events.iter().any(|event| event == "[DONE]"),
                "{fault:?}: {ended:?}"
            );
            let words = ended
                .error()
                .unwrap_or_else(|| panic!("no error event: {ended:?}"));
            assert!(!words.contains("127.0.0.1"), "{words}");

            world.settle().await;
            let (used, generated) = (world.used(&person).await, world.generated() - before);
            assert_eq!(used, generated, "{fault:?} after {after}");
            assert_eq!(
                after.saturating_sub(1),
                delivered(&ended) as u64,
                "{fault:?} after {after}"
            );
        }
    }
}

#[tokio::test]
async fn an_engine_that_dies_says_so_itself() {
    let world = World::start().await;
    let person = world.register().await;
    world.vllm().push(Answer::Fails {
        after: 3,
        fault: Fault::Engine,
    });
    let ended = person.open(&stream()).await.to_end().await;
    assert!(ended.is_done(), "as vLLM does: an error, then [DONE]");
    assert!(ended.error().is_some(), "{ended:?}");
    world.settle().await;
    assert_eq!(
        world.used(&person).await,
        world.generated(),
        "what was delivered is charged"
    );

    let poor = world.register().await;
    world.vllm().push(Answer::Fails {
        after: 0,
        fault: Fault::Engine,
    });
    let answer = poor.chat(&chat("Hi").max_tokens(3)).await;
    assert_eq!(answer.status, 500);
    tells_nothing(&world, &answer);
    world.settle().await;
    assert_eq!(world.used(&poor).await, 0);
}

#[tokio::test]
async fn a_request_that_met_a_connection_being_closed_is_sent_again_and_charged_once() {
    let world = World::start().await;
    let person = world.register().await;
    // Proves the connection that is closed under the next one.
    assert_eq!(person.chat(&chat("Hi").max_tokens(2)).await.status, 200);
    world.vllm().push(Answer::Fails {
        after: 0,
        fault: Fault::Close,
    });
    let answer = person.chat(&chat("Hi").max_tokens(2)).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let totals = world.settle().await;
    assert_eq!(world.vllm().counts().requests, 3, "one was sent twice");
    assert_eq!(totals.settled, 2);
    assert_eq!(world.used(&person).await, world.generated());
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_a_502_and_costs_nothing() {
    let world = World::start().await;
    let person = world.register().await;
    let begun =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":";
    let scripts = [
        vec![
            Step::text("no HTTP at all, from 10.0.0.7\r\n\r\n"),
            Step::Close,
        ],
        vec![
            Step::text("HTTP/1.1 200 OK\r\ncontent-type: appl"),
            Step::Close,
        ],
        vec![Step::text(begun), Step::Close],
        vec![Step::text(begun), Step::Reset],
    ];
    for script in scripts {
        world.vllm().push(Answer::Raw(script.clone()));
        let answer = person.chat(&chat("Hi").max_tokens(3)).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_GATEWAY,
            "{script:?}: {:?}",
            answer.body
        );
        assert!(
            answer.json()["error"].is_object(),
            "nothing of it is delivered"
        );
        tells_nothing(&world, &answer);
        costs_nothing(&world, &person).await;
    }
}

#[tokio::test]
async fn an_answer_without_usage_costs_its_whole_bound() {
    let world = World::start().await;
    let ask = chat("Hi").max_tokens(3);
    let bound = ask.json().to_string().len() as u64 + 64 + 3;
    for body in [
        r#"{"id":"x","choices":[]}"#,
        r#"{"id":"x","usage":null}"#,
        "[]",
        "no JSON",
    ] {
        let person = world.register().await;
        world.vllm().push(status(200, "application/json", body));
        let answer = person.chat(&ask).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, body);
        world.settle().await;
        assert_eq!(world.used(&person).await, bound, "{body}");
    }
}

#[tokio::test]
async fn a_stream_without_usage_is_estimated_and_never_above_its_bound() {
    let world = World::start().await;
    let ask = stream();
    let bound = ask.json().to_string().len() as u64 + 64 + 6;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let event = r#"data: {"choices":[{"index":0,"delta":{"content":"abc"}}]}"#;
    for events in [1, 2, 50] {
        let person = world.register().await;
        let body = format!("{head}{}", format!("{event}\n\n").repeat(events));
        world
            .vllm()
            .push(Answer::Raw(vec![Step::Write(body.into()), Step::Close]));
        let ended = person.open(&ask).await.to_end().await;
        assert!(!ended.events.iter().any(|event| event == "[DONE]"));
        world.settle().await;
        let used = world.used(&person).await;
        let text = 3 * events as u64;
        assert!(used > 0, "what was delivered is not free");
        assert!(used <= bound, "{used} of {bound}");
        assert_eq!(
            used,
            bound.min(bound - 6 + text),
            "the prompt's bound and a token a byte"
        );
    }
}
