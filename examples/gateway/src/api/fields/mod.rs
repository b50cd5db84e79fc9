//! What requests may say, declared once: the handlers read it from here and the document describes it from
//! here, so that they cannot differ.
//!
//! A request is an [`Input`]; it names its fields, each with a [`Kind`]. Everything that is wrong with a
//! request is answered at once.

mod declared;
mod draft;
mod extract;
mod kind;
mod page;

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value};

pub(super) use self::declared::{Declared, schema_of};
pub(crate) use self::draft::{Draft, Refusals};
pub(super) use self::extract::{Form, Json, JsonDraft, JsonOrQuery, MAX_BODY, Path, Query, whole};
pub(super) use self::kind::{
    DAY, FLAG, Given, ID, Kind, List, MODEL, MOMENT, SECRET, TEXT, TOKENS, Text, Whole, Word,
};
pub(super) use self::page::Page;
use super::error::ApiError;

/// What a request may say.
pub(crate) trait Input: Sized {
    /// Its name in the document.
    const NAME: &'static str;

    /// Whether others may say more than what is asked for, because the protocol lets them.
    const OPEN: bool = false;

    /// Takes each field, once and whatever the others say: the document is made by a call that finds none.
    /// What is missing or wrong is noted in `fields`; the result counts only if nothing was.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// A good one, for the document.
    fn example() -> Value;
}

/// The fields of a request while they are read, or while they are described.
#[derive(Debug)]
pub(crate) struct Fields {
    refusals: Refusals,
    values: Map<String, Value>,
    declared: Option<Vec<Declared>>,
}

/// Where fields stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a JSON body.
    Json,
    /// In a form, where everything is text.
    Form,
    /// In the query, where everything is text.
    Query,
}

impl Fields {
    fn new(place: Place, values: Map<String, Value>) -> Self {
        Self {
            refusals: Refusals {
                place,
                errors: Vec::new(),
            },
            values,
            declared: None,
        }
    }

    fn of_json(bytes: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(values)) => Ok(Self::new(Place::Json, values)),
            Ok(_) => {
                let mut fields = Self::new(Place::Json, Map::new());
                fields.refuse("", "must be an object");
                Err(ApiError::Fields(fields.refusals.errors))
            }
            Err(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "the body is not JSON",
            )),
        }
    }

    /// Puts together the fields of a form or a query.
    fn of_pairs(place: Place, pairs: Vec<(String, String)>) -> Self {
        let mut fields = Self::new(place, Map::new());
        for (name, value) in pairs {
            match fields.values.get_mut(&name) {
                Some(Value::Array(values)) => values.push(value.into()),
                // Whoever reads it says whether it may be.
                Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
                None => drop(fields.values.insert(name, value.into())),
            }
        }
        fields
    }

    /// Takes what stands under a name. In a form and in a query one value stands there, once.
    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name)?;
        match value {
            Value::Array(mut values) if self.refusals.place != Place::Json => {
                self.refuse(name, "is there twice");
                values.pop()
            }
            value => Some(value),
        }
    }

    /// Lists what `T` reads.
    pub(super) fn declared<T: Input>() -> Vec<Declared> {
        let mut fields = Self {
            declared: Some(Vec::new()),
            ..Self::new(Place::Json, Map::new())
        };
        // There is nothing to read; only what was asked for counts.
        let _ = T::read(&mut fields);
        fields.declared.unwrap_or_default()
    }

    /// Takes a field that may be missing. Null is the same as nothing.
    pub(super) fn optional<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
    ) -> Option<K::Value> {
        self.declare(name, about, kind, |declared| declared.nullable = true);
        let value = self.take(name)?;
        if value.is_null() {
            return None;
        }
        self.convert(name, kind, &value)
    }

    /// Takes a field that has a value if it is missing.
    pub(super) fn or<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
        default: K::Value,
    ) -> K::Value
    where
        K::Value: Clone + Into<Value>,
    {
        let shown = default.clone();
        self.declare(name, about, kind, |declared| {
            declared.nullable = true;
            declared.default = Some(shown.into());
        });
        match self.take(name) {
            None | Some(Value::Null) => default,
            Some(value) => self.convert(name, kind, &value).unwrap_or(default),
        }
    }

    /// Takes a field that has to be there.
    pub(super) fn required<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
    ) -> Option<K::Value> {
        self.declare(name, about, kind, |declared| declared.required = true);
        match self.take(name) {
            None | Some(Value::Null) => {
                self.refuse(name, "is required");
                None
            }
            Some(value) => self.convert(name, kind, &value),
        }
    }

    /// Takes a field that has to be there, where null says something: `Some(None)`.
    pub(super) fn nullable<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
    ) -> Option<Option<K::Value>> {
        self.declare(name, about, kind, |declared| {
            declared.required = true;
            declared.nullable = true;
        });
        match self.take(name) {
            None => {
                self.refuse(name, "is required");
                None
            }
            Some(Value::Null) => Some(None),
            Some(value) => self.convert(name, kind, &value).map(Some),
        }
    }

    /// Takes a field that changes something: missing, it changes nothing; null takes away what is there.
    pub(super) fn changed<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
    ) -> Option<Option<K::Value>> {
        self.declare(name, about, kind, |declared| declared.nullable = true);
        match self.take(name)? {
            Value::Null => Some(None),
            value => self.convert(name, kind, &value).map(Some),
        }
    }

    /// Takes a field of a query that may be there several times, under its name or under that and `[]`, as the OpenAI
    /// packages write it. There are none where it is missing.
    pub(super) fn several<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &List<'_, K>,
    ) -> Vec<K::Value> {
        self.declare(name, about, kind, |_| ());
        let mut values = Vec::new();
        for name in [name, &format!("{name}[]")] {
            match self.values.remove(name) {
                Some(Value::Array(several)) => values.extend(several),
                Some(one) => values.push(one),
                None => {}
            }
        }
        if values.is_empty() {
            return Vec::new();
        }
        let values = self.convert(name, kind, &Value::Array(values));
        values.unwrap_or_default()
    }

    /// Takes fields that clients of a protocol send and that make no difference.
    pub(super) fn ignored(&mut self, names: &[&'static str]) {
        for name in names {
            self.optional(name, "Taken and not looked at", &TEXT);
        }
    }

    /// Notes what is wrong with a field.
    pub(super) fn refuse(&mut self, name: &str, message: impl Into<Cow<'static, str>>) {
        // Where nothing is read, nothing is wrong either.
        if self.declared.is_none() {
            self.refusals.refuse(name, message);
        }
    }

    /// Tells whether something is wrong with a field so far.
    pub(super) fn refused(&self, name: &str) -> bool {
        self.refusals.refused(name)
    }

    /// Tells whether anything is wrong so far.
    pub(super) fn any_refused(&self) -> bool {
        !self.refusals.errors.is_empty()
    }

    fn declare<K: Kind>(
        &mut self,
        name: &'static str,
        about: &'static str,
        kind: &K,
        more: impl FnOnce(&mut Declared),
    ) {
        if let Some(all) = &mut self.declared {
            let mut declared = Declared {
                name,
                about,
                required: false,
                nullable: false,
                default: None,
                schema: kind.schema().build(),
                entries: kind.entries(),
            };
            more(&mut declared);
            all.push(declared);
        }
    }

    fn convert<K: Kind>(&mut self, name: &str, kind: &K, value: &Value) -> Option<K::Value> {
        let given = Given {
            value,
            textual: self.refusals.place != Place::Json,
        };
        kind.read(given)
            .map_err(|reason| self.refuse(name, reason))
            .ok()
    }

    fn draft<T: Input>(mut self) -> Draft<T> {
        let value = T::read(&mut self);
        let unknown = std::mem::take(&mut self.values);
        for name in unknown.keys().filter(|_| !T::OPEN) {
            self.refuse(name, "is not a field of this request");
        }
        Draft {
            value,
            refusals: self.refusals,
        }
    }

    /// Reads the whole of `T`, and refuses all that is wrong and all that nobody asked for in one answer.
    fn finish<T: Input>(self) -> Result<T, ApiError> {
        self.draft().finish()
    }
}

impl Place {
    const fn word(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Json | Self::Form => "body",
            Self::Query => "query",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Sample {
        email: Option<String>,
        most: u32,
    }

    impl Input for Sample {
        const NAME: &'static str = "Sample";

        fn read(fields: &mut Fields) -> Option<Self> {
            let email = fields.optional("email", "An address", &TEXT);
            let password = fields.required("password", "A password", &SECRET);
            fields.or("shown", "Whether", &FLAG, false);
            let most = fields.or(
                "most",
                "How many",
                &Whole::new(1, 100, |n| n.try_into().ok()),
                50,
            );
            let limit = fields.nullable("token_limit", "How much", &TOKENS);
            let (_, _) = (password?, limit?);
            Some(Self { email, most })
        }

        fn example() -> Value {
            serde_json::json!({ "password": "correct horse battery", "token_limit": null })
        }
    }

    fn messages<T: std::fmt::Debug>(result: Result<T, ApiError>) -> Vec<String> {
        match result {
            Err(ApiError::Fields(errors)) => errors
                .into_iter()
                .map(|error| format!("{} {}", error.loc[1], error.msg))
                .collect(),
            other => panic!("not refused field by field: {other:?}"),
        }
    }

    fn read(json: &str) -> Result<Sample, ApiError> {
        Fields::of_json(json.as_bytes())?.finish()
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let said = messages(read(
            r#"{"email": 5, "shown": "yes", "limit": 9, "most": 0}"#,
        ));
        assert_eq!(
            said,
            [
                "email must be a string",
                "password is required",
                "shown must be true or false",
                "most must be a whole number from 1 to 100",
                "token_limit is required",
                "limit is not a field of this request",
            ]
        );
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let sample = read(r#"{"password": "x", "token_limit": null}"#).expect("good");
        assert_eq!((sample.email, sample.most), (None, 50));
    }

    #[test]
    fn malformed_is_not_invalid() {
        assert!(matches!(read("{"), Err(ApiError::Rejected(_))));
        assert!(matches!(read("[]"), Err(ApiError::Fields(_))));
    }

    #[test]
    fn limits_are_whole_and_bounded() {
        for bad in ["-1", "1.5", "9007199254740992", "\"5\"", "true"] {
            let body = format!(r#"{{"password": "x", "token_limit": {bad}}}"#);
            assert_eq!(messages(read(&body)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let pairs = [
            ("email", "a"),
            ("email", "b"),
            ("password", "c"),
            ("token_limit", "5"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = Fields::of_pairs(Place::Form, pairs.to_vec()).finish::<Sample>();
        assert_eq!(messages(read), ["email is there twice"]);
    }

    #[test]
    fn a_field_that_may_be_there_several_times_has_two_spellings() {
        struct Ids(Vec<String>);

        impl Input for Ids {
            const NAME: &'static str = "Ids";

            fn read(fields: &mut Fields) -> Option<Self> {
                Some(Self(fields.several("ids", "Some", &List::new(&TEXT, 1, 3))))
            }

            fn example() -> Value {
                Value::Null
            }
        }
        let read = |names: &[&str]| {
            let pairs = names.iter().zip(["a", "b", "c", "d"]);
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), value.to_owned()));
            Fields::of_pairs(Place::Query, pairs.collect())
                .finish::<Ids>()
                .map(|ids| ids.0)
        };
        assert_eq!(read(&[]).expect("good"), [""; 0]);
        assert_eq!(read(&["ids"]).expect("good"), ["a"]);
        assert_eq!(read(&["ids[]", "ids[]"]).expect("good"), ["a", "b"]);
        assert_eq!(
            read(&["ids", "ids", "ids[]"]).expect("good"),
            ["a", "b", "c"]
        );
        assert_eq!(
            messages(read(&["ids"; 4])),
            ["ids must have 1 to 3 entries"]
        );
    }

    #[test]
    fn the_document_says_what_is_read() {
        let schema = serde_json::to_value(schema_of::<Sample>(Place::Json)).expect("JSON");
        assert_eq!(
            schema["required"],
            serde_json::json!(["password", "token_limit"])
        );
        assert_eq!(schema["additionalProperties"], false);
        let example = schema["examples"][0].to_string();
        assert!(read(&example).is_ok(), "{example}");
        let fields = &schema["properties"];
        assert_eq!(
            fields["email"]["type"],
            serde_json::json!(["string", "null"])
        );
        assert_eq!(fields["password"]["type"], "string");
        assert_eq!(fields["most"]["default"], 50);
        assert_eq!(fields["most"]["maximum"], 100);
        let query = serde_json::to_value(schema_of::<Sample>(Place::Query)).expect("JSON");
        assert_eq!(
            query["properties"]["token_limit"]["type"], "integer",
            "no null in a query"
        );
    }
}
