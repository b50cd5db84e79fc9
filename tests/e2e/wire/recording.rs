//! Recorded requests and answers, and a client that sees every byte.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What stands where a long recording was cut: `[... cut here; N bytes in all]`, `[... N bytes cut here ...]`.
const CUT: &[u8] = b"\n[... ";

/// Where the recordings of `set` lie.
pub(crate) fn folder(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(set)
}

/// Lists what the recorded requests of a set are called.
pub(crate) fn names(set: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder(set)).expect("the fixtures are part of the repository");
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".request.txt").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names
}

fn read(set: &str, file: &str) -> Vec<u8> {
    let path = folder(set).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    /// As it stands behind the head, chunk sizes included.
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn load(set: &str, name: &str) -> Self {
        let bytes = read(set, &format!("{name}.request.txt"));
        let end = find(&bytes, b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are text");
        let mut lines = head.split("\r\n");
        let line = lines.next().expect("a request line").to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut request = Self {
            line,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        request.make_whole();
        request
    }

    /// Makes a body again that was cut: its words go on up to the recorded length.
    fn make_whole(&mut self) {
        let Some(at) = find(&self.body, CUT) else {
            return;
        };
        let length = self.header("content-length").and_then(|n| n.parse().ok());
        let length: usize = length.expect("requests that were cut have a length");
        self.body.truncate(at);
        let end: &[u8] = if find(&self.body, b"\"input\"").is_some() {
            b"\"}"
        } else if self
            .body
            .starts_with(b"{\"model\": \"tiny\", \"max_tokens\"")
        {
            b"\"}]}"
        } else {
            b"\"}], \"max_tokens\": 3}"
        };
        while self.body.len() < length - end.len() {
            self.body.push(b"word "[self.body.len() % 5]);
        }
        self.body.extend_from_slice(end);
    }

    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        let target = self.line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Removes a header, whatever its letters.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self
    }

    /// Carries this credential and no other.
    pub(crate) fn with_key(self, key: &str) -> Self {
        let mut request = self.without("authorization").without("x-api-key");
        let value = format!("Bearer {key}");
        request.headers.push(("Authorization".to_owned(), value));
        request
    }

    /// The bytes to send to `host`, on a connection of its own.
    pub(crate) fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut out = format!("{}\r\nHost: {host}\r\n", self.line);
        let mut connection = Vec::new();
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("connection") {
                connection.push(value.as_str());
            } else if !name.eq_ignore_ascii_case("host") {
                out += &format!("{name}: {value}\r\n");
            }
        }
        connection.retain(|word| *word != "keep-alive" && *word != "close");
        connection.push("close");
        out += &format!("Connection: {}\r\n\r\n", connection.join(", "));
        [out.as_bytes(), &self.body].concat()
    }
}

/// An answer, recorded or received.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Without the chunk sizes.
    pub(crate) body: Vec<u8>,
    /// Whether it came to its own end.
    pub(crate) whole: bool,
}

impl Answer {
    /// Reads a recording; `None` where the server closed without a byte.
    pub(crate) fn load(name: &str) -> Option<Self> {
        let mut bytes = read("wire", &format!("{name}.response.txt"));
        if find(&bytes, CUT).is_some() {
            bytes = filled(&bytes);
        }
        Self::parse(&bytes, false)
    }

    /// Reads what came before a connection closed; `None` if that is no answer.
    pub(crate) fn parse(bytes: &[u8], head_only: bool) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        if status == 100 {
            return Self::parse(&bytes[end + 4..], head_only);
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
            whole: true,
        };
        if head_only {
            answer.whole = answer.body.is_empty();
        } else if answer.header("transfer-encoding") == Some("chunked") {
            (answer.body, answer.whole) = unchunked(&answer.body);
        } else if let Some(length) = answer.header("content-length") {
            answer.whole = length.parse() == Ok(answer.body.len());
        }
        Some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The data of its events.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let data = text.split("\n\n").filter_map(|e| e.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }

    /// Writes it as vLLM does: a stream with one event a chunk, and without the closing chunk if it is not
    /// whole.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Recorded\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if self.header("transfer-encoding").is_none() {
            out.extend_from_slice(&self.body);
            return out;
        }
        for event in self.text().split_inclusive("\n\n") {
            out.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
        }
        if self.whole {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        out
    }
}

/// Makes a stream again that was cut: where bytes are missing, the event before is repeated.
fn filled(bytes: &[u8]) -> Vec<u8> {
    let end = find(bytes, b"\r\n\r\n").expect("a head");
    let (head, body) = bytes.split_at(end + 4);
    let mut events: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(body).lines() {
        let data = line.strip_prefix("data: ");
        let whole = data.is_some_and(|data| {
            data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok()
        });
        if whole || line.starts_with(':') {
            events.push(format!("{line}\n\n"));
        } else if let Some(cut) = line.strip_prefix("[... ")
            && let Some(last) = events.last().cloned()
        {
            let digits = |word: &&str| word.parse::<usize>().is_ok();
            let missing: usize = cut
                .split([' ', ';'])
                .find(digits)
                .and_then(|n| n.parse().ok())
                .expect("a cut says how much");
            let times = missing / last.len();
            events.extend(std::iter::repeat_n(last, times));
        }
    }
    let whole = body.ends_with(b"\r\n0\r\n\r\n");
    let mut out = head.to_vec();
    for event in events {
        out.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
    }
    if whole {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    out
}

/// Takes the chunk sizes out; tells whether the closing chunk came.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    while let Some(at) = find(bytes, b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk size");
        if size == 0 {
            return (out, true);
        }
        let data = &bytes[at + 2..];
        out.extend_from_slice(&data[..size.min(data.len())]);
        bytes = data.get(size + 2..).unwrap_or_default();
    }
    (out, false)
}

/// Sends bytes and reads until the other side closes.
pub(crate) async fn send(to: SocketAddr, bytes: Vec<u8>) -> Vec<u8> {
    let stream = TcpStream::connect(to).await.expect("the gateway listens");
    let (mut read, mut write) = stream.into_split();
    // A refusal may come, and the connection close, before all is written.
    let writing = tokio::spawn(async move {
        let _ = write.write_all(&bytes).await;
        write
    });
    let mut answer = Vec::new();
    // An end that is no proper one is an end.
    let _ = read.read_to_end(&mut answer).await;
    writing.abort();
    answer
}

pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|found| found == part)
}

/// Masks what no two answers share: identifiers and times.
pub(crate) fn mask(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for mark in [
        "\"id\":\"chatcmpl-",
        "\"id\":\"cmpl-",
        "\"id\":\"embd-",
        "\"created\":",
    ] {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(mark) {
            out += &rest[..at + mark.len()];
            rest = rest[at + mark.len()..].trim_start_matches(|c: char| c != '"' && c != ',');
        }
        text = out + rest;
    }
    text
}
