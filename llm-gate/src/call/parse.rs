//! What a body means: the fields that decide about bounds, streaming and edits.

use std::borrow::Cow;
use std::ops::Range;

use super::read::{Fault, Kind, Read, Reader};
use super::value::{Names, boolean, integer, string, token_id};
use super::{Route, UsageAsked};

/// How many prompts or inputs one request may carry.
const PROMPTS: u64 = 2048;

/// The fields of a request, with where they stand in its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) usage: UsageAsked,
    /// The output bound that counts for the route.
    pub(super) asked: Option<u64>,
    pub(super) min_tokens: u64,
    /// Choices a prompt in the answer.
    pub(super) n: u64,
    /// How many of them a server may generate, to answer with the best.
    pub(super) best_of: u64,
    pub(super) prompts: u64,
    /// The prompts' length where they are token ids, which count themselves.
    pub(super) token_ids: Option<u64>,
    /// Whether part of the prompt does not show in the bytes: images, audio, embeddings, own templates.
    pub(super) opaque: bool,
    pub(super) places: Places,
}

/// Where edits go.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Behind the opening brace of the whole.
    pub(super) open: usize,
    /// Whether the object has no members.
    pub(super) empty: bool,
    pub(super) model: Option<Range<usize>>,
    pub(super) max_tokens: Option<Range<usize>>,
    pub(super) max_completion_tokens: Option<Range<usize>>,
    pub(super) stream_options: Option<Options>,
}

/// Where `stream_options` stands, and its members.
#[derive(Clone, Debug)]
pub(super) enum Options {
    /// `null`.
    Null(Range<usize>),
    Object {
        open: usize,
        empty: bool,
        include: Option<Range<usize>>,
        continuous: Option<Range<usize>>,
    },
}

/// Reads a whole body.
pub(super) fn parse(route: Route, body: &[u8], max_n: u64) -> Read<Request> {
    let mut reader = Reader::new(body)?;
    if reader.kind()? != Kind::Object {
        return Err(Fault::new("the body is not a JSON object"));
    }
    let mut fields = Fields::new(route, reader.position() + 1);
    let mut names = Names::default();
    reader.object(|reader, name| {
        fields.member(reader, &name)?;
        names.add(name)
    })?;
    reader.end()?;
    names.check()?;
    fields.finish(max_n)
}

struct Fields {
    route: Route,
    request: Request,
    n: Option<u64>,
    best_of: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    /// Prompts given as embeddings.
    embeds: u64,
    has_options: bool,
    has_messages: bool,
    has_prompt: bool,
}

impl Fields {
    fn new(route: Route, open: usize) -> Self {
        let mut request = Request::default();
        request.places.open = open;
        request.places.empty = true;
        Self {
            route,
            request,
            n: None,
            best_of: None,
            max_tokens: None,
            max_completion_tokens: None,
            embeds: 0,
            has_options: false,
            has_messages: false,
            has_prompt: false,
        }
    }

    fn member(&mut self, reader: &mut Reader<'_>, name: &str) -> Read<()> {
        self.request.places.empty = false;
        match name {
            "model" => {
                reader.kind()?;
                let start = reader.position();
                self.request.model = string(reader, "model")?.map(Cow::into_owned);
                self.request.places.model = Some(start..reader.position());
            }
            "stream" => self.request.stream = boolean(reader, "stream")?,
            "stream_options" => self.stream_options(reader)?,
            "n" => self.n = integer(reader, "n")?.0,
            "best_of" => self.best_of = integer(reader, "best_of")?.0,
            "min_tokens" => self.request.min_tokens = integer(reader, "min_tokens")?.0.unwrap_or(0),
            "max_tokens" => {
                let (value, place) = integer(reader, "max_tokens")?;
                self.max_tokens = value;
                self.request.places.max_tokens = Some(place);
            }
            "max_completion_tokens" if self.route == Route::Chat => {
                let (value, place) = integer(reader, "max_completion_tokens")?;
                self.max_completion_tokens = value;
                self.request.places.max_completion_tokens = Some(place);
            }
            "messages" if self.route != Route::Completions => self.messages(reader)?,
            "prompt" if self.route == Route::Completions => self.prompts(reader, "prompt")?,
            "input" if self.route == Route::Embeddings => self.prompts(reader, "input")?,
            // A template of the client's own can write any prompt.
            "chat_template" => self.request.opaque |= reader.skip()? != Kind::Null,
            "prompt_embeds" => self.prompt_embeds(reader)?,
            "encoding_format" if self.route == Route::Embeddings => {
                if string(reader, "encoding_format")?.as_deref() == Some("bytes_only") {
                    let why =
                        "encoding_format bytes_only reports no usage; use float, base64 or bytes";
                    return Err(Fault::of("encoding_format", why));
                }
            }
            _ => drop(reader.skip()?),
        }
        Ok(())
    }

    fn stream_options(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        const NAME: &str = "stream_options";
        let kind = reader.kind()?;
        let start = reader.position();
        if kind == Kind::Null {
            reader.skip()?;
            self.request.places.stream_options = Some(Options::Null(start..reader.position()));
            return Ok(());
        }
        if kind != Kind::Object {
            return Err(Fault::of(NAME, "stream_options must be an object"));
        }
        self.has_options = true;
        let (mut empty, mut include, mut continuous) = (true, None, None);
        let mut names = Names::default();
        let usage = &mut self.request.usage;
        reader.object(|reader, name| {
            empty = false;
            reader.kind()?;
            let start = reader.position();
            match &*name {
                "include_usage" => {
                    usage.include = boolean(reader, NAME)?;
                    include = Some(start..reader.position());
                }
                "continuous_usage_stats" => {
                    usage.continuous = boolean(reader, NAME)?;
                    continuous = Some(start..reader.position());
                }
                _ => drop(reader.skip()?),
            }
            names.add(name)
        })?;
        names.check()?;
        self.request.places.stream_options = Some(Options::Object {
            open: start + 1,
            empty,
            include,
            continuous,
        });
        Ok(())
    }

    fn messages(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        const NAME: &str = "messages";
        if reader.kind()? != Kind::Array {
            return Err(Fault::of(NAME, "messages must be an array"));
        }
        let mut opaque = false;
        let mut any = false;
        reader.array(|reader| {
            any = true;
            if reader.kind()? != Kind::Object {
                return Err(Fault::of(NAME, "each message must be an object"));
            }
            reader.object(|reader, name| {
                match &*name {
                    "content" => match reader.kind()? {
                        Kind::Array => reader.array(|reader| part(reader, &mut opaque))?,
                        Kind::String | Kind::Null => drop(reader.skip()?),
                        _ => return Err(Fault::of(NAME, "content must be a string or an array")),
                    },
                    "audio" => opaque |= reader.skip()? != Kind::Null,
                    _ => drop(reader.skip()?),
                }
                Ok(())
            })
        })?;
        if !any {
            return Err(Fault::of(NAME, "messages must not be empty"));
        }
        self.request.opaque |= opaque;
        self.has_messages = true;
        Ok(())
    }

    /// Reads a string, a list of strings, a list of token ids, or a list of such lists.
    fn prompts(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Read<()> {
        let mixed = || {
            Fault::of(
                name,
                format!(
                    "{name} must be a string, or an array of strings, of token ids or of arrays of token ids"
                ),
            )
        };
        self.request.prompts = 1;
        self.has_prompt = true;
        match reader.kind()? {
            Kind::Null => {
                self.has_prompt = false;
                self.request.prompts = 0;
                return reader.skip().map(drop);
            }
            Kind::String => return reader.skip().map(drop),
            Kind::Array => {}
            _ => return Err(mixed()),
        }
        let mut of = None;
        let (mut items, mut ids) = (0_u64, 0_u64);
        reader.array(|reader| {
            let kind = reader.kind()?;
            items += 1;
            if *of.get_or_insert(kind) != kind {
                return Err(mixed());
            }
            match kind {
                Kind::String => drop(reader.skip()?),
                Kind::Number => {
                    token_id(reader).ok_or_else(mixed)?;
                    ids += 1;
                }
                Kind::Array => reader.array(|reader| {
                    ids += 1;
                    if reader.kind()? == Kind::Number {
                        token_id(reader).ok_or_else(mixed)
                    } else {
                        Err(mixed())
                    }
                })?,
                _ => return Err(mixed()),
            }
            Ok(())
        })?;
        match of {
            None => return Err(Fault::of(name, format!("{name} must not be empty"))),
            Some(Kind::Number) => self.request.token_ids = Some(ids),
            Some(Kind::Array) => {
                self.request.token_ids = Some(ids);
                self.request.prompts = items;
            }
            Some(_) => self.request.prompts = items,
        }
        if self.request.prompts > PROMPTS {
            return Err(Fault::of(
                name,
                format!("{name} has more than {PROMPTS} entries"),
            ));
        }
        Ok(())
    }

    /// Reads prompts that do not show in the bytes: one, or a list of them, beside those in `prompt`.
    fn prompt_embeds(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        match reader.kind()? {
            Kind::Null => return reader.skip().map(drop),
            Kind::Array => reader.array(|reader| {
                self.embeds += 1;
                reader.skip().map(drop)
            })?,
            _ => {
                self.embeds += 1;
                reader.skip()?;
            }
        }
        self.request.opaque = true;
        if self.embeds > PROMPTS {
            let why = format!("prompt_embeds has more than {PROMPTS} entries");
            return Err(Fault::of("prompt_embeds", why));
        }
        Ok(())
    }

    fn finish(mut self, max_n: u64) -> Read<Request> {
        let request = &mut self.request;
        match self.route {
            Route::Chat if !self.has_messages => {
                return Err(Fault::of("messages", "messages is missing"));
            }
            Route::Completions if !self.has_prompt && !request.opaque => {
                return Err(Fault::of("prompt", "prompt is missing"));
            }
            Route::Embeddings if !self.has_prompt && !self.has_messages => {
                return Err(Fault::of("input", "input is missing"));
            }
            Route::Completions => request.prompts += self.embeds,
            _ => {}
        }
        request.prompts = request.prompts.max(1);
        for (name, value) in [("n", self.n), ("best_of", self.best_of)] {
            if value == Some(0) {
                return Err(Fault::of(name, format!("{name} must be at least 1")));
            }
            if value.is_some_and(|value| value > max_n) {
                return Err(Fault::of(name, format!("{name} must be at most {max_n}")));
            }
        }
        request.n = self.n.unwrap_or(1);
        request.best_of = self.best_of.unwrap_or(1).max(request.n);
        if self.has_options && !request.stream {
            return Err(Fault::of(
                "stream_options",
                "stream_options is only allowed when stream is true",
            ));
        }
        let (name, asked) = match self.max_completion_tokens {
            Some(asked) => ("max_completion_tokens", Some(asked)),
            None => ("max_tokens", self.max_tokens),
        };
        if asked == Some(0) && self.route == Route::Chat {
            return Err(Fault::of(name, format!("{name} must be at least 1")));
        }
        if asked.is_some_and(|asked| request.min_tokens > asked) {
            return Err(Fault::of(
                "min_tokens",
                format!("min_tokens must not be larger than {name}"),
            ));
        }
        request.asked = asked;
        Ok(self.request)
    }
}

/// Moves over a content part; anything but plain text makes the prompt opaque.
fn part(reader: &mut Reader<'_>, opaque: &mut bool) -> Read<()> {
    if reader.kind()? != Kind::Object {
        return reader.skip().map(drop);
    }
    reader.object(|reader, name| {
        match &*name {
            "type" => {
                let kind = string(reader, "messages")?;
                *opaque |= !matches!(
                    kind.as_deref(),
                    Some("text" | "input_text" | "output_text" | "refusal" | "thinking")
                );
            }
            "text" | "refusal" | "thinking" | "cache_control" => drop(reader.skip()?),
            _ => *opaque |= reader.skip()? != Kind::Null,
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(rest: &str) -> Read<Request> {
        let body =
            format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#);
        parse(Route::Chat, body.as_bytes(), 16)
    }

    fn refusal(rest: &str) -> Option<&'static str> {
        chat(rest).expect_err(rest).param
    }

    #[test]
    fn names_are_unique_after_decoding() {
        assert!(
            chat(r#","max_tokens":1,"max\u005ftokens":9999"#).is_err(),
            "an escape hides nothing"
        );
        assert!(chat(r#","x":1,"x":1"#).is_err(), "unknown members too");
        assert!(
            chat(r#","stream":true,"stream_options":{"include_usage":true,"include_usage":false}"#)
                .is_err()
        );
    }

    #[test]
    fn types_are_not_stretched() {
        for (rest, param) in [
            (r#","stream":"true""#, "stream"),
            (r#","stream":1"#, "stream"),
            (r#","max_tokens":"3""#, "max_tokens"),
            (r#","max_tokens":3.0"#, "max_tokens"),
            (r#","max_tokens":-1"#, "max_tokens"),
            (r#","max_tokens":0"#, "max_tokens"),
            (
                r#","max_completion_tokens":9007199254740992"#,
                "max_completion_tokens",
            ),
            (r#","n":0"#, "n"),
            (r#","n":17"#, "n"),
            (r#","best_of":17"#, "best_of"),
            (r#","max_tokens":3,"min_tokens":4"#, "min_tokens"),
            (r#","stream_options":{}"#, "stream_options"),
            (r#","stream":true,"stream_options":[]"#, "stream_options"),
            (
                r#","stream":true,"stream_options":{"include_usage":"true"}"#,
                "stream_options",
            ),
        ] {
            assert_eq!(refusal(rest), Some(param), "{rest}");
        }
    }

    #[test]
    fn null_is_the_same_as_nothing() {
        let request = chat(r#","stream":null,"stream_options":null,"max_tokens":null,"n":null"#)
            .expect("valid");
        assert!(!request.stream);
        assert_eq!((request.asked, request.n), (None, 1));
    }

    #[test]
    fn max_completion_tokens_wins_on_chat_and_is_unknown_to_completions() {
        assert_eq!(
            chat(r#","max_tokens":9,"max_completion_tokens":5"#)
                .expect("valid")
                .asked,
            Some(5)
        );
        let body = br#"{"model":"m","prompt":"a","max_tokens":9,"max_completion_tokens":5}"#;
        assert_eq!(
            parse(Route::Completions, body, 16).expect("valid").asked,
            Some(9)
        );
    }

    #[test]
    fn prompts_are_counted_in_all_their_forms() {
        let prompts = |prompt: &str| {
            let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
            parse(Route::Completions, body.as_bytes(), 16).map(|r| (r.prompts, r.token_ids))
        };
        assert_eq!(prompts(r#""a""#), Ok((1, None)));
        assert_eq!(prompts(r#"["a","b"]"#), Ok((2, None)));
        assert_eq!(prompts("[1,2,3]"), Ok((1, Some(3))));
        assert_eq!(prompts("[[1,2],[3]]"), Ok((2, Some(3))));
        for bad in [
            "[]",
            "[1,\"a\"]",
            "[[1],2]",
            "[-1]",
            "[1.5]",
            "{}",
            "7",
            "null",
            "[[\"a\"]]",
        ] {
            assert!(prompts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_plain_text_shows_in_the_bytes() {
        let opaque = |content: &str| {
            let body =
                format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
            parse(Route::Chat, body.as_bytes(), 16)
                .expect("valid")
                .opaque
        };
        assert!(!opaque(r#""image_url""#));
        assert!(!opaque(r#"[{"type":"text","text":"a"},"b"]"#));
        assert!(opaque(r#"[{"type":"image_url","image_url":{"url":"x"}}]"#));
        assert!(
            opaque(r#"[{"ty\u0070e":"image\u005furl"}]"#),
            "an escape hides nothing"
        );
        assert!(
            opaque(r#"[{"image_url":{"url":"x"}}]"#),
            "the type may be left out"
        );
        assert!(
            opaque(r#"[{"type":"something_new"}]"#),
            "what is not known is not plain text"
        );
        assert!(chat(r#","chat_template":"{{ x }}""#).expect("valid").opaque);
        assert!(!opaque("null"), "as of a call of tools");
        for bad in [
            "5",
            "true",
            r#"{"type":"image_url","image_url":{"url":"x"}}"#,
        ] {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{bad}}}]}}"#);
            assert!(parse(Route::Chat, body.as_bytes(), 16).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_many_members_are_refused() {
        let many: String = (0..1025).map(|i| format!(r#","m{i}":0"#)).collect();
        assert!(chat(&many).is_err());
    }
}
