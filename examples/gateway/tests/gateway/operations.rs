//! The operations of the OpenAPI document, to be tried one by one.

use http::Method;
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
