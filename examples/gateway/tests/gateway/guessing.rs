//! Who guesses at passwords waits, and keeps nobody else waiting who has entered the account before.

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{Config, RateSetting};
use serde_json::{Value, json};

use super::support::{
    Gate, PASSWORD, PATIENCE, Person, paired, pause, send, start_pair_with, start_with,
    start_with_mail,
};

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

/// Makes two tests of a rule: for one gateway, or as many as all tests have, and for two.
macro_rules! with_one_and_two {
    ($($rule:ident: $settings:expr;)+) => {
        mod as_all_tests {
            use super::*;

            $(#[tokio::test]
            async fn $rule() {
                super::$rule(start_with($settings).await).await;
            })+
        }

        mod with_two_gateways {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if paired() {
                    // The other one has two as well.
                    return;
                }
                super::$rule(start_pair_with($settings).await).await;
            })+
        }
    };
}

with_one_and_two! {
    guessing_keeps_the_guesser_out_and_nobody_else: proxied;
    guessing_from_everywhere_keeps_no_device_out_that_has_entered_before: |config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    };
    a_device_is_kept_waiting_by_its_own_failures_alone: |config| {
        proxied(config);
        config.rate_limits.login_failures = rate("2/hour");
    };
    neither_answers_nor_limits_tell_whether_there_is_an_account_or_who_was_here: |config| {
        proxied(config);
        config.rate_limits.failures_per_address = rate("14/hour");
    };
    what_logins_cost_is_bounded_by_address_and_for_who_has_entered_by_account: |config| {
        proxied(config);
        config.rate_limits.logins_per_address = rate("4/hour");
    };
    proving_a_password_in_a_session_fails_by_itself_alone: |config| {
        proxied(config);
        config.rate_limits.login_failures = rate("2/hour");
    };
    a_new_password_makes_strangers_of_all_devices_but_that_which_sets_it: |config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    };
}

async fn guessing_keeps_the_guesser_out_and_nobody_else(gate: Gate) {
    gate.made("ada").await;
    let mut ada = Place::new(&gate, GUESSER);
    ada.enter("ada").await;
    let guesser = Place::new(&gate, GUESSER);
    assert_eq!(guesser.exhaust("ada").await, 10);
    for password in [WRONG, PASSWORD] {
        for _ in 0..gate.gateways() {
            let refused = guesser.login("ada", password).await;
            let status = refused.status;
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "right or wrong");
            assert!(refused.json()["detail"].is_string());
            assert_eq!(refused.headers["retry-after"], "360");
            assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
        }
    }
    let ok = StatusCode::OK;
    ada.everywhere("ada", PASSWORD, ok, "her browser, on the guesser's address")
        .await;
    let away = Place::new(&gate, HOME);
    away.everywhere("ada", PASSWORD, ok, "without it, on another")
        .await;
    gate.clock.advance(Duration::from_secs(360));
    guesser
        .everywhere("ada", PASSWORD, ok, "waited as long as told")
        .await;
}

async fn guessing_from_everywhere_keeps_no_device_out_that_has_entered_before(gate: Gate) {
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    let entered = ada.enter("ada").await;
    for bot in 1..=10 {
        let bot = Place::new(&gate, &format!("198.51.100.{bot}"));
        bot.everywhere("ada", WRONG, StatusCode::UNAUTHORIZED, "the first")
            .await;
    }
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    let eleventh = Place::new(&gate, "198.51.100.11");
    let refused = eleventh.login("ada", WRONG).await;
    assert_eq!(refused.status, too_many, "all of them together");
    assert_eq!(refused.headers["retry-after"], "360");
    Place::new(&gate, HOME)
        .everywhere("ada", PASSWORD, too_many, "a new browser waits like all")
        .await;
    for address in [HOME, "203.0.113.9", "198.51.100.1"] {
        let there = ada.moved(address);
        there
            .everywhere("ada", PASSWORD, StatusCode::OK, address)
            .await;
        let form = format!("username=ada&password={PASSWORD}").replace(' ', "+");
        let headers = [
            ("x-forwarded-for", address),
            ("content-type", "application/x-www-form-urlencoded"),
            ("cookie", ada.cookie.as_deref().expect("entered")),
        ];
        let path = "/api/v1/auth/token";
        let answer = send(&gate.client, Method::POST, path, &headers, form).await;
        assert_eq!(answer.status, StatusCode::OK, "by form: {answer:?}");
        assert!(device(&answer).is_some());
    }
    let session = gate.client.bearer(entered.text("access_token"));
    let me = session.get("/api/v1/users/me").await.expect("an answer");
    assert_eq!(me.status, StatusCode::OK, "sessions go on");
    gate.clock.advance(Duration::from_secs(360));
    Place::new(&gate, "203.0.113.12")
        .everywhere("ada", PASSWORD, StatusCode::OK, "waited like a stranger")
        .await;
}

async fn a_device_is_kept_waiting_by_its_own_failures_alone(gate: Gate) {
    gate.made("ada").await;
    gate.made("eve").await;
    let mut laptop = Place::new(&gate, HOME);
    laptop.enter("ada").await;
    let mut phone = Place::new(&gate, HOME);
    phone.enter("ada").await;
    assert_eq!(laptop.exhaust("ada").await, 2);
    let (ok, too_many) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    laptop
        .moved("203.0.113.9")
        .everywhere("ada", PASSWORD, too_many, "wherever it is")
        .await;
    phone
        .everywhere("ada", PASSWORD, ok, "another device")
        .await;
    Place::new(&gate, HOME)
        .everywhere("ada", PASSWORD, ok, "nor are strangers, there")
        .await;

    // What was given to the browser of somebody else, what is changed, and what is there twice, is nobody's.
    let mut eve = Place::new(&gate, GUESSER);
    eve.enter("eve").await;
    assert_eq!(Place::new(&gate, GUESSER).exhaust("ada").await, 2);
    eve.everywhere("ada", PASSWORD, too_many, "she never entered that")
        .await;
    let own = phone.cookie.clone().expect("entered");
    let (name, value) = own.split_once('=').expect("a value");
    let (number, proof) = value.split_once('.').expect("a proof");
    for cookie in [
        format!("{name}={number}"),
        format!("{name}={proof}"),
        format!("{name}={}.{proof}", "A".repeat(22)),
        format!("{name}={number}.{}", "A".repeat(43)),
        format!("{own}."),
        format!("{own}; {own}"),
        format!("{name}="),
    ] {
        let mut forged = Place::new(&gate, GUESSER);
        forged.cookie = Some(cookie.clone());
        forged.everywhere("ada", PASSWORD, too_many, &cookie).await;
    }
    let moved = phone.moved(GUESSER);
    moved
        .everywhere("ada", PASSWORD, ok, "as it was given out")
        .await;

    // A browser of two people is known to both.
    phone.enter("eve").await;
    phone
        .moved(GUESSER)
        .everywhere("ada", PASSWORD, ok, "entered before the last")
        .await;
}

async fn neither_answers_nor_limits_tell_whether_there_is_an_account_or_who_was_here(gate: Gate) {
    gate.made("ada").await;
    gate.made("eve").await;
    Place::new(&gate, HOME).enter("ada").await;
    let mut eve = Place::new(&gate, GUESSER);
    eve.enter("eve").await;
    let made_up = format!("llm-gate-device={}.{}", "A".repeat(22), "A".repeat(43));
    let mut courses = Vec::new();
    for (address, name, cookie, _) in [
        (HOME, "ada", None, "who was here before"),
        ("203.0.113.1", "ada", None, "an account"),
        ("203.0.113.2", "nobody", None, "none"),
        (
            "203.0.113.3",
            "ada",
            eve.cookie.as_ref(),
            "an account, with another's device",
        ),
        (
            "203.0.113.4",
            "nobody",
            eve.cookie.as_ref(),
            "none, with another's device",
        ),
        (
            "203.0.113.5",
            "ada",
            Some(&made_up),
            "an account, with none at all",
        ),
        (
            "203.0.113.6",
            "nobody",
            Some(&made_up),
            "none, with none at all",
        ),
    ] {
        // What others have used up is forgotten.
        gate.clock.advance(Duration::from_secs(24 * 3600));
        let mut place = Place::new(&gate, address);
        place.cookie = cookie.cloned();
        let mut course = Vec::new();
        // Ten, until the account has to wait there, and then until the address has nothing left.
        for name in [[name; 11], ["somebody-else"; 11], [name; 11]].as_flattened() {
            for _ in 0..gate.gateways() {
                let mut answer = place.login(name, WRONG).await;
                // The day differs.
                for header in ["x-request-id", "date", "x-ratelimit-reset"] {
                    answer.headers.remove(header);
                }
                course.push((answer.status, answer.headers, answer.body));
            }
        }
        courses.push(course);
    }
    for (course, other) in courses.iter().enumerate().skip(1) {
        for (place, (one, another)) in courses[0].iter().zip(other).enumerate() {
            assert_eq!(one, another, "course {course}, answer {place}");
        }
    }
    let last = courses[0].last().expect("there are many");
    assert_eq!(last.0, StatusCode::TOO_MANY_REQUESTS);
    let refused = courses[0].iter();
    let refused = refused.filter(|(status, ..)| *status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.count(),
        (33 - 14) * gate.gateways(),
        "both limits were met"
    );
}

async fn what_logins_cost_is_bounded_by_address_and_for_who_has_entered_by_account(gate: Gate) {
    let mut ada = Place::new(&gate, HOME);
    let body = json!({ "username": "ada", "password": PASSWORD });
    let path = "/api/v1/auth/register";
    let registered = ada.send(&gate.client, Method::POST, path, &body).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    ada.cookie = device(&registered);
    assert!(ada.cookie.is_some(), "who registers enters next");
    let stranger = Place::new(&gate, HOME);
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    for _ in 0..4 {
        // With two gateways, one of them has made the account, which has cost one as well.
        stranger.login("nobody", WRONG).await;
        if gate.gateways() == 2 {
            stranger.login("nobody", WRONG).await;
        }
    }
    for (name, password) in [("nobody", WRONG), ("ada", WRONG), ("ada", PASSWORD)] {
        stranger
            .everywhere(name, password, too_many, "nothing is left here")
            .await;
    }
    for _ in 0..gate.gateways() {
        let refused = stranger.send(&gate.client, Method::POST, path, &body).await;
        assert_eq!(refused.status, too_many, "registrations cost a hash too");
    }
    for _ in 0..4 {
        ada.everywhere(
            "ada",
            PASSWORD,
            StatusCode::OK,
            "she has as much for herself",
        )
        .await;
    }
    ada.moved("203.0.113.9")
        .everywhere("ada", PASSWORD, too_many, "and no more")
        .await;
    Place::new(&gate, "203.0.113.9")
        .everywhere("ada", PASSWORD, StatusCode::OK, "strangers elsewhere")
        .await;
}

async fn proving_a_password_in_a_session_fails_by_itself_alone(gate: Gate) {
    let (one, two) = (gate.made("ada").await, gate.enter("ada").await);
    let guesser = Place::new(&gate, HOME);
    assert_eq!(guesser.exhaust("ada").await, 2, "as strangers do");
    let prove = async |who: &Person, current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        let path = "/api/v1/users/me/password";
        let place = Place::new(&gate, HOME);
        place.send(&who.session, Method::PUT, path, &body).await
    };
    for _ in 0..2 * gate.gateways() {
        let wrong = prove(&two, WRONG, OTHER).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    }
    for _ in 0..gate.gateways() {
        let refused = prove(&two, PASSWORD, OTHER).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    }
    for [current, new] in [[PASSWORD, OTHER], [OTHER, PASSWORD]] {
        let changed = prove(&one, current, new).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    }
}

async fn a_new_password_makes_strangers_of_all_devices_but_that_which_sets_it(gate: Gate) {
    gate.made("ada").await;
    let mut laptop = Place::new(&gate, HOME);
    let entered = laptop.enter("ada").await;
    let mut old = Place::new(&gate, HOME);
    old.enter("ada").await;
    let session = gate.client.bearer(entered.text("access_token"));
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let path = "/api/v1/users/me/password";
    let changed = laptop.send(&session, Method::PUT, path, &body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    laptop.cookie = device(&changed);
    // One wrong one is all that a stranger has there.
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(Place::new(&gate, HOME).exhaust("ada").await, 1);
    old.everywhere("ada", OTHER, too_many, "whoever knew the old one")
        .await;
    laptop
        .everywhere("ada", OTHER, StatusCode::OK, "has set it")
        .await;
}

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
            pause().await;
        }
    }
    let failed = async || {
        let events = root
            .get("/api/v1/audit?limit=100&action=login.failed")
            .await;
        assert_eq!(events.status, StatusCode::OK, "{events:?}");
        events.json()["events"].as_array().expect("a list").len()
    };
    let noted = async {
        while failed().await < 10 {
            pause().await;
        }
    };
    let noted = tokio::time::timeout(PATIENCE, noted).await;
    assert!(noted.is_ok(), "each leaves its event");
    let guesser = Place::new(&gate, GUESSER);
    let answers = gate.everywhere(async || guesser.login("ada", WRONG).await);
    let refused = answers.await.into_iter();
    let refused = refused.filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.count(), 1, "that gateway has counted all of them");
}

/// A page of somebody else's logs the browser in to its own account, without the cookies that the browser keeps.
#[tokio::test]
async fn no_other_site_takes_from_the_browser_what_it_keeps() {
    let gate = start_with(|config| {
        proxied(config);
        config.web_url = Some("https://gate.example/llm".to_owned());
    });
    let gate = gate.await;
    gate.made("eve").await;
    let form = format!("username=eve&password={PASSWORD}").replace(' ', "+");
    for (name, value, sets) in [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("origin", "https://evil.example", false),
        ("origin", "https://gate.exampl", false),
        ("origin", "null", false),
        ("origin", "https://gate.example", true),
        ("user-agent", "curl", true),
    ] {
        let headers = [
            (name, value),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let path = "/api/v1/auth/token";
        let answer = send(&gate.client, Method::POST, path, &headers, form.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let set = answer.headers.contains_key(SET_COOKIE);
        assert_eq!(set, sets, "{name}: {value}");
    }
}

/// Other hosts of a domain may set cookies for all of it, with whatever in them.
#[tokio::test]
async fn no_cookie_of_others_hides_ours() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    ada.enter("ada").await;
    assert_eq!(Place::new(&gate, HOME).exhaust("ada").await, 1);
    let own = ada.cookie.expect("entered");
    for line in [
        format!("x=\u{e9}; {own}"),
        format!("{own};x=\u{e9}"),
        format!("llm-gate-device-too=x; {own}; y"),
    ] {
        let body = json!({ "username": "ada", "password": PASSWORD });
        let request = gate.client.request(Method::POST, LOGIN, body.to_string());
        let mut request = request.expect("a request");
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("a value");
        headers.insert("x-forwarded-for", value(HOME));
        headers.insert("content-type", value("application/json"));
        headers.insert(COOKIE, value(&line));
        let answer = gate.client.send(request).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{line}: {answer:?}");
    }
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

#[tokio::test]
async fn a_browser_knows_the_account_by_the_name_it_has_now() {
    let gate = start_with(|config| {
        proxied(config);
        config.rate_limits.login_failures = rate("1/hour");
    });
    let gate = gate.await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    let session = gate
        .client
        .bearer(ada.enter("ada").await.text("access_token"));
    let path = "/api/v1/users/me";
    let body = json!({ "username": "lovelace" });
    let renamed = ada.send(&session, Method::PATCH, path, &body).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(Place::new(&gate, HOME).exhaust("lovelace").await, 1);
    let (ok, too_many) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    ada.everywhere("lovelace", PASSWORD, too_many, "as it was")
        .await;
    ada.cookie = device(&renamed);
    ada.everywhere("lovelace", PASSWORD, ok, "as it is").await;
    // Nobody's browser learns of it that has not entered.
    let other = Place::new(&gate, HOME);
    let body = json!({ "username": "countess" });
    let renamed = other.send(&session, Method::PATCH, path, &body).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(device(&renamed), None);
}

#[tokio::test]
async fn a_refused_login_gives_nothing_to_the_browser() {
    let gate = start_with(proxied).await;
    gate.made("ada").await;
    let mut ada = Place::new(&gate, HOME);
    ada.enter("ada").await;
    let root = gate.admin().await;
    for (name, password) in [("ada", WRONG), ("nobody", PASSWORD)] {
        let refused = ada.login(name, password).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(!refused.headers.contains_key(SET_COOKIE), "{refused:?}");
    }
    let path = format!("/api/v1/users/{}", gate.enter("ada").await.id);
    let disabled = root.patch(&path, json!({ "disabled": true })).await;
    assert_eq!(disabled.status, StatusCode::OK, "{disabled:?}");
    let refused = ada.login("ada", PASSWORD).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "known, and disabled"
    );
    assert!(!refused.headers.contains_key(SET_COOKIE));
}

#[tokio::test]
async fn what_the_browser_keeps_is_of_one_host_and_out_of_reach_of_scripts() {
    let gate = start_with(|config| {
        proxied(config);
        config.web_url = Some("https://gate.example".to_owned());
    });
    let gate = gate.await;
    gate.made("ada").await;
    let answer = Place::new(&gate, HOME).login("ada", PASSWORD).await;
    let line = answer.headers[SET_COOKIE].to_str().expect("text");
    let (value, attributes) = line.split_once("; ").expect("attributes");
    assert!(value.starts_with("__Host-llm-gate-device="), "{line}");
    assert_eq!(
        attributes,
        "Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=34560000"
    );
    for secret in ["access_token", "refresh_token"] {
        assert!(!line.contains(&answer.text(secret)), "{secret}");
    }
}
