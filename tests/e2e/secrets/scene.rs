//! Who asks, and what is remembered of the answers.

use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};
use support::{Site, in_time};

use super::canaries::Canaries;

/// What of an answer is a secret.
const HANDED_OUT: [&str; 5] = ["api_key", "access_token", "refresh_token", "token", "value"];

pub(super) struct Scene {
    pub(super) site: Site,
    pub(super) client: Client,
    pub(super) canaries: Canaries,
    /// The bodies of what was refused.
    pub(super) errors: Vec<u8>,
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let what = format!("{method} {path}");
    let mut request = client
        .request(method, path, body.to_string())
        .expect("a request");
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    in_time(&what, client.send(request)).await.expect(&what)
}

impl Scene {
    /// Asks, and remembers the answer.
    pub(super) async fn ask(
        &mut self,
        who: &Client,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        let answer = send(who, method, path, body).await;
        assert_ne!(answer.status, 500, "{path}: {answer:?}");
        self.note(&answer);
        answer
    }

    /// Posts what has to be answered with `status`.
    pub(super) async fn post(
        &mut self,
        who: &Client,
        path: &str,
        body: Value,
        status: u16,
    ) -> Answer {
        let answer = self.ask(who, Method::POST, path, &body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer
    }

    /// Remembers an answer: its secrets, and all of it if it is about a mistake.
    pub(super) fn note(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            let value = cookie.split(['=', ';']).nth(1).unwrap_or_default();
            if !value.is_empty() {
                self.canaries.add("cookie", value);
            }
        }
        if answer.status.is_success() {
            self.keep(&answer.json());
        }
        if answer.status.is_client_error() || answer.status.is_server_error() {
            let headers = format!("{:?}\n", answer.headers);
            self.errors.extend_from_slice(headers.as_bytes());
            self.errors.extend_from_slice(&answer.body);
            self.errors.push(b'\n');
        }
    }

    /// Remembers the secrets of an answer, wherever in it they stand.
    fn keep(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        // The document has examples, which are cut off.
                        Some(secret) if HANDED_OUT.contains(&name.as_str()) => {
                            if !secret.contains('…') {
                                self.canaries.add(name, secret);
                            }
                        }
                        _ => self.keep(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.keep(item)),
            _ => {}
        }
    }

    /// Logs in and refreshes once.
    pub(super) async fn enter(&mut self, name: &str, password: &str) -> Client {
        let nobody = self.client.clone();
        let body = json!({ "username": name, "password": password });
        let pair = self.post(&nobody, "/api/v1/auth/login", body, 200).await;
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        let pair = self.post(&nobody, "/api/v1/auth/refresh", body, 200).await;
        self.client.bearer(pair.text("access_token"))
    }

    /// Checks that a mistake was answered as one, and remembers the answer.
    pub(super) fn refused(&mut self, answer: &Answer) {
        let status = answer.status;
        let told = status.is_client_error()
            || [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        assert!(told, "{answer:?}");
        self.note(answer);
    }
}
