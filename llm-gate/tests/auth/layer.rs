//! What reaches the inner service, and what a caller is told who does not get that far.

use std::future::{Ready, ready};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use llm_gate::address::ClientAddress;
use llm_gate::auth::{
    AnyAuthLayer, AnyVerifier, ApiKeyAuthLayer, ApiKeySecret, AuthError, AuthLayer, AuthService,
    Authenticate, Authenticating, JwtAuthLayer, JwtIssuer, JwtVerifier,
};
use llm_gate::error::Envelope;
use llm_gate::identity::{Credential, KeyGrants, Principal, ProjectId, Role, UserId};
use llm_gate::store::{StoreError, StoreErrorKind};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::Layer;
use tower_test::mock::{self, Handle, Mock, Spawn};

use crate::counters::Counted;
use crate::credentials::Gate;

type Body = Empty<Bytes>;
type Inner = Mock<Request<()>, Response<Body>>;

assert_impl_all!(JwtAuthLayer: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(ApiKeyAuthLayer: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(AnyAuthLayer: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(AuthService<(), JwtVerifier>: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(AuthService<(), AnyVerifier>: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(Authenticating: Send, Unpin);
assert_impl_all!(JwtIssuer: Send, Sync, Clone);
assert_impl_all!(AuthError: Send, Sync, std::error::Error);
// Nothing secret can be printed by mistake.
assert_not_impl_any!(ApiKeySecret: std::fmt::Display);

/// Answers whatever it was made with.
#[derive(Clone)]
struct Always(fn() -> Result<Principal, AuthError>);

impl Authenticate for Always {
    type Future = Ready<Result<Principal, AuthError>>;

    fn authenticate(&self, _: &HeaderMap) -> Self::Future {
        ready((self.0)())
    }
}

fn somebody() -> Principal {
    Principal::new(
        UserId::from_uuid(uuid::Uuid::from_u128(1)),
        ProjectId::from_uuid(uuid::Uuid::from_u128(2)),
        Credential::Session,
    )
}

type Upstream = Handle<Request<()>, Response<Body>>;

fn spawn<L: Layer<Inner>>(layer: L) -> (Spawn<L::Service>, Upstream) {
    mock::spawn_layer(layer)
}

async fn refused<A: Authenticate + Clone>(
    layer: AuthLayer<A>,
    request: Request<()>,
) -> (StatusCode, HeaderMap, String) {
    let (mut service, mut handle) = spawn(layer);
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let response = service
        .call(request)
        .await
        .expect("a refusal is a response");
    drop(service);
    assert!(
        handle.next_request().await.is_none(),
        "the inner service was called"
    );
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("cannot fail").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("JSON");
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn the_caller_is_made_known_and_nothing_is_taken_away() {
    let (mut service, mut handle) = spawn(AuthLayer::new(Always(|| Ok(somebody()))));
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let mut request = Request::post("/v1/completions")
        .header("authorization", "Bearer the-secret")
        .header("x-api-key", "the-secret")
        .header("x-other", "1")
        .body(())
        .expect("a request");
    let forged = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
    request.extensions_mut().insert(forged.role(Role::Admin));
    let answer = tokio::spawn(service.call(request));

    let (seen, send) = handle.next_request().await.expect("forwarded");
    assert_eq!(
        seen.extensions().get(),
        Some(&somebody()),
        "ours replaces any other"
    );
    assert_eq!(seen.uri(), "/v1/completions");
    assert_eq!(seen.headers()["authorization"], "Bearer the-secret");
    assert_eq!(seen.headers()["x-other"], "1");
    assert!(
        !format!("{seen:?}").contains("the-secret"),
        "credentials are not printed"
    );
    let mut response = Response::new(Body::new());
    response
        .headers_mut()
        .insert("x-inner", "1".parse().expect("a value"));
    send.send_response(response);
    let response = answer.await.expect("no panic").expect("no error");
    assert_eq!(response.headers()["x-inner"], "1");
}

#[tokio::test]
async fn every_reason_for_a_401_looks_the_same_from_outside() {
    let reasons: [fn() -> Result<Principal, AuthError>; 7] = [
        || Err(AuthError::Missing),
        || Err(AuthError::Malformed),
        || Err(AuthError::Conflicting),
        || Err(AuthError::Invalid),
        || Err(AuthError::Expired),
        || Err(AuthError::Revoked),
        || Err(AuthError::Address),
    ];
    for reason in reasons {
        let (status, headers, body) =
            refused(AuthLayer::new(Always(reason)), Request::new(())).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["www-authenticate"], "Bearer");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(
            body,
            r#"{"error":{"message":"missing or invalid credentials","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        );
    }
}

fn from_the_office() -> Result<Principal, AuthError> {
    let grants = KeyGrants {
        networks: Some(vec!["192.0.2.0/24".parse().expect("a network")]),
        ..KeyGrants::default()
    };
    Ok(somebody().grants(Arc::new(grants)))
}

#[tokio::test]
async fn a_key_from_another_network_than_its_own_is_refused_like_a_wrong_one() {
    for address in [Some("192.0.3.1"), Some("2001:db8::1"), None] {
        let mut request = Request::new(());
        if let Some(address) = address {
            let address = ClientAddress::new(address.parse().expect("an address"));
            request.extensions_mut().insert(address);
        }
        let (status, _, body) = refused(AuthLayer::new(Always(from_the_office)), request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{address:?} is not in it");
        assert!(body.contains("missing or invalid credentials"), "{body}");
    }
    for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
        let (mut service, mut handle) = spawn(AuthLayer::new(Always(from_the_office)));
        handle.allow(1);
        assert!(service.poll_ready().is_ready());
        let mut request = Request::new(());
        let from = ClientAddress::new(address.parse().expect("an address"));
        request.extensions_mut().insert(from);
        let answer = tokio::spawn(service.call(request));
        let (_, send) = handle.next_request().await.expect("it is let through");
        send.send_response(Response::new(Body::new()));
        let response = answer.await.expect("no panic").expect("no error");
        assert_eq!(response.status(), StatusCode::OK, "{address} is in it");
    }
}

#[tokio::test]
async fn the_envelope_can_be_chosen() {
    let layer = AuthLayer::new(Always(|| Err(AuthError::Invalid))).envelope(Envelope::Detail);
    let (_, _, body) = refused(layer, Request::new(())).await;
    assert_eq!(body, r#"{"detail":"missing or invalid credentials"}"#);
}

#[tokio::test]
async fn a_store_that_is_down_is_a_503_that_says_when_to_come_back() {
    let layer = AuthLayer::new(Always(|| {
        let cause = StoreError::with_source(StoreErrorKind::Unavailable, "password=hunter2");
        Err(AuthError::Unavailable(cause))
    }));
    let (status, headers, body) = refused(layer, Request::new(())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "5");
    assert!(!headers.contains_key("www-authenticate"));
    assert!(!body.contains("hunter2"), "{body}");
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_called() {
    let (mut service, mut handle) = spawn(AuthLayer::new(Always(|| Ok(somebody()))));
    handle.allow(0);
    assert!(
        service.poll_ready().is_pending(),
        "readiness is the inner service's"
    );
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    // A clone would not be ready, and the mock panics when it is called unready.
    let answer = tokio::spawn(service.call(Request::new(())));
    let (_, send) = handle.next_request().await.expect("forwarded");
    send.send_response(Response::new(Body::new()));
    assert!(answer.await.expect("no panic").is_ok());
    assert!(service.poll_ready().is_pending(), "the allowance was spent");
}

#[tokio::test]
async fn errors_of_the_inner_service_pass_unchanged() {
    let (mut service, mut handle) = spawn(AuthLayer::new(Always(|| Ok(somebody()))));
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let answer = tokio::spawn(service.call(Request::new(())));
    let (_, send) = handle.next_request().await.expect("forwarded");
    send.send_error("inner trouble");
    let error = answer.await.expect("no panic").expect_err("an error");
    assert_eq!(error.to_string(), "inner trouble");
}

#[tokio::test]
async fn a_wait_for_the_answer_does_not_start_the_call() {
    #[derive(Clone)]
    struct Never;

    impl Authenticate for Never {
        type Future = std::future::Pending<Result<Principal, AuthError>>;

        fn authenticate(&self, _: &HeaderMap) -> Self::Future {
            std::future::pending()
        }
    }

    let (mut service, mut handle) = spawn(AuthLayer::new(Never));
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let mut call = by_hand(service.call(Request::new(())));
    assert!(call().is_none(), "nobody has answered");
    drop((call, service));
    assert!(
        handle.next_request().await.is_none(),
        "dropped without a call"
    );
}

#[tokio::test]
async fn outcomes_are_counted_with_the_reason_that_callers_are_not_told() {
    let counted = Counted::default();
    let answers: [fn() -> Result<Principal, AuthError>; 3] = [
        || Ok(somebody()),
        || Err(AuthError::Expired),
        || Err(AuthError::Missing),
    ];
    for answer in answers {
        let (mut service, mut handle) = spawn(AuthLayer::new(Always(answer)));
        handle.allow(1);
        assert!(service.poll_ready().is_ready());
        let mut call = by_hand(service.call(Request::new(())));
        metrics::with_local_recorder(&counted, &mut call);
    }
    let lines = counted.0.lock().expect("not poisoned");
    assert_eq!(
        *lines,
        [
            "auth_success_total{} +1",
            "auth_failure_total{reason=expired} +1",
            "auth_failure_total{reason=missing} +1",
        ]
    );
}

#[tokio::test]
async fn the_operator_passes_only_where_no_account_is_needed() {
    let operator = || Always(|| Ok(Principal::operator()));
    let (status, headers, body) = refused(AuthLayer::new(operator()), Request::new(())).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!headers.contains_key("www-authenticate"), "it is known");
    assert!(body.contains(r#""code":"account_required""#), "{body}");

    let (mut service, mut handle) = spawn(AuthLayer::new(operator()).operators(true));
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let answer = tokio::spawn(service.call(Request::new(())));
    let (seen, send) = handle.next_request().await.expect("forwarded");
    assert_eq!(seen.extensions().get(), Some(&Principal::operator()));
    send.send_response(Response::new(Body::new()));
    assert!(answer.await.expect("no panic").is_ok());
}

/// Polls a future by hand.
fn by_hand<F: Future>(future: F) -> impl FnMut() -> Option<F::Output> {
    let mut future = Box::pin(future);
    move || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}

#[tokio::test]
async fn all_three_layers_stand_in_front_of_a_service() {
    let gate = Gate::new().await;
    let with = |credential: &str| {
        Request::get("/")
            .header("x-api-key", credential)
            .body(())
            .expect("a request")
    };
    let (status, ..) = refused(JwtAuthLayer::new(gate.jwt), with(&gate.good_key)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, ..) = refused(ApiKeyAuthLayer::new(gate.keys), with(&gate.good_jwt)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let (mut service, mut handle) = spawn(AnyAuthLayer::new(gate.any));
    for credential in [gate.good_jwt, gate.good_key] {
        handle.allow(1);
        assert!(service.poll_ready().is_ready());
        let answer = tokio::spawn(service.call(with(&credential)));
        let (seen, send) = handle.next_request().await.expect("forwarded");
        assert!(seen.extensions().get::<Principal>().is_some());
        send.send_response(Response::new(Body::new()));
        assert!(answer.await.expect("no panic").is_ok());
    }
}
