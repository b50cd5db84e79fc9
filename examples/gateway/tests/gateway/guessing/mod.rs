//! Who guesses at passwords waits, and keeps nobody else waiting who has entered the account before.

mod browsers;
mod crowded;
mod links;
mod rules;
mod ways;

use http::header::{COOKIE, SET_COOKIE};
use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{Config, RateSetting};
use serde_json::{Value, json};

use super::support::{Gate, PASSWORD, send};

const LOGIN: &str = "/api/v1/auth/login";
const WRONG: &str = "wrong horse battery";
const OTHER: &str = "battery horse correct";
const GUESSER: &str = "192.0.2.66";
const HOME: &str = "192.0.2.1";

fn rate(text: &str) -> RateSetting {
    text.parse().expect("a rate")
}

/// Lets the tests say where a request comes from.
fn proxied(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
}

/// One program or browser at an address.
struct Place<'a> {
    gate: &'a Gate,
    address: String,
    /// What the browser keeps, as it sends it.
    cookie: Option<String>,
}

/// Takes the cookie of the device out of an answer.
fn device(answer: &Answer) -> Option<String> {
    let lines = answer.headers.get_all(SET_COOKIE).iter();
    let mut lines = lines.map(|line| line.to_str().expect("text"));
    let line = lines.find(|line| line.starts_with("llm-gate-device="))?;
    line.split(';').next().map(str::to_owned)
}

impl<'a> Place<'a> {
    fn new(gate: &'a Gate, address: &str) -> Self {
        Self {
            gate,
            address: address.to_owned(),
            cookie: None,
        }
    }

    /// The same browser somewhere else.
    fn moved(&self, address: &str) -> Self {
        Self {
            gate: self.gate,
            address: address.to_owned(),
            cookie: self.cookie.clone(),
        }
    }

    async fn send(&self, client: &Client, method: Method, path: &str, body: &Value) -> Answer {
        let mut headers = vec![
            ("x-forwarded-for", self.address.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend(
            self.cookie
                .as_deref()
                .map(|cookie| (COOKIE.as_str(), cookie)),
        );
        send(client, method, path, &headers, body.to_string()).await
    }

    async fn login(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "username": name, "password": password });
        self.send(&self.gate.client, Method::POST, LOGIN, &body)
            .await
    }

    /// Logs in, and keeps what is given to the browser.
    async fn enter(&mut self, name: &str) -> Answer {
        let answer = self.login(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        self.cookie = device(&answer);
        assert!(self.cookie.is_some(), "{answer:?}");
        answer
    }

    /// Logs in at each gateway in turn, which has the same answer.
    async fn everywhere(&self, name: &str, password: &str, status: StatusCode, why: &str) {
        for _ in 0..self.gate.gateways() {
            let answer = self.login(name, password).await;
            assert_eq!(answer.status, status, "{why}: {answer:?}");
        }
    }

    /// Guesses until it has to wait, at each gateway; returns how often it could at each.
    async fn exhaust(&self, name: &str) -> usize {
        for guesses in 0..200 {
            let mut refused = 0;
            for _ in 0..self.gate.gateways() {
                let answer = self.login(name, WRONG).await;
                refused += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
            }
            if refused > 0 {
                assert_eq!(refused, self.gate.gateways(), "each counts the same");
                return guesses;
            }
        }
        panic!("it may guess without end");
    }
}
