use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use llm_gate::tokens::Tokens;
use serde_json::Value;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use uuid::Uuid;

use crate::accounts;
use crate::config::Secret;
use crate::export;

/// What the values of a field look like, for people and for the reader.
pub(crate) trait Kind {
    /// What is made of them.
    type Value;

    /// Describes them; of several values only that they are several.
    fn schema(&self) -> ObjectBuilder;

    /// Describes each of several values, and says how many there are.
    fn entries(&self) -> Option<Entries> {
        None
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// Says what it must be.
    fn read(&self, given: Given<'_>) -> Result<Self::Value, Cow<'static, str>>;
}

/// What each of several values looks like, and how many there are at least and at most.
#[derive(Clone)]
pub(crate) struct Entries {
    pub(in crate::api) schema: Object,
    pub(in crate::api) count: (usize, usize),
}

/// A value as it came, which is not null.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(in crate::api) value: &'a Value,
    /// In a form and in a query everything is text.
    pub(in crate::api) textual: bool,
}

/// Any text.
pub(crate) const TEXT: Text<String> = Text::new(|text| Ok(text.to_owned()));
/// A text that is never printed.
pub(crate) const SECRET: Text<Secret> =
    Text::new(|text| Ok(Secret::from(text))).format(KnownFormat::Password);
/// Yes or no.
pub(crate) const FLAG: Flag = Flag;
/// An amount of whatever is limited.
pub(crate) const TOKENS: Whole<Tokens> =
    Whole::new(0, Tokens::MAX.get(), |number| Some(Tokens::new(number)));
/// The name of a model, served or not.
pub(crate) const MODEL: Text<String> =
    Text::new(|text| accounts::model_name(text).map_err(Into::into)).sized(1, 256);
/// A moment.
pub(crate) const MOMENT: Text<Timestamp> = Text::new(|text| {
    let moment = text.parse();
    moment.map_err(|_| Cow::Borrowed("must be a time such as 2026-12-31T23:59:59Z"))
})
.format(KnownFormat::DateTime);
/// A day.
pub(crate) const DAY: Text<Date> =
    Text::new(|text| export::day(text).map_err(Into::into)).format(KnownFormat::Date);
/// The identifier of something.
pub(crate) const ID: Text<Uuid> = Text::new(|text| {
    let id = text.parse().ok().filter(|id: &Uuid| !id.is_nil());
    id.ok_or(Cow::Borrowed("must be an identifier"))
})
.format(KnownFormat::Uuid);
/// A text of which something is made.
pub(crate) struct Text<T> {
    read: fn(&str) -> Result<T, Cow<'static, str>>,
    format: Option<KnownFormat>,
    size: Option<(usize, usize)>,
    pattern: Option<&'static str>,
}

impl<T> Text<T> {
    /// Makes it with `read`.
    pub(crate) const fn new(read: fn(&str) -> Result<T, Cow<'static, str>>) -> Self {
        Self {
            read,
            format: None,
            size: None,
            pattern: None,
        }
    }

    /// Says how such a text is called.
    pub(crate) const fn format(mut self, format: KnownFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Says how many characters it has. `read` has the last word: it may count bytes.
    pub(crate) const fn sized(mut self, least: usize, most: usize) -> Self {
        self.size = Some((least, most));
        self
    }

    /// Says what it looks like, as a regular expression. `read` has the last word.
    pub(crate) const fn pattern(mut self, pattern: &'static str) -> Self {
        self.pattern = Some(pattern);
        self
    }
}

/// A whole number within bounds.
pub(crate) struct Whole<T> {
    least: u64,
    most: u64,
    make: fn(u64) -> Option<T>,
}

impl<T> Whole<T> {
    /// Takes numbers from `least` to `most`, both included.
    pub(crate) const fn new(least: u64, most: u64, make: fn(u64) -> Option<T>) -> Self {
        Self { least, most, make }
    }
}

/// Several values of one kind.
pub(crate) struct List<'a, K> {
    kind: &'a K,
    least: usize,
    most: usize,
}

impl<'a, K> List<'a, K> {
    /// Takes from `least` to `most` of `kind`.
    pub(crate) const fn new(kind: &'a K, least: usize, most: usize) -> Self {
        Self { kind, least, most }
    }
}

/// Yes or no.
pub(crate) struct Flag;

/// One of a few words.
pub(crate) struct Word<T> {
    words: fn() -> Vec<&'static str>,
    read: fn(&str) -> Option<T>,
}

impl<T> Word<T> {
    /// Takes these words, which `read` has to know.
    pub(crate) const fn new(words: fn() -> Vec<&'static str>, read: fn(&str) -> Option<T>) -> Self {
        Self { words, read }
    }
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(self.format.clone().map(SchemaFormat::KnownFormat))
            .min_length(self.size.map(|(least, _)| least))
            .max_length(self.size.map(|(_, most)| most))
            .pattern(self.pattern)
    }

    fn read(&self, given: Given<'_>) -> Result<T, Cow<'static, str>> {
        (self.read)(text(given)?)
    }
}

impl<T> Kind for Whole<T> {
    type Value = T;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(self.least))
            .maximum(Some(self.most))
    }

    fn read(&self, given: Given<'_>) -> Result<T, Cow<'static, str>> {
        let number = match given.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if given.textual => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (self.least..=self.most).contains(number));
        number.and_then(self.make).ok_or_else(|| {
            let (least, most) = (self.least, self.most);
            Cow::Owned(format!("must be a whole number from {least} to {most}"))
        })
    }
}

impl<K: Kind> Kind for List<'_, K> {
    type Value = Vec<K::Value>;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::Array)
    }

    fn entries(&self) -> Option<Entries> {
        Some(Entries {
            schema: self.kind.schema().build(),
            count: (self.least, self.most),
        })
    }

    fn read(&self, given: Given<'_>) -> Result<Self::Value, Cow<'static, str>> {
        let Value::Array(values) = given.value else {
            return Err(Cow::Borrowed("must be a list"));
        };
        if !(self.least..=self.most).contains(&values.len()) {
            let (least, most) = (self.least, self.most);
            return Err(Cow::Owned(format!("must have {least} to {most} entries")));
        }
        let read = |value| {
            self.kind.read(Given {
                value,
                textual: given.textual,
            })
        };
        values.iter().map(read).collect()
    }
}

impl Kind for Flag {
    type Value = bool;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::Boolean)
    }

    fn read(&self, given: Given<'_>) -> Result<bool, Cow<'static, str>> {
        match given.value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if given.textual && text == "true" => Ok(true),
            Value::String(text) if given.textual && text == "false" => Ok(false),
            _ => Err(Cow::Borrowed("must be true or false")),
        }
    }
}

impl<T> Kind for Word<T> {
    type Value = T;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some((self.words)()))
    }

    fn read(&self, given: Given<'_>) -> Result<T, Cow<'static, str>> {
        (self.read)(text(given)?).ok_or_else(|| match &*(self.words)() {
            [] => Cow::Borrowed("has no value that is known"),
            [one] => Cow::Owned(format!("must be {one}")),
            [first @ .., last] => Cow::Owned(format!("must be {} or {last}", first.join(", "))),
        })
    }
}

fn text(given: Given<'_>) -> Result<&str, Cow<'static, str>> {
    match given.value {
        Value::String(text) => Ok(text),
        _ => Err(Cow::Borrowed("must be a string")),
    }
}
