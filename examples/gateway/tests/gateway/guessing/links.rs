//! The way back where no mail is sent: a link that an admin or a command makes, and somebody hands over.

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate::auth::MailToken;
use serde_json::{Value, json};

use super::{HOME, OTHER, Place, WRONG, device, proxied, rate};
use crate::commands::after;
use crate::support::{Gate, PASSWORD, Person, start_on_postgres_with, start_with};

const RESET: &str = "/api/v1/auth/password/reset";
const LINK: &str = "link, shown this once: ";
const HOUR: Duration = Duration::from_secs(3600);

/// Makes tests of rules with no mail and strict limits: on SQLite, or as many as all tests have, and on PostgreSQL.
macro_rules! without_mail {
    ($($rule:ident;)+) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::start_with(super::strict).await).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(super::start_on_postgres_with(super::strict).await).await;
            })+
        }
    };
}

without_mail! {
    who_is_kept_out_comes_back_by_an_admins_link;
    who_is_kept_out_comes_back_by_a_link_of_a_command;
}

fn strict(config: &mut llm_gate_gateway::config::Config) {
    proxied(config);
    config.rate_limits.login_failures = rate("1/hour");
}

/// Has ten sites use up what strangers may guess at ada's account; returns a browser of hers that has to wait.
async fn kept_out(gate: &Gate) -> Place<'_> {
    for bot in 1..=10 {
        let bot = Place::new(gate, &format!("198.51.100.{bot}"));
        bot.everywhere("ada", WRONG, StatusCode::UNAUTHORIZED, "the first")
            .await;
    }
    guessers_go_on(gate).await;
    let ada = Place::new(gate, HOME);
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    ada.everywhere("ada", PASSWORD, too_many, "a new browser")
        .await;
    ada
}

async fn guessers_go_on(gate: &Gate) {
    let bot = Place::new(gate, "198.51.100.11");
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    bot.everywhere("ada", WRONG, too_many, "nothing is left to strangers")
        .await;
}

/// Chooses a password with the secret of a link, and enters with it.
async fn comes_back(mut ada: Place<'_>, token: &str) {
    let gate = ada.gate;
    let body = json!({ "token": token, "password": OTHER });
    let reset = ada.send(&gate.client, Method::POST, RESET, &body).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "{reset:?}");
    let stranger = Place::new(gate, HOME);
    ada.cookie = device(&reset);
    for _ in 0..2 {
        ada.everywhere("ada", OTHER, StatusCode::OK, "whoever had the link")
            .await;
        guessers_go_on(gate).await;
    }
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    stranger
        .everywhere("ada", OTHER, too_many, "without the cookie of the device")
        .await;
}

async fn who_is_kept_out_comes_back_by_an_admins_link(gate: Gate) {
    let ada = gate.made("ada").await;
    let root = gate.admin().await;
    let browser = kept_out(&gate).await;
    let made = link(&root, &ada.id).await;
    let token = made["token"].as_str().expect("a secret");
    let page = format!("{}/reset-password?token={token}", gate.url());
    assert_eq!(made["link"], page, "where letters lead, too");
    assert_eq!(made["expires_at"], "2026-01-01T01:00:00Z", "an hour");
    comes_back(browser, token).await;
}

async fn who_is_kept_out_comes_back_by_a_link_of_a_command(gate: Gate) {
    gate.made("ada").await;
    let browser = kept_out(&gate).await;
    let printed = gate.does(&["user", "reset-link", "ada"]).await;
    let page = after(&printed, LINK);
    let (page, token) = page.split_once("?token=").expect("a secret");
    assert_eq!(page, "http://127.0.0.1:8080/reset-password", "{printed}");
    assert!(printed.contains("within 60 minutes, once"), "{printed}");
    comes_back(browser, token).await;
}

/// Has an admin make a link; returns the answer.
async fn link(root: &Person, of: &str) -> Value {
    let path = format!("/api/v1/users/{of}/reset-link");
    let made = root.post(&path, json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()
}

async fn token(root: &Person, of: &Person) -> String {
    let made = link(root, &of.id).await;
    made["token"].as_str().expect("a secret").to_owned()
}

async fn reset(gate: &Gate, token: &str, password: &str) -> StatusCode {
    let body = json!({ "token": token, "password": password });
    gate.post(RESET, body).await.status
}

#[tokio::test]
async fn a_link_is_good_once_for_an_hour_and_for_its_account() {
    const THIRD: &str = "a third horse battery";
    let gate = start_with(|_| ()).await;
    let (ada, eve) = (gate.made("ada").await, gate.made("eve").await);
    let root = gate.admin().await;
    let (good, forbidden) = (StatusCode::NO_CONTENT, StatusCode::FORBIDDEN);

    let (one, two) = (token(&root, &ada).await, token(&root, &ada).await);
    let body = json!({ "token": one });
    let verified = ada.post("/api/v1/auth/email/verify", body).await;
    assert_eq!(verified.status, forbidden, "it is for a password");
    assert_eq!(reset(&gate, &one, "short").await, 422, "any but this");
    assert_eq!(reset(&gate, &one, OTHER).await, good, "unused by that");
    assert_eq!(reset(&gate, &one, THIRD).await, forbidden, "used");
    assert_eq!(reset(&gate, &two, THIRD).await, forbidden, "void with it");
    let made_up = MailToken::generate();
    assert_eq!(reset(&gate, made_up.expose(), THIRD).await, forbidden);
    let ada = gate.enter_with("ada", OTHER).await;

    let of_eve = token(&root, &eve).await;
    assert_eq!(reset(&gate, &of_eve, THIRD).await, good);
    gate.enter_with("eve", THIRD).await;
    gate.enter_with("ada", OTHER).await;

    let by_command = token(&root, &ada).await;
    gate.does(&["user", "reset-password", "ada"]).await;
    let late = reset(&gate, &by_command, THIRD).await;
    assert_eq!(late, forbidden, "another password voids it");

    let (first, last) = (token(&root, &eve).await, token(&root, &ada).await);
    gate.clock.advance(HOUR - Duration::from_micros(1));
    assert_eq!(
        reset(&gate, &first, OTHER).await,
        good,
        "the hour is not over"
    );
    gate.clock.advance(Duration::from_micros(1));
    assert_eq!(reset(&gate, &last, OTHER).await, forbidden, "it is");
}

#[tokio::test]
async fn a_link_is_of_no_use_while_its_account_is_disabled_and_gone_with_it() {
    let gate = start_with(|_| ()).await;
    let (ada, root) = (gate.made("ada").await, gate.admin().await);
    let token = token(&root, &ada).await;
    let path = format!("/api/v1/users/{}", ada.id);
    for (disabled, status) in [
        (true, StatusCode::FORBIDDEN),
        (false, StatusCode::NO_CONTENT),
    ] {
        let changed = root.patch(&path, json!({ "disabled": disabled })).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        assert_eq!(reset(&gate, &token, OTHER).await, status, "{disabled}");
    }
    let token = self::token(&root, &ada).await;
    let gone = root.delete(&path).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    assert_eq!(reset(&gate, &token, OTHER).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn links_are_made_for_people_who_can_use_them() {
    let gate = start_with(|_| ()).await;
    let (ada, root) = (gate.made("ada").await, gate.admin().await);
    let services = format!("/api/v1/projects/{}/services", root.project);
    let service = root.post(&services, json!({ "name": "ci" })).await;
    let service = service.text("id");
    let path = format!("/api/v1/users/{}", ada.id);
    let disabled = root.patch(&path, json!({ "disabled": true })).await;
    assert_eq!(disabled.status, StatusCode::OK, "{disabled:?}");
    for (id, status, words) in [
        (&*service, StatusCode::CONFLICT, "service account"),
        (&*ada.id, StatusCode::CONFLICT, "disabled"),
        (&*ada.project, StatusCode::NOT_FOUND, "no such user"),
        ("nobody", StatusCode::NOT_FOUND, "no such user"),
    ] {
        let path = format!("/api/v1/users/{id}/reset-link");
        let refused = root.post(&path, json!({})).await;
        assert_eq!(refused.status, status, "{id}: {refused:?}");
        assert!(refused.text("detail").contains(words), "{refused:?}");
        let refused = gate.fails(&["user", "reset-link", id], 1).await;
        let words = words.replace("no such user", "no user is called");
        assert!(refused.contains(&words), "{id}: {refused}");
    }
    let events = root.get("/api/v1/audit?action=password.reset_requested");
    assert_eq!(events.await.json()["events"], json!([]), "there is none");
}

#[tokio::test]
async fn a_command_that_does_not_know_where_users_come_to_prints_the_secret_and_its_path() {
    let gate = start_with(|_| ()).await;
    gate.made("ada").await;
    let file = gate.folder.path().join("llm-gate.toml");
    let configure = |settings: &str| std::fs::write(&file, settings).expect("written");
    let asks = ["user", "reset-link", "ada"];
    for unknown in [
        "server.port = 0",
        "server.host = \"0.0.0.0\"\nregistration = \"closed\"",
    ] {
        configure(unknown);
        let printed = gate.does(&asks).await;
        let token = after(&printed, "token, shown this once: ");
        assert!(MailToken::parse(token).is_ok(), "{printed}");
        assert!(printed.contains("/reset-password?token=…"), "{printed}");
        assert!(printed.contains("WEB_URL"), "{printed}");
        assert!(!printed.contains("http://"), "{printed}");
    }
    configure("server.port = 0\nweb_url = \"https://gate.example/llm/\"");
    let printed = gate.does(&asks).await;
    let page = after(&printed, LINK);
    let token = page.strip_prefix("https://gate.example/llm/reset-password?token=");
    let token = token.expect("as it is configured");
    assert_eq!(reset(&gate, token, OTHER).await, StatusCode::NO_CONTENT);
}

/// Whoever hands a link over does not say who reads the address, so nothing is taken from anybody.
#[tokio::test]
async fn a_link_confirms_no_address_and_ends_no_keys() {
    let gate = start_with(|_| ()).await;
    let body = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    let registered = gate.post("/api/v1/auth/register", body).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let ada = gate.enter("ada").await;
    let key = ada.key().await.text("api_key");
    let root = gate.admin().await;
    let token = token(&root, &ada).await;
    assert_eq!(reset(&gate, &token, OTHER).await, StatusCode::NO_CONTENT);
    let me = ada.get("/api/v1/users/me").await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED, "sessions end");
    let ada = gate.enter_with("ada", OTHER).await;
    let me = ada.get("/api/v1/users/me").await.json();
    assert_eq!(me["email"], "ada@example.org");
    assert_eq!(me["email_verified"], false, "nobody has confirmed it");
    gate.told_everywhere();
    assert_eq!(gate.with_key(&key).await, StatusCode::OK, "hers, as before");

    let path = format!("/api/v1/audit?limit=100&target_id={}", ada.id);
    let told = root.get(&path).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert!(!text.contains("lgm_") && !text.contains(&token), "{text}");
    assert!(!text.contains("email.verified"), "{text}");
    let told = told.json();
    let events = told["events"].as_array().expect("a list");
    let asked = |event: &&Value| event["action"] == "password.reset_requested";
    let asked: Vec<&Value> = events.iter().filter(asked).collect();
    assert_eq!(asked.len(), 1, "{told}");
    let (event, by) = (asked[0], json!(root.id));
    assert_eq!((&event["actor"], &event["actor_id"]), (&json!("user"), &by));
    assert_eq!(event["target"], "user");
    assert_eq!(
        (&event["before"], &event["after"]),
        (&Value::Null, &Value::Null)
    );
}
