//! JSON that every reader reads alike.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads one JSON object whose member names, escapes decoded, are unique.
///
/// RFC 7519 (section 4) and RFC 7515 (section 4) leave it to the reader whether the last of duplicate
/// members wins. Readers that differ can be played off against each other, so there are none here.
pub(in crate::auth) fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    // What serde passes over it does not decode, and JSON is UTF-8 all through (RFC 8259, section 8.1).
    let json = str::from_utf8(json).map_err(serde_json::Error::custom)?;
    serde_json::from_str::<Unique>(json)?;
    serde_json::from_str(json)
}

/// Refuses `null` for a member that may be left out.
pub(in crate::auth) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads an enum from its name alone: serde takes `{"name":null}` for it too.
pub(in crate::auth) fn word<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Unique, M::Error> {
        // At most some thousand names fit into a credential; ours have ten.
        let mut seen = Vec::with_capacity(16);
        while let Some(Name(name)) = map.next_key()? {
            seen.push(name);
            map.next_value::<IgnoredAny>()?;
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() != count {
            return Err(M::Error::custom("duplicate member"));
        }
        Ok(Unique)
    }
}

/// A member name, borrowed where it holds no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct One {
        exp: u64,
    }

    #[test]
    fn a_duplicate_is_found_known_or_not_and_however_it_is_written() {
        for json in [
            r#"{"exp":1,"exp":1}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
            r#"{"exp":1,"a":1,"b":2,"a":3}"#,
        ] {
            assert!(from_slice::<One>(json.as_bytes()).is_err(), "{json}");
        }
        let one: One = from_slice(br#"{"exp":1,"a":{"exp":1}}"#).expect("all different");
        assert_eq!(one.exp, 1);
    }

    #[test]
    fn all_of_it_is_utf_8_also_what_nobody_reads() {
        for json in [
            &b"{\"exp\":1,\"a\":\"\xff\"}"[..],
            b"{\"exp\":1,\"\xc3\":1}",
            b"{\"exp\":1,\"a\":{\"b\":[\"\xed\xa0\x80\"]}}",
        ] {
            assert!(from_slice::<One>(json).is_err(), "{json:?}");
        }
    }

    #[test]
    fn only_one_whole_object_is_read() {
        for json in [
            "",
            "null",
            "[]",
            "[1]",
            r#""exp""#,
            r#"{"exp":1}{}"#,
            r#"{"exp":1} x"#,
            "\u{feff}{\"exp\":1}",
        ] {
            assert!(from_slice::<One>(json.as_bytes()).is_err(), "{json}");
        }
    }
}
