use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::document::{Part, Reply, Sketch};
use crate::api::error::ApiError;
use crate::api::usage::weight_of;
use crate::api::views::{AuthUrl, IdentityView, TokenPair};
use crate::app::App;

/// Whether a client would rather have JSON than go somewhere.
pub(in crate::api) struct WantsJson(pub(super) bool);

impl<S: Send + Sync> FromRequestParts<S> for WantsJson {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let of = |media| weight_of(&parts.headers, media);
        Ok(Self(of("application/json") > of("text/html")))
    }
}

impl Part for WantsJson {
    fn describe(_: &mut Sketch) {}
}

/// The way to a provider.
pub(in crate::api) enum Departed {
    /// 302.
    Sent(String),
    /// 200 with where to go.
    Told(AuthUrl),
}

/// The way back.
pub(in crate::api) enum Arrived {
    /// 200 with tokens.
    Entered(TokenPair),
    /// 200 with what is linked now.
    Linked(IdentityView),
    /// 303.
    Sent(String),
    /// Nobody has entered.
    Refused(Response),
}

impl Arrived {
    /// Sends the browser to a path here, which says what came of it. A fragment is sent to nobody.
    pub(super) fn at(app: &App, path: &str, error: Option<&str>) -> Self {
        let web_url = &app.web_url;
        Self::Sent(match error {
            Some(word) => format!("{web_url}{path}#login_error={word}"),
            None => format!("{web_url}{path}"),
        })
    }
}

fn sent(status: StatusCode, url: String) -> Response {
    match HeaderValue::try_from(url) {
        Ok(url) => (status, [(LOCATION, url)]).into_response(),
        Err(error) => ApiError::defect(&error).into_response(),
    }
}

impl IntoResponse for Departed {
    fn into_response(self) -> Response {
        match self {
            Self::Sent(url) => sent(StatusCode::FOUND, url),
            Self::Told(told) => Json(told).into_response(),
        }
    }
}

impl IntoResponse for Arrived {
    fn into_response(self) -> Response {
        match self {
            Self::Entered(pair) => Json(pair).into_response(),
            Self::Linked(identity) => Json(identity).into_response(),
            Self::Sent(url) => sent(StatusCode::SEE_OTHER, url),
            Self::Refused(response) => response,
        }
    }
}

impl Reply for Departed {
    fn describe(sketch: &mut Sketch) {
        sketch.answer_json::<AuthUrl>(StatusCode::OK, "Where to go, for who prefers JSON");
        sketch.answer(StatusCode::FOUND, "To the provider", []);
    }
}

/// What is answered to who has come back, in the document.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ProviderLoginOutcome)]
#[expect(dead_code, reason = "the document needs its shape alone")]
pub(in crate::api) enum Outcome {
    /// The tokens of a session.
    TokenPair(TokenPair),
    /// What the own account was linked to.
    Identity(IdentityView),
}

impl Reply for Arrived {
    fn describe(sketch: &mut Sketch) {
        sketch.answer_json::<Outcome>(StatusCode::OK, "Entered, or linked");
        sketch.answer(
            StatusCode::SEE_OTHER,
            "To where the login was begun to lead",
            [],
        );
    }
}
