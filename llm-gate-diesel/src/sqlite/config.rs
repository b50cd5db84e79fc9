use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_READERS: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an SQLite database lies and how it is used.
///
/// ```
/// use llm_gate_diesel::SqliteConfig;
///
/// let config = SqliteConfig::new("data/llm-gate.db");
/// assert_eq!(config.path(), std::path::Path::new("data/llm-gate.db"));
/// ```
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) readers: NonZeroUsize,
    pub(crate) busy_timeout: Duration,
    /// Keeps a test's folder for as long as a store uses it.
    #[cfg(feature = "test-util")]
    pub(crate) folder: Option<std::sync::Arc<tempfile::TempDir>>,
}

impl SqliteConfig {
    /// Names the database file. It is made when it is not there, and its folder with it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: DEFAULT_READERS,
            busy_timeout: DEFAULT_BUSY_TIMEOUT,
            #[cfg(feature = "test-util")]
            folder: None,
        }
    }

    /// Sets how many connections read at once, each on a thread of its own. 4 unless set. Reports take half of
    /// them at most.
    #[must_use]
    pub const fn readers(mut self, readers: NonZeroUsize) -> Self {
        self.readers = readers;
        self
    }

    /// Sets how long a write waits for other processes on the same file before it fails as unavailable.
    /// 5 seconds unless set.
    #[must_use]
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Returns where the database file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
