//! What can go wrong, what the client sees then, and what it costs.

use bytes::Bytes;
use scripted_vllm::Step;

/// Tokens that each request may generate.
pub(super) const OUTPUT: u64 = 6;
const PROMPT: u64 = 10;
/// The text of an event, and how many bytes it has.
const TEXT: (&str, u64) = ("abc", 3);
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const DONE: &str = "data: [DONE]\n\n";
/// The end of a chunked body.
const END: &str = "0\r\n\r\n";

/// What the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    /// A whole answer with this status.
    Status(u16),
    /// A stream that ends with an `error` event and without `[DONE]`.
    Ended,
    /// As that, and the connection is cut.
    Broken,
}

/// What it costs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Costs {
    Nothing,
    Exactly(u64),
    /// All that the request could have cost.
    Bound,
    /// The prompt's bound, and a token for each byte of text.
    Text(u64),
    /// So much, of which the limit holds a part.
    Beyond(u64),
}

/// A server that does something wrong.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) stream: bool,
    pub(super) script: Vec<Step>,
    pub(super) sees: Sees,
    pub(super) costs: Costs,
}

fn write(text: impl Into<String>) -> Step {
    Step::Write(Bytes::from(text.into()))
}

fn chunk(text: &str) -> Step {
    write(format!("{:x}\r\n{text}\r\n", text.len()))
}

fn usage(completion: u64) -> String {
    let total = PROMPT + completion;
    format!(
        r#"{{"prompt_tokens":{PROMPT},"total_tokens":{total},"completion_tokens":{completion}}}"#
    )
}

/// An event with text that reports `usage`.
fn event(usage: &str) -> String {
    let text = TEXT.0;
    format!(
        "data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"tiny\",\"choices\":\
         [{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":{usage}}}\n\n"
    )
}

/// The head of a stream, an event for each usage, and what comes then.
fn stream<const N: usize>(usages: &[&str], then: [Step; N]) -> Vec<Step> {
    let events = usages.iter().map(|usage| chunk(&event(usage)));
    [write(STREAM)]
        .into_iter()
        .chain(events)
        .chain(then)
        .collect()
}

/// A whole answer that is not streamed, with so much more than it needs.
fn json(usage: &str, more: usize) -> String {
    let more = " ".repeat(more);
    let body = format!(
        r#"{{"id":"x","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"abc"}}}}],"usage":{usage}{more}}}"#
    );
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The beginning of an answer.
fn begun(answer: &str) -> Step {
    write(&answer[..answer.len() - 20])
}

/// The same bytes, one at a time.
fn drip(answer: &str) -> Vec<Step> {
    let bytes = answer.as_bytes().chunks(1);
    bytes
        .map(|byte| Step::Write(Bytes::copy_from_slice(byte)))
        .collect()
}

fn refuses(status: u16) -> Vec<Step> {
    let body = r#"{"error":{"message":"no","type":"no","param":null,"code":null}}"#;
    let length = body.len();
    vec![write(format!(
        "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    ))]
}

/// Faults before an answer, which are the same whatever was asked for.
pub(super) fn before(stream: bool) -> Vec<Fault> {
    let fault = |name, script, status| Fault {
        name,
        stream,
        script,
        sees: Sees::Status(status),
        costs: Costs::Nothing,
    };
    let begun = || Step::text("HTTP/1.1 200 OK\r\ncontent-type: appl");
    vec![
        fault("resets before its head", vec![Step::Reset], 502),
        fault("closes before its head", vec![Step::Close], 502),
        fault("stalls before its head", vec![Step::Stall], 504),
        fault("resets amid its head", vec![begun(), Step::Reset], 502),
        fault("closes amid its head", vec![begun(), Step::Close], 502),
        fault(
            "says no HTTP",
            vec![Step::text("220 mail.example ESMTP\r\n\r\n"), Step::Close],
            502,
        ),
        fault("refuses with 400", refuses(400), 400),
        fault("refuses with 404", refuses(404), 404),
        fault("refuses with 429", refuses(429), 429),
        fault("fails with 500", refuses(500), 500),
        fault("fails with 503", refuses(503), 503),
    ]
}

/// Faults of answers that are not streamed.
pub(super) fn whole() -> Vec<Fault> {
    use Costs::{Beyond, Bound, Exactly, Nothing};
    let good = json(&usage(3), 0);
    let fault = |name, script, status, costs| Fault {
        name,
        stream: false,
        script,
        sees: Sees::Status(status),
        costs,
    };
    let odd = |name, usage: &str| fault(name, vec![write(json(usage, 0))], 200, Bound);
    let cut_chunk = || {
        Step::text(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{\"id\":",
        )
    };
    vec![
        fault(
            "resets amid its answer",
            vec![begun(&good), Step::Reset],
            502,
            Nothing,
        ),
        fault(
            "closes amid its answer",
            vec![begun(&good), Step::Close],
            502,
            Nothing,
        ),
        fault(
            "stalls amid its answer",
            vec![begun(&good), Step::Stall],
            502,
            Nothing,
        ),
        fault(
            "closes amid a chunk",
            vec![cut_chunk(), Step::Close],
            502,
            Nothing,
        ),
        fault(
            "answers with garbage",
            vec![Step::text(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n}{\"us\0\0:[",
            )],
            200,
            Bound,
        ),
        fault("drips", drip(&good), 200, Exactly(PROMPT + 3)),
        fault(
            "answers too long",
            vec![write(json(&usage(3), 32 << 20)), Step::Close],
            502,
            Nothing,
        ),
        fault(
            "reports far more than was held",
            vec![write(json(&usage(1_000_000), 0))],
            200,
            Beyond(PROMPT + 1_000_000),
        ),
        odd("reports nothing", "null"),
        odd("reports an empty object", "{}"),
        odd("reports a list", "[10,3]"),
        odd(
            "reports less than nothing",
            r#"{"prompt_tokens":-10,"completion_tokens":3}"#,
        ),
        odd(
            "reports parts of tokens",
            r#"{"prompt_tokens":10.5,"completion_tokens":3}"#,
        ),
        odd(
            "reports words",
            r#"{"prompt_tokens":"ten","completion_tokens":3}"#,
        ),
        odd(
            "reports more than there can be",
            r#"{"prompt_tokens":10,"completion_tokens":99999999999999999999}"#,
        ),
    ]
}

/// Faults amid a stream.
pub(super) fn streamed() -> Vec<Fault> {
    use Costs::{Beyond, Exactly, Nothing, Text};
    let fault = |name, sees, script, costs| Fault {
        name,
        stream: true,
        script,
        sees,
        costs,
    };
    let broken = |name, script, costs| fault(name, Sees::Broken, script, costs);
    let done = || [chunk(DONE), Step::text(END)];
    let ok = Sees::Status(200);
    let odd = |name, usage: &str| {
        let script = stream(&[usage, usage], done());
        fault(name, ok, script, Text(2 * TEXT.1))
    };
    let (one, two) = (usage(1), usage(2));
    let (one, two) = (one.as_str(), two.as_str());
    let endless = format!("data: {}", "x".repeat(2 << 20));
    let good = format!("{STREAM}{:x}\r\n{}\r\n{END}", event(one).len(), event(one));
    vec![
        broken(
            "resets behind its head",
            stream(&[], [Step::Reset]),
            Nothing,
        ),
        broken(
            "closes behind its head",
            stream(&[], [Step::Close]),
            Nothing,
        ),
        broken(
            "stalls behind its head",
            stream(&[], [Step::Stall]),
            Nothing,
        ),
        broken(
            "resets amid its stream",
            stream(&[one, two], [Step::Reset]),
            Exactly(PROMPT + 2),
        ),
        broken(
            "closes amid its stream",
            stream(&[one, two], [Step::Close]),
            Exactly(PROMPT + 2),
        ),
        broken(
            "stalls amid its stream",
            stream(&[one, two], [Step::Stall]),
            Exactly(PROMPT + 2),
        ),
        broken(
            "closes amid a chunk",
            stream(&[one], [Step::text("ff\r\ndata: {\"id\":"), Step::Close]),
            Exactly(PROMPT + 1),
        ),
        broken(
            "says a wrong length of a chunk",
            stream(&[one], [Step::text("so long\r\n"), Step::Close]),
            Exactly(PROMPT + 1),
        ),
        fault(
            "never ends an event",
            Sees::Ended,
            stream(&[one], [chunk(&endless), Step::Close]),
            Exactly(PROMPT + 1),
        ),
        fault(
            "streams garbage",
            ok,
            stream(
                &[one],
                [
                    chunk("\0}{ \n\n:::\n\ndata: {\"usage\":\n\n"),
                    Step::text(END),
                ],
            ),
            Exactly(PROMPT + 1),
        ),
        fault("drips", ok, drip(&good), Exactly(PROMPT + 1)),
        fault(
            "counts backwards",
            ok,
            stream(&[one, &usage(5), &usage(3)], done()),
            Exactly(PROMPT + 5),
        ),
        fault(
            "reports far more than was held",
            ok,
            stream(&[one, &usage(1_000_000)], done()),
            Beyond(PROMPT + 1_000_000),
        ),
        odd("reports nothing", "null"),
        odd("reports an empty object", "{}"),
        odd("reports a list", "[10,1]"),
        odd(
            "reports less than nothing",
            r#"{"prompt_tokens":10,"total_tokens":9,"completion_tokens":-1}"#,
        ),
        odd(
            "reports parts of tokens",
            r#"{"prompt_tokens":10,"total_tokens":11,"completion_tokens":1.5}"#,
        ),
        odd(
            "reports words",
            r#"{"prompt_tokens":"ten","total_tokens":11,"completion_tokens":"one"}"#,
        ),
        odd(
            "reports more than there can be",
            r#"{"prompt_tokens":10,"total_tokens":11,"completion_tokens":99999999999999999999}"#,
        ),
    ]
}
