//! Logins with other providers, end to end: a gateway, a browser with its cookies, and a provider that is real but for its
//! address.

mod attacks;
mod cookies;
mod identities;
mod linking;
mod logins;
mod program;
mod troubles;

use http::StatusCode;
use llm_gate::identity::UserId;
use llm_gate::store::{Action, EventQuery, UserChange};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::Config;
use serde_json::json;
use test_support::browser::{self, Browser};
use test_support::provider::{self, Provider};

use crate::support::{Gate, PASSWORD, start_with};

struct Scene {
    provider: Provider,
    gate: Gate,
}

impl Scene {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let provider = Provider::start().await;
        let known = provider.known();
        let gate = start_with(|config| {
            known(config);
            change(config);
        })
        .await;
        Self { provider, gate }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.gate.client)
    }

    /// Opens the books beside the gateway.
    async fn store(&self) -> Box<dyn llm_gate::store::Store> {
        self.gate.books().await
    }

    /// Registers somebody with a password and an address, confirmed or not.
    async fn registered(&self, email: &str, verified: bool) -> UserId {
        let body = json!({ "email": email, "password": PASSWORD });
        let made = self.gate.post("/api/v1/auth/register", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let id: UserId = made.text("id").parse().expect("an id");
        if verified {
            let change = UserChange {
                email_verified: Some(true),
                ..UserChange::default()
            };
            let changed = self.store().await;
            let changed = changed.change_user(id, change, Default::default()).await;
            changed.expect("a store");
        }
        id
    }

    /// Lists what was done, the last first.
    async fn events(&self, actions: &[Action]) -> Vec<llm_gate::store::Event> {
        let query = EventQuery {
            actions: actions.to_vec(),
            ..EventQuery::default()
        };
        self.store()
            .await
            .events(query, 100)
            .await
            .expect("a store")
    }

    async fn users(&self) -> usize {
        let users = self.store().await.users(None, 100).await;
        users.expect("a store").len()
    }
}

async fn me(session: &Client) -> Answer {
    let me = session.get("/api/v1/users/me").await.expect("an answer");
    assert_eq!(me.status, StatusCode::OK, "{me:?}");
    me
}

/// Checks a refusal in words for people; returns them.
#[track_caller]
fn refused(answer: &Answer, status: StatusCode) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let words = answer.text("detail");
    assert!(!words.is_empty(), "{answer:?}");
    words
}
