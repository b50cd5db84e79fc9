//! Public keys as JSON (RFC 7517), to be published and to be read from others.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::key::{Public, VerifyingKey};
use super::strict;
use crate::auth::KeyError;

/// How many keys a set may have.
const MAX_KEYS: usize = 64;

/// A public key that signatures are checked with, as RFC 7517 writes it.
///
/// ```
/// use llm_gate::auth::VerifyingKey;
///
/// let key = VerifyingKey::ed25519("2026", &[7; 32])?;
/// let jwk = key.jwk().expect("no shared secret");
/// let json = serde_json::to_string(&jwk).expect("always JSON");
/// assert!(json.starts_with(r#"{"kid":"2026","use":"sig","alg":"EdDSA","kty":"OKP","crv":"Ed25519","x":"#));
/// assert_eq!(jwk.thumbprint().len(), 43);
/// # Ok::<(), llm_gate::auth::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    #[serde(flatten)]
    parameters: Parameters,
}

/// The members that make the key. Their order is that of a thumbprint's input but for `kty` (RFC 7638,
/// section 3.2), which serde writes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
enum Parameters {
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
    #[serde(rename = "EC")]
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "RSA")]
    Rsa { e: String, n: String },
}

/// The published keys of an issuer (RFC 7517, section 5).
///
/// ```
/// use llm_gate::auth::{JwkSet, VerifyingKey};
///
/// let secret = VerifyingKey::hs256(&[7; 32])?;
/// assert_eq!(JwkSet::of([&secret]).to_json(), r#"{"keys":[]}"#, "secrets stay secret");
/// # Ok::<(), llm_gate::auth::KeyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// It is not a JSON object with an array `keys`, or a member is there twice.
    #[error("not a set of keys")]
    Malformed(#[source] serde_json::Error),
    /// It has more than 64 keys.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

impl Jwk {
    /// Takes what is public of a key; `None` for a shared secret.
    pub(super) fn of(key: &VerifyingKey) -> Option<Self> {
        let parameters = match key.public()? {
            Public::Ed25519(x) => Parameters::Okp {
                crv: "Ed25519",
                x: encode(x),
            },
            Public::P256(point) => Parameters::Ec {
                crv: "P-256",
                x: encode(point.get(1..33)?),
                y: encode(point.get(33..65)?),
            },
            Public::Rsa { n, e } => Parameters::Rsa {
                e: encode(e),
                n: encode(n),
            },
        };
        Some(Self {
            kid: key.kid.clone(),
            usage: "sig",
            alg: key.algorithm.as_str(),
            parameters,
        })
    }

    /// Returns the identifier.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the SHA-256 thumbprint (RFC 7638), in base64url: the same wherever the key is, and whatever
    /// it is called.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // Nothing here needs an escape: names are fixed, values are base64url.
        let canonical = match &self.parameters {
            Parameters::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Parameters::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Parameters::Rsa { e, n } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        encode(&Sha256::digest(canonical))
    }
}

impl JwkSet {
    /// Collects what is public of `keys`. Shared secrets are left out.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        Self {
            keys: keys.into_iter().filter_map(Jwk::of).collect(),
        }
    }

    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// Writes the set as it is published: public members only.
    ///
    /// # Panics
    ///
    /// Never: texts have a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts have a JSON form")
    }

    /// Reads the keys of a published set that tokens can be checked with.
    ///
    /// Keys that are not understood are passed over, as RFC 7517 (section 5) asks: other kinds, other
    /// curves, for encryption, for another algorithm than theirs here, weak ones. So are shared secrets, and
    /// keys whose private part is published with them, because neither proves anything.
    ///
    /// # Errors
    ///
    /// Fails if it is no set of keys, or has more than 64.
    pub fn read(json: &[u8]) -> Result<Vec<VerifyingKey>, JwkError> {
        let set: Published = strict::from_slice(json).map_err(JwkError::Malformed)?;
        if set.keys.len() > MAX_KEYS {
            return Err(JwkError::TooMany);
        }
        let mut keys = Vec::new();
        for key in &set.keys {
            let key: PublishedKey = match strict::from_slice(key.get().as_bytes()) {
                Ok(key) => key,
                Err(_) => continue,
            };
            keys.extend(key.verifying_key());
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    e: Option<String>,
    n: Option<String>,
    d: Option<IgnoredAny>,
}

impl PublishedKey {
    /// Returns the key if it can check signatures of an algorithm that is spoken here.
    fn verifying_key(self) -> Option<VerifyingKey> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let operations = self.key_ops.as_ref();
        let may_verify =
            operations.is_none_or(|operations| operations.iter().any(|op| op == "verify"));
        if !for_signatures || !may_verify || self.d.is_some() {
            return None;
        }
        let key = self.material().ok()?;
        let bound = self.alg.as_deref();
        if bound.is_some_and(|alg| alg != key.algorithm.as_str()) {
            return None;
        }
        Some(match self.kid {
            Some(kid) => key.kid(kid),
            None => VerifyingKey { kid: None, ..key },
        })
    }

    fn material(&self) -> Result<VerifyingKey, KeyError> {
        let [x, y, e, n] = [&self.x, &self.y, &self.e, &self.n].map(|part| decode(part.as_deref()));
        match (&*self.kty, self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => VerifyingKey::ed25519("", &x?),
            ("EC", Some("P-256")) => {
                let (x, y) = (x?, y?);
                // Shorter ones would run into one another (RFC 7518, section 6.2.1.2).
                if x.len() != 32 {
                    return Err(KeyError::Unusable);
                }
                VerifyingKey::es256("", &[&[4], &x[..], &y].concat())
            }
            ("RSA", None) => VerifyingKey::rs256("", &n?, &e?),
            _ => Err(KeyError::Unusable),
        }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(part: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let part = part.ok_or(KeyError::Unusable)?;
    URL_SAFE_NO_PAD.decode(part).map_err(|_| KeyError::Unusable)
}
