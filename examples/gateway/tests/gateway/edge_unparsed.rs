//! What every answer carries where there was no request that could be read.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use llm_gate_gateway::client::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Gate, send, start_with};

const CONSOLE: &str = "https://console.example";
/// A request that is answered on both listeners, and after which the connection stays.
const GOOD: &str = "GET / HTTP/1.1\r\nhost: gate\r\n\r\n";

async fn start() -> Gate {
    start_with(|config| {
        config.web_url = Some("https://gate.example".to_owned());
        config.cors.origins = vec![CONSOLE.to_owned()];
    })
    .await
}

/// What cannot be read, and with which of these statuses it is refused.
fn unreadable() -> Vec<(String, &'static [u16])> {
    let many = |lines: usize| {
        let lines: String = (0..lines).map(|line| format!("x-{line}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\n{lines}\r\n")
    };
    // What lies in the last piece that is read may be some more than is allowed.
    let long = "x".repeat(66 * 1024);
    let longer = "x".repeat(200 * 1024);
    let mut cases = vec![
        (
            format!("GET / HTTP/1.1\r\nx-long: {longer}\r\n\r\n"),
            &[431][..],
        ),
        (many(129), &[431]),
        // Which of the two it is, is a matter of a few bytes.
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), &[414, 431]),
    ];
    for words in [
        "what is this?\r\n\r\n",
        "GET / HTTP/1.1 again\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nin valid: 1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: two\r\n\r\n{}",
        "POST / HTTP/1.1\r\ncontent-length: -2\r\n\r\n{}",
        "POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n{}",
        "POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: gzip\r\n\r\n{}",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        // The beginning of a handshake of TLS.
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
    ] {
        cases.push((words.to_owned(), &[400]));
    }
    cases
}

struct Heard {
    version: String,
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// Says `words` on a connection of its own, and returns all that is answered until it is closed.
async fn say(address: SocketAddr, words: &[&str]) -> Vec<Heard> {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let (last, first) = words.split_last().expect("words");
    let mut heard = Vec::new();
    for words in first {
        stream.write_all(words.as_bytes()).await.expect("written");
        while read(&heard).is_empty() {
            assert_ne!(stream.read_buf(&mut heard).await.expect("read"), 0);
        }
    }
    // Both fail where it is closed before all was said or read; what has come stays.
    let _ = stream.write_all(last.as_bytes()).await;
    let _ = stream.read_to_end(&mut heard).await;
    read(&heard)
}

/// Reads the whole answers in `bytes`.
fn read(bytes: &[u8]) -> Vec<Heard> {
    let mut rest = std::str::from_utf8(bytes).expect("text");
    let mut all = Vec::new();
    while let Some((head, behind)) = rest.split_once("\r\n\r\n") {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().expect("a line").splitn(3, ' ');
        let version = words.next().expect("a version").to_owned();
        let status = words.next().expect("a status").parse().expect("a number");
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let length = headers["content-length"].to_str().expect("text");
        let Some((body, next)) = behind.split_at_checked(length.parse().expect("a number")) else {
            break;
        };
        rest = next;
        all.push(Heard {
            version,
            status,
            headers,
            body: body.to_owned(),
        });
    }
    all
}

/// Makes sure that the last one of `heard` is a refusal as any other, but behind which the connection ends, and
/// returns its id.
fn refused(heard: &[Heard], statuses: &[u16], like: &HeaderMap, case: &str) -> String {
    let last = heard.last().expect(case);
    assert!(statuses.contains(&last.status), "{} {case}", last.status);
    let body: Value = serde_json::from_str(&last.body).expect(case);
    assert!(body["detail"].is_string(), "{case}");
    assert_eq!(last.headers["content-type"], "application/json");
    assert_eq!(last.headers["connection"], "close", "{case}");
    let own = ["x-request-id", "content-length", "date"];
    for (name, value) in like {
        let left = name.as_str().starts_with("x-ratelimit-");
        if left || own.contains(&name.as_str()) {
            assert!(last.headers.contains_key(name), "{name} {case}");
        } else {
            assert_eq!(last.headers.get(name), Some(value), "{name} {case}");
        }
    }
    for name in last.headers.keys() {
        let only = last.headers.get_all(name).iter().count() == 1;
        assert!(
            only && (name == "connection" || like.contains_key(name)),
            "{name} {case}"
        );
    }
    let id = last.headers["x-request-id"].to_str().expect("text");
    assert_eq!(id.len(), 36);
    id.to_owned()
}

/// Returns the headers of a 404 as the console hears it: whoever cannot be read may be the only one who may read.
async fn like(address: SocketAddr) -> HeaderMap {
    let headers = [("origin", CONSOLE)];
    let answer = send(&Client::new(address), Method::GET, "/nowhere", &headers, "").await;
    assert_eq!(answer.status, 404);
    assert!(answer.headers.contains_key("content-security-policy"));
    let mut headers = answer.headers;
    headers.remove("connection");
    headers
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_like_anything_else() {
    let gate = start().await;
    let mut ids = BTreeSet::new();
    let mut asked = 0;
    let listeners = gate
        .all()
        .flat_map(|running| [(running.address, true), (running.metrics_address, false)]);
    for (address, public) in listeners {
        let like = like(address).await;
        for name in ["strict-transport-security", "access-control-allow-origin"] {
            assert_eq!(like.contains_key(name), public, "{name}");
        }
        for (words, statuses) in unreadable() {
            let case = &words[..words.len().min(80)];
            let alone = say(address, &[&words]).await;
            assert_eq!(alone.len(), 1, "{case}");
            ids.insert(refused(&alone, statuses, &like, case));
            let behind = say(address, &[&format!("{GOOD}{words}")]).await;
            assert_eq!(behind.len(), 2, "{case}");
            ids.insert(refused(&behind, statuses, &like, case));
            let later = say(address, &[GOOD, &words]).await;
            assert_eq!(later.len(), 2, "{case}");
            ids.insert(refused(&later, statuses, &like, case));
            asked += 3;
        }
    }
    assert_eq!(ids.len(), asked, "each its own");
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_like_anything_else() {
    let gate = start().await;
    for running in gate.all() {
        say(running.address, &["what is this?\r\n\r\n"]).await;
        let operators = Client::new(running.metrics_address);
        let metrics = operators.get("/metrics").await.expect("an answer");
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let counted = r#"http_requests_total{method="OTHER",handler="unmatched",status="400"}"#;
        assert!(text.contains(counted), "{counted} is missing in {text}");
    }
}

#[tokio::test]
async fn whoever_spoke_http10_is_answered_over_that() {
    let gate = start().await;
    let good = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    for running in gate.all() {
        let heard = say(running.address, &[good, "what is this?\r\n\r\n"]).await;
        let versions: Vec<_> = heard.iter().map(|heard| &*heard.version).collect();
        assert_eq!(versions, ["HTTP/1.0", "HTTP/1.0"]);
        let like = like(running.address).await;
        refused(&heard, &[400], &like, good);
    }
}

/// As RFC 9112 wants it (6.3): the length is not looked at, and nothing is read behind it.
#[tokio::test]
async fn a_body_with_two_lengths_is_the_last_of_its_connection() {
    let gate = start().await;
    let words = format!(
        "POST /auth/login HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n\
         content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{GOOD}"
    );
    for running in gate.all() {
        let heard = say(running.address, &[&words]).await;
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].status, 422, "the request of its chunks");
        assert_eq!(heard[0].headers["connection"], "close");
        assert!(heard[0].headers.contains_key("x-request-id"));
    }
}
