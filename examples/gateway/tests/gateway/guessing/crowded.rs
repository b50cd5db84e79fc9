//! Who floods an address keeps nobody waiting behind it that shows what a gateway has given out.

use http::{Method, StatusCode};
use llm_gate::auth::{ApiKeySecret, KeyHasher, MailToken, OperatorSecret, RefreshToken};
use llm_gate::identity::UserId;
use llm_gate_gateway::client::Answer;
use llm_gate_gateway::config::Config;
use llm_gate_gateway::devices::{Devices, Entered};
use serde_json::{Value, json};

use super::{HOME, LOGIN, OTHER, Place, device, proxied, rate};
use crate::support::{PASSWORD, start_with, start_with_mail};

const ME: &str = "/api/v1/users/me";
const REFRESH: &str = "/api/v1/auth/refresh";
const RESET: &str = "/api/v1/auth/password/reset";
const THIRD: &str = "staple battery horse";
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
/// As many as an address may send.
const MOST: usize = 12;

fn crowded(config: &mut Config) {
    proxied(config);
    config.rate_limits.per_address = rate(&format!("{MOST}/day"));
}

impl Place<'_> {
    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(&self.gate.client, Method::POST, path, &body)
            .await
    }

    /// Asks with a credential.
    async fn ask(&self, credential: &str, path: &str) -> Answer {
        let client = self.gate.client.bearer(credential);
        self.send(&client, Method::GET, path, &Value::Null).await
    }

    /// Sends whatever it may, to each gateway.
    async fn flood(&self) {
        loop {
            let ask = async || self.ask("lg_nothing", "/health/live").await.status;
            let answers = self.gate.everywhere(ask).await;
            if answers.iter().all(|status| *status == TOO_MANY) {
                return;
            }
        }
    }

    /// Asks each gateway, which has the same answer.
    async fn all(&self, status: StatusCode, why: &str, ask: impl AsyncFn() -> Answer) {
        for answer in self.gate.everywhere(ask).await {
            assert_eq!(answer.status, status, "{why}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_was_given_out_passes_where_others_have_used_up_an_address() {
    let operator = OperatorSecret::generate();
    let hash = operator.hash().to_string();
    let settings = |config: &mut Config| {
        crowded(config);
        config.auth.api_token_hash = Some(hash.as_str().into());
    };
    let (gate, mut sink) = start_with_mail(settings).await;
    let gate = &gate;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let key = ada.key().await.text("api_key");
    let mut browser = Place::new(gate, "192.0.2.200");
    let entered = browser.enter("ada").await;
    let (access, refresh) = (entered.text("access_token"), entered.text("refresh_token"));

    let home = Place::new(gate, HOME);
    home.flood().await;
    let ok = StatusCode::OK;
    home.all(ok, "a login", async || home.ask(&access, ME).await)
        .await;
    for path in ["/v1/models", "/api/v1/auth/check"] {
        home.all(ok, "a key", async || home.ask(&key, path).await)
            .await;
    }
    let path = "/api/v1/users";
    let operates = async || home.ask(operator.expose(), path).await;
    home.all(ok, "the operator", operates).await;
    let mut token = refresh.clone();
    for _ in 0..gate.gateways() {
        let going_on = home.post(REFRESH, json!({ "refresh_token": token })).await;
        assert_eq!(going_on.status, ok, "a session: {going_on:?}");
        token = going_on.text("refresh_token");
    }
    let known = browser.moved(HOME);
    let login = async || known.login("ada", PASSWORD).await;
    known.all(ok, "a device", login).await;
    let link = gate.command(&["user", "reset-link", "ada"]).await;
    let (_, link) = link.stdout.split_once("?token=").expect("a link");
    let link = link.lines().next().expect("a secret");
    let reset = json!({ "token": link, "password": THIRD });
    let reset = home.post(RESET, reset).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "a link: {reset:?}");
    let forgot = json!({ "email": "ada@example.org" });
    let asked = browser.post("/api/v1/auth/password/forgot", forgot).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    let told = sink.next().await;
    assert!(told.text.contains("was changed"), "{told:?}");
    let letter = sink.next().await.token().to_owned();
    let reset = json!({ "token": letter, "password": OTHER });
    let reset = home.post(RESET, reset).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "a letter: {reset:?}");
    let mut fresh = home.moved(HOME);
    fresh.cookie = device(&reset);
    let login = async || fresh.login("ada", OTHER).await;
    fresh.all(ok, "who has read it", login).await;
}

/// Nobody but the holder of the pepper makes what looks like that.
#[tokio::test]
async fn what_is_made_up_waits_where_an_address_is_used_up() {
    let gate = start_with(crowded).await;
    let gate = &gate;
    let ada = gate.made("ada").await;
    let home = Place::new(gate, HOME);
    home.flood().await;
    let hasher = KeyHasher::new(b"another pepper, of thirty-two bytes").expect("long enough");
    for key in [
        ApiKeySecret::generate(),
        ApiKeySecret::sealed(&hasher, UserId::new()),
    ] {
        let ask = async || home.ask(key.expose(), ME).await;
        home.all(TOO_MANY, "a key", ask).await;
    }
    for token in [
        RefreshToken::generate(),
        RefreshToken::sealed(&hasher, UserId::new()),
    ] {
        let body = json!({ "refresh_token": token.expose() });
        let ask = async || home.post(REFRESH, body.clone()).await;
        home.all(TOO_MANY, "a session", ask).await;
    }
    for token in [
        MailToken::generate(),
        MailToken::sealed(&hasher, UserId::new()),
    ] {
        let body = json!({ "token": token.expose(), "password": OTHER });
        let ask = async || home.post(RESET, body.clone()).await;
        home.all(TOO_MANY, "a letter", ask).await;
    }
    let operator = OperatorSecret::generate();
    let ask = async || home.ask(operator.expose(), ME).await;
    home.all(TOO_MANY, "an operator", ask).await;
    let devices = Devices::new(&"another pepper, of thirty-two bytes".into(), hasher);
    let entered = Entered {
        user: ada.id.parse().expect("an id"),
        names: [Some("ada"), None],
        hash: "",
    };
    let mut forger = Place::new(gate, HOME);
    let cookie = devices.remember(None, entered);
    forger.cookie = Some(format!("llm-gate-device={cookie}"));
    let ask = async || forger.login("ada", PASSWORD).await;
    forger.all(TOO_MANY, "a device", ask).await;
    // What is too long, or comes in pieces, is not read to find out.
    let long = json!({ "refresh_token": ada.refresh, "more": "x".repeat(2048) });
    let ask = async || home.post(REFRESH, long.clone()).await;
    home.all(TOO_MANY, "a long body", ask).await;
    let ask = async || home.login("ada", PASSWORD).await;
    home.all(TOO_MANY, "a password alone", ask).await;
}

/// However many tokens and keys somebody collects.
#[tokio::test]
async fn each_account_has_as_much_once_more_as_an_address_and_no_more() {
    let gate = start_with(crowded).await;
    let gate = &gate;
    let [ada, eve] = [gate.made("ada").await, gate.made("eve").await];
    let key = eve.key().await.text("api_key");
    let mut browser = Place::new(gate, "192.0.2.200");
    browser.enter("eve").await;
    let elsewhere = Place::new(gate, "192.0.2.201");
    let sessions = [
        elsewhere.login("eve", PASSWORD).await.text("access_token"),
        elsewhere.login("eve", PASSWORD).await.text("access_token"),
    ];
    let home = Place::new(gate, HOME);
    home.flood().await;
    let mut passed = 0;
    for access in sessions.iter().cycle().take(2 * MOST + 2) {
        for answer in gate.everywhere(async || home.ask(access, ME).await).await {
            match answer.status {
                StatusCode::OK => passed += 1,
                refused => assert_eq!(refused, TOO_MANY, "{answer:?}"),
            }
        }
    }
    assert_eq!(passed, MOST * gate.gateways(), "all sessions of a user");
    let ask = async || home.ask(&key, "/api/v1/auth/check").await;
    home.all(TOO_MANY, "and all keys", ask).await;
    let known = browser.moved(HOME);
    let ask = async || known.login("eve", PASSWORD).await;
    known.all(TOO_MANY, "and all devices", ask).await;
    // Whoever has a secret of hers elsewhere takes nothing from what she has here.
    let other = Place::new(gate, "192.0.2.202");
    other.flood().await;
    let ask = async || other.ask(&key, "/api/v1/auth/check").await;
    other.all(StatusCode::OK, "at another address", ask).await;
    let access = elsewhere.login("ada", PASSWORD).await.text("access_token");
    let ask = async || home.ask(&access, ME).await;
    home.all(StatusCode::OK, "another user", ask).await;
    let body = json!({ "refresh_token": ada.refresh });
    let refreshed = home.post(REFRESH, body).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    assert_eq!(
        home.post(LOGIN, json!({})).await.status,
        TOO_MANY,
        "strangers wait on"
    );
}
