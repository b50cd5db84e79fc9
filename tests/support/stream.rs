use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{Answer, in_time};

/// A streamed answer, event by event. Dropping it closes the connection (HTTP/1.1) or resets the stream
/// (HTTP/2).
#[derive(Debug)]
pub struct Events {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    read: BytesMut,
}

/// How a streamed answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The data of its events, `[DONE]` included.
    pub events: Vec<String>,
    /// Whether HTTP says that it is whole.
    pub whole: bool,
}

impl Events {
    /// Reads the events of an answer.
    #[must_use]
    pub fn new(answer: Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            read: BytesMut::new(),
        }
    }

    /// Waits for the data of the next event; `None` at an end that HTTP says is one.
    ///
    /// # Errors
    ///
    /// Fails when the connection is cut.
    pub async fn next(&mut self) -> Result<Option<String>, hyper::Error> {
        loop {
            while let Some(end) = self.read.windows(2).position(|bytes| bytes == b"\n\n") {
                let event = self.read.split_to(end + 2);
                let event = String::from_utf8_lossy(&event[..end]).into_owned();
                if let Some(data) = event.strip_prefix("data: ") {
                    return Ok(Some(data.to_owned()));
                }
            }
            match in_time("the next event", self.body.frame()).await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Reads the next event, which must come.
    pub async fn event(&mut self) -> String {
        let event = self.next().await.expect("the connection is open");
        event.expect("another event")
    }

    /// Reads to the end, whatever that is.
    pub async fn to_end(mut self) -> Ended {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => {
                    return Ended {
                        events,
                        whole: true,
                    };
                }
                Err(_) => {
                    return Ended {
                        events,
                        whole: false,
                    };
                }
            }
        }
    }

    /// Reads an answer that is no stream.
    pub async fn collect(self) -> Answer {
        let body = in_time("the whole answer", self.body.collect()).await;
        Answer {
            status: self.status,
            headers: self.headers,
            body: body.expect("a whole answer").to_bytes(),
        }
    }
}

impl Ended {
    /// Returns whether it ended as a stream should.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.whole && self.events.last().is_some_and(|event| event == "[DONE]")
    }

    /// Returns the events that are JSON.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        let parsed = self.events.iter().map(|event| serde_json::from_str(event));
        parsed.filter_map(Result::ok).collect()
    }

    /// Returns the usage of the last event that has one.
    #[must_use]
    pub fn usage(&self) -> Option<Value> {
        let values = self.values();
        values.iter().rev().find_map(|event| {
            event
                .get("usage")
                .filter(|usage| usage.is_object())
                .cloned()
        })
    }

    /// Returns the message of the event that reports an error.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let values = self.values();
        let message = values
            .iter()
            .find_map(|event| event.get("error")?.get("message"));
        message.and_then(Value::as_str).map(str::to_owned)
    }
}

/// A connection of HTTP/2 with prior knowledge.
#[derive(Clone, Debug)]
pub struct Http2 {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let hands = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = in_time("a handshake", hands)
            .await
            .expect("HTTP/2 is spoken");
        // Ends when the last sender and the last answer are dropped.
        tokio::spawn(connection);
        Self { address, sender }
    }

    /// Sends a request and returns when the head of its answer is there.
    pub async fn open(&mut self, request: Request<Full<Bytes>>) -> Events {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", self.address)
            .parse()
            .expect("a URL");
        parts.headers.remove(http::header::HOST);
        let answer = self.sender.send_request(Request::from_parts(parts, body));
        Events::new(
            in_time("the head of an answer", answer)
                .await
                .expect("an answer"),
        )
    }
}
