//! What the handlers share.

use std::sync::Arc;

use bytes::Bytes;
use llm_gate::auth::{
    AnyVerifier, ApiKeyVerifier, ForeignVerifier, JwkSet, JwtIssuer, JwtVerifier, KeyHasher,
};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::store::{Store, UsageStatistics};

use tokio::sync::{Mutex, Semaphore};

use crate::catalog::Catalog;
use crate::config::{Config, ConfigError};
use crate::devices::Devices;
use crate::error::StartError;
use crate::foreign::StoreAccounts;
use crate::last_use::LastUse;
use crate::mail::Mailer;
use crate::oauth::{Providers, Seal};
use crate::passwords::{Passwords, Policy};
use crate::rates::Rates;
use crate::secrets::Secrets;
use crate::vouch::Vouch;

/// Whom our credentials are meant for.
const AUDIENCE: &str = "llm-gate";

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The books.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Says which are taken.
    pub policy: Policy,
    /// Signs access tokens.
    pub issuer: JwtIssuer,
    /// The public keys of access tokens, as they are published.
    pub jwks: Bytes,
    /// Recognises API keys; to be told of changes.
    pub keys: ApiKeyVerifier,
    /// Recognises every caller.
    pub verifier: AnyVerifier,
    /// Hashes API keys.
    pub hasher: KeyHasher,
    /// What the upstream serves.
    pub catalog: Catalog,
    /// Whom people log in with beside us.
    pub providers: Providers,
    /// Makes the cookies of logins under way with them.
    pub seal: Seal,
    /// Makes the cookies of those who have entered an account.
    pub devices: Devices,
    /// The address users reach the gateway under.
    pub web_url: String,
    /// Writes to users, where a relay is configured.
    pub mailer: Option<Mailer>,
    /// Writes down when keys are used.
    pub last_use: LastUse,
    /// How many requests are let through in which time.
    pub rates: Rates,
    /// Tells what was given out here, for those.
    pub vouch: Vouch,
    /// One audit at a time: each keeps a connection for as long as it takes.
    pub audits: Semaphore,
    /// What everybody has used, and when that was added up: it is of all calls there are.
    pub statistics: Mutex<Option<(Timestamp, UsageStatistics)>>,
}

impl App {
    /// Puts the parts together; `web_url` is the issuer of credentials.
    ///
    /// # Errors
    ///
    /// Refuses weak secrets, and keys that cannot be told apart.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn new(
        config: Config,
        web_url: &str,
        secrets: &Secrets,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        mailer: Option<Mailer>,
    ) -> Result<Self, StartError> {
        let hasher = KeyHasher::new(secrets.pepper.expose().as_bytes())?;
        let keys = ApiKeyVerifier::new(Arc::clone(&store) as _, hasher.clone(), Arc::clone(&clock));
        let jwt = JwtVerifier::new(
            web_url,
            AUDIENCE,
            secrets.jwt.verifying.iter().cloned(),
            Arc::clone(&clock),
        )?;
        let mut verifier = AnyVerifier::new(jwt, keys.clone());
        if let Some(operator) = config.auth.operator()? {
            verifier = verifier.operator(operator);
        }
        let issuers = config.auth.foreign()?;
        if config.auth.issuers.contains_key(web_url) {
            return Err(ConfigError::refused(
                "auth.issuers",
                "one has the gateway's own name, see web_url (WEB_URL)",
            )
            .into());
        }
        if !issuers.is_empty() {
            let accounts = StoreAccounts::new(Arc::clone(&store), &config.auth);
            let foreign = ForeignVerifier::new(issuers, Arc::new(accounts), Arc::clone(&clock))?;
            verifier = verifier.others(Arc::new(foreign));
        }
        let devices = Devices::new(&secrets.pepper, hasher.clone());
        let https = web_url.starts_with("https://");
        let vouch = Vouch::new(verifier.clone(), hasher.clone(), devices.clone(), https);
        Ok(Self(Arc::new(Parts {
            passwords: Passwords::new(&config.passwords),
            policy: Policy::new(&config.passwords),
            issuer: JwtIssuer::new(
                web_url,
                AUDIENCE,
                secrets.jwt.signing.clone(),
                Arc::clone(&clock),
            ),
            jwks: JwkSet::of(&secrets.jwt.verifying).to_json().into(),
            verifier,
            keys,
            hasher,
            catalog: Catalog::new(config.models.clone()),
            providers: Providers::new(config.oauth_providers()?, web_url, &clock),
            seal: Seal::new(&secrets.pepper),
            devices,
            web_url: web_url.trim_end_matches('/').to_owned(),
            mailer,
            last_use: LastUse::spawn(Arc::clone(&store), Arc::clone(&clock)),
            rates: Rates::new(&config.rate_limits, &clock, &vouch),
            vouch,
            audits: Semaphore::new(1),
            statistics: Mutex::new(None),
            config,
            store,
            clock,
        })))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
