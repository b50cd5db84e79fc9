//! PostgreSQL for tests: a cluster of one's own, and a fresh database per test.
//!
//! The cluster is made by the machine's own `initdb` in a temporary folder, listens on a Unix socket in it and
//! nowhere else, runs as `postgres` or `nobody` when the tests run as root, and is gone when the process that
//! started it is: a watchdog ends it, however that process ends.
//!
//! ```no_run
//! use llm_gate::store::LedgerStore;
//! use llm_gate_diesel::test_db::postgres;
//!
//! # async fn doc() {
//! let store = postgres::open().await;
//! assert!(store.totals().await.unwrap().balance());
//! # }
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{PgConfig, PgStore};

/// The cluster that the tests of a process share. Its watchdog removes it: nothing drops a static.
static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// The database that the others are copies of.
const TEMPLATE: &str = "llm_gate_template";

/// What makes tests fast and is no good for anything else. Processes are killed in tests, machines are not.
const FOR_TESTS: [&str; 4] = [
    "fsync=off",
    "max_connections=200",
    "listen_addresses=''",
    "shared_buffers=32MB",
];

/// Waits for the end of its input, which is the end of whoever holds the other end; then ends the server.
const WATCHDOG: &str = r#"
    cat > /dev/null
    if [ -f "$1/data/postmaster.pid" ]; then
        kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")" 2> /dev/null
        while [ -f "$1/data/postmaster.pid" ] && kill -0 "$(head -n 1 "$1/data/postmaster.pid")" 2> /dev/null
        do sleep 0.05; done
    fi
    rm -rf "$1"
"#;

/// Returns whether there is a PostgreSQL on this machine.
#[must_use]
pub fn installed() -> bool {
    look_for("initdb").is_some()
}

/// Describes a new database with all tables, in the cluster that the tests of this process share.
///
/// # Panics
///
/// Panics when there is no PostgreSQL on this machine, or it does not start.
pub async fn config() -> PgConfig {
    shared().await.database().await
}

/// Describes a new database without tables, there.
///
/// # Panics
///
/// Panics as [`config`] does.
pub async fn empty_config() -> PgConfig {
    shared().await.empty_database().await
}

/// Opens a new database.
///
/// # Panics
///
/// Panics when that fails.
pub async fn open() -> PgStore {
    PgStore::open(config().await)
        .await
        .expect("a new database can be opened")
}

async fn shared() -> &'static Cluster {
    SHARED.get_or_init(|| Cluster::start(&[])).await
}

/// A PostgreSQL server, and all that it keeps.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    /// Holds the input of the watchdog open.
    watchdog: Child,
    /// How many databases were made.
    made: AtomicU32,
}

impl Cluster {
    /// Starts a server of one's own, to be stopped at will. `settings` are such as `fsync=on`.
    ///
    /// # Panics
    ///
    /// Panics when there is no PostgreSQL on this machine, or it does not start.
    pub async fn start(settings: &[&str]) -> Self {
        let port = settings.iter().find_map(|line| line.strip_prefix("port="));
        let port = port.map_or(5432, |port| port.parse().expect("a port is a number"));
        let settings: Vec<String> = FOR_TESTS
            .iter()
            .chain(settings)
            .map(|setting| format!("{setting}\n"))
            .collect();
        let starting =
            tokio::task::spawn_blocking(move || Self::start_now(&settings.concat(), port));
        let cluster = starting.await.expect("a PostgreSQL server starts");
        // The first store makes the tables.
        cluster.create(TEMPLATE, "template0").await;
        drop(cluster.open_in(TEMPLATE).await);
        cluster
    }

    fn start_now(settings: &str, port: u16) -> Self {
        let folder = TempDir::with_prefix("llm-gate-pg-")
            .expect("a temporary folder can be made")
            .keep();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the group that Ctrl-C reaches.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        let cluster = Self {
            user: unprivileged(&folder),
            folder,
            port,
            watchdog,
            made: AtomicU32::new(0),
        };
        if let Some((user, group)) = cluster.user {
            chown(&cluster.folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let made = cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync"])
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let socket = format!("unix_socket_directories='{}'\n", cluster.folder.display());
        let file = fs::OpenOptions::new()
            .append(true)
            .open(cluster.folder.join("data/postgresql.conf"));
        file.and_then(|mut file| file.write_all((socket + settings).as_bytes()))
            .expect("initdb has made a configuration");
        cluster.restart();
        cluster
    }

    /// Describes a new database with all tables.
    ///
    /// # Panics
    ///
    /// Panics when it cannot be made.
    pub async fn database(&self) -> PgConfig {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.create(&name, TEMPLATE).await;
        // Where hundreds of tests share two processors, a connection may take its time.
        PgConfig::new(self.url(&name))
            .database_time(false)
            .connect_timeout(Duration::from_secs(60))
    }

    /// Describes a new database without tables.
    ///
    /// # Panics
    ///
    /// Panics when it cannot be made.
    pub async fn empty_database(&self) -> PgConfig {
        let name = format!("empty_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.create(&name, "template0").await;
        // Where hundreds of tests share two processors, a connection may take its time.
        PgConfig::new(self.url(&name))
            .database_time(false)
            .connect_timeout(Duration::from_secs(60))
    }

    /// Kills all processes of the server, as if it had crashed, and waits for their end.
    ///
    /// # Panics
    ///
    /// Panics when there is none.
    pub fn crash(&self) {
        let stopped = self
            .command("pg_ctl")
            .args(["stop", "-m", "immediate", "-s"])
            .status();
        assert!(
            stopped.is_ok_and(|status| status.success()),
            "there was a server to be stopped"
        );
    }

    /// Starts the server again, on what it has kept, and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics when it does not start.
    pub fn restart(&self) {
        let log = self.folder.join("log");
        let started = self
            .command("pg_ctl")
            .args(["start", "-w", "-s", "-l"])
            .arg(&log)
            // Whoever reads what the tests say does not wait for the server's end.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            started.is_ok_and(|status| status.success()),
            "the server does not start: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// Puts a file beside the server's data, as the server's own and for nobody else to read.
    ///
    /// # Panics
    ///
    /// Panics when that fails.
    pub fn keep(&self, name: &str, content: &str) {
        let file = self.folder.join("data").join(name);
        let mut options = fs::OpenOptions::new();
        let written = options.create_new(true).write(true).mode(0o600).open(&file);
        written
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .expect("a file can be made");
        if let Some((user, group)) = self.user {
            chown(file, Some(user), Some(group)).expect("root may give a file away");
        }
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().expect("its name was made of letters");
        let host = folder.replace('/', "%2F");
        format!("postgres://postgres@{host}:{}/{database}", self.port)
    }

    async fn create(&self, name: &str, template: &str) {
        let config = self.url("postgres").parse::<tokio_postgres::Config>();
        let connecting = config.expect("a URL").connect(tokio_postgres::NoTls).await;
        let (client, connection) = connecting.expect("the server answers");
        let connection = tokio::spawn(connection);
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        let created = client.batch_execute(&sql).await;
        drop(client);
        // A database that somebody is connected to is no template.
        let _ = connection.await;
        created.expect("a database can be made");
    }

    async fn open_in(&self, database: &str) -> PgStore {
        let opening = PgStore::open(PgConfig::new(self.url(database)).database_time(false));
        opening.await.expect("a new database can be opened")
    }

    /// Prepares to run a program of PostgreSQL, as somebody that it accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find(program));
        command
            .current_dir(&self.folder)
            .env("PGDATA", self.folder.join("data"))
            .stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input is what the watchdog waits for.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Looks for a program in `PATH` and where Debian puts it; the newest version there.
///
/// # Panics
///
/// Panics when it is not there and `CI` is set; ends the process where it is not.
fn find(program: &str) -> PathBuf {
    look_for(program).unwrap_or_else(|| skip(program))
}

fn look_for(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Ends the tests of this process, loudly: as a failure where `CI` is set, as passed elsewhere, so that somebody
/// without PostgreSQL can run the others.
fn skip(program: &str) -> ! {
    let words = format!(
        "no `{program}` in PATH or /usr/lib/postgresql/*/bin: the tests of the PostgreSQL store start a server of \
         their own, install PostgreSQL (Debian: `apt install postgresql`)"
    );
    assert!(std::env::var_os("CI").is_none(), "{words}");
    // Past the harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {words}\n");
    std::process::exit(0)
}

/// Returns user and group to run as where we are root, as which PostgreSQL refuses to run. A folder that we have
/// made tells who we are.
fn unprivileged(folder: &Path) -> Option<(u32, u32)> {
    let owner = fs::metadata(folder).expect("it was made").uid();
    if owner != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    let other = ids("postgres").or_else(|| ids("nobody"));
    Some(other.expect("root runs PostgreSQL as `postgres` or `nobody`, one of which there is"))
}
