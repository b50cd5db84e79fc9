//! Logins with other providers: Google, GitHub, and whoever speaks OpenID Connect.
//!
//! The authorization code flow of OAuth 2 (RFC 6749), as RFC 9700 advises it:
//!
//! 1. [`Provider::begin`] makes a [`Departure`]: where to send the browser, and a cookie for it. Nothing is stored. The
//!    cookie says what was begun; `state`, `nonce` and the verifier of PKCE (RFC 7636) are made of it with a key of the
//!    gateway.
//! 2. The provider sends the browser back. [`Seal::open`] takes the cookie if the `state` is the one that belongs to it.
//! 3. [`Provider::profile`] changes the code into who it is. Nothing but the provider itself is believed: by an ID token
//!    it has signed, or by its API.
//!
//! Whose account that is, is decided in `api/oauth`. What is asked of a provider is bounded in time and size, follows no
//! redirect, and goes by `https` only, but for loopback addresses.

mod error;
mod github;
pub(crate) mod http;
mod openid;
mod seal;

use std::sync::Arc;

use ::http::Uri;
use llm_gate::clock::Clock;
use llm_gate::store::Identity;

use self::github::GitHub;
use self::http::Http;
use self::openid::OpenId;
use crate::accounts;
use crate::config::{OAuthProtocol, OAuthProvider, Secret};

pub use self::error::{Fault, OAuthError};
pub use self::seal::{Pending, Purpose, Seal, Sealed, TOO_OLD_AFTER};

/// The providers that people log in with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Providers(Arc<[Provider]>);

/// One of them.
#[derive(Debug)]
pub struct Provider {
    name: String,
    issuer: String,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    OpenId(OpenId),
    GitHub(GitHub),
}

/// Who we are at a provider.
#[derive(Clone, Debug)]
struct Registered {
    client_id: String,
    client_secret: Secret,
    /// Where it sends people back to.
    redirect_uri: String,
}

/// A login that begins.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Where the browser goes.
    pub url: String,
    /// What it brings back.
    pub sealed: Sealed,
}

/// What a provider sends back with the browser.
#[derive(Clone, Debug)]
pub struct Returned {
    /// What it changes into who it is.
    pub code: Secret,
    /// Who says so (RFC 9207).
    pub issuer: Option<String>,
}

/// Who somebody is by a provider.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name that is never given to another.
    pub identity: Identity,
    /// The e-mail address, normalised, if the provider knows that it is theirs.
    pub email: Option<String>,
}

impl Providers {
    /// Prepares to ask `providers`, which send people back to `web_url`.
    #[must_use]
    pub fn new(providers: Vec<OAuthProvider>, web_url: &str, clock: &Arc<dyn Clock>) -> Self {
        let http = Http::new();
        let base = web_url.trim_end_matches('/');
        let provider = |provider: OAuthProvider| {
            let registered = Registered {
                redirect_uri: format!("{base}/api/v1/auth/{}/callback", provider.name),
                client_id: provider.client_id,
                client_secret: provider.client_secret,
            };
            Provider {
                protocol: match provider.protocol {
                    OAuthProtocol::OpenId => Protocol::OpenId(OpenId::new(
                        provider.issuer.clone(),
                        registered,
                        http.clone(),
                        Arc::clone(clock),
                    )),
                    OAuthProtocol::GitHub(urls) => {
                        Protocol::GitHub(GitHub::new(*urls, registered, http.clone()))
                    }
                },
                name: provider.name,
                issuer: provider.issuer,
            }
        };
        Self(providers.into_iter().map(provider).collect())
    }

    /// Finds one by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.name == name)
    }

    /// Finds one by its issuer.
    #[must_use]
    pub fn of_issuer(&self, issuer: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.issuer == issuer)
    }
}

impl Provider {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a login.
    ///
    /// # Errors
    ///
    /// Fails when the provider does not say where people log in.
    pub async fn begin(&self, seal: &Seal, pending: &Pending) -> Result<Departure, OAuthError> {
        let sealed = seal.seal(pending);
        let url = match &self.protocol {
            Protocol::OpenId(openid) => openid.authorize(&sealed).await?,
            Protocol::GitHub(github) => github.authorize(&sealed),
        };
        Ok(Departure { url, sealed })
    }

    /// Finds out who has come back.
    ///
    /// # Errors
    ///
    /// Fails when the provider cannot be asked, does not know the code, or says something that cannot be used.
    pub async fn profile(
        &self,
        returned: &Returned,
        sealed: &Sealed,
    ) -> Result<Profile, OAuthError> {
        let said = match &self.protocol {
            Protocol::OpenId(openid) => openid.profile(returned, sealed).await?,
            Protocol::GitHub(github) => {
                if returned
                    .issuer
                    .as_ref()
                    .is_some_and(|iss| *iss != self.issuer)
                {
                    return Err(OAuthError::Issuer);
                }
                github.profile(returned, sealed).await?
            }
        };
        Ok(Profile {
            identity: Identity {
                issuer: self.issuer.clone(),
                subject: said.subject,
            },
            email: said.email.as_deref().and_then(address),
        })
    }
}

/// What a provider says of somebody.
struct Said {
    subject: String,
    /// As it is written there, if it is known to be theirs.
    email: Option<String>,
}

/// Normalises an address. One that only the case rules of Unicode make equal to another, such as with a Kelvin sign
/// for a K, is not that one, and so is none.
fn address(text: &str) -> Option<String> {
    let email = accounts::email(text).ok()?;
    (email == text.trim().to_ascii_lowercase()).then_some(email)
}

/// Puts parameters behind an address that may have some already.
fn with_query(url: &Uri, parameters: &[(&str, &str)]) -> String {
    let mut text = url.to_string();
    text.push(if url.query().is_some() { '&' } else { '?' });
    text + &form(parameters)
}

/// Writes parameters as a form does.
fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_never_made_another_by_unicode() {
        assert_eq!(
            address("Ada@Example.org").as_deref(),
            Some("ada@example.org")
        );
        assert_eq!(
            address("m\u{e4}x@example.org").as_deref(),
            Some("m\u{e4}x@example.org")
        );
        // A Kelvin sign, and a capital I with a dot.
        for other in [
            "mi\u{212a}e@example.org",
            "\u{130}da@example.org",
            "ada",
            "",
        ] {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn parameters_stand_behind_those_that_are_there() {
        let url = "https://login.example/a?b=c".parse().expect("a URL");
        assert_eq!(
            with_query(&url, &[("x", "a b&c")]),
            "https://login.example/a?b=c&x=a+b%26c"
        );
        let url = "https://login.example/a".parse().expect("a URL");
        assert_eq!(
            with_query(&url, &[("x", "1"), ("y", "2")]),
            "https://login.example/a?x=1&y=2"
        );
    }
}
