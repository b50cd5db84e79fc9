//! The operations of the OpenAPI document, to be tried one by one.

use std::collections::HashMap;

use http::Method;
use jsonschema::Validator;
use llm_gate_gateway::api::document;
use llm_gate_gateway::client::{Answer, Client};
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
