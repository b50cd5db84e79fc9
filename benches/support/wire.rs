//! The bytes of vLLM 0.32.0, as recorded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};

const ID: &str = "chatcmpl-95e8677ef94c4496";

/// Words of the length that tokens have.
const WORDS: [&str; 16] = [
    "Hello",
    " from",
    " a",
    " tiny",
    " model",
    " that",
    " only",
    " knows",
    " this",
    " one",
    " fixed",
    " sentence",
    " and",
    " then",
    " stops",
    ".",
];

/// Which usage a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// In every event and in one of its own: `continuous_usage_stats`.
    InEveryEvent,
    /// In the last event alone: `include_usage`.
    AtTheEnd,
}

/// Writes the answer of a chat that is not streamed: about 800 bytes.
#[must_use]
pub fn answer(content: &str) -> Bytes {
    format!(
        r#"{{"id":"{ID}","object":"chat.completion","created":1795158518,"model":"tiny","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null,"routed_experts":null}}],"service_tier":null,"system_fingerprint":"vllm-0.32.0-d80ca049","usage":{{"prompt_tokens":11,"total_tokens":28,"completion_tokens":17,"prompt_tokens_details":null,"completion_tokens_details":null}},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#
    )
    .into()
}

/// Writes text of `bytes` bytes.
#[must_use]
pub fn text(bytes: usize) -> String {
    WORDS.concat().chars().cycle().take(bytes).collect()
}

/// Writes the events of a streamed chat of `chunks` chunks (the first with the role, the last with the
/// finish reason), the usage event, and `[DONE]`.
#[must_use]
pub fn events(chunks: usize, running: Running) -> Vec<Bytes> {
    let usage = |tokens: usize| match running {
        Running::InEveryEvent => format!(
            r#","usage":{{"prompt_tokens":11,"total_tokens":{},"completion_tokens":{tokens},"completion_tokens_details":null}}"#,
            11 + tokens
        ),
        Running::AtTheEnd => String::new(),
    };
    let head = format!(
        r#"data: {{"id":"{ID}","object":"chat.completion.chunk","created":1795158519,"model":"tiny","choices":["#
    );
    let mut events = Vec::with_capacity(chunks + 2);
    events.push(format!(
        r#"{head}{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]{},"prompt_token_ids":null,"prompt_text":null}}"#,
        usage(0)
    ));
    for tokens in 1..chunks.saturating_sub(1) {
        let word = WORDS[(tokens - 1) % WORDS.len()];
        events.push(format!(
            r#"{head}{{"index":0,"delta":{{"content":"{word}"}},"logprobs":null,"finish_reason":null,"token_ids":null}}]{}}}"#,
            usage(tokens)
        ));
    }
    events.push(format!(
        r#"{head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}}]{}}}"#,
        usage(chunks - 1)
    ));
    events.push(format!(
        r#"{head}],"usage":{{"prompt_tokens":11,"total_tokens":{},"completion_tokens":{}}},"system_fingerprint":"vllm-0.32.0-d80ca049"}}"#,
        10 + chunks,
        chunks - 1
    ));
    events.push("data: [DONE]".to_owned());
    events
        .into_iter()
        .map(|event| Bytes::from(event + "\n\n"))
        .collect()
}

/// Puts the bytes of `events` into frames of `size` bytes, wherever that cuts them.
#[must_use]
pub fn frames(events: &[Bytes], size: usize) -> Vec<Bytes> {
    events
        .concat()
        .chunks(size)
        .map(Bytes::copy_from_slice)
        .collect()
}

/// An answer that is ready to be given any number of times.
#[derive(Clone, Debug)]
pub struct Script {
    content_type: HeaderValue,
    frames: Arc<[Bytes]>,
}

impl Script {
    /// Answers with JSON in one frame.
    #[must_use]
    pub fn json(answer: Bytes) -> Self {
        Self {
            content_type: HeaderValue::from_static("application/json"),
            frames: [answer].into(),
        }
    }

    /// Answers with a stream.
    #[must_use]
    pub fn stream(frames: Vec<Bytes>) -> Self {
        Self {
            content_type: HeaderValue::from_static("text/event-stream; charset=utf-8"),
            frames: frames.into(),
        }
    }

    /// Returns how many bytes the body has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }

    /// Makes the answer.
    #[must_use]
    pub fn response(&self) -> Response<ScriptBody> {
        let mut response = Response::new(ScriptBody {
            frames: self.frames.clone(),
            next: 0,
        });
        response
            .headers_mut()
            .insert(CONTENT_TYPE, self.content_type.clone());
        response
    }
}

/// The body of a [`Script`]: its frames are there already.
#[derive(Debug)]
pub struct ScriptBody {
    frames: Arc<[Bytes]>,
    next: usize,
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(frame.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.frames.get(self.next..).unwrap_or_default();
        SizeHint::with_exact(left.iter().map(|frame| frame.len() as u64).sum())
    }
}

/// How a client asks for usage in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// No stream.
    Whole,
    /// A stream, and no usage in it.
    Stream,
    /// A stream with running usage.
    Running,
}

/// Writes a chat request of three messages, about 1 KiB.
#[must_use]
pub fn request(asks: Asks) -> Bytes {
    let rest = match asks {
        Asks::Whole => "",
        Asks::Stream => r#", "stream": true"#,
        Asks::Running => {
            r#", "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}"#
        }
    };
    let (system, question) = (text(300), text(400));
    format!(
        r#"{{"model": "tiny", "messages": [{{"role": "system", "content": "{system}"}}, {{"role": "user", "content": "hi"}}, {{"role": "assistant", "content": "Hello! How can I help you?"}}, {{"role": "user", "content": "{question}\n\"quoted\""}}], "temperature": 0.2, "max_tokens": 256{rest}}}"#
    )
    .into()
}
