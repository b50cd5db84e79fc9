//! The model: a tokenizer, a handful of fixed answers, and their generation token by token.

use std::fmt::Write as _;

/// Counts the tokens of a text.
///
/// One token is: up to 16 letters and digits together with one space before them, any other ASCII
/// character, or any character beyond ASCII. So a token covers at least one byte, as in a byte-level
/// tokenizer.
pub(crate) fn count_tokens(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_word = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let mut at = 0;
    let mut tokens = 0;
    while let Some(byte) = bytes.get(at) {
        tokens += 1;
        let start = if *byte == b' ' && is_word(at + 1) {
            at + 1
        } else {
            at
        };
        if is_word(start) {
            at = start + 1;
            while at < start + 16 && is_word(at) {
                at += 1;
            }
        } else {
            at += 1;
            while bytes
                .get(at)
                .is_some_and(|next| *byte >= 0x80 && *next & 0xC0 == 0x80)
            {
                at += 1;
            }
        }
    }
    tokens
}

/// What a piece of an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Text,
    Reasoning,
    ToolName,
    ToolArguments,
    /// Tokens without text: the end token and the markers around a tool call.
    End,
}

/// One event's worth of an answer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    kind: Kind,
    text: &'static str,
    /// Tokens the piece takes, hidden markers before it included.
    tokens: u64,
}

const fn piece(kind: Kind, tokens: u64, text: &'static str) -> Piece {
    Piece { kind, text, tokens }
}

const fn text(text: &'static str) -> Piece {
    piece(Kind::Text, 1, text)
}

const fn thought(text: &'static str) -> Piece {
    piece(Kind::Reasoning, 1, text)
}

const fn arguments(text: &'static str) -> Piece {
    piece(Kind::ToolArguments, 1, text)
}

const END: Piece = piece(Kind::End, 1, "");

const SENTENCE: &[Piece] = &[
    text("Hello"),
    text(" from"),
    text(" a"),
    text(" tiny"),
    text(" model"),
    text(" that"),
    text(" only"),
    text(" knows"),
    text(" this"),
    text(" one"),
    text(" fixed"),
    text(" sentence"),
    text(" and"),
    text(" then"),
    text(" stops"),
    text("."),
    END,
];

const TOOL_ANSWERED: &[Piece] = &[
    text("The"),
    text(" tool"),
    text(" has"),
    text(" answered"),
    text("."),
    text(" Done"),
    text("."),
    END,
];

const THOUGHT: &[Piece] = &[
    piece(Kind::Reasoning, 2, "\n"),
    thought("A"),
    thought(" short"),
    thought(" thought"),
    thought(" comes"),
    thought(" first"),
    thought("."),
    thought("\n"),
    piece(Kind::Text, 2, "\n"),
    text("\n"),
    text("Then"),
    text(" the"),
    text(" answer"),
    text("."),
    END,
];

const TOOL_CALL: &[Piece] = &[
    piece(Kind::ToolName, 12, ""),
    arguments("{\""),
    arguments("city"),
    arguments("\":"),
    arguments(" \""),
    arguments("Paris"),
    arguments("\"}"),
    piece(Kind::End, 4, ""),
];

/// What the model says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Speech {
    /// The fixed sentence.
    Sentence,
    /// The sentence without its first word, as a text completion goes on after it.
    Continuation,
    /// The answer to the result of a tool.
    ToolAnswered,
    /// A short thought, then a short answer.
    Thought,
    /// A call of a tool.
    ToolCall,
}

/// Why a choice ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Finish {
    /// The model was done.
    End,
    /// The limit was reached.
    Length,
    /// This stop string came.
    Stop(String),
}

/// The generation of one choice.
#[derive(Debug)]
pub(crate) struct Generation {
    pieces: &'static [Piece],
    at: usize,
    /// Starts again at the end (`ignore_eos`).
    endless: bool,
    repeating: bool,
    limit: u64,
    tokens: u64,
    reasoning: u64,
    /// The completion tokens to report whatever is generated.
    figure: Option<u64>,
    stop: Option<Stop>,
    /// Bytes of text made so far, those held back for a stop string included.
    bytes: usize,
    finish: Option<Finish>,
}

/// Where a stop string ends the text.
#[derive(Debug)]
struct Stop {
    word: String,
    /// The token that completes it.
    tokens: u64,
    /// The bytes of text that remain.
    bytes: usize,
}

impl Generation {
    pub(crate) fn new(speech: Speech, limit: u64, endless: bool) -> Self {
        let pieces = match speech {
            Speech::Sentence | Speech::Continuation => SENTENCE,
            Speech::ToolAnswered => TOOL_ANSWERED,
            Speech::Thought => THOUGHT,
            Speech::ToolCall => TOOL_CALL,
        };
        let repeats = !matches!(speech, Speech::Thought | Speech::ToolCall);
        Self {
            pieces,
            at: usize::from(speech == Speech::Continuation),
            endless: endless && repeats,
            repeating: false,
            limit: limit.max(1),
            tokens: 0,
            reasoning: 0,
            figure: None,
            stop: None,
            bytes: 0,
            finish: None,
        }
    }

    /// Reports `figure` completion tokens at the end, at most that many before.
    pub(crate) fn set_figure(&mut self, figure: u64) {
        self.figure = Some(figure);
    }

    /// Ends the text at the first of these strings that comes.
    pub(crate) fn stop_at(&mut self, words: &[String], keep_word: bool) {
        let longest = words.iter().map(String::len).max().unwrap_or(0);
        let mut trial = Self {
            stop: None,
            finish: None,
            ..*self
        };
        let (mut made, mut all) = (String::new(), String::new());
        while let Some(kind) = trial.next(1, &mut made) {
            if kind != Kind::Text {
                continue;
            }
            let from = all.len().saturating_sub(longest);
            all.push_str(&made);
            // The texts are ASCII: every offset is a boundary.
            let found = words
                .iter()
                .filter_map(|word| all[from..].find(word.as_str()).map(|at| (from + at, word)))
                .min_by_key(|(at, _)| *at);
            if let Some((at, word)) = found {
                self.stop = Some(Stop {
                    word: word.clone(),
                    tokens: trial.tokens,
                    bytes: if keep_word { at + word.len() } else { at },
                });
                return;
            }
        }
    }

    /// Generates the next event of at most `most` tokens with text, which goes into `text`.
    pub(crate) fn next(&mut self, most: usize, text: &mut String) -> Option<Kind> {
        text.clear();
        if self.finish.is_some() {
            return None;
        }
        let mut event = None;
        let mut joined = 0;
        while joined < most.max(1) {
            let mut piece = self.pieces[self.at];
            if piece.kind == Kind::End && self.endless {
                (self.at, self.repeating) = (0, true);
                piece = self.pieces[0];
            }
            if event.is_some_and(|kind| kind != piece.kind) {
                break;
            }
            if self.tokens + piece.tokens > self.limit {
                // Out of tokens within a marker, which has no text.
                self.tokens = self.limit;
                self.finish = Some(Finish::Length);
                break;
            }
            self.take(piece, text);
            if self.finish.is_some() || !text.is_empty() || piece.kind == Kind::ToolName {
                event = Some(piece.kind);
                joined += 1;
            }
            if self.finish.is_some() || piece.kind == Kind::ToolName {
                break;
            }
        }
        Some(event.unwrap_or(Kind::End))
    }

    fn take(&mut self, piece: Piece, text: &mut String) {
        self.tokens += piece.tokens;
        self.reasoning += u64::from(piece.kind == Kind::Reasoning);
        if self.repeating && self.at == 0 {
            self.show(" ", text);
        }
        self.show(piece.text, text);
        self.at += 1;
        self.finish = match &self.stop {
            Some(stop) if self.tokens >= stop.tokens => Some(Finish::Stop(stop.word.clone())),
            _ if piece.kind == Kind::End => Some(Finish::End),
            _ if self.tokens == self.limit => Some(Finish::Length),
            _ => None,
        };
    }

    /// Adds what a stop string leaves of `part`.
    fn show(&mut self, part: &str, text: &mut String) {
        let left = self
            .stop
            .as_ref()
            .map_or(usize::MAX, |stop| stop.bytes.saturating_sub(self.bytes));
        text.push_str(&part[..part.len().min(left)]);
        self.bytes += part.len();
    }

    pub(crate) const fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// The completion tokens to report now.
    pub(crate) fn tokens(&self) -> u64 {
        match (self.figure, &self.finish) {
            (Some(figure), Some(_)) => figure,
            (Some(figure), None) => self.tokens.min(figure),
            (None, _) => self.tokens,
        }
    }

    /// How many of [`tokens`](Self::tokens) were thoughts.
    pub(crate) fn reasoning(&self) -> u64 {
        self.reasoning.min(self.tokens())
    }
}

/// Writes `text` as the inside of a JSON string.
pub(crate) fn escape(out: &mut String, text: &str) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push_str(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_covers_at_least_one_byte() {
        for (text, tokens) in [
            ("", 0),
            ("hi", 1),
            ("Be short.", 3),
            ("  two  spaces ", 5),
            ("seventeenletters!", 2),
            ("世界 🚀", 4),
        ] {
            assert_eq!(count_tokens(text), tokens, "{text:?}");
            assert!(tokens <= text.len() as u64, "{text:?}");
        }
    }

    #[test]
    fn the_sentence_has_as_many_tokens_as_its_own_tokenizer_counts() {
        let sentence: String = SENTENCE.iter().map(|piece| piece.text).collect();
        assert_eq!(count_tokens(&sentence) + 1, SENTENCE.len() as u64);
    }

    #[test]
    fn an_endless_answer_fills_its_limit() {
        let mut generation = Generation::new(Speech::Sentence, 40, true);
        let (mut text, mut all) = (String::new(), String::new());
        while generation.next(1, &mut text).is_some() {
            all.push_str(&text);
        }
        assert_eq!(generation.finish(), Some(&Finish::Length));
        assert_eq!((generation.tokens(), count_tokens(&all)), (40, 40));
    }

    #[test]
    fn joined_tokens_all_count() {
        let mut generation = Generation::new(Speech::Sentence, 100, false);
        let (mut text, mut events) = (String::new(), 0);
        while generation.next(5, &mut text).is_some() {
            events += 1;
        }
        assert_eq!(
            (events, generation.tokens()),
            (5, 17),
            "four events of text and the end"
        );
    }
}
