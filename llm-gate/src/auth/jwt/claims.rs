use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_JWT_LIFETIME, strict};
use crate::auth::AuthError;
use crate::clock::Timestamp;
use crate::identity::{Credential, Principal, ProjectId, Role, SessionId, UserId};

/// The JOSE header of our own tokens, and nothing else: no `crit`, no `jku`, `jwk`, `x5u` or `x5c`
/// through which a token could bring its own key (RFC 8725, sections 3.5 and 3.10).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) typ: String,
    #[serde(
        default,
        deserialize_with = "strict::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) kid: Option<String>,
}

impl Header {
    /// Whether the token says it is an access token (RFC 9068, section 4; RFC 8725, section 3.11).
    pub(super) fn is_access_token(&self) -> bool {
        ["at+jwt", "application/at+jwt"]
            .iter()
            .any(|typ| self.typ.eq_ignore_ascii_case(typ))
    }
}

/// The claims of our own tokens: those that RFC 9068 (section 2.2) requires, `nbf`, two private ones, and
/// perhaps `sid`.
/// Other claims are ignored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: UserId,
    pub(super) aud: Audience,
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) nbf: u64,
    pub(super) jti: String,
    pub(super) client_id: String,
    pub(super) project: ProjectId,
    #[serde(deserialize_with = "strict::word")]
    pub(super) role: Role,
    /// The login session, where there is one: named as in OpenID Connect Front-Channel Logout 1.0, section 3.
    #[serde(
        default,
        deserialize_with = "strict::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) sid: Option<SessionId>,
}

/// One audience or a list of them (RFC 7519, section 4.1.3).
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::auth) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(in crate::auth) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }

    /// Whether it names `audience` and nobody else.
    #[cfg(feature = "jwks")]
    pub(in crate::auth) fn is_only(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => !many.is_empty() && many.iter().all(|one| one == audience),
        }
    }
}

impl Claims {
    /// Checks everything that does not change with time.
    pub(super) fn check_parties(&self, issuer: &str, audience: &str) -> Result<(), AuthError> {
        let named = !self.jti.is_empty() && !self.client_id.is_empty();
        if self.iss == issuer && self.aud.contains(audience) && named {
            Ok(())
        } else {
            Err(AuthError::Invalid)
        }
    }

    /// Checks when the token is good: not before it was made, and not for longer than we make any.
    pub(super) fn check_times(&self, now: Timestamp, leeway: Duration) -> Result<(), AuthError> {
        let soon = now.after(leeway);
        let lifetime = self.exp.checked_sub(self.iat);
        let sound = lifetime.is_some_and(|secs| 0 < secs && secs <= MAX_JWT_LIFETIME.as_secs());
        if !sound || moment(self.iat) > soon || moment(self.nbf) > soon {
            return Err(AuthError::Invalid);
        }
        if now >= self.expires_at().after(leeway) {
            return Err(AuthError::Expired);
        }
        Ok(())
    }

    /// Returns the first moment at which the token is no longer good, if all clocks agree.
    pub(super) fn expires_at(&self) -> Timestamp {
        moment(self.exp)
    }

    pub(super) const fn principal(&self) -> Principal {
        let principal = Principal::new(self.sub, self.project, Credential::Session).role(self.role);
        match self.sid {
            Some(session) => principal.session(session),
            None => principal,
        }
    }
}

/// Seconds since the epoch, as claims count, capped at the end of time.
pub(in crate::auth) fn moment(secs: u64) -> Timestamp {
    Timestamp::default().after(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_at_the_end_of_time_does_not_overflow() {
        assert_eq!(moment(u64::MAX), Timestamp::from_micros(i64::MAX));
    }

    #[test]
    fn an_audience_is_compared_whole() {
        let many = Audience::Many(vec!["llm".into(), "llm-gate-2".into()]);
        assert!(!many.contains("llm-gate"));
        assert!(!Audience::Many(vec![]).contains("llm-gate"));
        assert!(Audience::One("llm-gate".into()).contains("llm-gate"));
    }
}
