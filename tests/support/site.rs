use std::net::SocketAddr;

use llm_gate_diesel::PgConfig;
use llm_gate_diesel::test_db::postgres;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Client, Finished, Front, Server, program};

/// Describes a new PostgreSQL database; `None`, said loudly, where there is no PostgreSQL.
///
/// # Panics
///
/// Panics where there is none and `CI` is set.
pub async fn database() -> Option<PgConfig> {
    if !postgres::installed() {
        eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return None;
    }
    Some(postgres::config().await)
}

/// The gateway in processes of their own, before it starts: one on SQLite, or two on one PostgreSQL behind one address.
#[derive(Debug)]
pub struct Plan {
    folders: Vec<TempDir>,
    front: Option<Front>,
    database: Option<String>,
    settings: Vec<(&'static str, String)>,
}

/// The same at work. Dropping it kills it.
#[derive(Debug)]
pub struct Site {
    /// Where people come to. Every request goes to the other gateway, where there are two.
    pub address: SocketAddr,
    /// The gateways, each with its data.
    pub gateways: Vec<(Server, TempDir)>,
    /// The URL of the PostgreSQL database, if it is on one.
    pub database: Option<String>,
    settings: Vec<(&'static str, String)>,
}

impl Plan {
    /// Plans one gateway on SQLite.
    #[must_use]
    pub fn one_on_sqlite() -> Self {
        Self {
            folders: folders(1),
            front: None,
            database: None,
            settings: Vec::new(),
        }
    }

    /// Plans two gateways on one PostgreSQL; `None`, said loudly, where there is no PostgreSQL.
    pub async fn two_on_postgres() -> Option<Self> {
        let database = database().await?.url().to_owned();
        let front = Front::listen().await;
        let secret = |word: &str| format!("one {word} for both, thirty-two bytes");
        let settings = vec![
            ("DATABASE_URL", database.clone()),
            ("JWT_SECRET_KEY", secret("secret")),
            ("API_KEY_PEPPER", secret("pepper")),
            // Both sign in the name of where people come to.
            ("WEB_URL", format!("http://{}", front.address)),
        ];
        Some(Self {
            folders: folders(2),
            front: Some(front),
            database: Some(database),
            settings,
        })
    }

    /// Sets a variable of all that is run.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.push((name, value.into()));
    }

    /// Puts a file into the folder of each gateway.
    pub fn keep(&self, name: &str, content: &str) {
        for folder in &self.folders {
            std::fs::write(folder.path().join(name), content).expect("a file can be made");
        }
    }

    /// Makes an admin by the command line.
    pub async fn make_admin(&self, name: &str, password: &str) -> Finished {
        let mut made = self.command();
        made.args(["user", "create", name, "--admin", "--password-stdin"]);
        let made = Finished::of(made, password).await;
        assert_eq!(made.code, 0, "user create: {}", made.err);
        made
    }

    /// Prepares a run of the command line on the data of the first gateway.
    fn command(&self) -> Command {
        let mut command = program(self.folders[0].path());
        command.envs(self.settings.iter().cloned());
        command
    }

    /// Starts the gateways in front of `upstream`, and waits until they are ready.
    pub async fn start(self, upstream: &str) -> Site {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut gateways = Vec::new();
        for folder in self.folders {
            let server = Server::start_with(folder.path(), upstream, &settings).await;
            gateways.push((server, folder));
        }
        let addresses: Vec<_> = gateways.iter().map(|(server, _)| server.address).collect();
        let mut address = addresses[0];
        if let Some(front) = self.front {
            address = front.address;
            front.by_request(addresses);
        }
        Site {
            address,
            gateways,
            database: self.database,
            settings: self.settings,
        }
    }
}

fn folders(count: usize) -> Vec<TempDir> {
    let folder = |_| tempfile::tempdir().expect("a folder can be made");
    (0..count).map(folder).collect()
}

impl Site {
    /// Runs the command line on the data of the first gateway, beside it.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let (_, folder) = &self.gateways[0];
        let mut command = program(folder.path());
        command.envs(self.settings.iter().cloned()).args(arguments);
        Finished::of(command, "").await
    }

    /// Reads the metrics of each gateway.
    pub async fn metrics(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (server, _) in &self.gateways {
            let metrics = Client::new(server.metrics).get("/metrics").await;
            let metrics = metrics.expect("an answer");
            all.push(String::from_utf8_lossy(&metrics.body).into_owned());
        }
        all
    }

    /// Checks that the gateways have shared the work: none was asked for much less than half of it, where there are two.
    ///
    /// # Panics
    ///
    /// Panics when one had nearly nothing to do.
    pub async fn check_that_all_served(&self) {
        let served = |metrics: &String| -> f64 {
            metrics
                .lines()
                .filter(|line| line.starts_with("http_requests_total{"))
                // Asked until they are ready, and not through the front.
                .filter(|line| !line.contains("/health/"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum()
        };
        let served: Vec<f64> = self.metrics().await.iter().map(served).collect();
        let all: f64 = served.iter().sum();
        assert!(all > 0.0, "somebody asked them");
        let share = all / served.len() as f64;
        assert!(
            served.iter().all(|served| *served > share * 0.8),
            "every request goes to the other one: {served:?}"
        );
    }
}
