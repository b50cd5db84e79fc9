//! Prompts, counted: texts, token ids, conversations.

use serde_json::Value;

use super::{Refusal, body::python};
use crate::{Config, model::count_tokens};

/// One prompt, counted.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) tokens: u64,
    /// What `echo` puts before the answer.
    pub(super) echo: String,
}

/// Refuses a prompt that leaves no room in the context.
pub(super) fn fits(prompt: u64, context: u64) -> Result<(), Refusal> {
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
pub(super) fn chat_prompt(config: &Config, messages: &[Value]) -> Result<u64, Refusal> {
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
pub(super) fn content(message: &Value) -> impl Iterator<Item = &str> {
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
pub(super) fn tool_tokens(tool: &Value) -> u64 {
    count_tokens(&tool.to_string())
}

/// Reads `prompt` or `input`: a text, token ids, or a list of either.
pub(super) fn prompts(value: &Value, echo: bool) -> Result<Vec<Prompt>, Refusal> {
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
