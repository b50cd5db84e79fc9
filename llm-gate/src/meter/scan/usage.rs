//! The `usage` member of an answer.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::tokens::Usage;

use super::json::{closes_top, colon, hits, number, space, string, value};

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// A `usage` member at the top level of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name and value.
    pub(super) place: Range<usize>,
    /// The figures; `None` for null, and for what cannot be read.
    pub(super) usage: Option<Usage>,
}

/// Finds the `usage` member at the top level of the object `bytes`, where it most likely is: at `guess`, then
/// from `likely` on, and only then before.
///
/// A hit of the word counts if a member name starts there, and if from behind its value the text closes
/// exactly one object. Quotes inside strings are escaped, so text cannot pretend to be a member.
pub(super) fn find(bytes: &[u8], guess: usize, likely: usize) -> Option<Member> {
    if bytes
        .get(guess..)
        .is_some_and(|rest| rest.starts_with(USAGE.needle()))
        && let Some(found) = member(bytes, guess)
    {
        return Some(found);
    }
    hits(&USAGE, &bytes[likely..])
        .find_map(|at| member(bytes, likely + at))
        .or_else(|| hits(&USAGE, &bytes[..likely]).find_map(|at| member(bytes, at)))
}

/// Reads the member whose name may start at `start`.
fn member(bytes: &[u8], start: usize) -> Option<Member> {
    if start == 0 || !matches!(bytes[start - 1], b'{' | b',' | b' ' | b'\n' | b'\t' | b'\r') {
        return None;
    }
    let at = colon(bytes, start + USAGE.needle().len())?;
    let (usage, end) = match bytes.get(at)? {
        b'{' => read(bytes, at)?,
        _ => (None, value(bytes, at)?),
    };
    closes_top(bytes, end).then_some(Member {
        place: start..end,
        usage,
    })
}

/// Reads the usage of a whole JSON answer.
pub(crate) fn whole(bytes: &[u8]) -> Option<Usage> {
    find(bytes, bytes.len(), 0)?.usage
}

/// Reads a usage object. Without a prompt count it says nothing.
fn read(bytes: &[u8], at: usize) -> Option<(Option<Usage>, usize)> {
    if let Some((usage, end)) = running(bytes, at) {
        return Some((Some(usage), end));
    }
    let mut usage = Usage::default();
    let mut seen = false;
    let end = members(bytes, at, |name, at| match name {
        b"prompt_tokens" => {
            seen = true;
            set(&mut usage.prompt, bytes, at)
        }
        b"completion_tokens" => set(&mut usage.completion, bytes, at),
        b"prompt_tokens_details" => details(bytes, at, b"cached_tokens", &mut usage.cached),
        b"completion_tokens_details" => {
            details(bytes, at, b"reasoning_tokens", &mut usage.reasoning)
        }
        _ => value(bytes, at),
    })?;
    Some((seen.then_some(usage), end))
}

/// Reads the running usage exactly as vLLM writes it; `None` for any other form.
fn running(bytes: &[u8], at: usize) -> Option<(Usage, usize)> {
    let (mut prompt, mut total, mut completion) = (0, 0, 0);
    let at = set(
        &mut prompt,
        bytes,
        behind(bytes, at, b"{\"prompt_tokens\":")?,
    )?;
    let at = set(&mut total, bytes, behind(bytes, at, b",\"total_tokens\":")?)?;
    let at = set(
        &mut completion,
        bytes,
        behind(bytes, at, b",\"completion_tokens\":")?,
    )?;
    let end = behind(bytes, at, b",\"completion_tokens_details\":null}")
        .or_else(|| behind(bytes, at, b"}"))?;
    let usage = Usage {
        prompt,
        completion,
        cached: 0,
        reasoning: 0,
    };
    Some((usage, end))
}

/// Moves over `text` if it stands at `at`.
fn behind(bytes: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    bytes
        .get(at..)?
        .starts_with(text)
        .then_some(at + text.len())
}

/// The largest figure that is taken for one: a request is bounded by 2^40 of any unit. What claims to be more says
/// nothing.
const MOST: u64 = (1 << 40) - 1;

fn set(field: &mut u64, bytes: &[u8], at: usize) -> Option<usize> {
    let (number, end) = number(bytes, at)?;
    *field = Some(number).filter(|&number| number <= MOST)?;
    Some(end)
}

fn details(bytes: &[u8], at: usize, wanted: &[u8], field: &mut u64) -> Option<usize> {
    if bytes.get(at) != Some(&b'{') {
        return value(bytes, at);
    }
    members(bytes, at, |name, at| {
        if name == wanted && bytes.get(at).is_some_and(u8::is_ascii_digit) {
            set(field, bytes, at)
        } else {
            value(bytes, at)
        }
    })
}

/// Moves over the object at `at`; `member` gets each raw name and moves over the value.
fn members(
    bytes: &[u8],
    at: usize,
    mut member: impl FnMut(&[u8], usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let end = string(bytes, at)?;
        let start = colon(bytes, end)?;
        at = space(bytes, member(&bytes[at + 1..end - 1], start)?);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(text: &str) -> Option<(u64, u64, u64, u64)> {
        whole(text.as_bytes()).map(|u| (u.prompt, u.completion, u.cached, u.reasoning))
    }

    #[test]
    fn figures_are_read_in_any_order_and_spacing() {
        let text = r#"{ "usage" : { "completion_tokens" : 2 , "x": [{"prompt_tokens": 9}], "prompt_tokens": 1,
            "completion_tokens_details": {"reasoning_tokens": 4}, "prompt_tokens_details": {"cached_tokens": 3, "multimodal_tokens": null}
            } , "z": "}" }"#;
        assert_eq!(figures(text), Some((1, 2, 3, 4)));
        assert_eq!(
            figures(
                r#"{"usage":{"prompt_tokens":2,"total_tokens":2,"prompt_tokens_details":null}}"#
            ),
            Some((2, 0, 0, 0))
        );
    }

    #[test]
    fn only_the_top_level_counts() {
        let schema =
            r#"{"tools":[{"properties":{"usage":{"prompt_tokens":7,"completion_tokens":7}}}]"#;
        assert_eq!(figures(&format!("{schema}}}")), None);
        let both = format!(
            r#"{schema},"usage":{{"prompt_tokens":1,"completion_tokens":2}},"after":{{"usage":{{"prompt_tokens":8}}}}}}"#
        );
        assert_eq!(figures(&both), Some((1, 2, 0, 0)));
    }

    #[test]
    fn text_cannot_pretend_to_be_a_member() {
        let inner =
            serde_json::Value::from(r#"","usage":{"prompt_tokens":7,"completion_tokens":7}}"#);
        assert_eq!(figures(&format!(r#"{{"content":{inner}}}"#)), None);
        assert_eq!(
            figures(r#"{"a":"usage","b":{"prompt_tokens":1}}"#),
            None,
            "a value is no name"
        );
        assert_eq!(
            figures(r#"{"\"usage":{"prompt_tokens":1}}"#),
            None,
            "nor is the end of another name"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        for text in [
            r#"{"usage":null}"#,
            r#"{"usage":{}}"#,
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens":2}}"#,
            r#"{"usage":{"prompt_tokens":1.5}}"#,
            r#"{"usage":{"prompt_tokens":99999999999999999999}}"#,
            r#"{"usage":{"prompt_tokens":9007199254740992}}"#,
            r#"{"usage":{"prompt_tokens":1}"#,
            r#"{"usage":7}"#,
            "",
        ] {
            assert_eq!(figures(text), None, "{text}");
        }
    }

    #[test]
    fn null_is_found_so_that_it_can_be_taken_out() {
        let member = find(br#"{"choices":[],"usage":null}"#, 0, 0).expect("a member");
        assert_eq!(
            member,
            Member {
                place: 14..26,
                usage: None
            }
        );
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_parser_whatever_the_content(content in ".*", prompt in 0..=MOST, completion in 0..=MOST) {
            let text = serde_json::json!({
                "choices": [{"delta": {"content": content.clone(), "usage": {"prompt_tokens": 1}}}],
                "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
                "zz": content,
            }).to_string();
            proptest::prop_assert_eq!(figures(&text), Some((prompt, completion, 0, 0)));
        }
    }
}
