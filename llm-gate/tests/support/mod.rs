//! What the tests of the public API share: recordings, a store that writes down what is asked of it, and
//! the stack of the metered layers over a scripted upstream.
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod slow;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use llm_gate::body::GateBody;
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::identity::{Credential, Principal, ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::meter::{MeterBody, TokenMeterLayer};
use llm_gate::quota::{QuotaBody, QuotaLayer};
use llm_gate::store::{
    AuditStore, CallRecord, CounterKey, Denial, DenialReason, LedgerStore, MemoryStore, Operation,
    Outcome, Settle, Standing, StoreError, StoreFuture,
};
use llm_gate::test_util::ScriptedBody;
use llm_gate::tokens::{Amount, Tokens};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, service_fn};

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use slow::Slow;

/// A recorded message, request or response.
pub(crate) struct Recorded {
    /// The request line or the status line.
    pub(crate) first: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Without chunk sizes.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Recorded {
    pub(crate) fn request(name: &str) -> Self {
        Self::read(&format!("wire/{name}.request.txt"))
    }

    pub(crate) fn response(name: &str) -> Self {
        Self::read(&format!("wire/{name}.response.txt"))
    }

    pub(crate) fn read(path: &str) -> Self {
        Self::parse(&std::fs::read(fixtures().join(path)).expect("the recording is there"))
    }

    fn parse(bytes: &[u8]) -> Self {
        let split = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let split = split.unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let rest = bytes.get(split + 4..).unwrap_or_default();
        let mut message = Self {
            first,
            headers,
            body: rest.to_vec(),
            whole: true,
        };
        if message.header("transfer-encoding") == Some("chunked") {
            (message.body, message.whole) = dechunk(rest);
        }
        message
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        let code = self.first.split(' ').nth(1).unwrap_or("0");
        code.parse().unwrap_or(0)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// A recording that was cut short for the file says so.
    pub(crate) fn is_cut(&self) -> bool {
        self.body.windows(4).any(|four| four == b"[...")
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            // Cut in the file, which says so in square brackets.
            break;
        };
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size {
            body.extend_from_slice(rest);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures"))
}

/// The names of all recordings, without `.response.txt`.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures().join("wire"))
        .expect("the folder is there")
        .filter_map(|entry| {
            let name = entry.expect("readable").file_name().into_string().ok()?;
            name.strip_suffix(".response.txt").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names
}

/// A store in memory that writes down the settlements, and can freeze a subject.
#[derive(Default)]
pub(crate) struct Books {
    inner: MemoryStore,
    settled: Mutex<Vec<Settle>>,
    frozen: Mutex<Option<Subject>>,
}

impl Books {
    /// The settlements so far, in their order.
    pub(crate) fn settled(&self) -> Vec<Settle> {
        self.settled.lock().expect("no panic inside").clone()
    }

    /// What is on record of a call.
    pub(crate) async fn record(&self, id: RequestId) -> Result<Option<CallRecord>, StoreError> {
        self.inner.call(id).await
    }

    pub(crate) fn freeze(&self, subject: Subject) {
        *self.frozen.lock().expect("no panic inside") = Some(subject);
    }

    pub(crate) fn decide(&self, operation: &Operation) -> Outcome {
        let frozen = *self.frozen.lock().expect("no panic inside");
        let refused = frozen.filter(|subject| match operation {
            Operation::Reserve(reserve) => reserve.subjects.contains(subject),
            // Whatever is extended here belongs to the one there is.
            Operation::Extend(_) => true,
            _ => false,
        });
        if let Some(subject) = refused {
            return Outcome::Denied(Box::new(Denial {
                counter: CounterKey::total_tokens(subject),
                reason: DenialReason::Frozen,
                asked: Amount::ZERO,
                standing: Standing::default(),
                at: None,
                fits: Tokens::ZERO,
            }));
        }
        if let Operation::Settle(settle) = operation {
            let mut settled = self.settled.lock().expect("no panic inside");
            settled.push(settle.clone());
        }
        self.inner.apply_now(operation).expect("decides in place")
    }
}

impl LedgerStore for Books {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        let outcomes = batch.iter().map(|operation| self.decide(operation));
        Box::pin(std::future::ready(Ok(outcomes.collect())))
    }

    fn apply_now(&self, operation: &Operation) -> Option<Outcome> {
        Some(self.decide(operation))
    }

    llm_gate::pass_on_ledger!(inner);
}

/// One user with a limit, and the books.
pub(crate) struct Rig {
    pub(crate) books: Arc<Books>,
    pub(crate) ledger: Ledger,
    pub(crate) principal: Principal,
}

impl Rig {
    pub(crate) async fn new(limit: u64) -> Self {
        let books = Arc::new(Books::default());
        let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
        let rig = Self {
            ledger: Ledger::spawn(books.clone()),
            books,
            principal,
        };
        let limit = Some(Tokens::new(limit));
        let set = rig.books.set_limit(rig.subject(), limit).await;
        set.expect("in memory");
        rig
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::User(self.principal.user)
    }

    pub(crate) fn layer(&self) -> QuotaLayer {
        QuotaLayer::new(self.ledger.clone())
    }

    /// What is used, and what is held.
    pub(crate) async fn standing(&self) -> (u64, u64) {
        let standing = self
            .books
            .standing(self.subject())
            .await
            .expect("in memory");
        (standing.used.get(), standing.reserved.get())
    }

    /// A chat request of this user.
    pub(crate) fn chat(&self, rest: &str) -> Request<Full<Bytes>> {
        let mut request = chat(rest);
        request.extensions_mut().insert(self.principal.clone());
        request
    }
}

pub(crate) fn chat_body(rest: &str) -> String {
    format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#)
}

pub(crate) fn chat(rest: &str) -> Request<Full<Bytes>> {
    post("/v1/chat/completions", chat_body(rest))
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .expect("a request")
}

/// Any model, 4,096 tokens, nothing added for the template: the prompt's bound is the body's length.
pub(crate) fn models() -> Models {
    Models::any(Model::new("").context_length(4096).allowance(0))
}

pub(crate) type Upstream =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<ScriptedBody>, &'static str>;
pub(crate) type Gated<B> = GateBody<GateBody<QuotaBody<B>>>;
pub(crate) type Stack<B = MeterBody<ScriptedBody>> =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<Gated<B>>, &'static str>;

/// An upstream that makes its answer anew for every request.
pub(crate) fn upstream<F>(answer: F) -> Upstream
where
    F: Fn(Request<Full<Bytes>>) -> Result<Response<ScriptedBody>, &'static str>
        + Clone
        + Send
        + Sync
        + 'static,
{
    BoxCloneSyncService::new(service_fn(move |request| {
        std::future::ready(answer(request))
    }))
}

pub(crate) fn stack(quota: QuotaLayer, upstream: Upstream) -> Stack {
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(quota)
        .layer(TokenMeterLayer::new().json_limit(4096))
        .service(upstream);
    BoxCloneSyncService::new(service)
}

/// As [`stack`], over an upstream that is said to report its running usage.
pub(crate) fn rolling(quota: QuotaLayer, upstream: Upstream) -> Stack {
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(models()).running_usage(true))
        .layer(quota)
        .layer(TokenMeterLayer::new().json_limit(4096))
        .service(upstream);
    BoxCloneSyncService::new(service)
}

pub(crate) fn answer(status: u16, kind: &str, body: ScriptedBody) -> Response<ScriptedBody> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body)
        .expect("a response")
}

pub(crate) fn sse(body: ScriptedBody) -> Response<ScriptedBody> {
    answer(200, "text/event-stream; charset=utf-8", body)
}

pub(crate) fn json(body: impl Into<Bytes>) -> Response<ScriptedBody> {
    let body: Bytes = body.into();
    answer(200, "application/json", ScriptedBody::new([body]))
}

pub(crate) fn usage(prompt: u64, completion: u64) -> String {
    format!(r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}"#)
}

/// A chunk of a chat answer with a piece of text.
pub(crate) fn event(text: &str, rest: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]{rest}}}\n\n"
    )
}

pub(crate) async fn collect<B>(response: Response<B>) -> (StatusCode, String)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body");
    (
        status,
        String::from_utf8(body.to_bytes().into()).expect("UTF-8"),
    )
}

pub(crate) fn error_of(body: &str) -> HashMap<String, serde_json::Value> {
    let all: serde_json::Value = serde_json::from_str(body).expect("JSON");
    serde_json::from_value(all["error"].clone()).expect("an error object")
}
