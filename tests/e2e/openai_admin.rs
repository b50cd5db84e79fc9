//! The admin resources of the openai packages from PyPI and npm, unmodified, against the gateway in a process of its
//! own: `tests/clients/openai_admin.py` and `openai_admin.mjs`.
//!
//! Needs a Python that has the package, named by `OPENAI_PYTHON` (see `openai_python.rs`), and a folder where npm has
//! installed it, named by `OPENAI_NODE`:
//!
//! ```text
//! mkdir -p target/openai-node
//! cp tests/clients/package*.json target/openai-node
//! npm ci --prefix target/openai-node
//! OPENAI_NODE=$PWD/target/openai-node cargo test --package llm-gate-tests openai_admin
//! ```

use std::path::Path;

use llm_gate_gateway::client::{Answer, Client};
use scripted_vllm::ScriptedVllm;
use serde_json::{Value, json};
use support::{Finished, Person, Server, in_time, program};
use tempfile::TempDir;
use tokio::process::Command;

/// What a token costs, in millionths.
const PRICES: (u64, u64) = (2, 4);

/// A package in its language.
#[derive(Clone, Copy)]
enum Package {
    Python,
    Node,
}

#[tokio::test]
async fn python_administers_a_project_to_the_last_token() {
    a_project_is_billed_to_the_last_token(Package::Python).await;
}

#[tokio::test]
async fn node_administers_a_project_to_the_last_token() {
    a_project_is_billed_to_the_last_token(Package::Node).await;
}

#[tokio::test]
async fn python_reads_lists_to_their_end() {
    lists_are_read_to_their_end(Package::Python).await;
}

#[tokio::test]
async fn node_reads_lists_to_their_end() {
    lists_are_read_to_their_end(Package::Node).await;
}

#[tokio::test]
async fn python_has_errors_of_its_own_for_what_is_refused() {
    refusals_have_types_of_their_own(Package::Python).await;
}

#[tokio::test]
async fn node_has_errors_of_its_own_for_what_is_refused() {
    refusals_have_types_of_their_own(Package::Node).await;
}

async fn a_project_is_billed_to_the_last_token(package: Package) {
    let Some(script) = package.find() else { return };
    let place = Place::start().await;
    let said = place.run(script, "project", &[]).await;
    let last = said.lines().last().unwrap_or_default();
    let used: Value = serde_json::from_str(last).expect("what was used");
    let counts = place.vllm.counts();
    let (prompt, completion) = (counts.prompt_tokens, counts.completion_tokens);
    let cost = prompt * PRICES.0 + completion * PRICES.1;
    let expected = json!({ "prompt": prompt, "completion": completion, "cost": cost });
    assert_eq!(used, expected, "reported is what the upstream has counted");
}

async fn lists_are_read_to_their_end(package: Package) {
    let Some(script) = package.find() else { return };
    let place = Place::start().await;
    for name in ["ada", "bob"] {
        Person::register(place.server.address, name).await;
    }
    place.run(script, "lists", &[]).await;
}

async fn refusals_have_types_of_their_own(package: Package) {
    let Some(script) = package.find() else { return };
    let place = Place::start().await;
    let ada = Person::register(place.server.address, "ada").await;
    place
        .run(script, "refused", &[("GATE_KEY", &ada.key)])
        .await;
}

/// A gateway with an admin who has a key.
struct Place {
    vllm: ScriptedVllm,
    server: Server,
    key: String,
    _folder: TempDir,
}

impl Place {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let vllm = ScriptedVllm::start(scripted_vllm::Config::default())
            .await
            .expect("a free port");
        let password = "the administrator of this place";
        let mut made = program(folder.path());
        made.args(["user", "create", "root", "--admin", "--password-stdin"]);
        let made = Finished::of(made, password).await;
        assert_eq!(made.code, 0, "user create: {}", made.err);
        let server = Server::start(folder.path(), &vllm.url()).await;
        let client = Client::new(server.address);
        let login = json!({ "username": "root", "password": password });
        let login = fine(client.post("/api/v1/auth/login", &login).await);
        let root = client.bearer(login.text("access_token"));
        let (prompt, completion) = (PRICES.0 * 1_000_000, PRICES.1 * 1_000_000);
        let price = json!({ "model": "tiny", "prompt": prompt, "completion": completion });
        fine(root.put("/api/v1/prices", &price).await);
        let path = "/v1/organization/admin_api_keys";
        let key = fine(root.post(path, &json!({ "name": "packages" })).await);
        Self {
            vllm,
            server,
            key: key.text("value"),
            _folder: folder,
        }
    }

    async fn run(&self, mut script: Command, what: &str, more: &[(&str, &str)]) -> String {
        let output = script
            .arg(what)
            .env("GATE_URL", format!("http://{}/v1", self.server.address))
            .env("GATE_ADMIN_KEY", &self.key)
            .envs(more.iter().copied())
            // Proxies of the machine are not for loopback.
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output();
        let output = in_time(what, output).await.expect("the script starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}:\n{said}{wrong}");
        println!("{said}");
        said
    }
}

fn fine(answer: std::io::Result<Answer>) -> Answer {
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer
}

impl Package {
    /// Prepares a run of its script; says loudly that a test is skipped where it is not installed.
    fn find(self) -> Option<Command> {
        let (variable, file) = match self {
            Self::Python => ("OPENAI_PYTHON", "clients/openai_admin.py"),
            Self::Node => ("OPENAI_NODE", "clients/openai_admin.mjs"),
        };
        let place = std::env::var(variable).ok().filter(|path| !path.is_empty());
        let Some(place) = place else {
            // Past the capture of the harness, so that it shows in a passing run too.
            use std::io::Write as _;
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: an openai package is not tested. docs/CONTRIBUTING.md says how to install it and set \
                 {variable}.\n"
            );
            return None;
        };
        let program = match self {
            Self::Python => place,
            Self::Node => "node".to_owned(),
        };
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        Some(command)
    }
}
