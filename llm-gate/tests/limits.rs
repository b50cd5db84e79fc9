//! The quota layer over limits of every kind: what a caller is told, and what the upstream is.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use llm_gate::clock::Clock;
use llm_gate::identity::Subject;
use llm_gate::ledger::Ledger;
use llm_gate::meter::MeterBody;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{
    Author, LedgerStore, Limit, LimitChange, LimitKey, Period, Price, Rates, Standing, Tariff,
    Unit, WEIGHT_SCALE, Zone,
};
use llm_gate::test_util::{ManualClock, ScriptedBody};
use llm_gate::tokens::Amount;
use tower::ServiceExt;

use support::{
    Gated, Rig, chat_body, collect, error_of, json, post, rolling, stack, upstream, usage,
};

const ASK: &str = r#","max_tokens":20"#;

type Answer = Gated<MeterBody<ScriptedBody>>;

/// A user without a limit of all its tokens, at 2026-01-01 00:00:00 UTC.
struct Desk {
    rig: Rig,
    clock: ManualClock,
    ledger: Ledger,
}

impl Desk {
    async fn new() -> Self {
        let rig = Rig::new(0).await;
        let cleared = rig.books.set_limit(rig.subject(), None).await;
        cleared.expect("in memory");
        let clock = ManualClock::new();
        let builder = Ledger::builder().clock(clock.clone());
        let ledger = builder.spawn(rig.books.clone());
        Self { rig, clock, ledger }
    }

    async fn limit(&self, unit: Unit, period: Period, amount: u64) {
        let limit = Limit {
            key: LimitKey {
                subject: self.rig.subject(),
                model: None,
                unit,
                period,
            },
            zone: Zone::UTC,
            amount: Amount::new(amount),
            voluntary: false,
        };
        let change = LimitChange::set(limit, Author::system(self.clock.now()));
        self.rig
            .books
            .change_limit(change)
            .await
            .expect("in memory");
    }

    async fn standing(&self, unit: Unit) -> Standing {
        let all = self
            .rig
            .books
            .standings(self.rig.subject(), self.clock.now());
        let all = all.await.expect("in memory");
        let found = all.iter().find(|(limit, _)| limit.key.unit == unit);
        found.expect("it is limited").1
    }

    /// Asks an upstream that uses 5 and 7 tokens; tells also what it was sent.
    async fn ask(&self, request: Request<Full<Bytes>>) -> (Response<Answer>, Option<String>) {
        let sent: Arc<Mutex<Option<String>>> = Arc::default();
        let seen = sent.clone();
        let service = stack(
            QuotaLayer::new(self.ledger.clone()),
            upstream(move |request| {
                let call = request.extensions().get::<llm_gate::call::Call>();
                let body = call.expect("it was read").apply();
                let body = String::from_utf8(body.to_vec()).expect("UTF-8");
                *seen.lock().expect("no panic") = Some(body);
                Ok(json(format!("{{\"choices\":[],{}}}", usage(5, 7))))
            }),
        );
        let response = service.oneshot(request).await.expect("an answer");
        let sent = sent.lock().expect("no panic").take();
        (response, sent)
    }
}

fn bound(rest: &str) -> u64 {
    chat_body(rest).len() as u64 + 20
}

#[tokio::test]
async fn a_limit_that_comes_back_soon_tells_when() {
    let desk = Desk::new().await;
    desk.limit(Unit::Tokens, Period::Minute, bound(ASK)).await;
    desk.clock.advance(Duration::from_millis(15_500));
    let (served, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(
        served.headers()["x-ratelimit-limit-tokens"],
        bound(ASK).to_string()
    );
    assert_eq!(served.headers()["x-ratelimit-remaining-tokens"], "0");
    assert_eq!(
        served.headers()["x-ratelimit-reset-tokens"],
        "45s",
        "rounded up"
    );
    let (refused, sent) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.headers()[RETRY_AFTER],
        "45",
        "what the OpenAI packages sleep"
    );
    assert!(!refused.headers().contains_key("x-should-retry"));
    assert_eq!(refused.headers()["x-ratelimit-reset-tokens"], "45s");
    assert_eq!(sent, None, "the upstream is not touched");
    let error = error_of(&collect(refused).await.1);
    assert_eq!(error["code"], "rate_limit_exceeded");
    drop(served);
    desk.clock.advance(Duration::from_secs(45));
    let (served, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(served.status(), StatusCode::OK, "after that it is served");
}

#[tokio::test]
async fn what_takes_no_tokens_does_not_come_back_at_once_for_want_of_requests() {
    let desk = Desk::new().await;
    desk.limit(Unit::Requests, Period::Total, 0).await;
    // A bound of nothing would fit whatever is left of the tokens.
    let mut request = post("/v1/embeddings", r#"{"model":"tiny","input":[[]]}"#);
    let principal = desk.rig.principal.clone();
    request.extensions_mut().insert(principal);
    let (refused, sent) = desk.ask(request).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    let error = error_of(&collect(refused).await.1);
    assert_eq!(error["code"], "insufficient_quota");
    assert_eq!(sent, None);
}

#[tokio::test]
async fn a_limit_that_is_too_small_or_far_away_is_not_worth_waiting_for() {
    for (period, amount, used, comes_back) in [
        // A minute never has room for it.
        (Period::Minute, bound(ASK) - 1, false, None),
        (Period::Day, 0, false, None),
        (Period::Day, bound(ASK) - 1, false, None),
        // A day is long.
        (Period::Day, bound(ASK), true, Some("86400")),
    ] {
        let desk = Desk::new().await;
        desk.limit(Unit::Tokens, period, amount).await;
        let open = if used {
            Some(desk.ask(desk.rig.chat(ASK)).await)
        } else {
            None
        };
        let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
        drop(open);
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            refused.headers()["x-should-retry"],
            "false",
            "{period} of {amount}"
        );
        let wait = refused.headers().get(RETRY_AFTER);
        let wait = wait.map(|wait| wait.to_str().expect("digits").to_owned());
        assert_eq!(
            wait.as_deref(),
            comes_back,
            "the truth, for who reads it all the same"
        );
        let error = error_of(&collect(refused).await.1);
        assert_eq!(error["code"], "insufficient_quota");
    }
    // Nor the last two minutes of one: 120 seconds are.
    let desk = Desk::new().await;
    desk.limit(Unit::Requests, Period::Day, 1).await;
    drop(
        desk.ask(desk.rig.chat(ASK))
            .await
            .0
            .into_body()
            .collect()
            .await,
    );
    desk.clock.advance(Duration::from_secs(24 * 3600 - 121));
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.headers()["x-should-retry"], "false");
    desk.clock.advance(Duration::from_secs(1));
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.headers()[RETRY_AFTER], "120");
}

#[tokio::test]
async fn requests_are_counted_and_shown() {
    let desk = Desk::new().await;
    desk.limit(Unit::Requests, Period::Minute, 2).await;
    let (first, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(first.headers()["x-ratelimit-limit-requests"], "2");
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "1");
    assert_eq!(first.headers()["x-ratelimit-reset-requests"], "60s");
    assert_eq!(
        first.headers()["x-ratelimit-remaining"],
        "1",
        "older clients"
    );
    assert!(
        !first.headers().contains_key("x-ratelimit-limit-tokens"),
        "tokens are not limited"
    );
    collect(first).await;
    let (second, _) = desk.ask(desk.rig.chat(ASK)).await;
    collect(second).await;
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["x-ratelimit-remaining-requests"], "0");
    let standing = desk.standing(Unit::Requests).await;
    assert_eq!((standing.used.get(), standing.reserved.get()), (2, 0));
}

#[tokio::test]
async fn what_was_not_served_is_no_request() {
    let desk = Desk::new().await;
    desk.limit(Unit::Requests, Period::Minute, 1).await;
    let service = stack(
        QuotaLayer::new(desk.ledger.clone()),
        upstream(|_| Err("refused")),
    );
    for _ in 0..3 {
        let refused = service.clone().oneshot(desk.rig.chat(ASK)).await;
        assert!(refused.is_err());
    }
    let (served, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(served.status(), StatusCode::OK);
}

#[tokio::test]
async fn money_needs_a_price() {
    let desk = Desk::new().await;
    desk.limit(Unit::Money, Period::Total, 1_000_000).await;
    let (refused, sent) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(sent, None);
    assert_eq!(
        error_of(&collect(refused).await.1)["code"],
        "model_not_priced"
    );
    let price = Price {
        model: "tiny".to_owned(),
        tariff: Tariff {
            id: None,
            weights: Rates::even(WEIGHT_SCALE),
            price: Some(Rates {
                prompt: 2_000_000,
                completion: 10_000_000,
                cached: 1_000_000,
            }),
        },
    };
    let set = desk
        .rig
        .books
        .set_price(price, Author::system(desk.clock.now()))
        .await;
    set.expect("in memory");
    let (served, _) = desk.ask(desk.rig.chat(ASK)).await;
    let held = desk.standing(Unit::Money).await.reserved.get();
    assert_eq!(
        held,
        (bound(ASK) - 20) * 2 + 20 * 10,
        "the most it can cost"
    );
    collect(served).await;
    let standing = desk.standing(Unit::Money).await;
    assert_eq!(
        (standing.used.get(), standing.reserved.get()),
        (5 * 2 + 7 * 10, 0),
        "and what it did"
    );
}

#[tokio::test]
async fn a_key_that_clamps_gets_what_is_left() {
    let mut desk = Desk::new().await;
    desk.limit(Unit::Tokens, Period::Total, bound(ASK) - 13)
        .await;
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(
        refused.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "unless it is allowed"
    );
    desk.rig.principal = desk.rig.principal.clone().clamps(true);
    let (served, sent) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(served.headers()["x-llm-gate-clamped"], "7", "20 less 13");
    assert!(
        sent.expect("it is sent").contains(r#""max_tokens":7"#),
        "and the upstream knows"
    );
    collect(served).await;
    // Where all of it fits nothing is touched.
    desk.limit(Unit::Tokens, Period::Total, 10 * bound(ASK))
        .await;
    let (served, sent) = desk.ask(desk.rig.chat(ASK)).await;
    assert!(!served.headers().contains_key("x-llm-gate-clamped"));
    assert!(sent.expect("it is sent").contains(r#""max_tokens":20"#));
    collect(served).await;
    // And where not even a token fits, it is refused.
    desk.limit(Unit::Tokens, Period::Total, 24 + bound(ASK) - 20)
        .await;
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn clamping_leaves_what_the_client_needs_at_least() {
    let mut desk = Desk::new().await;
    desk.rig.principal = desk.rig.principal.clone().clamps(true);
    let rest = r#","max_tokens":20,"min_tokens":10,"n":2"#;
    let prompt = chat_body(rest).len() as u64;
    desk.limit(Unit::Tokens, Period::Total, prompt + 19).await;
    let (refused, _) = desk.ask(desk.rig.chat(rest)).await;
    assert_eq!(
        refused.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "two times ten do not fit"
    );
    desk.limit(Unit::Tokens, Period::Total, prompt + 25).await;
    let (served, sent) = desk.ask(desk.rig.chat(rest)).await;
    assert_eq!(
        served.headers()["x-llm-gate-clamped"],
        "12",
        "for each of two"
    );
    assert!(sent.expect("it is sent").contains(r#""max_tokens":12"#));
}

#[tokio::test]
async fn a_stream_is_cut_where_its_minute_ends() {
    let desk = Desk::new().await;
    let rest = r#","max_tokens":400,"stream":true"#;
    let prompt = chat_body(rest).len() as u64;
    desk.limit(Unit::Tokens, Period::Minute, prompt + 30).await;
    let events = (1..=400).map(|done| {
        let usage = format!(",{}", usage(5, done));
        Bytes::from(support::event("x", &usage))
    });
    let body = ScriptedBody::new(events.collect::<Vec<_>>());
    let body = Mutex::new(Some(body));
    let body = Arc::new(body);
    let service = rolling(
        QuotaLayer::new(desk.ledger.clone()),
        upstream(move |_| {
            let body = body.lock().expect("no panic").take();
            Ok(support::sse(body.expect("asked once")))
        }),
    );
    let response = service
        .oneshot(desk.rig.chat(rest))
        .await
        .expect("an answer");
    let (status, text) = collect(response).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(r#""finish_reason":"length""#) && text.ends_with("data: [DONE]\n\n"));
    let standing = desk.standing(Unit::Tokens).await;
    assert_eq!(
        (standing.used.get(), standing.reserved.get()),
        (prompt + 30, 0),
        "to the last token of the minute"
    );
}

/// A million tokens of a prompt cost 1, generated ones 4.
async fn dear_output(desk: &Desk) {
    let price = Price {
        model: "tiny".to_owned(),
        tariff: Tariff {
            id: None,
            weights: Rates::even(WEIGHT_SCALE),
            price: Some(Rates {
                prompt: 1_000_000,
                completion: 4_000_000,
                cached: 1_000_000,
            }),
        },
    };
    let set = desk
        .rig
        .books
        .set_price(price, Author::system(desk.clock.now()))
        .await;
    set.expect("in memory");
}

/// Streams `events` of one token each behind a prompt of `prompt` tokens, and returns what came of it.
async fn streamed(desk: &Desk, rest: &str, prompt: u64, events: u64) -> String {
    let frames = (1..=events).map(|done| {
        let usage = format!(",{}", usage(prompt, done));
        Bytes::from(support::event("x", &usage))
    });
    let body = Arc::new(Mutex::new(Some(ScriptedBody::new(
        frames.collect::<Vec<_>>(),
    ))));
    let service = rolling(
        QuotaLayer::new(desk.ledger.clone()),
        upstream(move |_| {
            let body = body.lock().expect("no panic").take();
            Ok(support::sse(body.expect("asked once")))
        }),
    );
    let response = service
        .oneshot(desk.rig.chat(rest))
        .await
        .expect("an answer");
    let (status, text) = collect(response).await;
    assert_eq!(status, StatusCode::OK);
    text
}

#[tokio::test]
async fn a_stream_never_spends_more_money_than_it_holds() {
    let rest = r#","max_tokens":1000,"stream":true"#;
    let bytes = chat_body(rest).len() as u64;
    // Room for the prompt's bound and some tokens more, of which each costs as much as four of the prompt.
    for more in [1, 2, 100, 255, 256, 257, 700, 3000] {
        let desk = Desk::new().await;
        dear_output(&desk).await;
        let limit = bytes + 4 * more;
        desk.limit(Unit::Money, Period::Total, limit).await;
        // The prompt takes less than its bytes, which leaves room for a few tokens more.
        let prompt = bytes / 2;
        let text = streamed(&desk, rest, prompt, 1000).await;
        let standing = desk.standing(Unit::Money).await;
        let spent = (
            standing.used.get(),
            standing.reserved.get(),
            standing.overage.get(),
        );
        let tokens = ((limit - prompt) / 4).min(1000);
        assert_eq!(
            spent,
            (prompt + 4 * tokens, 0, 0),
            "{more}: to the last token that fits, and none beyond"
        );
        let cut = text.contains(r#""finish_reason":"length""#);
        assert_eq!(cut, tokens < 1000, "{more}");
    }
}

#[tokio::test]
async fn a_default_limit_holds_for_who_has_none() {
    let desk = Desk::new().await;
    let limit = Limit {
        key: LimitKey {
            subject: Subject::EACH_USER,
            model: None,
            unit: Unit::Requests,
            period: Period::Total,
        },
        zone: Zone::UTC,
        amount: Amount::new(1),
        voluntary: false,
    };
    let change = LimitChange::set(limit, Author::system(desk.clock.now()));
    desk.rig
        .books
        .change_limit(change)
        .await
        .expect("in memory");
    let (served, _) = desk.ask(desk.rig.chat(ASK)).await;
    collect(served).await;
    let (refused, _) = desk.ask(desk.rig.chat(ASK)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["x-should-retry"], "false");
}
