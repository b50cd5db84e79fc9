//! One server-sent event: where it ends, what its data is, what it says of a chat answer.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

use super::json::{colon, hits, name, number, space, string, value};

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\""));
static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\":"));
static FINGERPRINT: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("\"system_fingerprint\""));

/// Where an event ends.
pub(super) struct End {
    /// Behind its blank line.
    pub(super) behind: usize,
    /// Its last line before that, without the line end.
    pub(super) line: Range<usize>,
}

/// Finds the end of the event that starts at `start`: behind its blank line. `from` is where a line of it
/// starts, to go on without reading the ones before again. Without an end, tells where the last line starts.
pub(super) fn end(bytes: &[u8], mut from: usize) -> Result<End, usize> {
    let line_end = |at: usize| match bytes.get(at) {
        Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => Some(at + 2),
        Some(b'\r' | b'\n') => Some(at + 1),
        _ => None,
    };
    let mut line = from..from;
    loop {
        if let Some(behind) = line_end(from) {
            return Ok(End { behind, line });
        }
        let Some(found) = memchr2(b'\n', b'\r', &bytes[from..]) else {
            return Err(from);
        };
        let Some(next) = line_end(from + found) else {
            return Err(from);
        };
        // A carriage return at the very end may be half of a line end.
        if next == bytes.len() && bytes[next - 1] == b'\r' {
            return Err(from);
        }
        line = from..from + found;
        from = next;
    }
}

/// The data of an event and where it stands.
pub(super) enum Data<'a> {
    /// No data at all: a comment, or fields nobody here reads.
    None,
    /// One line of data.
    Line(&'a [u8], Range<usize>),
    /// Several lines, joined by line feeds as the specification says.
    Joined(Vec<u8>),
}

/// Takes the data out of an event that is one line, by far the most common form.
pub(super) fn line(line: &[u8]) -> Data<'_> {
    match line.strip_prefix(b"data:") {
        Some(rest) => {
            let skip = 5 + usize::from(rest.first() == Some(&b' '));
            Data::Line(&line[skip..], skip..line.len())
        }
        None => Data::None,
    }
}

/// Takes the data lines out of an event.
pub(super) fn data(event: &[u8]) -> Data<'_> {
    let mut found = Data::None;
    let mut at = 0;
    while at < event.len() {
        let end = memchr2(b'\n', b'\r', &event[at..]).map_or(event.len(), |found| at + found);
        if let Data::Line(text, place) = line(&event[at..end]) {
            found = match found {
                Data::None => Data::Line(text, at + place.start..end),
                Data::Line(first, _) => Data::Joined([first, b"\n", text].concat()),
                Data::Joined(mut all) => {
                    all.push(b'\n');
                    all.extend_from_slice(text);
                    Data::Joined(all)
                }
            };
        }
        at = end + 1;
    }
    found
}

/// Where the value of `choices` starts in a chunk of an answer: at `likely`, where the last chunk had it, or
/// wherever it is. The members before it are the same in every chunk of a stream.
pub(super) fn choices(chunk: &[u8], likely: usize) -> Option<usize> {
    const NAME: &[u8] = b"\"choices\":[";
    let start = (likely + 1).wrapping_sub(NAME.len());
    if chunk.get(start..=likely) == Some(NAME) {
        return Some(likely);
    }
    hits(&CHOICES, chunk).find_map(|at| {
        let value = colon(chunk, at + CHOICES.needle().len())?;
        (chunk.get(value) == Some(&b'[')).then_some(value)
    })
}

/// Tells whether the array at `at` is empty.
pub(super) fn is_empty(chunk: &[u8], at: usize) -> bool {
    chunk.get(space(chunk, at + 1)) == Some(&b']')
}

/// Reads the `index` of the first choice in the array at `at`.
pub(super) fn index(chunk: &[u8], at: usize) -> Option<usize> {
    let mut at = space(chunk, at + 1);
    if chunk.get(at) != Some(&b'{') {
        return None;
    }
    at = space(chunk, at + 1);
    loop {
        let is_index = chunk.get(at..)?.starts_with(b"\"index\"");
        let start = name(chunk, at)?;
        if is_index {
            return number(chunk, start).and_then(|(index, _)| usize::try_from(index).ok());
        }
        at = space(chunk, value(chunk, start)?);
        if chunk.get(at) != Some(&b',') {
            return None;
        }
        at = space(chunk, at + 1);
    }
}

/// Tells whether a choice ends here: a `finish_reason` that is not null. It may be wrong about a member of
/// that name elsewhere, which does no harm: the event waits for the next one.
pub(super) fn finishes(chunk: &[u8]) -> bool {
    // What nearly every chunk of vLLM ends with before its usage.
    if chunk.ends_with(b"\"finish_reason\":null,\"token_ids\":null}],") {
        return false;
    }
    hits(&FINISH, chunk)
        .any(|at| chunk.get(space(chunk, at + FINISH.needle().len())) == Some(&b'"'))
}

/// Takes the `system_fingerprint` member out of a chunk, name and value.
pub(super) fn fingerprint(chunk: &[u8]) -> Option<&[u8]> {
    hits(&FINGERPRINT, chunk).find_map(|at| {
        let start = name(chunk, at)?;
        (chunk.get(start) == Some(&b'"'))
            .then(|| string(chunk, start).map(|end| &chunk[at..end]))?
    })
}

/// Returns where a member stands together with the comma that goes with it.
pub(super) fn with_comma(chunk: &[u8], member: &Range<usize>) -> Range<usize> {
    let mut start = member.start;
    while start > 0 && matches!(chunk[start - 1], b' ' | b'\t' | b'\n' | b'\r') {
        start -= 1;
    }
    if start > 0 && chunk[start - 1] == b',' {
        return start - 1..member.end;
    }
    let next = space(chunk, member.end);
    if chunk.get(next) == Some(&b',') {
        return member.start..space(chunk, next + 1);
    }
    member.clone()
}

/// Counts the bytes of generated text in a chunk, escapes decoded.
pub(super) fn text_bytes(chunk: &[u8]) -> u64 {
    const TEXTS: [&[u8]; 6] = [
        b"content",
        b"text",
        b"reasoning",
        b"reasoning_content",
        b"refusal",
        b"arguments",
    ];
    let mut bytes = 0;
    let mut at = 0;
    let mut counts = false;
    while let Some(found) = chunk.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let start = at + found;
        let Some(end) = string(chunk, start) else {
            break;
        };
        let raw = &chunk[start + 1..end - 1];
        at = end;
        if chunk.get(space(chunk, end)) == Some(&b':') {
            counts = TEXTS.contains(&raw);
        } else if std::mem::take(&mut counts) {
            bytes += decoded(&chunk[start..end]).len() as u64;
        }
    }
    bytes
}

fn decoded(quoted: &[u8]) -> Cow<'_, [u8]> {
    let raw = &quoted[1..quoted.len() - 1];
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    serde_json::from_slice::<String>(quoted)
        .map_or(Cow::Borrowed(raw), |text| Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_at_a_blank_line_of_any_kind() {
        for event in [
            "data: a\n\n",
            "data: a\r\n\r\n",
            "data: a\r\r",
            "data: a\n\r\n",
            ":c\ndata: a\n\n",
            "\n",
        ] {
            let more = format!("{event}data: b");
            let end_of = |bytes| end(bytes, 0).ok().map(|end| end.behind);
            assert_eq!(end_of(more.as_bytes()), Some(event.len()), "{event:?}");
            for cut in 0..event.len() {
                let cut_short = &event.as_bytes()[..cut];
                if let Some(end) = end_of(cut_short) {
                    assert_eq!(
                        &event[end..],
                        "\n",
                        "{event:?} may only lose the second half of a line end"
                    );
                }
            }
        }
    }

    #[test]
    fn data_lines_are_joined() {
        assert!(matches!(data(b":comment\n\n"), Data::None));
        assert!(matches!(data(b"data: {}\n\n"), Data::Line(b"{}", range) if range == (6..8)));
        assert!(matches!(
            data(b"event: x\r\ndata:{}\r\n\r\n"),
            Data::Line(b"{}", _)
        ));
        assert!(matches!(data(b"data: {\ndata: }\n\n"), Data::Joined(all) if all == b"{\n}"));
    }

    #[test]
    fn the_index_is_the_choices_own() {
        let chunk = br#"{"choices": [ {"delta":{"tool_calls":[{"index":7}]},"index" : 3}]}"#;
        let at = choices(chunk, 0).expect("there");
        assert_eq!(index(chunk, at), Some(3));
        assert!(!is_empty(chunk, at));
        assert!(is_empty(b"{\"choices\":[ ]}", 11));
    }

    #[test]
    fn a_member_goes_with_one_comma() {
        let without = |text: &str, member: &str| {
            let start = text.find(member).expect("there");
            let range = with_comma(text.as_bytes(), &(start..start + member.len()));
            format!("{}{}", &text[..range.start], &text[range.end..])
        };
        assert_eq!(without(r#"{"a":1,"u":2}"#, r#""u":2"#), r#"{"a":1}"#);
        assert_eq!(without(r#"{"u":2 , "a":1}"#, r#""u":2"#), r#"{"a":1}"#);
        assert_eq!(
            without(r#"{"a":1, "u":2, "b":3}"#, r#""u":2"#),
            r#"{"a":1, "b":3}"#
        );
        assert_eq!(without(r#"{"u":2}"#, r#""u":2"#), "{}");
    }

    #[test]
    fn text_is_counted_decoded_and_nothing_else_is() {
        let chunk = r#"{"id":"content","choices":[{"delta":{"role":"assistant","content":"a\u00e9\n"},"text":"ü"}]}"#;
        assert_eq!(text_bytes(chunk.as_bytes()), 6);
        assert_eq!(text_bytes(br#"{"delta":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\""}}]}}"#), 4);
    }
}
