//! However the network cuts an upstream's bytes: the client gets the same bytes and is charged the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request as HttpRequest, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::meter::TokenMeterLayer;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{LedgerStore, MemoryStore};
use proptest::prelude::*;
use scripted_vllm::{Answer as Script, Step};
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::recording::{Answer, Request, mask};
use super::said;
use super::table::{Outcome, Row, rows};
use super::world::{self, charged, send};

/// Streams of every kind, each cut at each byte: what the client asked for, and what was recorded of it.
const EVERY_BYTE: [&str; 9] = [
    "b_cached_stream_no_usage",
    "b_cached_stream_usage",
    "b_cached_stream_usage_continuous",
    "c_keep_alive_before_first_token",
    "chat_max_tokens_one_stream_usage",
    "chat_return_token_ids_stream_usage",
    "completions_list_stream_usage",
    "completions_list_stream_usage_continuous",
    "completions_stream",
];

/// A stream of the upstream, and the request it answers.
#[derive(Clone, Debug)]
struct Stream {
    name: String,
    request: Request,
    bytes: Bytes,
    charged: u64,
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let runtime = runtime();
    for stream in &*STREAMS {
        if !EVERY_BYTE.contains(&stream.name.as_str()) {
            continue;
        }
        let whole = deliver(&runtime, stream, &[]);
        assert_eq!(whole.1, stream.charged, "{}: uncut", stream.name);
        for at in 1..stream.bytes.len() {
            let cut = deliver(&runtime, stream, &[at]);
            assert!(cut == whole, "{}: cut at byte {at}", stream.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_anywhere_change_nothing(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let stream = which.get(&STREAMS);
        let runtime = runtime();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.bytes.len())).collect();
        cuts.sort_unstable();
        let whole = deliver(&runtime, stream, &[]);
        prop_assert_eq!(whole.1, stream.charged, "{}: uncut", &stream.name);
        let cut = deliver(&runtime, stream, &cuts);
        prop_assert!(cut == whole, "{}: cut at {cuts:?}", &stream.name);
    }
}

#[tokio::test]
async fn bytes_that_come_one_by_one_change_nothing_behind_the_whole_gateway() {
    let world = world::start().await;
    for name in ["chat_tools_auto_stream_usage", "completions_stream"] {
        let row = rows().into_iter().find(|row| row.name == name);
        let row = row.expect("a line of the table");
        let account = world.register().await;
        let request = Request::load("wire", name).with_key(&account.key);
        let stream = said(&row, &request).expect("a recorded stream");
        let bytes = Bytes::from(stream.to_bytes());
        let steps = (0..bytes.len()).map(|at| Step::Write(bytes.slice(at..=at)));
        world.vllm().push(Script::Raw(steps.collect()));
        let answer = send(&world, &request).await.expect("an answer");
        let recorded = Answer::load(name).expect("a recorded answer");
        assert_eq!(mask(&answer.body), mask(&recorded.body), "{name}");
        let used = charged(&world, &account).await;
        assert_eq!(used, row.charged.total(), "{name}: tokens charged");
    }
}

/// The streams of the table that come to an end.
static STREAMS: LazyLock<Vec<Stream>> = LazyLock::new(streams);

fn streams() -> Vec<Stream> {
    let served = |row: &Row| !matches!(row.outcome, Outcome::Refused(_)) && row.upstream.ends();
    let streams = rows().into_iter().filter(served).filter_map(|row| {
        let request = Request::load("wire", &row.name);
        let said = said(&row, &request).filter(Answer::is_stream)?;
        // Its length is its only news.
        let long = said.body.len() > 20_000;
        (!long).then(|| Stream {
            bytes: Bytes::from(said.body),
            charged: row.charged.total(),
            name: row.name,
            request,
        })
    });
    streams.collect()
}

/// Sends a stream in frames that end at `cuts` through the layers; returns what the client got and what
/// it was charged.
fn deliver(runtime: &Runtime, stream: &Stream, cuts: &[usize]) -> (Bytes, u64) {
    let mut frames = VecDeque::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&stream.bytes.len()]) {
        frames.push_back(stream.bytes.slice(from..cut));
        from = cut;
    }
    let frames = Arc::new(Mutex::new(Some(Frames(frames))));
    let store = Arc::new(MemoryStore::new());
    let user = UserId::new();
    let request = HttpRequest::post(stream.request.path())
        .header("content-type", "application/json")
        .extension(Principal::new(user, ProjectId::new(), Credential::Session))
        .body(Full::new(Bytes::from(stream.request.body.clone())))
        .expect("a request");
    runtime.block_on(async {
        let models = Models::fixed([Model::new("tiny").context_length(4096)]);
        let service = ServiceBuilder::new()
            .layer(CallLayer::new(models))
            .layer(QuotaLayer::new(Ledger::spawn(Arc::clone(&store) as _)))
            .layer(TokenMeterLayer::new())
            .service(service_fn(move |_: HttpRequest<Full<Bytes>>| {
                let body = frames.lock().expect("one thread").take();
                let response = Response::builder()
                    .header("content-type", "text/event-stream; charset=utf-8")
                    .body(body.expect("one request"))
                    .expect("a response");
                async { Ok::<_, Infallible>(response) }
            }));
        let Ok(response) = service.oneshot(request).await;
        let body = response.into_body().collect().await.expect("no fault");
        let standing = store.standing(Subject::User(user)).await;
        let standing = standing.expect("memory is there");
        assert_eq!(standing.reserved.get(), 0, "nothing stays reserved");
        (body.to_bytes(), standing.used.get())
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A body of given frames that does not tell its end ahead.
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }
}
