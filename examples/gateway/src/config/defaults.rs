//! What holds unless it is set.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use llm_gate::auth::JwtAlgorithm;
use llm_gate::tokens::Tokens;

use super::{
    AuthConfig, Config, CorsConfig, DatabaseConfig, HeaderConfig, LedgerConfig, LimitConfig,
    LogConfig, LogFormat, LogRotation, MailConfig, MetricsConfig, PasswordConfig, ProxyHeader,
    RateLimitConfig, ServerConfig, UpstreamConfig,
};

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            registration: None,
            web_url: None,
            server: ServerConfig::default(),
            metrics: MetricsConfig::default(),
            database: DatabaseConfig::default(),
            ledger: LedgerConfig::default(),
            auth: AuthConfig::default(),
            oauth: BTreeMap::new(),
            passwords: PasswordConfig::default(),
            limits: LimitConfig::default(),
            mail: MailConfig::default(),
            rate_limits: RateLimitConfig::default(),
            upstream: UpstreamConfig::default(),
            cors: CorsConfig::default(),
            headers: HeaderConfig::default(),
            log: LogConfig::default(),
            models: BTreeMap::new(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            max_connections: 4096,
            max_connections_per_address: 512,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::XForwardedFor,
            header_timeout_seconds: 10,
            stalled_write_seconds: 30,
            drain_seconds: 30,
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 9464,
        }
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            heartbeat_seconds: 5,
            lease_seconds: 15,
            grace_seconds: 30,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_algorithm: JwtAlgorithm::Hs256.to_string(),
            jwt_key_files: Vec::new(),
            jwt_expiration_hours: None,
            api_key_pepper: None,
            api_token_hash: None,
            issuers: BTreeMap::new(),
            refresh_idle_hours: 7 * 24,
            refresh_total_hours: 30 * 24,
        }
    }
}

impl Default for PasswordConfig {
    /// The parameters are those of the OWASP password storage cheat sheet.
    fn default() -> Self {
        Self {
            min_length: 15,
            memory_kib: 19 * 1024,
            iterations: 2,
            queue: 64,
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            default_user: Tokens::new(10_000),
        }
    }
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            url: None,
            from: "llm-gate <llm-gate@localhost>".to_owned(),
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8000".to_owned(),
            api_key: None,
            provider: "vllm".to_owned(),
            model: None,
            connect_timeout_seconds: 2,
            stream_head_timeout_seconds: 60,
            head_timeout_seconds: 600,
            idle_timeout_seconds: 120,
            total_timeout_seconds: 3600,
        }
    }
}

impl Default for HeaderConfig {
    fn default() -> Self {
        Self {
            csp: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
                .to_owned(),
            hsts: "max-age=31536000; includeSubDomains".to_owned(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            folder: None,
            rotation: LogRotation::Daily,
            files: 14,
        }
    }
}
