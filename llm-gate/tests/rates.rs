//! The layers that limit requests in time: what passes, what a caller is told, and who is not hurt.

#[path = "auth/counters.rs"]
mod counters;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use llm_gate::address::ClientAddress;
use llm_gate::allowance::Allowance;
use llm_gate::body::GateBody;
use llm_gate::clock::Clock;
use llm_gate::error::Envelope;
use llm_gate::identity::{Credential, Holder, KeyId, Principal, ProjectId, SessionId, UserId};
use llm_gate::limit::{
    Attempt, Exceeded, FailureLimitFuture, FailureLimitLayer, FailureLimitService, Failures, Held,
    Known, Limiter, Rate, RateLimitFuture, RateLimitLayer, RateLimitService, recognised,
};
use llm_gate::test_util::ManualClock;
use static_assertions::assert_impl_all;
use tower::util::{BoxCloneSyncService, MapRequestLayer};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock;

type Body = Empty<Bytes>;
type Inner = BoxCloneSyncService<Request<()>, Response<Body>, Infallible>;

assert_impl_all!(RateLimitLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(RateLimitService<Inner>: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(RateLimitFuture<std::future::Ready<()>>: Send);
assert_impl_all!(FailureLimitLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(FailureLimitService<Inner>: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(FailureLimitFuture<std::future::Ready<()>>: Send);
assert_impl_all!(Limiter<u64>: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(Held<u64>: Send, Sync);
assert_impl_all!(Attempt: Clone, Send, Sync);
assert_impl_all!(Known: Clone, Send, Sync);
assert_impl_all!(Exceeded: std::error::Error, Send, Sync);

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

fn from(address: &str) -> Request<()> {
    let address = ClientAddress::new(address.parse().expect("an address"));
    let request = Request::builder().extension(address).body(());
    request.expect("a request")
}

fn of(principal: &Principal) -> Request<()> {
    let request = Request::builder().extension(principal.clone()).body(());
    request.expect("a request")
}

fn answers(status: StatusCode) -> Inner {
    BoxCloneSyncService::new(service_fn(move |_| async move {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        Ok(response)
    }))
}

async fn ask<S, C>(service: &S, request: Request<()>) -> Response<GateBody<C>>
where
    S: Service<Request<()>, Response = Response<GateBody<C>>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().expect("text")
}

#[tokio::test]
async fn every_answer_tells_what_is_left_and_a_refusal_when_to_come_back() {
    let clock = ManualClock::new();
    let layer = RateLimitLayer::per_address(rate("2/minute"), Arc::new(clock.clone()));
    for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
        let service = layer.clone().capacity(10).layer(answers(status));
        for (remaining, reset) in [("1", "30s"), ("0", "60s")] {
            let response = ask(&service, from("192.0.2.1")).await;
            assert_eq!(response.status(), status);
            let headers = response.headers();
            assert_eq!(text(headers, "x-ratelimit-limit-requests"), "2");
            assert_eq!(text(headers, "x-ratelimit-remaining-requests"), remaining);
            assert_eq!(text(headers, "x-ratelimit-reset-requests"), reset);
            assert_eq!(text(headers, "x-ratelimit-limit"), "2", "older clients");
            assert_eq!(text(headers, "x-ratelimit-remaining"), remaining);
            let moment: i64 = text(headers, "x-ratelimit-reset")
                .parse()
                .expect("a moment");
            let wait = format!("{}s", moment - clock.now().as_secs());
            assert_eq!(wait, reset);
        }
        let refused = ask(&service, from("192.0.2.1")).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(text(refused.headers(), "retry-after"), "30");
        assert!(
            !refused.headers().contains_key("x-should-retry"),
            "it is worth it"
        );
        assert_eq!(
            text(refused.headers(), "x-ratelimit-remaining-requests"),
            "0"
        );
        assert_eq!(text(refused.headers(), "x-ratelimit-reset-requests"), "60s");
        let body = refused
            .into_body()
            .collect()
            .await
            .expect("cannot fail")
            .to_bytes();
        let error: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(error["error"]["type"], "rate_limit_exceeded");
        assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    }
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_served() {
    let clock = ManualClock::new();
    let layer = RateLimitLayer::per_address(rate("3/hour"), Arc::new(clock.clone()));
    let service = layer
        .envelope(Envelope::Detail)
        .layer(answers(StatusCode::OK));
    for _ in 0..3 {
        assert_eq!(ask(&service, from("::1")).await.status(), StatusCode::OK);
    }
    let refused = ask(&service, from("::1")).await;
    let wait = text(refused.headers(), "retry-after")
        .parse()
        .expect("seconds");
    assert_eq!(
        text(refused.headers(), "x-should-retry"),
        "false",
        "20 minutes are nothing to sleep through"
    );
    let body = refused
        .into_body()
        .collect()
        .await
        .expect("cannot fail")
        .to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(
        body["detail"].is_string(),
        "as the management routes say it: {body}"
    );
    for _ in 0..10 {
        let again = ask(&service, from("::1")).await;
        assert_eq!(again.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    clock.advance(Duration::from_secs(wait));
    let served = ask(&service, from("::1")).await;
    assert_eq!(
        served.status(),
        StatusCode::OK,
        "asking in vain costs nothing"
    );
}

#[tokio::test]
async fn whoever_shows_whose_it_is_passes_where_an_address_is_used_up() {
    let clock = ManualClock::new();
    let layer = RateLimitLayer::per_address(rate("2/minute"), Arc::new(clock.clone()));
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let vouched = layer.clone().vouched(move |headers, _| {
        counting.fetch_add(1, Ordering::Relaxed);
        let signed = headers.get("x-api-key")?.to_str().ok()?;
        let mut name = [0; 16];
        name[0] = *signed.strip_prefix("signed-")?.as_bytes().first()?;
        Some(Holder::from_bytes(name))
    });
    let service = vouched.layer(answers(StatusCode::OK));
    let status = async |key: &str| ask(&service, with_key("192.0.2.1", key)).await.status();
    for _ in 0..2 {
        assert_eq!(status("signed-a").await, StatusCode::OK, "as an address");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "there was something left");
    assert_eq!(status("made up").await, StatusCode::TOO_MANY_REQUESTS);
    for holder in ["signed-a", "signed-b"] {
        for left in ["1", "0"] {
            let answer = ask(&service, with_key("192.0.2.1", holder)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{holder}");
            let shown = text(answer.headers(), "x-ratelimit-remaining-requests");
            assert_eq!(shown, left, "of its own");
        }
        assert_eq!(status(holder).await, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(status("made up").await, StatusCode::TOO_MANY_REQUESTS);
    let plain = layer.layer(answers(StatusCode::OK));
    let refused = ask(&plain, with_key("192.0.2.1", "signed-c")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "unasked");
    clock.advance(Duration::from_secs(30));
    assert_eq!(status("made up").await, StatusCode::OK, "waited");
}

#[tokio::test]
async fn one_subscriber_is_one_address() {
    let layer = RateLimitLayer::per_address(rate("1/day"), Arc::new(ManualClock::new()));
    let service = layer.layer(answers(StatusCode::OK));
    for (address, status) in [
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:ffff::9", 429),
        ("2001:db8:1:3::1", 200),
        ("192.0.2.1", 200),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.2", 200),
    ] {
        let response = ask(&service, from(address)).await;
        assert_eq!(response.status().as_u16(), status, "{address}");
    }
}

#[tokio::test]
async fn each_key_and_each_session_is_counted_by_itself() {
    let layer = RateLimitLayer::per_principal(rate("1/day"), Arc::new(ManualClock::new()));
    // Two routes of one server.
    let (here, there) = (
        layer.layer(answers(StatusCode::OK)),
        layer.layer(answers(StatusCode::OK)),
    );
    let user = UserId::new();
    let with = |credential| Principal::new(user, ProjectId::new(), credential);
    let (one, two) = (KeyId::new(), KeyId::new());
    let session = || {
        let mut principal = with(Credential::Session);
        principal.session = Some(SessionId::new());
        principal
    };
    let (laptop, phone) = (session(), session());
    for (principal, status) in [
        (laptop.clone(), 200),
        (phone.clone(), 200),
        (laptop, 429),
        (phone, 429),
        // Of credentials that name no session, those of a user together.
        (with(Credential::Key(one)), 200),
        (with(Credential::Key(two)), 200),
        (with(Credential::Session), 200),
        (with(Credential::Key(one)), 429),
        (with(Credential::Session), 429),
        // Has no account and is somebody all the same.
        (Principal::operator(), 200),
        (Principal::operator(), 429),
    ] {
        let response = ask(if status == 200 { &here } else { &there }, of(&principal)).await;
        assert_eq!(response.status().as_u16(), status, "{principal:?}");
    }
}

#[tokio::test]
async fn a_layer_in_the_wrong_place_lets_nobody_through() {
    let clock = Arc::new(ManualClock::new());
    let layers = [
        RateLimitLayer::per_principal(rate("9/second"), clock.clone()),
        RateLimitLayer::per_address(rate("9/second"), clock.clone()),
    ];
    for layer in layers {
        let response = ask(&layer.layer(answers(StatusCode::OK)), Request::new(())).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let failures = FailureLimitLayer::new(Failures::new(rate("9/second"), clock));
    let request = Request::get("/")
        .header("x-api-key", "k")
        .body(())
        .expect("a request");
    let response = ask(&failures.layer(answers(StatusCode::OK)), request).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn switched_off_it_asks_for_nothing_and_shows_nothing() {
    let service = RateLimitLayer::off().layer(answers(StatusCode::OK));
    let service = FailureLimitLayer::off().layer(service);
    let request = Request::get("/")
        .header("x-api-key", "k")
        .body(())
        .expect("a request");
    let response = ask(&service, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn the_tightest_of_several_limits_is_shown_once() {
    let clock = Arc::new(ManualClock::new());
    let inner = BoxCloneSyncService::new(service_fn({
        let clock = clock.clone();
        move |_: Request<()>| {
            let now = clock.now();
            async move {
                let mut response = Response::new(Body::new());
                // As the quota does where requests are limited by the day.
                let day = Allowance {
                    limit: 50,
                    remaining: 4,
                    resets: None,
                };
                day.show(response.headers_mut(), now);
                Ok::<_, Infallible>(response)
            }
        }
    }));
    let wide = RateLimitLayer::per_address(rate("100/minute"), clock.clone()).layer(inner.clone());
    let tight = RateLimitLayer::per_address(rate("3/minute"), clock).layer(inner);
    for (service, limit, remaining, reset) in
        [(wide, "50", "4", None), (tight, "3", "2", Some("20s"))]
    {
        let response = ask(&service, from("192.0.2.1")).await;
        for (name, value) in [
            ("x-ratelimit-limit-requests", Some(limit)),
            ("x-ratelimit-remaining-requests", Some(remaining)),
            ("x-ratelimit-reset-requests", reset),
        ] {
            let mut values = response.headers().get_all(name).iter();
            let shown = values.next().map(|value| value.to_str().expect("text"));
            assert_eq!((shown, values.next()), (value, None), "{name}");
        }
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_is_waited_for() {
    let layer = RateLimitLayer::per_address(rate("9/second"), Arc::new(ManualClock::new()));
    let (mut service, mut handle) = mock::spawn_layer::<Request<()>, Response<Body>, _>(layer);
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
}

/// Refuses all but `good`, as an auth layer does, and tells those inside that it was recognised.
fn auth(good: &'static str) -> Inner {
    let inside = MapRequestLayer::new(recognised::<()>).layer(answers(StatusCode::OK));
    BoxCloneSyncService::new(service_fn(move |mut request: Request<()>| {
        let inside = inside.clone();
        async move {
            let refused = |status| {
                let mut response = Response::new(Body::new());
                *response.status_mut() = status;
                Ok(response)
            };
            match request.headers().get("x-api-key").map(|key| key.as_bytes()) {
                None => refused(StatusCode::UNAUTHORIZED),
                Some(b"store away") => refused(StatusCode::SERVICE_UNAVAILABLE),
                Some(key) if key == good.as_bytes() => {
                    let caller =
                        Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
                    request.extensions_mut().insert(caller);
                    inside.oneshot(request).await
                }
                Some(_) => refused(StatusCode::UNAUTHORIZED),
            }
        }
    }))
}

fn with_key(address: &str, key: &str) -> Request<()> {
    let mut request = from(address);
    let key = key.parse().expect("a header");
    request.headers_mut().insert("x-api-key", key);
    request
}

#[tokio::test]
async fn wrong_credentials_keep_their_address_from_trying_more() {
    let clock = ManualClock::new();
    let failures = Failures::new(rate("3/hour"), Arc::new(clock.clone()));
    let service = FailureLimitLayer::new(failures).layer(auth("good"));
    let mut seen = Vec::new();
    for key in [
        "good",
        "a",
        "store away",
        "good",
        "b",
        "c",
        "d",
        "store away",
    ] {
        seen.push(
            ask(&service, with_key("192.0.2.1", key))
                .await
                .status()
                .as_u16(),
        );
    }
    assert_eq!(
        seen,
        [200, 401, 503, 200, 401, 401, 429, 429],
        "what was good, and what nobody could tell, counts for nothing"
    );
    let known = ask(&service, with_key("192.0.2.1", "good")).await;
    assert_eq!(
        known.status(),
        StatusCode::OK,
        "whom it knows here has not to wait"
    );
    let nothing = ask(&service, from("192.0.2.1")).await;
    assert_eq!(
        nothing.status(),
        StatusCode::UNAUTHORIZED,
        "no guess, no refusal"
    );
    let elsewhere = ask(&service, with_key("192.0.2.2", "good")).await;
    assert_eq!(elsewhere.status(), StatusCode::OK);
    let refused = ask(&service, with_key("192.0.2.1", "e")).await;
    assert_eq!(text(refused.headers(), "retry-after"), "1200");
    clock.advance(Duration::from_secs(1200));
    let again = ask(&service, with_key("192.0.2.1", "e")).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "one more");
    let again = ask(&service, with_key("192.0.2.1", "f")).await;
    assert_eq!(again.status(), StatusCode::TOO_MANY_REQUESTS, "and no more");
}

#[tokio::test]
async fn a_request_that_is_given_up_is_no_failure() {
    let failures = Failures::new(rate("1/day"), Arc::new(ManualClock::new()));
    let silent =
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let mut service = FailureLimitLayer::new(failures.clone()).layer(silent);
    for _ in 0..3 {
        let asking = service
            .ready()
            .await
            .expect("ready")
            .call(with_key("192.0.2.1", "a"));
        drop(asking);
    }
    let service = FailureLimitLayer::new(failures).layer(auth("good"));
    let tried = ask(&service, with_key("192.0.2.1", "a")).await;
    assert_eq!(
        tried.status(),
        StatusCode::UNAUTHORIZED,
        "the one that is allowed"
    );
}

#[test]
fn whoever_comes_at_the_same_time_shares_one_rate() {
    let limiter = Limiter::new(rate("500/day"), Arc::new(ManualClock::new()));
    let passed: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..1000).filter(|_| limiter.take("one").is_ok()).count()))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("no panic"))
            .sum()
    });
    assert_eq!(passed, 500, "neither one more nor one less");
}

#[test]
fn a_flood_of_keys_frees_nobody_hurts_nobody_and_refuses_no_newcomer() {
    let limiter = Limiter::new(rate("60/minute"), Arc::new(ManualClock::new())).capacity(1024);
    for _ in 0..60 {
        assert!(limiter.take(0).is_ok());
    }
    for old in 1..100 {
        assert_eq!(limiter.take(old).expect("the first").remaining, 59);
    }
    for flood in 10_000..12_000 {
        assert!(limiter.take(flood).is_ok());
    }
    assert!(limiter.take(0).is_err(), "what was used stays used");
    for old in 1..100 {
        assert_eq!(
            limiter.take(old).expect("the second").remaining,
            58,
            "counted by itself"
        );
    }
    for newcomer in 1000..1100 {
        assert!(limiter.take(newcomer).is_ok(), "crowded, not refused");
    }
}

#[tokio::test]
async fn refusals_are_counted_by_endpoint() {
    use llm_gate::limit::Endpoint;
    let layer = RateLimitLayer::per_address(rate("1/day"), Arc::new(ManualClock::new()));
    let service = layer.layer(answers(StatusCode::OK));
    let recorder = counters::Counted::default();
    let guard = metrics::set_default_local_recorder(&recorder);
    for endpoint in ["/served", "/v1/models", "/users/me"] {
        let mut request = from("192.0.2.1");
        request.extensions_mut().insert(Endpoint::new(endpoint));
        ask(&service, request).await;
    }
    ask(&service, from("192.0.2.1")).await;
    drop(guard);
    let counted = recorder.0.lock().expect("no panic");
    assert_eq!(
        *counted,
        ["/v1/models", "/users/me", "all"]
            .map(|endpoint| format!("rate_limit_exceeded_total{{endpoint={endpoint}}} +1")),
    );
}
