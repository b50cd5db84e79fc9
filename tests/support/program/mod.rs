use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::in_time;

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
        .env("LLM_GATE_PASSWORDS__ITERATIONS", "1")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
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
