//! Scripts: what a test wants instead of the model's own answer.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

/// Decides how one generation request is answered.
///
/// Answers are queued with [`ScriptedVllm::push`](crate::ScriptedVllm::push), first in, first out.
/// Scripted bytes ([`Raw`](Self::Raw), [`Recording`](Self::Recording), [`Status`](Self::Status)) add
/// no tokens to [`Counts`](crate::Counts): nothing was generated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Lets the model answer, as if nothing had been queued.
    Model,
    /// Takes the steps one after the other. After the last one the connection takes the next
    /// request, so a script that leaves its answer unfinished ends with a step that closes.
    Raw(Vec<Step>),
    /// Replays a recorded `NAME.response.txt` as it is, chunk sizes included. The connection closes
    /// afterwards if the recording stops before the answer's own end.
    Recording {
        /// The recorded bytes, from the status line on.
        response: Bytes,
    },
    /// Lets the model answer, but writes each event only after the gate let it pass: one release per
    /// event, the last one for `[DONE]`. The head is written at once. An answer that is not streamed
    /// takes one release.
    Lockstep {
        /// Holds the events back.
        gate: Gate,
    },
    /// Lets the model answer and fails in the middle of it.
    Fails {
        /// How many events of a stream are written before the fault.
        after: u64,
        /// What happens then.
        fault: Fault,
    },
    /// Answers with a status and a body.
    Status {
        /// The HTTP status.
        status: u16,
        /// The value of `content-type`.
        content_type: String,
        /// Further headers, in the order they are written.
        headers: Vec<(String, String)>,
        /// The body, sent with a `content-length`.
        body: Bytes,
    },
}

impl Answer {
    /// Answers with an error in OpenAI's shape, as vLLM writes it.
    #[must_use]
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::Status {
            status,
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
            body: crate::openai::error(status, kind, None, message).into(),
        }
    }

    /// Replays a recording: `Answer::recording(include_bytes!("chat_stream.response.txt"))`.
    #[must_use]
    pub fn recording(response: &'static [u8]) -> Self {
        Self::Recording {
            response: Bytes::from_static(response),
        }
    }
}

/// One step of [`Answer::Raw`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Writes these bytes in one go.
    Write(Bytes),
    /// Waits until the test releases the gate.
    Wait(Gate),
    /// Closes the connection in the ordinary way.
    Close,
    /// Closes the connection with a reset.
    Reset,
    /// Says nothing more until the peer goes away.
    Stall,
}

impl Step {
    /// Writes text that is known at compile time.
    #[must_use]
    pub const fn text(text: &'static str) -> Self {
        Self::Write(Bytes::from_static(text.as_bytes()))
    }
}

/// How a model answer breaks off in [`Answer::Fails`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The engine dies: an `error` event and `[DONE]` in a stream, 500 otherwise.
    Engine,
    /// The server is killed: the connection closes without a closing chunk.
    Close,
    /// The connection is reset.
    Reset,
    /// The server is told to end: the connection stays open and silent.
    Stall,
}

/// Holds a script back until its [`GateKey`] releases it.
///
/// Clones share the releases: each release lets one wait of one of them pass.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// Makes a closed gate and the key to it.
    #[must_use]
    pub fn new() -> (Self, GateKey) {
        let gate = Arc::new(Semaphore::new(0));
        (Self(Arc::clone(&gate)), GateKey(gate))
    }

    /// Waits for a release and uses it up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the release for the next wait.
    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// Releases a [`Gate`]. Dropping the key opens the gate for good, so that no script hangs.
#[derive(Debug)]
pub struct GateKey(Arc<Semaphore>);

impl GateKey {
    /// Lets one wait pass, now or later.
    pub fn release(&self) {
        self.release_many(1);
    }

    /// Lets `waits` waits pass, now or later.
    pub fn release_many(&self, waits: usize) {
        self.0.add_permits(waits);
    }

    /// Lets every wait pass from now on.
    pub fn open(self) {
        drop(self);
    }
}

impl Drop for GateKey {
    fn drop(&mut self) {
        self.0.close();
    }
}
