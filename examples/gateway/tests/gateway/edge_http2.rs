//! Headers that are too large, over HTTP/2: always an answer with all that answers carry, and never the end of others.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use llm_gate_gateway::client::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::support::{Gate, start_with};

const CONSOLE: &str = "https://console.example";
/// More than is allowed, but read,
const LARGE: usize = 70 * 1024;
/// more than is read, and so much that h2 gives up the connection.
const LARGER: usize = 200 * 1024;
const LARGEST: usize = 1024 * 1024;

async fn start(origins: &[&str]) -> Gate {
    let origins = origins.iter().map(ToString::to_string).collect();
    start_with(|config| {
        config.web_url = Some("https://gate.example".to_owned());
        config.cors.origins = origins;
    })
    .await
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + Send
        + 'static,
{
    let stream = TcpStream::connect(address).await.expect("connected");
    let client = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = client.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A request of the console's for `path`, with a header of `length` letters.
fn request(path: &str, length: usize) -> Request<Full<Bytes>> {
    let request = Request::get(format!("http://gate{path}")).header("origin", CONSOLE);
    let request = request.header("x-long", "x".repeat(length));
    request.body(Full::default()).expect("a request")
}

struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Heard {
    let response = sender.send_request(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    Heard {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.expect("a body").to_bytes(),
    }
}

/// Makes sure that `heard` carries what `like` does, and returns its id. What has no body says nothing of it.
fn carries(heard: &Heard, like: &HeaderMap, case: &str) -> String {
    let own = ["x-request-id", "content-length", "date"];
    for (name, value) in like {
        let of_body = name == "content-type" && heard.body.is_empty();
        let left = name.as_str().starts_with("x-ratelimit-");
        let said = heard.headers.get(name);
        if left || own.contains(&name.as_str()) {
            assert!(said.is_some(), "{name} {case}");
        } else {
            assert_eq!(said, Some(value).filter(|_| !of_body), "{name} {case}");
        }
    }
    for name in heard.headers.keys() {
        let only = heard.headers.get_all(name).iter().count() == 1;
        assert!(only && like.contains_key(name), "{name} {case}");
    }
    let length = heard.body.len().to_string();
    assert_eq!(heard.headers["content-length"], length, "{case}");
    let id = heard.headers["x-request-id"].to_str().expect("text");
    assert_eq!(id.len(), 36);
    id.to_owned()
}

#[tokio::test]
async fn whatever_is_too_large_is_answered_like_anything_else() {
    let gate = start(&[CONSOLE]).await;
    let mut ids = BTreeSet::new();
    let mut asked = 0;
    for address in [gate.running.address, gate.running.metrics_address] {
        let mut sender = connect(address).await;
        let like = ask(&mut sender, request("/nowhere", 1)).await;
        assert_eq!(like.status, 404);
        assert!(like.headers.contains_key("content-security-policy"));
        // In turns, so that the tables of both sides are used and changed in between.
        for round in 0..3 {
            for length in [LARGE, 1, LARGER, LARGER, 1, LARGE] {
                let case = format!("{address} {round} {length}");
                let heard = ask(&mut sender, request("/nowhere", length)).await;
                let status = if length == 1 { 404 } else { 431 };
                assert_eq!(heard.status, status, "{case}");
                assert_eq!(heard.body.is_empty(), length == LARGER, "{case}");
                ids.insert(carries(&heard, &like.headers, &case));
                asked += 1;
            }
        }
        let mut many = request("/nowhere", 1);
        for line in 0..127 {
            let name: http::HeaderName = format!("x-{line}").parse().expect("a name");
            many.headers_mut()
                .insert(name, "1".parse().expect("a value"));
        }
        assert_eq!(many.headers().len(), 129);
        let heard = ask(&mut sender, many).await;
        assert_eq!(heard.status, 431, "as over HTTP/1.1");
        ids.insert(carries(&heard, &like.headers, "many"));
        asked += 1;
    }
    assert_eq!(ids.len(), asked, "each its own");
}

#[tokio::test]
async fn what_was_read_is_refused_in_the_shape_of_its_path_and_for_its_origin() {
    let gate = start(&["https://other.example", CONSOLE]).await;
    let mut sender = connect(gate.running.address).await;
    for (path, member) in [("/v1/models", "error"), ("/api/v1/users/me", "detail")] {
        let heard = ask(&mut sender, request(path, LARGE)).await;
        assert_eq!(heard.status, 431);
        let body: Value = serde_json::from_slice(&heard.body).expect("JSON");
        assert!(!body[member].is_null(), "{body}");
        assert_eq!(heard.headers["access-control-allow-origin"], CONSOLE);
    }
    let heard = ask(&mut sender, request("/", LARGER)).await;
    let allowed = heard.headers.get("access-control-allow-origin");
    assert_eq!(allowed, None, "nobody has read whose it is");
}

#[tokio::test]
async fn whatever_is_too_large_is_counted() {
    let gate = start(&[]).await;
    let mut sender = connect(gate.running.address).await;
    ask(&mut sender, request("/v1/models", LARGE)).await;
    ask(&mut sender, request("/v1/models", LARGER)).await;
    let operators = Client::new(gate.running.metrics_address);
    let metrics = operators.get("/metrics").await.expect("an answer");
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for method in ["GET", "OTHER"] {
        let labels = format!(r#"{{method="{method}",handler="unmatched",status="431"}}"#);
        let counted = format!("http_requests_total{labels}");
        assert!(text.contains(&counted), "{counted} is missing in {text}");
    }
}

type Dripping = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A body that is there as a whole when its sender is dropped.
fn drip() -> (UnboundedSender<&'static str>, Dripping) {
    let (sender, receiver) = unbounded_channel();
    let body = stream::unfold(receiver, async |mut receiver| {
        let text: &str = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from(text))), receiver))
    });
    (sender, StreamBody::new(body.boxed()))
}

#[tokio::test]
async fn what_is_too_large_leaves_others_on_its_connection_alone() {
    let gate = start(&[]).await;
    let mut sender = connect(gate.running.address).await;
    let (upload, body) = drip();
    let login = Request::post("http://gate/auth/login").header("content-type", "application/json");
    let login = login.body(body).expect("a request");
    let login = tokio::spawn(sender.send_request(login));
    upload.send("{").expect("taken");
    for (length, status) in [(LARGE, 431), (1, 200), (LARGER, 431), (1, 200)] {
        let (_, nothing) = drip();
        let request = request("/", length).map(|_| nothing);
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), status);
    }
    upload.send("}").expect("taken");
    drop(upload);
    let response = login.await.expect("no panic").expect("an answer");
    assert_eq!(response.status(), 422, "read to its end");
}

/// What a client says by hand: frames, in which headers are written as HPACK has them.
struct ByHand {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl ByHand {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.expect("written");
        let heard = Vec::new();
        Self { stream, heard }
    }

    /// Asks for `/` with these headers more, all in one frame.
    async fn ask(&mut self, id: u8, headers: &[u8]) {
        // GET, http, /, and an authority.
        let block = [b"\x82\x86\x84\x01\x04gate", headers].concat();
        let [.., high, middle, low] = block.len().to_be_bytes();
        let head = [high, middle, low, 1, 5, 0, 0, 0, id];
        let frame = [&head, &block[..]].concat();
        self.stream.write_all(&frame).await.expect("written");
    }

    /// Returns the type, the flags and the rest of the next frame on a stream.
    async fn next(&mut self, id: u8) -> Option<(u8, u8, Vec<u8>)> {
        loop {
            if let Some((&[high, middle, low, kind, flags, .., own], rest)) =
                self.heard.split_first_chunk::<9>()
            {
                let length = usize::from_be_bytes([0, 0, 0, 0, 0, high, middle, low]);
                if let Some((payload, behind)) = rest.split_at_checked(length) {
                    let frame = (kind, flags, payload.to_vec());
                    self.heard = behind.to_vec();
                    if own == id {
                        return Some(frame);
                    }
                    continue;
                }
            }
            let read = self.stream.read_buf(&mut self.heard).await;
            if read.is_ok_and(|read| read > 0) {
                continue;
            }
            return None;
        }
    }
}

/// A few bytes that stand for many headers, each of which is the same long one.
fn bomb(times: usize) -> Vec<u8> {
    let value = "x".repeat(3000);
    // A header that goes into the table: 3000 is 127, and 2873 in two groups of seven bits.
    let mut headers = b"\x40\x06x-bomb\x7f\xb9\x16".to_vec();
    headers.extend_from_slice(value.as_bytes());
    // And what stands for it.
    headers.resize(headers.len() + times, 0xbe);
    headers
}

#[tokio::test]
async fn headers_that_unfold_are_refused_by_what_they_unfold_to() {
    let gate = start(&[CONSOLE]).await;
    for address in [gate.running.address, gate.running.metrics_address] {
        let mut client = ByHand::connect(address).await;
        // Those that have a body were read.
        for (id, times, refused, body) in [
            (1, 30, true, true),
            (3, 60, true, false),
            (5, 5, false, true),
            (7, 150, true, false),
        ] {
            let case = format!("{address} {times}");
            client.ask(id, &bomb(times)).await;
            let (kind, flags, block) = client.next(id).await.expect(&case);
            assert_eq!((kind, flags & 1 == 0), (1, body), "{case}");
            let says = |text: &str| {
                let mut windows = block.windows(text.len());
                windows.any(|window| window == text.as_bytes())
            };
            assert_eq!(says("x-request-id"), !body, "by hand: {case}");
            assert_eq!(says("content-security-policy"), !body, "{case}");
            if !refused {
                assert!(matches!(block[0], 0x88 | 0x8d), "200 or 404: {case}");
            }
        }
        client.ask(9, &bomb(1000)).await;
        assert_eq!(client.next(9).await, None, "no answer to so much");
    }
}

#[tokio::test]
async fn what_no_server_reads_to_its_end_ends_only_its_connection() {
    let gate = start(&[]).await;
    let mut sender = connect(gate.running.address).await;
    let ended = sender.send_request(request("/", LARGEST)).await;
    assert!(
        ended.is_err(),
        "no answer is better than memory for nothing"
    );
    let mut sender = connect(gate.running.address).await;
    assert_eq!(ask(&mut sender, request("/", 1)).await.status, 200);
}
