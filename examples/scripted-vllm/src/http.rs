//! HTTP/1.1 on one connection: requests in, bytes out, and an eye on the peer all the time.

use std::{
    future::Future,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The largest request body that is read.
pub(crate) const MAX_BODY: usize = 64 * 1024 * 1024;
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// What is read ahead while an answer is written; a peer that sends more is read later.
const MAX_AHEAD: usize = 64 * 1024;

/// A request as it was received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The method, as sent.
    pub method: String,
    /// The request target, query included.
    pub target: String,
    /// The headers in their order, names in the letters they were sent in.
    pub headers: Vec<(String, Bytes)>,
    /// The body without any transfer coding.
    pub body: Bytes,
}

impl ReceivedRequest {
    /// Returns the first header of this name, whatever its letters, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// A request and what its head says about the connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) request: ReceivedRequest,
    /// The connection closes after the answer.
    pub(crate) close: bool,
}

/// The peer went away.
#[derive(Debug)]
pub(crate) struct Gone;

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The peer closed, or was idle for too long.
    Ended,
    /// What came is not HTTP.
    Invalid,
    /// The body is larger than [`MAX_BODY`].
    TooLarge,
}

impl From<Gone> for Unreadable {
    fn from(_: Gone) -> Self {
        Self::Ended
    }
}

/// How long the body is.
enum Length {
    Known(usize),
    Chunked,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: BytesMut::with_capacity(8 * 1024),
        })
    }

    /// Reads the next request; waits at most `idle` for its first byte.
    pub(crate) async fn request(&mut self, idle: Option<Duration>) -> Result<Incoming, Unreadable> {
        if self.input.is_empty() {
            match idle {
                Some(idle) => tokio::time::timeout(idle, self.fill())
                    .await
                    .map_err(|_| Unreadable::Ended)??,
                None => self.fill().await?,
            }
        }
        let (mut incoming, length, expects) = loop {
            if let Some(head) = self.head()? {
                break head;
            }
            if self.input.len() > MAX_HEAD {
                return Err(Unreadable::Invalid);
            }
            self.fill().await?;
        };
        if expects {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        incoming.request.body = match length {
            Length::Known(length) if length > MAX_BODY => return Err(Unreadable::TooLarge),
            Length::Known(length) => self.take(length).await?,
            Length::Chunked => self.chunked().await?,
        };
        Ok(incoming)
    }

    /// Parses the head of a request, if it is all there.
    fn head(&mut self) -> Result<Option<(Incoming, Length, bool)>, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let used = match parsed.parse(&self.input) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unreadable::Invalid),
        };
        let request = ReceivedRequest {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            headers: parsed
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), Bytes::copy_from_slice(header.value)))
                .collect(),
            body: Bytes::new(),
        };
        let has = |name, word: &str| {
            request
                .header(name)
                .is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        let length = if has("transfer-encoding", "chunked") {
            Length::Chunked
        } else {
            let length = request.header("content-length").map_or(Ok(0), str::parse);
            Length::Known(length.map_err(|_| Unreadable::Invalid)?)
        };
        let expects = has("expect", "100-continue");
        let close = has("connection", "close") || parsed.version == Some(0);
        self.input.advance(used);
        Ok(Some((Incoming { request, close }, length, expects)))
    }

    /// Takes `length` bytes off the input.
    async fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        self.input.reserve(length.saturating_sub(self.input.len()));
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    async fn chunked(&mut self) -> Result<Bytes, Unreadable> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size.trim_ascii())
                .ok()
                .and_then(|size| usize::from_str_radix(size, 16).ok())
                .ok_or(Unreadable::Invalid)?;
            if size == 0 {
                break;
            }
            if size > MAX_BODY - body.len() {
                return Err(Unreadable::TooLarge);
            }
            body.extend_from_slice(&self.take(size).await?);
            if !self.line().await?.is_empty() {
                return Err(Unreadable::Invalid);
            }
        }
        // Trailers, and the empty line after them.
        while !self.line().await?.is_empty() {}
        Ok(body.freeze())
    }

    /// Takes one line off the input, without its end.
    async fn line(&mut self) -> Result<Bytes, Unreadable> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line = self.input.split_to(end + 1).freeze();
                let line = line.slice(..end);
                let text = line.strip_suffix(b"\r").unwrap_or(&line);
                return Ok(line.slice_ref(text));
            }
            if self.input.len() > MAX_HEAD {
                return Err(Unreadable::Invalid);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Writes all of `bytes`, unless the peer is gone.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let (mut read, mut write) = self.stream.split();
        tokio::select! {
            biased;
            () = gone(&mut read, &mut self.input) => Err(Gone),
            written = write.write_all(bytes) => written.map_err(|_| Gone),
        }
    }

    /// Waits for `event`, unless the peer goes before it.
    pub(crate) async fn wait<F: Future>(&mut self, event: F) -> Result<F::Output, Gone> {
        let (mut read, _) = self.stream.split();
        tokio::select! {
            biased;
            () = gone(&mut read, &mut self.input) => Err(Gone),
            output = event => Ok(output),
        }
    }

    /// Waits until the peer is gone.
    pub(crate) async fn until_gone(&mut self) -> Gone {
        let (mut read, _) = self.stream.split();
        gone(&mut read, &mut self.input).await;
        Gone
    }

    /// Makes the coming close a reset.
    pub(crate) fn reset(&self) {
        // A connection that takes no options is gone already.
        drop(self.stream.set_zero_linger());
    }

    /// Ends the connection so that the last bytes arrive even if the peer still sends.
    pub(crate) async fn refuse(&mut self, bytes: &[u8]) {
        if self.send(bytes).await.is_ok() && self.stream.shutdown().await.is_ok() {
            while self.fill().await.is_ok() {
                self.input.clear();
            }
        }
    }
}

/// Reads ahead until the peer closes its side.
async fn gone(read: &mut tokio::net::tcp::ReadHalf<'_>, input: &mut BytesMut) {
    while input.len() < MAX_AHEAD {
        if matches!(read.read_buf(input).await, Ok(0) | Err(_)) {
            return;
        }
    }
    std::future::pending().await
}

/// Writes the head of an answer: names in lower case, in the order of uvicorn.
///
/// `fields` are whole lines that come before `vary`; `coding` is the line after it.
pub(crate) fn head(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&str, &str)],
    after: &[(&str, &str)],
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(date(now()).as_bytes());
    out.extend_from_slice(b"\r\nserver: uvicorn\r\n");
    for (name, value) in fields.iter().chain(after) {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// Writes one chunk of a chunked body.
pub(crate) fn chunk(out: &mut Vec<u8>, parts: &[&str]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// The seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Formats a time as HTTP dates are.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Civil date from days, counted in years that start in March.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_158_518, "Fri, 20 Nov 2026 07:08:38 GMT"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
