//! What shows by itself that a gateway has given it out, whatever others do behind the same address.
//!
//! Limits by address are there to keep the gate from being kept busy, and guessers away. They must not keep those waiting
//! who share an address with whoever uses them up. So where an address has nothing left, those requests still pass that
//! bring something which nobody else can have made:
//!
//! | What | By |
//! |---|---|
//! | access tokens, ours and of other issuers whose keys are known | their signature |
//! | API keys | their seal |
//! | the operator key | its hash |
//! | refresh tokens, in a cookie or a body | their seal |
//! | letters and links that set a new password | their seal |
//! | the cookie of a device that has entered an account | its seal |
//!
//! Nothing is looked up for that. It may be spent or revoked, which whoever looks at it finds out: what has failed from an
//! address is a guess from there like any other. All that is given out to an account has one name in it, by which it is
//! counted (a token of another issuer by its subject): each account has as much again at an address as that has, however
//! many tokens somebody collects, and takes from nobody else's.

use http::{Extensions, HeaderMap};
use llm_gate::auth::{AnyVerifier, KeyHasher, MailToken, RefreshToken};
use llm_gate::identity::Holder;
use serde::Deserialize;

use crate::api::{device_of, refresh_of};
use crate::devices::Devices;

/// Tells whose something is that shows it by itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vouch {
    verifier: AnyVerifier,
    hasher: KeyHasher,
    devices: Devices,
    /// Whether users come by `https`, which the names of cookies depend on.
    https: bool,
}

impl Vouch {
    /// Puts it together.
    #[must_use]
    pub const fn new(
        verifier: AnyVerifier,
        hasher: KeyHasher,
        devices: Devices,
        https: bool,
    ) -> Self {
        Self {
            verifier,
            hasher,
            devices,
            https,
        }
    }

    /// Returns whose a secret is, wherever it stands.
    #[must_use]
    pub fn secret(&self, secret: &str) -> Option<Holder> {
        if let Ok(token) = RefreshToken::parse(secret) {
            return self.refresh(&token);
        }
        if let Ok(token) = MailToken::parse(secret) {
            return Some(Holder::of("account", [token.account(&self.hasher)?]));
        }
        self.verifier.holder_of(secret)
    }

    /// Returns whose a request is by its credential or its cookies, or by what was found in its body.
    #[must_use]
    pub fn request(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<Holder> {
        let in_body = extensions.get::<Holder>().copied();
        in_body
            .or_else(|| self.verifier.holder(headers))
            .or_else(|| {
                let token = refresh_of(self.https, headers)?;
                self.refresh(&RefreshToken::parse(token.expose()).ok()?)
            })
            .or_else(|| self.devices.holder(&device_of(self.https, headers)?))
    }

    /// Returns whose a body is by the secret in it.
    #[must_use]
    pub fn body(&self, body: &[u8]) -> Option<Holder> {
        #[derive(Deserialize)]
        struct Secrets<'a> {
            refresh_token: Option<&'a str>,
            token: Option<&'a str>,
        }
        let secrets: Secrets<'_> = serde_json::from_slice(body).ok()?;
        self.secret(secrets.refresh_token.or(secrets.token)?)
    }

    fn refresh(&self, token: &RefreshToken) -> Option<Holder> {
        let account = token.account(&self.hasher)?;
        Some(Holder::of("account", [account]))
    }
}
