mod early;
mod http2;

use std::collections::VecDeque;
use std::convert::Infallible;

use http::header::{CONNECTION, DATE};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::builder;
use super::super::requests::Counting;
use super::http1::{Bare, MAX_BARE};
use super::*;
use crate::config::ServerConfig;

const PEER: Peer = Peer(std::net::SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    1,
));
/// What hyper says by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\
    date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
const GARBAGE: &str = "GET\r\n\r\n";

fn refusals() -> Router {
    Router::new().fallback(async || {
        // A refusal cannot say how the connection goes on, or how long it is.
        let mut headers = HeaderMap::new();
        headers.insert("x-said", HeaderValue::from_static("by us"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.insert(DATE, HeaderValue::from_static("never"));
        (headers, "no")
    })
}

fn around<S>(stream: S, requests: &Arc<Requests>) -> Unparsed<S> {
    Unparsed::new(stream, Arc::clone(requests), refusals(), PEER)
}

/// What is written in place of an answer of hyper's own that came at `date`.
fn in_our_words(date: &str) -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
         x-said: by us\r\ncontent-length: 2\r\ndate: {date}\r\n\r\nno"
    )
}

/// A stream that takes one piece a time.
struct Plain(DuplexStream);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A body in pieces, each of which is flushed before the next one is there.
#[derive(Clone)]
struct Pieces {
    left: VecDeque<Bytes>,
    waits: bool,
    /// Whether hyper is told by the last piece, or has to ask for one more.
    tells: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.left.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.tells && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let left: usize = self.left.iter().map(Bytes::len).sum();
        SizeHint::with_exact(u64::try_from(left).expect("few"))
    }
}

fn pieces(pieces: &[&'static str], tells: bool) -> Pieces {
    Pieces {
        left: pieces.iter().map(|piece| Bytes::from(*piece)).collect(),
        waits: false,
        tells,
    }
}

/// Answers with `body`, whatever is asked, before the body of the request was read.
fn answers<T>(
    body: Pieces,
) -> impl Service<
    Request<T>,
    Response = http::Response<Pieces>,
    Error = Infallible,
    Future: Send + 'static,
> + 'static
where
    T: Body + Send + 'static,
{
    service_fn(move |request: Request<T>| {
        let response = http::Response::new(body.clone());
        async {
            // Not before it is answered.
            drop(request);
            Ok(response)
        }
    })
}

/// Lets hyper answer with `body` on one end of `stream`.
fn serve<S>(stream: S, body: Pieces) -> impl Future<Output = bool>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let requests = Arc::new(Requests::default());
    let stream = TokioIo::new(around(stream, &requests));
    let service = Counting::new(answers(body), requests);
    let connection = builder(&ServerConfig::default())
        .serve_connection(stream, service)
        .into_owned();
    async move { connection.await.is_ok() }
}

/// Says `words` to a server of `body`, and returns all that it says.
async fn converse(size: usize, vectored: bool, body: Pieces, words: &str) -> String {
    let (server, client) = tokio::io::duplex(size);
    let (mut reads, mut writes) = tokio::io::split(client);
    let serve = async {
        match vectored {
            true => serve(server, body).await,
            false => serve(Plain(server), body).await,
        }
    };
    let say = async {
        let said = writes.write_all(words.as_bytes()).await;
        // Hyper closes without a look at the rest.
        drop(said);
    };
    let mut heard = String::new();
    let (_, (), read) = tokio::join!(serve, say, reads.read_to_string(&mut heard));
    read.expect("text");
    heard
}

/// Polls once.
async fn waits<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// The date of the last answer.
fn date(heard: &str) -> &str {
    let (_, rest) = heard.rsplit_once("date: ").expect("a date");
    rest.split_once("\r\n").expect("a line").0
}

#[tokio::test]
async fn what_hyper_cannot_read_is_answered_in_our_words() {
    for size in [1, 7, 100, 4096] {
        for vectored in [true, false] {
            let heard = converse(size, vectored, pieces(&[], true), GARBAGE).await;
            assert_eq!(heard, in_our_words(date(&heard)), "{size} {vectored}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_never_changed_whatever_is_in_it() {
    let good = "GET / HTTP/1.1\r\nhost: gate\r\n\r\n";
    for size in [1, 7, BARE.len(), 4096] {
        for vectored in [true, false] {
            for tells in [true, false] {
                for body in [
                    &[BARE][..],
                    &["before", BARE],
                    &[BARE, BARE],
                    &[BARE, "behind"],
                ] {
                    let words = format!("{good}{good}{GARBAGE}");
                    let heard = converse(size, vectored, pieces(body, tells), &words).await;
                    let case = format!("{size} {vectored} {tells} {body:?}");
                    let own = in_our_words(date(&heard));
                    let served = heard.strip_suffix(&own).expect(&case);
                    let body = body.concat();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
                    assert_eq!(served.matches(&head).count(), 2, "{case}");
                    assert_eq!(
                        served.matches(&format!("\r\n\r\n{body}")).count(),
                        2,
                        "{case}"
                    );
                    assert!(served.ends_with(&body), "{case}");
                    assert!(!served.contains("x-said"), "{case}");
                }
            }
        }
    }
}

/// Writes `pieces` to a stream that is made ready by `before`, and returns what comes out.
async fn written(
    before: impl AsyncFnOnce(&mut Unparsed<Vec<u8>>, &Arc<Requests>),
    pieces: &[&str],
) -> String {
    let requests = Arc::default();
    let mut stream = around(Vec::new(), &requests);
    before(&mut stream, &requests).await;
    stream.inner.clear();
    let slices: Vec<_> = pieces
        .iter()
        .map(|piece| io::IoSlice::new(piece.as_bytes()))
        .collect();
    let length = stream.write_vectored(&slices).await.expect("taken");
    assert_eq!(length, pieces.concat().len(), "all of it is taken");
    stream.flush().await.expect("flushed");
    String::from_utf8(stream.inner).expect("text")
}

#[tokio::test]
async fn only_where_nothing_else_can_be_meant_it_is_ours() {
    let ours = in_our_words("Sun, 06 Nov 1994 08:49:37 GMT");
    let fresh = async |_: &mut _, _: &_| ();
    assert_eq!(written(fresh, &[BARE]).await, ours);
    assert_eq!(written(fresh, &["", BARE, ""]).await, ours);
    let two = [&BARE[..9], &BARE[9..]];
    assert_eq!(written(fresh, &two).await, BARE, "in two pieces");
    let before = [BARE, "more"];
    assert_eq!(written(fresh, &before).await, before.concat(), "and more");
    let more = BARE.repeat(2);
    assert_eq!(written(fresh, &[&more]).await, more, "more than that");

    let under_way = async |stream: &mut Unparsed<Vec<u8>>, requests: &Arc<Requests>| {
        std::mem::forget(requests.begin());
        stream.flush().await.expect("flushed");
    };
    assert_eq!(written(under_way, &[BARE]).await, BARE);
    let unflushed = async |stream: &mut Unparsed<Vec<u8>>, requests: &Arc<Requests>| {
        let request = requests.begin();
        stream.write_all(b"HTTP/1.1 200 OK").await.expect("written");
        stream.flush().await.expect("flushed");
        drop(request);
    };
    assert_eq!(written(unflushed, &[BARE]).await, BARE, "of its body");
    let done = async |stream: &mut Unparsed<Vec<u8>>, requests: &Arc<Requests>| {
        unflushed(stream, requests).await;
        stream.flush().await.expect("flushed");
    };
    assert_eq!(written(done, &[BARE]).await, ours);
    let begun = async |stream: &mut Unparsed<Vec<u8>>, requests: &Arc<Requests>| {
        done(stream, requests).await;
        stream.write_all(b"HTTP/1.1 ").await.expect("written");
    };
    assert_eq!(written(begun, &[BARE]).await, BARE, "behind something");
    let http2 = async |stream: &mut Unparsed<Vec<u8>>, _: &Arc<Requests>| {
        stream.write_all(&[0, 0, 0, 4]).await.expect("written");
        stream.flush().await.expect("flushed");
    };
    assert_eq!(written(http2, &[BARE]).await, BARE, "another protocol");
}

#[tokio::test]
async fn what_is_said_in_place_of_it_is_written_out_by_any_call() {
    let requests = Arc::default();
    let (server, mut client) = tokio::io::duplex(5);
    let mut server = around(server, &requests);
    let write = std::pin::pin!(server.write(BARE.as_bytes()));
    assert!(waits(write).await, "there is room for less");
    let finish = async {
        server.flush().await.expect("flushed");
        let length = server.write(BARE.as_bytes()).await.expect("written");
        assert_eq!(length, BARE.len(), "of hyper's own words, and not twice");
        server.shutdown().await.expect("shut down");
    };
    let mut heard = String::new();
    let ((), read) = tokio::join!(finish, client.read_to_string(&mut heard));
    read.expect("text");
    assert_eq!(heard, in_our_words("Sun, 06 Nov 1994 08:49:37 GMT"));
}

#[test]
fn hypers_own_answers_are_known_by_each_word() {
    for (from, to) in [
        ("", ""),
        ("400 Bad Request", "414 URI Too Long"),
        ("400 Bad Request", "431 Request Header Fields Too Large"),
        (
            "HTTP/1.1 400 Bad Request\r\nconnection: close",
            "HTTP/1.0 400 Bad Request",
        ),
    ] {
        let bare = BARE.replacen(from, to, 1);
        let read = Bare::read(bare.as_bytes()).expect(&bare);
        assert_eq!(read.date, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(bare.starts_with(read.line) && bare.contains(read.status.as_str()));
    }
    for (from, to) in [
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1", "http/1.1"),
        ("400 Bad Request", "200 OK"),
        ("400 Bad Request", "400 Bad request"),
        ("400 Bad Request", "400"),
        ("400 Bad Request", "4000 Bad Request"),
        ("400 Bad Request", "500 Internal Server Error"),
        ("connection: close\r\n", ""),
        ("connection: close", "connection: keep-alive"),
        ("content-length: 0\r\n", ""),
        ("content-length: 0", "content-length: 1"),
        ("content-length: 0", "content-length: 0\r\nx-other: 1"),
        ("date: ", "x-date: "),
        ("GMT\r\n", "GMT\r\nx-other: 1\r\n"),
        ("GMT\r\n\r\n", "GMT\r\n"),
        ("GMT\r\n\r\n", "GMT\r\n\r\n{}"),
        ("GMT\r\n\r\n", "GMT\r\n\r\n\r\n"),
        ("HTTP", " HTTP"),
    ] {
        let other = BARE.replacen(from, to, 1);
        assert_ne!(other, BARE);
        assert_eq!(Bare::read(other.as_bytes()), None, "{other:?}");
    }
    assert_eq!(Bare::read(b""), None);
    let long = BARE.replace("GMT", &"G".repeat(MAX_BARE));
    assert_eq!(Bare::read(long.as_bytes()), None, "not looked at");
}
