//! The shapes of errors, which are written in many places and described in one.

use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Response, Schema};

use crate::api::error::FieldError;

pub(super) const DETAIL: &str = "Detail";
pub(super) const FIELDS: &str = "FieldErrors";
pub(super) const INTERNAL: &str = "InternalError";
pub(super) const OPENAI: &str = "OpenAiError";
pub(super) const REQUEST_ID: &str = "RequestId";

/// What many operations refuse with: status, name, words, and whether `/v1` has it in OpenAI's shape too.
const REFUSALS: [(u16, &str, &str, bool); 10] = [
    (400, "Unreadable", "The request cannot be read", true),
    (401, "Unauthorized", "No valid credential", true),
    (
        403,
        "Forbidden",
        "A valid credential that may not do this",
        true,
    ),
    (408, "Slow", "The body takes too long", true),
    (413, "TooLarge", "The body is too large", true),
    (415, "WrongType", "The body has another content type", true),
    (
        422,
        "Invalid",
        "The request can be read and is wrong",
        false,
    ),
    (
        429,
        "TooMany",
        "Too many requests of this caller or from this address, or too many wrong credentials",
        true,
    ),
    (
        500,
        "Failed",
        "Something failed; the log has it under the request's id",
        true,
    ),
    (503, "Unavailable", "The store cannot answer", true),
];

/// Lists the refusals by their names.
pub(super) fn refusals() -> Vec<(String, Response)> {
    let mut all = Vec::new();
    for (status, name, about, both) in REFUSALS {
        for openai in [false, true] {
            if openai && !both {
                continue;
            }
            let mut response = Response::new(about);
            complete(&status.to_string(), &mut response, openai);
            all.push((name_of(name, openai), response));
        }
    }
    all
}

/// Returns where a refusal is described.
pub(super) fn refusal(status: u16, openai: bool) -> Ref {
    let known = REFUSALS.iter().find(|known| known.0 == status);
    let (_, name, _, both) = known.expect("a status of the table above");
    Ref::from_response_name(name_of(name, openai && *both))
}

fn name_of(name: &str, openai: bool) -> String {
    if openai {
        format!("{name}OpenAi")
    } else {
        name.to_owned()
    }
}

/// Reads a part of the document that is clearer as JSON.
///
/// # Panics
///
/// Panics when it is none. What is given is written here, and every test that makes the document reads it.
pub(in crate::api) fn literal<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("a literal of this crate is well-formed")
}

/// Lists the shapes by their names.
pub(super) fn errors() -> Vec<(&'static str, RefOr<Schema>)> {
    vec![
        (
            DETAIL,
            literal(json!({
                "type": "object",
                "description": "A refusal of the management routes.",
                "required": ["detail"],
                "properties": { "detail": { "type": "string", "description": "What is wrong." } }
            })),
        ),
        (
            INTERNAL,
            literal(json!({
                "type": "object",
                "description": "Something failed, and says no more than where to look in the log.",
                "required": ["detail", "request_id"],
                "properties": {
                    "detail": { "type": "string" },
                    "request_id": { "type": ["string", "null"], "format": "uuid" }
                }
            })),
        ),
        (
            FIELDS,
            literal(json!({
                "type": "object",
                "description": "Everything that is wrong with the fields of a request.",
                "required": ["detail"],
                "properties": {
                    "detail": {
                        "type": "array",
                        "minItems": 1,
                        "items": { "$ref": "#/components/schemas/FieldError" }
                    }
                }
            })),
        ),
        ("FieldError", FieldError::schema()),
        (
            OPENAI,
            literal(json!({
                "type": "object",
                "description": "An error as the OpenAI API has it.",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": { "type": "string" },
                            "type": { "type": "string" },
                            "param": { "type": ["string", "null"], "description": "The field at fault." },
                            "code": {
                                "type": ["string", "integer", "null"],
                                "description": "A word of the gateway, or a number of the model server."
                            }
                        }
                    }
                }
            })),
        ),
    ]
}

/// The header of every answer.
pub(super) fn request_id() -> Header {
    HeaderBuilder::new()
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))),
        ))
        .description(Some("What the gateway calls this request in its log."))
        .build()
}

fn header(of: Type, about: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(of)))
        .description(Some(about))
        .build()
}

/// Completes an answer with what all of its status have: the shape of its error, and headers.
pub(super) fn complete(status: &str, response: &mut Response, openai: bool) {
    let failed = status == "default" || status.starts_with('4') || status.starts_with('5');
    if failed && response.content.is_empty() {
        let shape = match status {
            _ if openai => OPENAI,
            "422" => FIELDS,
            "500" => INTERNAL,
            _ => DETAIL,
        };
        let content = Content::new(Some(Ref::from_schema_name(shape)));
        response
            .content
            .insert("application/json".to_owned(), content.into());
    }
    let mut head = |name: &str, header: Header| {
        response
            .headers
            .entry(name.to_owned())
            .or_insert_with(|| header.into());
    };
    match status {
        "302" | "303" => head("Location", header(Type::String, "Where to.")),
        "401" => head("WWW-Authenticate", header(Type::String, "`Bearer`.")),
        "429" | "503" => head(
            "Retry-After",
            header(Type::Integer, "Seconds after which it may be different."),
        ),
        _ => {}
    }
    let id = RefOr::Ref(Ref::new(format!("#/components/headers/{REQUEST_ID}")));
    response.headers.insert("X-Request-Id".to_owned(), id);
}
