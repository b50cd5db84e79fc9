//! The program and its commands.

use std::net::SocketAddr;
use std::process::Stdio;

use llm_gate_gateway::client::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::ledger::tamper;
use super::support::{PASSWORD, run, run_on, start, unused_database};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn a_user_is_made_with_a_generated_password_that_works() {
    let gate = start().await;
    let output = gate.command(&["user", "create", "Ada@example.com"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let password = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("password, shown this once: "));
    let body = json!({ "email": "ada@example.com", "password": password });
    let login = async || gate.post("/auth/login", body.clone()).await.status;
    assert_eq!(gate.agreed(login).await, 200);

    let again = gate.command(&["user", "create", "ada@example.com"]).await;
    assert_eq!(again.code, Some(1));
    assert_eq!(again.stderr.lines().count(), 1, "{}", again.stderr);
}

#[tokio::test]
async fn a_typed_password_is_checked_and_not_printed() {
    let gate = start().await;
    let create = ["user", "create", "ada", "--password-stdin"];
    let weak = gate.run(&create, "short\n").await;
    assert_eq!(weak.code, Some(2), "{weak:?}");
    let good = gate.run(&create, PASSWORD).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(!good.stdout.contains(PASSWORD) && !good.stderr.contains(PASSWORD));
    gate.everywhere(async || gate.enter("ada").await).await;
}

#[tokio::test]
async fn users_are_listed_limited_disabled_and_enabled() {
    let gate = start().await;
    gate.does(&["user", "create", "ada", "--token-limit", "none"])
        .await;
    for (command, line) in [
        (&["user", "list"][..], "ada\tuser\t0\tno limit\tactive"),
        (&["user", "set-limit", "ada", "500"], "ada: 500"),
        (&["user", "disable", "ada"], "ada: disabled"),
        (&["user", "list"], "ada\tuser\t0\t500\tdisabled"),
        (&["user", "enable", "ada"], "ada: enabled"),
    ] {
        let printed = gate.does(command).await;
        assert!(printed.lines().any(|found| found == line), "{printed}");
    }
    for wrong in [
        &["user", "disable", "eve"][..],
        &["user", "set-limit", "eve", "1"],
    ] {
        gate.fails(wrong, 1).await;
    }
    gate.fails(&["user", "set-limit", "ada", "-5"], 2).await;
}

#[tokio::test]
async fn a_key_made_beside_the_gateway_works_until_it_is_revoked() {
    let gate = start().await;
    gate.person("ada").await;
    let made = gate
        .command(&["key", "create", "ada", "--name", "ci"])
        .await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("key, shown this once: "));
    let secret = secret.expect("the key");
    assert_eq!(gate.with_key(secret).await, 200);
    let listed = gate.command(&["key", "list", "ada"]).await;
    assert!(listed.stdout.contains("\tci\tactive") && !listed.stdout.contains(secret));
    let prefix = &secret[.."lg_".len() + 12];
    let revoked = gate.command(&["key", "revoke", "ada", prefix]).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    gate.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(gate.with_key(secret).await, 401);
    assert_eq!(
        gate.command(&["key", "revoke", "ada", "lg_none"])
            .await
            .code,
        Some(1)
    );
}

/// A pipe that nobody reads, as behind `head`.
#[tokio::test]
async fn a_command_whose_output_nobody_reads_ends_without_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let folder = folder();
    let ended = Command::new(env!("CARGO_BIN_EXE_llm-gate"))
        .args(["config", "show"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
        .wait_with_output()
        .await
        .expect("the program ends");
    assert_eq!(ended.status.code(), Some(1), "a panic would be 101");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let folder = folder();
    let secret = "0123456789abcdef0123456789abcdef";
    let file = format!("auth.jwt_secret = \"{secret}\"\nserver.port = 9000\n");
    std::fs::write(folder.path().join("llm-gate.toml"), file).expect("written");
    let output = run(&folder, &["config", "show"], "").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains(secret));
    assert!(output.stdout.contains("auth.jwt_secret = [redacted]"));
    let port = output
        .stdout
        .lines()
        .find(|line| line.starts_with("server.port = 9000"));
    assert!(
        port.is_some_and(|line| line.contains("llm-gate.toml")),
        "{}",
        output.stdout
    );
}

#[tokio::test]
async fn what_credentials_are_taken_is_shown_but_no_hash_of_one() {
    let folder = folder();
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let file = format!(
        "registration = \"closed\"\nauth.api_token_hash = \"{hash}\"\nauth.jwt_key_files = [\"old.pub\"]\n\
         [auth.issuers.\"https://login.example\"]\n\
         jwks_url = \"https://login.example/keys\"\naudience = \"llm-gate\"\n\
         algorithms = [\"RS256\"]\naccounts = \"name\"\n"
    );
    std::fs::write(folder.path().join("llm-gate.toml"), file).expect("written");
    let output = run(&folder, &["config", "show"], "").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains(hash), "{}", output.stdout);
    for line in [
        "auth.api_token_hash = [redacted]",
        "auth.jwt_key_files = [\"old.pub\"]",
        "auth.issuers.\"https://login.example\".jwks_url = \"https://login.example/keys\"",
        "auth.issuers.\"https://login.example\".algorithms = [\"RS256\"]",
        "auth.issuers.\"https://login.example\".accounts = name",
    ] {
        assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
    }
}

#[tokio::test]
async fn what_is_configured_wrongly_is_said_in_one_line() {
    let folder = folder();
    for (file, words) in [
        ("server.prot = 1", "prot"),
        ("auth.jwt_secret = \"short\"", "32 bytes"),
        ("auth.api_token_hash = \"hunter2\"", "64 hexadecimal digits"),
        ("auth.jwt_algorithm = \"none\"", "HS256, EdDSA or ES256"),
        ("auth.jwt_algorithm = \"EdDSA\"", "signing-key create"),
        (
            "database.url = \"mysql://gate:hunter2@db/gate\"",
            "postgres://",
        ),
        ("server.host = \"0.0.0.0\"", "registration"),
    ] {
        std::fs::write(folder.path().join("llm-gate.toml"), file).expect("written");
        let output = run(&folder, &[], "").await;
        assert_eq!(output.code, Some(2), "{file}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stderr.contains(words), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"));
    }
}

#[tokio::test]
async fn migrates_and_prints_client_snippets() {
    let (folder, database) = (folder(), unused_database().await);
    // Once and again: it does what is left to do.
    for _ in 0..2 {
        let output = run_on(database.as_deref(), &folder, &["migrate"], "").await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.stdout.starts_with("up to date: "), "{output:?}");
    }
    let made = folder.path().join("data/llm-gate.db").is_file();
    assert_eq!(made, database.is_none(), "where it is to be");
    let users = run_on(database.as_deref(), &folder, &["user", "list"], "").await;
    assert_eq!(users.code, Some(0), "{users:?}");
    for client in ["opencode", "openai-python", "openai-node", "curl"] {
        let output = run(&folder, &["client-config", client], "").await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(
            output.stdout.contains("http://127.0.0.1:8080/v1"),
            "{}",
            output.stdout
        );
    }
    assert_eq!(
        run(&folder, &["client-config", "telnet"], "").await.code,
        Some(2)
    );
}

#[tokio::test]
async fn the_demo_checks_itself() {
    let folder = folder();
    let output = run(&folder, &["demo", "--once"], "").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        output.stdout.contains("all checks passed"),
        "{}",
        output.stdout
    );
}

#[tokio::test]
async fn a_terminated_gateway_ends_well_and_another_on_the_same_books_goes_on() {
    let database = unused_database().await;
    let gateways = if database.is_some() { 2 } else { 1 };
    let starting = (0..gateways).map(|_| Served::start(database.as_deref(), &[]));
    let mut all = futures_util::future::join_all(starting).await;
    while let Some(ended) = all.pop() {
        assert_eq!(ended.terminate().await, Some(0));
        for other in &all {
            let live = Client::new(other.address).get("/health/live").await;
            assert_eq!(live.expect("an answer").status, 200, "it goes on alone");
        }
    }
}

/// The program at work, in a folder of its own. Dropping it kills it.
pub(crate) struct Served {
    address: SocketAddr,
    pub(crate) metrics_address: SocketAddr,
    child: Child,
    _log: Lines<BufReader<ChildStderr>>,
    _folder: TempDir,
}

impl Served {
    /// Starts it on a database, or on one in its folder, with no more in its environment than is said.
    pub(crate) async fn start(database: Option<&str>, more: &[(&str, &str)]) -> Self {
        let folder = folder();
        let secret = "x".repeat(40);
        let elsewhere = database.map(|url| {
            [
                ("DATABASE_URL", url),
                ("JWT_SECRET_KEY", &secret),
                ("API_KEY_PEPPER", &secret),
            ]
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_llm-gate"))
            .args(["serve", "--port", "0"])
            .current_dir(folder.path())
            .env_clear()
            .env("LLM_GATE_METRICS__PORT", "0")
            .env("LLM_GATE_LOG__FORMAT", "json")
            .env("VLLM_ENDPOINT", "http://127.0.0.1:9")
            .envs(elsewhere.into_iter().flatten())
            .envs(more.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        loop {
            let line = log.next_line().await.expect("text").expect("it listens");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            let address = |name| line["fields"][name].as_str()?.parse().ok();
            if let Some(metrics_address) = address("metrics_address") {
                return Self {
                    address: address("address").expect("an address"),
                    metrics_address,
                    child,
                    _log: log,
                    _folder: folder,
                };
            }
        }
    }

    /// Asks it to end; returns the exit code.
    async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().expect("alive").to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(killed.expect("kill runs").success());
        self.child.wait().await.expect("it ends").code()
    }
}

#[tokio::test]
async fn the_books_are_verified_by_one_command() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    assert_eq!(ada.post("/v1/chat/completions", body).await.status, 200);
    gate.settled(&ada).await;
    let good = gate.command(&["ledger", "verify"]).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(
        good.stdout.contains("ledger and counters agree"),
        "{good:?}"
    );

    tamper(&gate, "UPDATE counters SET used = used + 1").await;
    let tampered = gate.command(&["ledger", "verify"]).await;
    assert_eq!(tampered.code, Some(1), "{tampered:?}");
    assert!(tampered.stderr.contains("do not agree"), "{tampered:?}");
}
