//! Who asks, and what is remembered of the answers.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
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
    /// What the browser keeps that everybody uses.
    pub(super) cookies: BTreeMap<String, String>,
    /// The bodies of what was refused.
    pub(super) errors: Vec<u8>,
}

/// Where refresh tokens are kept by browsers, and what accounts were entered. Without `__Host-`: people come by `http`.
pub(super) const REFRESH: &str = "llm-gate-refresh";
pub(super) const DEVICE: &str = "llm-gate-device";

impl Scene {
    async fn send(&self, client: &Client, method: Method, path: &str, body: &Value) -> Answer {
        let what = format!("{method} {path}");
        let mut request = client
            .request(method, path, body.to_string())
            .expect("a request");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let cookies = self.cookies.iter();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            let cookies = HeaderValue::try_from(cookies.join("; ")).expect("a header");
            headers.insert(COOKIE, cookies);
        }
        in_time(&what, client.send(request)).await.expect(&what)
    }

    /// Asks, and remembers the answer.
    pub(super) async fn ask(
        &mut self,
        who: &Client,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        let answer = self.send(who, method, path, body).await;
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

    /// Remembers an answer: its cookies, its secrets, and all of it if it is about a mistake.
    pub(super) fn note(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            let (name, rest) = cookie.split_once('=').expect("a pair");
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.canaries.add_cookie(value);
                self.cookies.insert(name.to_owned(), value.to_owned());
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

    /// Returns which one the browser is to the gate.
    fn device(&self) -> Option<String> {
        let cookie = self.cookies.get(DEVICE)?;
        cookie.split('.').next().map(str::to_owned)
    }

    /// Logs in with the browser that others have used before, and refreshes once.
    pub(super) async fn enter(&mut self, name: &str, password: &str) -> Client {
        let nobody = self.client.clone();
        let body = json!({ "username": name, "password": password });
        let before = self.device();
        let pair = self.post(&nobody, "/api/v1/auth/login", body, 200).await;
        let now = self.device();
        assert!(now.is_some(), "the browser keeps whom it has entered");
        assert!(before.is_none() || before == now, "it was sent, and taken");
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        let pair = self.post(&nobody, "/api/v1/auth/refresh", body, 200).await;
        self.client.bearer(pair.text("access_token"))
    }

    /// Runs a command that prints a secret behind some words; returns it.
    pub(super) async fn run(&mut self, what: &str, arguments: &[&str], words: &str) -> String {
        let done = self.site.run(arguments).await;
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.err);
        let secret = done.out.lines().find_map(|line| line.strip_prefix(words));
        let secret = secret.unwrap_or_else(|| panic!("{arguments:?} prints no {words:?}"));
        self.canaries.add(what, secret);
        // Its log.
        self.errors.extend_from_slice(done.err.as_bytes());
        secret.to_owned()
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
