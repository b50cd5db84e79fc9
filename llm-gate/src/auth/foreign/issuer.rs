use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use crate::auth::JwtAlgorithm;

/// How far clocks may differ at most.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Whose tokens are taken beside those of the gate, and how they are checked.
#[derive(Clone, Debug)]
pub struct ForeignIssuer {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) jwks: Uri,
    pub(super) algorithms: Vec<JwtAlgorithm>,
    pub(super) refresh: Duration,
    pub(super) pause: Duration,
    pub(super) stale: Duration,
    pub(super) timeout: Duration,
    pub(super) max_bytes: usize,
    pub(super) leeway: Duration,
}

/// Why an issuer cannot be trusted like this. Found when a server starts, not by a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIssuer {
    /// The keys would come over a line that others can change.
    #[error(
        "the keys of an issuer must be at an https:// URL, or at an http:// URL of a loopback address \
         such as 127.0.0.1, without a user name"
    )]
    Url,
    /// Issuer or audience are empty: a token could name them by leaving something out.
    #[error("an issuer needs a name and an audience")]
    Unnamed,
    /// Who checks tokens with a shared secret can make them too.
    #[error("the algorithms of an issuer must be some of EdDSA, ES256 and RS256")]
    Algorithm,
    /// Two issuers have the same name.
    #[error("two issuers have the same name")]
    Ambiguous,
}

impl ForeignIssuer {
    /// Takes tokens that name `issuer` and `audience`, letter by letter, and are signed by a key that is
    /// published at `jwks`, with one of `algorithms`.
    ///
    /// # Errors
    ///
    /// Refuses a URL that is neither `https` nor of a loopback address, algorithms with a shared secret or
    /// none at all, and empty names.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        jwks: Uri,
        algorithms: impl IntoIterator<Item = JwtAlgorithm>,
    ) -> Result<Self, InvalidIssuer> {
        let (issuer, audience) = (issuer.into(), audience.into());
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if issuer.is_empty() || audience.is_empty() {
            return Err(InvalidIssuer::Unnamed);
        }
        if !is_safe(&jwks) {
            return Err(InvalidIssuer::Url);
        }
        if algorithms.is_empty() || !algorithms.iter().all(|one| one.is_asymmetric()) {
            return Err(InvalidIssuer::Algorithm);
        }
        Ok(Self {
            issuer,
            audience,
            jwks,
            algorithms,
            refresh: Duration::from_secs(600),
            pause: Duration::from_secs(30),
            stale: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(5),
            max_bytes: 256 * 1024,
            leeway: Duration::from_secs(5),
        })
    }

    /// Returns whether what comes from `url` is what its owner says, because nobody on the way can put in something
    /// else: `https`, or a loopback address. A name such as `localhost` is resolved by others.
    #[must_use]
    pub fn is_safe(url: &Uri) -> bool {
        is_safe(url)
    }

    /// Sets how old the keys may be before they are fetched again beside the requests. 10 min unless set.
    /// Once they are twice as old, requests wait for that.
    #[must_use]
    pub const fn refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets how long no second fetch is begun after one, whatever the reason: a token with an unknown key, an
    /// issuer that is away. 30 s unless set, and a second at least. A token that is signed by a new key may
    /// be refused for so long.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause.max(Duration::from_secs(1));
        self
    }

    /// Sets how old the keys may be while the issuer cannot be reached. 24 h unless set. Older ones prove
    /// nothing.
    #[must_use]
    pub const fn stale(mut self, stale: Duration) -> Self {
        self.stale = stale;
        self
    }

    /// Sets how long a fetch may take in all. 5 s unless set.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long the published set may be, in bytes. 256 KiB unless set.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how far the clocks of issuer and gate may differ. 5 s unless set, 60 s at most.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }
}

fn is_safe(url: &Uri) -> bool {
    let Some(authority) = url.authority() else {
        return false;
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return false;
    }
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(url: &str, algorithms: &[JwtAlgorithm]) -> Result<ForeignIssuer, InvalidIssuer> {
        let url = url.parse().expect("a URI");
        ForeignIssuer::new("i", "a", url, algorithms.iter().copied())
    }

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        let one = [JwtAlgorithm::Rs256];
        for good in [
            "https://login.example/keys",
            "https://10.0.0.1:8443/keys?x=1",
            "http://127.0.0.1:9/keys",
            "http://127.8.9.1/keys",
            "http://[::1]:9/keys",
        ] {
            assert!(issuer(good, &one).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example/keys",
            "http://localhost/keys",
            "http://127.0.0.1.evil.example/keys",
            "http://10.0.0.1/keys",
            "http://0.0.0.0/keys",
            "http://[::]/keys",
            "http://[::ffff:10.0.0.1]/keys",
            "https://user:secret@login.example/keys",
            "http://127.0.0.1@evil.example/keys",
            "ftp://login.example/keys",
            "/keys",
            "login.example",
        ] {
            assert_eq!(issuer(bad, &one).err(), Some(InvalidIssuer::Url), "{bad}");
        }
    }

    #[test]
    fn a_shared_secret_is_never_trusted_from_outside() {
        let url = "https://login.example/keys";
        for bad in [
            &[][..],
            &[JwtAlgorithm::Hs256],
            &[JwtAlgorithm::Rs256, JwtAlgorithm::Hs256],
        ] {
            assert_eq!(issuer(url, bad).err(), Some(InvalidIssuer::Algorithm));
        }
    }

    #[test]
    fn an_issuer_has_a_name_and_an_audience() {
        let url = || "https://login.example/keys".parse().expect("a URI");
        for (name, audience) in [("", "a"), ("i", "")] {
            let issuer = ForeignIssuer::new(name, audience, url(), [JwtAlgorithm::EdDsa]);
            assert_eq!(issuer.err(), Some(InvalidIssuer::Unnamed));
        }
    }
}
