//! The operations of the OpenAPI document, to be tried one by one.

use std::collections::HashMap;

use http::Method;
use jsonschema::Validator;
use llm_gate_gateway::api::document;
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{RateLimitConfig, RateSetting};
use serde_json::Value;

use super::support::send;

/// An operation of the document.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) is: Value,
}

pub(crate) fn document() -> Value {
    serde_json::from_str(document::text()).expect("the document is JSON")
}

pub(crate) fn operations() -> Vec<Operation> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item").iter();
            item.map(|(method, is)| Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                is: is.clone(),
            })
        })
        .collect()
}

/// Follows a reference of the document.
pub(crate) fn resolve(value: &Value) -> Value {
    match value["$ref"].as_str() {
        Some(target) => {
            let target = document().pointer(target.trim_start_matches('#')).cloned();
            target.expect("references lead somewhere")
        }
        None => value.clone(),
    }
}

impl Operation {
    /// Returns what it is called.
    fn id(&self) -> String {
        self.is["operationId"].as_str().expect("an id").to_owned()
    }

    /// Returns a path that is one, with identifiers that nothing has.
    pub(crate) fn somewhere(&self) -> String {
        self.within("00000000-0000-7000-8000-000000000001")
    }

    /// Returns a path in a project.
    pub(crate) fn within(&self, project: &str) -> String {
        let parts = self.path.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { project } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    pub(crate) fn json(&self) -> Option<Value> {
        let content = &self.is["requestBody"]["content"]["application/json"];
        content.get("schema").map(resolve)
    }

    pub(crate) fn is_call(&self) -> bool {
        let v1 = self.path.starts_with("/v1/") && !self.path.starts_with("/v1/organization/");
        v1 || self.path == "/chat/completions"
    }

    pub(crate) async fn send_to(&self, client: &Client, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        send(client, self.method.clone(), path, &json, body.to_string()).await
    }
}

/// Rates that nobody reaches: answers tell what is left of them.
pub(crate) fn plenty() -> RateLimitConfig {
    let most: RateSetting = "1000000/minute".parse().expect("a rate");
    RateLimitConfig {
        per_address: most,
        per_identity: most,
        ..RateLimitConfig::off()
    }
}

/// The security headers that are the same on every answer. Users come by `http` here, so nothing is promised of TLS.
const HARDENED: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// What a browser may do with an answer: nothing.
const POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The document and the page that shows it.
const FILES: [&str; 4] = ["/openapi.json", "/docs", "/docs/page.js", "/docs/page.css"];

/// Says what an answer lacks of what every answer has, good or refused: an id, the security headers, and what is left of
/// the tightest rate. Preflights are not counted and show it all the same; they are no operation.
pub(crate) fn lacks(path: &str, answer: &Answer) -> Vec<String> {
    let text = |name: &str| {
        let value = answer.headers.get(name)?;
        Some(value.to_str().unwrap_or_default().to_owned())
    };
    let mut wrong = Vec::new();
    let mut expect = |name: &str, good: bool| {
        if !good {
            let (status, found) = (answer.status, text(name));
            wrong.push(format!("{path}: {status} with {name}: {found:?}"));
        }
    };
    let id = text("x-request-id").unwrap_or_default();
    expect("x-request-id", id.len() == 36);
    for (name, value) in HARDENED {
        expect(name, text(name).as_deref() == Some(value));
    }
    expect("server", text("server").is_none());
    let tls = "strict-transport-security";
    expect(tls, text(tls).is_none());

    let shown = answer.status.is_success();
    let policy = text("content-security-policy").unwrap_or_default();
    // The page runs its own script, and browsers keep it; others keep the public keys for a while.
    let file = shown && FILES.contains(&path);
    let own = policy.starts_with("default-src 'none'; script-src 'self'; ");
    expect("content-security-policy", own == file);
    expect("content-security-policy", file || policy == POLICY);
    let cache = match path {
        _ if file => "no-cache",
        "/.well-known/jwks.json" if shown => "public, max-age=300",
        _ => "no-store",
    };
    let cached = text("cache-control");
    expect("cache-control", cached.as_deref() == Some(cache));

    let number = |name: &str| text(name)?.parse::<u64>().ok();
    let (limit, remaining, reset) = (
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    );
    expect(limit, number(limit).is_some());
    // It is counted itself.
    let left = number(remaining);
    expect(remaining, left.is_some() && left < number(limit));
    let seconds = text(reset).and_then(|wait| wait.strip_suffix('s')?.parse::<u64>().ok());
    expect(reset, seconds.is_some());
    wrong
}

/// What answers have to look like.
pub(crate) struct Shapes {
    document: Value,
    known: HashMap<(String, u16), Option<Validator>>,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            document: document(),
            known: HashMap::new(),
        }
    }

    /// Says what of an answer is not as the document has it.
    pub(crate) fn wrong(&mut self, operation: &Operation, answer: &Answer) -> Option<String> {
        let is_json = answer.headers.get("content-type")?.to_str().ok()?;
        if !is_json.starts_with("application/json") {
            return None;
        }
        let status = answer.status.as_u16();
        let known = self.known.entry((operation.id(), status));
        let validator = known.or_insert_with(|| shape(&self.document, operation, status));
        let Some(validator) = validator else {
            return Some(format!("{status} has no shape"));
        };
        let body = answer.json();
        let wrong = validator.iter_errors(&body);
        let wrong: Vec<String> = wrong
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        (!wrong.is_empty()).then(|| format!("{status} {body}: {}", wrong.join(", ")))
    }
}

/// Returns what an answer in JSON has to look like.
fn shape(document: &Value, operation: &Operation, status: u16) -> Option<Validator> {
    let response = resolve(&operation.is["responses"][status.to_string()]);
    let mut schema = response
        .pointer("/content/application~1json/schema")?
        .clone();
    // What it refers to stands there.
    schema["components"] = document["components"].clone();
    let made = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema);
    Some(made.expect("the document has schemas"))
}
