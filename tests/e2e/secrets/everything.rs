//! Every operation there is, and every place for a credential, with secrets in all of them.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use llm_gate_gateway::client::Client;
use serde_json::{Map, Value, json};

use super::scene::{DEVICE, REFRESH, Scene};
use super::{FORGED, NEW_PASSWORD, PASSWORD, PROMPT};

/// An identifier that nothing has: identifiers are no secrets.
const NOBODY: &str = "00000000-0000-7000-8000-000000000001";

/// The fields that take a secret.
const SECRETS: [&str; 6] = [
    "password",
    "current_password",
    "new_password",
    "token",
    "refresh_token",
    "invite",
];

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
        if SECRETS.contains(&name.as_str()) {
            body[name] = secret.into();
        }
    }
    if mistaken {
        body["unheard_of"] = secret.into();
    }
    body
}

/// An operation that is asked for.
struct Asked {
    method: Method,
    path: String,
    /// What it takes as JSON.
    schema: Option<Value>,
}

impl Asked {
    /// Returns whether it ends a session, all of them, or an account.
    fn ends(&self) -> bool {
        let path = &self.path;
        let gone = path.ends_with("/me") || path.ends_with("/sessions");
        (self.method == Method::DELETE && gone) || path.ends_with("/auth/logout")
    }

    /// Asks for it as everybody, with secrets in all places.
    async fn ask(&self, scene: &mut Scene, callers: &[Client]) {
        let Self {
            method,
            path,
            schema,
        } = self;
        for caller in callers {
            let bodies = match schema {
                Some(schema) => vec![body(schema, FORGED, false), body(schema, FORGED, true)],
                None => vec![json!({ "prompt": PROMPT })],
            };
            for body in bodies {
                scene.ask(caller, method.clone(), path, &body).await;
            }
            let asked = format!("{path}?api_key={FORGED}&token={FORGED}");
            scene.ask(caller, method.clone(), &asked, &json!({})).await;
        }
    }
}

/// Lists everything there is.
async fn all(scene: &Scene) -> Vec<Asked> {
    let document = scene
        .client
        .get("/openapi.json")
        .await
        .expect("an answer")
        .json();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().unwrap_or_default();
            let schema = document
                .pointer(name.trim_start_matches('#'))
                .filter(|_| !name.is_empty());
            let parts = path.split('/');
            let parts = parts.map(|part| if part.starts_with('{') { NOBODY } else { part });
            all.push(Asked {
                method: method.to_uppercase().parse().expect("a method"),
                path: parts.collect::<Vec<_>>().join("/"),
                schema: schema.cloned(),
            });
        }
    }
    all
}

/// Asks everything there is, as everybody, but for what ends those who come after.
pub(super) async fn ask_everything(scene: &mut Scene, callers: &[Client]) {
    for asked in all(scene).await {
        if !asked.ends() {
            asked.ask(scene, callers).await;
        }
    }
}

/// Ends a session, an account and all sessions with what it takes, and asks for that as everybody: nobody comes after.
pub(super) async fn end_everything(scene: &mut Scene, callers: &[Client]) {
    let nobody = scene.client.clone();
    // The one in the cookie, which is a login with another provider.
    let refresh = scene.cookies.get(REFRESH).cloned();
    let refresh = refresh.expect("a session in a cookie");
    let logout = "/api/v1/auth/logout";
    scene.post(&nobody, logout, json!({}), 204).await;
    let left = scene.cookies.get(REFRESH);
    assert_eq!(left, None, "the cookie is taken away");
    let body = json!({ "refresh_token": refresh });
    scene.post(&nobody, "/api/v1/auth/refresh", body, 401).await;

    let grace = scene.enter("grace", PASSWORD).await;
    let ada = scene.enter("ada", NEW_PASSWORD).await;
    let me = "/api/v1/users/me";
    let sessions = "/api/v1/users/me/sessions";
    for (who, password, status) in [
        // Whose project has grace in it.
        (&ada, NEW_PASSWORD, 409),
        (&grace, FORGED, 422),
        (&grace, PASSWORD, 204),
    ] {
        let body = json!({ "password": password });
        let ended = scene.ask(who, Method::DELETE, me, &body).await;
        assert_eq!(ended.status, status, "{ended:?}");
    }
    let mut ends = all(scene).await;
    ends.retain(Asked::ends);
    // Last all sessions: whoever asks has none behind that.
    ends.sort_by_key(|asked| asked.path == sessions);
    let last = ends.last().expect("there are some");
    assert_eq!(last.path, sessions);
    for asked in &ends {
        asked.ask(scene, callers).await;
    }
    for who in [&ada, &grace] {
        let refused = scene.ask(who, Method::GET, me, &json!({})).await;
        assert_eq!(refused.status, 401, "it has ended: {refused:?}");
    }
}

/// Presents what is no credential, in every place for one.
pub(super) async fn present_forgeries(scene: &mut Scene) {
    for header in [
        format!("Bearer {FORGED}"),
        format!("Basic {FORGED}"),
        FORGED.to_owned(),
        format!("Bearer lg_{FORGED}"),
        format!("Bearer eyJhbGciOiJub25lIn0.{FORGED}.{FORGED}"),
    ] {
        for path in ["/v1/models", "/api/v1/users/me", "/v1/chat/completions"] {
            present(scene, path, &header, &header).await;
        }
    }
    let forged = [DEVICE, REFRESH].map(|name| (name.to_owned(), FORGED.to_owned()));
    let kept = std::mem::replace(&mut scene.cookies, forged.into());
    let nobody = scene.client.clone();
    for (path, body) in [
        ("/api/v1/auth/refresh", json!({})),
        (
            "/api/v1/auth/login",
            json!({ "username": "ada", "password": FORGED }),
        ),
    ] {
        scene.post(&nobody, path, body, 401).await;
    }
    scene.cookies = kept;
}

/// Presents every real secret where it does not belong: as another credential, and in a URL.
pub(super) async fn present_what_is_real(scene: &mut Scene) {
    for (secret, _) in scene.canaries.typed() {
        let typed: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let path = format!("/api/v1/users/me?token={typed}&unheard_of={typed}");
        let secret = secret.replace('\n', " ");
        present(scene, &path, &format!("Bearer {secret}"), &secret).await;
        let body = json!({ "token": secret, "password": secret, "unheard_of": secret });
        let nobody = scene.client.clone();
        for path in [
            "/api/v1/auth/email/verify",
            "/api/v1/auth/password/reset",
            "/api/v1/invites/accept",
        ] {
            scene.ask(&nobody, Method::POST, path, &body).await;
        }
    }
}

async fn present(scene: &mut Scene, path: &str, authorization: &str, other: &str) {
    let client = scene.client.clone();
    let mut request = client.request(Method::GET, path, "").expect("a request");
    let value = |text: &str| HeaderValue::from_str(text).expect("a header");
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, value(authorization));
    headers.insert("x-api-key", value(other));
    headers.insert("cookie", value(other));
    let answer = client.send(request).await.expect("an answer");
    scene.note(&answer);
}
