use super::secret::REDACTED;
use super::{Config, Secret};

/// How the text of a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it stands, digits too.
    Text,
    /// As a whole number.
    Number,
    /// As texts separated by commas.
    List,
}

/// One thing that can be set.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file, sections separated by points.
    pub name: &'static str,
    /// Its variable, where it has one of its own beside `LLM_GATE_…`.
    pub(super) kept: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) value: fn(&Config) -> String,
}

impl Setting {
    /// Returns the variable it is set with: the kept name or `LLM_GATE_SECTION__FIELD`.
    #[must_use]
    pub fn variable(&self) -> String {
        self.kept.map_or_else(|| self.prefixed(), str::to_owned)
    }

    pub(super) fn prefixed(&self) -> String {
        format!("LLM_GATE_{}", self.name.to_uppercase().replace('.', "__"))
    }

    /// Returns whether what it is set to in `config` is a secret.
    #[must_use]
    pub fn is_secret(&self, config: &Config) -> bool {
        // A text stands in quotes, so none looks like this.
        self.show(config) == REDACTED
    }

    /// Returns its value in `config` for people to read, secrets redacted.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        (self.value)(config)
    }
}

macro_rules! setting {
    ($name:literal, $kept:expr, $kind:ident, $value:expr) => {
        Setting {
            name: $name,
            kept: $kept,
            kind: Kind::$kind,
            value: $value,
        }
    };
}

fn optional<T: std::fmt::Debug>(value: Option<&T>) -> String {
    value.map_or_else(|| "(unset)".to_owned(), |value| format!("{value:?}"))
}

fn made(secret: Option<&Secret>) -> String {
    secret.map_or_else(
        || "(unset: the one in the data folder)".to_owned(),
        |secret| format!("{secret:?}"),
    )
}

/// Everything that can be set, in the order of the module page.
pub static SETTINGS: &[Setting] = &[
    setting!("data_dir", None, Text, |c| format!("{:?}", c.data_dir)),
    setting!("registration", None, Text, |c| {
        format!("\"{:?}\"", c.registration()).to_lowercase()
    }),
    setting!("web_url", Some("WEB_URL"), Text, |c| format!(
        "{:?}",
        c.web_url((c.server.host, c.server.port).into())
    )),
    setting!("server.host", None, Text, |c| format!(
        "\"{}\"",
        c.server.host
    )),
    setting!("server.port", Some("PORT"), Number, |c| c
        .server
        .port
        .to_string()),
    setting!("server.max_connections", None, Number, |c| c
        .server
        .max_connections
        .to_string()),
    setting!("server.max_connections_per_address", None, Number, |c| c
        .server
        .max_connections_per_address
        .to_string()),
    setting!("server.trusted_proxies", None, List, |c| {
        let proxies = c.server.trusted_proxies.iter();
        let proxies: Vec<_> = proxies.map(ToString::to_string).collect();
        format!("{proxies:?}")
    }),
    setting!("server.proxy_header", None, Text, |c| format!(
        "{:?}",
        c.server.proxy_header.name()
    )),
    setting!("server.header_timeout_seconds", None, Number, |c| c
        .server
        .header_timeout_seconds
        .to_string()),
    setting!("server.stalled_write_seconds", None, Number, |c| c
        .server
        .stalled_write_seconds
        .to_string()),
    setting!("server.drain_seconds", None, Number, |c| c
        .server
        .drain_seconds
        .to_string()),
    setting!("metrics.host", None, Text, |c| format!(
        "\"{}\"",
        c.metrics.host
    )),
    setting!("metrics.port", None, Number, |c| c.metrics.port.to_string()),
    setting!("database.url", Some("DATABASE_URL"), Text, |c| c
        .database
        .url
        .as_ref()
        .map_or_else(
            || format!("\"sqlite:{}\"", c.data_dir.join("llm-gate.db").display()),
            |url| format!("{url:?}")
        )),
    setting!("ledger.heartbeat_seconds", None, Number, |c| c
        .ledger
        .heartbeat_seconds
        .to_string()),
    setting!("ledger.lease_seconds", None, Number, |c| c
        .ledger
        .lease_seconds
        .to_string()),
    setting!("ledger.grace_seconds", None, Number, |c| c
        .ledger
        .grace_seconds
        .to_string()),
    setting!("auth.jwt_secret", Some("JWT_SECRET_KEY"), Text, |c| {
        made(c.auth.jwt_secret.as_ref())
    }),
    setting!(
        "auth.jwt_algorithm",
        Some("JWT_ALGORITHM"),
        Text,
        |c| format!("{:?}", c.auth.jwt_algorithm)
    ),
    setting!("auth.jwt_key_files", Some("JWT_KEY_FILES"), List, |c| {
        format!("{:?}", c.auth.jwt_key_files)
    }),
    setting!(
        "auth.jwt_expiration_hours",
        Some("JWT_EXPIRATION_HOURS"),
        Number,
        |c| c.auth.jwt_expiration_hours.map_or_else(
            || "(unset: 10 minutes)".to_owned(),
            |hours| hours.to_string()
        )
    ),
    setting!("auth.api_key_pepper", Some("API_KEY_PEPPER"), Text, |c| {
        made(c.auth.api_key_pepper.as_ref())
    }),
    setting!("auth.api_token_hash", Some("API_TOKEN_HASH"), Text, |c| {
        optional(c.auth.api_token_hash.as_ref())
    }),
    setting!("auth.refresh_idle_hours", None, Number, |c| c
        .auth
        .refresh_idle_hours
        .to_string()),
    setting!("auth.refresh_total_hours", None, Number, |c| c
        .auth
        .refresh_total_hours
        .to_string()),
    setting!("passwords.min_length", None, Number, |c| c
        .passwords
        .min_length
        .to_string()),
    setting!("passwords.memory_kib", None, Number, |c| c
        .passwords
        .memory_kib
        .to_string()),
    setting!("passwords.iterations", None, Number, |c| c
        .passwords
        .iterations
        .to_string()),
    setting!("passwords.queue", None, Number, |c| c
        .passwords
        .queue
        .to_string()),
    setting!(
        "oauth.google.client_id",
        Some("GOOGLE_CLIENT_ID"),
        Text,
        |c| optional(c.oauth.get("google").and_then(|one| one.client_id.as_ref()))
    ),
    setting!(
        "oauth.google.client_secret",
        Some("GOOGLE_CLIENT_SECRET"),
        Text,
        |c| optional(
            c.oauth
                .get("google")
                .and_then(|one| one.client_secret.as_ref())
        )
    ),
    setting!(
        "oauth.github.client_id",
        Some("GITHUB_CLIENT_ID"),
        Text,
        |c| optional(c.oauth.get("github").and_then(|one| one.client_id.as_ref()))
    ),
    setting!(
        "oauth.github.client_secret",
        Some("GITHUB_CLIENT_SECRET"),
        Text,
        |c| optional(
            c.oauth
                .get("github")
                .and_then(|one| one.client_secret.as_ref())
        )
    ),
    setting!("limits.default_user", None, Number, |c| c
        .limits
        .default_user
        .to_string()),
    setting!("mail.url", None, Text, |c| optional(c.mail.url.as_ref())),
    setting!("mail.from", None, Text, |c| format!("{:?}", c.mail.from)),
    setting!("rate_limits.per_address", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.per_address
    )),
    setting!("rate_limits.per_identity", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.per_identity
    )),
    setting!("rate_limits.logins_per_address", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.logins_per_address
    )),
    setting!("rate_limits.failures_per_address", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.failures_per_address
    )),
    setting!("rate_limits.login_failures", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.login_failures
    )),
    setting!("rate_limits.letters_per_receiver", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.letters_per_receiver
    )),
    setting!("rate_limits.invites_per_user", None, Text, |c| format!(
        "\"{}\"",
        c.rate_limits.invites_per_user
    )),
    setting!("upstream.url", Some("VLLM_ENDPOINT"), Text, |c| format!(
        "{:?}",
        c.upstream.url
    )),
    setting!(
        "upstream.api_key",
        Some("VLLM_API_KEY"),
        Text,
        |c| optional(c.upstream.api_key.as_ref())
    ),
    setting!(
        "upstream.provider",
        Some("LLM_PROVIDER"),
        Text,
        |c| format!("{:?}", c.upstream.provider)
    ),
    setting!("upstream.model", Some("MODEL_NAME"), Text, |c| optional(
        c.upstream.model.as_ref()
    )),
    setting!("upstream.connect_timeout_seconds", None, Number, |c| c
        .upstream
        .connect_timeout_seconds
        .to_string()),
    setting!("upstream.stream_head_timeout_seconds", None, Number, |c| c
        .upstream
        .stream_head_timeout_seconds
        .to_string()),
    setting!("upstream.head_timeout_seconds", None, Number, |c| c
        .upstream
        .head_timeout_seconds
        .to_string()),
    setting!("upstream.idle_timeout_seconds", None, Number, |c| c
        .upstream
        .idle_timeout_seconds
        .to_string()),
    setting!("upstream.total_timeout_seconds", None, Number, |c| c
        .upstream
        .total_timeout_seconds
        .to_string()),
    setting!("cors.origins", Some("CORS_ORIGINS"), List, |c| format!(
        "{:?}",
        c.cors.origins
    )),
    setting!("headers.csp", None, Text, |c| format!(
        "{:?}",
        c.headers.csp
    )),
    setting!("headers.hsts", None, Text, |c| format!(
        "{:?}",
        c.headers.hsts
    )),
    setting!("log.format", None, Text, |c| format!(
        "\"{:?}\"",
        c.log.format
    )
    .to_lowercase()),
    setting!("log.filter", None, Text, |c| format!("{:?}", c.log.filter)),
    setting!("log.folder", None, Text, |c| c
        .log
        .folder
        .as_ref()
        .map_or_else(
            || "none".to_owned(),
            |folder| format!("{folder:?}")
        )),
    setting!("log.rotation", None, Text, |c| format!(
        "\"{:?}\"",
        c.log.rotation
    )
    .to_lowercase()),
    setting!("log.files", None, Number, |c| c.log.files.to_string()),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_page_lists_every_setting_with_its_variable() {
        let page = include_str!("mod.rs");
        for setting in SETTINGS {
            let row = format!("//! | `{}` | `{}`", setting.name, setting.variable());
            assert!(page.contains(&row), "no line starts with {row:?}");
        }
    }
}
