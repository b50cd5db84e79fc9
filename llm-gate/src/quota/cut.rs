//! How a stream ends that is cut for want of room: in the upstream's own words.

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::Value;

use crate::call::{Call, Route};
use crate::tokens::Usage;

static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\":"));

/// The members of a chunk that are the same in every chunk of a stream.
const SAME: [&str; 4] = ["id", "object", "created", "model"];

/// What the client knows of the choices.
#[derive(Debug)]
pub(super) struct Choices {
    /// What a choice brings that brings nothing.
    nothing: &'static str,
    usage_asked: bool,
    count: usize,
    /// Those that have ended. Not kept where there is but one.
    finished: Vec<u64>,
}

impl Choices {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            nothing: match call.route() {
                Route::Completions => r#""text":"""#,
                _ => r#""delta":{}"#,
            },
            usage_asked: call.usage_asked().include,
            count: usize::try_from(call.choices()).unwrap_or(usize::MAX),
            finished: Vec::new(),
        }
    }

    pub(super) const fn are_many(&self) -> bool {
        self.count > 1
    }

    /// Notes which choices end with a frame that is delivered.
    pub(super) fn delivered(&mut self, frame: &[u8]) {
        if self.are_many() && finishes(frame) {
            let ended = events(frame).flat_map(|event| ended(&event));
            self.finished.extend(ended);
        }
    }

    /// Ends every choice that is open. `next` is the frame that was not delivered.
    pub(super) fn end(&self, next: &[u8], charged: Usage) -> Bytes {
        let mut end = String::new();
        let mut next = events(next).filter(|event| event["choices"].is_array());
        if let Some(event) = next.next() {
            let head = head(&event);
            // The one choice there is has ended if nothing of it comes any more.
            let comes = |event: &Value| event["choices"] != Value::Array(Vec::new());
            let open = self.count > 1 || comes(&event) || next.any(|event| comes(&event));
            for index in (0..self.count as u64).filter(|_| open) {
                if !self.finished.contains(&index) {
                    let nothing = self.nothing;
                    let _ = write!(
                        end,
                        r#"data: {{{head}"choices":[{{"index":{index},{nothing},"logprobs":null,"finish_reason":"length"}}]}}"#
                    );
                    end.push_str("\n\n");
                }
            }
            if self.usage_asked {
                let (prompt, total, completion) =
                    (charged.prompt, charged.total(), charged.completion);
                let _ = write!(
                    end,
                    r#"data: {{{head}"choices":[],"usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}}}}}"#
                );
                end.push_str("\n\n");
            }
        }
        end.push_str("data: [DONE]\n\n");
        end.into()
    }
}

/// Tells whether a choice may end in a frame: a `finish_reason` that is not null.
fn finishes(frame: &[u8]) -> bool {
    FINISH.find_iter(frame).any(|at| {
        let mut value = frame[at + FINISH.needle().len()..].iter();
        value.find(|byte| !byte.is_ascii_whitespace()) != Some(&b'n')
    })
}

/// Reads the events of a frame that are JSON.
fn events(frame: &[u8]) -> impl Iterator<Item = Value> {
    frame
        .split(|&byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(|line| serde_json::from_slice(line.strip_prefix(b"data:")?).ok())
}

/// Returns the choices that end in an event.
fn ended(event: &Value) -> Vec<u64> {
    let choices = event["choices"].as_array().map(Vec::as_slice);
    let ended = |choice: &&Value| choice["finish_reason"].is_string();
    let choices = choices.unwrap_or_default().iter().filter(ended);
    choices
        .filter_map(|choice| choice["index"].as_u64())
        .collect()
}

/// Writes the members that every chunk has, each with the comma behind it.
fn head(event: &Value) -> String {
    let mut head = String::new();
    for name in SAME {
        if let Some(value) = event.get(name) {
            let _ = write!(head, "\"{name}\":{value},");
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(count: usize, usage_asked: bool) -> Choices {
        Choices {
            nothing: r#""delta":{}"#,
            usage_asked,
            count,
            finished: Vec::new(),
        }
    }

    fn chunk(choices: &str) -> String {
        format!("data: {{\"id\":\"x\\\"y\",\"created\":7,\"choices\":[{choices}]}}\n\n")
    }

    fn reasons(end: &[u8]) -> Vec<(u64, String)> {
        let all = events(end).flat_map(|event| event["choices"].as_array().cloned());
        all.flatten()
            .map(|choice| {
                let reason = choice["finish_reason"].as_str().unwrap_or_default();
                (choice["index"].as_u64().unwrap_or(99), reason.to_owned())
            })
            .collect()
    }

    #[test]
    fn the_one_choice_ends_unless_it_has_ended() {
        let one = choices(1, false);
        let end = one.end(chunk(r#"{"index":0}"#).as_bytes(), Usage::default());
        assert_eq!(reasons(&end), [(0, "length".to_owned())]);
        let head = events(&end).next().expect("an event");
        assert_eq!((&head["id"], &head["created"]), (&"x\"y".into(), &7.into()));
        let after = [chunk(""), "data: [DONE]\n\n".to_owned()].concat();
        let end = one.end(after.as_bytes(), Usage::default());
        assert_eq!(end, "data: [DONE]\n\n", "only the usage was to come");
    }

    #[test]
    fn of_many_choices_those_end_that_are_open() {
        let mut three = choices(3, true);
        three.delivered(chunk(r#"{"index":0,"finish_reason":null}"#).as_bytes());
        three.delivered(chunk(r#"{"index":1,"finish_reason": "stop"}"#).as_bytes());
        let used = Usage {
            prompt: 3,
            completion: 4,
            ..Usage::default()
        };
        let end = three.end(
            chunk(r#"{"index":2,"finish_reason":"stop"}"#).as_bytes(),
            used,
        );
        let length = || "length".to_owned();
        assert_eq!(reasons(&end), [(0, length()), (2, length())]);
        let usage = events(&end).last().expect("an event");
        assert_eq!(usage["choices"], Value::Array(Vec::new()));
        assert_eq!(usage["usage"]["total_tokens"], 7);
        assert!(end.ends_with(b"}\n\ndata: [DONE]\n\n"));
    }
}
