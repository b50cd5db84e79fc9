//! What a guess is, and the ways in that guessers do not close.

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate_gateway::client::Client;
use llm_gate_gateway::config::{Config, RateSetting};
use serde_json::{Value, json};

use super::{GUESSER, HOME, LOGIN, OTHER, Place, WRONG, device, proxied, rate};
use crate::support::{PASSWORD, PATIENCE, start_with, start_with_mail};

/// Whoever has neither device nor patience has the letter, where she is.
#[tokio::test]
async fn whoever_resets_the_password_by_letter_enters_whatever_others_guess() {
    let settings = |config: &mut Config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
        config.rate_limits.logins_per_address = rate("4/hour");
        config.rate_limits.failures_per_address = rate("3/hour");
    };
    let (gate, mut sink) = start_with_mail(settings).await;
    gate.reader("ada", "ada@example.org", &mut sink).await;
    for bot in 1..=10 {
        let bot = Place::new(&gate, &format!("198.51.100.{bot}"));
        bot.everywhere("ada", WRONG, StatusCode::UNAUTHORIZED, "the first")
            .await;
    }
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    let neighbour = Place::new(&gate, HOME);
    for n in 0..8 * gate.gateways() {
        neighbour.login(&format!("nobody-{n}"), WRONG).await;
    }
    neighbour
        .everywhere("nobody", WRONG, too_many, "nothing is left of either")
        .await;
    let mut ada = Place::new(&gate, HOME);
    ada.everywhere("ada", PASSWORD, too_many, "a new browser")
        .await;
    let body = json!({ "email": "ada@example.org" });
    let path = "/api/v1/auth/password/forgot";
    let asked = ada.send(&gate.client, Method::POST, path, &body).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    let body = json!({ "token": sink.next().await.token(), "password": OTHER });
    let path = "/api/v1/auth/password/reset";
    let reset = ada.send(&gate.client, Method::POST, path, &body).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "{reset:?}");
    ada.cookie = device(&reset);
    ada.everywhere("ada", OTHER, StatusCode::OK, "has read the letter")
        .await;
}

/// Or whoever can tell a wrong one by how long it takes leaves before it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guess_counts_whether_or_not_its_answer_is_waited_for() {
    use tokio::io::AsyncWriteExt;

    let gate = start_with(|config| {
        proxied(config);
        // Long enough to leave in the middle of it.
        config.passwords.memory_kib = 48 * 1024;
        // Its events are asked for again and again.
        config.rate_limits.per_identity = RateSetting::Off;
        config.rate_limits.per_address = RateSetting::Off;
    });
    let gate = gate.await;
    gate.made("ada").await;
    let root = gate.admin().await;
    let body = json!({ "username": "ada", "password": WRONG }).to_string();
    let request = format!(
        "POST {LOGIN} HTTP/1.1\r\nhost: gate\r\nx-forwarded-for: {GUESSER}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let passwords = gate.running.passwords();
    for _ in 0..10 {
        let before = passwords.runs();
        let connected = tokio::net::TcpStream::connect(gate.running.address).await;
        let mut connection = connected.expect("it listens");
        let sent = connection.write_all(request.as_bytes()).await;
        sent.expect("sent");
        while passwords.runs() == before {
            tokio::task::yield_now().await;
        }
    }
    let failed = async || {
        let events = root
            .get("/api/v1/audit?limit=100&action=login.failed")
            .await;
        assert_eq!(events.status, StatusCode::OK, "{events:?}");
        events.json()["events"].as_array().expect("a list").len()
    };
    let noted = async { while failed().await < 10 {} };
    let noted = tokio::time::timeout(PATIENCE, noted).await;
    assert!(noted.is_ok(), "each leaves its event");
    let guesser = Place::new(&gate, GUESSER);
    let answers = gate.everywhere(async || guesser.login("ada", WRONG).await);
    let refused = answers.await.into_iter();
    let refused = refused.filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.count(), 1, "that gateway has counted all of them");
}

/// Of a session as of a login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_counts_whether_or_not_its_answer_is_waited_for() {
    use tokio::io::AsyncWriteExt;

    let gate = start_with(|config| {
        config.passwords.memory_kib = 48 * 1024;
        config.rate_limits.login_failures = rate("3/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let access = gate.post(LOGIN, body).await.text("access_token");
    let path = "/api/v1/users/me/password";
    let proof = |current: &str| json!({ "current_password": current, "new_password": OTHER });
    let body = proof(WRONG).to_string();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {access}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let passwords = gate.running.passwords();
    for _ in 0..3 {
        let before = passwords.runs();
        let connected = tokio::net::TcpStream::connect(gate.running.address).await;
        let mut connection = connected.expect("it listens");
        let sent = connection.write_all(request.as_bytes()).await;
        sent.expect("sent");
        while passwords.runs() == before {
            tokio::task::yield_now().await;
        }
        drop(connection);
        while passwords.under_way() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let session = Client::new(gate.running.address).bearer(&access);
    let refused = session.put(path, &proof(PASSWORD)).await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
}

/// They wait in half of the places, and leave the others to who has entered before.
#[tokio::test]
async fn strangers_and_no_others_wait_where_strangers_wait() {
    let gate = start_with(proxied).await;
    let ada = gate.person("ada").await;
    let strange = || -> u64 { gate.all().map(|one| one.passwords().of_strangers()).sum() };
    let mut seen = strange();
    let mut more = move || {
        let before = std::mem::replace(&mut seen, strange());
        seen - before
    };
    let mut browser = Place::new(&gate, HOME);
    browser.enter("ada").await;
    assert_eq!(more(), 1, "a login from a new browser");
    browser.login("nobody", WRONG).await;
    assert_eq!(more(), 1, "one of nobody");
    let new = json!({ "username": "eve", "password": PASSWORD });
    let registered = browser
        .send(&gate.client, Method::POST, "/api/v1/auth/register", &new)
        .await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    assert_eq!(more(), 1, "a registration");
    for password in [PASSWORD, WRONG] {
        browser.login("ada", password).await;
        assert_eq!(more(), 0, "a login where she has entered before");
    }
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let changed = ada.put("/api/v1/users/me/password", body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    assert_eq!(more(), 0, "what a session asks for");
}

/// What others do in one of these ways closes none of the others.
#[tokio::test]
async fn logins_by_password_with_providers_and_letters_are_counted_apart() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.logins_per_address = rate("2/hour");
    });
    let gate = gate.await;
    let nobody = json!({ "email": "nobody@example.org" });
    let ways = [
        (
            Method::POST,
            LOGIN,
            json!({ "username": "nobody", "password": WRONG }),
        ),
        // There is none, which is found out after it was counted.
        (Method::GET, "/api/v1/auth/none/login", Value::Null),
        // Nobody is written to here, which is found out after it was counted.
        (Method::POST, "/api/v1/auth/password/forgot", nobody),
    ];
    let place = Place::new(&gate, HOME);
    let gate = &gate;
    for (method, path, body) in &ways {
        let ask = async || place.send(&gate.client, method.clone(), path, body).await;
        for more in [2, 1] {
            for _ in 0..more {
                for answer in gate.everywhere(&ask).await {
                    let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
                    assert_eq!(refused, more == 1, "{path}: {answer:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn new_passwords_by_letter_are_counted_because_each_costs_a_hash() {
    let settings = |config: &mut Config| {
        proxied(config);
        config.rate_limits.logins_per_address = rate("2/hour");
    };
    let (gate, mut sink) = start_with_mail(settings).await;
    gate.reader("ada", "ada@example.org", &mut sink).await;
    let reset = async |token: &str| {
        let body = json!({ "token": token, "password": OTHER });
        let path = "/api/v1/auth/password/reset";
        gate.post(path, body).await.status
    };
    let mut set = 0;
    let token = loop {
        let place = Place::new(&gate, &format!("203.0.113.{set}"));
        let body = json!({ "email": "ada@example.org" });
        let path = "/api/v1/auth/password/forgot";
        let asked = place.send(&gate.client, Method::POST, path, &body).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
        let token = sink.next().await.token().to_owned();
        match reset(&token).await {
            StatusCode::NO_CONTENT => set += 1,
            refused => {
                assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
                break token;
            }
        }
        let told = sink.next().await;
        assert!(told.text.contains("password"), "that it was set: {told:?}");
    };
    assert!((2..=2 * gate.gateways()).contains(&set), "{set}");
    gate.clock.advance(Duration::from_secs(1800));
    assert_eq!(
        reset(&token).await,
        StatusCode::NO_CONTENT,
        "unused by that"
    );
}

/// Devices can be collected by whoever has the password: not so that they take all there is.
#[tokio::test]
async fn all_devices_of_an_account_together_cost_ten_times_what_one_may() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.logins_per_address = rate("2/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    gate.clock.advance(Duration::from_secs(3600));
    let mut devices = Vec::new();
    for n in 0..12 {
        let mut place = Place::new(&gate, &format!("203.0.113.{n}"));
        place.enter("ada").await;
        devices.push(place);
    }
    let mut good = 0;
    for device in &devices {
        for _ in 0..3 {
            for answer in gate
                .everywhere(async || device.login("ada", PASSWORD).await)
                .await
            {
                good += usize::from(answer.status == StatusCode::OK);
            }
        }
    }
    assert_eq!(good, 20 * gate.gateways(), "and 24 of each by itself");
}
