use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::{
    ApiKeyVerifier, Authenticate, Authenticating, JwtVerifier, OperatorHash, api_key, bearer,
};
use crate::identity::{Holder, Principal};

/// Accepts JSON web tokens, API keys and, if there is one, the operator key, told apart by the form of the
/// credential.
///
/// Each may stand in either header: the clients of different vendors differ in where they put theirs.
#[derive(Clone, Debug)]
pub struct AnyVerifier {
    jwt: JwtVerifier,
    keys: ApiKeyVerifier,
    operator: Option<OperatorHash>,
    others: Option<Arc<dyn OtherIssuers>>,
}

/// Recognises the JSON web tokens of issuers other than the gate itself.
pub trait OtherIssuers: fmt::Debug + Send + Sync + 'static {
    /// Checks a token; `None` if it does not say that it is of one of these issuers.
    fn check(&self, jwt: &str) -> Option<Authenticating>;

    /// Returns the subject of a token that one of these issuers has signed and that has not ended, as far as that is known
    /// without asking anybody. None of them unless there is something to say.
    fn holder(&self, jwt: &str) -> Option<Holder> {
        let _ = jwt;
        None
    }
}

impl AnyVerifier {
    /// Asks `keys` about what begins like an API key, and `jwt` about all else.
    #[must_use]
    pub const fn new(jwt: JwtVerifier, keys: ApiKeyVerifier) -> Self {
        Self {
            jwt,
            keys,
            operator: None,
            others: None,
        }
    }

    /// Accepts the key with this hash as the operator's. There is none unless set.
    ///
    /// Layers refuse it all the same, but for those that are told
    /// [otherwise](super::AuthLayer::operators).
    #[must_use]
    pub const fn operator(mut self, hash: OperatorHash) -> Self {
        self.operator = Some(hash);
        self
    }

    /// Asks `issuers` about tokens before they are taken for the gate's own. Nobody is asked unless set.
    #[must_use]
    pub fn others(mut self, issuers: Arc<dyn OtherIssuers>) -> Self {
        self.others = Some(issuers);
        self
    }

    /// Returns whose the credential of a request is if it shows by itself that it was given out, without asking the store: a token by its
    /// signature, an API key by its [seal](super::ApiKeySecret::sealed), the operator's by its hash. It may be revoked since.
    /// All of one account are of one holder, `Holder::of("account", [hasher.account(user)])`.
    ///
    /// For limits that are there to keep guessers away: `Failures::vouched` and `RateLimitLayer::vouched` of the feature `limit`.
    #[must_use]
    pub fn holder(&self, headers: &HeaderMap) -> Option<Holder> {
        self.holder_of(bearer::credential(headers).ok()?)
    }

    /// As [`holder`](Self::holder), of a credential that stands elsewhere.
    #[must_use]
    pub fn holder_of(&self, credential: &str) -> Option<Holder> {
        if credential.len() > bearer::MAX_LEN {
            return None;
        }
        if credential.starts_with(api_key::PREFIX) {
            return Some(Holder::of("account", [self.keys.account(credential)?]));
        }
        let digest: [u8; 32] = Sha256::digest(credential).into();
        if self.operator.is_some_and(|operator| operator.is(&digest)) {
            return Some(Holder::of("operator", []));
        }
        if !credential.contains('.') {
            return None;
        }
        if let Ok(principal) = self.jwt.check(credential, digest) {
            let account = self.keys.account_of(principal.user);
            return Some(Holder::of("account", [&account]));
        }
        self.others.as_ref()?.holder(credential)
    }

    fn check(&self, credential: &str) -> Authenticating {
        if credential.starts_with(api_key::PREFIX) {
            return self.keys.check(credential);
        }
        let digest: [u8; 32] = Sha256::digest(credential).into();
        if self.operator.is_some_and(|operator| operator.is(&digest)) {
            return Authenticating::ready(Ok(Principal::operator()));
        }
        if let Some(others) = &self.others
            && !self.jwt.has_seen(&digest)
            && let Some(answer) = others.check(credential)
        {
            return answer;
        }
        Authenticating::ready(self.jwt.check(credential, digest))
    }
}

impl Authenticate for AnyVerifier {
    type Future = Authenticating;

    fn authenticate(&self, headers: &HeaderMap) -> Self::Future {
        match bearer::credential(headers) {
            Ok(credential) => self.check(credential),
            Err(error) => Authenticating::ready(Err(error)),
        }
    }
}
