//! A strict reader of JSON bytes (RFC 8259) that keeps nothing: it moves over values and tells where
//! they stand.

use std::borrow::Cow;

/// How deep arrays and objects may nest.
const DEPTH: usize = 64;

/// What is wrong with a body, in words for the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: Cow<'static, str>,
    pub(super) param: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            param: None,
        }
    }

    pub(super) fn of(param: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            param: Some(param),
        }
    }
}

pub(super) type Read<T> = Result<T, Fault>;

/// The first byte of a value tells what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// A position in JSON text.
pub(super) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Starts before the first byte. Text that is not UTF-8 is refused, a byte order mark too.
    pub(super) fn new(bytes: &'a [u8]) -> Read<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("the body is not UTF-8"))?;
        Ok(Self {
            text,
            bytes,
            at: 0,
            depth: 0,
        })
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault<T>(&self, what: &'static str) -> Read<T> {
        Err(Fault::new(format!(
            "the body is not valid JSON: {what} at byte {}",
            self.at
        )))
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Moves to the next value and tells its kind.
    pub(super) fn kind(&mut self) -> Read<Kind> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') => Ok(Kind::True),
            Some(b'f') => Ok(Kind::False),
            Some(b'n') => Ok(Kind::Null),
            _ => self.fault("a value is missing"),
        }
    }

    /// Moves over a value of any kind.
    pub(super) fn skip(&mut self) -> Read<Kind> {
        let kind = self.kind()?;
        match kind {
            Kind::Object => self.object(|reader, _| reader.skip().map(drop))?,
            Kind::Array => self.array(|reader| reader.skip().map(drop))?,
            Kind::String => drop(self.string()?),
            Kind::Number => drop(self.number()?),
            Kind::True => self.word(b"true")?,
            Kind::False => self.word(b"false")?,
            Kind::Null => self.word(b"null")?,
        }
        Ok(kind)
    }

    /// Moves over an object, giving each member's decoded name to `member`, which moves over the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>,
    ) -> Read<()> {
        self.enter()?;
        self.space();
        if self.byte() != Some(b'}') {
            loop {
                self.space();
                if self.byte() != Some(b'"') {
                    return self.fault("a member name is missing");
                }
                let name = self.string()?;
                self.space();
                if self.byte() != Some(b':') {
                    return self.fault("a colon is missing");
                }
                self.at += 1;
                member(self, name)?;
                self.space();
                match self.byte() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return self.fault("a comma or closing brace is missing"),
                }
            }
        }
        self.leave();
        Ok(())
    }

    /// Moves over an array; `item` moves over each value.
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.enter()?;
        self.space();
        if self.byte() != Some(b']') {
            loop {
                item(self)?;
                self.space();
                match self.byte() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return self.fault("a comma or closing bracket is missing"),
                }
            }
        }
        self.leave();
        Ok(())
    }

    fn enter(&mut self) -> Read<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Fault::new(format!(
                "the body is nested deeper than {DEPTH} levels"
            )));
        }
        Ok(())
    }

    const fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn word(&mut self, word: &'static [u8]) -> Read<()> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.fault("an unknown word")
    }

    /// Reads a number and returns it as it is written.
    pub(super) fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fault("a digit is missing"),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            self.fault("a digit is missing")
        } else {
            Ok(())
        }
    }

    /// Reads a string; borrowed unless it has escapes.
    pub(super) fn string(&mut self) -> Read<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fault("a control character"),
                None => return self.fault("a string does not end"),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let quoted = &self.text[start - 1..self.at];
        serde_json::from_str(quoted)
            .map(Cow::Owned)
            .or_else(|_| self.fault("a lone surrogate"))
    }

    /// Moves over one escape; a surrogate without its other half is refused.
    fn escape(&mut self) -> Read<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match self.unit(self.at)? {
                0xD800..=0xDBFF if matches!(self.unit(self.at + 6), Ok(0xDC00..=0xDFFF)) => {
                    self.at += 12;
                    Ok(())
                }
                0xD800..=0xDFFF => self.fault("a lone surrogate"),
                _ => {
                    self.at += 6;
                    Ok(())
                }
            },
            _ => self.fault("an unknown escape"),
        }
    }

    /// Reads `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Read<u16> {
        let digits = self
            .bytes
            .get(at..at + 6)
            .filter(|unit| unit.starts_with(b"\\u") && unit[2..].iter().all(u8::is_ascii_hexdigit))
            .and_then(|unit| std::str::from_utf8(&unit[2..]).ok());
        match digits.map(|digits| u16::from_str_radix(digits, 16)) {
            Some(Ok(unit)) => Ok(unit),
            _ => self.fault("a broken escape"),
        }
    }

    /// Checks that nothing but space follows.
    pub(super) fn end(&mut self) -> Read<()> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.fault("something follows the value")
        }
    }
}

/// Counts the bytes before the next quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    const LANES: usize = 32;
    const fn special(byte: u8) -> bool {
        (byte == b'"') | (byte == b'\\') | (byte < 0x20)
    }
    let mut at = 0;
    // Whole blocks without a branch inside, which the compiler turns into vector instructions.
    while let Some(block) = bytes[at..].first_chunk::<LANES>() {
        if block
            .iter()
            .fold(false, |found, &byte| found | special(byte))
        {
            break;
        }
        at += LANES;
    }
    bytes[at..]
        .iter()
        .position(|&byte| special(byte))
        .map_or(bytes.len(), |found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        let mut reader = Reader::new(text.as_bytes()).expect("UTF-8");
        reader.skip().is_ok() && reader.end().is_ok()
    }

    #[test]
    fn the_grammar_is_that_of_rfc_8259() {
        for good in [
            "{}",
            "[]",
            " [1, -0.5e+3, \"a\\u00e9\\n\", true, false, null] ",
            "\"\\ud83d\\ude00\"",
            "0",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "Infinity",
            "'a'",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00a\"",
            "\"\\u12g4\"",
            "tru",
            "nulls",
            "1 2",
            "\u{feff}{}",
            "[1 2]",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(accepts(&("[".repeat(64) + &"]".repeat(64))));
        assert!(!accepts(&("[".repeat(65) + &"]".repeat(65))));
        assert!(!accepts(&"[".repeat(2_000_000)), "no stack overflow either");
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_serde_on_any_text(text in "[\\[\\]{}\",:0-9eE+.\\-truefalsn \\\\ud8]{0,40}") {
            let serde = serde_json::from_str::<serde_json::Value>(&text);
            // serde refuses numbers that overflow a double, which is no question of grammar.
            if !matches!(&serde, Err(error) if error.to_string().contains("out of range")) {
                proptest::prop_assert_eq!(accepts(&text), serde.is_ok(), "{}", text);
            }
        }

        #[test]
        fn finds_the_end_of_strings_of_any_length(text in "[a-z\\u00e9\\u4e16]{0,200}") {
            let quoted = format!("\"{text}\"");
            let mut reader = Reader::new(quoted.as_bytes()).expect("UTF-8");
            proptest::prop_assert_eq!(reader.string().expect("valid"), text);
        }
    }
}
