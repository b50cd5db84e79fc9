use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Deserialize;
use thiserror::Error;
use tower_service::Service;

use crate::call::Model;

use super::VllmProxyService;

/// How long a list of models may be.
const LIST: usize = 1 << 20;

/// A model in the upstream's list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamModel {
    /// The name it is asked for.
    pub id: String,
    /// What the server says, in seconds since 1970. vLLM says when it was asked, which is another time at each gateway.
    #[serde(default)]
    pub created: i64,
    /// How many tokens prompt and completion may have together. vLLM says, other servers may not.
    pub max_model_len: Option<u64>,
}

impl From<UpstreamModel> for Model {
    fn from(model: UpstreamModel) -> Self {
        let described = Self::new(model.id);
        match model.max_model_len {
            Some(tokens) => described.context_length(tokens),
            None => described,
        }
    }
}

/// Why the upstream's list of models was not had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// It answered with a refusal, or not at all.
    #[error("the upstream answered {0}")]
    Refused(StatusCode),
    /// The answer broke off or is too long.
    #[error("the list could not be read")]
    Unread(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is no list of models.
    #[error("the answer is no list of models")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct List {
    data: Vec<UpstreamModel>,
}

/// Asks the upstream which models it serves: `GET /v1/models`.
///
/// # Errors
///
/// Fails if there is no answer, or none that is a list of models.
///
/// # Cancel safety
///
/// Dropping the future closes the upstream's connection; nothing else has happened.
pub async fn upstream_models(proxy: &VllmProxyService) -> Result<Vec<UpstreamModel>, ModelsError> {
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = http::Uri::from_static("/v1/models");
    let Ok(response) = proxy.clone().call(request).await;
    if response.status() != StatusCode::OK {
        return Err(ModelsError::Refused(response.status()));
    }
    let body = Limited::new(response.into_body(), LIST)
        .collect()
        .await
        .map_err(|error| {
            let why: Box<dyn std::error::Error + Send + Sync> =
                match error.downcast::<LengthLimitError>() {
                    Ok(too_long) => too_long,
                    Err(other) => other,
                };
            ModelsError::Unread(why)
        })?;
    let list: List = serde_json::from_slice(&body.to_bytes()).map_err(ModelsError::Malformed)?;
    Ok(list.data)
}
