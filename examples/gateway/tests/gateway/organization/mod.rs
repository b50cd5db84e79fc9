//! The OpenAI Admin API over HTTP: one file for what belongs together.

mod access;
mod audit;
mod keys;
mod people;
mod projects;
mod usage;

use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, PASSWORD, Person, on_both, send, start};

/// An admin who speaks the API.
struct Admin {
    gate: Gate,
    root: Person,
}

impl Admin {
    async fn start() -> Self {
        Self::of(start().await).await
    }

    async fn of(gate: Gate) -> Self {
        let root = gate.admin().await;
        Self { gate, root }
    }

    /// Asks, and gets an answer of that status.
    async fn ask(&self, method: Method, path: &str, body: Value, status: u16) -> Value {
        let answer = ask(&self.root.session, method, path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {answer:?}");
        answer.json()
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null, 200).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body, 200).await
    }

    async fn delete(&self, path: &str) -> Value {
        self.ask(Method::DELETE, path, Value::Null, 200).await
    }

    /// Asks for what is refused; returns the error.
    async fn refused(&self, method: Method, path: &str, body: Value, status: u16) -> Value {
        let answer = self.ask(method, path, body, status).await;
        let error = answer["error"].clone();
        assert!(
            error["message"].is_string(),
            "{path}: OpenAI's shape: {answer}"
        );
        assert_eq!(error["type"], "invalid_request_error", "{path}");
        error
    }

    /// Asks for something that is not there.
    async fn missing(&self, method: Method, path: &str, body: Value) {
        self.refused(method, path, body, 404).await;
    }

    /// Asks with a field at fault.
    async fn wrong(&self, method: Method, path: &str, body: Value, param: &str) {
        let error = self.refused(method, path, body, 400).await;
        assert_eq!(error["param"], param, "{path}: {error}");
    }

    /// Makes a project.
    async fn project(&self, name: &str) -> String {
        let made = self
            .post("/v1/organization/projects", json!({ "name": name }))
            .await;
        text(&made["id"])
    }

    /// Reads a list in parts of two, as the packages do; returns the ids.
    async fn pages(&self, path: &str) -> Vec<String> {
        let (mut ids, mut after) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit=2{after}")).await;
            let part = self.listed(&page);
            assert!(part.len() <= 2, "{path}: never more than asked for");
            assert_eq!(page["first_id"], json!(part.first()), "{path}");
            assert_eq!(page["last_id"], json!(part.last()), "{path}");
            ids.extend(part);
            if page["has_more"] == false {
                return ids;
            }
            after = format!("&after={}", text(&page["last_id"]));
        }
    }

    /// Reads the ids of a list.
    fn listed(&self, list: &Value) -> Vec<String> {
        assert_eq!(list["object"], "list");
        let data = list["data"].as_array().expect("a list").iter();
        data.map(|entry| text(&entry["id"])).collect()
    }
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let kind = [("content-type", "application/json")];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(client, method, path, &kind, body).await
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Whether a credential can still list models.
async fn works(client: &Client) -> bool {
    let answer = client.get("/v1/models").await.expect("an answer");
    answer.status == StatusCode::OK
}
