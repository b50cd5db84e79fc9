use std::time::Duration;

use axum::extract::{FromRequest, Query, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use llm_gate::store::MAX_RATE;
use llm_gate::tokens::{Amount, Tokens};
use serde_json::{Map, Value};

use super::error::{ApiError, FieldError};
use crate::accounts;
use crate::config::Secret;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of a request: taken out one by one, then [`finish`](Self::finish)ed, which refuses all
/// that is wrong, and all that nobody asked for, in one answer.
#[derive(Debug)]
pub(crate) struct Fields {
    place: &'static str,
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    fn new(place: &'static str, values: Map<String, Value>) -> Self {
        Self {
            place,
            values,
            errors: Vec::new(),
        }
    }

    fn of_json(bytes: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(values)) => Ok(Self::new("body", values)),
            Ok(_) => {
                let mut fields = Self::new("body", Map::new());
                fields.refuse("", "must be an object");
                Err(ApiError::Fields(fields.errors))
            }
            Err(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "the body is not JSON",
            )),
        }
    }

    /// Puts together the fields of a form or a query.
    fn of_pairs(place: &'static str, pairs: Vec<(String, String)>) -> Self {
        let mut fields = Self::new(place, Map::new());
        for (name, value) in pairs {
            if fields.values.insert(name.clone(), value.into()).is_some() {
                fields.refuse(&name, "is there twice");
            }
        }
        fields
    }

    /// Notes what is wrong with a field.
    pub(crate) fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            loc: [self.place.to_owned(), name.to_owned()],
            msg: message.into(),
            kind: "value_error",
        });
    }

    /// Tells whether something is wrong with a field so far.
    pub(crate) fn refused(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.loc[1] == name)
    }

    /// Tells whether anything is wrong so far.
    pub(crate) fn any_refused(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Takes a text, if it is there. Null is the same as nothing.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.values.remove(name)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => {
                self.refuse(name, "must be a string");
                None
            }
        }
    }

    /// Takes a text that has to be there.
    pub(crate) fn secret(&mut self, name: &str) -> Secret {
        let known = self.errors.len();
        let text = self.text(name);
        if text.is_none() && self.errors.len() == known {
            self.refuse(name, "is required");
        }
        Secret::from(text.unwrap_or_default())
    }

    /// Takes a yes or no; no if it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.values.remove(name) {
            Some(Value::Bool(flag)) => flag,
            None | Some(Value::Null) => false,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    /// Takes a limit that has to be there; null is no limit.
    pub(crate) fn limit(&mut self, name: &str) -> Option<Tokens> {
        let limit = match self.values.remove(name) {
            None => {
                self.refuse(name, "is required");
                return None;
            }
            Some(Value::Null) => return None,
            Some(Value::Number(number)) => number.as_i64(),
            // Where everything is a text: in a query.
            Some(Value::String(text)) if self.place == "query" => text.parse().ok(),
            Some(_) => None,
        };
        let limit = limit.and_then(Tokens::try_new);
        if limit.is_none() {
            self.refuse(
                name,
                format!("must be a whole number from 0 to {}", Tokens::MAX),
            );
        }
        limit
    }

    /// Takes an amount that has to be there.
    pub(crate) fn amount(&mut self, name: &str) -> Option<Amount> {
        if matches!(self.values.get(name), Some(Value::Null)) {
            self.values.remove(name);
        }
        self.limit(name)
    }

    /// Takes a rate, if it is there.
    pub(crate) fn rate(&mut self, name: &str) -> Option<u64> {
        let rate = match self.values.remove(name)? {
            Value::Null => return None,
            Value::Number(number) => number.as_u64().filter(|rate| *rate <= MAX_RATE),
            _ => None,
        };
        if rate.is_none() {
            self.refuse(name, format!("must be a whole number from 0 to {MAX_RATE}"));
        }
        rate
    }

    /// Takes a word that has to be there and is one of a few.
    pub(crate) fn word<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        message: &str,
    ) -> Option<T> {
        let word = self.text(name);
        if self.refused(name) {
            return None;
        }
        let read = word.as_deref().and_then(read);
        if read.is_none() {
            self.refuse(
                name,
                if word.is_none() {
                    "is required"
                } else {
                    message
                },
            );
        }
        read
    }

    /// Takes the name of a model, if it is there.
    pub(crate) fn model(&mut self, name: &str) -> Option<String> {
        let model = self.text(name)?;
        accounts::model_name(&model)
            .map_err(|reason| self.refuse(name, reason))
            .ok()
    }

    /// Takes a small number from a query, or the default.
    pub(crate) fn number(&mut self, name: &str, default: u32, most: u32) -> u32 {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => number,
            _ => {
                self.refuse(name, format!("must be a whole number from 1 to {most}"));
                default
            }
        }
    }

    /// Takes a moment, if it is there.
    pub(crate) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let moment = text.parse().ok();
        if moment.is_none() {
            self.refuse(name, "must be a time such as 2026-12-31T23:59:59Z");
        }
        moment
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// 422 with everything that is wrong.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        for name in std::mem::take(&mut self.values).keys() {
            self.refuse(name, "is not a field of this request");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Fields(self.errors))
        }
    }
}

/// Fields of a JSON body.
pub(crate) struct Json(pub(crate) Fields);

/// Fields of a form, as OAuth 2 sends them.
pub(crate) struct Form(pub(crate) Fields);

/// Fields of a JSON body, or, if there is none, of the query.
pub(crate) struct JsonOrQuery(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_type(&request, "application/json")?;
        Fields::of_json(&body(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_type(&request, FORM)?;
        of_form(body(request, state).await?).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonOrQuery {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let uri = request.uri().clone();
        let typed = check_type(&request, "application/json");
        let body = body(request, state).await?;
        match uri.query() {
            Some(_) if body.is_empty() => of_query(&uri).map(Self),
            Some(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "fields stand in the body or in the query, not in both",
            )),
            None => {
                typed?;
                Fields::of_json(&body).map(Self)
            }
        }
    }
}

/// Fields of the query.
pub(crate) struct QueryFields(pub(crate) Fields);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for QueryFields {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _state: &S,
    ) -> Result<Self, ApiError> {
        of_query(&parts.uri).map(Self)
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn malformed<E>(_: E) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "the fields are not well-formed")
}

fn of_query(uri: &Uri) -> Result<Fields, ApiError> {
    let Query(pairs) = Query::try_from_uri(uri).map_err(malformed)?;
    Ok(Fields::of_pairs("query", pairs))
}

async fn of_form(body: Bytes) -> Result<Fields, ApiError> {
    let request = Request::post("/")
        .header(CONTENT_TYPE, FORM)
        .body(body.into())
        .map_err(malformed)?;
    let axum::Form(pairs) = axum::Form::from_request(request, &())
        .await
        .map_err(malformed)?;
    Ok(Fields::of_pairs("body", pairs))
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
    use super::*;

    fn messages(result: Result<(), ApiError>) -> Vec<String> {
        match result {
            Err(ApiError::Fields(errors)) => errors
                .into_iter()
                .map(|error| format!("{} {}", error.loc[1], error.msg))
                .collect(),
            other => panic!("not refused field by field: {other:?}"),
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut fields = Fields::of_json(br#"{"email": 5, "create_api_key": "yes", "limit": 9}"#)
            .expect("an object");
        assert_eq!(fields.text("email"), None);
        fields.secret("password");
        fields.flag("create_api_key");
        let said = messages(fields.finish());
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said.contains(&"limit is not a field of this request".to_owned()));
        assert!(said.contains(&"password is required".to_owned()));
    }

    #[test]
    fn malformed_is_not_invalid() {
        assert!(matches!(Fields::of_json(b"{"), Err(ApiError::Rejected(_))));
        assert!(matches!(Fields::of_json(b"[]"), Err(ApiError::Fields(_))));
    }

    #[test]
    fn limits_are_whole_and_bounded() {
        for bad in ["-1", "1.5", "9007199254740992", "\"5\"", "true"] {
            let mut fields = Fields::of_json(format!("{{\"token_limit\": {bad}}}").as_bytes())
                .expect("an object");
            fields.limit("token_limit");
            assert_eq!(messages(fields.finish()).len(), 1, "{bad}");
        }
        let uri = Uri::from_static("/?token_limit=500");
        let mut fields = of_query(&uri).expect("a query");
        assert_eq!(fields.limit("token_limit"), Some(Tokens::new(500)));
        assert!(fields.finish().is_ok());
    }

    #[tokio::test]
    async fn a_form_is_decoded_once_and_whole() {
        let form = "username=ada%40example.com&password=a%2Bb+c%2526#d\"<\u{e4}";
        let mut fields = of_form(Bytes::from(form)).await.expect("a form");
        assert_eq!(fields.text("username").as_deref(), Some("ada@example.com"));
        assert_eq!(fields.secret("password").expose(), "a+b c%26#d\"<\u{e4}");
        let twice = of_query(&Uri::from_static("/?a=1&a=2")).expect("a query");
        assert!(!messages(twice.finish()).is_empty());
    }
}
