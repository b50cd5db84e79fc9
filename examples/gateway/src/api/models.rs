use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use llm_gate::auth::{self, AuthError};
use llm_gate::error::{Envelope, Rejection};
use llm_gate::identity::{Principal, Scope};
use llm_gate::proxy::UpstreamModel;
use llm_gate::store::Author;

use super::caller::{By, Lister, still_there};
use super::document::{Part, Reply, Sketch};
use super::views::{ModelNames, ModelView, Models};
use crate::app::App;

/// When to come back while the upstream's models are not known.
const RETRY: Duration = Duration::from_secs(2);

/// Shows the provider, the model in use and the list, as far as the caller may use them.
#[utoipa::path(get, path = "/api/v1/models")]
pub(super) async fn overview(
    State(app): State<App>,
    Lister(principal): Lister,
) -> Answer<ModelNames> {
    let allowed = |model: &String| principal.allows_model(model);
    let list = app.catalog.seen().list.unwrap_or_default();
    let models = list.iter().map(|model| model.id.clone());
    let models: Vec<String> = models.filter(allowed).collect();
    let current = app.config.upstream.model.clone().filter(allowed);
    Answer(ModelNames {
        provider: app.config.upstream.provider.clone(),
        current: current.or_else(|| models.first().cloned()),
        models,
    })
}

/// Lists the models that the caller may use, as OpenAI does.
#[utoipa::path(
    get,
    path = "/v1/models",
    responses((status = 503, description = "The models or the store are not known yet"))
)]
pub(super) async fn all(
    State(app): State<App>,
    Extension(mut principal): Extension<Principal>,
    By(Author { address, .. }): By,
) -> Result<Answer<Models>, Refused> {
    let models = known(&app, &mut principal, address).await?;
    let allowed = models
        .iter()
        .filter(|model| principal.allows_model(&model.id));
    let data = allowed.map(|model| view(&app, model)).collect();
    Ok(Answer(Models {
        object: "list",
        data,
    }))
}

/// Shows a model, as OpenAI does. Its name may have slashes in it.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    params(("id" = String, Path, description = "The name of the model")),
    responses(
        (status = 404, description = "No such model (`model_not_found`)"),
        (status = 503, description = "The models or the store are not known yet"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Extension(mut principal): Extension<Principal>,
    By(Author { address, .. }): By,
    id: Result<axum::extract::Path<String>, PathRejection>,
) -> Result<Answer<ModelView>, Refused> {
    let models = known(&app, &mut principal, address).await?;
    // A name that is not text is that of no model.
    let id = id.map(|axum::extract::Path(id)| id).unwrap_or_default();
    let found = models
        .iter()
        .find(|model| model.id == id && principal.allows_model(&id));
    let found = found.ok_or_else(|| {
        let words = format!("the model {id:?} does not exist");
        Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", words)
            .code("model_not_found")
            .param("model")
    })?;
    Ok(Answer(view(&app, found)))
}

/// A refusal below `/v1`, and why, where it is the credential.
pub(super) struct Refused(Box<Rejection>, Option<auth::Refused>);

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self(Box::new(rejection), None)
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        metrics::counter!("auth_failure_total", "reason" => error.reason()).increment(1);
        Self(Box::new(error.rejection()), Some((&error).into()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(rejection, why) = self;
        let mut response = refuse(*rejection);
        if let Some(why) = why {
            response.extensions_mut().insert(why);
        }
        response
    }
}

impl<T: Reply> Reply for Result<T, Refused> {
    fn describe(sketch: &mut Sketch) {
        T::describe(sketch);
    }
}

impl Part for Result<axum::extract::Path<String>, PathRejection> {
    // The path itself names it.
    fn describe(_: &mut Sketch) {}
}

/// `/v1` in the OpenAI shape for a method that a route does not have. The router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Response {
    let words = format!("the route has no {method}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let rejection = Rejection::new(status, "invalid_request_error", words);
    refuse(rejection.code("method_not_allowed"))
}

async fn known(
    app: &App,
    principal: &mut Principal,
    address: Option<IpAddr>,
) -> Result<Arc<[UpstreamModel]>, Refused> {
    // These routes reserve nothing, so nobody is stopped by a frozen counter.
    match still_there(app, principal, address).await {
        Ok(Some(_)) => {}
        Ok(None) => return Err(AuthError::Revoked.into()),
        Err(error) => {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(error = cause, "credentials cannot be checked");
            return Err(AuthError::Unavailable(error).into());
        }
    }
    if !principal.allows(Scope::Models) {
        return Err(Rejection::missing_scope(Scope::Models).into());
    }
    app.catalog.seen().list.ok_or_else(|| {
        let words = "the models of the upstream are not known yet";
        Rejection::unavailable(words, RETRY).into()
    })
}

fn view(app: &App, model: &UpstreamModel) -> ModelView {
    ModelView {
        id: model.id.clone(),
        object: "model",
        created: model.created,
        owned_by: app.config.upstream.provider.clone(),
        max_model_len: model.max_model_len,
    }
}

fn refuse(rejection: Rejection) -> Response {
    rejection
        .into_response::<axum::body::Body>(Envelope::OpenAi)
        .map(axum::body::Body::new)
}
