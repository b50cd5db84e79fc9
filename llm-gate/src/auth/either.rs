use http::HeaderMap;

use super::{ApiKeyVerifier, Authenticate, Authenticating, JwtVerifier, api_key, bearer};

/// Accepts JSON web tokens and API keys, told apart by the form of the credential.
///
/// Either may stand in either header: the clients of different vendors differ in where they put theirs.
#[derive(Clone, Debug)]
pub struct AnyVerifier {
    jwt: JwtVerifier,
    keys: ApiKeyVerifier,
}

impl AnyVerifier {
    /// Asks `keys` about what begins like an API key, and `jwt` about all else.
    #[must_use]
    pub const fn new(jwt: JwtVerifier, keys: ApiKeyVerifier) -> Self {
        Self { jwt, keys }
    }
}

impl Authenticate for AnyVerifier {
    type Future = Authenticating;

    fn authenticate(&self, headers: &HeaderMap) -> Self::Future {
        match bearer::credential(headers) {
            Ok(key) if key.starts_with(api_key::PREFIX) => self.keys.check(key),
            Ok(jwt) => Authenticating::ready(self.jwt.verify(jwt)),
            Err(error) => Authenticating::ready(Err(error)),
        }
    }
}
