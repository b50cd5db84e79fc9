//! Moving over well-formed JSON bytes. On anything else the functions return `None` and the caller
//! treats the text as unknown.

use memchr::memchr2;
use memchr::memmem::Finder;

/// Finds a word again and again. (The finder's own iterator copies the finder.)
pub(super) fn hits<'a>(word: &'a Finder<'_>, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + word.find(bytes.get(from..)?)?;
        from = at + word.needle().len();
        Some(at)
    })
}

/// Moves over white space.
pub(super) fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Moves over the string whose opening quote stands at `at`.
pub(super) fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Moves over the value that starts at `at`.
pub(super) fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let start = at;
            while matches!(
                bytes.get(at),
                Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.')
            ) {
                at += 1;
            }
            (at > start).then_some(at)
        }
    }
}

/// Moves from a member name's opening quote over name and colon to its value.
pub(super) fn name(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    colon(bytes, string(bytes, at)?)
}

/// Moves from behind a member name over the colon to its value.
pub(super) fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = space(bytes, at);
    (bytes.get(at) == Some(&b':')).then(|| space(bytes, at + 1))
}

/// Tells whether, from behind the value of a member, the rest of `bytes` closes exactly one object. In
/// well-formed text that says the member stands at the top level.
pub(super) fn closes_top(bytes: &[u8], mut at: usize) -> bool {
    loop {
        at = space(bytes, at);
        match bytes.get(at) {
            Some(b'}') => return space(bytes, at + 1) == bytes.len(),
            Some(b',') => {
                let next = name(bytes, space(bytes, at + 1)).and_then(|at| value(bytes, at));
                let Some(next) = next else {
                    return false;
                };
                at = next;
            }
            _ => return false,
        }
    }
}

/// Reads a whole number without sign, fraction or exponent; `None` if it does not fit.
pub(super) fn number(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let start = at;
    let mut number = 0_u64;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        at += 1;
    }
    (at > start && !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'))).then_some((number, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for text in [r#""a\"b\\""#, r#"{"a":["}",{}]}"#, "[]", "-1.5e+3", "null"] {
            let padded = format!("{text},");
            assert_eq!(value(padded.as_bytes(), 0), Some(text.len()), "{text}");
        }
        for broken in ["\"a", "{\"a\":1", "[", "", ","] {
            assert_eq!(value(broken.as_bytes(), 0), None, "{broken}");
        }
    }

    #[test]
    fn only_the_top_level_closes_the_text() {
        assert!(closes_top(b", \"a\": {\"b\": [1]} } ", 0));
        assert!(!closes_top(b"}}", 0), "one object deeper");
        assert!(!closes_top(b"]}", 0), "inside an array");
        assert!(!closes_top(b",", 0));
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        assert_eq!(number(b"18446744073709551615,", 0), Some((u64::MAX, 20)));
        for bad in ["18446744073709551616", "1.5", "1e3", "-1", ""] {
            assert_eq!(number(bad.as_bytes(), 0), None, "{bad}");
        }
    }
}
