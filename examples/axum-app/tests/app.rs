//! The application in front of a scripted vLLM.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use llm_gate::call::{Model, Models};
use llm_gate::proxy::{Upstream, VllmProxyService};
use llm_gate::store::MemoryStore;
use llm_gate_axum_app::{app, with_one_key};
use scripted_vllm::{Config, ScriptedVllm};
use tower::ServiceExt;

#[tokio::test]
async fn both_routes_are_guarded_and_the_books_tell_what_the_model_counted() {
    let vllm = ScriptedVllm::start(Config::default())
        .await
        .expect("a free port");
    let upstream =
        VllmProxyService::new(Upstream::new(vllm.url().parse().expect("a URL")).expect("valid"));
    let store = Arc::new(MemoryStore::new());
    let (keys, key) = with_one_key(&store).await.expect("a store in memory");
    let app = app(
        &store,
        keys,
        Models::fixed([Model::new("tiny").context_length(4096)]),
        upstream,
    );

    let answer = async |request: Request<Body>| {
        let response = app.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    };
    let chat = |key: &str| {
        Request::post("/v1/chat/completions")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Body::from(
                r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}]}"#,
            ))
            .expect("valid")
    };
    let usage = |key: &str| {
        Request::get("/usage")
            .header("x-api-key", key)
            .body(Body::empty())
            .expect("valid")
    };

    assert_eq!(answer(chat("wrong")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(answer(usage("wrong")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(vllm.counts().requests, 0, "nobody got through");

    assert_eq!(answer(chat(key.expose())).await.0, StatusCode::OK);
    let counts = vllm.counts();
    let used = format!(
        "{} tokens used\n",
        counts.prompt_tokens + counts.completion_tokens
    );
    assert_eq!(answer(usage(key.expose())).await, (StatusCode::OK, used));
}
