//! No secret leaves the gate but to whom it belongs: not in a database, a log, a metric or an error.
//!
//! Every operation of the OpenAPI document is asked with secrets in all places that they come in; letters are read and
//! their secrets used, and those of links that are handed over; people log in with a provider, and come with tokens of another issuer; a browser keeps cookies;
//! commands print keys and links; at last sessions and accounts are ended. Then everything that is kept or written is searched for all of
//! them, also in the encodings that things are kept in. At one gateway on SQLite, and at two on one PostgreSQL, of which
//! every request meets the other one.

mod canaries;
mod everything;
mod foreign;
mod letters;
mod logins;
mod scene;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use llm_gate::auth::OperatorSecret;
use llm_gate_gateway::client::Client;
use scripted_vllm::ScriptedVllm;
use serde_json::json;
use support::provider::{Provider, SECRET};
use support::smtp::Sink;
use support::{Finished, Plan, program};
use tempfile::TempDir;

use self::canaries::{Canaries, Searcher};
use self::foreign::Foreign;
use self::scene::{REFRESH, Scene};

/// What people typed, and what stands in the settings.
const PASSWORD: &str = "canary-password-JxZ8qPq3sWnV";
const RESET_PASSWORD: &str = "canary-reset-Md73kRwe1Zu5";
const NEW_PASSWORD: &str = "canary-renewed-Kd92mfLq0Yt1";
const JWT: &str = "canary-signing-Zt4kQm1xV8nB2cR7pL5wS9dF3gH6j";
const PEPPER: &str = "canary-pepper-Yw6uTn3eR1bX8qM5kP2sD7fG4hJ9l";
const UPSTREAM: &str = "canary-upstream-Xv5rE2wQ9zA7";
const MAIL: &str = "canary-relay-Wb8nM4vC1xZ6";
const PROMPT: &str = "canary prompt Vu7yT3rE9wQ2";
/// What nobody ever had, and presents all the same.
const FORGED: &str = "canary-forged-Ut6iO4pL8kJ1";

/// Makes a key file in a folder; returns what is in it.
async fn key_file(folder: &Path) -> String {
    let mut create = program(folder);
    create.args(["signing-key", "create", "key.pem"]);
    let created = Finished::of(create, "").await;
    assert_eq!(created.code, 0, "{created:?}");
    std::fs::read_to_string(folder.join("key.pem")).expect("it was made")
}

/// Signs with a key file, which is made in a folder of its own; returns its secrets.
async fn sign_with_a_key(plan: &mut Plan, folder: &Path) -> [(&'static str, Vec<u8>); 2] {
    let pem = key_file(folder).await;
    let file = folder.join("key.pem");
    plan.set("JWT_ALGORITHM", "EdDSA");
    plan.set("JWT_KEY_FILES", file.to_str().expect("text"));
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let text: String = lines.collect();
    let key = STANDARD.decode(&text).expect("PEM");
    // PKCS#8 of Ed25519 (RFC 8410): what the key is made of stands behind 16 bytes of frame.
    let seed = key[16..48].to_owned();
    [("key file", text.into_bytes()), ("signing key", seed)]
}

/// Starts what is planned, uses all of it, and returns what it has answered to mistakes, with all secrets.
async fn use_all(mut plan: Plan) -> Scene {
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let operator = OperatorSecret::generate();
    let mut sink = Sink::start().await;
    let provider = Provider::start().await;
    let foreign = Foreign::start().await;
    logins::set(&mut plan, &provider, &foreign);
    for (name, value) in [
        ("JWT_SECRET_KEY", JWT),
        ("API_KEY_PEPPER", PEPPER),
        ("VLLM_API_KEY", UPSTREAM),
        ("API_TOKEN_HASH", &operator.hash().to_string()),
        (
            "LLM_GATE_MAIL__URL",
            &format!("smtp://gate:{MAIL}@{}", sink.address),
        ),
        ("LLM_GATE_LOG__FILTER", "debug"),
        ("LLM_GATE_LOG__FOLDER", "logs"),
        ("LLM_GATE_RATE_LIMITS__PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__PER_IDENTITY", "off"),
        ("LLM_GATE_RATE_LIMITS__FAILURES_PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__LOGINS_PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__LOGIN_FAILURES", "off"),
    ] {
        plan.set(name, value);
    }
    let created = plan.make_admin("root", PASSWORD).await;
    let site = plan.start(&vllm.url()).await;
    let mut scene = Scene {
        client: Client::new(site.address),
        site,
        canaries: Canaries::default(),
        cookies: BTreeMap::new(),
        errors: format!("{}{}", created.out, created.err).into_bytes(),
    };
    for (what, secret) in [
        ("password", PASSWORD),
        ("password of a reset", RESET_PASSWORD),
        ("second password", NEW_PASSWORD),
        ("signing secret", JWT),
        ("pepper", PEPPER),
        ("key of the upstream", UPSTREAM),
        ("password of the relay", MAIL),
        ("secret at the provider", SECRET),
        ("prompt", PROMPT),
        ("operator key", operator.expose()),
    ] {
        scene.canaries.add(what, secret);
    }

    let nobody = scene.client.clone();
    let body = json!({
        "username": "ada", "email": "ada@example.com", "password": PASSWORD, "create_api_key": true,
    });
    let registered = scene
        .post(&nobody, "/api/v1/auth/register", body, 201)
        .await;
    let ada = scene.enter("ada", PASSWORD).await;
    letters::confirm(&mut scene, &mut sink, &ada).await;
    let root = scene.enter("root", PASSWORD).await;
    letters::hand_over(&mut scene, &mut sink, &root, &registered.text("id")).await;
    letters::reset(&mut scene, &mut sink).await;
    let ada = scene.enter("ada", RESET_PASSWORD).await;
    letters::invite(&mut scene, &mut sink, &root, &ada).await;
    logins::log_in(&mut scene, &provider).await;
    assert!(
        scene.cookies.contains_key(REFRESH),
        "a page of its own has a session in a cookie"
    );

    let me = ada.get("/api/v1/users/me").await.expect("an answer");
    let keys = format!(
        "/api/v1/projects/{}/api-keys",
        me.text("default_project_id")
    );
    let all = json!({ "scopes": ["inference", "models", "usage", "manage"] });
    let made = scene.post(&ada, &keys, all, 201).await;
    let rotate = format!("{keys}/{}/rotate", made.text("id"));
    let rotated = scene.post(&ada, &rotate, json!({}), 200).await;
    let key = scene.client.bearer(rotated.text("api_key"));
    let operator = scene.client.bearer(operator.expose());
    command(&mut scene).await;
    let token = foreign.token(&me.text("id"));
    scene.canaries.add("token of another issuer", &*token);
    let from_elsewhere = scene.client.bearer(token);
    let shown = scene
        .ask(&from_elsewhere, Method::GET, "/api/v1/users/me", &json!({}))
        .await;
    assert_eq!(shown.status, 200, "it is a login here: {shown:?}");
    for stream in [false, true] {
        let chat = json!({
            "model": "tiny", "stream": stream, "max_tokens": 5,
            "messages": [{ "role": "user", "content": PROMPT }],
        });
        scene.post(&key, "/v1/chat/completions", chat, 200).await;
    }
    everything::present_forgeries(&mut scene).await;
    let callers = [nobody, ada.clone(), key, root, operator, from_elsewhere];
    everything::ask_everything(&mut scene, &callers).await;
    let change = json!({ "current_password": RESET_PASSWORD, "new_password": NEW_PASSWORD });
    let changed = scene
        .ask(&ada, Method::PUT, "/api/v1/users/me/password", &change)
        .await;
    assert_eq!(changed.status, 204, "{changed:?}");
    scene.enter("ada", NEW_PASSWORD).await;
    everything::present_what_is_real(&mut scene).await;
    everything::end_everything(&mut scene, &callers).await;
    scene.canaries.add("forged secret", FORGED);
    scene
}

/// Makes keys by commands, which print them, and uses those of ada.
async fn command(scene: &mut Scene) {
    let shown = "key, shown this once: ";
    let create = ["key", "create", "ada"];
    let key = scene.run("key of a command", &create, shown).await;
    let visible = &key[.."lg_".len() + 12];
    let rotate = ["key", "rotate", "ada", visible];
    let rotated = scene.run("rotated key of a command", &rotate, shown).await;
    for key in [&*key, &*rotated] {
        let client = scene.client.bearer(key);
        let models = scene
            .ask(&client, Method::GET, "/v1/models", &json!({}))
            .await;
        assert_eq!(models.status, 200, "both are good for a while: {models:?}");
    }
    let shown = "operator key, shown this once: ";
    scene
        .run("operator key of a command", &["token"], shown)
        .await;
}

impl Scene {
    /// Searches what was answered, logged, counted and kept in files.
    async fn search(&self) -> Searcher {
        self.site.check_that_all_served().await;
        let searcher = self.canaries.searcher();
        let errors = self.errors.len();
        assert!(
            errors > 100_000,
            "there were mistakes to answer: {errors} bytes"
        );
        searcher.search("an error", &self.errors);
        for metrics in self.site.metrics().await {
            assert!(metrics.len() > 1_000, "there are metrics");
            searcher.search("the metrics", metrics.as_bytes());
        }
        let mut logs = String::new();
        for (server, folder) in &self.site.gateways {
            let log = server.log();
            let lines = log.lines().count();
            assert!(lines > 1_000, "it has a log: {lines} lines");
            searcher.search("the log", log.as_bytes());
            logs.push_str(&log);
            let read = search_folder(&searcher, folder.path());
            assert!(read > 100_000, "something is kept: {read} bytes");
        }
        for line in ["a letter was not sent", "login refused"] {
            assert!(logs.contains(line), "what went wrong is there: {line}");
        }
        searcher
    }
}

/// Searches all files of a folder; returns how much was read.
fn search_folder(searcher: &Searcher, folder: &Path) -> usize {
    let mut read = 0;
    for file in std::fs::read_dir(folder).expect("it is there") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            read += search_folder(searcher, &path);
            continue;
        }
        let content = std::fs::read(&path).expect("it can be read");
        read += content.len();
        searcher.search(&path.display().to_string(), &content);
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_sqlite_keeps_logs_or_answers_has_a_secret_in_it() {
    let scene = use_all(Plan::one_on_sqlite()).await;
    let (_, folder) = &scene.site.gateways[0];
    assert!(folder.path().join("llm-gate.db").exists(), "it is searched");
    scene.search().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_two_gateways_on_postgresql_keep_log_or_answer_has_a_secret_in_it() {
    let Some(mut plan) = Plan::two_on_postgres().await else {
        return;
    };
    let folder = TempDir::new().expect("a temporary folder");
    let signing = sign_with_a_key(&mut plan, folder.path()).await;
    let mut scene = use_all(plan).await;
    for (what, secret) in signing {
        scene.canaries.add(what, secret);
    }
    let searcher = scene.search().await;
    let database = scene.site.database.as_deref().expect("PostgreSQL");
    let (dump, connection) = tokio_postgres::connect(database, tokio_postgres::NoTls)
        .await
        .expect("it answers");
    tokio::spawn(connection);
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let tables = dump.query(tables, &[]).await.expect("tables");
    assert!(tables.len() > 15, "all of them: {}", tables.len());
    let mut rows = 0;
    for table in tables {
        let name: String = table.get(0);
        let all = format!("SELECT t::text FROM {name} t");
        for row in dump.query(&all, &[]).await.expect("rows") {
            let row: String = row.get(0);
            rows += 1;
            searcher.search(&format!("the table {name}"), row.as_bytes());
        }
    }
    assert!(rows > 50, "there is something in them: {rows}");
}
