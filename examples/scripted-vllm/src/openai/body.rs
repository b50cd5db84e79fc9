//! Request bodies: JSON or a refusal.

use serde_json::{Map, Value};

use super::Refusal;
use crate::http::ReceivedRequest;

/// Reads the body as a JSON object.
pub(super) fn fields(request: &ReceivedRequest) -> Result<Map<String, Value>, Refusal> {
    let is_json = request.header("content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        let message =
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
        return Err(Refusal::new(400, "Bad Request", None, message));
    }
    let missing = || Refusal::invalid("missing", "body", "Field required", "None");
    let body = request
        .body
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(&request.body);
    if body.is_empty() {
        return Err(missing());
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::detail(400, "There was an error parsing the body"))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Err(missing()),
        Ok(other) => Err(Refusal::invalid(
            "model_attributes_type",
            "body",
            "Input should be a valid dictionary or object to extract fields from",
            &python(&other),
        )),
        Err(cause) => Err(not_json(text, &cause)),
    }
}

fn not_json(text: &str, cause: &serde_json::Error) -> Refusal {
    let (at, what) = if cause.is_eof() {
        (text.len(), "Expecting value")
    } else {
        let before: usize = text
            .split_inclusive('\n')
            .take(cause.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let trailing = cause.to_string().starts_with("trailing characters");
        let what = if trailing {
            "Extra data"
        } else {
            "Expecting value"
        };
        (before + cause.column().saturating_sub(1), what)
    };
    let message = format!(
        "1 validation error:\n  {{'type': 'json_invalid', 'loc': 'body.{at}', 'msg': 'JSON decode error', \
         'input': '<dict of 0 items>', 'ctx': {{'error': '{what}'}}}}"
    );
    Refusal::new(400, "Bad Request", Some(&format!("body.{at}")), &message)
}

/// How vLLM shows an input it refuses.
pub(super) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("<list of {} items>", items.len()),
        Value::Object(fields) => format!("<dict of {} items>", fields.len()),
        Value::Number(number) => number.to_string(),
    }
}
