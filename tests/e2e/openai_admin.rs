//! The admin resources of the openai packages from PyPI and npm, unmodified, against one gateway on SQLite and against two
//! on one PostgreSQL, of which every request meets the other one: `tests/clients/openai_admin.py` and `openai_admin.mjs`.
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
use support::{Person, Plan, Site, in_time};
use tokio::process::Command;

/// What a token costs, in millionths.
const PRICES: (u64, u64) = (2, 4);

/// How many there are behind the address that the packages are told.
#[derive(Clone, Copy)]
enum Gateways {
    One,
    Two,
}

/// A package in its language.
#[derive(Clone, Copy)]
enum Package {
    Python,
    Node,
}

/// Makes a test of each rule: with each package, at one gateway on SQLite and at two on PostgreSQL.
macro_rules! at_each {
    ($($rule:ident),+) => {
        mod python_at_one_gateway {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::Package::Python, super::Gateways::One).await;
            })+
        }

        mod node_at_one_gateway {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::Package::Node, super::Gateways::One).await;
            })+
        }

        mod python_at_two_gateways {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::Package::Python, super::Gateways::Two).await;
            })+
        }

        mod node_at_two_gateways {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::Package::Node, super::Gateways::Two).await;
            })+
        }
    };
}

at_each!(
    a_project_is_billed_to_the_last_token,
    lists_are_read_to_their_end,
    refusals_have_types_of_their_own
);

async fn a_project_is_billed_to_the_last_token(package: Package, gateways: Gateways) {
    let Some((script, place)) = Place::start(package, gateways).await else {
        return;
    };
    let said = place.run(script, "project", &[]).await;
    let last = said.lines().last().unwrap_or_default();
    let used: Value = serde_json::from_str(last).expect("what was used");
    let counts = place.vllm.counts();
    let (prompt, completion) = (counts.prompt_tokens, counts.completion_tokens);
    let cost = prompt * PRICES.0 + completion * PRICES.1;
    let expected = json!({ "prompt": prompt, "completion": completion, "cost": cost });
    assert_eq!(used, expected, "reported is what the upstream has counted");
}

async fn lists_are_read_to_their_end(package: Package, gateways: Gateways) {
    let Some((script, place)) = Place::start(package, gateways).await else {
        return;
    };
    for name in ["ada", "bob"] {
        Person::register(place.site.address, name).await;
    }
    place.run(script, "lists", &[]).await;
}

async fn refusals_have_types_of_their_own(package: Package, gateways: Gateways) {
    let Some((script, place)) = Place::start(package, gateways).await else {
        return;
    };
    let ada = Person::register(place.site.address, "ada").await;
    place
        .run(script, "refused", &[("GATE_KEY", &ada.key)])
        .await;
}

/// One or two gateways with an admin who has a key.
struct Place {
    vllm: ScriptedVllm,
    site: Site,
    key: String,
}

impl Place {
    /// Starts it, with a run of the package to be; `None`, said loudly, where one of them is not installed.
    async fn start(package: Package, gateways: Gateways) -> Option<(Command, Self)> {
        let script = package.find()?;
        let plan = match gateways {
            Gateways::One => Plan::one_on_sqlite(),
            Gateways::Two => Plan::two_on_postgres().await?,
        };
        let vllm = ScriptedVllm::start(scripted_vllm::Config::default())
            .await
            .expect("a free port");
        let password = "the administrator of this place";
        plan.make_admin("root", password).await;
        let site = plan.start(&vllm.url()).await;
        let client = Client::new(site.address);
        let login = json!({ "username": "root", "password": password });
        let login = fine(client.post("/api/v1/auth/login", &login).await);
        let root = client.bearer(login.text("access_token"));
        let (prompt, completion) = (PRICES.0 * 1_000_000, PRICES.1 * 1_000_000);
        let price = json!({ "model": "tiny", "prompt": prompt, "completion": completion });
        fine(root.put("/api/v1/prices", &price).await);
        let path = "/v1/organization/admin_api_keys";
        let key = fine(root.post(path, &json!({ "name": "packages" })).await);
        let key = key.text("value");
        Some((script, Self { vllm, site, key }))
    }

    async fn run(&self, mut script: Command, what: &str, more: &[(&str, &str)]) -> String {
        let output = script
            .arg(what)
            .env("GATE_URL", format!("http://{}/v1", self.site.address))
            .env("GATE_ADMIN_KEY", &self.key)
            .env("GATEWAYS", self.site.gateways.len().to_string())
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
        self.site.check_that_all_served().await;
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
        let installed = place.is_some() || std::env::var_os("CI").is_none();
        assert!(installed, "CI installs it and sets {variable}");
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
