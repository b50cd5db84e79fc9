//! No secret leaves the gate but to whom it belongs: not in a database, a log, a metric or an error.
//!
//! Every operation of the OpenAPI document is asked with secrets in all places that they come in; then everything that
//! is kept or written is searched for them, also in the encodings that things are kept in.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use llm_gate::auth::OperatorSecret;
use llm_gate_diesel::test_db::postgres;
use llm_gate_gateway::client::{Answer, Client};
use scripted_vllm::ScriptedVllm;
use serde_json::{Map, Value, json};
use support::{Finished, Server, in_time, program};
use tempfile::TempDir;

/// What people typed, and what stands in the settings.
const PASSWORD: &str = "canary-password-JxZ8qPq3sWnV";
const NEW_PASSWORD: &str = "canary-renewed-Kd92mfLq0Yt1";
const JWT: &str = "canary-signing-Zt4kQm1xV8nB2cR7pL5wS9dF3gH6j";
const PEPPER: &str = "canary-pepper-Yw6uTn3eR1bX8qM5kP2sD7fG4hJ9l";
const UPSTREAM: &str = "canary-upstream-Xv5rE2wQ9zA7";
const MAIL: &str = "canary-relay-Wb8nM4vC1xZ6";
const PROVIDER: &str = "canary-provider-Ts5uY3iO7pA2";
const PROMPT: &str = "canary prompt Vu7yT3rE9wQ2";
/// What nobody ever had, and presents all the same.
const FORGED: &str = "canary-forged-Ut6iO4pL8kJ1";

/// What of an answer is a secret.
const HANDED_OUT: [&str; 5] = ["api_key", "access_token", "refresh_token", "token", "value"];
/// How the secrets begin that the gate makes, and how long what follows is at least.
const FORMS: [(&str, usize); 6] = [
    ("lg_", 40),
    ("lgr_", 30),
    ("lgi_", 30),
    ("lgm_", 30),
    ("lgo_", 30),
    ("eyJ", 60),
];

/// An identifier that nothing has: identifiers are no secrets.
const NOBODY: &str = "00000000-0000-7000-8000-000000000001";

/// The secrets there are, by what they are.
#[derive(Default)]
struct Canaries(BTreeMap<String, String>);

impl Canaries {
    fn add(&mut self, what: &str, secret: impl Into<String>) {
        self.0.insert(what.to_owned(), secret.into());
    }

    /// Searches for all of them, and for whatever else has the form of one.
    fn search(&self, place: &str, text: &[u8]) {
        // All that is searched for is ASCII, which stays as it is.
        let text = String::from_utf8_lossy(text);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        for (prefix, length) in FORMS {
            for (at, _) in text.match_indices(prefix) {
                let rest = &text.as_bytes()[at + prefix.len()..];
                let rest = rest.iter().take_while(|byte| plain(byte)).count();
                assert!(
                    rest < length,
                    "{place} has a secret that begins with {prefix}"
                );
            }
        }
        for (what, secret) in &self.0 {
            let bytes = secret.as_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for (how, form) in [
                ("as it is", secret.clone()),
                ("in hexadecimal", hex),
                ("in Base64", STANDARD_NO_PAD.encode(bytes)),
                ("in Base64 for URLs", URL_SAFE_NO_PAD.encode(bytes)),
                ("percent-encoded", secret.replace(' ', "%20")),
            ] {
                assert!(!text.contains(&form), "{place} has the {what}, {how}");
            }
        }
    }
}

struct Scene {
    server: Server,
    client: Client,
    canaries: Canaries,
    /// The bodies of what was refused.
    errors: Vec<u8>,
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let mut request = client
        .request(method, path, body.to_string())
        .expect("a request");
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    in_time("an answer", client.send(request))
        .await
        .expect("an answer")
}

impl Scene {
    async fn ask(&mut self, who: &Client, method: Method, path: &str, body: &Value) -> Answer {
        let answer = send(who, method, path, body).await;
        self.keep(&answer.json());
        assert_ne!(answer.status, 500, "{path}: {answer:?}");
        if !answer.status.is_success() {
            let headers = format!("{:?}\n", answer.headers);
            self.errors.extend_from_slice(headers.as_bytes());
            self.errors.extend_from_slice(&answer.body);
            self.errors.push(b'\n');
        }
        answer
    }

    /// Remembers the secrets of an answer, wherever in it they stand.
    fn keep(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(secret) if HANDED_OUT.contains(&name.as_str()) => {
                            let what = format!("{name} {}", self.canaries.0.len());
                            self.canaries.add(&what, secret);
                        }
                        _ => self.keep(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.keep(item)),
            _ => {}
        }
    }

    /// Logs in, and remembers what is handed out.
    async fn enter(&mut self, name: &str, password: &str) -> Client {
        let body = json!({ "username": name, "password": password });
        let client = self.client.clone();
        let pair = self
            .ask(&client, Method::POST, "/api/v1/auth/login", &body)
            .await;
        assert_eq!(pair.status, 200, "{name}: {pair:?}");
        let number = self.canaries.0.len();
        let (access, refresh) = (pair.text("access_token"), pair.text("refresh_token"));
        self.canaries
            .add(&format!("access token {number}"), access.clone());
        self.canaries
            .add(&format!("refresh token {number}"), refresh.clone());
        let body = json!({ "refresh_token": refresh });
        let pair = self
            .ask(&client, Method::POST, "/api/v1/auth/refresh", &body)
            .await;
        let (access, refresh) = (pair.text("access_token"), pair.text("refresh_token"));
        self.canaries
            .add(&format!("second access token {number}"), access.clone());
        self.canaries
            .add(&format!("second refresh token {number}"), refresh);
        self.client.bearer(access)
    }
}

/// A body for an operation: its example, with a secret in each field that takes one, and a mistake beside it where one
/// is wanted.
fn body(schema: &Value, secret: &str, mistaken: bool) -> Value {
    let mut body = schema["examples"][0].clone();
    if !body.is_object() {
        body = Value::Object(Map::new());
    }
    let fields = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for name in fields.keys() {
        if [
            "password",
            "current_password",
            "new_password",
            "token",
            "refresh_token",
            "invite",
        ]
        .contains(&name.as_str())
        {
            body[name] = secret.into();
        }
    }
    if mistaken {
        body["unheard_of"] = secret.into();
    }
    body
}

/// Asks everything there is, as everybody.
async fn ask_everything(scene: &mut Scene, callers: &[Client]) {
    let document = scene
        .client
        .get("/openapi.json")
        .await
        .expect("an answer")
        .json();
    let paths = document["paths"].as_object().expect("paths").clone();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().unwrap_or_default();
            let schema = document
                .pointer(name.trim_start_matches('#'))
                .filter(|_| !name.is_empty());
            // Nobody's account is ended under those who come after.
            let ends =
                method == Method::DELETE && (path.ends_with("/me") || path.ends_with("/sessions"));
            if ends || path.ends_with("/auth/logout") {
                continue;
            }
            let at: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { NOBODY } else { part })
                .collect::<Vec<_>>()
                .join("/");
            for caller in callers {
                let bodies = match schema {
                    Some(schema) => vec![body(schema, FORGED, false), body(schema, FORGED, true)],
                    None => vec![json!({ "prompt": PROMPT })],
                };
                for body in bodies {
                    scene.ask(caller, method.clone(), &at, &body).await;
                }
                let asked = format!("{at}?api_key={FORGED}&token={FORGED}");
                scene.ask(caller, method.clone(), &asked, &json!({})).await;
            }
        }
    }
}

/// Presents what is no credential, in every place for one.
async fn present_forgeries(scene: &mut Scene) {
    for header in [
        format!("Bearer {FORGED}"),
        format!("Basic {FORGED}"),
        FORGED.to_owned(),
        format!("Bearer lg_{FORGED}"),
        format!("Bearer eyJhbGciOiJub25lIn0.{FORGED}.{FORGED}"),
    ] {
        for path in ["/v1/models", "/api/v1/users/me", "/v1/chat/completions"] {
            let client = scene.client.clone();
            let mut request = client.request(Method::GET, path, "").expect("a request");
            let value = HeaderValue::from_str(&header).expect("a header");
            request.headers_mut().insert(AUTHORIZATION, value.clone());
            request.headers_mut().insert("x-api-key", value.clone());
            request.headers_mut().insert("cookie", value);
            let answer = client.send(request).await.expect("an answer");
            scene.errors.extend_from_slice(&answer.body);
        }
    }
}

/// Starts a gateway, uses all of it, and returns what it has answered to mistakes, with all secrets.
async fn use_all(folder: &Path, database: Option<&str>) -> Scene {
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let operator = OperatorSecret::generate();
    let hash = operator.hash().to_string();
    // Nobody listens there, so that each letter is a failure to be written down.
    let mail = format!("smtp://gate:{MAIL}@127.0.0.1:9");
    let logs = folder.join("logs");
    let logs = logs.to_str().expect("text");
    let mut environment = vec![
        ("JWT_SECRET_KEY", JWT),
        ("API_KEY_PEPPER", PEPPER),
        ("VLLM_API_KEY", UPSTREAM),
        ("API_TOKEN_HASH", &hash),
        ("LLM_GATE_MAIL__URL", &mail),
        ("GITHUB_CLIENT_ID", "the-gate"),
        ("GITHUB_CLIENT_SECRET", PROVIDER),
        ("LLM_GATE_LOG__FILTER", "debug"),
        ("LLM_GATE_LOG__FOLDER", logs),
        ("LLM_GATE_RATE_LIMITS__PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__PER_IDENTITY", "off"),
        ("LLM_GATE_RATE_LIMITS__FAILURES_PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__LOGINS_PER_ADDRESS", "off"),
        ("LLM_GATE_RATE_LIMITS__LOGIN_FAILURES", "off"),
    ];
    environment.extend(database.map(|url| ("DATABASE_URL", url)));
    let mut create = program(folder);
    create
        .args(["user", "create", "root", "--admin", "--password-stdin"])
        .envs(environment.iter().copied());
    let created = Finished::of(create, PASSWORD).await;
    assert_eq!(created.code, 0, "{created:?}");
    let server = Server::start_with(folder, &vllm.url(), &environment).await;
    let client = Client::new(server.address);
    let mut scene = Scene {
        server,
        client,
        canaries: Canaries::default(),
        errors: format!("{}{}", created.out, created.err).into_bytes(),
    };
    for (what, secret) in [
        ("password", PASSWORD),
        ("second password", NEW_PASSWORD),
        ("signing secret", JWT),
        ("pepper", PEPPER),
        ("key of the upstream", UPSTREAM),
        ("password of the relay", MAIL),
        ("secret at the provider", PROVIDER),
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
        .ask(&nobody, Method::POST, "/api/v1/auth/register", &body)
        .await;
    assert_eq!(registered.status, 201, "{registered:?}");
    scene
        .canaries
        .add("first API key", registered.text("api_key"));
    let (ada, root) = (
        scene.enter("ada", PASSWORD).await,
        scene.enter("root", PASSWORD).await,
    );
    let me = ada.get("/api/v1/users/me").await.expect("an answer");
    let keys = format!(
        "/api/v1/projects/{}/api-keys",
        me.text("default_project_id")
    );
    let all = json!({ "scopes": ["inference", "models", "usage", "manage"] });
    let made = scene.ask(&ada, Method::POST, &keys, &all).await;
    scene.canaries.add("API key", made.text("api_key"));
    let rotate = format!("{keys}/{}/rotate", made.text("id"));
    let rotated = scene.ask(&ada, Method::POST, &rotate, &json!({})).await;
    scene
        .canaries
        .add("rotated API key", rotated.text("api_key"));
    let key = scene.client.bearer(rotated.text("api_key"));
    let invite = json!({ "email": "grace@example.com" });
    let invited = scene
        .ask(&root, Method::POST, "/api/v1/invites", &invite)
        .await;
    scene.canaries.add("invite", invited.text("token"));
    let operator = scene.client.bearer(operator.expose());
    for stream in [false, true] {
        let chat = json!({
            "model": "tiny", "stream": stream, "max_tokens": 5,
            "messages": [{ "role": "user", "content": PROMPT }],
        });
        let answer = scene
            .ask(&key, Method::POST, "/v1/chat/completions", &chat)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let forgotten = json!({ "email": "ada@example.com" });
    scene
        .ask(
            &nobody,
            Method::POST,
            "/api/v1/auth/password/forgot",
            &forgotten,
        )
        .await;
    present_forgeries(&mut scene).await;
    let callers = [nobody, ada.clone(), key, root, operator];
    ask_everything(&mut scene, &callers).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    let changed = scene
        .ask(&ada, Method::PUT, "/api/v1/users/me/password", &change)
        .await;
    assert_eq!(changed.status, 204, "{changed:?}");
    scene.enter("ada", NEW_PASSWORD).await;
    scene.canaries.add("forged secret", FORGED);
    scene
}

impl Scene {
    /// Searches what it has answered, logged and counted.
    async fn search(&self) {
        let errors = self.errors.len();
        assert!(
            errors > 100_000,
            "there were mistakes to answer: {errors} bytes"
        );
        self.canaries.search("an error", &self.errors);
        let log = self.server.log();
        assert!(
            log.lines().count() > 1_000,
            "it has a log: {} lines",
            log.lines().count()
        );
        self.canaries.search("the log", log.as_bytes());
        let metrics = Client::new(self.server.metrics);
        let metrics = metrics.get("/metrics").await.expect("an answer");
        assert!(metrics.body.len() > 1_000, "there are metrics");
        self.canaries.search("the metrics", &metrics.body);
    }
}

#[tokio::test]
async fn nothing_that_sqlite_keeps_logs_or_answers_has_a_secret_in_it() {
    let folder = TempDir::new().expect("a temporary folder");
    let scene = use_all(folder.path(), None).await;
    scene.search().await;
    let mut read = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        let files = std::fs::read_dir(folder).expect("it is there");
        for path in files.map(|file| file.expect("a file").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).expect("it can be read");
            read += content.len();
            scene.canaries.search(
                &path.file_name().unwrap_or_default().to_string_lossy(),
                &content,
            );
        }
    }
    assert!(read > 100_000, "the database was among them: {read} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_postgresql_keeps_has_a_secret_in_it() {
    if !postgres::installed() {
        eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let database = postgres::config().await;
    let folder = TempDir::new().expect("a temporary folder");
    let scene = use_all(folder.path(), Some(database.url())).await;
    scene.search().await;
    let (dump, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
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
            scene
                .canaries
                .search(&format!("the table {name}"), row.as_bytes());
        }
    }
    assert!(rows > 50, "there is something in them: {rows}");
}
