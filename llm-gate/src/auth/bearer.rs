//! Finds the one credential of a request.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::AuthError;

/// The longest credential that is looked at.
pub(in crate::auth) const MAX_LEN: usize = 8 * 1024;

/// The header of clients that send a bare key.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Returns the credential of `Authorization: Bearer` (RFC 6750) or `X-API-Key`.
///
/// Both may be there if they say the same; a header that is there twice conflicts with itself, because
/// two readers may pick different ones.
pub(super) fn credential(headers: &HeaderMap) -> Result<&str, AuthError> {
    let authorization = only(headers, &AUTHORIZATION)?.map(bearer).transpose()?;
    let key = only(headers, &X_API_KEY)?.map(text).transpose()?;
    match (authorization, key) {
        (None, None) => Err(AuthError::Missing),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(one), Some(other)) if one == other => Ok(one),
        (Some(_), Some(_)) => Err(AuthError::Conflicting),
    }
}

/// Marks the credentials so that they are left out where headers are printed, and kept out of the
/// compression tables of HTTP/2.
pub(super) fn conceal(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, X_API_KEY] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(AuthError::Conflicting),
    }
}

/// Takes off the scheme, which is written in any case (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Result<&str, AuthError> {
    let bytes = value.as_bytes();
    match bytes.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            plain(rest.trim_ascii_start())
        }
        _ => Err(AuthError::Malformed),
    }
}

fn text(value: &HeaderValue) -> Result<&str, AuthError> {
    plain(value.as_bytes())
}

/// Lets pass what is not empty, not oversized and visible ASCII without blanks.
fn plain(bytes: &[u8]) -> Result<&str, AuthError> {
    if bytes.is_empty() || bytes.len() > MAX_LEN {
        return Err(AuthError::Malformed);
    }
    // Without an early end the loop is vectorised: a good credential is read to its end anyway.
    let graphic = |all, byte: &u8| all & byte.is_ascii_graphic();
    if !bytes.iter().fold(true, graphic) {
        return Err(AuthError::Malformed);
    }
    str::from_utf8(bytes).map_err(|_| AuthError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a [u8])];

    fn headers(pairs: Pairs<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value).expect("a value"),
            );
        }
        headers
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for value in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc"] {
            let headers = headers(&[("authorization", value.as_bytes())]);
            assert_eq!(credential(&headers).expect(value), "abc");
        }
    }

    #[test]
    fn equal_credentials_in_both_headers_are_one() {
        let same = headers(&[("authorization", b"Bearer abc"), ("x-api-key", b"abc")]);
        assert_eq!(credential(&same).expect("the same"), "abc");
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        let long = [b"Bearer ".as_slice(), &[b'a'; MAX_LEN + 1]].concat();
        let table: [(Pairs<'_>, &str); 13] = [
            (&[], "missing"),
            (
                &[("authorization", b"Bearer a"), ("x-api-key", b"b")],
                "conflicting",
            ),
            (
                &[
                    ("authorization", b"Bearer a"),
                    ("authorization", b"Bearer a"),
                ],
                "conflicting",
            ),
            (&[("x-api-key", b"a"), ("x-api-key", b"a")], "conflicting"),
            (
                &[("authorization", b"Basic YTpi"), ("x-api-key", b"a")],
                "malformed",
            ),
            (&[("authorization", b"")], "malformed"),
            (&[("authorization", b"Bearer")], "malformed"),
            (&[("authorization", b"Bearer ")], "malformed"),
            (&[("authorization", b"Bearer a b")], "malformed"),
            (&[("authorization", b"Bearer a, Bearer b")], "malformed"),
            (&[("authorization", b"Bearer \xc3\xa9")], "malformed"),
            (&[("x-api-key", b"")], "malformed"),
            (&[("authorization", &long)], "malformed"),
        ];
        for (pairs, reason) in table {
            let error = credential(&headers(pairs)).expect_err("refused");
            assert_eq!(error.reason(), reason, "{pairs:?}");
        }
    }

    #[test]
    fn concealed_credentials_are_not_printed() {
        let mut headers = headers(&[("authorization", b"Bearer abc"), ("x-api-key", b"abc")]);
        conceal(&mut headers);
        assert!(!format!("{headers:?}").contains("abc"));
    }
}
