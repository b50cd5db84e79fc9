use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use llm_gate::auth::AuthError;
use llm_gate::error::{Envelope, Rejection};
use llm_gate::identity::Principal;
use llm_gate::proxy::UpstreamModel;
use serde_json::{Value, json};

use super::caller::Anyone;
use crate::app::App;

/// When to come back while the upstream's models are not known.
const RETRY: Duration = Duration::from_secs(2);

/// The provider, the model in use and the list, on the management surface.
pub(super) async fn overview(State(app): State<App>, _: Anyone) -> Answer<Value> {
    let list = app.catalog.seen().list.unwrap_or_default();
    let names: Vec<&str> = list.iter().map(|model| model.id.as_str()).collect();
    let current = app.config.upstream.model.as_deref();
    Answer(json!({
        "provider": app.config.upstream.provider,
        "current": current.or_else(|| names.first().copied()),
        "models": names,
    }))
}

/// `GET /v1/models`, as OpenAI answers it.
pub(super) async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Response {
    let listed = known(&app, &principal).await.map(|models| {
        let data: Vec<Value> = models.iter().map(|model| view(&app, model)).collect();
        json!({ "object": "list", "data": data })
    });
    answer(listed)
}

/// `GET /v1/models/{id}`.
pub(super) async fn show(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    let shown = known(&app, &principal).await.and_then(|models| {
        let found = models.iter().find(|model| model.id == id);
        found.map(|model| view(&app, model)).ok_or_else(|| {
            let words = format!("the model {id:?} does not exist");
            Box::new(
                Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", words)
                    .code("model_not_found")
                    .param("model"),
            )
        })
    });
    answer(shown)
}

/// `/v1` in the OpenAI shape for a method that a route does not have. The router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Response {
    let words = format!("the route has no {method}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let rejection = Rejection::new(status, "invalid_request_error", words);
    refuse(rejection.code("method_not_allowed"))
}

async fn known(app: &App, principal: &Principal) -> Result<Arc<[UpstreamModel]>, Box<Rejection>> {
    still_there(app, principal).await?;
    app.catalog.seen().list.ok_or_else(|| {
        let words = "the models of the upstream are not known yet";
        Box::new(Rejection::unavailable(words, RETRY))
    })
}

/// These routes reserve nothing, so a disabled user is not stopped by its frozen counter.
async fn still_there(app: &App, principal: &Principal) -> Result<(), Box<Rejection>> {
    match app.store.user(principal.user).await {
        Ok(Some(user)) if !user.disabled => Ok(()),
        Ok(_) => Err(Box::new(AuthError::Revoked.rejection())),
        Err(error) => Err(Box::new(AuthError::Unavailable(error).rejection())),
    }
}

fn view(app: &App, model: &UpstreamModel) -> Value {
    json!({
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": app.config.upstream.provider,
        "max_model_len": model.max_model_len,
    })
}

fn answer(result: Result<Value, Box<Rejection>>) -> Response {
    match result {
        Ok(body) => Answer(body).into_response(),
        Err(rejection) => refuse(*rejection),
    }
}

fn refuse(rejection: Rejection) -> Response {
    rejection
        .into_response::<axum::body::Body>(Envelope::OpenAi)
        .map(axum::body::Body::new)
}
