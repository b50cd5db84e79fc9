use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request carries in the headers that credentials stand in. Nothing is checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    Nothing,
    One(&'a [u8]),
    /// Several that differ. No server takes them.
    Several,
}

impl<'a> Presented<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let bearers = headers.get_all(AUTHORIZATION).iter();
        let bearers = bearers.map(|value| after_scheme(value.as_bytes()));
        let keys = headers.get_all(X_API_KEY).iter();
        let mut all = bearers.chain(keys.map(|value| value.as_bytes()));
        match all.next() {
            None => Self::Nothing,
            Some(first) if all.all(|other| other == first) => Self::One(first),
            Some(_) => Self::Several,
        }
    }
}

/// Takes off the scheme, so that a credential is the same in whichever header it stands.
fn after_scheme(value: &[u8]) -> &[u8] {
    match value.iter().position(|byte| *byte == b' ') {
        Some(blank) => value[blank..].trim_ascii_start(),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_the_same_in_whichever_header_it_stands() {
        for (name, value) in [
            ("authorization", "Bearer abc"),
            ("authorization", "bearer   abc"),
            ("x-api-key", "abc"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            assert_eq!(Presented::of(&headers), Presented::One(b"abc"), "{value}");
        }
        let mut both = HeaderMap::new();
        assert_eq!(Presented::of(&both), Presented::Nothing);
        both.insert("authorization", "Bearer abc".parse().expect("a value"));
        both.insert("x-api-key", "abc".parse().expect("a value"));
        assert_eq!(Presented::of(&both), Presented::One(b"abc"));
        both.append("x-api-key", "abd".parse().expect("a value"));
        assert_eq!(Presented::of(&both), Presented::Several);
    }
}
