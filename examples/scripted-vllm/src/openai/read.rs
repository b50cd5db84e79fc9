//! Requests, read as leniently as vLLM reads them and refused in its words.

use serde_json::{Map, Value};

use super::{
    Refusal, Route,
    body::python,
    embedding::{Embedding, Encoding},
    job::{Job, Phase, StreamUsage, ToolCall},
    prompt::{Prompt, chat_prompt, content, fits, prompts, tool_tokens},
    scatter,
};
use crate::{
    Asked, Config, UsageMode,
    http::{ReceivedRequest, now},
    model::{Generation, Speech, escape},
};

/// What `/v1/completions` generates when nothing is said.
const DEFAULT_COMPLETION: u64 = 16;

/// Reads one request.
pub(super) struct Reader<'a> {
    pub(super) config: &'a Config,
    pub(super) route: Route,
    pub(super) request: &'a ReceivedRequest,
    pub(super) serial: u64,
    pub(super) fields: &'a Map<String, Value>,
}

impl Reader<'_> {
    pub(super) fn chat(&self) -> Result<Job, Refusal> {
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
            Some(limit) => Some(limit),
            None => self.integer("max_tokens")?,
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

    pub(super) fn completions(&self) -> Result<Job, Refusal> {
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
        let asked = self.integer("max_tokens")?;
        let least = if echo { 0 } else { 1 };
        let default = DEFAULT_COMPLETION.min(context.saturating_sub(longest));
        let limit = self.limit(asked, least, default, context, longest)?;
        self.job(model, prompts, Speech::Continuation, limit, stream)
    }

    pub(super) fn embeddings(&self) -> Result<Embedding, Refusal> {
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
        asked: Option<i64>,
        least: i64,
        default: u64,
        context: u64,
        prompt: u64,
    ) -> Result<u64, Refusal> {
        fits(prompt, context)?;
        let Some(limit) = asked else {
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
