use std::io;
use std::net::SocketAddr;

use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use llm_gate::identity::{KeyId, ProjectId, Subject, UserId};
use serde_json::{Value, json};

use crate::{Answer, Ask, Client, Events, in_time};

/// Somebody with an account and an API key, which every request carries.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account.
    pub id: UserId,
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The secret of the key.
    pub key: String,
    /// A client that sends the key.
    pub client: Client,
}

impl Person {
    /// Registers over HTTP with the gateway at `address`.
    pub async fn register(address: SocketAddr, name: &str) -> Self {
        let client = Client::new(address);
        let password = format!("{name} likes long passwords");
        let body = json!({ "username": name, "password": password, "create_api_key": true });
        let path = "/api/v1/auth/register";
        let answer = in_time("registration", client.post(path, &body)).await;
        let answer = answer.expect("an answer to a registration");
        assert_eq!(answer.status, 201, "registration: {:?}", answer.json());
        let key = answer.text("api_key");
        Self {
            id: answer.text("id").parse().expect("the id of a user"),
            name: name.to_owned(),
            password,
            client: client.bearer(&key),
            key,
        }
    }

    /// Returns the user as the books know it.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        Subject::User(self.id)
    }

    /// Returns the same person at a gateway that listens at another address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self {
            client: Client::new(address).bearer(&self.key),
            ..self.clone()
        }
    }

    /// Logs in with JSON and returns the pair of credentials.
    pub async fn login(&self) -> Value {
        let body = json!({ "username": self.name, "password": self.password });
        let answer = self.post("/api/v1/auth/login", &body).await;
        assert_eq!(answer.status, 200, "login: {:?}", answer.json());
        answer.json()
    }

    /// Returns a client that sends the access token of a fresh login instead of the key.
    pub async fn session(&self) -> Client {
        let pair = self.login().await;
        let access = pair["access_token"].as_str().expect("an access token");
        self.client.bearer(access)
    }

    /// Reads which project the own keys belong to.
    pub async fn project(&self) -> ProjectId {
        let session = self.session().await;
        let answer = in_time("the account", session.get("/api/v1/users/me")).await;
        let answer = answer.expect("a whole answer");
        let project = answer.text("default_project_id");
        project.parse().expect("the id of a project")
    }

    /// Makes one more key, and returns it with whoever uses it.
    pub async fn another_key(&self) -> (KeyId, Self) {
        let path = format!("/api/v1/projects/{}/api-keys", self.project().await);
        let session = self.session().await;
        let made = in_time("a key", session.post(&path, &json!({ "name": "another" }))).await;
        let made = made.expect("a whole answer");
        assert_eq!(made.status, 201, "a key: {:?}", made.json());
        let key = made.text("api_key");
        let user = Self {
            client: self.client.bearer(&key),
            key,
            ..self.clone()
        };
        (made.text("id").parse().expect("the id of a key"), user)
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Answer {
        let answer = in_time(path, self.client.get(path)).await;
        answer.expect("a whole answer")
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let answer = in_time(path, self.client.post(path, body)).await;
        answer.expect("a whole answer")
    }

    /// Asks for a chat completion that is not streamed.
    pub async fn chat(&self, ask: &Ask) -> Answer {
        self.post("/v1/chat/completions", &ask.json()).await
    }

    /// Asks for a chat completion and returns as soon as the head of the answer is there.
    pub async fn open(&self, ask: &Ask) -> Events {
        self.open_at("/v1/chat/completions", ask).await
    }

    /// As [`open`](Self::open), with a gateway that may be gone.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer.
    pub async fn try_open(&self, ask: &Ask) -> io::Result<Events> {
        let request = self.request("/v1/chat/completions", ask);
        let answer = in_time("an answer, or none", self.client.stream(request)).await;
        answer.map(Events::new)
    }

    /// As [`open`](Self::open), on another route.
    pub async fn open_at(&self, path: &str, ask: &Ask) -> Events {
        let answer = in_time(path, self.client.stream(self.request(path, ask))).await;
        Events::new(answer.expect("the head of an answer"))
    }

    /// Prepares a request.
    #[must_use]
    pub fn request(&self, path: &str, ask: &Ask) -> Request<Full<Bytes>> {
        self.client
            .request(Method::POST, path, ask.json().to_string())
            .expect("the path is one")
    }

    /// Reads the own usage over HTTP.
    pub async fn usage(&self) -> Value {
        let session = self.session().await;
        let answer = in_time("usage", session.get("/api/v1/users/me/usage")).await;
        let answer = answer.expect("a whole answer");
        assert_eq!(answer.status, 200, "usage: {:?}", answer.json());
        answer.json()
    }
}
