//! Every operation there is, and every place for a credential, with secrets in all of them.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use llm_gate_gateway::client::Client;
use serde_json::{Map, Value, json};

use super::scene::Scene;
use super::{FORGED, PROMPT};

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

/// Asks everything there is, as everybody.
pub(super) async fn ask_everything(scene: &mut Scene, callers: &[Client]) {
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
