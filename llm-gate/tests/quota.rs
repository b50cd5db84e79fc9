//! The quota through the stack: what is held, what is charged at each ending, what the caller is told.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use llm_gate::call::CallLayer;
use llm_gate::identity::{Credential, KeyGrants, KeyId, Principal, Scope, Subject};
use llm_gate::store::{Ending, LedgerStore, Served, Source};
use llm_gate::test_util::{BodyEnd, BodyGate, ScriptedBody};
use llm_gate::tokens::{Tokens, Unanswered};
use llm_gate::upstream::UpstreamName;
use support::{
    Rig, Upstream, answer, chat_body, collect, error_of, event, json, models, sse, stack, upstream,
    usage,
};
use tokio::sync::Barrier;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const ASKED: &str = r#","max_tokens":20,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#;
const UNASKED: &str = r#","max_tokens":20,"stream":true"#;

/// What is held for a request of [`Rig::chat`] with `max_tokens` 20: a token a byte, and the output.
fn bound(rest: &str) -> u64 {
    chat_body(rest).len() as u64 + 20
}

/// Sends one request to an upstream that answers with `response`, reads the answer as far as it goes, and
/// returns status, what was settled, and that nothing is held.
async fn settle(
    rest: &str,
    response: fn() -> Response<ScriptedBody>,
) -> (u16, Tokens, Source, Ending) {
    let rig = Rig::new(100_000).await;
    let service = stack(rig.layer(), upstream(move |_| Ok(response())));
    let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    drop(body);
    let settled = rig.books.settled();
    assert_eq!(settled.len(), 1, "every request is settled once");
    let (used, reserved) = rig.standing().await;
    assert_eq!(reserved, 0, "nothing stays held");
    assert_eq!(used, settled[0].charge.get(), "what is settled is charged");
    let totals = rig.books.totals().await.expect("in memory");
    assert!(totals.balance() && totals.pending == 0, "{totals:?}");
    (
        status,
        settled[0].charge,
        settled[0].source,
        settled[0].ending,
    )
}

fn tokens(amount: u64) -> Tokens {
    Tokens::new(amount)
}

#[tokio::test]
async fn the_ready_service_is_the_one_that_is_called() {
    let rig = Rig::new(1000).await;
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<Full<Bytes>>, Response<Full<Bytes>>>();
    let mut service =
        tower_test::mock::Spawn::new(CallLayer::new(models()).layer(rig.layer().layer(mock)));
    handle.allow(0);
    assert!(
        service.poll_ready::<Request<Full<Bytes>>>().is_pending(),
        "the inner service is not ready"
    );
    handle.allow(1);
    assert!(
        service.poll_ready::<Request<Full<Bytes>>>().is_ready(),
        "readiness is the inner service's"
    );
    // A fresh clone would not be ready: the mock panics if it is called without.
    let answer = service.call(rig.chat(r#","max_tokens":5"#));
    let serve = async {
        let (_, send) = handle.next_request().await.expect("it was called");
        send.send_response(Response::new(Full::default()));
    };
    let (answer, ()) = tokio::join!(answer, serve);
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn an_error_of_the_inner_services_readiness_is_passed_on() {
    let rig = Rig::new(1000).await;
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<Full<Bytes>>, Response<Full<Bytes>>>();
    let mut service = tower_test::mock::Spawn::new(rig.layer().layer(mock));
    handle.send_error("closed");
    assert!(
        matches!(
            service.poll_ready::<Request<Full<Bytes>>>(),
            std::task::Poll::Ready(Err(_))
        ),
        "the layer adds no error of its own and hides none"
    );
}

#[tokio::test]
async fn a_call_that_the_key_is_not_for_is_refused_before_anything_is_held() {
    let grants = |scopes: &[Scope], models: &[&str]| KeyGrants {
        scopes: scopes.to_vec(),
        models: Some(models.iter().map(|model| (*model).to_owned()).collect()),
        ..KeyGrants::default()
    };
    for (grants, code) in [
        (grants(&[Scope::Models], &["tiny"]), "missing_scope"),
        (grants(&[Scope::Manage], &["tiny"]), "missing_scope"),
        (grants(&[Scope::Inference], &["large"]), "model_not_allowed"),
        (grants(&[Scope::Inference], &[]), "model_not_allowed"),
    ] {
        let mut rig = Rig::new(1000).await;
        rig.principal = rig.principal.grants(Arc::new(grants));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let upstream = upstream(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(json(format!("{{{}}}", usage(7, 5))))
        });
        let service = stack(rig.layer(), upstream);
        let response = service.oneshot(rig.chat("")).await.expect("an answer");
        let (status, body) = collect(response).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert_eq!(error_of(&body)["code"], code);
        assert_eq!(
            asked.load(Ordering::Relaxed),
            0,
            "the upstream is not touched"
        );
        assert_eq!(rig.standing().await, (0, 0), "nothing is used or held");
    }
    let mut rig = Rig::new(1000).await;
    rig.principal = rig
        .principal
        .grants(Arc::new(grants(&[Scope::Inference], &["large", "tiny"])));
    let service = stack(
        rig.layer(),
        upstream(|_| Ok(json(format!("{{{}}}", usage(7, 5))))),
    );
    let response = service.oneshot(rig.chat("")).await.expect("an answer");
    assert_eq!(
        collect(response).await.0,
        StatusCode::OK,
        "a key that is for it is served"
    );
    assert_eq!(rig.standing().await, (12, 0));
}

#[tokio::test]
async fn json_is_charged_what_the_upstream_reports() {
    let done = settle(r#","max_tokens":20"#, || {
        json(format!("{{{}}}", usage(7, 5)))
    })
    .await;
    assert_eq!(done, (200, tokens(12), Source::Upstream, Ending::Complete));
}

#[tokio::test]
async fn json_without_usage_is_charged_the_hold() {
    let rest = r#","max_tokens":20"#;
    for body in ["{\"choices\":[]}", "{\"usage\":null}", "not JSON"] {
        let rig = Rig::new(1000).await;
        let service = stack(rig.layer(), upstream(move |_| Ok(json(body))));
        let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
        assert_eq!(
            collect(response).await.1,
            body,
            "it is delivered all the same"
        );
        let settled = &rig.books.settled()[0];
        assert_eq!(settled.source, Source::Estimated, "{body}");
        assert_eq!(
            settled.charge.get(),
            bound(rest),
            "nobody knows less than the hold"
        );
    }
}

#[tokio::test]
async fn an_answer_of_unknown_kind_is_charged_the_hold() {
    let rest = r#","max_tokens":20"#;
    let done = settle(rest, || {
        answer(200, "text/plain", ScriptedBody::new(["words"]))
    })
    .await;
    assert_eq!(
        done,
        (
            200,
            tokens(bound(rest)),
            Source::Estimated,
            Ending::Complete
        ),
        "its output was delivered, and nothing counts it"
    );
}

#[tokio::test]
async fn json_that_cannot_be_delivered_is_free() {
    let cut = settle("", || {
        answer(
            200,
            "application/json",
            ScriptedBody::new([r#"{"usage":"#]).error("reset"),
        )
    })
    .await;
    assert_eq!(
        cut,
        (502, tokens(0), Source::Nothing, Ending::Refused),
        "cut short"
    );
    let long = settle("", || json(vec![b' '; 5000])).await;
    assert_eq!(
        long,
        (502, tokens(0), Source::Nothing, Ending::Refused),
        "too long"
    );
}

#[tokio::test]
async fn a_refusal_of_the_upstream_is_free() {
    for status in [400, 404, 429, 500] {
        let rig = Rig::new(1000).await;
        let refuse = move |_| {
            Ok(answer(
                status,
                "application/json",
                ScriptedBody::new(["{}"]),
            ))
        };
        let service = stack(rig.layer().charge_lost(true), upstream(refuse));
        let response = service.oneshot(rig.chat("")).await.expect("an answer");
        assert_eq!(response.status(), status);
        assert_eq!(
            rig.standing().await,
            (0, 0),
            "{status} gives the hold back at once"
        );
        assert_eq!(collect(response).await.1, "{}");
        let settled = rig.books.settled();
        assert_eq!(settled.len(), 1, "once, not again by the body");
        assert!(
            settled[0].is_void() && settled[0].ending == Ending::Refused,
            "{status}"
        );
        assert_eq!(settled[0].status, status);
    }
}

#[tokio::test]
async fn a_lost_request_is_free_unless_configured() {
    let lost: [fn() -> Upstream; 2] = [
        || upstream(|_| Err("reset")),
        || {
            upstream(|_| {
                let mut none = answer(504, "application/json", ScriptedBody::default());
                none.extensions_mut().insert(Unanswered);
                Ok(none)
            })
        },
    ];
    let rest = r#","max_tokens":20"#;
    for upstream in lost {
        for (charge, expected) in [(false, 0), (true, bound(rest) - 20)] {
            let rig = Rig::new(1000).await;
            let service = stack(rig.layer().charge_lost(charge), upstream());
            drop(service.oneshot(rig.chat(rest)).await);
            assert_eq!(rig.standing().await, (expected, 0), "charge_lost({charge})");
            assert_eq!(rig.books.settled()[0].ending, Ending::Lost);
        }
    }
}

#[tokio::test]
async fn a_stream_is_charged_its_last_usage() {
    let done = settle(ASKED, || {
        sse(ScriptedBody::new([
            event("a", &format!(",{}", usage(7, 1))),
            format!("data: {{\"choices\":[],{}}}\n\n", usage(7, 3)),
            "data: [DONE]\n\n".to_owned(),
        ]))
    })
    .await;
    assert_eq!(done, (200, tokens(10), Source::Upstream, Ending::Complete));
}

#[tokio::test]
async fn an_upstream_that_dies_is_charged_what_it_reported() {
    let running = || event("a", &format!(",{}", usage(7, 4)));
    assert_eq!(
        settle(UNASKED, || sse(ScriptedBody::new([event(
            "a",
            &format!(",{}", usage(7, 4))
        )])
        .error("reset")))
        .await,
        (200, tokens(11), Source::Upstream, Ending::UpstreamCut),
        "broken off"
    );
    let silent_end = ScriptedBody::new([running()]);
    assert!(!silent_end.is_end_stream());
    assert_eq!(
        settle(UNASKED, || sse(ScriptedBody::new([event(
            "a",
            &format!(",{}", usage(7, 4))
        )])))
        .await,
        (200, tokens(11), Source::Upstream, Ending::UpstreamCut),
        "an end without [DONE] is not complete"
    );
}

#[tokio::test]
async fn half_an_event_is_neither_delivered_nor_charged() {
    let rig = Rig::new(1000).await;
    let first = event("a", &format!(",{}", usage(7, 1)));
    let second = event("b", &format!(",{}", usage(7, 9)));
    let frames = [first.clone(), second[..second.len() - 3].to_owned()];
    let service = stack(
        rig.layer(),
        upstream(move |_| Ok(sse(ScriptedBody::new(frames.clone()).error("reset")))),
    );
    let mut body = service
        .oneshot(rig.chat(ASKED))
        .await
        .expect("an answer")
        .into_body();
    let mut seen = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        seen += std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8");
    }
    assert!(
        seen.starts_with(&first) && !seen.contains("\"b\""),
        "{seen}"
    );
    assert!(
        seen.contains("\"error\"") && !seen.contains("[DONE]"),
        "{seen}"
    );
    assert_eq!(
        rig.standing().await,
        (8, 0),
        "the usage of the half is not charged"
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_charged_what_it_was_given() {
    let count = 6_u64;
    let mut frames: Vec<String> = (1..=count)
        .map(|token| event("x", &format!(",{}", usage(7, token))))
        .collect();
    frames.push(format!(
        "data: {{\"choices\":[],{}}}\n\n",
        usage(7, count + 1)
    ));
    frames.push("data: [DONE]\n\n".to_owned());
    // With everything asked for, frame k is event k; unasked, the event with the whole usage is no frame.
    for (rest, frames_out) in [(ASKED, frames.len()), (UNASKED, frames.len() - 1)] {
        for taken in 0..=frames_out {
            let rig = Rig::new(1000).await;
            let sent = frames.clone();
            let make = move |_| Ok(sse(ScriptedBody::new(sent.clone())));
            let service = stack(rig.layer(), upstream(make));
            let mut body = service
                .oneshot(rig.chat(rest))
                .await
                .expect("an answer")
                .into_body();
            for _ in 0..taken {
                body.frame().await.expect("a frame").expect("no error");
            }
            let (used, reserved) = rig.standing().await;
            assert_eq!((used, reserved), (0, bound(rest)), "held while it streams");
            drop(body);
            let reported = match taken as u64 {
                0 => 0,
                token if token <= count => 7 + token,
                _ => 7 + count + 1,
            };
            assert_eq!(
                rig.standing().await,
                (reported, 0),
                "{taken} frames of {rest}"
            );
            assert_eq!(rig.books.settled().len(), 1, "settled once");
            assert_eq!(rig.books.settled()[0].ending, Ending::ClientGone);
        }
    }
}

#[tokio::test]
async fn an_event_that_waits_for_the_fingerprint_is_charged_when_it_is_delivered() {
    let gate = BodyGate::new();
    let finish = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}],{}}}\n\n",
        usage(7, 5)
    );
    let rig = Rig::new(1000).await;
    let held = (finish, gate.clone());
    let make = move |_| {
        let first = event("x", &format!(",{}", usage(7, 4)));
        Ok(sse(ScriptedBody::new([first, held.0.clone()]).wait(&held.1)))
    };
    let service = stack(rig.layer(), upstream(make));
    let mut body = service
        .oneshot(rig.chat(UNASKED))
        .await
        .expect("an answer")
        .into_body();
    body.frame().await.expect("a frame").expect("no error");
    assert!(
        body.frame().now_or_never().is_none(),
        "the last event waits"
    );
    drop(body);
    assert_eq!(
        rig.standing().await,
        (11, 0),
        "it was not delivered, so it is not charged"
    );
}

#[tokio::test]
async fn a_stream_without_usage_is_charged_its_text() {
    let text = |size: usize| event(&"x".repeat(size), "");
    let rest = UNASKED;
    let prompt = chat_body(rest).len() as u64;
    for (size, expected) in [(3, prompt + 3), (500, bound(rest))] {
        let rig = Rig::new(10_000).await;
        let gate = BodyGate::new();
        let frame = text(size);
        let make = move |_| Ok(sse(ScriptedBody::new([frame.clone()]).wait(&gate)));
        let service = stack(rig.layer(), upstream(make));
        let mut body = service
            .oneshot(rig.chat(rest))
            .await
            .expect("an answer")
            .into_body();
        body.frame().await.expect("a frame").expect("no error");
        drop(body);
        let settled = &rig.books.settled()[0];
        assert_eq!(
            settled.charge.get(),
            expected,
            "{size} bytes of text, at most the hold"
        );
        assert_eq!(settled.source, Source::Estimated);
    }
}

#[tokio::test]
async fn text_behind_the_last_usage_is_not_free() {
    let rig = Rig::new(1000).await;
    let service = stack(
        rig.layer(),
        upstream(|_| {
            let known = event("a", &format!(",{}", usage(5, 1)));
            let silent = event("four", r#","usage":null"#);
            let frames = [known, silent.clone(), silent].map(Bytes::from);
            Ok(sse(ScriptedBody::new(frames)))
        }),
    );
    let rest = r#","stream":true,"max_tokens":100"#;
    let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
    let (status, _) = collect(response).await;
    assert_eq!(status, StatusCode::OK);
    let settled = rig.books.settled();
    assert_eq!(settled.len(), 1);
    assert_eq!(
        (settled[0].charge.get(), settled[0].source),
        (6 + 8, Source::Estimated),
        "what was reported, and a token a byte of what was not"
    );
    assert_eq!(settled[0].usage.prompt, 5, "the figures that there are");
}

#[tokio::test]
async fn a_whole_stream_without_usage_or_known_text_is_charged_the_hold() {
    let done = settle(UNASKED, || {
        let call =
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#;
        sse(ScriptedBody::new([
            format!("data: {call}\n\n"),
            "data: [DONE]\n\n".to_owned(),
        ]))
    })
    .await;
    let hold = tokens(bound(UNASKED));
    assert_eq!(
        done,
        (200, hold, Source::Estimated, Ending::Complete),
        "something was generated, and nothing tells how much"
    );
}

#[tokio::test]
async fn a_stream_dropped_before_its_first_frame_is_free() {
    for rest in [ASKED, UNASKED] {
        let rig = Rig::new(1000).await;
        let body = || ScriptedBody::new([event("a", &format!(",{}", usage(7, 1)))]);
        let service = stack(rig.layer(), upstream(move |_| Ok(sse(body()))));
        drop(service.oneshot(rig.chat(rest)).await.expect("an answer"));
        assert_eq!(rig.standing().await, (0, 0));
        assert!(rig.books.settled()[0].is_void(), "nothing was served");
    }
}

#[tokio::test]
async fn a_body_that_fails_before_its_first_frame_is_free() {
    let done = settle(UNASKED, || sse(ScriptedBody::default().error("reset"))).await;
    assert_eq!(
        done,
        (200, tokens(0), Source::Nothing, Ending::UpstreamCut),
        "the error event is ours: it carries nothing of the upstream's"
    );
}

#[tokio::test]
async fn comments_are_free() {
    let done = settle(UNASKED, || {
        sse(ScriptedBody::new([": keep-alive\n\n", ": keep-alive\n\n"]).error("reset"))
    })
    .await;
    assert_eq!(
        (done.0, done.1),
        (200, tokens(0)),
        "they say that nothing was generated yet"
    );
}

#[tokio::test]
async fn a_future_dropped_while_the_upstream_is_called_holds_nothing() {
    let rig = Rig::new(1000).await;
    let dropped = Arc::new(AtomicBool::new(false));
    struct Notice(Arc<AtomicBool>);
    impl Drop for Notice {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let notice = dropped.clone();
    let never = service_fn(move |_: Request<Full<Bytes>>| {
        let notice = Notice(notice.clone());
        async move {
            std::future::pending::<()>().await;
            drop(notice);
            Ok::<_, &'static str>(json("{}"))
        }
    });
    let service = stack(rig.layer(), tower::util::BoxCloneSyncService::new(never));
    let mut call = Box::pin(service.oneshot(rig.chat(UNASKED)));
    assert!(
        (&mut call).now_or_never().is_none(),
        "the upstream is silent"
    );
    assert_eq!(rig.standing().await, (0, bound(UNASKED)), "held meanwhile");
    drop(call);
    assert!(dropped.load(Ordering::Relaxed), "the upstream is let go");
    assert_eq!(rig.standing().await, (0, 0));
    assert_eq!(rig.books.settled()[0].ending, Ending::Abandoned);
}

#[tokio::test]
async fn a_panic_of_the_upstream_gives_the_hold_back() {
    let rig = Rig::new(1000).await;
    let service = stack(rig.layer(), upstream(|_| panic!("on purpose")));
    let call = tokio::spawn(service.oneshot(rig.chat("")));
    assert!(call.await.is_err(), "the panic goes its way");
    assert_eq!(rig.standing().await, (0, 0));
}

#[tokio::test]
async fn a_body_is_settled_once_whoever_asks_for_its_end() {
    for hint in [false, true] {
        let rig = Rig::new(1000).await;
        let make = move |_| {
            let body = ScriptedBody::new([format!("{{{}}}", usage(1, 2))]);
            let body = if hint { body.hint() } else { body };
            Ok(answer(200, "application/json", body))
        };
        let service = stack(rig.layer(), upstream(make));
        let mut body = service
            .oneshot(rig.chat(""))
            .await
            .expect("an answer")
            .into_body();
        body.frame().await.expect("a frame").expect("no error");
        assert!(
            body.is_end_stream(),
            "an answer of known length ends with its last frame"
        );
        assert_eq!(
            rig.standing().await,
            (3, 0),
            "settled without being asked for the end"
        );
        assert!(body.frame().await.is_none());
        assert!(body.frame().await.is_none(), "polling on is harmless");
        drop(body);
        assert_eq!(rig.books.settled().len(), 1);
        assert_eq!(rig.books.settled()[0].ending, Ending::Complete);
    }
}

#[tokio::test]
async fn an_empty_answer_is_settled_at_its_head() {
    let done = settle("", || {
        answer(200, "text/plain", ScriptedBody::default().hint())
    })
    .await;
    assert_eq!((done.0, done.1), (200, tokens(0)), "no byte, no charge");
}

#[tokio::test]
async fn the_upstream_is_let_go_before_the_hold() {
    let rig = Rig::new(1000).await;
    let body = ScriptedBody::new([event("a", "")]);
    let end = body.watch();
    let once = Arc::new(std::sync::Mutex::new(Some(body)));
    let make = move |_| Ok(sse(once.lock().expect("once").take().expect("once")));
    let service = stack(rig.layer(), upstream(make));
    let mut body = service
        .oneshot(rig.chat(UNASKED))
        .await
        .expect("an answer")
        .into_body();
    body.frame().await.expect("a frame").expect("no error");
    assert_eq!(end.get(), None);
    drop(body);
    assert_eq!(
        end.get(),
        Some(BodyEnd::Early),
        "the upstream stops generating"
    );
}

#[tokio::test]
async fn every_answer_shows_the_tightest_limit() {
    let rig = Rig::new(1000).await;
    for make in [
        || json(format!("{{{}}}", usage(1, 1))),
        || answer(400, "application/json", ScriptedBody::default()),
        || sse(ScriptedBody::default()),
    ] {
        let service = stack(rig.layer(), upstream(move |_| Ok(make())));
        let before = rig.standing().await.0;
        let response = service.oneshot(rig.chat(UNASKED)).await.expect("an answer");
        assert_eq!(response.headers()["x-ratelimit-limit-tokens"], "1000");
        let remaining = (1000 - before - bound(UNASKED)).to_string();
        assert_eq!(
            response.headers()["x-ratelimit-remaining-tokens"],
            remaining
        );
    }
    let free = Rig::new(1000).await;
    let cleared = free.books.set_limit(free.subject(), None).await;
    cleared.expect("in memory");
    let service = stack(free.layer(), upstream(|_| Ok(json("{}"))));
    let response = service.oneshot(free.chat("")).await.expect("an answer");
    assert!(
        !response.headers().contains_key("x-ratelimit-limit-tokens"),
        "no limit, no header"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_told_not_to_come_back() {
    let rig = Rig::new(90).await;
    let called = Arc::new(AtomicUsize::new(0));
    let counter = called.clone();
    let service = stack(
        rig.layer(),
        upstream(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(json("{}"))
        }),
    );
    let rest = r#","max_tokens":20"#;
    let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-should-retry"], "false");
    assert_eq!(response.headers()["x-ratelimit-limit-tokens"], "90");
    assert_eq!(response.headers()["x-ratelimit-remaining-tokens"], "90");
    assert!(
        !response.headers().contains_key("retry-after"),
        "a total limit does not come back"
    );
    let error = error_of(&collect(response).await.1);
    assert_eq!(
        (&error["type"], &error["code"]),
        (&"insufficient_quota".into(), &"insufficient_quota".into())
    );
    let words = error["message"].as_str().expect("words").to_owned();
    assert!(
        words.contains(&bound(rest).to_string()) && words.contains("90 of"),
        "{words}"
    );
    assert_eq!(
        called.load(Ordering::Relaxed),
        0,
        "the upstream is not touched"
    );
    assert!(rig.books.settled().is_empty());
}

#[tokio::test]
async fn an_open_bound_is_clamped_to_what_is_left() {
    let body = chat_body("").len() as u64;
    let rig = Rig::new(body + 9).await;
    let sent = Arc::new(std::sync::Mutex::new(Bytes::new()));
    let seen = sent.clone();
    let service = stack(
        rig.layer(),
        upstream(move |request| {
            let call = request
                .extensions()
                .get::<llm_gate::call::Call>()
                .expect("a call");
            *seen.lock().expect("no panic") = call.apply();
            Ok(json(format!("{{{}}}", usage(5, 9))))
        }),
    );
    let response = service.oneshot(rig.chat("")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let sent: serde_json::Value =
        serde_json::from_slice(&sent.lock().expect("no panic")).expect("JSON");
    assert_eq!(sent["max_tokens"], 9, "the upstream is told what is held");
}

#[tokio::test]
async fn a_frozen_subject_is_refused_in_its_own_way() {
    let key = KeyId::new();
    for (which, status) in [("key", 401), ("user", 401), ("project", 403)] {
        let mut rig = Rig::new(1000).await;
        rig.principal.credential = Credential::Key(key);
        rig.books.freeze(match which {
            "key" => Subject::Key(key),
            "user" => Subject::User(rig.principal.user),
            _ => Subject::Project(rig.principal.project),
        });
        let service = stack(
            rig.layer(),
            upstream(|_| Err("the upstream is not touched")),
        );
        let response = service.oneshot(rig.chat("")).await.expect("an answer");
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            status == 401
        );
        let (_, body) = collect(response).await;
        assert!(
            !body.contains("revoked") && !body.contains("disabled"),
            "a 401 never says why"
        );
    }
}

#[tokio::test]
async fn a_caller_without_an_account_is_refused() {
    let mut rig = Rig::new(1000).await;
    rig.principal = Principal::operator();
    let service = stack(
        rig.layer(),
        upstream(|_| Err("the upstream is not touched")),
    );
    let response = service.oneshot(rig.chat("")).await.expect("an answer");
    let (status, body) = collect(response).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "nothing would limit it");
    assert!(body.contains("account_required"), "{body}");
}

#[tokio::test]
async fn a_stack_without_authentication_serves_nobody() {
    let rig = Rig::new(1000).await;
    let service = stack(
        rig.layer(),
        upstream(|_| Err("the upstream is not touched")),
    );
    let response = service.oneshot(support::chat("")).await.expect("an answer");
    let (status, body) = collect(response).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        error_of(&body)["message"],
        "internal error",
        "details belong into the log"
    );
    assert_eq!(rig.standing().await, (0, 0));

    let bare = rig
        .layer()
        .layer(upstream(|_| Err("the upstream is not touched")));
    let response = bare.oneshot(rig.chat("")).await.expect("an answer");
    assert_eq!(response.status(), 500, "without a Call too");
}

#[tokio::test]
async fn without_a_meter_the_hold_is_charged() {
    let rig = Rig::new(1000).await;
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(rig.layer())
        .service(upstream(|_| Ok(json(format!("{{{}}}", usage(1, 1))))));
    let rest = r#","max_tokens":20"#;
    collect(service.oneshot(rig.chat(rest)).await.expect("an answer")).await;
    assert_eq!(rig.standing().await, (bound(rest), 0));
    assert_eq!(rig.books.settled()[0].source, Source::Estimated);
}

#[tokio::test]
async fn what_exceeds_the_hold_is_debited_and_then_overage() {
    let rest = r#","max_tokens":20"#;
    let rig = Rig::new(bound(rest) + 30).await;
    let excess = bound(rest) + 50;
    let service = stack(
        rig.layer(),
        upstream(move |_| Ok(json(format!("{{{}}}", usage(excess, 0))))),
    );
    collect(service.oneshot(rig.chat(rest)).await.expect("an answer")).await;
    let standing = rig.books.standing(rig.subject()).await.expect("in memory");
    assert_eq!(standing.used.get(), bound(rest) + 30, "as far as it fits");
    assert_eq!(standing.overage.get(), 20, "the rest is booked apart");
    assert_eq!(standing.remaining(), Some(Tokens::ZERO));
}

#[tokio::test]
async fn a_figure_beyond_reason_is_no_figure() {
    let done = settle(r#","max_tokens":20"#, || {
        json(format!("{{{}}}", usage(u64::MAX, u64::MAX)))
    })
    .await;
    assert_eq!(
        done.2,
        Source::Estimated,
        "the hold is charged, the books do not overflow"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_hundred_at_once_get_exactly_what_is_there() {
    let rest = r#","max_tokens":20"#;
    let each = bound(rest);
    for _ in 0..10 {
        let rig = Rig::new(100 * each).await;
        let make = move |_| Ok(json(format!("{{{}}}", usage(each - 20, 20))));
        let service = stack(rig.layer(), upstream(make));
        let barrier = Arc::new(Barrier::new(400));
        let calls: Vec<_> = (0..400)
            .map(|_| {
                let (service, barrier, request) =
                    (service.clone(), barrier.clone(), rig.chat(rest));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let response = service.oneshot(request).await.expect("an answer");
                    collect(response).await.0
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for call in calls {
            statuses.push(call.await.expect("no panic").as_u16());
        }
        let count = |status| statuses.iter().filter(|&&found| found == status).count();
        assert_eq!((count(200), count(429)), (100, 300), "exactly what fits");
        assert_eq!(rig.standing().await, (100 * each, 0));
        let totals = rig.books.totals().await.expect("in memory");
        assert!(totals.balance(), "{totals:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_ever_sees_more_than_the_limit_and_nothing_is_stranded() {
    let rest = r#","max_tokens":20"#;
    let each = bound(rest);
    let limit = 7 * each + 13;
    let rig = Arc::new(Rig::new(limit).await);
    let service = stack(
        rig.layer(),
        upstream(|_| Ok(json(format!("{{{}}}", usage(3, 4))))),
    );
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (rig, done) = (rig.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                let (used, reserved) = rig.standing().await;
                assert!(used + reserved <= limit, "{used} + {reserved} > {limit}");
                tokio::task::yield_now().await;
            }
        }
    });
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (rig, service) = (rig.clone(), service.clone());
            tokio::spawn(async move {
                // Goes on as long as what is charged for good leaves room for one more.
                while rig.standing().await.0 + each <= limit {
                    let response = service.clone().oneshot(rig.chat(rest)).await;
                    collect(response.expect("an answer")).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    done.store(true, Ordering::Relaxed);
    watcher.await.expect("never above the limit");
    let (used, reserved) = rig.standing().await;
    assert_eq!(reserved, 0);
    assert!(
        limit - used < each,
        "{used} of {limit}: less than one bound is left over"
    );
}

#[tokio::test]
async fn best_of_bounds_but_hides_no_prompt() {
    // vLLM answers with `n` choices a prompt whatever `best_of` says: choice i is prompt i here.
    let rig = Rig::new(100_000).await;
    let event = |index: u32| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"text\":\"x\",\"finish_reason\":null}}],\
             \"usage\":{{\"prompt_tokens\":1000,\"total_tokens\":1001,\"completion_tokens\":1}}}}\n\n"
        )
    };
    let frames: Vec<Bytes> = (0..4).map(|index| event(index).into()).collect();
    let service = stack(
        rig.layer(),
        upstream(move |_| Ok(sse(ScriptedBody::new(frames.clone())))),
    );
    let body = r#"{"model":"tiny","prompt":["a","b","c","d"],"best_of":4,"stream":true}"#;
    let request = Request::post("/v1/completions")
        .header("content-type", "application/json")
        .extension(rig.principal.clone())
        .body(Full::from(body))
        .expect("valid");
    let mut body = service
        .oneshot(request)
        .await
        .expect("an answer")
        .into_body();
    for _ in 0..4 {
        drop(body.frame().await);
    }
    drop(body);
    assert_eq!(
        rig.books.settled()[0].charge.get(),
        4004,
        "four prompts, four tokens"
    );
}

/// What is on record of how the last request was served.
fn served(rig: &Rig) -> Served {
    let settled = rig.books.settled().pop().expect("it is settled");
    settled.served.expect("its own process knows")
}

fn named(response: Response<ScriptedBody>) -> Response<ScriptedBody> {
    let mut response = response;
    let name: UpstreamName = "east".parse().expect("a name");
    response.extensions_mut().insert(name);
    response
}

#[tokio::test(start_paused = true)]
async fn bytes_times_and_upstream_are_on_record() {
    let rig = Rig::new(100_000).await;
    let events = [
        event("a", &format!(",{}", usage(7, 1))),
        event("b", &format!(",{}", usage(7, 2))),
        "data: [DONE]\n\n".to_owned(),
    ];
    let length: usize = events.iter().map(String::len).sum();
    let service = stack(
        rig.layer(),
        upstream(move |_| Ok(named(sse(ScriptedBody::new(events.clone()))))),
    );
    let mut request = rig.chat(ASKED);
    let session = http::HeaderValue::from_static("chat-7");
    request.headers_mut().insert("x-session-id", session);
    let response = service.oneshot(request).await.expect("an answer");
    let (first, rest) = (Duration::from_millis(250), Duration::from_millis(1_750));
    tokio::time::advance(first).await;
    let mut body = response.into_body();
    body.frame().await.expect("a frame").expect("no error");
    tokio::time::advance(rest).await;
    while let Some(frame) = body.frame().await {
        frame.expect("no error");
    }
    let expected = Served {
        upstream: "east".parse().ok(),
        response_bytes: length as u64,
        first_data: Some(first),
        total: first + rest,
    };
    assert_eq!(served(&rig), expected, "as it was handed on");
    let record = rig.books.record(rig.books.settled()[0].id).await;
    let record = record.expect("in memory").expect("it is on record");
    assert_eq!(record.request_bytes, chat_body(ASKED).len() as u64);
    assert_eq!(record.session, "chat-7".parse().ok(), "as its client says");
}

#[tokio::test(start_paused = true)]
async fn only_the_bytes_that_were_handed_on_are_on_record() {
    let rig = Rig::new(100_000).await;
    let events = ["a", "b", "c"].map(|text| event(text, &format!(",{}", usage(7, 1))));
    let length = events[0].len() as u64;
    let service = stack(
        rig.layer(),
        upstream(move |_| Ok(sse(ScriptedBody::new(events.clone())))),
    );
    let response = service.oneshot(rig.chat(ASKED)).await.expect("an answer");
    let mut body = response.into_body();
    body.frame().await.expect("a frame").expect("no error");
    drop(body);
    let served = served(&rig);
    assert_eq!(served.response_bytes, length, "the client left behind one");
    assert_eq!(served.upstream, None, "it has no name");
}

#[tokio::test]
async fn refusals_and_what_was_never_answered_are_on_record() {
    let rig = Rig::new(100_000).await;
    let service = stack(
        rig.layer(),
        upstream(|_| {
            Ok(named(answer(
                400,
                "application/json",
                ScriptedBody::new(["no"]),
            )))
        }),
    );
    let response = service.oneshot(rig.chat("")).await.expect("an answer");
    assert_eq!(collect(response).await.1, "no");
    assert_eq!(served(&rig).upstream, "east".parse().ok(), "who refused it");
    let service = stack(rig.layer(), upstream(|_| Err("gone")));
    assert!(service.oneshot(rig.chat("")).await.is_err());
    let served = served(&rig);
    assert_eq!((served.response_bytes, served.first_data), (0, None));
}
