//! A scripted vLLM: speaks the wire of vLLM 0.32.0 and misbehaves on demand.
//!
//! It listens on a port of its own and answers `/v1/chat/completions`, `/v1/completions`,
//! `/v1/embeddings`, `/v1/models`, `/health` and `/version` as recorded from the real server: order
//! of the members, header names, chunk sizes, errors. Behind them is a model with one sentence, so
//! that no GPU is needed. Everything else is 404 or 405 as there.
//!
//! A request steers the model: `ignore_eos` repeats the sentence up to the limit, `#weather` in the
//! last message calls the first tool, `#think` thinks first (with [`Config::reasoning`]). A test
//! steers the server: [`ScriptedVllm::push`] queues an [`Answer`], such as raw bytes, a recording, a
//! fault in mid-stream, or a stream in lockstep with the test.
//!
//! What was generated is counted by the server itself ([`Counts`]), so that whoever meters the
//! traffic can be checked against it.
//!
//! # Examples
//!
//! ```
//! use scripted_vllm::{Answer, Config, ScriptedVllm};
//! use tokio::{
//!     io::{AsyncReadExt, AsyncWriteExt},
//!     net::TcpStream,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let vllm = ScriptedVllm::start(Config::default()).await?;
//! vllm.push(Answer::error(503, "InternalServerError", "the engine is busy"));
//!
//! let body = r#"{"model":"tiny","prompt":"Hello","max_tokens":6}"#;
//! let request = format!(
//!     "POST /v1/completions HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
//!      content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
//!     vllm.address(),
//!     body.len(),
//! );
//! for status in ["503", "200"] {
//!     let mut client = TcpStream::connect(vllm.address()).await?;
//!     client.write_all(request.as_bytes()).await?;
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).await?;
//!     assert!(answer.starts_with(&format!("HTTP/1.1 {status}")));
//! }
//! assert_eq!(vllm.counts().completion_tokens, 6);
//! # Ok(())
//! # }
//! ```

mod answer;
mod http;
mod model;
mod openai;
mod server;

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use crate::{
    answer::{Answer, Fault, Gate, GateKey, Step},
    http::ReceivedRequest,
};

/// Describes what the server serves and how.
///
/// The default serves the model `tiny` with a context of 4,096 tokens, at full speed, without a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen; a free port of 127.0.0.1 unless set.
    pub address: Option<SocketAddr>,
    /// The models. The first one also serves requests that name none.
    pub models: Vec<ModelCard>,
    /// The key that paths below `/v1` want as bearer; none by default.
    pub api_key: Option<String>,
    /// Puts usage into every event of every stream (`--enable-force-include-usage`).
    pub force_include_usage: bool,
    /// The pause between streamed events. An answer that is not streamed takes as long as its events
    /// would have. Zero by default.
    pub pace: Duration,
    /// How many tokens go into one streamed event; 1 by default.
    pub tokens_per_event: usize,
    /// What usage says.
    pub usage: UsageMode,
    /// How long a stream may be silent before a comment is sent (`--sse-keep-alive-interval`).
    pub keep_alive_comments: Option<Duration>,
    /// How long an idle connection stays open after an answer; 5 s by default.
    pub keep_alive: Duration,
    /// Has a reasoning parser: `#think` works, and usage tells the reasoning tokens.
    pub reasoning: bool,
    /// Reports this many tokens of each prompt as cached (`--enable-prompt-tokens-details`).
    pub cached_tokens: Option<u64>,
    /// The value of `system_fingerprint`.
    pub fingerprint: String,
    /// The most choices (prompts times `n`) of one request; 1,024 by default.
    pub max_choices: usize,
    /// How many received requests are kept; 1,024 by default.
    pub keep_requests: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: None,
            models: vec![ModelCard::new("tiny", 4096)],
            api_key: None,
            force_include_usage: false,
            pace: Duration::ZERO,
            tokens_per_event: 1,
            usage: UsageMode::Tokenizer,
            keep_alive_comments: None,
            keep_alive: Duration::from_secs(5),
            reasoning: false,
            cached_tokens: None,
            fingerprint: "vllm-0.32.0-d80ca049".to_owned(),
            max_choices: 1024,
            keep_requests: 1024,
        }
    }
}

/// A model as `/v1/models` lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ModelCard {
    /// The name requests ask for.
    pub id: String,
    /// The context length in tokens.
    pub max_model_len: u64,
}

impl ModelCard {
    /// Describes a model.
    #[must_use]
    pub fn new(id: impl Into<String>, max_model_len: u64) -> Self {
        Self {
            id: id.into(),
            max_model_len,
        }
    }
}

/// Where the numbers in usage come from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum UsageMode {
    /// What the prompt and the answer have, by the server's own tokenizer: words with the space
    /// before them, every other character by itself, and a few tokens around each message.
    #[default]
    Tokenizer,
    /// What the test asks for, however long the answer is. Before its end a choice reports the
    /// tokens it has, at most its share; with the end comes the whole share.
    WholeBound {
        /// The prompt tokens of the request, shared out over its prompts.
        prompt: Figure,
        /// The completion tokens of the request, shared out over its choices.
        completion: Figure,
    },
}

/// A number of tokens that depends on the request.
#[derive(Clone)]
pub struct Figure(Arc<dyn Fn(&Asked) -> u64 + Send + Sync>);

impl Figure {
    /// The same number for every request.
    #[must_use]
    pub fn exact(tokens: u64) -> Self {
        Self::new(move |_| tokens)
    }

    /// All the request allows: its limit for each of its choices.
    #[must_use]
    pub fn max_tokens() -> Self {
        Self::new(|asked| asked.max_tokens.saturating_mul(asked.choices))
    }

    /// Whatever `tokens` makes of the request.
    #[must_use]
    pub fn new(tokens: impl Fn(&Asked) -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(tokens))
    }

    fn of(&self, asked: &Asked) -> u64 {
        (self.0)(asked)
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figure").finish_non_exhaustive()
    }
}

/// What a request asks for, as a [`Figure`] sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The body as received.
    pub body: Bytes,
    /// The tokens of all its prompts by the server's tokenizer.
    pub prompt_tokens: u64,
    /// The most tokens of one choice, defaults applied.
    pub max_tokens: u64,
    /// Prompts times `n`.
    pub choices: u64,
}

/// What the server has seen and generated so far: one consistent moment.
///
/// `requests`, `active`, `finished` and `aborted` count requests to the three generation routes that
/// were received whole and had the right key, refused and scripted ones included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests received.
    pub requests: u64,
    /// Requests that are being answered.
    pub active: u64,
    /// Requests answered to the end, be it a scripted one. An answer is finished just before its
    /// last bytes are written.
    pub finished: u64,
    /// Requests whose client left before the end (closing its side of the connection is leaving), or
    /// that the server's own end cut off.
    pub aborted: u64,
    /// Tokens of the prompts the model began to answer: from the first event on, or with the answer.
    pub prompt_tokens: u64,
    /// Tokens generated. Of an aborted stream those of the events that were written; of an aborted
    /// answer that is not streamed those generated until then.
    pub completion_tokens: u64,
    /// Events with data that model streams have written, `[DONE]` excepted.
    pub events: u64,
    /// Open TCP connections.
    pub connections: u64,
}

/// What the server and its connections share.
#[derive(Debug)]
struct Shared {
    config: Config,
    counts: watch::Sender<Counts>,
    answers: Mutex<VecDeque<Queued>>,
    log: Mutex<VecDeque<ReceivedRequest>>,
    serial: AtomicU64,
    healthy: AtomicBool,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    fn log(&self, request: &ReceivedRequest) {
        let keep = self.config.keep_requests;
        if keep == 0 {
            return;
        }
        let mut log = lock(&self.log);
        if log.len() == keep {
            log.pop_front();
        }
        log.push_back(request.clone());
    }

    fn next_answer(&self, body: &[u8]) -> Answer {
        let mut queue = lock(&self.answers);
        let at = queue.iter().position(|queued| queued.is_for(body));
        at.and_then(|at| queue.remove(at))
            .map_or(Answer::Model, |queued| queued.answer)
    }
}

/// An answer that waits for its request.
#[derive(Debug)]
struct Queued {
    /// What the body of the request must contain; `None` for any request.
    word: Option<String>,
    answer: Answer,
}

impl Queued {
    fn is_for(&self, body: &[u8]) -> bool {
        self.word
            .as_deref()
            .is_none_or(|word| std::str::from_utf8(body).is_ok_and(|body| body.contains(word)))
    }
}

/// Locks a list; one that a panic left behind is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server. Dropping it stops it together with all its connections.
#[derive(Debug)]
pub struct ScriptedVllm {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl ScriptedVllm {
    /// Binds the address and starts to serve on the current runtime.
    ///
    /// # Errors
    ///
    /// Fails when the address cannot be bound.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with its I/O and time drivers.
    pub async fn start(config: Config) -> io::Result<Self> {
        let address = config
            .address
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            config,
            counts: watch::Sender::new(Counts::default()),
            answers: Mutex::default(),
            log: Mutex::default(),
            serial: AtomicU64::new(http::now() << 20),
            healthy: AtomicBool::new(true),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// The requests received whole, oldest first, at most [`Config::keep_requests`].
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.shared.log).iter().cloned().collect()
    }

    /// Queues an answer: each request to a generation route takes one, the model answers the rest.
    pub fn push(&self, answer: Answer) {
        lock(&self.shared.answers).push_back(Queued { word: None, answer });
    }

    /// Queues an answer for a request whose body contains `word`, so that of many requests at once each
    /// gets its own. The others do not take it.
    pub fn push_for(&self, word: impl Into<String>, answer: Answer) {
        let word = Some(word.into());
        lock(&self.shared.answers).push_back(Queued { word, answer });
    }

    /// Takes back the queued answers that no request has taken.
    pub fn clear(&self) {
        lock(&self.shared.answers).clear();
    }

    /// Queued answers that no request has taken.
    #[must_use]
    pub fn queued(&self) -> usize {
        lock(&self.shared.answers).len()
    }

    /// Open TCP connections right now.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(self.counts().connections).unwrap_or(usize::MAX)
    }

    /// Makes `/health` answer 200 (as at the start) or 503.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared
            .healthy
            .store(healthy, std::sync::atomic::Ordering::Relaxed);
    }

    /// Waits until the counts meet a condition.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn until(&self, condition: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        drop(counts.wait_for(condition).await);
    }

    /// Stops and waits until the port is free and every connection closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // It ends cancelled, as asked.
        drop((&mut self.accepting).await);
        self.until(|counts| counts.connections == 0).await;
    }
}

impl Drop for ScriptedVllm {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Takes connections; they end with this task.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A peer that left before it was accepted, or no free descriptor: the next one.
                if let Ok((stream, _)) = accepted
                    && let Ok(connection) = http::Connection::new(stream)
                {
                    connections.spawn(server::serve(connection, Arc::clone(&shared)));
                } else {
                    tokio::task::yield_now().await;
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
