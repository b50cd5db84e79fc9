//! A client that sees every byte.

use bytes::{Buf, BytesMut};
use scripted_vllm::{Config, ScriptedVllm};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Client {
    stream: TcpStream,
    input: BytesMut,
}

pub(crate) async fn start(config: Config) -> ScriptedVllm {
    ScriptedVllm::start(config).await.expect("a free port")
}

/// Changes a default configuration.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

impl Client {
    pub(crate) async fn connect(vllm: &ScriptedVllm) -> Self {
        let stream = TcpStream::connect(vllm.address())
            .await
            .expect("the server listens");
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.send(request.as_bytes()).await;
    }

    pub(crate) async fn chat(&mut self, members: &str) {
        let body =
            format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"hi"}}]{members}}}"#);
        self.post("/v1/chat/completions", &body).await;
    }

    /// Reads up to the end of the connection, however it ends.
    pub(crate) async fn rest(mut self) -> String {
        while self.fill().await {}
        text(&self.input)
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.input).await, Ok(read) if read > 0)
    }

    pub(crate) async fn read_error(&mut self) -> Option<std::io::Error> {
        loop {
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(error),
            }
        }
    }

    async fn take(&mut self, length: usize) -> String {
        while self.input.len() < length {
            assert!(
                self.fill().await,
                "the answer ends early: {}",
                text(&self.input)
            );
        }
        let taken = text(&self.input[..length]);
        self.input.advance(length);
        taken
    }

    async fn upto(&mut self, end: &str) -> String {
        loop {
            let found = self
                .input
                .windows(end.len())
                .position(|bytes| bytes == end.as_bytes());
            if let Some(at) = found {
                return self.take(at + end.len()).await;
            }
            assert!(
                self.fill().await,
                "the answer ends early: {}",
                text(&self.input)
            );
        }
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        self.upto("\r\n\r\n").await
    }

    /// Reads one chunk: its size line and what is in it.
    async fn raw_chunk(&mut self) -> (String, usize) {
        let line = self.upto("\r\n").await;
        let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
        let data = self.take(size + 2).await;
        (line + &data, size)
    }

    /// Reads one event of a stream; `None` at its end.
    pub(crate) async fn event(&mut self) -> Option<String> {
        let (chunk, size) = self.raw_chunk().await;
        let data = chunk.split_once("\r\n")?.1.trim_end();
        (size > 0).then(|| data.to_owned())
    }

    /// Reads the events that are left.
    pub(crate) async fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// Reads one whole answer as it is.
    pub(crate) async fn answer(&mut self, head_only: bool) -> String {
        let mut all = self.head().await;
        if all.starts_with("HTTP/1.1 100") {
            all += &self.head().await;
        }
        if head_only {
            return all;
        }
        let length = all
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if let Some(length) = length {
            let length = length.parse().expect("a length");
            return all + &self.take(length).await;
        }
        loop {
            let (chunk, size) = self.raw_chunk().await;
            all += &chunk;
            if size == 0 {
                return all;
            }
        }
    }

    /// Reads one whole answer and takes its body.
    pub(crate) async fn body(&mut self) -> String {
        let answer = self.answer(false).await;
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
