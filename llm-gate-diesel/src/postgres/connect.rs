//! From a URL to connections with the settings that the books need.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionResult;
use diesel_async::pooled_connection::deadpool::{BuildError, Pool};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};

use super::PgConfig;
use super::tls::Tls;
use crate::error::{OpenError, not_connected};

/// How long a silent connection is trusted.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Starts a pool. It connects when a connection is asked for.
pub(super) fn pool(config: &PgConfig) -> Result<Pool<AsyncPgConnection>, OpenError> {
    let target = Arc::new(Target::new(config)?);
    let mut manager = ManagerConfig::default();
    // A closed connection or one inside a transaction is noticed without asking the server. One that was
    // lost without a word fails its first call and is given up.
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let target = Arc::clone(&target);
        Box::pin(async move { target.connect().await })
    });
    // The URL is in the target already.
    let manager = AsyncDieselConnectionManager::new_with_config("", manager);
    Pool::builder(manager)
        .max_size(config.connections.get())
        .build()
        .map_err(|error: BuildError| OpenError::Config(error.into()))
}

struct Target {
    config: Config,
    tls: Option<Tls>,
    settings: String,
}

impl Target {
    fn new(config: &PgConfig) -> Result<Self, OpenError> {
        let schemes = ["postgres://", "postgresql://"];
        if !schemes.iter().any(|scheme| config.url.starts_with(scheme)) {
            return Err(OpenError::Config(
                "the URL does not begin with postgres://".into(),
            ));
        }
        let (url, mode) = take_mode(&config.url);
        let mut target: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| OpenError::Config(error.into()))?;
        let encrypted = is_encrypted(mode, &target).map_err(|why| OpenError::Config(why.into()))?;
        let tls = encrypted
            .then(|| Tls::new(config.roots.as_deref()))
            .transpose()
            .map_err(OpenError::Config)?;
        target
            .ssl_mode(if encrypted {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            .connect_timeout(config.connect_timeout)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(config.statement_timeout + KEEPALIVE);
        if target.get_application_name().is_none() {
            target.application_name("llm-gate");
        }
        Ok(Self {
            config: target,
            tls,
            settings: settings(config),
        })
    }

    async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let mut connection = match &self.tls {
            None => {
                let (client, connection) =
                    self.config.connect(NoTls).await.map_err(not_connected)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await?
            }
            Some(tls) => {
                let connecting = self.config.connect(tls.clone());
                let (client, connection) = connecting.await.map_err(not_connected)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await?
            }
        };
        connection
            .batch_execute(&self.settings)
            .await
            .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }
}

/// What every connection is set to. A commit is on the disk before it is answered; a server that is set to
/// more than that (`remote_apply`) stays so. Messages are wanted in English, because Diesel does not pass on
/// the codes of errors; where the role may not ask for that, the server's language stays.
///
/// All daily statements look rows up by key. A plan made while a table was small or not analysed would read it
/// whole, and a prepared statement keeps such a plan: with `= ANY` of 256 identifiers that took 12 to 25 ms.
/// So the planner is told, and only [`AUDIT`] may read whole tables.
fn settings(config: &PgConfig) -> String {
    format!(
        "SET statement_timeout = {statement};
         SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {statement};
         SET enable_seqscan = off;
         SET enable_hashjoin = off;
         SET enable_mergejoin = off;
         SET jit = off;
         SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') IN ('off', 'local');
         DO $$ BEGIN
             SET lc_messages TO 'C';
         EXCEPTION WHEN insufficient_privilege THEN NULL;
         END $$;",
        statement = config.statement_timeout.as_millis(),
        lock = config.lock_timeout.as_millis(),
    )
}

/// Begins a transaction that sees one unchanging state.
pub(super) const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Lets a transaction add up whole tables. Not for what anybody may ask for.
pub(super) const AUDIT: &str = "SET LOCAL enable_seqscan = on;
     SET LOCAL enable_hashjoin = on;
     SET LOCAL enable_mergejoin = on;
     SET LOCAL statement_timeout = 0;";

/// Takes `sslmode` out of a URL: tokio-postgres knows other words than libpq.
fn take_mode(url: &str) -> (String, Option<&str>) {
    let Some((base, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mode = |part: &'_ str| part.starts_with("sslmode=");
    let value = query.split('&').rfind(|part| mode(part));
    let rest: Vec<&str> = query.split('&').filter(|part| !mode(part)).collect();
    (
        format!("{base}?{}", rest.join("&")),
        value.and_then(|part| part.strip_prefix("sslmode=")),
    )
}

fn is_encrypted(mode: Option<&str>, target: &Config) -> Result<bool, String> {
    match mode {
        Some("disable") => Ok(false),
        Some("require" | "verify-full") => Ok(true),
        None => Ok(!target.get_hosts().iter().all(is_local)),
        Some(other) => Err(format!(
            "sslmode is {other}, which is none of disable, require and verify-full"
        )),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback())
        }
        // What is left is a Unix socket, where there are any.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(url: &str) -> Option<bool> {
        let target = Target::new(&PgConfig::new(url)).ok()?;
        assert_eq!(
            target.config.get_ssl_mode() == SslMode::Require,
            target.tls.is_some(),
            "never a plain connection in place of an encrypted one"
        );
        Some(target.tls.is_some())
    }

    #[test]
    fn the_url_says_whether_there_is_tls() {
        for (url, expected) in [
            ("postgres://a@db.example.org/x", Some(true)),
            ("postgres://a@localhost/x", Some(false)),
            ("postgres://a@127.0.0.1:5433/x", Some(false)),
            ("postgres://a@localhost,db.example.org/x", Some(true)),
            ("postgres://a@%2Frun%2Fpostgresql/x", Some(false)),
            ("postgres://a@localhost/x?sslmode=verify-full", Some(true)),
            ("postgres://a@localhost/x?sslmode=require", Some(true)),
            (
                "postgres://a@db.example.org/x?sslmode=disable&application_name=b",
                Some(false),
            ),
            ("postgres://a@localhost/x?sslmode=prefer", None),
            ("postgres://a@localhost/x?sslmode=verify-ca", None),
            ("postgres://a@localhost/x?sslmode=", None),
            ("mysql://a@localhost/x", None),
            ("", None),
        ] {
            assert_eq!(encrypted(url), expected, "{url}");
        }
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        let config = PgConfig::new("postgres://a@db.example.org/x");
        for file in ["/nowhere/at/all.pem", "Cargo.toml"] {
            let error = Target::new(&config.clone().root_certificates(file));
            assert!(matches!(error, Err(OpenError::Config(_))), "{file}");
        }
    }

    #[test]
    fn a_broken_url_does_not_show_its_password() {
        let config = PgConfig::new("postgres://a:hunter2@localhost:port/x");
        let Err(error) = Target::new(&config) else {
            panic!("no number")
        };
        assert!(
            !format!("{error:?} {error}").contains("hunter2"),
            "{error:?}"
        );
    }
}
