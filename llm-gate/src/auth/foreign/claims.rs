use std::fmt;

use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::ForeignIssuer;
use crate::auth::jwt::{Audience, MAX_JWT_LIFETIME, moment, strict};
use crate::auth::{AuthError, JwtAlgorithm};
use crate::clock::Timestamp;

/// The longest `sub` (OpenID Connect Core, section 2).
const MAX_SUBJECT: usize = 255;

/// What tokens say they are that can be access tokens. A token of another kind proves something else
/// (RFC 8725, section 3.11).
pub(super) const ACCESS: &[&str] = &["jwt", "application/jwt", "at+jwt", "application/at+jwt"];

/// What tokens say they are that can be ID tokens: an access token proves no login.
pub(super) const ID: &[&str] = &["jwt", "application/jwt"];

/// The JOSE header of a foreign token. What nobody reads may be there, such as `x5t`, but not what changes
/// how the token is to be read, or through which it would bring its own key.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    alg: String,
    pub(super) kid: String,
    #[serde(default, deserialize_with = "strict::present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "strict::present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    cty: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    enc: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict::present")]
    x5c: Option<IgnoredAny>,
}

impl Header {
    /// Returns the algorithm, if the issuer may use it, the token is one of `kinds` or says nothing of that, and
    /// nothing else in the header is against it.
    pub(super) fn algorithm(&self, issuer: &ForeignIssuer, kinds: &[&str]) -> Option<JwtAlgorithm> {
        let kind = self
            .typ
            .as_deref()
            .is_none_or(|typ| kinds.iter().any(|kind| typ.eq_ignore_ascii_case(kind)));
        let strange = [
            &self.crit, &self.b64, &self.cty, &self.enc, &self.zip, &self.jku, &self.jwk,
            &self.x5u, &self.x5c,
        ];
        if !kind || self.kid.is_empty() || strange.iter().any(|member| member.is_some()) {
            return None;
        }
        let algorithm = self.alg.parse().ok()?;
        issuer.algorithms.contains(&algorithm).then_some(algorithm)
    }
}

/// What a token says who made it, before anything is known about that.
#[derive(Debug, Deserialize)]
pub(super) struct Claimed {
    pub(super) iss: String,
}

/// The claims of foreign tokens that are read. `iss`, `sub`, `aud` and `exp` are required.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    exp: Seconds,
    #[serde(default, deserialize_with = "strict::present")]
    iat: Option<Seconds>,
    #[serde(default, deserialize_with = "strict::present")]
    nbf: Option<Seconds>,
}

impl Claims {
    pub(super) fn check(&self, issuer: &ForeignIssuer, now: Timestamp) -> Result<(), AuthError> {
        let subject = !self.sub.is_empty() && self.sub.len() <= MAX_SUBJECT;
        let plain = !self.sub.chars().any(char::is_control);
        let meant = self.iss == issuer.issuer && self.aud.contains(&issuer.audience);
        if !subject || !plain || !meant {
            return Err(AuthError::Invalid);
        }
        let soon = now.after(issuer.leeway);
        let begins = [self.iat, self.nbf].into_iter().flatten();
        if begins.map(Seconds::moment).any(|begin| begin > soon) {
            return Err(AuthError::Invalid);
        }
        if now >= self.expires_at().after(issuer.leeway) {
            return Err(AuthError::Expired);
        }
        let begin = self.iat.map_or(now, Seconds::moment);
        if self.expires_at().since(begin) > MAX_JWT_LIFETIME {
            return Err(AuthError::Invalid);
        }
        Ok(())
    }

    /// Returns the first moment at which the token is no longer good, if all clocks agree.
    pub(super) fn expires_at(&self) -> Timestamp {
        self.exp.moment()
    }
}

/// A `NumericDate` (RFC 7519, section 2), rounded down to seconds. Other issuers write fractions.
#[derive(Clone, Copy, Debug)]
struct Seconds(u64);

impl Seconds {
    fn moment(self) -> Timestamp {
        moment(self.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970")
    }

    fn visit_u64<E: Error>(self, secs: u64) -> Result<Seconds, E> {
        Ok(Seconds(secs))
    }

    fn visit_f64<E: Error>(self, secs: f64) -> Result<Seconds, E> {
        if !(0.0..=9_007_199_254_740_992.0).contains(&secs) {
            return Err(E::custom("out of range"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, and rounding down is what is wanted"
        )]
        Ok(Seconds(secs as u64))
    }
}
