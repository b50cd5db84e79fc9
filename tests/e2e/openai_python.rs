//! The openai package from PyPI, unmodified, against the whole gateway: `tests/clients/openai_python.py`.
//!
//! Needs a Python that has the package, named by `OPENAI_PYTHON`:
//!
//! ```text
//! python3 -m venv target/openai-python
//! target/openai-python/bin/pip install --requirement tests/clients/requirements.txt
//! OPENAI_PYTHON=$PWD/target/openai-python/bin/python cargo test --package llm-gate-tests openai_python
//! ```

use std::path::Path;

use scripted_vllm::{Answer, Step};
use support::{World, in_time};
use tokio::process::Command;

use crate::wire::world::{self, charged};

const PYTHON: &str = "OPENAI_PYTHON";

#[tokio::test]
async fn its_calls_are_served() {
    let Some(python) = Python::find() else { return };
    let world = world::start().await;
    let account = world.register().await;
    python
        .run("served", &world, &[("GATE_KEY", &account.key)])
        .await;
    assert_eq!(
        charged(&world, &account).await,
        world.generated(),
        "charged is what the upstream has counted"
    );
}

#[tokio::test]
async fn its_refusals_have_its_own_types() {
    let Some(python) = Python::find() else { return };
    let world = world::start().await;
    let rich = world.register().await;
    let poor = world.register_with(10).await;
    let keys = [
        ("GATE_KEY", rich.key.as_str()),
        ("GATE_POOR_KEY", poor.key.as_str()),
    ];
    python.run("refused", &world, &keys).await;
    for account in [rich, poor] {
        let charged = charged(&world, &account).await;
        assert_eq!(charged, 0, "refusals cost nothing");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_at_its_budget_has_an_end_to_it() {
    let Some(python) = Python::find() else { return };
    let world = world::start().await;
    let (one, other) = (
        world.register_with(300).await,
        world.register_with(300).await,
    );
    let keys = [
        ("GATE_KEY", one.key.as_str()),
        ("GATE_OTHER_KEY", other.key.as_str()),
    ];
    python.run("cut", &world, &keys).await;
    for account in [one, other] {
        let charged = charged(&world, &account).await;
        assert!((291..=300).contains(&charged), "{charged}");
    }
}

#[tokio::test]
async fn a_broken_upstream_is_a_server_error_to_it() {
    let Some(python) = Python::find() else { return };
    let world = world::start().await;
    let account = world.register().await;
    // The request is sent again if it met a connection that was just closing.
    for _ in 0..2 {
        world.vllm().push(Answer::Raw(vec![Step::Close]));
    }
    python
        .run("broken", &world, &[("GATE_KEY", &account.key)])
        .await;
    let charged = charged(&world, &account).await;
    assert_eq!(charged, 0, "no answer costs nothing");
}

/// An interpreter with the package.
struct Python(String);

impl Python {
    /// Finds it; says loudly that a test is skipped where there is none.
    fn find() -> Option<Self> {
        let python = std::env::var(PYTHON).ok().filter(|path| !path.is_empty());
        if python.is_none() {
            // Past the capture of the harness, so that it shows in a passing run too.
            use std::io::Write as _;
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: the openai package is not tested. Run\n  \
                 python3 -m venv target/openai-python\n  \
                 target/openai-python/bin/pip install --requirement tests/clients/requirements.txt\n\
                 and set {PYTHON}=$PWD/target/openai-python/bin/python\n"
            );
        }
        let installed = python.is_some() || std::env::var_os("CI").is_none();
        assert!(installed, "CI installs it");
        python.map(Self)
    }

    async fn run(&self, what: &str, world: &World, keys: &[(&str, &str)]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/openai_python.py");
        let output = Command::new(&self.0)
            .arg(script)
            .arg(what)
            .env("GATE_URL", format!("http://{}/v1", world.address()))
            .envs(keys.iter().copied())
            // Proxies of the machine are not for loopback.
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output();
        let output = in_time(what, output).await.expect("the interpreter starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{what}:\n{said}");
        println!("{said}");
    }
}
