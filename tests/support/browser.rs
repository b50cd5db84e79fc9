//! A browser: goes where it is sent, and keeps cookies.

use std::collections::BTreeMap;

use http::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};

use crate::provider::place;

#[derive(Clone)]
pub struct Browser {
    pub gate: Client,
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new(gate: &Client) -> Self {
        Self {
            gate: gate.clone(),
            cookies: BTreeMap::new(),
        }
    }

    /// Sends a request to the gateway, and keeps what it sets.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push((COOKIE.as_str(), &cookies));
        }
        let request = self.gate.request(method, path, body.to_owned());
        let mut request = request.expect("a request");
        for (name, value) in headers {
            let value = value.parse().expect("a header");
            request.headers_mut().insert(name, value);
        }
        let answer = self.gate.send(request).await.expect("an answer");
        self.keep(&answer);
        answer
    }

    pub fn keep(&mut self, answer: &Answer) {
        for line in answer.headers.get_all(SET_COOKIE) {
            let line = line.to_str().expect("text");
            let (name, rest) = line.split_once('=').expect("a pair");
            let value = rest.split(';').next().expect("a value");
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let accept = [(ACCEPT.as_str(), "text/html,application/xhtml+xml,*/*;q=0.8")];
        self.ask(Method::GET, path, &accept, "").await
    }

    /// Begins a login; returns where the browser is sent.
    pub async fn depart(&mut self, provider: &str) -> String {
        self.depart_for(provider, "").await
    }

    pub async fn depart_for(&mut self, provider: &str, query: &str) -> String {
        let path = format!("/api/v1/auth/{provider}/login{query}");
        let sent = self.get(&path).await;
        assert_eq!(sent.status, StatusCode::FOUND, "{sent:?}");
        location(&sent)
    }

    /// Logs in at the provider; returns the path of the gateway that the browser is sent back to.
    pub async fn agree(&self, url: &str) -> String {
        let (address, path) = place(url);
        let agreed = Client::new(address).get(&path).await.expect("an answer");
        assert_eq!(agreed.status, StatusCode::SEE_OTHER, "{agreed:?}");
        let back: http::Uri = location(&agreed).parse().expect("a URL");
        back.path_and_query().expect("a path").to_string()
    }

    /// Logs in from the beginning to the end.
    pub async fn login(&mut self, provider: &str) -> Answer {
        let url = self.depart(provider).await;
        let back = self.agree(&url).await;
        self.get(&back).await
    }

    /// Logs in, which works; returns a client of that session.
    pub async fn enter(&mut self, provider: &str) -> Client {
        let pair = self.login(provider).await;
        assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
        self.gate.bearer(pair.text("access_token"))
    }
}

pub fn location(answer: &Answer) -> String {
    let location = answer.headers.get(LOCATION).expect("sent elsewhere");
    location.to_str().expect("text").to_owned()
}

/// Returns a parameter of a URL.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// Changes a parameter of a URL, or takes it away.
pub fn with(url: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = url.split_once('?').expect("a query");
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known != name);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(others)
        .extend_pairs(value.map(|value| (name, value)))
        .finish();
    format!("{path}?{query}")
}
