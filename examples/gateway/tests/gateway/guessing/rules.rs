//! Who is counted with whom: with one gateway, and with two.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{GUESSER, HOME, OTHER, Place, WRONG, device, proxied, rate};
use crate::support::{Gate, PASSWORD, Person, paired, send, start_pair_with, start_with};

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
    what_logins_cost_is_bounded_by_address_and_for_who_has_entered_by_device: |config| {
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

async fn what_logins_cost_is_bounded_by_address_and_for_who_has_entered_by_device(gate: Gate) {
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
