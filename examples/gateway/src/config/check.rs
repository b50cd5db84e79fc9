use http::{HeaderValue, Uri};
use llm_gate::auth::JwtAlgorithm;
use llm_gate::upstream::{InvalidName, UpstreamName};
use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, MIN_SECRET_BYTES, Registration, Secret};
use crate::mail::{Relay, RelayError};

const MAX_ACCESS_HOURS: u32 = 24;
const MIN_PASSWORD_LENGTH: usize = 8;
const MAX_PASSWORD_LENGTH: usize = 128;

impl Config {
    /// Refuses what cannot work or is not safe.
    ///
    /// # Errors
    ///
    /// Fails with the first setting at fault. The words never repeat a secret.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_listeners()?;
        self.check_ledger()?;
        self.check_auth()?;
        self.check_passwords()?;
        self.check_addresses()?;
        self.check_oauth()?;
        self.check_models()?;
        self.check_log()?;
        self.check_mail()?;
        self.database().map(drop)
    }

    fn check_log(&self) -> Result<(), ConfigError> {
        if self.log.files == 0 {
            return Err(ConfigError::refused(
                "log.files (LLM_GATE_LOG__FILES)",
                "must be at least 1",
            ));
        }
        EnvFilter::try_new(&self.log.filter).map(drop).map_err(|_| {
            ConfigError::refused(
                "log.filter (LLM_GATE_LOG__FILTER)",
                "must be a level such as info or debug, or levels by target such as info,llm_gate=debug",
            )
        })
    }

    fn check_mail(&self) -> Result<(), ConfigError> {
        let Some(url) = &self.mail.url else {
            return Ok(());
        };
        match Relay::new(url, &self.mail.from) {
            Ok(_) => Ok(()),
            Err(error @ RelayError::From) => {
                Err(ConfigError::refused("mail.from", error.to_string()))
            }
            Err(error) => Err(ConfigError::refused("mail.url", error.to_string())),
        }
    }

    fn check_models(&self) -> Result<(), ConfigError> {
        let zero = self.models.iter().find(|(_, model)| {
            [model.context_length, model.output_cap, model.bytes_factor].contains(&Some(0))
        });
        match zero {
            Some((name, _)) => Err(ConfigError::refused(
                "models",
                format!(
                    "context_length, output_cap and bytes_factor of {name:?} must be at least 1"
                ),
            )),
            None => Ok(()),
        }
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        if !self.server.host.is_loopback() && self.registration.is_none() {
            return Err(ConfigError::refused(
                "registration (LLM_GATE_REGISTRATION)",
                format!(
                    "the gateway is to listen on {}, which others can reach; say \"open\" if anybody may \
                     make an account, \"invite\" for who is invited, or \"closed\"",
                    self.server.host
                ),
            ));
        }
        if self.server.max_connections == 0 {
            return Err(ConfigError::refused(
                "server.max_connections",
                "must be at least 1",
            ));
        }
        if self.server.header_timeout_seconds == 0 || self.server.stalled_write_seconds == 0 {
            return Err(ConfigError::refused(
                "server",
                "a timeout must be at least 1 second",
            ));
        }
        Ok(())
    }

    fn check_ledger(&self) -> Result<(), ConfigError> {
        let ledger = &self.ledger;
        if ledger.heartbeat_seconds == 0 || ledger.lease_seconds <= ledger.heartbeat_seconds {
            return Err(ConfigError::refused(
                "ledger.lease_seconds",
                "must be more than ledger.heartbeat_seconds, and that at least 1",
            ));
        }
        Ok(())
    }

    fn check_auth(&self) -> Result<(), ConfigError> {
        let auth = &self.auth;
        check_secret("auth.jwt_secret (JWT_SECRET_KEY)", auth.jwt_secret.as_ref())?;
        check_secret(
            "auth.api_key_pepper (API_KEY_PEPPER)",
            auth.api_key_pepper.as_ref(),
        )?;
        match auth.algorithm() {
            Some(JwtAlgorithm::Hs256) => {}
            Some(JwtAlgorithm::EdDsa | JwtAlgorithm::Es256) if auth.jwt_key_files.is_empty() => {
                return Err(ConfigError::refused(
                    "auth.jwt_key_files (JWT_KEY_FILES)",
                    "must name a key file for this algorithm; make one with: llm-gate signing-key \
                     create FILE",
                ));
            }
            Some(JwtAlgorithm::EdDsa | JwtAlgorithm::Es256) => {}
            _ => {
                return Err(ConfigError::refused(
                    "auth.jwt_algorithm (JWT_ALGORITHM)",
                    "must be HS256, EdDSA or ES256",
                ));
            }
        }
        auth.operator()?;
        auth.foreign()?;
        if self.names_are_credentials() && self.registration() != Registration::Closed {
            return Err(ConfigError::refused(
                "registration",
                "must be \"closed\" where an issuer has accounts = \"name\": anybody could register the name that \
                 somebody else's tokens say",
            ));
        }
        if auth
            .jwt_expiration_hours
            .is_some_and(|hours| hours == 0 || hours > MAX_ACCESS_HOURS)
        {
            return Err(ConfigError::refused(
                "auth.jwt_expiration_hours (JWT_EXPIRATION_HOURS)",
                format!("must lie between 1 and {MAX_ACCESS_HOURS}"),
            ));
        }
        if auth.refresh_idle_hours == 0 || auth.refresh_total_hours < auth.refresh_idle_hours {
            return Err(ConfigError::refused(
                "auth.refresh_total_hours",
                "must be at least auth.refresh_idle_hours, and that at least 1",
            ));
        }
        Ok(())
    }

    fn check_passwords(&self) -> Result<(), ConfigError> {
        let passwords = &self.passwords;
        if !(MIN_PASSWORD_LENGTH..=MAX_PASSWORD_LENGTH).contains(&passwords.min_length) {
            return Err(ConfigError::refused(
                "passwords.min_length",
                format!("must lie between {MIN_PASSWORD_LENGTH} and {MAX_PASSWORD_LENGTH}"),
            ));
        }
        let least = least_memory(passwords.iterations);
        if least.is_none_or(|least| passwords.memory_kib < least) {
            return Err(ConfigError::refused(
                "passwords.memory_kib",
                "must be at least what OWASP names for so many of passwords.iterations: 47104 for 1, 19456 for 2, 12288 for \
                 3, 9216 for 4, 7168 for 5 and more",
            ));
        }
        if passwords.memory_kib > 1 << 20 || passwords.iterations > 100 {
            return Err(ConfigError::refused(
                "passwords.memory_kib",
                "must be at most 1048576, with at most 100 of passwords.iterations",
            ));
        }
        Ok(())
    }

    /// Returns what the upstream is called on record.
    ///
    /// # Errors
    ///
    /// Fails where the provider is no name.
    pub fn upstream_name(&self) -> Result<UpstreamName, ConfigError> {
        self.upstream
            .provider
            .parse()
            .map_err(|invalid: InvalidName| {
                ConfigError::refused("upstream.provider (LLM_PROVIDER)", invalid.to_string())
            })
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        if !is_http(&self.upstream.url) {
            return Err(ConfigError::refused(
                "upstream.url (VLLM_ENDPOINT)",
                "must start with http:// or https:// and hold no user name",
            ));
        }
        self.upstream_name()?;
        let upstream = &self.upstream;
        let timeouts = [
            upstream.connect_timeout_seconds,
            upstream.stream_head_timeout_seconds,
            upstream.head_timeout_seconds,
            upstream.idle_timeout_seconds,
            upstream.total_timeout_seconds,
        ];
        if timeouts.contains(&0) {
            return Err(ConfigError::refused(
                "upstream",
                "a timeout must be at least 1 second",
            ));
        }
        if self.web_url.as_ref().is_some_and(|url| !is_http(url)) {
            return Err(ConfigError::refused(
                "web_url (WEB_URL)",
                "must start with http:// or https:// and hold no user name",
            ));
        }
        if !self.cors.origins.iter().all(|origin| is_origin(origin)) {
            return Err(ConfigError::refused(
                "cors.origins (CORS_ORIGINS)",
                "each must be an origin as browsers write it, such as https://console.example or \
                 http://127.0.0.1:5173: small letters, no default port, no path; * is not taken",
            ));
        }
        for (setting, value) in [
            ("headers.csp", &self.headers.csp),
            ("headers.hsts", &self.headers.hsts),
        ] {
            if HeaderValue::from_str(value).is_err() {
                return Err(ConfigError::refused(
                    setting,
                    "must be the value of a header",
                ));
            }
        }
        if self.headers.csp.trim().is_empty() {
            return Err(ConfigError::refused("headers.csp", "must not be empty"));
        }
        Ok(())
    }
}

fn check_secret(setting: &'static str, secret: Option<&Secret>) -> Result<(), ConfigError> {
    match secret {
        Some(secret) if secret.expose().len() < MIN_SECRET_BYTES => Err(ConfigError::refused(
            setting,
            format!("must have at least {MIN_SECRET_BYTES} bytes"),
        )),
        _ => Ok(()),
    }
}

fn is_http(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

/// Whether a browser could send it: they compare byte by byte, and so does the gateway. A slash at the end
/// is forgiven.
fn is_origin(origin: &str) -> bool {
    let origin = origin.strip_suffix('/').unwrap_or(origin);
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default = if scheme == "https" { ":443" } else { ":80" };
    is_http(origin)
        && !authority.contains(['/', '?', '#'])
        && !authority.ends_with(default)
        && !origin.contains(|c: char| c.is_ascii_uppercase())
}

/// Returns how much memory, in KiB, Argon2id with so many passes must have at least: the choices that [OWASP] names.
///
/// [OWASP]: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
const fn least_memory(passes: u32) -> Option<u32> {
    match passes {
        0 => None,
        1 => Some(47_104),
        2 => Some(19_456),
        3 => Some(12_288),
        4 => Some(9_216),
        _ => Some(7_168),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{AccountBy, IssuerConfig};
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_defaults_are_good() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn an_open_listener_needs_a_word_on_registration() {
        let words = refused(|config| config.server.host = Ipv4Addr::UNSPECIFIED.into());
        assert!(
            words.contains("registration") && words.contains("0.0.0.0"),
            "{words}"
        );

        let mut config = Config::default();
        config.server.host = Ipv4Addr::UNSPECIFIED.into();
        config.registration = Some(Registration::Closed);
        assert!(config.check().is_ok());
        assert_eq!(config.registration(), Registration::Closed);
    }

    #[test]
    fn nobody_registers_where_names_are_credentials() {
        let by_name = |registration| {
            let mut config = Config {
                registration,
                ..Config::default()
            };
            let issuer = IssuerConfig {
                jwks_url: "https://login.example/keys".to_owned(),
                audience: "llm-gate".to_owned(),
                algorithms: vec!["ES256".to_owned()],
                accounts: AccountBy::Name,
            };
            let issuers = &mut config.auth.issuers;
            issuers.insert("https://login.example".to_owned(), issuer);
            config.check()
        };
        assert!(by_name(Some(Registration::Closed)).is_ok());
        for open in [None, Some(Registration::Open), Some(Registration::Invite)] {
            let words = by_name(open).expect_err("must be refused").to_string();
            assert!(words.contains("registration"), "{open:?}: {words}");
        }
    }

    #[test]
    fn weak_secrets_are_refused() {
        for change in [
            |config: &mut Config| config.auth.jwt_secret = Some("short".into()),
            |config: &mut Config| config.auth.api_key_pepper = Some("short".into()),
        ] {
            assert!(refused(change).contains("at least 32 bytes"));
        }
    }

    #[test]
    fn origins_are_taken_as_browsers_write_them() {
        let mut config = Config::default();
        let origins = [
            "https://a.example",
            "http://127.0.0.1:5173",
            "https://b.example/",
        ];
        config.cors.origins = origins.map(str::to_owned).into();
        assert!(config.check().is_ok());
    }

    #[test]
    fn unsafe_values_are_refused() {
        for algorithm in ["none", "hs256", "RS256", ""] {
            refused(|config| config.auth.jwt_algorithm = algorithm.to_owned());
        }
        let words = refused(|config| config.auth.jwt_algorithm = "EdDSA".to_owned());
        assert!(words.contains("signing-key create"), "{words}");
        let words = refused(|config| config.auth.api_token_hash = Some("hunter2".into()));
        assert!(
            words.contains("64 hexadecimal digits") && !words.contains("hunter2"),
            "{words}"
        );
        refused(|config| config.auth.jwt_expiration_hours = Some(25));
        refused(|config| config.auth.refresh_idle_hours = 1000);
        refused(|config| config.passwords.min_length = 7);
        refused(|config| config.passwords.memory_kib = 8);
        for (memory, passes) in [
            (47_104, 0),
            (35_839, 1),
            (12_288, 2),
            (9_216, 3),
            (7_168, 4),
            (7_167, 6),
        ] {
            refused(|config| {
                (config.passwords.memory_kib, config.passwords.iterations) = (memory, passes);
            });
        }
        // Those of the password storage cheat sheet.
        for (memory, passes) in [
            (47_104, 1),
            (19_456, 2),
            (12_288, 3),
            (9_216, 4),
            (7_168, 5),
        ] {
            let mut config = Config::default();
            (config.passwords.memory_kib, config.passwords.iterations) = (memory, passes);
            assert!(config.check().is_ok(), "{memory} KiB, {passes} passes");
        }
        refused(|config| config.cors.origins = vec!["*".to_owned()]);
        for origin in [
            "*",
            "null",
            "a.example",
            "https://a.example/path",
            "https://a.example?query",
            "https://A.example",
            "https://a.example:443",
            "http://a.example:80",
            "ftp://a.example",
            "https://user@a.example",
        ] {
            refused(|config| config.cors.origins = vec![origin.to_owned()]);
        }
        refused(|config| config.headers.csp = "a\nb".to_owned());
        refused(|config| config.headers.csp = " ".to_owned());
        refused(|config| config.headers.hsts = "a\nb".to_owned());
        refused(|config| config.upstream.url = "ftp://x".to_owned());
        refused(|config| config.upstream.url = "http://user:secret@x".to_owned());
        refused(|config| config.upstream.idle_timeout_seconds = 0);
        refused(|config| config.server.max_connections = 0);
        refused(|config| config.server.stalled_write_seconds = 0);
        refused(|config| config.mail.url = Some("smtp://mail.example.org".into()));
    }
}
