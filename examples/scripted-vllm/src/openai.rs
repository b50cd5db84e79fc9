//! The JSON of vLLM's OpenAI routes: requests read as leniently as it does, answers member by member.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{
    Asked, Config, UsageMode,
    http::{ReceivedRequest, now},
    model::{Finish, Generation, Kind, Speech, count_tokens, escape},
};

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($out:expr, $($format:tt)+) => {{
        let _ = write!($out, $($format)+);
    }};
}

/// The numbers in one embedding.
const DIMENSIONS: usize = 32;
/// What `/v1/completions` generates when nothing is said.
const DEFAULT_COMPLETION: u64 = 16;

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
        let fields = fields(request)?;
        let read = Reader {
            config,
            route,
            request,
            serial,
            fields: &fields,
        };
        match route {
            Route::Chat => read.chat().map(|job| Self::Generate(Box::new(job))),
            Route::Completions => read.completions().map(|job| Self::Generate(Box::new(job))),
            Route::Embeddings => read.embeddings().map(Self::Embed),
        }
    }
}

/// Reads the body as a JSON object.
fn fields(request: &ReceivedRequest) -> Result<Map<String, Value>, Refusal> {
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
fn python(value: &Value) -> String {
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

/// What a stream says about usage.
#[derive(Clone, Copy, Debug, Default)]
struct StreamUsage {
    /// In one more event at the end.
    last: bool,
    /// In every event.
    running: bool,
}

/// One prompt, counted.
#[derive(Debug)]
struct Prompt {
    tokens: u64,
    /// What `echo` puts before the answer.
    echo: String,
}

struct Reader<'a> {
    config: &'a Config,
    route: Route,
    request: &'a ReceivedRequest,
    serial: u64,
    fields: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn chat(&self) -> Result<Job, Refusal> {
        let messages = self.messages()?;
        let stream = self.stream()?;
        let (model, context) = self.model()?;
        let tools = match self.fields.get("tools") {
            Some(Value::Array(tools)) if !self.no_tools() => tools.as_slice(),
            _ => &[],
        };
        let prompt =
            chat_prompt(self.config, messages)? + tools.iter().map(tool_tokens).sum::<u64>();
        let said = |word: &str| {
            messages
                .last()
                .is_some_and(|message| content(message).any(|text| text.contains(word)))
        };
        let role = |message: &Value| {
            message
                .get("role")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let answered = messages
            .last()
            .and_then(role)
            .is_some_and(|role| role == "tool");
        let choice = self.fields.get("tool_choice");
        let required = choice.and_then(Value::as_str) == Some("required");
        let named = choice
            .and_then(|choice| choice.pointer("/function/name"))
            .and_then(Value::as_str);
        let first = tools
            .first()
            .and_then(|tool| tool.pointer("/function/name"))
            .and_then(Value::as_str);
        let tool = if required || said("#weather") {
            named.or(first)
        } else {
            named
        };
        let speech = if tool.is_some() {
            Speech::ToolCall
        } else if answered {
            Speech::ToolAnswered
        } else if self.config.reasoning && said("#think") {
            Speech::Thought
        } else {
            Speech::Sentence
        };
        let limit = match self.integer("max_completion_tokens")? {
            Some(limit) => Some(("max_completion_tokens", limit)),
            None => self
                .integer("max_tokens")?
                .map(|limit| ("max_tokens", limit)),
        };
        let rest = context.saturating_sub(prompt);
        let limit = self.limit(limit, 1, rest, context, prompt)?;
        let prompts = vec![Prompt {
            tokens: prompt,
            echo: String::new(),
        }];
        let mut job = self.job(model, prompts, speech, limit, stream)?;
        job.tool = tool.map(|name| ToolCall {
            name: name.to_owned(),
            forced: required || named.is_some(),
            named: named.is_some(),
        });
        Ok(job)
    }

    fn completions(&self) -> Result<Job, Refusal> {
        let stream = self.stream()?;
        let (model, context) = self.model()?;
        let echo = matches!(self.fields.get("echo"), Some(Value::Bool(true)));
        let missing = || {
            let message =
                "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
            Refusal::bad(Some("prompt"), message)
        };
        let prompt = self.fields.get("prompt").unwrap_or(&Value::Null);
        if matches!(prompt, Value::Null) || prompt.as_str() == Some("") {
            return Err(missing());
        }
        let prompts = prompts(prompt, echo)?;
        for prompt in &prompts {
            fits(prompt.tokens, context)?;
        }
        let longest = prompts
            .iter()
            .map(|prompt| prompt.tokens)
            .max()
            .unwrap_or(0);
        let asked = self
            .integer("max_tokens")?
            .map(|limit| ("max_tokens", limit));
        let least = if echo { 0 } else { 1 };
        let default = DEFAULT_COMPLETION.min(context.saturating_sub(longest));
        let limit = self.limit(asked, least, default, context, longest)?;
        self.job(model, prompts, Speech::Continuation, limit, stream)
    }

    fn embeddings(&self) -> Result<Embedding, Refusal> {
        let model = self
            .fields
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(card) = self
            .config
            .models
            .iter()
            .find(|card| model.is_empty() || card.id == model)
        else {
            let message = format!("The model `{model}` does not exist.");
            return Err(Refusal::new(404, "NotFoundError", None, &message));
        };
        if let Some(dimensions) = self.integer("dimensions")? {
            let message = format!(
                "Model '{}' does not support Matryoshka embeddings; dimensions must be unset (received dimensions={dimensions}).",
                card.id
            );
            return Err(Refusal::bad(None, &message));
        }
        let inputs = if self.fields.contains_key("messages") {
            vec![chat_prompt(self.config, self.messages()?)?]
        } else {
            let input = self.fields.get("input").unwrap_or(&Value::Null);
            prompts(input, false)?
                .iter()
                .map(|prompt| prompt.tokens)
                .collect()
        };
        for tokens in &inputs {
            fits(*tokens, card.max_model_len)?;
        }
        let choices = inputs.len() as u64;
        let prompt_tokens = match &self.config.usage {
            UsageMode::Tokenizer => inputs.iter().sum(),
            UsageMode::WholeBound { prompt, .. } => prompt.of(&Asked {
                body: self.request.body.clone(),
                prompt_tokens: inputs.iter().sum(),
                max_tokens: 0,
                choices,
            }),
        };
        Ok(Embedding {
            id: self.id("embd"),
            created: now(),
            model: card.id.clone(),
            inputs,
            prompt_tokens,
            cached: self.config.cached_tokens,
            encoding: match self.fields.get("encoding_format").and_then(Value::as_str) {
                Some("base64") => Encoding::Base64,
                Some("bytes") => Encoding::Bytes,
                Some("bytes_only") => Encoding::BytesOnly,
                _ => Encoding::Float,
            },
        })
    }

    fn messages(&self) -> Result<&[Value], Refusal> {
        match self.fields.get("messages") {
            Some(Value::Array(messages)) => Ok(messages),
            Some(other) => Err(Refusal::invalid(
                "list_type",
                "body.messages",
                "Input should be a valid list",
                &python(other),
            )),
            None => {
                let input = format!("<dict of {} items>", self.fields.len());
                Err(Refusal::invalid(
                    "missing",
                    "body.messages",
                    "Field required",
                    &input,
                ))
            }
        }
    }

    /// Says how the answer is streamed, if it is.
    fn stream(&self) -> Result<Option<StreamUsage>, Refusal> {
        let streamed = self.boolean(self.fields.get("stream"), "body.stream")?;
        let options = match self.fields.get("stream_options") {
            None | Some(Value::Null) => None,
            Some(_) if !streamed => {
                let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
                return Err(Refusal::bad(Some("stream_options"), message));
            }
            Some(options) => Some(options),
        };
        if !streamed {
            return Ok(None);
        }
        if self.config.force_include_usage {
            return Ok(Some(StreamUsage {
                last: true,
                running: true,
            }));
        }
        let option = |name: &str| {
            let location = format!("body.stream_options.{name}");
            self.boolean(options.and_then(|options| options.get(name)), &location)
        };
        let last = option("include_usage")?;
        let running = last && option("continuous_usage_stats")?;
        Ok(Some(StreamUsage { last, running }))
    }

    fn boolean(&self, value: Option<&Value>, location: &str) -> Result<bool, Refusal> {
        let (truth, lie) = (
            ["true", "1", "yes", "on", "t", "y"],
            ["false", "0", "no", "off", "f", "n"],
        );
        let refused = |input: &Value| {
            let message = "Input should be a valid boolean, unable to interpret input";
            Refusal::invalid("bool_parsing", location, message, &python(input))
        };
        match value {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => {
                let text = match other {
                    Value::String(text) => text.to_ascii_lowercase(),
                    Value::Number(number) => {
                        number.as_f64().map(|n| n.to_string()).unwrap_or_default()
                    }
                    _ => return Err(refused(other)),
                };
                match text.as_str() {
                    text if truth.contains(&text) => Ok(true),
                    text if lie.contains(&text) => Ok(false),
                    _ => Err(refused(other)),
                }
            }
        }
    }

    /// Reads an integer as pydantic does: `3`, `3.0` and `"3"` are the same.
    fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let value = match self.fields.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let read = match value {
            Value::Number(number) => number.as_i64().or_else(|| {
                let float = number.as_f64()?;
                (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
            }),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(value) => Some(i64::from(*value)),
            _ => None,
        };
        let refused = || {
            let message = "Input should be a valid integer";
            Refusal::invalid("int_type", &format!("body.{name}"), message, &python(value))
        };
        read.map(Some).ok_or_else(refused)
    }

    fn no_tools(&self) -> bool {
        self.fields.get("tool_choice").and_then(Value::as_str) == Some("none")
    }

    /// Finds the model; without a name the first one serves.
    fn model(&self) -> Result<(String, u64), Refusal> {
        let models = &self.config.models;
        let name = self
            .fields
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match models
            .iter()
            .find(|card| name.is_empty() || card.id == name)
        {
            Some(card) => Ok((card.id.clone(), card.max_model_len)),
            None => {
                let aliases: Vec<_> = models.iter().map(|card| card.id.as_str()).collect();
                let message = format!(
                    "The model `{name}` does not exist. Valid aliases: {}.",
                    aliases.join(", ")
                );
                Err(Refusal::new(404, "NotFoundError", Some("model"), &message))
            }
        }
    }

    /// Checks the asked limit; `default` stands in for a missing one.
    fn limit(
        &self,
        asked: Option<(&str, i64)>,
        least: i64,
        default: u64,
        context: u64,
        prompt: u64,
    ) -> Result<u64, Refusal> {
        fits(prompt, context)?;
        let Some((_, limit)) = asked else {
            return Ok(default.max(1));
        };
        let bad = |message: String| Err(Refusal::bad(Some("max_tokens"), &message));
        let limit = match u64::try_from(limit) {
            Ok(limit) if i64::try_from(limit).is_ok_and(|limit| limit >= least) => limit,
            _ => {
                return bad(format!(
                    "max_tokens must be at least 1, got {limit}. (parameter=max_tokens, value={limit})"
                ));
            }
        };
        if limit > context {
            return bad(format!(
                "max_tokens={limit} cannot be greater than max_model_len={context}. Please request fewer output \
                 tokens. (parameter=max_tokens, value={limit})"
            ));
        }
        if prompt + limit > context {
            let message = format!(
                "This model's maximum context length is {context} tokens. However, you requested {limit} output \
                 tokens and your prompt contains at least {prompt} input tokens, for a total of at least {} tokens. \
                 Please reduce the length of the input prompt or the number of requested output tokens. \
                 (parameter=input_tokens, value={prompt})",
                prompt + limit
            );
            return Err(Refusal::bad(Some("input_tokens"), &message));
        }
        Ok(limit.max(1))
    }

    fn job(
        &self,
        model: String,
        prompts: Vec<Prompt>,
        speech: Speech,
        limit: u64,
        stream: Option<StreamUsage>,
    ) -> Result<Job, Refusal> {
        let n = self.integer("n")?.unwrap_or(1);
        let n = usize::try_from(n).unwrap_or(0);
        if n == 0 {
            let n = self.integer("n")?.unwrap_or(1);
            return Err(Refusal::bad(
                None,
                &format!("n must be at least 1, got {n}."),
            ));
        }
        let choices = n.saturating_mul(prompts.len());
        if choices > self.config.max_choices {
            let message = format!("n must be at most {}, got {n}.", self.config.max_choices);
            return Err(Refusal::bad(None, &message));
        }
        let endless = matches!(self.fields.get("ignore_eos"), Some(Value::Bool(true)));
        let keep_stop = matches!(
            self.fields.get("include_stop_str_in_output"),
            Some(Value::Bool(true))
        );
        let stop: Vec<String> = match self.fields.get("stop") {
            Some(Value::String(word)) => vec![word.clone()],
            Some(Value::Array(words)) => words
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let stop: Vec<String> = stop.into_iter().filter(|word| !word.is_empty()).collect();
        let mut generations: Vec<_> = (0..choices)
            .map(|_| Generation::new(speech, limit, endless))
            .collect();
        let mut prompt_tokens: Vec<u64> = prompts.iter().map(|prompt| prompt.tokens).collect();
        if let UsageMode::WholeBound { prompt, completion } = &self.config.usage {
            let asked = Asked {
                body: self.request.body.clone(),
                prompt_tokens: prompt_tokens.iter().sum(),
                max_tokens: limit,
                choices: choices as u64,
            };
            share(prompt.of(&asked), prompt_tokens.len(), |at, part| {
                prompt_tokens[at] = part
            });
            share(completion.of(&asked), choices, |at, part| {
                generations[at].set_figure(part)
            });
        }
        if !stop.is_empty() {
            for generation in &mut generations {
                generation.stop_at(&stop, keep_stop);
            }
        }
        let chat = self.route == Route::Chat;
        Ok(Job {
            chat,
            id: self.id(if chat { "chatcmpl" } else { "cmpl" }),
            serial: self.serial,
            created: now(),
            model,
            fingerprint: self.config.fingerprint.clone(),
            echo: prompts.into_iter().map(|prompt| prompt.echo).collect(),
            prompt_tokens,
            n,
            generations,
            tool: None,
            stream,
            reasoning: self.config.reasoning,
            cached: self.config.cached_tokens,
            joined: self.config.tokens_per_event.max(1),
            phase: if chat {
                Phase::Role(0)
            } else {
                Phase::Content(0)
            },
            head: String::new(),
            text: String::new(),
            reported: 0,
            asked_prompt: false,
        })
    }

    /// The answer's identifier: the client's own, if it has one.
    fn id(&self, kind: &str) -> String {
        let own = self.request.header("x-request-id");
        let own = own.or_else(|| self.fields.get("request_id").and_then(Value::as_str));
        match own {
            Some(own) => {
                let mut id = format!("{kind}-");
                escape(&mut id, own);
                id
            }
            None => format!("{kind}-{:016x}", scatter(self.serial)),
        }
    }
}

/// Spreads `total` over `parts`, the remainder over the first ones.
fn share(total: u64, parts: usize, mut give: impl FnMut(usize, u64)) {
    let count = parts.max(1) as u64;
    for at in 0..parts {
        give(at, total / count + u64::from((at as u64) < total % count));
    }
}

/// Makes a serial number look like an identifier (splitmix64).
fn scatter(serial: u64) -> u64 {
    let mixed = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn fits(prompt: u64, context: u64) -> Result<(), Refusal> {
    if prompt < context {
        return Ok(());
    }
    let least = context + 1;
    let message = format!(
        "This model's maximum context length is {context} tokens. However, your prompt contains at least {least} \
         input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the \
         input prompt. (parameter=input_tokens, value={least})"
    );
    Err(Refusal::bad(Some("input_tokens"), &message))
}

/// Counts a conversation: its texts, what the template puts around each and before the answer.
fn chat_prompt(config: &Config, messages: &[Value]) -> Result<u64, Refusal> {
    if messages.is_empty() {
        let message =
            "Cannot apply chat template to an empty conversation. Provide at least one message.";
        return Err(Refusal::bad(None, message));
    }
    let mut tokens = 4;
    for message in messages {
        if let Some(Value::Array(parts)) = message.get("content") {
            let is_text = |part: &Value| part.is_string() || part.get("text").is_some();
            if !parts.iter().all(is_text) {
                let model = config
                    .models
                    .first()
                    .map_or("model", |card| card.id.as_str());
                return Err(Refusal::bad(
                    None,
                    &format!("{model} is not a multimodal model"),
                ));
            }
        }
        tokens += 6 + content(message).map(count_tokens).sum::<u64>();
        if let Some(Value::Array(calls)) = message.get("tool_calls") {
            tokens += calls.iter().map(tool_tokens).sum::<u64>();
        }
    }
    Ok(tokens)
}

/// The texts of a message, given as a string or in parts.
fn content(message: &Value) -> impl Iterator<Item = &str> {
    let content = message.get("content");
    let parts = content
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let texts = parts
        .iter()
        .filter_map(|part| part.as_str().or_else(|| part.get("text")?.as_str()));
    content.and_then(Value::as_str).into_iter().chain(texts)
}

/// Counts a tool or a call of one, which the template shows as JSON.
fn tool_tokens(tool: &Value) -> u64 {
    count_tokens(&tool.to_string())
}

/// Reads `prompt` or `input`: a text, token ids, or a list of either.
fn prompts(value: &Value, echo: bool) -> Result<Vec<Prompt>, Refusal> {
    let text = |text: &str| Prompt {
        tokens: count_tokens(text),
        echo: if echo { text.to_owned() } else { String::new() },
    };
    let ids = |ids: &[Value]| Prompt {
        tokens: ids.len() as u64,
        echo: String::new(),
    };
    let none = || Refusal::bad(None, "You must pass at least one prompt");
    let invalid = || {
        Refusal::invalid(
            "string_type",
            "body.prompt",
            "Input should be a valid string",
            &python(value),
        )
    };
    match value {
        Value::String(prompt) => Ok(vec![text(prompt)]),
        Value::Array(items) if items.is_empty() => Err(none()),
        Value::Array(items) if items.iter().all(Value::is_number) => Ok(vec![ids(items)]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(prompt) => Ok(text(prompt)),
                Value::Array(item) if item.iter().all(Value::is_number) => Ok(ids(item)),
                _ => Err(invalid()),
            })
            .collect(),
        _ => Err(invalid()),
    }
}

/// The tool that is called.
#[derive(Debug)]
struct ToolCall {
    name: String,
    /// `tool_choice` left no other way.
    forced: bool,
    /// `tool_choice` named the tool: the choice then ends with `stop`.
    named: bool,
}

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Role(usize),
    Content(usize),
    Usage,
    Done,
}

/// What an event adds to what was generated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Made {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

/// A chat or text completion on its way.
#[derive(Debug)]
pub(crate) struct Job {
    chat: bool,
    id: String,
    serial: u64,
    created: u64,
    model: String,
    fingerprint: String,
    echo: Vec<String>,
    prompt_tokens: Vec<u64>,
    n: usize,
    generations: Vec<Generation>,
    tool: Option<ToolCall>,
    stream: Option<StreamUsage>,
    reasoning: bool,
    cached: Option<u64>,
    joined: usize,
    phase: Phase,
    /// The members every event of the stream begins with.
    head: String,
    text: String,
    /// Completion tokens in the events so far.
    reported: u64,
    asked_prompt: bool,
}

impl Job {
    pub(crate) const fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Writes the whole answer and says what it took, and in how many steps of generation.
    pub(crate) fn complete(&mut self, out: &mut String) -> (Made, u64) {
        let object = if self.chat {
            "chat.completion"
        } else {
            "text_completion"
        };
        self.open(object, out);
        let mut steps = 0;
        for index in 0..self.generations.len() {
            if index > 0 {
                out.push(',');
            }
            steps = steps.max(self.choice(index, out));
        }
        let made = Made {
            prompt: self.prompt_tokens.iter().sum(),
            completion: self.completion(),
        };
        push!(
            out,
            "],\"service_tier\":null,\"system_fingerprint\":\"{}\",\"usage\":{{\"prompt_tokens\":{},\"total_tokens\":{},\
             \"completion_tokens\":{},\"prompt_tokens_details\":",
            self.fingerprint,
            made.prompt,
            made.prompt + made.completion,
            made.completion,
        );
        push_cached(out, self.cached, made.prompt);
        out.push_str(",\"completion_tokens_details\":");
        if self.shows_reasoning() {
            push!(out, "{{\"reasoning_tokens\":{}}}", self.reasoned());
        } else {
            out.push_str("null");
        }
        out.push('}');
        if self.chat {
            out.push_str(
                ",\"prompt_logprobs\":null,\"prompt_token_ids\":null,\"prompt_text\":null",
            );
        }
        out.push_str(",\"kv_transfer_params\":null,\"ec_transfer_params\":null,\"metrics\":null}");
        (made, steps)
    }

    /// Generates and writes one choice.
    fn choice(&mut self, index: usize, out: &mut String) -> u64 {
        let (mut text, mut reasoning, mut arguments) =
            (String::new(), String::new(), String::new());
        let mut called = false;
        let mut steps = 0;
        let generation = &mut self.generations[index];
        while let Some(kind) = generation.next(1, &mut self.text) {
            steps += 1;
            match kind {
                Kind::Text | Kind::End => text.push_str(&self.text),
                Kind::Reasoning => reasoning.push_str(&self.text),
                Kind::ToolArguments => arguments.push_str(&self.text),
                Kind::ToolName => called = true,
            }
        }
        push!(out, "{{\"index\":{index},");
        let call = self.tool.as_ref().filter(|_| called);
        if self.chat {
            out.push_str("\"message\":{\"role\":\"assistant\",\"content\":");
            let forced = call.is_some_and(|call| call.forced);
            if text.is_empty() && !forced {
                out.push_str("null");
            } else {
                push_string(out, &text);
            }
            out.push_str(
                ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null",
            );
            if let Some(call) = call {
                push!(
                    out,
                    ",\"tool_calls\":[{{\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":",
                    self.tool_id(index)
                );
                push_string(out, &call.name);
                out.push_str(",\"arguments\":");
                push_string(out, &arguments);
                out.push_str("}}]");
            }
            out.push_str(",\"reasoning\":");
            if reasoning.is_empty() {
                out.push_str("null");
            } else {
                push_string(out, &reasoning);
            }
            out.push('}');
        } else {
            out.push_str("\"text\":\"");
            escape(out, &self.echo[index / self.n]);
            escape(out, &text);
            out.push('"');
        }
        out.push_str(",\"logprobs\":null,");
        self.push_finish(index, out);
        out.push_str(",\"token_ids\":null");
        if !self.chat {
            out.push_str(",\"prompt_logprobs\":null,\"prompt_token_ids\":null");
        }
        out.push_str(",\"routed_experts\":null}");
        steps
    }

    /// Writes the data of the next event, if there is one before `[DONE]`.
    pub(crate) fn next_event(&mut self, out: &mut String) -> Option<Made> {
        out.clear();
        if self.head.is_empty() {
            let object = if self.chat {
                "chat.completion.chunk"
            } else {
                "text_completion"
            };
            let mut head = String::new();
            self.open(object, &mut head);
            self.head = head;
        }
        out.push_str(&self.head);
        let usage = self.stream.unwrap_or_default();
        match self.phase {
            Phase::Role(index) => self.role_event(index, usage, out),
            Phase::Content(index) => self.content_event(index, usage, out),
            Phase::Usage => self.usage_event(out),
            Phase::Done => return None,
        }
        let completion = self.completion();
        let made = Made {
            prompt: if self.asked_prompt {
                0
            } else {
                self.prompt_tokens.iter().sum()
            },
            completion: completion - self.reported,
        };
        self.asked_prompt = true;
        self.reported = completion;
        Some(made)
    }

    fn role_event(&mut self, index: usize, usage: StreamUsage, out: &mut String) {
        push!(
            out,
            "{{\"index\":{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":null}}]"
        );
        if usage.running {
            self.push_running(index, out);
        }
        out.push_str(",\"prompt_token_ids\":null,\"prompt_text\":null}");
        let next = index + 1;
        self.phase = if next < self.generations.len() {
            Phase::Role(next)
        } else {
            Phase::Content(0)
        };
    }

    fn content_event(&mut self, index: usize, usage: StreamUsage, out: &mut String) {
        let begins = self.generations[index].tokens() == 0;
        let joined = self.joined;
        let kind = self.generations[index]
            .next(joined, &mut self.text)
            .unwrap_or(Kind::End);
        let ended = self.generations[index].finish().is_some();
        push!(out, "{{\"index\":{index},");
        if self.chat {
            self.push_delta(index, kind, out);
            out.push_str(",\"logprobs\":null,");
            if ended {
                self.push_finish(index, out);
            } else {
                out.push_str("\"finish_reason\":null");
            }
            out.push_str(",\"token_ids\":null}]");
        } else {
            out.push_str("\"text\":\"");
            if begins {
                escape(out, &self.echo[index / self.n]);
            }
            escape(out, &self.text);
            out.push_str("\",\"logprobs\":null,");
            self.push_finish(index, out);
            out.push_str(",\"prompt_token_ids\":null,\"token_ids\":null}]");
        }
        if usage.running {
            self.push_running(index, out);
        }
        let count = self.generations.len();
        let open = |at: &usize| self.generations[*at].finish().is_none();
        let next = (index + 1..count).chain(0..=index).find(open);
        self.phase = match next {
            Some(next) => Phase::Content(next),
            None if usage.last => Phase::Usage,
            None => {
                push!(out, ",\"system_fingerprint\":\"{}\"", self.fingerprint);
                Phase::Done
            }
        };
        out.push('}');
    }

    fn usage_event(&mut self, out: &mut String) {
        let (prompt, completion) = (self.prompt_tokens.iter().sum::<u64>(), self.completion());
        push!(
            out,
            "],\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{completion}",
            prompt + completion
        );
        if let Some(cached) = self.cached {
            let cached = cached.min(prompt);
            push!(
                out,
                ",\"prompt_tokens_details\":{{\"cached_tokens\":{cached},\"created_cache_tokens\":0}}"
            );
        }
        if self.shows_reasoning() {
            push!(
                out,
                ",\"completion_tokens_details\":{{\"reasoning_tokens\":{}}}",
                self.reasoned()
            );
        }
        push!(out, "}},\"system_fingerprint\":\"{}\"}}", self.fingerprint);
        self.phase = Phase::Done;
    }

    /// Writes what every answer begins with, up to its first choice.
    fn open(&self, object: &str, out: &mut String) {
        push!(
            out,
            "{{\"id\":\"{}\",\"object\":\"{object}\",\"created\":{},\"model\":",
            self.id,
            self.created
        );
        push_string(out, &self.model);
        out.push_str(",\"choices\":[");
    }

    fn push_delta(&self, index: usize, kind: Kind, out: &mut String) {
        let member = match kind {
            Kind::End => {
                out.push_str("\"delta\":{}");
                return;
            }
            Kind::ToolName => {
                push!(
                    out,
                    "\"delta\":{{\"content\":null,\"tool_calls\":[{{\"id\":\"{}\",\"type\":\"function\",\"index\":0,\"function\":{{\"name\":",
                    self.tool_id(index)
                );
                push_string(
                    out,
                    self.tool.as_ref().map_or("", |tool| tool.name.as_str()),
                );
                out.push_str("}}]}");
                return;
            }
            Kind::ToolArguments => {
                out.push_str("\"delta\":{\"content\":null,\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":");
                push_string(out, &self.text);
                out.push_str("}}]}");
                return;
            }
            Kind::Text => "content",
            Kind::Reasoning => "reasoning",
        };
        push!(out, "\"delta\":{{\"{member}\":");
        push_string(out, &self.text);
        out.push('}');
    }

    fn push_finish(&self, index: usize, out: &mut String) {
        let reason = match self.generations[index].finish() {
            None => {
                out.push_str("\"finish_reason\":null,\"stop_reason\":null");
                return;
            }
            Some(Finish::Length) => "length",
            Some(Finish::Stop(word)) => {
                out.push_str("\"finish_reason\":\"stop\",\"stop_reason\":");
                push_string(out, word);
                return;
            }
            Some(Finish::End) if self.tool.as_ref().is_some_and(|tool| !tool.named) => "tool_calls",
            Some(Finish::End) => "stop",
        };
        push!(out, "\"finish_reason\":\"{reason}\",\"stop_reason\":null");
    }

    /// Writes the running usage: of this choice and its prompt alone.
    fn push_running(&self, index: usize, out: &mut String) {
        let generation = &self.generations[index];
        let (prompt, completion) = (self.prompt_tokens[index / self.n], generation.tokens());
        push!(
            out,
            ",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{completion}",
            prompt + completion
        );
        if self.shows_reasoning() {
            push!(
                out,
                ",\"completion_tokens_details\":{{\"reasoning_tokens\":{}}}",
                generation.reasoning()
            );
        } else if self.chat {
            out.push_str(",\"completion_tokens_details\":null");
        }
        out.push('}');
    }

    fn tool_id(&self, index: usize) -> String {
        format!(
            "chatcmpl-tool-{:016x}",
            scatter(!self.serial).wrapping_add(index as u64)
        )
    }

    const fn shows_reasoning(&self) -> bool {
        self.chat && self.reasoning
    }

    fn completion(&self) -> u64 {
        self.generations.iter().map(Generation::tokens).sum()
    }

    fn reasoned(&self) -> u64 {
        self.generations.iter().map(Generation::reasoning).sum()
    }
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

/// How embeddings are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Float,
    Base64,
    Bytes,
    BytesOnly,
}

/// An embedding request, counted.
#[derive(Debug)]
pub(crate) struct Embedding {
    id: String,
    created: u64,
    model: String,
    inputs: Vec<u64>,
    prompt_tokens: u64,
    cached: Option<u64>,
    encoding: Encoding,
}

impl Embedding {
    pub(crate) const fn made(&self) -> Made {
        Made {
            prompt: self.prompt_tokens,
            completion: 0,
        }
    }

    /// Returns the vectors as bytes, and the `metadata` header, if the client wants them so.
    pub(crate) fn bytes(&self) -> Option<(Vec<u8>, Option<String>)> {
        let described = match self.encoding {
            Encoding::Bytes => true,
            Encoding::BytesOnly => false,
            Encoding::Float | Encoding::Base64 => return None,
        };
        let bytes = (0..self.inputs.len())
            .flat_map(|at| self.vector(at))
            .flat_map(f32::to_le_bytes)
            .collect();
        Some((bytes, described.then(|| self.metadata())))
    }

    fn metadata(&self) -> String {
        let mut model = String::new();
        escape(&mut model, &self.model);
        let mut out = format!(
            "{{\"id\": \"{}\", \"created\": {}, \"model\": \"{model}\", \"data\": [",
            self.id, self.created
        );
        for index in 0..self.inputs.len() {
            let size = DIMENSIONS * size_of::<f32>();
            let separator = if index > 0 { ", " } else { "" };
            push!(
                out,
                "{separator}{{\"index\": {index}, \"embed_dtype\": \"float32\", \"endianness\": \"native\", \
                 \"start\": {}, \"end\": {}, \"shape\": [{DIMENSIONS}]}}",
                index * size,
                (index + 1) * size,
            );
        }
        push!(
            out,
            "], \"usage\": {{\"prompt_tokens\": {0}, \"total_tokens\": {0}}}}}",
            self.prompt_tokens
        );
        out
    }

    /// Writes the answer as JSON.
    pub(crate) fn json(&self, out: &mut String) {
        push!(
            out,
            "{{\"id\":\"{}\",\"object\":\"list\",\"created\":{},\"model\":",
            self.id,
            self.created
        );
        push_string(out, &self.model);
        out.push_str(",\"data\":[");
        for index in 0..self.inputs.len() {
            let separator = if index > 0 { "," } else { "" };
            push!(
                out,
                "{separator}{{\"index\":{index},\"object\":\"embedding\",\"embedding\":"
            );
            if self.encoding == Encoding::Base64 {
                let bytes: Vec<u8> = self.vector(index).flat_map(f32::to_le_bytes).collect();
                out.push('"');
                base64(&bytes, out);
                out.push('"');
            } else {
                for (at, number) in self.vector(index).enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    push!(out, "{}", f64::from(number));
                }
                out.push(']');
            }
            out.push('}');
        }
        push!(
            out,
            "],\"usage\":{{\"prompt_tokens\":{0},\"total_tokens\":{0},\"completion_tokens\":0,\"prompt_tokens_details\":",
            self.prompt_tokens
        );
        push_cached(out, self.cached, self.prompt_tokens);
        out.push_str(",\"completion_tokens_details\":null}}");
    }

    /// Makes up the vector of one input.
    fn vector(&self, index: usize) -> impl Iterator<Item = f32> {
        let seed = self.inputs[index].wrapping_mul(DIMENSIONS as u64);
        (0..DIMENSIONS as u64).map(move |at| {
            let bits = scatter(seed + at + 1) >> 48;
            f32::from(bits as u16) / 65_536.0 - 0.5
        })
    }
}

fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= group.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_to_whole_groups() {
        for (bytes, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            let mut out = String::new();
            base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text);
        }
    }
}
