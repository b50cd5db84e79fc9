use std::fmt;
use std::net::IpAddr;

use http::Uri;
use llm_gate::auth::ForeignIssuer;
use serde::Deserialize;

use super::{Config, ConfigError, Secret};

const SETTING: &str = "oauth";

const GOOGLE: &str = "https://accounts.google.com";
/// As GitHub names itself in `iss` (RFC 9207).
const GITHUB: &str = "https://github.com/login/oauth";
const GITHUB_AUTHORIZE: &str = "https://github.com/login/oauth/authorize";
const GITHUB_TOKEN: &str = "https://github.com/login/oauth/access_token";
const GITHUB_API: &str = "https://api.github.com";

/// How long a name may be: it stands in paths and metrics.
const MAX_NAME: usize = 32;

/// A provider that people log in with, as it stands in the settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuthConfig {
    /// What it speaks; by its name unless set.
    pub kind: Option<OAuthKind>,
    /// What it calls the gateway.
    pub client_id: Option<String>,
    /// What the gateway proves that with.
    pub client_secret: Option<Secret>,
    /// Its address and its name.
    pub issuer: Option<String>,
    /// Where people log in.
    pub authorize_url: Option<String>,
    /// Where a code becomes a token.
    pub token_url: Option<String>,
    /// Where it tells who somebody is.
    pub api_url: Option<String>,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OAuthKind {
    /// OpenID Connect.
    OpenId,
    /// OAuth 2 and the API of GitHub.
    GitHub,
}

/// A provider that people log in with.
#[derive(Clone)]
pub struct OAuthProvider {
    /// What it is called here.
    pub name: String,
    /// What it calls the gateway.
    pub client_id: String,
    /// What the gateway proves that with.
    pub client_secret: Secret,
    /// What tells its accounts from those of others, and what it calls itself.
    pub issuer: String,
    /// How it is asked.
    pub protocol: OAuthProtocol,
}

/// How a provider is asked.
#[derive(Clone, Debug)]
pub enum OAuthProtocol {
    /// OpenID Connect: all is found at its issuer.
    OpenId,
    /// OAuth 2 and the API of GitHub.
    GitHub(Box<GitHubUrls>),
}

/// Where GitHub is, or one of an enterprise.
#[derive(Clone, Debug)]
pub struct GitHubUrls {
    /// Where people log in.
    pub authorize: Uri,
    /// Where a code becomes a token.
    pub token: Uri,
    /// Where it tells who somebody is.
    pub api: Uri,
}

impl fmt::Debug for OAuthProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthProvider")
            .field("name", &self.name)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl OAuthConfig {
    /// Lists what is set, for people to read, secrets redacted.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.as_ref().map(|text| format!("{text:?}"));
        let kind = self.kind.map(|kind| format!("{kind:?}").to_lowercase());
        let all = [
            ("kind", kind.map(|kind| format!("{kind:?}"))),
            ("client_id", text(&self.client_id)),
            (
                "client_secret",
                self.client_secret
                    .as_ref()
                    .map(|secret| format!("{secret:?}")),
            ),
            ("issuer", text(&self.issuer)),
            ("authorize_url", text(&self.authorize_url)),
            ("token_url", text(&self.token_url)),
            ("api_url", text(&self.api_url)),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    fn provider(&self, name: &str) -> Result<OAuthProvider, String> {
        check_name(name)?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = self.client_secret.clone();
        let secret = secret.filter(|secret| !secret.expose().is_empty());
        let (Some(client_id), Some(client_secret)) = (given(&self.client_id), secret) else {
            return Err(match name {
                "google" => "needs GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, or neither",
                "github" => "needs GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or neither",
                _ => "needs client_id and client_secret",
            }
            .to_owned());
        };
        let kind = self.kind.unwrap_or(match name {
            "github" => OAuthKind::GitHub,
            _ => OAuthKind::OpenId,
        });
        let issuer = given(&self.issuer).or_else(|| own_issuer(name, kind).map(str::to_owned));
        let issuer = issuer.ok_or("needs an issuer")?;
        safe("issuer", &issuer)?;
        let protocol = match kind {
            OAuthKind::GitHub => OAuthProtocol::GitHub(Box::new(GitHubUrls {
                authorize: url(
                    "authorize_url",
                    self.authorize_url.as_deref(),
                    GITHUB_AUTHORIZE,
                )?,
                token: url("token_url", self.token_url.as_deref(), GITHUB_TOKEN)?,
                api: url("api_url", self.api_url.as_deref(), GITHUB_API)?,
            })),
            OAuthKind::OpenId
                if self.authorize_url.is_some()
                    || self.token_url.is_some()
                    || self.api_url.is_some() =>
            {
                return Err(
                    "tells its URLs itself; authorize_url, token_url and api_url are of the kind github"
                        .to_owned(),
                );
            }
            OAuthKind::OpenId => OAuthProtocol::OpenId,
        };
        Ok(OAuthProvider {
            name: name.to_owned(),
            client_id,
            client_secret,
            issuer,
            protocol,
        })
    }
}

fn own_issuer(name: &str, kind: OAuthKind) -> Option<&'static str> {
    match (name, kind) {
        ("google", OAuthKind::OpenId) => Some(GOOGLE),
        ("github", OAuthKind::GitHub) => Some(GITHUB),
        _ => None,
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let starts = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    if starts && name.len() <= MAX_NAME && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(format!(
            "must be called by 1 to {MAX_NAME} small letters, digits and hyphens, a letter first"
        ))
    }
}

fn url(field: &str, given: Option<&str>, own: &str) -> Result<Uri, String> {
    safe(field, given.unwrap_or(own))
}

/// Takes an address that nobody on the way can speak for. What follows a `?` is none of it.
fn safe(field: &str, text: &str) -> Result<Uri, String> {
    let url: Option<Uri> = text.parse().ok();
    url.filter(|url| ForeignIssuer::is_safe(url) && !text.contains(['?', '#']))
        .ok_or_else(|| {
            format!(
                "{field} must be an https:// URL, or an http:// URL of a loopback address such as 127.0.0.1, without a \
                 user name or a query"
            )
        })
}

impl Config {
    /// Returns the providers that people log in with.
    ///
    /// # Errors
    ///
    /// Refuses half a credential, an address that others can speak for, and two providers that nobody could tell apart.
    pub fn oauth_providers(&self) -> Result<Vec<OAuthProvider>, ConfigError> {
        let mut providers: Vec<OAuthProvider> = Vec::new();
        for (name, config) in &self.oauth {
            let refused =
                |reason: String| ConfigError::refused(SETTING, format!("of {name:?}: {reason}"));
            let provider = config.provider(name).map_err(refused)?;
            if let Some(other) = providers.iter().find(|one| one.issuer == provider.issuer) {
                return Err(refused(format!("{:?} has the same issuer", other.name)));
            }
            providers.push(provider);
        }
        Ok(providers)
    }

    pub(super) fn check_oauth(&self) -> Result<(), ConfigError> {
        if self.oauth_providers()?.is_empty() {
            return Ok(());
        }
        let private = match &self.web_url {
            Some(url) => is_private(url),
            None => self.server.host.is_loopback(),
        };
        if private {
            Ok(())
        } else {
            Err(ConfigError::refused(
                "web_url (WEB_URL)",
                "must be the https:// URL that providers lead people back to, because some are set under oauth; http:// \
                 is enough for this machine alone",
            ))
        }
    }
}

/// Whether what a browser sends there is read by nobody on the way. Browsers resolve `localhost` themselves.
fn is_private(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else {
        return false;
    };
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme_str() == Some("https")
        || host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn good(issuer: Option<&str>) -> OAuthConfig {
        OAuthConfig {
            client_id: Some("gate".to_owned()),
            client_secret: Some("hunter2".into()),
            issuer: issuer.map(str::to_owned),
            ..OAuthConfig::default()
        }
    }

    fn check(name: &str, config: OAuthConfig) -> Result<(), String> {
        let mut whole = Config::default();
        whole.oauth.insert(name.to_owned(), config);
        whole.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_provider_is_reached_by_safe_means_only() {
        assert_eq!(check("google", good(None)), Ok(()));
        assert_eq!(check("github", good(None)), Ok(()));
        assert_eq!(check("work", good(Some("http://127.0.0.1:9/a"))), Ok(()));
        for issuer in [
            "http://login.example",
            "http://localhost/",
            "https://user:hunter2@login.example",
            "https://login.example/?a=b",
            "https://login.example/#a",
            "login.example",
            "",
        ] {
            let error = check("work", good(Some(issuer))).expect_err(issuer);
            assert!(error.contains("issuer"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for url in ["http://github.example/a", "x"] {
            let config = OAuthConfig {
                token_url: Some(url.to_owned()),
                ..good(None)
            };
            let error = check("github", config).expect_err(url);
            assert!(error.contains("token_url"), "{error}");
        }
    }

    #[test]
    fn a_name_is_one_of_a_path() {
        for name in ["", "a/b", "A", "1a", "-", "a b", "\u{e4}", &"a".repeat(33)] {
            let error = check(name, good(Some("https://login.example"))).expect_err(name);
            assert!(error.contains("letters"), "{error}");
        }
        assert_eq!(check("a-1", good(Some("https://login.example"))), Ok(()));
    }

    #[test]
    fn half_a_credential_is_none() {
        for change in [
            (|config| config.client_id = None) as fn(&mut OAuthConfig),
            |config| config.client_id = Some(String::new()),
            |config| config.client_secret = None,
            |config| config.client_secret = Some("".into()),
        ] {
            let mut config = good(Some("https://login.example"));
            change(&mut config);
            check("work", config).expect_err("half");
        }
    }

    #[test]
    fn two_providers_are_not_one_issuer() {
        let mut config = Config::default();
        config.oauth.insert("google".to_owned(), good(None));
        config.oauth.insert("work".to_owned(), good(Some(GOOGLE)));
        let error = config.check().expect_err("whose is a subject?").to_string();
        assert!(error.contains("same issuer"), "{error}");
    }

    #[test]
    fn people_come_back_by_https_or_to_this_machine() {
        let check = |web_url: Option<&str>, host: Ipv4Addr| {
            let mut config = Config::default();
            config.oauth.insert("google".to_owned(), good(None));
            config.web_url = web_url.map(str::to_owned);
            config.server.host = host.into();
            config.registration = Some(super::super::Registration::Open);
            config.check().is_ok()
        };
        for (web_url, host, safe) in [
            (Some("https://gate.example"), Ipv4Addr::UNSPECIFIED, true),
            (Some("http://localhost:8080"), Ipv4Addr::UNSPECIFIED, true),
            (Some("http://127.0.0.1:8080"), Ipv4Addr::LOCALHOST, true),
            (None, Ipv4Addr::LOCALHOST, true),
            (None, Ipv4Addr::UNSPECIFIED, false),
            (Some("http://gate.example"), Ipv4Addr::LOCALHOST, false),
            (Some("http://10.0.0.1"), Ipv4Addr::LOCALHOST, false),
        ] {
            assert_eq!(check(web_url, host), safe, "{web_url:?} {host}");
        }
    }
}
