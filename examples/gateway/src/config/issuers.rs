use llm_gate::auth::{ForeignIssuer, JwtAlgorithm};
use serde::Deserialize;

use super::{AuthConfig, ConfigError};

const SETTING: &str = "auth.issuers";

/// An issuer whose tokens are taken beside those of the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Where it publishes its keys: `https://…`, or `http://` and a loopback address.
    pub jwks_url: String,
    /// What its tokens must name in `aud`.
    pub audience: String,
    /// How they may be signed: some of `EdDSA`, `ES256`, `RS256`.
    pub algorithms: Vec<String>,
    /// Whose account a `sub` is.
    #[serde(default)]
    pub accounts: AccountBy,
}

/// What the `sub` of a foreign token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountBy {
    /// The id of the account here.
    #[default]
    Id,
    /// Its user name or e-mail address. Only where nobody can choose a name here that is somebody else's
    /// there.
    Name,
}

impl AuthConfig {
    /// Returns the issuers whose tokens are taken.
    ///
    /// # Errors
    ///
    /// Refuses keys that come over an open line, algorithms that are none or have a shared secret, and names
    /// that are empty.
    pub fn foreign(&self) -> Result<Vec<ForeignIssuer>, ConfigError> {
        self.issuers
            .iter()
            .map(|(name, issuer)| {
                foreign(name, issuer).map_err(|reason| {
                    ConfigError::refused(SETTING, format!("of {name:?}: {reason}"))
                })
            })
            .collect()
    }
}

fn foreign(name: &str, config: &IssuerConfig) -> Result<ForeignIssuer, String> {
    let url = config.jwks_url.parse();
    let url = url.map_err(|_| "jwks_url is no URL".to_owned())?;
    let algorithms: Result<Vec<JwtAlgorithm>, _> =
        config.algorithms.iter().map(|name| name.parse()).collect();
    // An unknown word is answered as one that is not allowed: with those that are.
    let algorithms = algorithms.unwrap_or_default();
    ForeignIssuer::new(name, &config.audience, url, algorithms).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn check(change: impl FnOnce(&mut IssuerConfig)) -> Result<(), String> {
        let mut issuer = IssuerConfig {
            jwks_url: "https://login.example/keys".to_owned(),
            audience: "llm-gate".to_owned(),
            algorithms: vec!["RS256".to_owned(), "EdDSA".to_owned()],
            accounts: AccountBy::Id,
        };
        change(&mut issuer);
        let mut config = Config::default();
        let name = "https://login.example".to_owned();
        config.auth.issuers.insert(name, issuer);
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn an_issuer_is_trusted_only_by_safe_means() {
        assert_eq!(check(|_| ()), Ok(()));
        for (change, words) in [
            (
                (|issuer| issuer.jwks_url = "http://login.example/keys".to_owned())
                    as fn(&mut IssuerConfig),
                "https://",
            ),
            (
                |issuer| issuer.jwks_url = "not a url".to_owned(),
                "jwks_url",
            ),
            (|issuer| issuer.audience.clear(), "audience"),
            (|issuer| issuer.algorithms.clear(), "EdDSA, ES256 and RS256"),
            (
                |issuer| issuer.algorithms.push("HS256".to_owned()),
                "EdDSA, ES256 and RS256",
            ),
            (
                |issuer| issuer.algorithms.push("none".to_owned()),
                "EdDSA, ES256 and RS256",
            ),
        ] {
            let error = check(change).expect_err(words);
            assert!(error.starts_with("auth.issuers: of \"https://login.example\""));
            assert!(error.contains(words), "{error}");
        }
    }
}
