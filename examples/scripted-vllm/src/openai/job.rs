//! Generated answers: the whole one, or its events one by one.

use std::fmt::Write as _;

use super::{Made, push_cached, push_string, scatter};
use crate::model::{Finish, Generation, Kind, escape};

/// What a stream says about usage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamUsage {
    /// In one more event at the end.
    pub(super) last: bool,
    /// In every event.
    pub(super) running: bool,
}

/// The tool that is called.
#[derive(Debug)]
pub(super) struct ToolCall {
    pub(super) name: String,
    /// `tool_choice` left no other way.
    pub(super) forced: bool,
    /// `tool_choice` named the tool: the choice then ends with `stop`.
    pub(super) named: bool,
}

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Role(usize),
    Content(usize),
    Usage,
    Done,
}

/// A chat or text completion on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) chat: bool,
    pub(super) id: String,
    pub(super) serial: u64,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
    pub(super) echo: Vec<String>,
    pub(super) prompt_tokens: Vec<u64>,
    pub(super) n: usize,
    pub(super) generations: Vec<Generation>,
    pub(super) tool: Option<ToolCall>,
    pub(super) stream: Option<StreamUsage>,
    pub(super) reasoning: bool,
    pub(super) cached: Option<u64>,
    pub(super) joined: usize,
    pub(super) phase: Phase,
    /// The members every event of the stream begins with.
    pub(super) head: String,
    pub(super) text: String,
    /// Completion tokens in the events so far.
    pub(super) reported: u64,
    pub(super) asked_prompt: bool,
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
