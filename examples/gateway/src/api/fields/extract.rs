use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use super::{Draft, Fields, Input, Place};
use crate::api::error::ApiError;

/// The largest body a management route reads.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON body that its handler has to judge before it counts.
pub(crate) struct JsonDraft<T>(pub(crate) Draft<T>);

/// A form, as OAuth 2 sends it.
pub(crate) struct Form<T>(pub(crate) T);

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body, or, if there is none, the query.
pub(crate) struct JsonOrQuery<T>(pub(crate) T);

/// What stands in the path. One that cannot be read is the path of nothing.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: Input, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonDraft(draft) = JsonDraft::from_request(request, state).await?;
        draft.finish().map(Self)
    }
}

impl<T: Input, S: Send + Sync> FromRequest<S> for JsonDraft<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_type(&request, "application/json")?;
        let fields = Fields::of_json(&body(request, state).await?)?;
        Ok(Self(fields.draft()))
    }
}

impl<T: Input, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_type(&request, FORM)?;
        of_form(body(request, state).await?)
            .await?
            .finish()
            .map(Self)
    }
}

impl<T: Input, S: Send + Sync> FromRequest<S> for JsonOrQuery<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let uri = request.uri().clone();
        let typed = check_type(&request, "application/json");
        let body = body(request, state).await?;
        let fields = match uri.query() {
            Some(_) if body.is_empty() => of_query(&uri),
            Some(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "fields stand in the body or in the query, not in both",
            )),
            None => {
                typed?;
                Fields::of_json(&body)
            }
        };
        fields?.finish().map(Self)
    }
}

impl<T: Input, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        of_query(&parts.uri)?.finish().map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(inner)) => Ok(Self(inner)),
            Err(_) => Err(ApiError::not_found("no such route")),
        }
    }
}

fn malformed<E>(_: E) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "the fields are not well-formed")
}

fn of_query(uri: &Uri) -> Result<Fields, ApiError> {
    let axum::extract::Query(pairs) = axum::extract::Query::try_from_uri(uri).map_err(malformed)?;
    Ok(Fields::of_pairs(Place::Query, pairs))
}

async fn of_form(body: Bytes) -> Result<Fields, ApiError> {
    let request = Request::post("/")
        .header(CONTENT_TYPE, FORM)
        .body(body.into())
        .map_err(malformed)?;
    let axum::Form(pairs) = axum::Form::from_request(request, &())
        .await
        .map_err(malformed)?;
    Ok(Fields::of_pairs(Place::Form, pairs))
}

fn check_type(request: &Request, expected: &str) -> Result<(), ApiError> {
    let given = request.headers().get(CONTENT_TYPE);
    let essence = given
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            if expected == FORM {
                "the content type must be application/x-www-form-urlencoded"
            } else {
                "the content type must be application/json"
            },
        ))
    }
}

/// Reads the body before anything else is done, so that who is calling is asked when all of the request is there: a
/// caller that has lost its rights meanwhile has lost them for it, however long it has held the body back.
pub(in crate::api) async fn whole(request: Request, next: Next) -> Response {
    let (parts, rest) = request.into_parts();
    let reading = Request::from_parts(parts.clone(), rest);
    match body(reading, &()).await {
        Ok(bytes) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Err(refused) => refused.into_response(),
    }
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let reading = Bytes::from_request(request, state);
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(refused)) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::too_large())
        }
        Ok(Err(_)) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "the body ended early",
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body takes too long",
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fields::{SECRET, TEXT, TOKENS};
    use crate::config::Secret;
    use llm_gate::tokens::Tokens;
    use serde_json::Value;

    use super::*;

    struct Login(Option<String>, Secret);

    impl Input for Login {
        const NAME: &'static str = "Login";

        fn read(fields: &mut Fields) -> Option<Self> {
            let name = fields.optional("username", "A name", &TEXT);
            let password = fields.required("password", "A password", &SECRET);
            Some(Self(name, password?))
        }

        fn example() -> Value {
            Value::Null
        }
    }

    struct Limit(Option<Tokens>);

    impl Input for Limit {
        const NAME: &'static str = "Limit";

        fn read(fields: &mut Fields) -> Option<Self> {
            fields.nullable("token_limit", "A limit", &TOKENS).map(Self)
        }

        fn example() -> Value {
            Value::Null
        }
    }

    #[tokio::test]
    async fn a_form_is_decoded_once_and_whole() {
        let form = "username=ada%40example.com&password=a%2Bb+c%2526#d\"<\u{e4}";
        let fields = of_form(Bytes::from(form)).await.expect("a form");
        let Login(name, password) = fields.finish().expect("good");
        assert_eq!(name.as_deref(), Some("ada@example.com"));
        assert_eq!(password.expose(), "a+b c%26#d\"<\u{e4}");
    }

    #[test]
    fn numbers_are_texts_in_a_query() {
        let read = |uri| of_query(&Uri::from_static(uri)).and_then(Fields::finish::<Limit>);
        let limit = read("/?token_limit=500").expect("good");
        assert_eq!(limit.0, Some(Tokens::new(500)));
        for wrong in [
            "/?token_limit=-1",
            "/?token_limit=",
            "/?token_limit=1&token_limit=2",
        ] {
            assert!(matches!(read(wrong), Err(ApiError::Fields(_))), "{wrong}");
        }
    }
}
