//! Everything an operator can set: one file, the environment, flags. Read once, never rewritten.
//!
//! Later ones win: built-in default, file (`./llm-gate.toml` or `--config`), environment, flags. Fields
//! that are not listed here are refused, in the file and among the variables that start with
//! `LLM_GATE_`. An empty variable counts as unset. `llm-gate config show` prints what is in force and
//! where each value comes from.
//!
//! | Setting | Variable | Default |
//! |---|---|---|
//! | `data_dir` | `LLM_GATE_DATA_DIR` | `./data` |
//! | `registration` | `LLM_GATE_REGISTRATION` | `open` on a loopback listener, else to be stated: `open`, `invite` or `closed` |
//! | `web_url` | `WEB_URL` | `http://` and the listener |
//! | `server.host` | `LLM_GATE_SERVER__HOST` | `127.0.0.1` |
//! | `server.port` | `PORT` | 8080 |
//! | `server.max_connections` | `LLM_GATE_SERVER__MAX_CONNECTIONS` | 4096 |
//! | `server.max_connections_per_address` | `LLM_GATE_SERVER__MAX_CONNECTIONS_PER_ADDRESS` | 512; 0 for no bound but the one above; trusted proxies have none |
//! | `server.trusted_proxies` | `LLM_GATE_SERVER__TRUSTED_PROXIES` (separated by commas) | none: addresses such as `10.0.0.7` or `10.0.0.0/8` whose word on the client's address is taken |
//! | `server.proxy_header` | `LLM_GATE_SERVER__PROXY_HEADER` | `x-forwarded-for`, or `forwarded`: where they say it |
//! | `server.header_timeout_seconds` | `LLM_GATE_SERVER__HEADER_TIMEOUT_SECONDS` | 10 |
//! | `server.stalled_write_seconds` | `LLM_GATE_SERVER__STALLED_WRITE_SECONDS` | 30 |
//! | `server.drain_seconds` | `LLM_GATE_SERVER__DRAIN_SECONDS` | 30 |
//! | `metrics.host` | `LLM_GATE_METRICS__HOST` | `127.0.0.1` |
//! | `metrics.port` | `LLM_GATE_METRICS__PORT` | 9464 |
//! | `database.url` | `DATABASE_URL` | `sqlite:` and `llm-gate.db` in the data folder; or `postgres://…` |
//! | `ledger.heartbeat_seconds` | `LLM_GATE_LEDGER__HEARTBEAT_SECONDS` | 5: how often a gateway says that it is alive |
//! | `ledger.lease_seconds` | `LLM_GATE_LEDGER__LEASE_SECONDS` | 15: how long it is believed |
//! | `ledger.grace_seconds` | `LLM_GATE_LEDGER__GRACE_SECONDS` | 30: how long after that its holds are charged whole |
//! | `auth.jwt_secret` | `JWT_SECRET_KEY` | made once in the data folder, if the database lies there too |
//! | `auth.jwt_algorithm` | `JWT_ALGORITHM` | `HS256`; or `EdDSA`, `ES256` with key files |
//! | `auth.jwt_key_files` | `JWT_KEY_FILES` (separated by commas) | none: PEM files, the first signs, all check |
//! | `auth.jwt_expiration_hours` | `JWT_EXPIRATION_HOURS` | 10 minutes unless set; at most 24 |
//! | `auth.api_key_pepper` | `API_KEY_PEPPER` | as `auth.jwt_secret` |
//! | `auth.api_token_hash` | `API_TOKEN_HASH` | none: no operator key; the SHA-256 of one in hexadecimal |
//! | `auth.refresh_idle_hours` | `LLM_GATE_AUTH__REFRESH_IDLE_HOURS` | 168 |
//! | `auth.refresh_total_hours` | `LLM_GATE_AUTH__REFRESH_TOTAL_HOURS` | 720 |
//! | `passwords.min_length` | `LLM_GATE_PASSWORDS__MIN_LENGTH` | 15, not below 8 |
//! | `passwords.memory_kib` | `LLM_GATE_PASSWORDS__MEMORY_KIB` | 19456, not below what OWASP names for so many iterations |
//! | `passwords.iterations` | `LLM_GATE_PASSWORDS__ITERATIONS` | 2 |
//! | `passwords.queue` | `LLM_GATE_PASSWORDS__QUEUE` | 64: how many wait for a processor; strangers take half of the places |
//! | `oauth.google.client_id` | `GOOGLE_CLIENT_ID` | none: nobody logs in with Google |
//! | `oauth.google.client_secret` | `GOOGLE_CLIENT_SECRET` | none |
//! | `oauth.github.client_id` | `GITHUB_CLIENT_ID` | none: nobody logs in with GitHub |
//! | `oauth.github.client_secret` | `GITHUB_CLIENT_SECRET` | none |
//! | `limits.default_user` | `LLM_GATE_LIMITS__DEFAULT_USER` | 10000 |
//! | `mail.url` | `LLM_GATE_MAIL__URL` | none: nobody is written to; `smtps://user:password@host`, or `smtp://host:587?tls=required` |
//! | `mail.from` | `LLM_GATE_MAIL__FROM` | `llm-gate <llm-gate@localhost>` |
//! | `rate_limits.per_address` | `LLM_GATE_RATE_LIMITS__PER_ADDRESS` | `6000/minute`; `off`, like each of these: requests from one address |
//! | `rate_limits.per_identity` | `LLM_GATE_RATE_LIMITS__PER_IDENTITY` | `1200/minute`: requests with one API key, or of one login |
//! | `rate_limits.logins_per_address` | `LLM_GATE_RATE_LIMITS__LOGINS_PER_ADDRESS` | `60/minute`: registrations and logins of strangers, good or bad; logins with other providers; requests for reset letters; logins of one device, and proofs of one session, by password |
//! | `rate_limits.failures_per_address` | `LLM_GATE_RATE_LIMITS__FAILURES_PER_ADDRESS` | `120/minute`: wrong credentials of any kind |
//! | `rate_limits.login_failures` | `LLM_GATE_RATE_LIMITS__LOGIN_FAILURES` | `10/hour`: wrong passwords for one account by one device that has entered it, or by strangers from one address |
//! | `rate_limits.letters_per_receiver` | `LLM_GATE_RATE_LIMITS__LETTERS_PER_RECEIVER` | `10/hour`: letters of a kind (to confirm it, to reset a password, invites) that somebody asked for, to one e-mail address |
//! | `rate_limits.invites_per_user` | `LLM_GATE_RATE_LIMITS__INVITES_PER_USER` | `60/hour`: invites of one user to projects, and members whom one adds |
//! | `upstream.url` | `VLLM_ENDPOINT` | `http://127.0.0.1:8000` |
//! | `upstream.api_key` | `VLLM_API_KEY` | none |
//! | `upstream.provider` | `LLM_PROVIDER` | `vllm`: its name in lists of models and on record |
//! | `upstream.model` | `MODEL_NAME` | none: a request has to name its model |
//! | `upstream.connect_timeout_seconds` | `LLM_GATE_UPSTREAM__CONNECT_TIMEOUT_SECONDS` | 2 |
//! | `upstream.stream_head_timeout_seconds` | `LLM_GATE_UPSTREAM__STREAM_HEAD_TIMEOUT_SECONDS` | 60 |
//! | `upstream.head_timeout_seconds` | `LLM_GATE_UPSTREAM__HEAD_TIMEOUT_SECONDS` | 600 |
//! | `upstream.idle_timeout_seconds` | `LLM_GATE_UPSTREAM__IDLE_TIMEOUT_SECONDS` | 120 |
//! | `upstream.total_timeout_seconds` | `LLM_GATE_UPSTREAM__TOTAL_TIMEOUT_SECONDS` | 3600 |
//! | `cors.origins` | `CORS_ORIGINS` (separated by commas) | none |
//! | `headers.csp` | `LLM_GATE_HEADERS__CSP` | `default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`: of every answer but the pages of the gateway, which have their own |
//! | `headers.hsts` | `LLM_GATE_HEADERS__HSTS` | `max-age=31536000; includeSubDomains`, where `web_url` is `https`; empty for none |
//! | `log.format` | `LLM_GATE_LOG__FORMAT` | `text`, or `json` |
//! | `log.filter` | `LLM_GATE_LOG__FILTER` | `info` |
//! | `log.folder` | `LLM_GATE_LOG__FOLDER` | none: to standard error only; a folder for files as well |
//! | `log.rotation` | `LLM_GATE_LOG__ROTATION` | `daily`, `hourly` or `never`: when another file is begun, UTC |
//! | `log.files` | `LLM_GATE_LOG__FILES` | 14: how many are kept |
//!
//! `[models."NAME"]`, in the file only, says of a model what the upstream does not tell, or tells wrong:
//! `context_length` (the upstream's `max_model_len` unless set), `output_cap` (tokens a choice may have; no
//! cap unless set), `allowance` (tokens the chat template may add to a prompt; 64 unless set) and
//! `bytes_factor` (tokens a byte can become; 1 unless set).
//!
//! `[auth.issuers."NAME"]`, in the file only, takes the tokens of another issuer, which name it in `iss`:
//! `jwks_url` (where its keys are: `https://…`), `audience`, `algorithms` (some of `EdDSA`, `ES256`,
//! `RS256`) and `accounts` (what `sub` is here: `id` of an account unless set, or `name`, its user name or
//! e-mail address).
//!
//! `[oauth.NAME]` lets people log in with another provider, which has to lead them back to `web_url` and
//! `/api/v1/auth/NAME/callback`: `client_id` and `client_secret` (what it calls the gateway), `issuer` (its address, where
//! OpenID Connect Discovery finds the rest; Google's for `google`), and `kind`, `openid` unless set, or `github`, as for
//! the name `github`. One of that kind has `authorize_url`, `token_url` and `api_url` beside it, GitHub's own unless set,
//! and `issuer` is then what tells its accounts from those of others. All but those of the table are in the file only.
//!
//! Secrets that sign: at least 32 bytes. No secret is printed anywhere.

mod check;
mod database;
mod defaults;
mod error;
mod issuers;
mod load;
mod oauth;
mod proxies;
mod rates;
mod secret;
mod settings;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use llm_gate::auth::{JwtAlgorithm, KeyError, OperatorHash};
use llm_gate::call::Model;
use llm_gate::ledger::Leases;
use llm_gate::tokens::Tokens;
use serde::Deserialize;

pub use self::database::Database;
pub use self::error::ConfigError;
pub use self::issuers::{AccountBy, IssuerConfig};
pub use self::load::{Environment, Loaded, Sources};
pub use self::oauth::{GitHubUrls, OAuthConfig, OAuthKind, OAuthProtocol, OAuthProvider};
pub use self::proxies::{Cidr, ProxyHeader};
pub use self::rates::{RateLimitConfig, RateSetting};
pub use self::secret::Secret;
pub use self::settings::{SETTINGS, Setting};

/// The shortest secret that is taken.
pub const MIN_SECRET_BYTES: usize = 32;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where database and generated secrets lie by default.
    pub data_dir: PathBuf,
    /// Who may make an account. To be stated on a listener that others can reach.
    pub registration: Option<Registration>,
    /// The address users reach the gateway under; the issuer of its credentials.
    pub web_url: Option<String>,
    /// The public listener.
    pub server: ServerConfig,
    /// The listener for operators.
    pub metrics: MetricsConfig,
    /// Where the books are kept.
    pub database: DatabaseConfig,
    /// How long a gateway may be silent.
    pub ledger: LedgerConfig,
    /// Credentials.
    pub auth: AuthConfig,
    /// Others whom people log in with, by their names.
    pub oauth: BTreeMap<String, OAuthConfig>,
    /// Passwords.
    pub passwords: PasswordConfig,
    /// Limits of new accounts.
    pub limits: LimitConfig,
    /// Letters to users.
    pub mail: MailConfig,
    /// How many requests are let through in which time.
    pub rate_limits: RateLimitConfig,
    /// The model server.
    pub upstream: UpstreamConfig,
    /// Browsers of other origins.
    pub cors: CorsConfig,
    /// What browsers are told with every answer.
    pub headers: HeaderConfig,
    /// The log.
    pub log: LogConfig,
    /// What is to be known of models beside what the upstream tells, by their names.
    pub models: BTreeMap<String, ModelConfig>,
}

/// What is to be known of a model beside what the upstream tells.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// How many tokens prompt and completion may have together.
    pub context_length: Option<u64>,
    /// How many tokens a choice may have.
    pub output_cap: Option<u64>,
    /// How many tokens the chat template may add to a prompt.
    pub allowance: Option<u64>,
    /// How many tokens a byte of the body can become.
    pub bytes_factor: Option<u64>,
}

impl ModelConfig {
    /// Describes a model better than the upstream does.
    #[must_use]
    pub fn refine(&self, mut model: Model) -> Model {
        if let Some(tokens) = self.context_length {
            model = model.context_length(tokens);
        }
        if let Some(tokens) = self.output_cap {
            model = model.output_cap(tokens);
        }
        if let Some(tokens) = self.allowance {
            model = model.allowance(tokens);
        }
        match self.bytes_factor {
            Some(factor) => model.bytes_factor(factor),
            None => model,
        }
    }
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anybody.
    Open,
    /// Who is invited, to the platform or to a project.
    Invite,
    /// Who is invited by an admin of the platform; beside that an operator makes accounts with `llm-gate user create`.
    Closed,
}

/// The public listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on, 0 for any free one.
    pub port: u16,
    /// How many connections are open at once; more wait to be accepted.
    pub max_connections: usize,
    /// How many of them may come from one address; 0 for as many as there are.
    pub max_connections_per_address: usize,
    /// The proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Cidr>,
    /// Where they say it.
    pub proxy_header: ProxyHeader,
    /// How long a client may take for its header block.
    pub header_timeout_seconds: u64,
    /// How long a client may read nothing before its connection is closed.
    pub stalled_write_seconds: u64,
    /// How long open streams may run on after a shutdown was asked for.
    pub drain_seconds: u64,
}

/// The listener for operators. It asks for no credential, so it listens on loopback unless told otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on, 0 for any free one.
    pub port: u16,
}

/// Where the books are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:PATH`, a bare path, or `postgres://…`. May hold a password, so it is treated as a secret.
    pub url: Option<Secret>,
}

/// How long a gateway may be silent before others settle what it holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// How often it says that it is alive.
    pub heartbeat_seconds: u64,
    /// How long it is believed. Without a lease it takes no requests.
    pub lease_seconds: u64,
    /// How long after the lease its holds are charged whole.
    pub grace_seconds: u64,
}

/// Credentials.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Signs access tokens with HS256; beside another algorithm it only checks them.
    pub jwt_secret: Option<Secret>,
    /// How they are signed: `HS256`, `EdDSA` or `ES256`.
    pub jwt_algorithm: String,
    /// Keys in PEM files. The first signs unless the algorithm is HS256; all check. Equal on all replicas.
    pub jwt_key_files: Vec<PathBuf>,
    /// How long they live; 10 minutes unless set.
    pub jwt_expiration_hours: Option<u32>,
    /// Keys the hashes of API keys. Equal on all replicas.
    pub api_key_pepper: Option<Secret>,
    /// Others whose tokens are taken, by their names.
    pub issuers: BTreeMap<String, IssuerConfig>,
    /// The SHA-256 of the operator key, in hexadecimal. Equal on all replicas.
    pub api_token_hash: Option<Secret>,
    /// How long a refresh token lives unused.
    pub refresh_idle_hours: u32,
    /// How long a login lasts, however often it is refreshed.
    pub refresh_total_hours: u32,
}

/// Passwords.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// The shortest password that is taken, in characters.
    pub min_length: usize,
    /// Memory of one Argon2id run.
    pub memory_kib: u32,
    /// Passes of one Argon2id run.
    pub iterations: u32,
    /// How many runs may wait for a free core; more are answered 503.
    pub queue: usize,
}

/// Limits of new accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// How many tokens a new user may spend in total.
    pub default_user: Tokens,
}

/// Letters to users.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The relay's address, with user name and password where it wants them.
    pub url: Option<Secret>,
    /// In whose name letters go out.
    pub from: String,
}

/// The model server.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its address.
    pub url: String,
    /// Its API key.
    pub api_key: Option<Secret>,
    /// The name it is shown under.
    pub provider: String,
    /// The model for requests that name none.
    pub model: Option<String>,
    /// How long connecting may take.
    pub connect_timeout_seconds: u64,
    /// How long the head of a streamed answer may take.
    pub stream_head_timeout_seconds: u64,
    /// How long the head of any other answer may take, which comes when all is generated.
    pub head_timeout_seconds: u64,
    /// How long an answer may be silent.
    pub idle_timeout_seconds: u64,
    /// How long a call may take in all.
    pub total_timeout_seconds: u64,
}

/// Browsers of other origins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsConfig {
    /// The origins whose scripts may call the gateway.
    pub origins: Vec<String>,
}

/// What browsers are told with every answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderConfig {
    /// The content security policy of all answers but the pages of the gateway, which have their own.
    pub csp: String,
    /// What `Strict-Transport-Security` says where users come by `https`; empty for none.
    pub hsts: String,
}

/// The log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line is written.
    pub format: LogFormat,
    /// Which lines are written, as in `RUST_LOG`.
    pub filter: String,
    /// The folder that they are written into as well as to standard error, if any.
    pub folder: Option<PathBuf>,
    /// When another file is begun there.
    pub rotation: LogRotation,
    /// How many files are kept there.
    pub files: u32,
}

/// When the log begins another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    /// At each full hour, UTC.
    Hourly,
    /// At midnight, UTC.
    Daily,
    /// When something else takes the file away.
    Never,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl LedgerConfig {
    /// Returns it as the ledger wants it.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases {
            heartbeat: Duration::from_secs(self.heartbeat_seconds),
            lease: Duration::from_secs(self.lease_seconds),
            grace: Duration::from_secs(self.grace_seconds),
        }
    }
}

impl Config {
    /// Returns who may make an account: anybody unless told otherwise, as far as only this machine reaches the gateway.
    #[must_use]
    pub fn registration(&self) -> Registration {
        match self.registration {
            Some(setting) => setting,
            None if self.server.host.is_loopback() => Registration::Open,
            None => Registration::Closed,
        }
    }

    /// Returns whether tokens of another issuer go by the names of accounts. Then nobody takes a name but by an admin.
    #[must_use]
    pub fn names_are_credentials(&self) -> bool {
        let mut issuers = self.auth.issuers.values();
        issuers.any(|issuer| issuer.accounts == AccountBy::Name)
    }

    /// Returns the address users reach the gateway under when it listens on `address`.
    #[must_use]
    pub fn web_url(&self, address: SocketAddr) -> String {
        self.web_url
            .clone()
            .unwrap_or_else(|| format!("http://{address}"))
    }
}

impl ServerConfig {
    /// Returns whether an address is that of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|proxies| proxies.contains(address))
    }
}

impl AuthConfig {
    /// Returns how long an access token lives.
    #[must_use]
    pub fn access_lifetime(&self) -> Duration {
        self.jwt_expiration_hours
            .map_or(Duration::from_secs(600), hours)
    }

    /// Returns how access tokens are signed; `None` where [`Config::check`] would refuse.
    #[must_use]
    pub fn algorithm(&self) -> Option<JwtAlgorithm> {
        self.jwt_algorithm.parse().ok()
    }

    /// Returns the hash of the operator key, if there is one.
    ///
    /// # Errors
    ///
    /// Refuses what is no hash.
    pub fn operator(&self) -> Result<Option<OperatorHash>, ConfigError> {
        let hash = self
            .api_token_hash
            .as_ref()
            .map(|hash| hash.expose().parse());
        hash.transpose().map_err(|error: KeyError| {
            ConfigError::refused("auth.api_token_hash (API_TOKEN_HASH)", error.to_string())
        })
    }

    /// Returns how long a refresh token lives unused.
    #[must_use]
    pub fn refresh_idle(&self) -> Duration {
        hours(self.refresh_idle_hours)
    }

    /// Returns how long a login lasts.
    #[must_use]
    pub fn refresh_total(&self) -> Duration {
        hours(self.refresh_total_hours)
    }
}

fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}
