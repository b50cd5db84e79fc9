//! Who may do what: every operation of the document, tried with every kind of credential.
//!
//! What is expected follows from the document's security, and from [`ROLES`] for what lies within a project.

use std::time::Duration;

use http::StatusCode;
use llm_gate::auth::OperatorSecret;
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{Config, RateLimitConfig};
use serde_json::{Value, json};

use super::operations::{Operation, operations};
use super::support::{Gate, Person, start_on_postgres_with, start_with};

/// What of a project its members may do, by what its paths begin with; all else below is for those who manage it.
const ROLES: [(&str, &str, Role); 13] = [
    ("GET", "/api/v1/projects/{id}", Role::Member),
    ("PATCH", "/api/v1/projects/{id}", Role::Admin),
    ("DELETE", "/api/v1/projects/{id}", Role::Owner),
    ("GET", "/api/v1/projects/{id}/members", Role::Member),
    ("GET", "/api/v1/projects/{id}/usage", Role::Member),
    ("GET", "/api/v1/tokens/project/{project}", Role::Member),
    ("GET", "/tokens/project/{project}", Role::Member),
    ("GET", "/api/v1/projects/{id}/api-keys", Role::Member),
    ("POST", "/api/v1/projects/{id}/api-keys", Role::Member),
    ("GET", "/api/v1/projects/{id}/api-keys/{key}", Role::Member),
    (
        "PATCH",
        "/api/v1/projects/{id}/api-keys/{key}",
        Role::Member,
    ),
    (
        "POST",
        "/api/v1/projects/{id}/api-keys/{key}/revoke",
        Role::Member,
    ),
    (
        "POST",
        "/api/v1/projects/{id}/api-keys/{key}/rotate",
        Role::Member,
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Stranger,
    Member,
    Admin,
    Owner,
}

/// What somebody comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing, or nothing that is good.
    None,
    Login,
    /// A key with these scopes.
    Key(&'static [&'static str]),
    Operator,
}

struct Caller {
    name: String,
    client: Client,
    kind: Kind,
    role: Role,
    /// Whether it acts as an admin of the platform.
    platform: bool,
}

impl Caller {
    fn has(&self, scope: &str) -> bool {
        match self.kind {
            Kind::Login => true,
            Kind::Key(scopes) => {
                // What admins may includes to manage, and that to read reports.
                let wider: &[&str] = match scope {
                    "usage" => &["usage", "manage", "admin"],
                    "manage" => &["manage", "admin"],
                    other => &[other],
                };
                scopes.iter().any(|has| wider.contains(has))
            }
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Whatever is answered to everybody.
    Open,
    Unauthorized,
    Forbidden,
    /// Of another tenant.
    NotFound,
    /// Anything but a refusal of the caller.
    Allowed,
}

/// What the document and the roles say.
fn expected(operation: &Operation, caller: &Caller) -> Expected {
    let security = operation.is["security"]
        .as_array()
        .expect("every operation says it");
    if security.is_empty() {
        return Expected::Open;
    }
    if caller.kind == Kind::None {
        return Expected::Unauthorized;
    }
    let demanded = |scheme: &str| {
        let entry = security.iter().find_map(|one| one.get(scheme))?;
        Some(
            entry
                .as_array()
                .expect("roles")
                .first()
                .and_then(Value::as_str),
        )
    };
    let scheme = match caller.kind {
        Kind::Login => "session",
        Kind::Key(_) => "api_key",
        _ => "operator",
    };
    let let_in = match demanded(scheme) {
        None => false,
        Some(None) => true,
        Some(Some("admin")) => caller.platform,
        Some(Some(scope)) => caller.has(scope),
    };
    // The examples are nobody's invite and nobody's letter, and the limits are those of everybody.
    let nobodys = ["/api/v1/invites/accept", "/api/v1/auth/email/verify"];
    let everybodys = operation.path == "/api/v1/limits" && !caller.platform;
    if !let_in || everybodys || nobodys.contains(&operation.path.as_str()) {
        return Expected::Forbidden;
    }
    let Some(role) = role_for(operation) else {
        return Expected::Allowed;
    };
    match caller.role {
        _ if caller.platform => Expected::Allowed,
        Role::Stranger => Expected::NotFound,
        other if other >= role => Expected::Allowed,
        _ => Expected::Forbidden,
    }
}

/// What somebody has to be in a project; `None` for what lies in none.
fn role_for(operation: &Operation) -> Option<Role> {
    let path = operation.path.as_str();
    let inside = path.contains("/projects/{id}") || path.contains("{project}");
    if !inside || path.contains("/organization/") {
        return None;
    }
    // Older paths are what they stand for.
    let path = path.replace("/api/projects", "/api/v1/projects");
    let listed = ROLES
        .iter()
        .find(|(method, known, _)| operation.method == *method && path == *known);
    Some(listed.map_or(Role::Admin, |(_, _, role)| *role))
}

/// A project with its people.
struct Scene {
    project: String,
    callers: Vec<Caller>,
}

async fn made(answer: Answer) -> Answer {
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

async fn key(person: &Person, project: &str, scopes: &[&str]) -> Answer {
    let path = format!("/api/v1/projects/{project}/api-keys");
    made(person.post(&path, json!({ "scopes": scopes })).await).await
}

async fn project_of(person: &Person) -> String {
    made(person.post("/api/v1/projects", json!({})).await)
        .await
        .text("id")
}

impl Scene {
    /// Logs everybody in anew, and makes a project: what came before may have ended both.
    async fn set(gate: &Gate, operator: &OperatorSecret) -> Self {
        let expired = gate.enter("ada").await.session;
        gate.clock.advance(Duration::from_secs(700));
        let ada = gate.enter("ada").await;
        let project = project_of(&ada).await;
        let mut callers = Vec::new();
        let mut add = |name: String, client: Client, kind, role, platform| {
            callers.push(Caller {
                name,
                client,
                kind,
                role,
                platform,
            });
        };
        let revoked = key(&ada, &project, &["inference", "models", "usage", "manage"]).await;
        let path = format!(
            "/api/v1/projects/{project}/api-keys/{}/revoke",
            revoked.text("id")
        );
        made(ada.post(&path, json!({})).await).await;
        let revoked = gate.client.bearer(revoked.text("api_key"));
        add(
            "nobody".into(),
            gate.client.clone(),
            Kind::None,
            Role::Stranger,
            false,
        );
        add(
            "revoked key".into(),
            revoked,
            Kind::None,
            Role::Owner,
            false,
        );
        add(
            "expired login".into(),
            expired,
            Kind::None,
            Role::Owner,
            false,
        );
        add(
            "wrong key".into(),
            gate.client.bearer("lg_000000000000_wrong"),
            Kind::None,
            Role::Stranger,
            false,
        );

        for (name, role, word) in [
            ("mia", Role::Member, "member"),
            ("adam", Role::Admin, "admin"),
        ] {
            let person = gate.enter(name).await;
            let path = format!("/api/v1/projects/{project}/members");
            let member = json!({ "user_id": person.id, "role": word });
            made(ada.post(&path, member).await).await;
            let managing = key(&person, &project, &["manage"]).await;
            let managing = gate.client.bearer(managing.text("api_key"));
            add(
                format!("{word}'s key"),
                managing,
                Kind::Key(&["manage"]),
                role,
                false,
            );
            add(word.into(), person.session, Kind::Login, role, false);
        }
        const SCOPES: [&[&str]; 5] = [
            &["inference"],
            &["models"],
            &["usage"],
            &["manage"],
            &["inference", "models", "usage", "manage"],
        ];
        for scopes in SCOPES {
            let made = key(&ada, &project, scopes).await;
            let client = gate.client.bearer(made.text("api_key"));
            add(
                format!("owner's key {scopes:?}"),
                client,
                Kind::Key(scopes),
                Role::Owner,
                false,
            );
        }
        let eve = gate.enter("eve").await;
        let foreign = project_of(&eve).await;
        let foreign = key(&eve, &foreign, &["usage", "manage"]).await;
        let foreign = gate.client.bearer(foreign.text("api_key"));
        add(
            "stranger's key".into(),
            foreign,
            Kind::Key(&["usage", "manage"]),
            Role::Stranger,
            false,
        );
        add(
            "stranger".into(),
            eve.session,
            Kind::Login,
            Role::Stranger,
            false,
        );
        let root = gate.enter("root").await;
        let home = project_of(&root).await;
        const ADMINS: [(&[&str], bool); 3] = [
            (&["manage", "usage"], false),
            (&["admin"], true),
            (&["admin", "manage", "usage"], true),
        ];
        for (scopes, platform) in ADMINS {
            let made = key(&root, &home, scopes).await;
            let client = gate.client.bearer(made.text("api_key"));
            add(
                format!("platform admin's key {scopes:?}"),
                client,
                Kind::Key(scopes),
                Role::Stranger,
                platform,
            );
        }
        let operator = gate.client.bearer(operator.expose());
        add(
            "operator".into(),
            operator,
            Kind::Operator,
            Role::Stranger,
            true,
        );
        add("owner".into(), ada.session, Kind::Login, Role::Owner, false);
        add(
            "platform admin".into(),
            root.session,
            Kind::Login,
            Role::Stranger,
            true,
        );
        Self { project, callers }
    }
}

/// A body that would be taken, and that does no harm to the accounts of the others.
fn body(operation: &Operation) -> Value {
    match (operation.method.as_str(), operation.path.as_str()) {
        ("DELETE", "/api/v1/users/me") => json!({ "password": "not this one" }),
        ("PUT", "/api/v1/users/me/password") => {
            json!({ "current_password": "not this one", "new_password": "another horse battery" })
        }
        // Nobody changes names under those who come after.
        ("PATCH", "/api/v1/users/me") => json!({}),
        // A key makes none that may do more than itself.
        ("POST", "/api/v1/projects/{id}/api-keys") => json!({ "scopes": ["manage"] }),
        ("POST", "/v1/organization/projects/{project_id}/service_accounts") => {
            json!({ "name": "ci", "create_service_account_only": true })
        }
        (_, "/v1/chat/completions" | "/chat/completions") => json!({
            "model": "tiny", "max_tokens": 1, "messages": [{ "role": "user", "content": "Hello!" }],
        }),
        (_, "/v1/completions") => json!({ "model": "tiny", "max_tokens": 1, "prompt": "Once" }),
        (_, "/v1/embeddings") => json!({ "model": "tiny", "input": "Once" }),
        _ => operation
            .json()
            .map_or_else(|| json!({}), |schema| schema["examples"][0].clone()),
    }
}

async fn every_operation_is_open_to_those_it_is_for_and_to_nobody_else(
    gate: Gate,
    operator: OperatorSecret,
) {
    gate.admin().await;
    for name in ["ada", "mia", "adam", "eve"] {
        gate.person(name).await;
    }
    let (mut cells, mut wrong) = (0, Vec::new());
    for operation in operations() {
        let mut scene = Scene::set(&gate, &operator).await;
        let body = body(&operation);
        let path = operation.within(&scene.project);
        let open = operation.send_to(&gate.client, &path, &body).await.status;
        for number in 0..scene.callers.len() {
            let caller = &scene.callers[number];
            let expected = expected(&operation, caller);
            let path = operation.within(&scene.project);
            let status = operation.send_to(&caller.client, &path, &body).await.status;
            let good = match expected {
                // An account is made once.
                Expected::Open => {
                    // An account is made once.
                    let same = status == open || [open, status].contains(&StatusCode::CREATED);
                    same && !status.is_server_error()
                }
                Expected::Unauthorized => status == StatusCode::UNAUTHORIZED,
                Expected::Forbidden => status == StatusCode::FORBIDDEN,
                Expected::NotFound => status == StatusCode::NOT_FOUND,
                Expected::Allowed => {
                    // What names nothing else than the project is there.
                    let one =
                        operation.path.matches('{').count() == 1 && role_for(&operation).is_some();
                    let missing =
                        one && status == StatusCode::NOT_FOUND && body["user_id"].is_null();
                    !(missing
                        || status == StatusCode::UNAUTHORIZED
                        || status == StatusCode::FORBIDDEN
                        || status == StatusCode::TOO_MANY_REQUESTS
                        || status.is_server_error())
                }
            };
            cells += 1;
            if !good {
                wrong.push(format!(
                    "{} {} by {}: {status}, expected {expected:?}",
                    operation.method, operation.path, caller.name
                ));
            }
            // What ends a session or a project ends it for those who come next too.
            if expected == Expected::Allowed && operation.method == http::Method::DELETE {
                scene = Scene::set(&gate, &operator).await;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {cells}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cells > 1000, "everybody has tried everything: {cells}");
}

fn settings(config: &mut Config, operator: &OperatorSecret) {
    config.rate_limits = RateLimitConfig::off();
    config.auth.api_token_hash = Some(operator.hash().to_string().into());
}

#[tokio::test]
async fn every_operation_is_open_to_those_it_is_for_on_sqlite() {
    let operator = OperatorSecret::generate();
    let gate = start_with(|config| settings(config, &operator)).await;
    every_operation_is_open_to_those_it_is_for_and_to_nobody_else(gate, operator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_open_to_those_it_is_for_on_postgres() {
    let operator = OperatorSecret::generate();
    let gate = start_on_postgres_with(|config| settings(config, &operator)).await;
    every_operation_is_open_to_those_it_is_for_and_to_nobody_else(gate, operator).await;
}
