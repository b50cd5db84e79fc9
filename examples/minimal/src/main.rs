//! Three layers around an echo service, on one page: who is calling, what may it use, what did it use.
//!
//! ```text
//! cargo run -p llm-gate-minimal
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use llm_gate::auth::{JwtAuthLayer, JwtIssuer, JwtVerifier, SigningKey, install_crypto};
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::clock::SystemClock;
use llm_gate::identity::{ProjectId, Role, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::meter::TokenMeterLayer;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{LedgerStore, MemoryStore};
use llm_gate::tokens::Tokens;
use tower::{ServiceBuilder, ServiceExt, service_fn};

type Error = Box<dyn std::error::Error>;

/// Stands for the model server: says what it was sent, and that it took three tokens to do so.
async fn echo(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, http::Error> {
    let Ok(body) = request.into_body().collect().await;
    let echo = String::from_utf8_lossy(&body.to_bytes()).replace('"', "'");
    let answer = format!(
        r#"{{"choices":[{{"text":"{echo}"}}],"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#
    );
    Response::builder()
        .header("content-type", "application/json")
        .body(answer.into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    install_crypto();
    let (clock, signing) = (
        Arc::new(SystemClock),
        SigningKey::hs256(b"a secret of at least thirty-two bytes")?,
    );
    let verifier = JwtVerifier::new(
        "https://gate.example",
        "llm-gate",
        [signing.verifying_key()],
        clock.clone(),
    )?;
    let issuer = JwtIssuer::new("https://gate.example", "llm-gate", signing, clock);

    // A user who may spend 150 tokens, in books kept in memory.
    let (store, user) = (Arc::new(MemoryStore::new()), UserId::new());
    store
        .set_limit(Subject::User(user), Some(Tokens::new(150)))
        .await?;

    let service = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(verifier)) // who is calling: 401
        .layer(CallLayer::new(Models::any(
            Model::new("any").context_length(4096),
        ))) // what is asked for: 400
        .layer(QuotaLayer::new(Ledger::spawn(store.clone()))) // may it: 429, before the model is touched
        .layer(TokenMeterLayer::new()) // what it used
        .service(service_fn(echo));

    let token = issuer
        .issue(user, ProjectId::new(), Role::User, Duration::from_secs(60))?
        .jwt;
    for max_tokens in [10, 20, 1000] {
        let request = Request::post("/v1/completions")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(format!(
                r#"{{"model":"echo","prompt":"hi","max_tokens":{max_tokens}}}"#
            )))?;
        let response = service.clone().oneshot(request).await?;
        let (status, body) = (
            response.status(),
            response.into_body().collect().await?.to_bytes(),
        );
        let standing = store.standing(Subject::User(user)).await?;
        println!(
            "{status}: {}\n     used {} of 150",
            String::from_utf8_lossy(&body),
            standing.used
        );
        let expected = if max_tokens == 1000 {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::OK
        };
        assert_eq!(status, expected, "1000 tokens do not fit into what is left");
    }
    assert_eq!(
        store.standing(Subject::User(user)).await?.used,
        Tokens::new(6),
        "two answers of three tokens"
    );
    Ok(())
}
