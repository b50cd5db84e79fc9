//! The program itself: what its settings say of providers, and what its log does not.

use std::process::Stdio;

use http::{Method, StatusCode};
use llm_gate_gateway::client::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::browser::{Browser, parameter, with};
use super::me;
use super::provider::{CLIENT, Provider, SECRET, Trouble};

/// Settings as operators write them, for a provider that is here.
fn settings(folder: &TempDir, provider: &Provider) {
    let text = format!(
        "server.port = 0\nmetrics.port = 0\n{}\
         [oauth.work]\nissuer = \"https://login.example/a\"\nclient_id = \"gate\"\nclient_secret = \"hunter2\"\n",
        provider.file()
    );
    std::fs::write(folder.path().join("llm-gate.toml"), text).expect("a file");
}

fn program(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gate"));
    command
        .current_dir(folder.path())
        .env_clear()
        .env("GOOGLE_CLIENT_ID", CLIENT)
        .env("GOOGLE_CLIENT_SECRET", SECRET)
        .env("GITHUB_CLIENT_ID", CLIENT)
        .env("GITHUB_CLIENT_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A gateway as a process of its own, which logs all there is to log.
struct Process {
    child: Child,
    client: Client,
    log: String,
    stderr: BufReader<ChildStderr>,
}

impl Process {
    async fn start(folder: &TempDir) -> Self {
        let mut child = program(folder)
            .arg("serve")
            .env("LLM_GATE_LOG__FORMAT", "json")
            .env("LLM_GATE_LOG__FILTER", "trace")
            .spawn()
            .expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut log = String::new();
        let address = loop {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).await.expect("text");
            assert!(read > 0, "it did not start: {log}");
            log.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["fields"].get("metrics_address").is_some() {
                break line["fields"]["address"].as_str().expect("text").to_owned();
            }
        };
        let client = Client::new(address.parse().expect("an address"));
        Self {
            child,
            client,
            log,
            stderr,
        }
    }

    /// Ends it; returns all that it has logged.
    async fn end(self) -> String {
        let Self {
            mut child,
            mut log,
            mut stderr,
            ..
        } = self;
        child.start_kill().expect("it runs");
        stderr.read_to_string(&mut log).await.expect("text");
        child.wait().await.expect("it ends");
        log
    }
}

#[tokio::test]
async fn settings_are_shown_without_their_secrets() {
    let provider = Provider::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    settings(&folder, &provider);
    let output = program(&folder).args(["config", "show"]).output().await;
    let output = output.expect("the program ends");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for line in [
        "oauth.google.client_id = \"gate:7\"  # environment (GOOGLE_CLIENT_ID)",
        "oauth.google.client_secret = [redacted]  # environment (GOOGLE_CLIENT_SECRET)",
        "oauth.work.client_secret = [redacted]  # file",
        "oauth.work.issuer = \"https://login.example/a\"  # file",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(shown.contains("oauth.github.api_url"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"));

    let half = program(&folder)
        .args(["config", "show"])
        .env_remove("GITHUB_CLIENT_SECRET")
        .output()
        .await
        .expect("the program ends");
    assert_eq!(half.status.code(), Some(2), "{half:?}");
    let words = String::from_utf8_lossy(&half.stderr).into_owned();
    assert!(words.contains("GITHUB_CLIENT_SECRET"), "{words}");
    assert!(!words.contains(SECRET));
}

#[tokio::test]
async fn no_secret_of_a_login_is_in_the_log() {
    let provider = Provider::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    settings(&folder, &provider);
    provider.by_the_clock_of_the_machine();
    let mut gate = Process::start(&folder).await;
    // The log has to be read while it is written.
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let mut stderr = gate.stderr;
    let reading = tokio::spawn(async move {
        let mut line = String::new();
        while stderr.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            let _ = sender.send(std::mem::take(&mut line));
        }
        stderr
    });

    let mut secrets = vec![SECRET.to_owned(), "hunter2".to_owned()];
    for name in ["google", "github"] {
        let mut browser = Browser::new(&gate.client);
        let url = browser.depart(name).await;
        secrets.extend(browser.cookies.values().cloned());
        secrets.extend(parameter(&url, "state"));
        secrets.extend(parameter(&url, "nonce"));
        let back = browser.agree(&url).await;
        let pair = browser.get(&back).await;
        assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
        me(&gate.client.bearer(pair.text("access_token"))).await;
        secrets.extend([pair.text("access_token"), pair.text("refresh_token")]);

        // And what goes wrong.
        let url = browser.depart_for(name, "?redirect=/").await;
        let back = browser.agree(&url).await;
        let forged = with(&back, "state", Some("guessed-state"));
        secrets.push("guessed-state".to_owned());
        browser.get(&forged).await;
        browser.get(&back).await;
        secrets.extend(browser.cookies.values().cloned());
        let json = [("content-type", "application/json")];
        browser
            .ask(Method::POST, "/auth/refresh", &json, "{}")
            .await;
        secrets.extend(browser.cookies.values().cloned());
        for body in [SECRET, r#"{"error":"hunter2"}"#] {
            let url = browser.depart(name).await;
            let back = browser.agree(&url).await;
            let trouble = Trouble::Answers(StatusCode::BAD_REQUEST, body.to_owned());
            provider.script().trouble.insert("/token", trouble);
            let answer = browser.get(&back).await;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!said.contains(SECRET) && !said.contains("hunter2"));
            provider.script().trouble.clear();
        }
    }
    secrets.extend(provider.secrets());
    gate.child.start_kill().expect("it runs");
    gate.stderr = reading.await.expect("read");
    while let Ok(line) = lines.try_recv() {
        gate.log.push_str(&line);
    }
    let log = gate.end().await;
    assert!(log.contains("login refused"), "what went wrong is there");
    assert!(log.contains("\"level\":\"TRACE\""), "and more than that");
    for secret in secrets {
        assert!(!secret.is_empty());
        for line in log.lines() {
            assert!(!line.contains(&secret), "{secret}: {line}");
        }
    }
}
