use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::{
    ApiKeyVerifier, Authenticate, Authenticating, JwtVerifier, OperatorHash, api_key, bearer,
};
use crate::identity::Principal;

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
