//! A gateway of one's own.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate::identity::Subject;
use llm_gate::store::{Author, Limit, LimitChange, LimitKey, Period, Store, Unit, Zone};
use llm_gate::test_util::ManualClock;
use llm_gate::tokens::Amount;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::Config;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::ScriptedVllm;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::Front;

use super::smtp::Sink;

pub(crate) const PASSWORD: &str = "correct horse battery";
/// How long a database server may take where no rule is about that: many tests share few processors.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Gate {
    pub(crate) running: Running,
    /// The second one, where there are two.
    pub(crate) other: Option<Running>,
    pub(crate) client: Client,
    /// Where its client sends to.
    address: std::net::SocketAddr,
    pub(crate) upstream: ScriptedVllm,
    pub(crate) clock: ManualClock,
    pub(crate) folder: TempDir,
    /// Where the database is, if not in the folder.
    pub(crate) database: Option<String>,
    /// The settings that all were started with, but for changes of the second one's own.
    config: Config,
}

/// Settings for a gateway in `folder`: free ports, quick passwords.
pub(crate) fn config(folder: &TempDir) -> Config {
    let mut config = Config {
        data_dir: folder.path().join("data"),
        ..Config::default()
    };
    config.server.port = 0;
    config.metrics.port = 0;
    config.passwords.memory_kib = 7 * 1024;
    config.passwords.iterations = 5;
    config
}

pub(crate) async fn start() -> Gate {
    start_with(|_| ()).await
}

/// Starts a gateway on a PostgreSQL database of its own.
pub(crate) async fn start_on_postgres() -> Gate {
    start_on_postgres_with(|_| ()).await
}

pub(crate) async fn start_on_postgres_with(change: impl FnOnce(&mut Config)) -> Gate {
    start_on(Some(postgres::config().await), change).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Gate {
    start_on(None, change).await
}

/// Set to 2, all of these tests have two gateways on one PostgreSQL, and every request goes to the other one.
const GATEWAYS: &str = "LLM_GATE_TEST_GATEWAYS";

/// Returns whether there are two gateways behind each address.
pub(crate) fn paired() -> bool {
    match std::env::var(GATEWAYS).as_deref() {
        Ok("2") => true,
        Err(_) | Ok("1" | "") => false,
        Ok(other) => panic!("{GATEWAYS} is 1 or 2, and not {other}"),
    }
}

/// Returns where a command finds a database that nobody has used yet: where two gateways would be on PostgreSQL, one
/// without tables; `None` for the one that lies in its folder, and is not there.
pub(crate) async fn unused_database() -> Option<String> {
    if !paired() {
        return None;
    }
    let database = postgres::empty_config().await;
    Some(database.url().to_owned())
}

impl Gate {
    /// Opens its database beside it.
    pub(crate) async fn books(&self) -> Box<dyn Store> {
        match &self.database {
            Some(url) => {
                let config = PgConfig::new(url)
                    .database_time(false)
                    .connect_timeout(PATIENCE);
                Box::new(PgStore::open(config).await.expect("opened"))
            }
            None => {
                let path = self.folder.path().join("data/llm-gate.db");
                let store = SqliteStore::open(SqliteConfig::new(path)).await;
                Box::new(store.expect("opened"))
            }
        }
    }

    /// Lists all gateways.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Running> {
        std::iter::once(&self.running).chain(&self.other)
    }

    /// Returns how many gateways there are.
    pub(crate) fn gateways(&self) -> usize {
        self.all().count()
    }

    /// Asks each gateway once, so that all of them have counted and remember the same. `ask` is one request: each goes to
    /// the other one.
    pub(crate) async fn everywhere<T>(&self, ask: impl AsyncFn() -> T) -> Vec<T> {
        let mut answers = Vec::new();
        for _ in self.all() {
            answers.push(ask().await);
        }
        answers
    }

    /// Asks each gateway once; returns what all of them say.
    pub(crate) async fn agreed<T: PartialEq + Debug>(&self, ask: impl AsyncFn() -> T) -> T {
        let mut answers = self.everywhere(ask).await;
        let last = answers.pop().expect("there is one at least");
        for answer in answers {
            assert_eq!(answer, last, "one gateway says the same as the other");
        }
        last
    }

    /// Ends all gateways, and starts as many on what they have left, with changed settings and at other ports.
    pub(crate) async fn again(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self {
            running,
            other,
            upstream,
            clock,
            folder,
            database,
            mut config,
            ..
        } = self;
        let two = other.is_some();
        for running in std::iter::once(running).chain(other) {
            running.shutdown().await;
        }
        change(&mut config);
        let place = Place {
            upstream,
            clock,
            folder,
            database,
        };
        place.open(config, two, |_| ()).await
    }

    /// Lets the next request go to the gateway that would have had the one after it.
    pub(crate) async fn turn(&self) {
        if self.other.is_some() {
            let passed = self.get("/health/live").await;
            assert_eq!(passed.status, StatusCode::OK, "{passed:?}");
        }
    }

    /// Ends all gateways, each when it has done what is under way.
    pub(crate) async fn shutdown(self) {
        self.running.shutdown().await;
        if let Some(other) = self.other {
            other.shutdown().await;
        }
    }

    /// Returns how often Argon2 has run, on all gateways.
    pub(crate) fn argon2_runs(&self) -> u64 {
        self.all().map(|running| running.passwords().runs()).sum()
    }

    /// Returns where people come to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets whoever manages a project make services in it, as an admin does: by a limit.
    pub(crate) async fn allow_services(&self, project: &str) {
        let limit = Limit {
            key: LimitKey {
                subject: Subject::Project(project.parse().expect("an id")),
                model: None,
                unit: Unit::Tokens,
                period: Period::Total,
            },
            zone: Zone::UTC,
            amount: Amount::new(1_000_000_000),
            voluntary: false,
        };
        let change = LimitChange::set(limit, Author::now());
        let set = self.books().await.change_limit(change).await;
        assert!(set.expect("written").is_some());
    }

    /// Sends the head of a request with a bearer, and waits until its body is asked for.
    pub(crate) async fn held_back(&self, path: &str, bearer: &str, body: Value) -> Held {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: gate\r\nauthorization: {bearer}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        let address = self.url().replace("http://", "");
        let connected = tokio::net::TcpStream::connect(address).await;
        let mut connection = connected.expect("it listens");
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("sent");
        let mut seen = [0; 25];
        let read = connection.read_exact(&mut seen).await;
        read.expect("an interim answer");
        assert!(seen.starts_with(b"HTTP/1.1 100"), "{}", seen.escape_ascii());
        Held { connection, body }
    }

    /// Lets the time go by in which another gateway may still remember a key as it was.
    pub(crate) fn told_everywhere(&self) {
        if paired() {
            self.clock.advance(Duration::from_secs(1));
        }
    }
}

/// A request that is under way, but for its body.
pub(crate) struct Held {
    connection: tokio::net::TcpStream,
    body: String,
}

impl Held {
    /// Sends the body; returns the status of the answer.
    pub(crate) async fn let_go(mut self) -> u16 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let sent = self.connection.write_all(self.body.as_bytes()).await;
        sent.expect("sent");
        let mut head = [0; 12];
        let read = self.connection.read_exact(&mut head).await;
        read.expect("an answer");
        let head = std::str::from_utf8(&head).expect("text");
        head[9..].parse().expect("a status")
    }
}

/// Starts two gateways on one PostgreSQL; every request goes to the other one.
pub(crate) async fn start_pair() -> Gate {
    start_pair_with(|_| ()).await
}

pub(crate) async fn start_pair_with(change: impl FnOnce(&mut Config)) -> Gate {
    start_pair_of(change, |_| ()).await
}

/// Starts two on a database of a server that the test has for itself.
pub(crate) async fn start_pair_on(database: PgConfig) -> Gate {
    start_two(Some(database.url().to_owned()), true, |_| (), |_| ()).await
}

/// Starts two whose settings differ, as while they are changed one after the other: the second one has those of the first,
/// and changes of its own.
pub(crate) async fn start_pair_of(
    change_first: impl FnOnce(&mut Config),
    change_second: impl FnOnce(&mut Config),
) -> Gate {
    let database = postgres::config().await.url().to_owned();
    start_two(Some(database), true, change_first, change_second).await
}

/// Starts a gateway that writes to users, and what takes its letters.
pub(crate) async fn start_with_mail(change: impl FnOnce(&mut Config)) -> (Gate, Sink) {
    let sink = Sink::start().await;
    let url = sink.url();
    let gate = start_with(|config| {
        config.mail.url = Some(url.as_str().into());
        change(config);
    });
    (gate.await, sink)
}

/// Starts one on a PostgreSQL database of its own that writes to users, and what takes its letters.
pub(crate) async fn start_on_postgres_with_mail() -> (Gate, Sink) {
    let sink = Sink::start().await;
    let url = sink.url();
    let gate = start_on_postgres_with(|config| config.mail.url = Some(url.as_str().into()));
    (gate.await, sink)
}

async fn start_on(database: Option<PgConfig>, change: impl FnOnce(&mut Config)) -> Gate {
    let database = match database {
        None if paired() => Some(postgres::config().await),
        other => other,
    };
    let database = database.map(|database| database.url().to_owned());
    start_two(database, paired(), change, |_| ()).await
}

async fn start_two(
    database: Option<String>,
    two: bool,
    change: impl FnOnce(&mut Config),
    change_second: impl FnOnce(&mut Config),
) -> Gate {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let mut config = config(&folder);
    config.upstream.url = upstream.url();
    change(&mut config);
    let place = Place {
        upstream,
        clock: ManualClock::new(),
        folder,
        database,
    };
    place.open(config, two, change_second).await
}

/// What gateways stand on.
struct Place {
    upstream: ScriptedVllm,
    clock: ManualClock,
    folder: TempDir,
    database: Option<String>,
}

impl Place {
    /// Starts one gateway, or two that differ in what is changed for the second one.
    async fn open(
        self,
        mut config: Config,
        two: bool,
        change_second: impl FnOnce(&mut Config),
    ) -> Gate {
        let front = Front::listen().await;
        let front_address = front.address;
        if two {
            // Both sign in the name of one, which is where people come to.
            config
                .web_url
                .get_or_insert_with(|| format!("http://{front_address}"));
        }
        let running = self.start(config.clone()).await;
        let mut address = running.address;
        let mut other = None;
        if two {
            // It has the same secrets, in a folder of its own.
            let mut config = config.clone();
            let data = self.folder.path().join("other");
            std::fs::create_dir_all(&data).expect("a folder");
            for secret in ["jwt-secret", "api-key-pepper"] {
                let kept = config.data_dir.join(secret);
                if kept.exists() {
                    std::fs::copy(kept, data.join(secret)).expect("copied");
                }
            }
            config.data_dir = data;
            change_second(&mut config);
            let second = self.start(config).await;
            address = front_address;
            front.by_connection(vec![running.address, second.address]);
            other = Some(second);
        }
        Gate {
            client: Client::new(address),
            address,
            running,
            other,
            upstream: self.upstream,
            clock: self.clock,
            folder: self.folder,
            database: self.database,
            config,
        }
    }

    /// Starts a gateway on the database, or on what its settings say.
    async fn start(&self, config: Config) -> Running {
        let known = config.upstream.url == self.upstream.url();
        let mut gateway = Gateway::new(config).clock(Arc::new(self.clock.clone()));
        if let Some(url) = &self.database {
            // By the clock of the test, and not by the server's.
            let patient = PgConfig::new(url)
                .database_time(false)
                .connect_timeout(PATIENCE)
                .lock_timeout(PATIENCE)
                .statement_timeout(PATIENCE);
            let store = PgStore::open(patient).await;
            gateway = gateway.store(Arc::new(store.expect("opened")));
        }
        let running = gateway.start().await.expect("started");
        // Where the settings name another model server, that may be nobody.
        if known {
            running.models_known().await;
        }
        running
    }
}

/// Somebody who has registered and logged in.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) refresh: String,
    pub(crate) session: Client,
}

impl Gate {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.get(path).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.client.post(path, &body).await.expect("an answer")
    }

    /// Registers `name` and logs it in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let body = json!({ "username": name, "password": PASSWORD });
        let registered = self.post("/api/v1/auth/register", body.clone()).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        self.enter(name).await
    }

    /// Registers `name` with an e-mail address, confirms that by the letter, and logs in.
    pub(crate) async fn reader(&self, name: &str, email: &str, sink: &mut Sink) -> Person {
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        let registered = self.post("/api/v1/auth/register", body).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        let letter = sink.next().await;
        assert_eq!(letter.to, email);
        let person = self.enter(name).await;
        let body = json!({ "token": letter.token() });
        let confirmed = person.post("/api/v1/auth/email/verify", body).await;
        assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
        person
    }

    /// Logs `name` in.
    pub(crate) async fn enter(&self, name: &str) -> Person {
        self.enter_with(name, PASSWORD).await
    }

    /// Logs `name` in with another password than everybody's.
    pub(crate) async fn enter_with(&self, name: &str, password: &str) -> Person {
        let body = json!({ "username": name, "password": password });
        let pair = self.post("/api/v1/auth/login", body).await;
        assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
        let session = self.client.bearer(pair.text("access_token"));
        let me = session.get("/api/v1/users/me").await.expect("an answer");
        assert_eq!(me.status, StatusCode::OK, "{me:?}");
        Person {
            id: me.text("id"),
            project: me.text("default_project_id"),
            refresh: pair.text("refresh_token"),
            session,
        }
    }

    /// Runs a command of the program beside the gateway, on the same data.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Output {
        self.run(arguments, "").await
    }

    /// Does the same, with something on standard input.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> Output {
        run_on(self.database.as_deref(), &self.folder, arguments, input).await
    }

    /// Makes an admin on the command line, and logs it in.
    pub(crate) async fn admin(&self) -> Person {
        self.made_with("root", &["--admin"]).await
    }

    /// Makes somebody on the command line, whoever may register, and logs it in.
    pub(crate) async fn made(&self, name: &str) -> Person {
        self.made_with(name, &[]).await
    }

    async fn made_with(&self, name: &str, more: &[&str]) -> Person {
        let arguments = [&["user", "create", name, "--password-stdin"], more].concat();
        let output = self.run(&arguments, PASSWORD).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        self.enter(name).await
    }
}

impl Person {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.session.get(path).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.session.post(path, &body).await.expect("an answer")
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(&self.session, Method::DELETE, path, &[], "").await
    }

    /// Ends something, with a body.
    pub(crate) async fn delete_with(&self, path: &str, body: Value) -> Answer {
        send(&self.session, Method::DELETE, path, &[], body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        send(&self.session, Method::PATCH, path, &[], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.session.put(path, &body).await.expect("an answer")
    }

    /// Makes a key in the own project.
    pub(crate) async fn key(&self) -> Answer {
        let path = format!("/api/v1/projects/{}/api-keys", self.project);
        let key = self.post(&path, json!({ "name": "laptop" })).await;
        assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
        key
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program on the data of `folder`, with nothing of this process's environment.
pub(crate) async fn run(folder: &TempDir, arguments: &[&str], input: &str) -> Output {
    run_on(None, folder, arguments, input).await
}

/// Does the same on a database elsewhere.
pub(crate) async fn run_on(
    database: Option<&str>,
    folder: &TempDir,
    arguments: &[&str],
    input: &str,
) -> Output {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;

    let data = folder.path().join("data");
    // Beside a database elsewhere nothing is made up: the command has to be told what the gateway has, or anything where
    // there is none.
    let secrets = [
        ("JWT_SECRET_KEY", "jwt-secret"),
        ("API_KEY_PEPPER", "api-key-pepper"),
    ];
    let secrets = secrets.map(|(name, file)| {
        database.map(|_| {
            let kept = std::fs::read_to_string(data.join(file));
            let secret = kept.unwrap_or_else(|_| "x".repeat(40));
            (name, secret.trim_end().to_owned())
        })
    });
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_llm-gate"))
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .env("LLM_GATE_DATA_DIR", &data)
        .envs(secrets.into_iter().flatten())
        .env("LLM_GATE_PASSWORDS__MEMORY_KIB", "7168")
        .env("LLM_GATE_PASSWORDS__ITERATIONS", "5")
        .envs(database.map(|url| ("DATABASE_URL", url)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("the program ends");
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a request with any method and headers.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Answer {
    let mut request = client.request(method, path, body).expect("a request");
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, value.parse().expect("a header"));
    }
    client.send(request).await.expect("an answer")
}

/// Makes two tests of each rule: on SQLite, and on PostgreSQL.
macro_rules! on_both {
    ($($rule:ident;)+) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule($crate::support::start().await).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule($crate::support::start_on_postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;
