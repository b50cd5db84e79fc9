//! The JSON of vLLM's OpenAI routes: requests read as leniently as it does, answers member by member.

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($out:expr, $($format:tt)+) => {{
        let _ = write!($out, $($format)+);
    }};
}

mod body;
mod embedding;
mod job;
mod prompt;
mod read;

use std::fmt::Write as _;

pub(crate) use self::{embedding::Embedding, job::Job};
use crate::{
    Config,
    http::{ReceivedRequest, now},
    model::escape,
};

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Refusal {
    fn new(status: u16, kind: &str, param: Option<&str>, message: &str) -> Self {
        let body = error(status, kind, param, message);
        Self { status, body }
    }

    fn bad(param: Option<&str>, message: &str) -> Self {
        Self::new(400, "BadRequestError", param, message)
    }

    /// What body validation says.
    fn invalid(kind: &str, location: &str, message: &str, input: &str) -> Self {
        let message = format!(
            "1 validation error:\n  {{'type': '{kind}', 'loc': '{location}', 'msg': '{message}', 'input': '{input}'}}"
        );
        Self::new(400, "Bad Request", Some(location), &message)
    }

    fn detail(status: u16, detail: &str) -> Self {
        let body = format!("{{\"detail\":\"{detail}\"}}");
        Self { status, body }
    }
}

/// Writes an error as vLLM does.
pub(crate) fn error(status: u16, kind: &str, param: Option<&str>, message: &str) -> String {
    let mut out = String::from("{\"error\":{\"message\":");
    push_string(&mut out, message);
    out.push_str(",\"type\":");
    push_string(&mut out, kind);
    out.push_str(",\"param\":");
    match param {
        Some(param) => push_string(&mut out, param),
        None => out.push_str("null"),
    }
    push!(out, ",\"code\":{status}}}}}");
    out
}

/// What a dying engine says, as the body of a 500.
pub(crate) fn engine_error() -> String {
    error(500, "InternalServerError", None, ENGINE_DIED)
}

/// What a dying engine says in a stream: Python's spacing this time.
pub(crate) fn engine_error_event() -> String {
    format!(
        "{{\"error\": {{\"message\": \"{ENGINE_DIED}\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}}}"
    )
}

const ENGINE_DIED: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";

/// The body of `GET /v1/models`.
pub(crate) fn models(config: &Config) -> String {
    let created = now();
    let mut out = String::from("{\"object\":\"list\",\"data\":[");
    for (at, card) in config.models.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let mut id = String::new();
        escape(&mut id, &card.id);
        push!(
            out,
            "{{\"id\":\"{id}\",\"object\":\"model\",\"created\":{created},\"owned_by\":\"vllm\",\"root\":\"./{id}\",\
             \"parent\":null,\"max_model_len\":{},\"permission\":[{{\"id\":\"modelperm-{:016x}\",\
             \"object\":\"model_permission\",\"created\":{created},\"allow_create_engine\":false,\
             \"allow_sampling\":true,\"allow_logprobs\":true,\"allow_search_indices\":false,\"allow_view\":true,\
             \"allow_fine_tuning\":false,\"organization\":\"*\",\"group\":null,\"is_blocking\":false}}]}}",
            card.max_model_len,
            at as u64 + 1,
        );
    }
    out.push_str("]}");
    out
}

/// Writes `text` as a JSON string.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// The route a request came in on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Chat,
    Completions,
    Embeddings,
}

/// What is to be done for a request.
#[derive(Debug)]
pub(crate) enum Task {
    Generate(Box<Job>),
    Embed(Embedding),
}

impl Task {
    /// Reads a request. `serial` makes the answer's identifier.
    pub(crate) fn read(
        config: &Config,
        route: Route,
        request: &ReceivedRequest,
        serial: u64,
    ) -> Result<Self, Refusal> {
        let fields = body::fields(request)?;
        let reader = read::Reader {
            config,
            route,
            request,
            serial,
            fields: &fields,
        };
        match route {
            Route::Chat => reader.chat().map(|job| Self::Generate(Box::new(job))),
            Route::Completions => reader
                .completions()
                .map(|job| Self::Generate(Box::new(job))),
            Route::Embeddings => reader.embeddings().map(Self::Embed),
        }
    }
}

/// What an event adds to what was generated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Made {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

/// Writes the cached tokens of an answer that is not streamed.
fn push_cached(out: &mut String, cached: Option<u64>, prompt: u64) {
    match cached {
        Some(cached) => push!(
            out,
            "{{\"cached_tokens\":{},\"created_cache_tokens\":0,\"multimodal_tokens\":null}}",
            cached.min(prompt)
        ),
        None => out.push_str("null"),
    }
}

/// Makes a serial number look like an identifier (splitmix64).
fn scatter(serial: u64) -> u64 {
    let mixed = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
