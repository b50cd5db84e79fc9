//! A login service of somebody else, whose tokens the gate takes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use llm_gate::auth::{JwkSet, JwtIssuer, SigningKey};
use llm_gate::clock::SystemClock;
use llm_gate::identity::{ProjectId, Role};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::key_file;

const ISSUER: &str = "https://login.test";
const AUDIENCE: &str = "llm-gate";

pub(super) struct Foreign {
    url: String,
    key: SigningKey,
}

impl Foreign {
    pub(super) async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let pem = key_file(folder.path()).await;
        let key = SigningKey::from_pem(&pem).expect("a key");
        let set = JwkSet::of([&key.verifying_key()]).to_json();
        let routes = Router::new().route("/keys", get(async move || set.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, key }
    }

    /// Settings that let its tokens in, as operators write them.
    pub(super) fn file(&self) -> String {
        let url = &self.url;
        format!(
            "[auth.issuers.\"{ISSUER}\"]\njwks_url = \"{url}\"\naudience = \"{AUDIENCE}\"\n\
             algorithms = [\"EdDSA\"]\n"
        )
    }

    /// Makes a token for an account, by its id.
    pub(super) fn token(&self, account: &str) -> String {
        let account = account.parse().expect("an id");
        let issuer = JwtIssuer::new(ISSUER, AUDIENCE, self.key.clone(), Arc::new(SystemClock));
        let lifetime = Duration::from_secs(3600);
        let issued = issuer.issue(account, ProjectId::new(), Role::User, lifetime);
        issued.expect("signs").jwt
    }
}
