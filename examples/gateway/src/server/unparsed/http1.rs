use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};

/// How much an answer for what cannot be read may say.
const MAX_BODY: usize = 64 * 1024;
/// Hyper's own answers are shorter than this.
pub(super) const MAX_BARE: usize = 256;

/// An answer of hyper's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bare<'a> {
    pub(super) line: &'a str,
    pub(super) status: StatusCode,
    pub(super) date: &'a str,
}

impl<'a> Bare<'a> {
    /// Reads `bytes` as the whole of such an answer.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let bytes = (bytes.len() <= MAX_BARE).then_some(bytes)?;
        let head = std::str::from_utf8(bytes).ok()?;
        let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
        let line = lines.next()?;
        // Whoever has asked for something over HTTP/1.0 before is answered over that, and need not be told of the end.
        let (version, reason) = line.split_once(' ')?;
        let closes = match version {
            "HTTP/1.1" => lines.next() == Some("connection: close"),
            version => version == "HTTP/1.0",
        };
        let (code, reason) = reason.split_once(' ')?;
        let status: StatusCode = code.parse().ok()?;
        let refuses = status.is_client_error() && status.canonical_reason() == Some(reason);
        let empty = lines.next() == Some("content-length: 0");
        let date = lines.next()?.strip_prefix("date: ")?;
        let good = closes && refuses && empty && lines.next().is_none();
        good.then_some(Self { line, status, date })
    }
}

/// Writes an answer down as HTTP/1 has it, with `line` as its first and the last of its connection.
pub(super) async fn write_down(line: String, date: String, response: Response) -> Bytes {
    let (mut head, body) = response.into_parts();
    // A refusal is text that is there.
    let body = axum::body::to_bytes(body, MAX_BODY).await;
    let body = body.unwrap_or_default();
    for name in [CONNECTION, CONTENT_LENGTH, DATE] {
        head.headers.remove(name);
    }
    let mut bytes = Vec::with_capacity(1024);
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    write(&[line.as_bytes(), b"\r\nconnection: close\r\n"]);
    for (name, value) in &head.headers {
        write(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    let length = body.len().to_string();
    write(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    write(&[b"date: ", date.as_bytes(), b"\r\n\r\n", &body]);
    bytes.into()
}
