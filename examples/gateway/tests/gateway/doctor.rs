//! The command that looks whether all is as it should be (M-63).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;
use llm_gate_gateway::Running;
use scripted_vllm::ScriptedVllm;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::ledger::tamper;
use super::smtp::Sink;
use super::support::{Gate, Output, run_on, start, unused_database};

/// A folder with a configuration, a database, and a model server.
struct Clinic {
    folder: TempDir,
    /// Where the database is, if not in the folder.
    database: Option<String>,
    upstream: ScriptedVllm,
    /// Where its gateway is not.
    silent: Silent,
}

/// A port that nobody listens on, nor can anybody take it for as long as this is kept.
struct Silent {
    port: u16,
    _taken: TcpSocket,
}

impl Silent {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(any).expect("a free port");
        Self {
            port: socket.local_addr().expect("bound").port(),
            _taken: socket,
        }
    }
}

impl Clinic {
    /// On a database that nobody has used yet.
    async fn open() -> Self {
        Self::on(unused_database().await).await
    }

    async fn on(database: Option<String>) -> Self {
        let upstream = ScriptedVllm::start(scripted_vllm::Config::default())
            .await
            .expect("a free port");
        let clinic = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            database,
            upstream,
            silent: Silent::new(),
        };
        clinic.configure("");
        clinic
    }

    /// Writes the configuration, and more.
    fn configure(&self, more: &str) {
        let url = self.upstream.url();
        let file = format!(
            "server.port = {}\nupstream.url = \"{url}\"\n{more}\n",
            self.silent.port
        );
        fs::write(self.folder.path().join("llm-gate.toml"), file).expect("written");
    }

    async fn command(&self, arguments: &[&str]) -> Output {
        run_on(self.database.as_deref(), &self.folder, arguments, "").await
    }

    /// Looks, and finds nothing that fails.
    async fn healthy(&self) -> String {
        let output = self.command(&["doctor"]).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!(output.stderr, "");
        each_line_is_a_verdict(&output.stdout);
        assert!(!output.stdout.contains("\nfail"), "{}", output.stdout);
        output.stdout
    }

    /// Looks, and returns the one line that fails.
    async fn sick(&self) -> String {
        let output = self.command(&["doctor"]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert_eq!(output.stderr, "llm-gate: one check failed\n", "{output:?}");
        each_line_is_a_verdict(&output.stdout);
        let lines = output.stdout.lines();
        let failed: Vec<&str> = lines.filter(|line| line.starts_with("fail")).collect();
        assert_eq!(failed.len(), 1, "{}", output.stdout);
        failed[0].to_owned()
    }

    /// Names a database on a server, and the secrets that are not made up beside one.
    fn configure_database(&self, url: &str) {
        let secrets = format!(
            "auth.jwt_secret = \"{0}\"\nauth.api_key_pepper = \"{0}\"",
            "x".repeat(40)
        );
        self.configure(&format!("database.url = \"{url}\"\n{secrets}"));
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn chmod(&self, name: &str, mode: u32) {
        let path = self.data().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    }

    fn change(&self, statement: &str) {
        let path = self.data().join("llm-gate.db");
        let mut connection =
            SqliteConnection::establish(&path.to_string_lossy()).expect("a database");
        connection.batch_execute(statement).expect("done");
    }
}

fn each_line_is_a_verdict(printed: &str) {
    for line in printed.lines() {
        let verdict = line.split_whitespace().next().unwrap_or_default();
        assert!(matches!(verdict, "ok" | "warn" | "fail"), "{line}");
    }
}

/// Returns the lines of a check.
fn about<'a>(printed: &'a str, check: &str) -> Vec<&'a str> {
    let lines = printed.lines();
    lines
        .filter(|line| line.split_whitespace().nth(1) == Some(check))
        .collect()
}

#[tokio::test]
async fn a_first_look_says_what_is_to_be_done_and_makes_nothing() {
    let clinic = Clinic::open().await;
    let printed = clinic.healthy().await;
    assert!(!clinic.data().exists(), "a look makes nothing");
    assert!(about(&printed, "database")[0].contains("llm-gate migrate"));
    assert!(
        about(&printed, "models")[0].contains("\"tiny\""),
        "{printed}"
    );
    assert!(about(&printed, "gateway")[0].contains("llm-gate serve"));
    let base = format!("http://127.0.0.1:{}/v1", clinic.silent.port);
    let clients = about(&printed, "clients")[0];
    assert!(
        clients.contains(&base) && clients.contains("not tried"),
        "{printed}"
    );
}

#[tokio::test]
async fn it_is_told_that_somebody_has_to_be_admin_until_somebody_is() {
    let clinic = Clinic::open().await;
    clinic.command(&["migrate"]).await;
    let printed = clinic.healthy().await;
    assert!(
        about(&printed, "database")[0].starts_with("ok"),
        "{printed}"
    );
    assert!(
        about(&printed, "admins")[0].starts_with("warn"),
        "{printed}"
    );
    clinic.command(&["user", "create", "ada"]).await;
    let printed = clinic.healthy().await;
    assert!(
        about(&printed, "admins")[0].starts_with("warn"),
        "{printed}"
    );
    clinic.command(&["user", "set-role", "ada", "admin"]).await;
    let printed = clinic.healthy().await;
    assert!(about(&printed, "admins")[0].starts_with("ok"), "{printed}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_a_check_that_fails() {
    let clinic = Clinic::open().await;
    clinic.configure("server.prot = 1");
    assert!(clinic.sick().await.contains("prot"));
}

#[tokio::test]
async fn a_model_server_that_is_away_or_serves_something_else_fails() {
    let clinic = Clinic::open().await;
    clinic.configure("upstream.model = \"large\"");
    let line = clinic.sick().await;
    assert!(
        line.contains("\"large\"") && line.contains("MODEL_NAME"),
        "{line}"
    );
    let silent = Silent::new();
    let nowhere = format!("upstream.url = \"http://127.0.0.1:{}\"", silent.port);
    fs::write(clinic.folder.path().join("llm-gate.toml"), nowhere).expect("written");
    let output = clinic.command(&["doctor"]).await;
    let line = about(&output.stdout, "upstream")[0].to_owned();
    assert!(
        line.starts_with("fail") && line.contains("VLLM_ENDPOINT"),
        "{line}"
    );
}

#[tokio::test]
async fn settings_of_a_model_that_is_not_served_are_a_warning() {
    let clinic = Clinic::open().await;
    clinic.configure("[models.\"tinny\"]\ncontext_length = 5");
    let printed = clinic.healthy().await;
    let found = about(&printed, "models");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("warn") && line.contains("\"tinny\"")),
        "{printed}"
    );
}

#[tokio::test]
async fn what_others_can_read_is_named_with_what_to_do() {
    let clinic = Clinic::open().await;
    clinic.configure("upstream.api_key = \"secret of the upstream\"");
    clinic.command(&["key", "create", "nobody"]).await;
    clinic.command(&["migrate"]).await;
    // On a server the folder has the journal only, which the gateway makes, and secrets are settings.
    let embedded = clinic.database.is_none();
    if embedded {
        clinic.chmod("llm-gate.db", 0o644);
    } else {
        fs::create_dir(clinic.data()).expect("commands make none");
    }
    clinic.chmod("", 0o755);
    let config = clinic.folder.path().join("llm-gate.toml");
    fs::set_permissions(config, fs::Permissions::from_mode(0o644)).expect("changed");
    let printed = clinic.healthy().await;
    for (check, words, warned) in [
        ("settings", "chmod 600", true),
        ("folder", "chmod 700", true),
        ("database", "chmod 600", embedded),
    ] {
        let found = about(&printed, check);
        let warns = |line: &&str| line.starts_with("warn") && line.contains(words);
        assert_eq!(found.iter().any(warns), warned, "{check}: {printed}");
    }
    assert!(!printed.contains("secret of the upstream"));
    if embedded {
        clinic.chmod("jwt-secret", 0o644);
        let line = clinic.sick().await;
        assert!(
            line.contains("jwt-secret") && line.contains("chmod 600"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_file_with_any_secret_is_for_its_owner_only() {
    // What is in the environment would be in force instead of what is in the file.
    let clinic = Clinic::on(None).await;
    let config = clinic.folder.path().join("llm-gate.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("changed");
    let warns = async |settings: &str| {
        clinic.configure(settings);
        let output = clinic.command(&["doctor"]).await;
        let found = about(&output.stdout, "settings");
        assert!(
            !found.is_empty() && found[0].starts_with("ok"),
            "{settings}: {output:?}"
        );
        assert!(!output.stdout.contains("hunter2"), "{output:?}");
        found.iter().any(|line| line.contains("has secrets in it"))
    };
    assert!(
        !warns("log.filter = \"[redacted]\"").await,
        "no secret in it"
    );
    let long = "hunter2".repeat(10);
    let hash = "0123456789abcdef".repeat(4);
    for settings in [
        "database.url = \"sqlite:other.db\"".to_owned(),
        format!("auth.jwt_secret = \"{long}\""),
        format!("auth.api_key_pepper = \"{long}\""),
        format!("auth.api_token_hash = \"{hash}\""),
        "upstream.api_key = \"hunter2\"".to_owned(),
        "mail.url = \"smtp://gate:hunter2@127.0.0.1:9\"\nmail.from = \"gate@example.org\"".to_owned(),
        "oauth.google = { client_id = \"gate\", client_secret = \"hunter2\" }".to_owned(),
        "oauth.github = { client_id = \"gate\", client_secret = \"hunter2\" }".to_owned(),
        "oauth.work = { client_id = \"gate\", client_secret = \"hunter2\", issuer = \"https://work.example\" }"
            .to_owned(),
    ] {
        assert!(warns(&settings).await, "{settings}");
    }
}

#[tokio::test]
async fn a_file_of_a_later_program_or_no_database_at_all_fails_and_an_old_one_is_left_alone() {
    let clinic = Clinic::on(None).await;
    clinic.command(&["migrate"]).await;
    clinic.change("UPDATE __diesel_schema_migrations SET version = '0'");
    let line = clinic.sick().await;
    assert!(line.contains("later llm-gate"), "{line}");
    clinic.change("DELETE FROM __diesel_schema_migrations");
    let printed = clinic.healthy().await;
    let found = about(&printed, "database");
    assert!(
        found[0].starts_with("warn") && found[0].contains("migrate"),
        "{printed}"
    );
    for name in ["llm-gate.db", "llm-gate.db-wal", "llm-gate.db-shm"] {
        let _ = fs::remove_file(clinic.data().join(name));
    }
    fs::write(clinic.data().join("llm-gate.db"), "x".repeat(500)).expect("written");
    let line = clinic.sick().await;
    assert!(line.contains("database"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_the_tables_of_a_later_program_fails_and_one_without_any_is_left_alone() {
    let database = postgres::config().await;
    let clinic = Clinic::on(Some(database.url().to_owned())).await;
    let store = PgStore::open(database).await.expect("opened");
    let change = async |statement: &'static str| {
        let changed = store.on_connection(move |connection| connection.batch_execute(statement));
        changed.await.expect("a connection").expect("done");
    };
    let found = async || {
        let printed = clinic.healthy().await;
        about(&printed, "database")[0].to_owned()
    };
    let good = found().await;
    assert!(
        good.starts_with("ok") && good.contains("up to date"),
        "{good}"
    );

    change("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101')").await;
    let line = clinic.sick().await;
    assert!(line.contains("later llm-gate (99990101)"), "{line}");

    change("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    for _ in 0..2 {
        // A look makes nothing: the second one finds as much as the first.
        let empty = found().await;
        assert!(
            empty.starts_with("warn") && empty.contains("llm-gate migrate"),
            "{empty}"
        );
    }
    let migrated = clinic.command(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    assert_eq!(found().await, good, "it has told what to do");
}

#[tokio::test]
async fn a_listener_for_others_is_warned_of() {
    let clinic = Clinic::open().await;
    clinic.configure("server.host = \"0.0.0.0\"\nregistration = \"open\"");
    let printed = clinic.healthy().await;
    let warned = about(&printed, "settings");
    for words in ["registration", "WEB_URL"] {
        assert!(
            warned
                .iter()
                .any(|line| line.starts_with("warn") && line.contains(words)),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn the_mail_relay_is_greeted() {
    let clinic = Clinic::open().await;
    let mut sink = Sink::start().await;
    clinic.configure(&format!("mail.url = \"{}\"", sink.url()));
    let printed = clinic.healthy().await;
    assert!(about(&printed, "mail")[0].starts_with("ok"), "{printed}");
    assert!(sink.try_next().is_none(), "nobody is written to");
    drop(sink);
    let line = clinic.sick().await;
    assert!(line.contains("LLM_GATE_MAIL__URL"), "{line}");
}

#[tokio::test]
async fn it_is_told_where_nobody_comes_back_without_an_operator() {
    let clinic = Clinic::open().await;
    let found = async |settings: &str| {
        clinic.configure(settings);
        let printed = clinic.healthy().await;
        about(&printed, "mail")[0].to_owned()
    };
    let alone = found("").await;
    assert!(
        alone.starts_with("warn") && alone.contains("llm-gate user reset-link"),
        "{alone}"
    );
    let provider = "oauth.github = { client_id = \"gate\", client_secret = \"hunter2\" }";
    let another = found(provider).await;
    assert!(
        another.starts_with("ok") && !another.contains("reset-link"),
        "{another}"
    );
}

/// Where a gateway of the test listens.
fn configured_as(gate: &Gate, running: &Running) -> String {
    let url = gate.upstream.url();
    let port = running.address.port();
    format!("server.port = {port}\nupstream.url = \"{url}\"")
}

#[tokio::test]
async fn a_gateway_that_runs_is_asked_how_it_is() {
    let gate = start().await;
    let file = gate.folder.path().join("llm-gate.toml");
    for running in gate.all() {
        // Where it listens, and where people come to, which is elsewhere where there are two.
        let (own, public) = (running.url(), gate.url());
        for (web_url, leads) in [(None, &own), (Some(&public), &public)] {
            let web_url = web_url.map(|url| format!("web_url = \"{url}\"\n"));
            let config = web_url.unwrap_or_default() + &configured_as(&gate, running);
            fs::write(&file, config).expect("written");
            let output = gate.command(&["doctor"]).await;
            assert_eq!(output.code, Some(0), "{output:?}");
            let database = about(&output.stdout, "database")[0];
            assert!(database.contains("up to date"), "{database}");
            let ready = about(&output.stdout, "gateway")[0];
            let on = format!("ready on {}", running.address);
            assert!(ready.contains(&on), "{ready}");
            let clients = about(&output.stdout, "clients")[0];
            let leads = format!("{leads}/v1 leads to a gateway");
            assert!(
                clients.starts_with("ok") && clients.contains(&leads),
                "{clients}"
            );
        }
    }

    // What clients are told to go to is something else: nobody, and the model server itself.
    let silent = Silent::new();
    let nobody = format!("http://127.0.0.1:{}", silent.port);
    for place in [nobody.as_str(), gate.upstream.url().as_str()] {
        let config = configured_as(&gate, &gate.running);
        let config = format!("web_url = \"{place}\"\n{config}");
        fs::write(&file, config).expect("written");
        let output = gate.command(&["doctor"]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        let clients = about(&output.stdout, "clients")[0].to_owned();
        let words = format!("{}/v1 leads to no gateway", place.trim_end_matches('/'));
        assert!(
            clients.starts_with("fail") && clients.contains(&words) && clients.contains("WEB_URL"),
            "{clients}"
        );
    }

    let other = gate.upstream.url();
    let port = other.rsplit(':').next().expect("a port");
    let port = port.trim_end_matches('/');
    let config = format!("server.port = {port}\nupstream.url = \"{other}\"");
    fs::write(&file, config).expect("written");
    let output = gate.command(&["doctor"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(about(&output.stdout, "gateway")[0].contains("something else"));
}

#[tokio::test]
async fn a_gateway_that_runs_on_broken_books_is_not_ready() {
    let gate = start().await;
    let file = gate.folder.path().join("llm-gate.toml");
    tamper(&gate, "ALTER TABLE counters RENAME TO gone").await;
    for running in gate.all() {
        fs::write(&file, configured_as(&gate, running)).expect("written");
        let output = gate.command(&["doctor"]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        let line = about(&output.stdout, "gateway")[0];
        let words = format!("on {}, and not ready", running.address);
        assert!(line.starts_with("fail") && line.contains(&words), "{line}");
    }
}

#[tokio::test]
async fn a_database_server_that_is_away_fails_without_its_password() {
    // With no other one in the environment.
    let clinic = Clinic::on(None).await;
    let silent = Silent::new();
    let url = format!("postgres://gate:hunter2@127.0.0.1:{}/gate", silent.port);
    clinic.configure_database(&url);
    let line = clinic.sick().await;
    assert!(
        line.contains("database") && line.contains("DATABASE_URL"),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "{line}");
    clinic.configure(&format!("database.url = \"{url}\""));
    let output = clinic.command(&["doctor"]).await;
    assert_eq!(output.stderr, "llm-gate: 2 checks failed\n");
    assert!(about(&output.stdout, "secrets")[0].contains("JWT_SECRET_KEY"));
}
