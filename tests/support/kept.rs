use std::net::SocketAddr;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Events, in_time};

/// A client that keeps its connection of HTTP/1.1 for the next request, and connects again where it was closed.
#[derive(Debug)]
pub struct Kept {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
    connections: u64,
}

impl Kept {
    /// Talks to `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            sender: None,
            connections: 0,
        }
    }

    /// Returns how often it had to connect.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Sends a request and returns when the head of its answer is there.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Events {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await,
        };
        if sender.ready().await.is_err() {
            sender = self.connect().await;
        }
        let answer: Response<Incoming> = in_time("an answer", sender.send_request(request))
            .await
            .expect("an answer");
        self.sender = Some(sender);
        Events::new(answer)
    }

    async fn connect(&mut self) -> SendRequest<Full<Bytes>> {
        self.connections += 1;
        let stream = in_time("a connection", TcpStream::connect(self.address)).await;
        let stream = stream.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket takes options");
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/1.1 is spoken");
        // Ends when the sender and the last answer are dropped.
        tokio::spawn(connection);
        sender
    }
}
