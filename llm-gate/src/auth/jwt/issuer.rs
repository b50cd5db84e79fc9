use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

use super::MAX_JWT_LIFETIME;
use super::claims::{Audience, Claims, Header};
use super::key::SigningKey;
use crate::auth::{KeyError, crypto};
use crate::clock::Clock;
use crate::identity::{ProjectId, Role, SessionId, UserId};

/// Makes JSON web tokens that a [`JwtVerifier`](super::JwtVerifier) with the same issuer, audience and
/// key accepts (RFC 9068).
#[derive(Clone)]
pub struct JwtIssuer {
    key: SigningKey,
    issuer: String,
    audience: String,
    client_id: String,
    clock: Arc<dyn Clock>,
}

/// A fresh token, to be handed to its owner.
#[derive(Clone)]
#[non_exhaustive]
pub struct IssuedJwt {
    /// The token: a secret.
    pub jwt: String,
    /// How long it is good, in whole seconds.
    pub expires_in: Duration,
}

impl fmt::Debug for IssuedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedJwt")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl JwtIssuer {
    /// Makes tokens in the name of `issuer`, for `audience`, signed with `key`.
    ///
    /// # Panics
    ///
    /// Without the feature `aws-lc-rs`, panics if the process has not installed a back end of
    /// `jsonwebtoken`: here rather than at the first login.
    #[must_use]
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        key: SigningKey,
        clock: Arc<dyn Clock>,
    ) -> Self {
        crypto::require();
        let audience = audience.into();
        Self {
            key,
            issuer: issuer.into(),
            client_id: audience.clone(),
            audience,
            clock,
        }
    }

    /// Sets the `client_id` claim: who asked for the token on the user's behalf. The audience unless set,
    /// since the gate's own login page asks.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Makes a token that is good from now for `lifetime`, in whole seconds, at least one and at most
    /// [`MAX_JWT_LIFETIME`].
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] if the back end cannot sign with the key.
    pub fn issue(
        &self,
        user: UserId,
        project: ProjectId,
        role: Role,
        lifetime: Duration,
    ) -> Result<IssuedJwt, KeyError> {
        self.sign(user, project, role, None, lifetime)
    }

    /// Makes a token as [`issue`](Self::issue) does, that says which login session it belongs to: whoever checks it finds
    /// that in [`Principal::session`](crate::identity::Principal::session), and can ask whether the session still lives.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] if the back end cannot sign with the key.
    pub fn issue_in(
        &self,
        session: SessionId,
        user: UserId,
        project: ProjectId,
        role: Role,
        lifetime: Duration,
    ) -> Result<IssuedJwt, KeyError> {
        self.sign(user, project, role, Some(session), lifetime)
    }

    fn sign(
        &self,
        user: UserId,
        project: ProjectId,
        role: Role,
        session: Option<SessionId>,
        lifetime: Duration,
    ) -> Result<IssuedJwt, KeyError> {
        let lifetime = lifetime.min(MAX_JWT_LIFETIME).as_secs().max(1);
        let now = u64::try_from(self.clock.now().as_secs()).unwrap_or(0);
        let header = Header {
            alg: self.key.algorithm.as_str().to_owned(),
            typ: "at+jwt".to_owned(),
            kid: self.key.kid.clone(),
        };
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: user,
            aud: Audience::One(self.audience.clone()),
            exp: now.saturating_add(lifetime),
            iat: now,
            nbf: now,
            jti: Uuid::new_v4().to_string(),
            client_id: self.client_id.clone(),
            project,
            role,
            sid: session,
        };
        let mut jwt = format!("{}.{}", encode(&header)?, encode(&claims)?);
        let signature = crypto::sign(&jwt, &self.key.key, self.key.algorithm.into())
            .map_err(|_| KeyError::Unusable)?;
        jwt.push('.');
        jwt.push_str(&signature);
        Ok(IssuedJwt {
            jwt,
            expires_in: Duration::from_secs(lifetime),
        })
    }
}

fn encode(part: &impl Serialize) -> Result<String, KeyError> {
    let json = serde_json::to_vec(part).map_err(|_| KeyError::Unusable)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
