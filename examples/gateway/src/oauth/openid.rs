use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use llm_gate::auth::{ForeignIssuer, IdTokenVerifier, JwtAlgorithm};
use llm_gate::clock::{Clock, Timestamp};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::http::{Answer, Http};
use super::{OAuthError, Registered, Returned, Said, Sealed, form, with_query};
use crate::config::Secret;

/// How long what a provider says of itself is believed before it is asked again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it is believed while the provider cannot be asked.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long a provider that could not be asked is not asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// How ID tokens may be signed: what the provider alone can make.
const ALGORITHMS: [JwtAlgorithm; 3] = [
    JwtAlgorithm::Rs256,
    JwtAlgorithm::Es256,
    JwtAlgorithm::EdDsa,
];

/// A provider that speaks OpenID Connect.
pub(super) struct OpenId {
    issuer: String,
    registered: Registered,
    http: Http,
    clock: Arc<dyn Clock>,
    found: Mutex<Found>,
}

/// What was found out so far.
#[derive(Default)]
struct Found {
    metadata: Option<(Timestamp, Arc<Metadata>)>,
    failed_at: Option<Timestamp>,
}

/// What a provider says of itself, checked.
struct Metadata {
    authorize: Uri,
    token: Uri,
    userinfo: Option<Uri>,
    jwks: Uri,
    verifier: IdTokenVerifier,
    /// Whether it wants our secret in a header, and not in the form.
    basic: bool,
    /// Whether it names itself when it sends people back (RFC 9207).
    names_itself: bool,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Secret,
    access_token: Option<Secret>,
}

/// Why a provider gives out no token (RFC 6749, section 5.2).
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}

/// What it says of somebody when it is asked (OpenID Connect Core 1.0, section 5.3.2).
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    email: Option<String>,
    #[serde(default)]
    email_verified: serde_json::Value,
}

impl OpenId {
    pub(super) fn new(
        issuer: String,
        registered: Registered,
        http: Http,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            issuer,
            registered,
            http,
            clock,
            found: Mutex::default(),
        }
    }

    pub(super) async fn authorize(&self, sealed: &Sealed) -> Result<String, OAuthError> {
        let metadata = self.metadata().await?;
        let parameters = [
            ("response_type", "code"),
            ("client_id", &*self.registered.client_id),
            ("redirect_uri", &*self.registered.redirect_uri),
            ("scope", "openid email"),
            ("state", sealed.state()),
            ("nonce", sealed.nonce()),
            ("code_challenge", &sealed.challenge()),
            ("code_challenge_method", "S256"),
        ];
        Ok(with_query(&metadata.authorize, &parameters))
    }

    pub(super) async fn profile(
        &self,
        returned: &Returned,
        sealed: &Sealed,
    ) -> Result<Said, OAuthError> {
        let metadata = self.metadata().await?;
        let known = match &returned.issuer {
            Some(issuer) => *issuer == self.issuer,
            None => !metadata.names_itself,
        };
        if !known {
            return Err(OAuthError::Issuer);
        }
        let tokens = self.exchange(&metadata, returned, sealed).await?;
        let verifying = metadata
            .verifier
            .verify(tokens.id_token.expose(), sealed.nonce());
        let token = verifying.await.map_err(OAuthError::Token)?;
        let email = match (token.email, &metadata.userinfo, &tokens.access_token) {
            (Some(email), _, _) => Some(email).filter(|_| token.email_verified),
            // Whoever keeps addresses out of ID tokens tells them when it is asked.
            (None, Some(url), Some(access)) => {
                let answer = self.http.get(url, Some(access.expose())).await?;
                let info: UserInfo = answer.good()?;
                if info.sub != token.subject {
                    return Err(OAuthError::Useless("it tells of somebody else"));
                }
                info.email
                    .filter(|_| info.email_verified == serde_json::Value::Bool(true))
            }
            (None, _, _) => None,
        };
        Ok(Said {
            subject: token.subject,
            email,
        })
    }

    /// Changes the code into tokens.
    async fn exchange(
        &self,
        metadata: &Metadata,
        returned: &Returned,
        sealed: &Sealed,
    ) -> Result<Tokens, OAuthError> {
        let (id, secret) = (
            &*self.registered.client_id,
            self.registered.client_secret.expose(),
        );
        let mut parameters = vec![
            ("grant_type", "authorization_code"),
            ("code", returned.code.expose()),
            ("redirect_uri", &*self.registered.redirect_uri),
            ("code_verifier", sealed.verifier().expose()),
        ];
        let basic = metadata.basic.then(|| basic(id, secret));
        if basic.is_none() {
            parameters.extend([("client_id", id), ("client_secret", secret)]);
        }
        let form = form(&parameters);
        let answer = self.http.post(&metadata.token, form, basic.as_deref());
        let answer = answer.await?;
        refused(&answer, "invalid_grant")?;
        answer.good()
    }

    /// Returns what the provider says of itself. One asks, others wait for that.
    async fn metadata(&self) -> Result<Arc<Metadata>, OAuthError> {
        let mut found = self.found.lock().await;
        let now = self.clock.now();
        let known = |than| {
            let (at, metadata) = found.metadata.as_ref()?;
            within(*at, now, than).then(|| Arc::clone(metadata))
        };
        if let Some(metadata) = known(FRESH) {
            return Ok(metadata);
        }
        let old = known(STALE);
        if found.failed_at.is_some_and(|at| within(at, now, PAUSE)) {
            return old.ok_or(OAuthError::Paused);
        }
        // Until it has answered it has not: who leaves meanwhile does not let the next one ask at once.
        found.failed_at = Some(now);
        match self.discover(old.as_deref()).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                found.metadata = Some((now, Arc::clone(&metadata)));
                found.failed_at = None;
                Ok(metadata)
            }
            Err(error) => {
                if old.is_some() {
                    let (issuer, error) = (&self.issuer, &error as &dyn std::error::Error);
                    tracing::warn!(issuer, error, "a provider cannot be asked about itself");
                }
                old.ok_or(error)
            }
        }
    }

    async fn discover(&self, old: Option<&Metadata>) -> Result<Metadata, OAuthError> {
        let base = self.issuer.trim_end_matches('/');
        let url = self.safe(&format!("{base}/.well-known/openid-configuration"))?;
        let discovered: Discovered = self.http.get(&url, None).await?.good()?;
        // Letter by letter (OpenID Connect Discovery 1.0, section 4.3).
        if discovered.issuer != self.issuer {
            return Err(OAuthError::Useless("it is of another issuer"));
        }
        let userinfo = discovered.userinfo_endpoint.as_deref();
        let methods = discovered.token_endpoint_auth_methods_supported;
        let takes = |method| {
            let methods = methods.as_ref();
            methods.map(|all| all.iter().any(|one| one == method))
        };
        let basic = takes("client_secret_basic").unwrap_or(true);
        if !basic && takes("client_secret_post") != Some(true) {
            return Err(OAuthError::Useless("it takes no client_secret"));
        }
        let jwks = self.safe(&discovered.jwks_uri)?;
        let verifier = match old.filter(|old| old.jwks == jwks) {
            // With the keys that it has.
            Some(old) => old.verifier.clone(),
            None => self.verifier(jwks.clone())?,
        };
        Ok(Metadata {
            authorize: self.safe(&discovered.authorization_endpoint)?,
            token: self.safe(&discovered.token_endpoint)?,
            userinfo: userinfo.map(|url| self.safe(url)).transpose()?,
            jwks,
            verifier,
            basic,
            names_itself: discovered.authorization_response_iss_parameter_supported,
        })
    }

    fn verifier(&self, jwks: Uri) -> Result<IdTokenVerifier, OAuthError> {
        let client = &self.registered.client_id;
        let issuer = ForeignIssuer::new(&self.issuer, client, jwks, ALGORITHMS)
            .map_err(|_| OAuthError::Useless("its keys are at no safe address"))?;
        Ok(IdTokenVerifier::new(issuer, Arc::clone(&self.clock)))
    }

    /// Takes an address that the provider names: never one of this machine, unless it is on it itself.
    fn safe(&self, text: &str) -> Result<Uri, OAuthError> {
        let url: Option<Uri> = text.parse().ok();
        url.filter(|url| {
            let here = self.issuer.starts_with("http:");
            ForeignIssuer::is_safe(url) && (here || url.scheme_str() == Some("https"))
        })
        .ok_or(OAuthError::Useless("it names an address that is not safe"))
    }
}

/// Finds out of an answer whether no token was given out: because of the code, which `word` says, or of us.
pub(super) fn refused(answer: &Answer, word: &str) -> Result<(), OAuthError> {
    match answer.read::<Refusal>() {
        Some(refusal) if refusal.error == word => Err(OAuthError::Code),
        Some(_) if !answer.status.is_server_error() => Err(OAuthError::Client),
        _ => Ok(()),
    }
}

/// Writes what we are called and our secret for `Authorization` (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| {
        let bytes = form_urlencoded::byte_serialize(text.as_bytes());
        bytes.collect::<String>()
    };
    let both = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", STANDARD.encode(both))
}

/// Whether `at` lies less than `limit` before `now`. A clock that was set back ends it.
fn within(at: Timestamp, now: Timestamp, limit: Duration) -> bool {
    at <= now && now.since(at) < limit
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenId")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
