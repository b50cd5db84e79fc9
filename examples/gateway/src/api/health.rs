use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llm_gate::identity::{Subject, UserId};

use super::document::{Reply, Sketch};
use super::views::{About, Health, moment};
use crate::app::App;

/// How long the store may take to answer a health check.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells name and version.
#[utoipa::path(get, path = "/")]
pub(super) async fn root() -> Answer<About> {
    Answer(About {
        name: "llm-gate",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Tells whether the process answers.
#[utoipa::path(get, path = "/api/v1/health/live")]
pub(super) async fn live(State(app): State<App>) -> Answer<Health> {
    Answer(Report::new(&app, StatusCode::OK, "healthy", "alive").0)
}

/// Tells whether the gateway can serve.
///
/// It can when its store answers, and the model server did when it was asked last.
#[utoipa::path(get, path = "/api/v1/health/ready")]
pub(super) async fn ready(State(app): State<App>) -> Report {
    let sick = StatusCode::SERVICE_UNAVAILABLE;
    let nobody = Subject::User(UserId::from_uuid(uuid::Uuid::nil()));
    match tokio::time::timeout(PATIENCE, app.store.standing(nobody)).await {
        Ok(Ok(_)) if app.catalog.seen().reachable => {
            Report::new(&app, StatusCode::OK, "healthy", "ready")
        }
        Ok(Ok(_)) => Report::new(&app, sick, "degraded", "the model server cannot be reached"),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            Report::new(&app, sick, "unhealthy", "the store cannot answer")
        }
        Err(_) => Report::new(&app, sick, "unhealthy", "the store is slow"),
    }
}

/// An answer whose status is in its body.
pub(super) struct Report(Health);

impl Report {
    fn new(app: &App, code: StatusCode, status: &'static str, message: &'static str) -> Self {
        Self(Health {
            code: code.as_u16(),
            message,
            timestamp: moment(app.clock.now()),
            status,
        })
    }
}

impl IntoResponse for Report {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Answer(self.0)).into_response()
    }
}

impl Reply for Report {
    fn describe(sketch: &mut Sketch) {
        sketch.answer_json::<Health>(StatusCode::OK, "It can");
        sketch.answer_json::<Health>(StatusCode::SERVICE_UNAVAILABLE, "It cannot");
    }
}
