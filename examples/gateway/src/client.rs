//! A small HTTP client, for the demo and the tests: one connection a request, whole answers or streams.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

/// Sends requests to one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    from: Option<IpAddr>,
    credential: Option<String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Reads the body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns a text member of the body, empty if there is none.
    #[must_use]
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// Talks to `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            from: None,
            credential: None,
        }
    }

    /// Comes from `address`, one of this machine's. The system picks one unless set.
    #[must_use]
    pub const fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Sends `credential` as bearer.
    #[must_use]
    pub fn bearer(&self, credential: impl Into<String>) -> Self {
        Self {
            address: self.address,
            from: self.from,
            credential: Some(credential.into()),
        }
    }

    /// Gets a path.
    ///
    /// # Errors
    ///
    /// Fails when there is no whole answer.
    pub async fn get(&self, path: &str) -> io::Result<Answer> {
        self.send(self.request(Method::GET, path, "")?).await
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    ///
    /// Fails when there is no whole answer.
    pub async fn post(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.send(self.request(Method::POST, path, body.to_string())?)
            .await
    }

    /// Puts a JSON body.
    ///
    /// # Errors
    ///
    /// Fails when there is no whole answer.
    pub async fn put(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.send(self.request(Method::PUT, path, body.to_string())?)
            .await
    }

    /// Prepares a request, with the credential, and as JSON if it has a body.
    ///
    /// # Errors
    ///
    /// Fails when the path cannot be one.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> io::Result<Request<Full<Bytes>>> {
        let body = body.into();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(credential) = &self.credential {
            request = request.header(AUTHORIZATION, format!("Bearer {credential}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(io::Error::other)
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    ///
    /// Fails when there is no whole answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        let (head, body) = self.stream(request).await?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// Sends a request and returns its answer as soon as its head is there. Dropping the answer closes
    /// the connection.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer.
    pub async fn stream(&self, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
        let stream = self.connect().await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // Ends by itself: with the answer, or when that is dropped.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(io::Error::other)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let Some(from) = self.from else {
            return TcpStream::connect(self.address).await;
        };
        let socket = match from {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind((from, 0).into())?;
        socket.connect(self.address).await
    }
}
