//! The declared edits, taken back: what is left must be the client's bytes.

use std::ops::Range;

use scripted_vllm::ReceivedRequest;
use serde_json::Value;

use super::recording::{Request, find};
use super::world::UPSTREAM_KEY;

/// The members the gate may add in front.
const OUTPUT: &[u8] = b"\"max_tokens\":";
const OPTIONS: &[u8] =
    b"\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true}";
/// What of a client's headers may reach the upstream, beside what every request needs.
const HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "endpoint-load-metrics-format",
    "host",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-session-affinity",
    "x-session-id",
];

/// Checks what the upstream received for `sent`: the client's bytes but for the declared edits, and none of
/// its credentials.
pub(crate) fn check(name: &str, sent: &Request, received: &ReceivedRequest) {
    let theirs = body(sent);
    let left = without_edits(&theirs, &received.body);
    assert!(
        left == theirs,
        "{name}: only the declared edits tell the two apart\n{}\n{}",
        String::from_utf8_lossy(&theirs),
        String::from_utf8_lossy(&received.body),
    );
    let path = sent.path().strip_suffix('/').unwrap_or_else(|| sent.path());
    assert_eq!(received.target, path, "{name}: the path is the gate's own");
    for (header, _) in &received.headers {
        assert!(
            HEADERS.contains(&header.as_str()),
            "{name}: {header} must not reach the upstream"
        );
    }
    let ours = format!("Bearer {UPSTREAM_KEY}");
    assert_eq!(
        received.header("authorization"),
        Some(ours.as_str()),
        "{name}: the gate has a key of its own"
    );
    assert_eq!(received.header("accept-encoding"), Some("identity"));
    assert_ne!(
        received.header("x-request-id"),
        sent.header("x-request-id"),
        "{name}: the gate names its requests itself"
    );
}

/// The body of a recorded request without its chunk sizes.
fn body(sent: &Request) -> Vec<u8> {
    if sent.header("transfer-encoding").is_none() {
        return sent.body.clone();
    }
    let start = find(&sent.body, b"\r\n").expect("a chunk size") + 2;
    let end = find(&sent.body, b"\r\n0\r\n").expect("a closing chunk");
    sent.body[start..end].to_vec()
}

/// Takes the edits out of `received`, each where the client's own bytes do not have it. Of options that
/// the client sent too, the client's stay, once it is clear that only usage was added.
fn without_edits(theirs: &[u8], received: &[u8]) -> Vec<u8> {
    let mut left = received.to_vec();
    let own = options(theirs);
    let front = |left: &[u8]| find(left, b"{").map_or(0, |at| at + 1);
    if let Some(null) = find(theirs, b"\"max_tokens\": null") {
        // A bound in place of one that is none.
        let value = null + OUTPUT.len() + 1;
        let digits = left[value..].iter().take_while(|b| b.is_ascii_digit());
        let digits = digits.count();
        if digits > 0 {
            left.splice(value..value + digits, *b"null");
        }
    }
    for _ in 0..2 {
        let open = front(&left);
        let rest = &left[open..];
        if rest.starts_with(OUTPUT) && !theirs[front(theirs)..].starts_with(OUTPUT) {
            let digits = rest[OUTPUT.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            left.drain(open..open + OUTPUT.len() + digits + 1);
        } else if rest.starts_with(OPTIONS) && own.is_none() {
            left.drain(open..=open + OPTIONS.len());
        }
    }
    if let (Some((own_place, own)), Some((place, mut sent))) = (own, options(&left)) {
        let streams = serde_json::from_slice::<Value>(&left).is_ok_and(|v| v["stream"] == true);
        for member in ["include_usage", "continuous_usage_stats"] {
            assert!(!streams || sent[member] == true, "{member} is asked for");
            match own.get(member) {
                Some(own) => sent[member] = own.clone(),
                None => drop(sent.as_object_mut().map(|sent| sent.remove(member))),
            }
        }
        let nothing = own.is_null() && sent == Value::Object(Default::default());
        assert!(sent == own || nothing, "other options stay: {sent}");
        left.splice(place, theirs[own_place].iter().copied());
    }
    left
}

/// Where the value of `stream_options` stands, and what it is.
fn options(body: &[u8]) -> Option<(Range<usize>, Value)> {
    const NAME: &[u8] = b"\"stream_options\":";
    let start = find(body, NAME)? + NAME.len();
    let mut values = serde_json::Deserializer::from_slice(&body[start..]).into_iter();
    let value = values.next()?.ok()?;
    Some((start..start + values.byte_offset(), value))
}
