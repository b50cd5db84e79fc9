use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a PostgreSQL database is and how it is used.
///
/// The URL is `postgres://user:password@host:port/database?sslmode=…`. Of `sslmode` there are:
///
/// - `disable`: no TLS. The default where every host is a Unix socket (`host=%2Frun%2Fpostgresql`) or a
///   loopback address.
/// - `require`, `verify-full`: TLS with a certificate that is valid for the host. The default elsewhere.
///   `require` checks the certificate too: encryption to whoever answers is worth little.
///
/// ```
/// use llm_gate_diesel::PgConfig;
///
/// let config = PgConfig::new("postgres://gate:secret@db.example.org/gate?sslmode=verify-full");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct PgConfig {
    pub(super) url: String,
    pub(super) connections: NonZeroUsize,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) roots: Option<PathBuf>,
    pub(super) database_time: bool,
}

impl PgConfig {
    /// Names the database, which must be there.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: DEFAULT_CONNECTIONS,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            statement_timeout: DEFAULT_STATEMENT_TIMEOUT,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
            roots: None,
            database_time: true,
        }
    }

    /// Sets how many connections there are at most. 8 unless set. Reports take half of them at most.
    #[must_use]
    pub const fn connections(mut self, connections: NonZeroUsize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how long a call waits for a connection, new or of the pool, before it fails as unavailable.
    /// 5 seconds unless set.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long the server works at one statement, and waits for the next one of a transaction, before
    /// the call fails as unavailable. 10 seconds unless set.
    #[must_use]
    pub const fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Sets how long a statement waits for the lock of another before the call fails as unavailable.
    /// 5 seconds unless set.
    #[must_use]
    pub const fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Names a PEM file of the authorities whose certificates are accepted. Mozilla's unless set.
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots = Some(file.into());
        self
    }

    /// Sets whether the server's clock tells which window a reservation is admitted in, so that gateways whose
    /// clocks differ agree. Else operations bring the time along, as in a test whose clock is turned by hand.
    /// The server's unless set.
    #[must_use]
    pub const fn database_time(mut self, database_time: bool) -> Self {
        self.database_time = database_time;
        self
    }

    /// Returns the URL, for connections beside the store.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the server's socket, where the database is one of `test_db`.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let target = self.url.parse::<tokio_postgres::Config>();
        match target.as_ref().map(tokio_postgres::Config::get_hosts) {
            Ok([tokio_postgres::config::Host::Unix(folder), ..]) => folder.join(".s.PGSQL.5432"),
            _ => PathBuf::new(),
        }
    }
}

impl fmt::Debug for PgConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL has the password in it.
        f.debug_struct("PgConfig")
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}
