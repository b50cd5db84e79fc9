//! Streams that hold step by step: what is held when, what waits for it, and how a stream ends that gets no
//! more.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::call::{Call, CallLayer};
use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{Ending, LedgerStore, Source};
use llm_gate::test_util::{BodyEnd, BodyGate, ScriptedBody};
use llm_gate::tokens::Tokens;
use serde_json::{Value, json};
use support::{
    Gated, Rig, Slow, chat_body, collect, error_of, event, json as json_answer, models, post,
    rolling, sse, upstream, usage,
};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};

type Streamed = Gated<llm_gate::meter::MeterBody<ScriptedBody>>;

const PROMPT: u64 = 7;
const LONG: &str = r#","max_tokens":4000,"stream":true"#;
const LONG_WITH_USAGE: &str =
    r#","max_tokens":4000,"stream":true,"stream_options":{"include_usage":true}"#;

/// The prompt's bound: a token a byte.
fn prompt(rest: &str) -> u64 {
    chat_body(rest).len() as u64
}

/// A chunk as vLLM writes it, with the running usage.
fn chunk(index: u64, text: &str, finish: &str, completion: u64) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"tiny\",\
         \"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}],{}}}\n\n",
        usage(PROMPT, completion)
    )
}

/// A stream of `count` tokens, one an event, after the event that opens it.
fn tokens(count: u64) -> Vec<String> {
    let mut all: Vec<_> = (0..=count)
        .map(|token| chunk(0, "x", "null", token))
        .collect();
    all.push(chunk(0, "", "\"stop\"", count));
    all.push(format!(
        "data: {{\"choices\":[],{}}}\n\n",
        usage(PROMPT, count)
    ));
    all.push("data: [DONE]\n\n".to_owned());
    all
}

/// Opens a stream that gives these frames, and then waits.
async fn open(rig: &Rig, rest: &str, frames: Vec<String>) -> Streamed {
    let gate = BodyGate::new();
    let make = move |_| Ok(sse(ScriptedBody::new(frames.clone()).wait(&gate)));
    let service = rolling(rig.layer(), upstream(make));
    let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Takes the next frame, which is there.
fn next(body: &mut Streamed) -> String {
    let frame = body.frame().now_or_never().expect("nothing is waited for");
    let frame = frame.expect("a frame").expect("no error");
    text(&frame.into_data().expect("data"))
}

fn text(data: &Bytes) -> String {
    std::str::from_utf8(data).expect("UTF-8").to_owned()
}

/// The events of a stream that are JSON.
fn values(stream: &str) -> Vec<Value> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn content(stream: &str) -> usize {
    let values = values(stream);
    let texts = values.iter().map(|event| {
        let text = event["choices"][0]["delta"]["content"].as_str();
        text.unwrap_or_default().len()
    });
    texts.sum()
}

#[tokio::test]
async fn a_stream_holds_its_prompt_and_a_step() {
    let rig = Rig::new(100_000).await;
    let mut body = open(&rig, LONG, tokens(300)).await;
    assert_eq!(rig.standing().await, (0, prompt(LONG) + 256), "at its head");
    next(&mut body);
    assert_eq!(
        rig.standing().await,
        (0, PROMPT + 256),
        "the first usage tells the true prompt"
    );
    for _ in 1..=128 {
        next(&mut body);
    }
    assert_eq!(rig.standing().await, (0, PROMPT + 256), "half of a step");
    next(&mut body);
    assert_eq!(
        rig.standing().await,
        (0, PROMPT + 129 + 256),
        "the next one is asked for before it is needed"
    );
    drop(body);
    assert_eq!(rig.standing().await, (PROMPT + 129, 0));
}

#[tokio::test]
async fn no_more_than_the_whole_bound_is_held() {
    let rest = r#","max_tokens":50,"stream":true"#;
    let rig = Rig::new(100_000).await;
    let mut body = open(&rig, rest, tokens(70)).await;
    assert_eq!(rig.standing().await, (0, prompt(rest) + 50));
    for _ in 0..=50 {
        next(&mut body);
        assert_eq!(rig.standing().await, (0, PROMPT + 50));
    }
    // An upstream that ignores its bound: what it brings is delivered and charged.
    for _ in 51..=70 {
        next(&mut body);
    }
    assert!(
        rig.standing().await.1 <= prompt(rest) + 50,
        "the bound is the most that is held"
    );
    drop(body);
    assert_eq!(rig.standing().await, (PROMPT + 70, 0));
}

#[tokio::test]
async fn a_stream_that_fits_is_what_it_was() {
    for rest in [LONG, LONG_WITH_USAGE] {
        let whole = Rig::new(100_000).await;
        let sent = tokens(1000);
        let make = move |_| Ok(sse(ScriptedBody::new(sent.clone())));
        let make = upstream(make);
        let today = support::stack(whole.layer(), make.clone());
        let today = collect(today.oneshot(whole.chat(rest)).await.expect("an answer")).await;
        let rig = Rig::new(100_000).await;
        let service = rolling(rig.layer(), make);
        let now = collect(service.oneshot(rig.chat(rest)).await.expect("an answer")).await;
        assert_eq!(now, today, "not a byte differs");
        assert_eq!(rig.standing().await, (PROMPT + 1000, 0));
        assert_eq!(rig.books.settled()[0].ending, Ending::Complete);
    }
}

#[tokio::test]
async fn a_stream_is_cut_at_the_limit_and_ends_well_formed() {
    for limit in [prompt(LONG) + 1, 300, 500, 1006] {
        for rest in [LONG, LONG_WITH_USAGE] {
            let limit = limit.max(prompt(rest) + 1);
            let rig = Rig::new(limit).await;
            let body = ScriptedBody::new(tokens(1000));
            let end = body.watch();
            let once = Mutex::new(Some(body));
            let once = Arc::new(once);
            let make = move |_| Ok(sse(once.lock().expect("once").take().expect("once")));
            let service = rolling(rig.layer(), upstream(make));
            let response = service.oneshot(rig.chat(rest)).await.expect("an answer");
            let (_, stream) = collect(response).await;
            assert_eq!(
                rig.standing().await,
                (limit, 0),
                "the last token of the limit is spent, and none beyond"
            );
            let given = usize::try_from(limit - PROMPT).expect("small");
            // The event that opens the stream has a text of one byte too, here.
            assert_eq!(content(&stream), given + 1, "charged is what was delivered");
            assert_eq!(end.get(), Some(BodyEnd::Early), "the upstream is let go");
            let values = values(&stream);
            let asked = usize::from(rest == LONG_WITH_USAGE);
            let last = &values[values.len() - 1 - asked];
            let expected = json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "tiny",
                "choices": [{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "length"}],
            });
            assert_eq!(last, &expected, "in the upstream's own shape");
            if asked == 1 {
                let usage = &values[values.len() - 1];
                assert_eq!(usage["choices"], json!([]));
                assert_eq!(usage["usage"]["total_tokens"], limit, "what is charged");
                assert_eq!(usage["usage"]["prompt_tokens"], PROMPT);
            }
            assert!(stream.ends_with("}\n\ndata: [DONE]\n\n"), "{stream}");
            let settled = &rig.books.settled()[0];
            assert_eq!(
                (settled.ending, settled.source, settled.status),
                (Ending::Cut, Source::Upstream, 200)
            );
            assert!(rig.books.totals().await.expect("in memory").balance());
        }
    }
}

#[tokio::test]
async fn what_stands_in_the_cut_frame_is_neither_delivered_nor_charged() {
    let rig = Rig::new(prompt(LONG) + 5).await;
    let limit = prompt(LONG) + 5;
    let frames = vec![
        chunk(0, "a", "null", 1),
        // More in one frame than the limit has.
        [chunk(0, "b", "null", 2), chunk(0, "c", "null", limit)].concat(),
    ];
    let mut body = open(&rig, LONG, frames).await;
    assert!(next(&mut body).contains("\"a\""));
    let end = next(&mut body);
    assert!(end.contains("length") && !end.contains("\"b\"") && !end.contains("\"c\""));
    assert!(body.frame().await.is_none(), "a clean end");
    assert_eq!(rig.standing().await, (PROMPT + 1, 0));
}

#[tokio::test]
async fn a_completion_ends_in_its_own_shape() {
    let body = r#"{"model":"tiny","prompt":"hi","max_tokens":400,"stream":true}"#;
    let rig = Rig::new(body.len() as u64 + 1).await;
    let piece = |completion| {
        format!(
            "data: {{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":17,\"model\":\"tiny\",\
             \"choices\":[{{\"index\":0,\"text\":\"x\",\"finish_reason\":null}}],{}}}\n\n",
            usage(PROMPT, completion)
        )
    };
    let frames: Vec<_> = (1..400).map(piece).collect();
    let make = move |_| Ok(sse(ScriptedBody::new(frames.clone())));
    let service = rolling(rig.layer(), upstream(make));
    let mut request = post("/v1/completions", body);
    request.extensions_mut().insert(rig.principal.clone());
    let (_, stream) = collect(service.oneshot(request).await.expect("an answer")).await;
    let last = values(&stream).pop().expect("an event");
    let expected = json!({
        "id": "cmpl-1", "object": "text_completion", "created": 17, "model": "tiny",
        "choices": [{"index": 0, "text": "", "logprobs": null, "finish_reason": "length"}],
    });
    assert_eq!(last, expected);
    assert_eq!(rig.standing().await, (body.len() as u64 + 1, 0));
}

#[tokio::test]
async fn of_two_choices_only_the_open_one_is_ended() {
    let rest = r#","max_tokens":400,"n":2,"stream":true"#;
    let limit = prompt(rest) + 20;
    let rig = Rig::new(limit).await;
    let mut frames = vec![chunk(0, "a", "\"stop\"", 3)];
    frames.extend((1..400).map(|token| chunk(1, "x", "null", token)));
    let make = move |_| Ok(sse(ScriptedBody::new(frames.clone())));
    let service = rolling(rig.layer(), upstream(make));
    let (_, stream) = collect(service.oneshot(rig.chat(rest)).await.expect("an answer")).await;
    let ends: Vec<_> = values(&stream)
        .iter()
        .filter(|event| event["choices"][0]["finish_reason"].is_string())
        .map(|event| {
            let choice = &event["choices"][0];
            (choice["index"].clone(), choice["finish_reason"].clone())
        })
        .collect();
    assert_eq!(
        ends,
        [(json!(0), json!("stop")), (json!(1), json!("length"))]
    );
    assert_eq!(rig.standing().await, (limit, 0), "both are charged");
}

#[tokio::test]
async fn a_token_more_than_the_prompt_is_needed_to_begin() {
    let rig = Rig::new(prompt(LONG)).await;
    let service = rolling(
        rig.layer(),
        upstream(|_| Err("the upstream is not touched")),
    );
    let response = service.oneshot(rig.chat(LONG)).await.expect("an answer");
    assert_eq!(response.status(), 429);
    let (_, body) = collect(response).await;
    let words = error_of(&body)["message"].to_string();
    assert!(words.contains(&(prompt(LONG) + 1).to_string()), "{words}");
}

/// What output bound the upstream is told of.
async fn told(limit: u64, rest: &str) -> Value {
    let rig = Rig::new(limit).await;
    let sent = Arc::new(Mutex::new(Value::Null));
    let seen = sent.clone();
    let make = move |request: Request<Full<Bytes>>| {
        let call = request.extensions().get::<Call>().expect("a call");
        let body: Value = serde_json::from_slice(&call.apply()).expect("JSON");
        *seen.lock().expect("no panic") = body["max_tokens"].clone();
        Ok(sse(ScriptedBody::new(tokens(1))))
    };
    let service = rolling(rig.layer(), upstream(make));
    collect(service.oneshot(rig.chat(rest)).await.expect("an answer")).await;
    sent.lock().expect("no panic").clone()
}

#[tokio::test]
async fn an_open_bound_is_the_contexts_unless_less_than_a_step_is_left() {
    let open = r#","stream":true"#;
    let prompt = prompt(open);
    assert_eq!(told(100_000, open).await, 4096 - prompt);
    assert_eq!(
        told(prompt + 256, open).await,
        4096 - prompt,
        "the limit may be raised while it runs, and the prompt is smaller than its bound"
    );
    assert_eq!(
        told(prompt + 9, open).await,
        9,
        "the upstream ends by itself"
    );
    assert_eq!(told(self::prompt(LONG) + 9, LONG).await, 4000, "as asked");
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_held_before_it_is_delivered() {
    let whole = || json_answer(format!("{{{}}}", usage(PROMPT, 900)));
    let rig = Rig::new(PROMPT + 900).await;
    let service = rolling(rig.layer(), upstream(move |_| Ok(whole())));
    let response = service.oneshot(rig.chat(LONG)).await.expect("an answer");
    assert_eq!(response.status(), 200, "it fits");
    assert_eq!(rig.standing().await, (0, PROMPT + 900));
    collect(response).await;
    assert_eq!(rig.standing().await, (PROMPT + 900, 0));

    let rig = Rig::new(PROMPT + 899).await;
    let service = rolling(rig.layer(), upstream(move |_| Ok(whole())));
    let response = service.oneshot(rig.chat(LONG)).await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert_eq!(rig.standing().await, (0, 0), "nothing was delivered");
    assert!(rig.books.settled()[0].is_void());
}

#[tokio::test]
async fn without_a_meter_the_whole_bound_is_held() {
    for limit in [100_000, prompt(LONG) + 3999] {
        let rig = Rig::new(limit).await;
        let service = ServiceBuilder::new()
            .layer(CallLayer::new(models()).running_usage(true))
            .layer(rig.layer())
            .service(upstream(|_| Ok(sse(ScriptedBody::new(tokens(3))))));
        let response = service.oneshot(rig.chat(LONG)).await.expect("an answer");
        if limit < 100_000 {
            assert_eq!(
                response.status(),
                429,
                "nobody measures, and it does not fit"
            );
            assert_eq!(rig.standing().await, (0, 0));
            continue;
        }
        assert_eq!(rig.standing().await, (0, prompt(LONG) + 4000));
        collect(response).await;
        assert_eq!(rig.standing().await, (prompt(LONG) + 4000, 0));
        assert_eq!(rig.books.settled()[0].source, Source::Estimated);
    }
}

#[tokio::test]
async fn a_stream_without_usage_holds_what_its_text_may_be() {
    let rig = Rig::new(100_000).await;
    let frames = (0..50).map(|_| event("ten tokens", "")).collect();
    let mut body = open(&rig, LONG, frames).await;
    for event in 1..=50 {
        next(&mut body);
        let held = rig.standing().await.1;
        assert!(
            held >= prompt(LONG) + event * 10,
            "{held} for {event} events"
        );
    }
    assert_eq!(
        rig.standing().await.1,
        prompt(LONG) + 4000,
        "nothing will tell when more is needed"
    );
    drop(body);
    assert_eq!(rig.standing().await, (prompt(LONG) + 500, 0));
}

#[tokio::test]
async fn a_frozen_subject_ends_its_streams_at_their_next_extension() {
    let rig = Rig::new(100_000).await;
    let mut body = open(&rig, LONG, tokens(1000)).await;
    for _ in 0..=100 {
        next(&mut body);
    }
    rig.books.freeze(rig.subject());
    for _ in 101..=128 {
        assert!(!next(&mut body).contains("length"), "what is held is held");
    }
    let end = next(&mut body);
    assert!(
        end.contains("length") && end.ends_with("[DONE]\n\n"),
        "{end}"
    );
    assert_eq!(rig.standing().await, (PROMPT + 128, 0));
}

#[tokio::test]
async fn room_that_others_free_meanwhile_is_used() {
    let rig = Rig::new(1000).await;
    let mut first = open(&rig, LONG, tokens(700)).await;
    let mut second = open(&rig, LONG, tokens(700)).await;
    next(&mut first);
    next(&mut second);
    for _ in 0..300 {
        next(&mut first);
    }
    // 521 are held there: not another whole step is left for the second.
    for _ in 0..400 {
        next(&mut second);
    }
    drop(first);
    let mut last = String::new();
    for _ in 401..=500 {
        last = next(&mut second);
    }
    assert!(!last.contains("length"), "{last}");
    drop(second);
    assert_eq!(rig.standing().await, (2 * PROMPT + 300 + 500, 0));
}

/// A stream whose books have to be waited for.
struct Waiting {
    store: Arc<Slow>,
    ledger: Ledger,
    subject: Subject,
    body: Streamed,
    gate: BodyGate,
}

impl Waiting {
    /// Opens a stream of 1,000 tokens and takes the first event; its hold is set to the true prompt.
    async fn open() -> Self {
        let store = Arc::new(Slow::default());
        let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
        let subject = Subject::User(principal.user);
        let set = store.set_limit(subject, Some(Tokens::new(100_000))).await;
        set.expect("in memory");
        let ledger = Ledger::spawn(store.clone());
        let gate = BodyGate::new();
        let held = gate.clone();
        let make = move |_| {
            let frames = tokens(1000);
            let (first, rest) = frames.split_first().expect("many");
            let body = ScriptedBody::new([first.clone()]).frames(rest.to_vec());
            Ok(sse(body.wait(&held)))
        };
        let service = rolling(QuotaLayer::new(ledger.clone()), upstream(make));
        let mut request = support::chat(LONG);
        request.extensions_mut().insert(principal);
        let response: Response<_> = service.oneshot(request).await.expect("an answer");
        let mut waiting = Self {
            store,
            ledger,
            subject,
            body: response.into_body(),
            gate,
        };
        waiting.take(1).await;
        while waiting.standing().await.1 != PROMPT + 256 {
            tokio::task::yield_now().await;
        }
        waiting
    }

    async fn take(&mut self, events: usize) -> String {
        let mut last = String::new();
        for _ in 0..events {
            let frame = self.body.frame().await.expect("a frame").expect("no error");
            last = text(&frame.into_data().expect("data"));
        }
        last
    }

    async fn standing(&self) -> (u64, u64) {
        let standing = self.store.standing(self.subject).await.expect("in memory");
        (standing.used.get(), standing.reserved.get())
    }

    /// Takes the stream away, waits until all is written, and returns what was charged, how, and that nothing
    /// is held.
    async fn close(self) -> (u64, Ending) {
        drop(self.body);
        self.gate.open();
        self.ledger.drain().await;
        let standing = self.store.standing(self.subject).await.expect("in memory");
        assert_eq!(standing.reserved, Tokens::ZERO, "nothing stays held");
        let totals = self.store.totals().await.expect("in memory");
        assert!(totals.balance() && totals.pending == 0, "{totals:?}");
        let settled = self.store.books.settled();
        assert_eq!(settled.len(), 1, "once");
        (standing.used.get(), settled[0].ending)
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_asked_for_without_a_wait() {
    let mut stream = Waiting::open().await;
    let asked = stream.store.extensions();
    stream.store.shut(true);
    let start = Instant::now();
    for token in 1..=256 {
        let taken = stream.take(1).now_or_never();
        assert!(taken.is_some(), "token {token} is held");
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.store.extensions(), asked + 1, "asked for once");
    assert_eq!(start.elapsed(), Duration::ZERO);
    stream.store.shut(false);
    while stream.standing().await.1 == PROMPT + 256 {
        tokio::task::yield_now().await;
    }
    assert!(
        stream.take(100).now_or_never().is_some(),
        "and there when it is needed"
    );
    assert_eq!(stream.close().await, (PROMPT + 356, Ending::ClientGone));
}

#[tokio::test(start_paused = true)]
async fn an_event_beyond_the_hold_waits_for_the_commit() {
    let mut stream = Waiting::open().await;
    stream.store.shut(true);
    stream.take(256).await;
    for _ in 0..3 {
        let next = stream.take(1).now_or_never();
        assert!(next.is_none(), "only the commit grants");
        tokio::task::yield_now().await;
    }
    let store = stream.store.clone();
    let released = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        store.shut(false);
    });
    assert!(
        stream.take(1).await.contains("\"x\""),
        "then it is delivered"
    );
    released.await.expect("no panic");
    assert_eq!(stream.close().await, (PROMPT + 257, Ending::ClientGone));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_an_event_waits_is_not_charged_for_it() {
    let mut stream = Waiting::open().await;
    stream.store.shut(true);
    stream.take(256).await;
    assert!(stream.take(1).now_or_never().is_none(), "it waits");
    let store = stream.store.clone();
    let released = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.shut(false);
    });
    assert_eq!(
        stream.close().await,
        (PROMPT + 256, Ending::ClientGone),
        "settled behind the extension that was under way"
    );
    released.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_an_error_and_no_length() {
    let mut stream = Waiting::open().await;
    stream.store.shut(true);
    stream.take(256).await;
    let start = Instant::now();
    let end = stream.take(1).await;
    let waited = start.elapsed();
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    assert!(end.contains("\"error\""), "{end}");
    assert!(!end.contains("length") && !end.contains("[DONE]"), "{end}");
    assert!(stream.body.frame().await.is_none(), "nothing behind it");
    stream.store.shut(false);
    assert_eq!(stream.close().await, (PROMPT + 256, Ending::Cut));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_ends_a_stream_when_its_hold_is_used_up() {
    let mut stream = Waiting::open().await;
    stream.store.away.store(true, Ordering::Relaxed);
    for token in 1..=256 {
        let taken = stream.take(1).await;
        assert!(taken.contains("\"x\""), "token {token} is held");
        tokio::task::yield_now().await;
    }
    let end = stream.take(1).await;
    assert!(
        end.contains("\"error\"") && !end.contains("[DONE]"),
        "{end}"
    );
    stream.store.away.store(false, Ordering::Relaxed);
    assert_eq!(stream.close().await, (PROMPT + 256, Ending::Cut));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_in_time_is_asked_again() {
    let mut stream = Waiting::open().await;
    stream.store.away.store(true, Ordering::Relaxed);
    let asked = stream.store.extensions();
    stream.take(200).await;
    while stream.store.extensions() == asked {
        tokio::task::yield_now().await;
    }
    stream.store.away.store(false, Ordering::Relaxed);
    assert!(stream.take(200).await.contains("\"x\""), "it goes on");
    assert_eq!(stream.close().await, (PROMPT + 400, Ending::ClientGone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_race_for_the_last_tokens_never_exceed_the_limit() {
    for _ in 0..5 {
        let limit = 3_000;
        let rig = Arc::new(Rig::new(limit).await);
        let over = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn({
            let (rig, over) = (rig.clone(), over.clone());
            async move {
                while !over.load(Ordering::Relaxed) {
                    let (used, reserved) = rig.standing().await;
                    assert!(used + reserved <= limit, "{used} + {reserved}");
                    tokio::task::yield_now().await;
                }
            }
        });
        let streams: Vec<_> = (0..8)
            .map(|_| {
                let rig = rig.clone();
                tokio::spawn(async move {
                    let make = |_| Ok(sse(ScriptedBody::new(tokens(900))));
                    let service = rolling(rig.layer(), upstream(make));
                    let response = service.oneshot(rig.chat(LONG)).await.expect("an answer");
                    if response.status() != 200 {
                        return 0;
                    }
                    let (mut body, mut stream) = (response.into_body(), String::new());
                    while let Some(frame) = body.frame().await {
                        let frame = frame.expect("no error").into_data().expect("data");
                        stream += &text(&frame);
                        tokio::task::yield_now().await;
                    }
                    assert!(stream.ends_with("[DONE]\n\n"), "ended or cut, well-formed");
                    match content(&stream) as u64 {
                        0 => 0,
                        delivered => PROMPT + delivered - 1,
                    }
                })
            })
            .collect();
        let mut delivered = 0;
        for stream in streams {
            delivered += stream.await.expect("no panic");
        }
        over.store(true, Ordering::Relaxed);
        watcher.await.expect("never above the limit");
        assert_eq!(rig.standing().await, (delivered, 0), "charged = delivered");
        assert!(
            limit - delivered <= 8 * PROMPT,
            "and nearly all of it is spent: {delivered}"
        );
    }
}
