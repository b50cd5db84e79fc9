use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llm_gate::identity::{Subject, UserId};
use serde_json::{Value, json};

use super::views::moment;
use crate::app::App;

/// How long the store may take to answer a health check.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn root() -> Answer<Value> {
    Answer(json!({ "name": "llm-gate", "version": env!("CARGO_PKG_VERSION") }))
}

/// The process answers.
pub(super) async fn live(State(app): State<App>) -> Response {
    report(&app, StatusCode::OK, "healthy", "alive")
}

/// The gate can serve: its store answers, and so did the model server when it was asked last.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let nobody = Subject::User(UserId::from_uuid(uuid::Uuid::nil()));
    match tokio::time::timeout(PATIENCE, app.store.standing(nobody)).await {
        Ok(Ok(_)) if app.catalog.seen().reachable => {
            report(&app, StatusCode::OK, "healthy", "ready")
        }
        Ok(Ok(_)) => report(
            &app,
            StatusCode::SERVICE_UNAVAILABLE,
            "degraded",
            "the model server cannot be reached",
        ),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            report(
                &app,
                StatusCode::SERVICE_UNAVAILABLE,
                "unhealthy",
                "the store cannot answer",
            )
        }
        Err(_) => report(
            &app,
            StatusCode::SERVICE_UNAVAILABLE,
            "unhealthy",
            "the store is slow",
        ),
    }
}

fn report(app: &App, status: StatusCode, word: &str, message: &str) -> Response {
    let body = json!({
        "code": status.as_u16(),
        "message": message,
        "timestamp": moment(app.clock.now()),
        "status": word,
    });
    (status, Answer(body)).into_response()
}
