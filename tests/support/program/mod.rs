use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::world::until_ready;
use crate::{Client, in_time};

/// What a run of the program left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Prepares a run of the gateway's own command line, in a process of its own, on the data in `folder`.
///
/// It inherits nothing of the environment but what `folder` says.
#[must_use]
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(path());
    command
        .env_clear()
        .env("LLM_GATE_DATA_DIR", folder)
        .env("LLM_GATE_PASSWORDS__MEMORY_KIB", "7168")
        .env("LLM_GATE_PASSWORDS__ITERATIONS", "5")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The gateway in a process of its own, to be killed. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `serve` on the data in `folder` in front of `upstream`, at free ports, and waits until it is
    /// ready.
    pub async fn start(folder: &Path, upstream: &str) -> Self {
        Self::start_with(folder, upstream, &[]).await
    }

    /// As [`start`](Self::start), with more in its environment.
    pub async fn start_with(folder: &Path, upstream: &str, more: &[(&str, &str)]) -> Self {
        let mut command = serve(folder, upstream);
        let mut child = command
            .envs(more.iter().copied())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let keep = |line: &str, said: &Mutex<String>| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(line);
            said.push('\n');
        };
        let listening = async {
            loop {
                let line = log.next_line().await.expect("the log can be read");
                let line = line.expect("the program goes on");
                keep(&line, &said);
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = |name| line["fields"][name].as_str()?.parse().ok();
                if let (Some(address), Some(metrics)) =
                    (address("address"), address("metrics_address"))
                {
                    return (address, metrics);
                }
            }
        };
        let (address, metrics) = in_time("the program listens", listening).await;
        // Whoever writes a log wants a reader.
        let heard = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                keep(&line, &heard);
            }
        });
        until_ready(address).await;
        Self {
            address,
            metrics,
            child,
            log: said,
        }
    }

    /// Returns what it has written to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        let said = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }

    /// Starts it and kills it while it starts, as soon as `moment` says so.
    pub async fn kill_starting(folder: &Path, upstream: &str, mut moment: impl FnMut() -> bool) {
        let mut command = serve(folder, upstream);
        // Nobody reads what it says.
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("the program starts");
        let killing = async {
            while !moment() {
                tokio::task::yield_now().await;
            }
            child.kill().await
        };
        in_time("the end of a process", killing)
            .await
            .expect("it runs");
    }

    /// Waits until `requests` are in the program's hands.
    pub async fn in_progress(&self, requests: usize) {
        let client = Client::new(self.metrics);
        let line = format!("http_requests_in_progress {requests}");
        let reached = async {
            loop {
                let metrics = client.get("/metrics").await.expect("an answer");
                let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
                if metrics.lines().any(|other| other == line) {
                    return;
                }
            }
        };
        in_time("requests in progress", reached).await;
    }

    /// Kills it: at once, with nothing put in order.
    pub async fn kill(mut self) {
        in_time("the end of a process", self.child.kill())
            .await
            .expect("it runs");
    }
}

fn serve(folder: &Path, upstream: &str) -> Command {
    let mut command = program(folder);
    command
        .args(["serve", "--port", "0"])
        .env("LLM_GATE_METRICS__PORT", "0")
        .env("LLM_GATE_LOG__FORMAT", "json")
        .env("VLLM_ENDPOINT", upstream);
    command
}

/// Cargo puts programs one folder above the tests.
fn path() -> PathBuf {
    let this = std::env::current_exe().expect("a test is a program");
    let name = "llm-gate-under-test";
    let found = this
        .ancestors()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built above {}", this.display()))
}

impl Finished {
    /// Runs `command` with `typed` on its standard input, to its end.
    pub async fn of(mut command: Command, typed: &str) -> Self {
        let run = async {
            let mut child = command.spawn().expect("the program starts");
            let mut input = child.stdin.take().expect("piped");
            // A program that reads nothing closes it.
            let _ = input.write_all(typed.as_bytes()).await;
            drop(input);
            child.wait_with_output().await.expect("the program ends")
        };
        let output = in_time("a command", run).await;
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
