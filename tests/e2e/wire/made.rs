//! Streams that nobody recorded, made from ones that were: what vLLM says to the same request when usage
//! is asked for as the gate asks.
//!
//! The recordings hold both forms for some requests, so that the making itself can be checked.

use serde_json::Value;

use super::recording::Answer;

/// The tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

impl Figures {
    pub(crate) const fn total(self) -> u64 {
        self.prompt + self.completion
    }

    /// Reads a `usage` object.
    pub(crate) fn of(usage: &Value) -> Option<Self> {
        Some(Self {
            prompt: usage["prompt_tokens"].as_u64()?,
            completion: usage["completion_tokens"].as_u64().unwrap_or_default(),
        })
    }

    /// What an answer says it used: whole, or by the last event of a stream of one choice.
    pub(crate) fn reported(answer: &Answer) -> Option<Self> {
        if let Some(metadata) = answer.header("metadata") {
            let metadata: Value = serde_json::from_str(metadata).ok()?;
            return Self::of(&metadata["usage"]);
        }
        if !answer.is_stream() {
            return Self::of(&answer.json()["usage"]);
        }
        let events = answer.events();
        let mut usages = events
            .iter()
            .rev()
            .filter_map(|event| serde_json::from_str::<Value>(event).ok())
            .filter_map(|event| Self::of(&event["usage"]));
        usages.next()
    }
}

/// Writes `recorded` as vLLM does when `include_usage` and `continuous_usage_stats` are set: running
/// totals in every event, each choice by itself, and the whole in an event before `[DONE]`.
pub(crate) fn with_usage(recorded: &Answer, whole: Figures, prompts: u64) -> Answer {
    let mut completed: Vec<u64> = Vec::new();
    let mut out = String::new();
    let mut last = None;
    let mut reported = false;
    for event in recorded.text().split_inclusive("\n\n") {
        // A stream that fails reports nothing at its end.
        reported |= event.starts_with("data: {\"error\"");
        let data = event.strip_prefix("data: ").map(str::trim_end);
        let Some(data) = data.filter(|data| data.starts_with("{\"id\"")) else {
            if event == "data: [DONE]\n\n"
                && !reported
                && let Some(last) = last.take()
            {
                out += &usage_event(last, whole);
            }
            out += event;
            continue;
        };
        let parsed: Value = serde_json::from_str(data).expect("events are JSON");
        if parsed["choices"].as_array().is_none_or(Vec::is_empty) {
            reported = true;
            out += event;
            continue;
        }
        if parsed.get("usage").is_some() {
            out += event;
            continue;
        }
        let choice = &parsed["choices"][0];
        let index = choice["index"].as_u64().unwrap_or_default() as usize;
        if completed.len() <= index {
            completed.resize(index + 1, 0);
        }
        let opens = choice["delta"].get("role").is_some();
        completed[index] += u64::from(!opens);
        let figures = Figures {
            prompt: whole.prompt / prompts,
            completion: completed[index],
        };
        out += &format!("data: {}\n\n", running(data, figures, &parsed));
        last = Some(parsed);
    }
    Answer {
        body: out.into_bytes(),
        ..recorded.clone()
    }
}

/// Puts running usage into an event, and takes the fingerprint out, which goes into the last one.
fn running(data: &str, figures: Figures, parsed: &Value) -> String {
    let details = match parsed["object"].as_str() {
        Some("chat.completion.chunk") => ",\"completion_tokens_details\":null",
        _ => "",
    };
    let usage = format!(",\"usage\":{{{}{details}}}", numbers(figures));
    let start = data.find("\"choices\":[").expect("a choice") + "\"choices\":".len();
    let end = start + array(&data[start..]);
    let rest = match data[end..].find(",\"system_fingerprint\":") {
        Some(at) => &data[end..end + at],
        None => data[end..].strip_suffix('}').expect("an object"),
    };
    format!("{}{usage}{rest}}}", &data[..end])
}

fn usage_event(last: Value, whole: Figures) -> String {
    let text = |member: &str| last[member].to_string();
    format!(
        "data: {{\"id\":{},\"object\":{},\"created\":{},\"model\":{},\"choices\":[],\"usage\":{{{}}},\"system_fingerprint\":{}}}\n\n",
        text("id"),
        text("object"),
        text("created"),
        text("model"),
        numbers(whole),
        text("system_fingerprint"),
    )
}

fn numbers(figures: Figures) -> String {
    format!(
        "\"prompt_tokens\":{},\"total_tokens\":{},\"completion_tokens\":{}",
        figures.prompt,
        figures.total(),
        figures.completion,
    )
}

/// How long the array is that `text` begins with.
fn array(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next();
    values.byte_offset()
}

/// What is left of a stream when a client that did not ask for usage gets none: as JSON, one value an
/// event, because members move.
pub(crate) fn without_usage(recorded: &Answer) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    for data in recorded.events() {
        let mut event: Value = serde_json::from_str(&data).unwrap_or_else(|_| Value::from(data));
        if event["choices"].as_array().is_some_and(Vec::is_empty) {
            let fingerprint = event["system_fingerprint"].take();
            if let Some(last) = events.last_mut() {
                last["system_fingerprint"] = fingerprint;
            }
            continue;
        }
        if let Some(event) = event.as_object_mut() {
            event.remove("usage");
        }
        events.push(event);
    }
    events
}

#[test]
fn made_streams_are_the_ones_vllm_sends() {
    for (from, to, whole) in [
        ("chat_stream", "chat_stream_usage_continuous", (11, 17)),
        (
            "chat_stream_usage",
            "chat_stream_usage_continuous",
            (11, 17),
        ),
        (
            "completions_stream",
            "completions_stream_usage_continuous",
            (1, 6),
        ),
        (
            "completions_stream_usage",
            "completions_stream_usage_continuous",
            (1, 6),
        ),
    ] {
        let load = |name: &str| Answer::load(name).expect("an answer");
        let whole = Figures {
            prompt: whole.0,
            completion: whole.1,
        };
        let made = with_usage(&load(from), whole, 1);
        assert_eq!(
            super::recording::mask(&made.body),
            super::recording::mask(&load(to).body),
            "{from} made to {to}"
        );
    }
}
