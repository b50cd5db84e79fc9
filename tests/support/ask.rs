use serde_json::{Value, json};

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Ask(Value);

/// Asks for a chat completion with one message.
#[must_use]
pub fn chat(content: &str) -> Ask {
    Ask(json!({ "model": "tiny", "messages": [{ "role": "user", "content": content }] }))
}

/// Asks for a completion.
#[must_use]
pub fn completion(prompt: &str) -> Ask {
    Ask(json!({ "model": "tiny", "prompt": prompt }))
}

/// Asks for an embedding.
#[must_use]
pub fn embedding(input: &str) -> Ask {
    Ask(json!({ "model": "tiny", "input": input }))
}

impl Ask {
    /// Bounds the output; the scripted model then generates exactly that much.
    #[must_use]
    pub fn max_tokens(self, tokens: u64) -> Self {
        self.with("max_tokens", tokens).with("ignore_eos", true)
    }

    /// Asks for a stream.
    #[must_use]
    pub fn stream(self) -> Self {
        self.with("stream", true)
    }

    /// Asks for the usage at the end of a stream.
    #[must_use]
    pub fn usage(self) -> Self {
        self.with("stream_options", json!({ "include_usage": true }))
    }

    /// Sets any member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0[member] = value.into();
        self
    }

    /// Returns the body.
    #[must_use]
    pub fn json(&self) -> Value {
        self.0.clone()
    }
}
