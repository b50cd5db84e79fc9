use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llm_gate::clock::{Clock, SystemClock};
use llm_gate::identity::Subject;
use llm_gate::store::{AuditStore, Check, LedgerStore, Standing, Totals};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use llm_gate_gateway::config::{Config, RateSetting};
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::{Counts, ScriptedVllm};
use tempfile::TempDir;

use crate::{Client, Finished, Person, Raw, WatchedStore, in_time, program};

/// A gateway, its upstream and its database, of which nobody else knows.
#[derive(Debug)]
pub struct World {
    gateway: Option<Running>,
    address: SocketAddr,
    vllm: Option<ScriptedVllm>,
    store: Arc<WatchedStore>,
    setup: Setup,
    names: AtomicU64,
    // Last: the database lies in it.
    folder: TempDir,
}

/// Describes a [`World`] before it starts.
#[derive(Debug)]
pub struct Builder {
    setup: Setup,
    vllm: scripted_vllm::Config,
}

#[derive(Clone, Debug)]
struct Setup {
    config: Config,
    clock: Arc<dyn Clock>,
    busy_timeout: Duration,
}

impl Builder {
    /// Changes the gateway's configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.setup.config);
        self
    }

    /// Changes the upstream's configuration.
    #[must_use]
    pub fn vllm(mut self, change: impl FnOnce(&mut scripted_vllm::Config)) -> Self {
        change(&mut self.vllm);
        self
    }

    /// Sets the gateway's clock. The system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.setup.clock = Arc::new(clock);
        self
    }

    /// Sets how long a write waits for a locked database. 5 s unless set.
    #[must_use]
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.setup.busy_timeout = timeout;
        self
    }

    /// Starts upstream and gateway, and waits until the gateway is ready.
    ///
    /// # Panics
    ///
    /// Panics when one of them does not start.
    pub async fn start(self) -> World {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let vllm = ScriptedVllm::start(self.vllm).await.expect("a free port");
        let mut setup = self.setup;
        setup.config.data_dir = folder.path().to_path_buf();
        setup.config.upstream.url = vllm.url();
        let (gateway, store) = launch(&setup).await;
        World {
            address: gateway.address,
            gateway: Some(gateway),
            vllm: Some(vllm),
            store,
            setup,
            names: AtomicU64::new(0),
            folder,
        }
    }
}

async fn launch(setup: &Setup) -> (Running, Arc<WatchedStore>) {
    let file = setup.config.data_dir.join("llm-gate.db");
    let database = SqliteConfig::new(file).busy_timeout(setup.busy_timeout);
    let database = SqliteStore::open(database)
        .await
        .expect("a database can be made");
    let store = WatchedStore::new(database);
    let gateway = Gateway::new(setup.config.clone())
        .store(Arc::clone(&store) as _)
        .durable()
        .clock(Arc::clone(&setup.clock))
        .start();
    let gateway = gateway.await.expect("the gateway starts");
    until_ready(gateway.address).await;
    (gateway, store)
}

/// Waits until the gateway at `address` says that it is ready, which takes its upstream's models.
pub(crate) async fn until_ready(address: SocketAddr) {
    let client = Client::new(address);
    in_time("the gateway is ready", async {
        loop {
            let answer = client.get("/api/v1/health/ready").await;
            if answer.expect("an answer").status == 200 {
                return;
            }
        }
    })
    .await;
}

impl World {
    /// Describes a world: ports of its own, cheap passwords, everything else as shipped.
    #[must_use]
    pub fn builder() -> Builder {
        let mut config = Config::default();
        config.server.port = 0;
        config.metrics.port = 0;
        config.passwords.memory_kib = 7168;
        config.passwords.iterations = 5;
        // Tests start many at once.
        config.passwords.queue = 1024;
        config.rate_limits.logins_per_address = RateSetting::Off;
        Builder {
            setup: Setup {
                config,
                clock: Arc::new(SystemClock),
                busy_timeout: Duration::from_secs(5),
            },
            vllm: scripted_vllm::Config::default(),
        }
    }

    /// Starts a world with the defaults.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Returns where the gateway listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where the gateway's metrics are.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.gateway
            .as_ref()
            .expect("the gateway runs")
            .metrics_address
    }

    /// Returns the upstream.
    #[must_use]
    pub const fn vllm(&self) -> &ScriptedVllm {
        self.vllm.as_ref().expect("the upstream runs")
    }

    /// Waits until the upstream has counted what meets a condition.
    pub async fn upstream(&self, condition: impl Fn(&Counts) -> bool) {
        in_time("the upstream's counts", self.vllm().until(condition)).await;
    }

    /// Returns the database.
    #[must_use]
    pub const fn store(&self) -> &Arc<WatchedStore> {
        &self.store
    }

    /// Returns where database and secrets lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a client without a credential.
    #[must_use]
    pub const fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Opens a connection to say anything on.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// Registers somebody nobody has heard of, with a key.
    pub async fn register(&self) -> Person {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        Person::register(self.address, &format!("person-{number}")).await
    }

    /// Registers somebody with a limit.
    pub async fn register_with(&self, limit: u64) -> Person {
        let person = self.register().await;
        self.limit(&person, limit).await;
        person
    }

    /// Makes an administrator by the command line and returns a client with a session.
    pub async fn admin(&self) -> Client {
        let typed = "the administrator of this world\n";
        let made = self.command(
            &["user", "create", "root", "--admin", "--password-stdin"],
            typed,
        );
        let made = made.await;
        assert_eq!(made.code, 0, "user create: {}", made.err);
        let body = serde_json::json!({ "username": "root", "password": typed.trim_end() });
        let login = in_time("login", self.client().post("/api/v1/auth/login", &body)).await;
        let login = login.expect("an answer");
        assert_eq!(login.status, 200, "login: {:?}", login.json());
        self.client().bearer(login.text("access_token"))
    }

    /// Runs a command of the gateway's program in a process of its own, beside the server.
    pub async fn command(&self, words: &[&str], typed: &str) -> Finished {
        let mut command = program(self.folder());
        command.args(words);
        Finished::of(command, typed).await
    }

    /// Sets a user's limit, without a request.
    pub async fn limit(&self, person: &Person, limit: u64) {
        let set = self
            .store
            .set_limit(person.subject(), Some(Tokens::new(limit)));
        set.await.expect("the database is there");
    }

    /// Reads how somebody stands in the books.
    pub async fn standing(&self, subject: Subject) -> Standing {
        let read = self.store.database().standing(subject);
        read.await.expect("the database is there")
    }

    /// Reads how much somebody has been charged.
    pub async fn used(&self, person: &Person) -> u64 {
        self.standing(person.subject()).await.used.get()
    }

    /// Returns what the upstream says it has generated, prompts included.
    #[must_use]
    pub fn generated(&self) -> u64 {
        let counts = self.vllm().counts();
        counts.prompt_tokens + counts.completion_tokens
    }

    /// Waits until every reservation is settled, and checks that the books balance.
    ///
    /// # Panics
    ///
    /// Panics when they do not.
    pub async fn settle(&self) -> Totals {
        let mut changes = self.store.changes();
        let settled = async {
            loop {
                changes.borrow_and_update();
                let totals = self.totals().await;
                if totals.pending == 0 {
                    return totals;
                }
                changes.changed().await.expect("the store is there");
            }
        };
        let totals = in_time("everything is settled", settled).await;
        assert!(totals.balance(), "ledger and counters differ: {totals:?}");
        assert_eq!(totals.counters_reserved, 0, "nothing is held for nobody");
        let check = Check::new(self.setup.clock.now());
        let verification = self.store.database().verify(check).await;
        let verification = verification.expect("the database is there");
        assert!(verification.is_clean(), "row by row too: {verification:?}");
        totals
    }

    /// Adds up the books as they are.
    pub async fn totals(&self) -> Totals {
        let read = self.store.database().totals();
        read.await.expect("the database is there")
    }

    /// Stops the upstream: its port refuses from now on.
    pub async fn stop_vllm(&mut self) {
        if let Some(vllm) = self.vllm.take() {
            vllm.stop().await;
        }
    }

    /// Takes the gateway out, to shut it down while something else happens.
    ///
    /// # Panics
    ///
    /// Panics when it is out already.
    pub const fn take_gateway(&mut self) -> Running {
        self.gateway.take().expect("the gateway runs")
    }

    /// Shuts the gateway down gracefully.
    pub async fn shut_down(&mut self) {
        let gateway = self.take_gateway();
        in_time("the gateway shuts down", gateway.shutdown()).await;
    }

    /// Starts a new gateway on the same data, at another port.
    pub async fn start_again(&mut self) {
        let (gateway, store) = launch(&self.setup).await;
        self.address = gateway.address;
        self.gateway = Some(gateway);
        self.store = store;
    }
}
