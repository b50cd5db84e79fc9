//! The calls to models, which the LLM stack answers. Requests are open: what the gateway does not know goes
//! on to the model server as it is.

use serde_json::{Value, json};
use utoipa::openapi::path::Operation;

use super::document::{Described, Surface, literal};

/// A call as the document has it.
struct Call {
    path: &'static str,
    aliases: &'static [&'static str],
    describe: fn() -> Value,
}

const CALLS: [Call; 3] = [
    Call {
        path: "/v1/chat/completions",
        aliases: &["/chat/completions"],
        describe: chat,
    },
    Call {
        path: "/v1/completions",
        aliases: &[],
        describe: completions,
    },
    Call {
        path: "/v1/embeddings",
        aliases: &[],
        describe: embeddings,
    },
];

/// Returns what the document says of the calls.
pub(super) fn surface() -> Surface {
    CALLS.iter().fold(Surface::default(), |surface, call| {
        let operation: Operation = literal((call.describe)());
        surface.route(Described::call(call.path, operation), call.aliases)
    })
}

/// Lists the paths of the calls, so that logs and metrics tell them apart.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    CALLS
        .iter()
        .flat_map(|call| [call.path].into_iter().chain(call.aliases.iter().copied()))
}

fn chat() -> Value {
    let message = json!({
        "type": "object",
        // What a message has to have, the model server says.
        "description": "A message, with its `role`.",
        "properties": {
            "role": { "type": "string", "examples": ["user"] },
            "content": {
                "type": ["string", "array", "null"],
                "description": "A text, or parts."
            }
        },
        "additionalProperties": true
    });
    let request = json!({
        "type": "object",
        "required": ["messages"],
        "properties": {
            "model": model(),
            "messages": { "type": "array", "minItems": 1, "items": message },
            "stream": stream(),
            "stream_options": stream_options(),
            "max_completion_tokens": bound("Wins over `max_tokens`."),
            "max_tokens": bound("How many tokens a choice may have; what the context leaves unless said."),
            "n": choices()
        },
        "additionalProperties": true,
        "examples": [{ "messages": [{ "role": "user", "content": "Hello!" }], "max_tokens": 8 }]
    });
    operation(
        "chat_completions",
        "Lets a model continue a conversation",
        request,
        true,
    )
}

fn completions() -> Value {
    let request = json!({
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "model": model(),
            "prompt": prompts("What to continue"),
            "stream": stream(),
            "stream_options": stream_options(),
            "max_tokens": bound("How many tokens a choice may have; 16 unless said."),
            "n": choices()
        },
        "additionalProperties": true,
        "examples": [{ "prompt": "Once upon a time", "max_tokens": 8 }]
    });
    operation("completions", "Lets a model continue a text", request, true)
}

fn embeddings() -> Value {
    let request = json!({
        "type": "object",
        "required": ["input"],
        "properties": {
            "model": model(),
            "input": prompts("What to embed"),
            "encoding_format": {
                "type": ["string", "null"],
                "description": "`float`, `base64` or `bytes`. `bytes_only` is refused, because it reports no usage."
            }
        },
        "additionalProperties": true,
        "examples": [{ "input": "Once upon a time" }]
    });
    operation("embeddings", "Turns texts into vectors", request, false)
}

fn model() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "The model to call. May be left out where the gateway has a default (`MODEL_NAME`)."
    })
}

fn stream() -> Value {
    json!({ "type": ["boolean", "null"], "description": "Whether to answer piece by piece." })
}

fn stream_options() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "Only beside `stream`.",
        "properties": { "include_usage": { "type": ["boolean", "null"] } },
        "additionalProperties": true
    })
}

fn bound(about: &str) -> Value {
    json!({ "type": ["integer", "null"], "minimum": 1, "description": about })
}

fn choices() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 16, "description": "How many answers." })
}

fn prompts(about: &str) -> Value {
    json!({
        "description": format!("{about}: a text, a list of texts, token ids, or a list of lists of them."),
        "oneOf": [
            { "type": "string" },
            { "type": "array", "minItems": 1, "maxItems": 2048, "items": { "type": "string" } },
            { "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 0 } },
            {
                "type": "array", "minItems": 1, "maxItems": 2048,
                "items": { "type": "array", "items": { "type": "integer", "minimum": 0 } }
            }
        ]
    })
}

fn operation(id: &str, summary: &str, request: Value, streams: bool) -> Value {
    let mut content = json!({ "application/json": { "schema": answer() } });
    if streams {
        content["text/event-stream"] = json!({ "schema": {
            "description": "Events `data: …`, each a piece of the answer as JSON, the last one `data: [DONE]`.",
            // Tools see either the whole text, or one event after the other.
            "oneOf": [
                { "type": "string" },
                { "type": "object", "required": ["data"], "properties": { "data": { "type": "string" } } }
            ]
        }});
    } else {
        content["application/octet-stream"] =
            json!({ "schema": { "type": "string", "format": "binary" } });
    }
    json!({
        "tags": ["calls"],
        "operationId": format!("calls_{id}"),
        "summary": summary,
        "parameters": [{
            "name": "x-session-id",
            "in": "header",
            "required": false,
            "description": "The conversation that the call is part of, for reports.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" }
        }],
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": {
            "200": {
                "description": "The model's answer, as it gave it",
                "headers": budget(&["tokens", "requests"]),
                "content": content
            },
            "400": { "description": "The body cannot be understood, or `x-session-id` is no name; `param` names the field" },
            "403": { "description": "Money is limited and the model has no price (`model_not_priced`)" },
            "404": { "description": "No such model (`model_not_found`)" },
            "413": { "description": "The body is over 32 MiB" },
            "415": { "description": "The body is not JSON in UTF-8" },
            "429": {
                "description": "It does not fit into what is left of a limit: `rate_limit_exceeded` where \
                                waiting helps, else `insufficient_quota`",
                "headers": budget(&["tokens", "requests", "cost"])
            },
            "502": { "description": "The model server is away or broke off" },
            "503": { "description": "The books cannot be written, or the models are not known yet" },
            "504": { "description": "The model server did not answer in time" },
            "default": { "description": "What else the model server refuses with, in OpenAI's shape" }
        }
    })
}

fn answer() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "object": { "type": "string" },
            "model": { "type": "string" },
            "usage": {
                "type": ["object", "null"],
                "properties": {
                    "prompt_tokens": { "type": "integer" },
                    "completion_tokens": { "type": ["integer", "null"] },
                    "total_tokens": { "type": "integer" }
                },
                "additionalProperties": true
            }
        },
        "additionalProperties": true
    })
}

/// How the caller stands on its tightest limits.
fn budget(units: &[&str]) -> Value {
    let mut headers = serde_json::Map::new();
    for unit in units {
        for (figure, about) in [
            ("limit", "The tightest limit."),
            ("remaining", "What was left of it when the hold was taken."),
            ("reset", "When it comes back, such as `42s`."),
        ] {
            let name = format!("x-ratelimit-{figure}-{unit}");
            let header = json!({ "description": about, "schema": { "type": "string" } });
            headers.insert(name, header);
        }
    }
    Value::Object(headers)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use llm_gate::call::Route;

    use super::*;

    #[test]
    fn every_call_that_is_documented_is_let_through() {
        for path in paths() {
            assert!(Route::of(&Method::POST, path).is_ok(), "{path}");
        }
    }

    #[test]
    fn every_call_that_is_let_through_is_documented() {
        for route in Route::ALL {
            assert!(paths().any(|path| path == route.path()), "{route}");
        }
    }
}
