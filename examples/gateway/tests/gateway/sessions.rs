//! Logging in, refreshing, logging out.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{Config, RateLimitConfig};
use serde_json::json;

use super::support::{
    Gate, PASSWORD, Person, on_both, send, start, start_on_postgres_with, start_pair_of, start_with,
};

const REFRESH: &str = "/api/v1/auth/refresh";

#[tokio::test]
async fn logs_in_by_json_and_by_form() {
    let gate = start().await;
    let body = json!({ "username": "ada", "email": "ada@example.com", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    for name in [
        json!({ "username": "ADA" }),
        json!({ "email": "ada@Example.com" }),
    ] {
        let mut body = name.clone();
        body["password"] = PASSWORD.into();
        let pair = gate.post("/api/v1/auth/login", body).await;
        assert_eq!(pair.status, StatusCode::OK, "{name}");
        assert_eq!(pair.text("token_type"), "bearer");
        assert_eq!(pair.json()["expires_in"], 600);
        assert_eq!(pair.headers["cache-control"], "no-store");
    }
    let form =
        "grant_type=password&username=ada%40example.com&password=correct+horse+battery&scope=";
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let pair = send(
        &gate.client,
        Method::POST,
        "/api/v1/auth/token",
        &kind,
        form,
    )
    .await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    let session = gate.client.bearer(pair.text("access_token"));
    let check = session.get("/api/v1/auth/check").await.expect("an answer");
    assert_eq!(check.text("credential"), "session");
    assert_eq!(check.text("username"), "ada");

    let wrong = form.replace("horse", "house");
    let refused = send(
        &gate.client,
        Method::POST,
        "/api/v1/auth/token",
        &kind,
        wrong,
    )
    .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let other = form.replace("=password&", "=client_credentials&");
    let refused = send(
        &gate.client,
        Method::POST,
        "/api/v1/auth/token",
        &kind,
        other,
    )
    .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn nobody_learns_why_a_login_was_refused() {
    let gate = start().await;
    gate.person("ada").await;
    gate.person("eve").await;
    let disabled = gate.command(&["user", "disable", "eve"]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut answers = Vec::new();
    for (name, password) in [
        ("ada", "wrong horse battery"),
        ("nobody", "wrong horse battery"),
        ("nobody", PASSWORD),
        ("eve", PASSWORD),
    ] {
        let body = json!({ "username": name, "password": password });
        let before = gate.argon2_runs();
        answers.push(gate.post("/api/v1/auth/login", body).await);
        assert_eq!(gate.argon2_runs() - before, 1, "the same work for {name}");
        let pairs = [
            ("grant_type", "password"),
            ("username", name),
            ("password", password),
        ];
        let pairs = pairs.map(|(name, value)| format!("{name}={}", value.replace(' ', "+")));
        let (client, path) = (&gate.client, "/api/v1/auth/token");
        answers.push(send(client, Method::POST, path, &form, pairs.join("&")).await);
        assert_eq!(
            gate.argon2_runs() - before,
            2,
            "the same by the form for {name}"
        );
    }
    // All that an answer says, but for what is different on every one.
    let said = |answer: &Answer| {
        let own = ["x-request-id", "date", "x-ratelimit-", "x-trace"];
        let headers = answer.headers.iter();
        let headers =
            headers.filter(|(name, _)| !own.iter().any(|own| name.as_str().starts_with(own)));
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (answer.status, headers, answer.body.clone())
    };
    assert_eq!(answers[0].status, StatusCode::UNAUTHORIZED);
    assert_eq!(answers[0].headers["www-authenticate"], "Bearer");
    for answer in &answers {
        assert_eq!(said(answer), said(&answers[0]));
    }
    let neither = gate
        .post("/api/v1/auth/login", json!({ "password": PASSWORD }))
        .await;
    assert_eq!(neither.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_return_ends_the_session() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let pair = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    let next = pair.text("refresh_token");
    assert_ne!(next, ada.refresh);
    let me = gate
        .client
        .bearer(pair.text("access_token"))
        .get("/api/v1/users/me")
        .await;
    assert_eq!(me.expect("an answer").text("id"), ada.id);

    gate.clock.advance(Duration::from_secs(31));
    let replayed = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(
        replayed.status,
        StatusCode::UNAUTHORIZED,
        "no tab is that late"
    );
    let family = gate.post(REFRESH, json!({ "refresh_token": next })).await;
    assert_eq!(
        family.status,
        StatusCode::UNAUTHORIZED,
        "one of the two was stolen, nobody knows which"
    );

    for none in ["", "lgr_x", &"a".repeat(47)] {
        let refused = gate.post(REFRESH, json!({ "refresh_token": none })).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{none}");
    }
    let missing = gate.post(REFRESH, json!({})).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn racing_refreshes_get_the_same_child_and_its_use_ends_the_grace() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({ "refresh_token": ada.refresh });
    let race = (0..8).map(|_| gate.client.post(REFRESH, &body));
    let answers = futures_util::future::join_all(race).await;
    let children: BTreeSet<String> = answers
        .into_iter()
        .map(|answer| answer.expect("an answer").text("refresh_token"))
        .collect();
    assert_eq!(children.len(), 1, "no tab is logged out, and none is two");

    let child = children.first().expect("one").clone();
    let next = gate.post(REFRESH, json!({ "refresh_token": child })).await;
    assert_eq!(next.status, StatusCode::OK, "the child is good");
    let replayed = gate.post(REFRESH, body).await;
    assert_eq!(
        replayed.status,
        StatusCode::UNAUTHORIZED,
        "who has the child does not come with its parent"
    );
}

/// Refreshes with one token a hundred times at once.
async fn stampede(gate: &Gate, token: &str) -> Vec<Answer> {
    let body = json!({ "refresh_token": token });
    let racing = (0..100).map(|_| gate.post(REFRESH, body.clone()));
    futures_util::future::join_all(racing).await
}

/// One chain of a hundred tokens, each refreshed by a hundred at once.
async fn a_hundred_at_once_get_one_child_a_hundred_times_over(gate: Gate) {
    let ada = gate.person("ada").await;
    let admin = gate.admin().await;
    let mut token = ada.refresh.clone();
    for round in 0..100 {
        let answers = stampede(&gate, &token).await;
        let children: BTreeSet<String> = answers
            .iter()
            .map(|answer| {
                assert_eq!(
                    answer.status,
                    StatusCode::OK,
                    "round {round}: nobody is logged out: {answer:?}"
                );
                answer.text("refresh_token")
            })
            .collect();
        assert_eq!(children.len(), 1, "round {round}: one child");
        token = children.into_iter().next().expect("one");
    }
    let sessions = ada.get("/api/v1/users/me/sessions").await.json();
    assert_eq!(
        sessions["sessions"].as_array().map(Vec::len),
        Some(1),
        "it is one session still"
    );

    // Spent, and its grace is over.
    gate.clock.advance(Duration::from_secs(31));
    let replayed = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(replayed.status, StatusCode::UNAUTHORIZED);
    let child = gate.post(REFRESH, json!({ "refresh_token": token })).await;
    assert_eq!(
        child.status,
        StatusCode::UNAUTHORIZED,
        "the whole family has ended"
    );
    assert_eq!(
        ada.get("/api/v1/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let events = admin
        .get("/api/v1/audit?action=session.reused")
        .await
        .json();
    assert_eq!(
        events["events"].as_array().map(Vec::len),
        Some(1),
        "{events}"
    );
    let event = &events["events"][0];
    assert_eq!(event["actor"], "anonymous", "nobody knows who brought it");
    assert_eq!(event["address"], "127.0.0.1", "but from where");
    assert!(event["request_id"].is_string(), "and with which request");
}

async fn nothing_limits(change: impl AsyncFnOnce(fn(&mut Config)) -> Gate) -> Gate {
    change(|config| config.rate_limits = RateLimitConfig::off()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_get_one_child_on_sqlite() {
    let gate = nothing_limits(async |change| start_with(change).await).await;
    a_hundred_at_once_get_one_child_a_hundred_times_over(gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_get_one_child_on_postgres() {
    let gate = nothing_limits(async |change| start_on_postgres_with(change).await).await;
    a_hundred_at_once_get_one_child_a_hundred_times_over(gate).await;
}

#[tokio::test]
async fn sessions_and_access_tokens_end_in_time() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    gate.clock.advance(Duration::from_secs(610));
    assert_eq!(
        ada.get("/api/v1/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let pair = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(pair.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let late = gate
        .post(
            REFRESH,
            json!({ "refresh_token": pair.text("refresh_token") }),
        )
        .await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({ "refresh_token": ada.refresh });
    for _ in 0..2 {
        let out = gate.post("/api/v1/auth/logout", body.clone()).await;
        assert_eq!(
            out.status,
            StatusCode::NO_CONTENT,
            "twice is as good as once"
        );
    }
    assert_eq!(
        gate.post(REFRESH, body).await.status,
        StatusCode::UNAUTHORIZED
    );
    let missing = gate.post("/api/v1/auth/logout", json!({})).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_access_token_ends_with_its_session() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let other = gate.enter("ada").await;
    let answers = async |person: &Person| {
        [
            person.get("/api/v1/users/me").await.status.as_u16(),
            person.get("/api/v1/auth/check").await.status.as_u16(),
            person.get("/api/v1/models").await.status.as_u16(),
            person.get("/v1/models").await.status.as_u16(),
        ]
    };
    assert_eq!(answers(&ada).await, [200; 4]);
    let body = json!({ "refresh_token": ada.refresh });
    let left = gate.post("/api/v1/auth/logout", body).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert_eq!(answers(&ada).await, [401; 4], "though it is not expired");
    assert_eq!(answers(&other).await, [200; 4], "other sessions go on");
    let all = other.delete("/api/v1/users/me/sessions").await;
    assert_eq!(all.status, StatusCode::NO_CONTENT);
    assert_eq!(answers(&other).await, [401; 4]);
}

#[tokio::test]
async fn a_request_that_is_held_back_ends_with_its_session_too() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let mut request = ada
        .session
        .request(Method::POST, "/x", "")
        .expect("a request");
    let token = request.headers_mut().remove("authorization").expect("sent");
    let token = token.to_str().expect("text");
    let held = gate
        .held_back(&path, token, json!({ "scopes": ["manage"] }))
        .await;
    let left = gate
        .post(
            "/api/v1/auth/logout",
            json!({ "refresh_token": ada.refresh }),
        )
        .await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert_eq!(held.let_go().await, 401);
}

#[tokio::test]
async fn a_failed_login_leaves_an_event_without_what_was_typed() {
    let gate = start().await;
    let (admin, ada) = (gate.admin().await, gate.person("ada").await);
    for (name, target) in [("ada", ada.id.as_str()), ("my secret password", "unknown")] {
        let body = json!({ "username": name, "password": "not this one at all" });
        let refused = gate.post("/api/v1/auth/login", body).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let events = admin.get("/api/v1/audit?action=login.failed&limit=1").await;
        let text = String::from_utf8_lossy(&events.body).into_owned();
        assert!(!text.contains("secret password") && !text.contains("not this one"));
        let event = &events.json()["events"][0];
        assert_eq!(event["target_id"], target, "{events:?}");
        assert_eq!(event["actor"], "anonymous", "{events:?}");
    }
}

#[tokio::test]
async fn credentials_are_checked() {
    let gate = start().await;
    let refused = gate.get("/api/v1/auth/check").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let forged = gate
        .client
        .bearer("a.b.c")
        .get("/api/login")
        .await
        .expect("an answer");
    assert_eq!(forged.body, refused.body, "a 401 does not say why");
}

#[tokio::test]
async fn access_tokens_live_as_long_as_configured() {
    let gate = start_with(|config| config.auth.jwt_expiration_hours = Some(2)).await;
    gate.person("ada").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let pair = gate.post("/auth/login", body).await;
    assert_eq!(pair.json()["expires_in"], 7200);
}

on_both! {
    a_login_makes_the_hash_one_of_todays;
    logins_at_once_all_get_in_although_each_makes_the_hash_anew;
    a_refused_login_takes_the_same_work_whatever_the_parameters_were_before;
}

/// Lets passwords take so many passes. It is five unless changed.
fn passes(passes: u32) -> impl FnOnce(&mut Config) {
    move |config| config.passwords.iterations = passes
}

async fn a_login_makes_the_hash_one_of_todays(mut gate: Gate) {
    gate.person("ada").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    for now in [6, 6, 5] {
        gate = gate.again(passes(now)).await;
        let login = async || gate.post("/auth/login", body.clone()).await.status;
        assert_eq!(gate.agreed(login).await, StatusCode::OK);
        let kept = gate.books().await.user_by_login("ada".to_owned()).await;
        let hash = kept.expect("a store").expect("registered").hash;
        let hash = hash.expect("a password");
        assert!(hash.contains(&format!("t={now},")), "{hash}");
    }
}

async fn logins_at_once_all_get_in_although_each_makes_the_hash_anew(gate: Gate) {
    gate.person("ada").await;
    let gate = gate.again(passes(6)).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let logins = (0..8).map(|_| gate.post("/auth/login", body.clone()));
    for login in futures_util::future::join_all(logins).await {
        assert_eq!(login.status, StatusCode::OK, "{login:?}");
    }
}

async fn a_refused_login_takes_the_same_work_whatever_the_parameters_were_before(mut gate: Gate) {
    let register = async |gate: &Gate, name: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        let made = gate.post("/auth/register", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    };
    for (name, before) in [("weak", 5), ("gone", 5), ("strong", 9)] {
        gate = gate.again(passes(before)).await;
        register(&gate, name).await;
    }
    let gate = gate.again(passes(6)).await;
    gate.does(&["user", "disable", "gone"]).await;
    register(&gate, "new").await;
    let spent = || -> u64 {
        let all = gate.all().map(|running| running.passwords().filled_kib());
        all.sum()
    };
    // Nobody comes first: each gateway knows before it has checked a hash.
    let wrong = "wrong horse battery";
    for (name, password) in [
        ("nobody", PASSWORD),
        ("weak", wrong),
        ("strong", wrong),
        ("new", wrong),
        ("gone", wrong),
        // Right, and refused.
        ("gone", PASSWORD),
        ("nobody", wrong),
    ] {
        let body = json!({ "username": name, "password": password });
        let refused = async || {
            let before = spent();
            let refused = gate.post("/auth/login", body.clone()).await;
            (refused.status, spent() - before)
        };
        let each_kind_once = (StatusCode::UNAUTHORIZED, 7 * 1024 * (6 + 5 + 9));
        assert_eq!(gate.agreed(refused).await, each_kind_once, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_other_parameters_let_in_whom_the_other_has_hashed_and_refuse_all_alike() {
    let gate = start_pair_of(passes(5), passes(6)).await;
    let other = gate.other.as_ref().expect("there are two");
    let at = [(&gate.running, 5), (other, 6)];
    let at = at.map(|(running, passes)| (Client::new(running.address), running, passes));
    let ask = async |client: &Client, path: &str, name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        client.post(path, &body).await.expect("an answer").status
    };
    let books = gate.books().await;
    let hash = async |name: &str| {
        let kept = books.user_by_login(name.to_owned()).await;
        let hash = kept.expect("a store").expect("registered").hash;
        hash.expect("a password")
    };

    for (name, (client, _, _)) in ["ada", "eve"].into_iter().zip(&at) {
        let made = ask(client, "/auth/register", name, PASSWORD).await;
        assert_eq!(made, StatusCode::CREATED);
    }
    // To and fro, so that each has let in somebody whom the other has hashed.
    for name in ["ada", "eve"] {
        for (client, _, passes) in at.iter().chain(&at) {
            let entered = ask(client, "/auth/login", name, PASSWORD).await;
            assert_eq!(entered, StatusCode::OK, "{name} at t={passes}");
            let hash = hash(name).await;
            assert!(
                hash.contains(&format!("t={passes},")),
                "{name}: as where it was typed last: {hash}"
            );
        }
    }
    let entered = ask(&at[0].0, "/auth/login", "ada", PASSWORD).await;
    assert_eq!(entered, StatusCode::OK);
    for (name, passes) in [("ada", 5), ("eve", 6)] {
        let hash = hash(name).await;
        assert!(hash.contains(&format!("t={passes},")), "{name}: {hash}");
    }

    for (client, running, passes) in &at {
        let spent = || (running.passwords().runs(), running.passwords().filled_kib());
        for name in ["nobody", "ada", "eve", "nobody"] {
            let (runs, filled) = spent();
            let refused = ask(client, "/auth/login", name, "wrong horse battery").await;
            assert_eq!(refused, StatusCode::UNAUTHORIZED, "{name}");
            let (runs_now, filled_now) = spent();
            assert_eq!(
                (runs_now - runs, filled_now - filled),
                (2, 7 * 1024 * (5 + 6)),
                "{name} at t={passes}: each kind once"
            );
        }
    }
}

#[tokio::test]
async fn too_many_logins_at_once_are_told_to_come_back() {
    let change = |config: &mut Config| {
        config.passwords.queue = 0;
        // The queue is the last line, behind them.
        config.rate_limits = RateLimitConfig::off();
    };
    let gate = start_with(change).await;
    let body = json!({ "username": "nobody", "password": PASSWORD });
    let flood = (0..64).map(|_| gate.client.post("/auth/login", &body));
    let answers = futures_util::future::join_all(flood).await;
    let answers = answers.into_iter().map(|answer| answer.expect("an answer"));
    let (busy, wrong): (Vec<_>, Vec<_>) =
        answers.partition(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(!busy.is_empty() && !wrong.is_empty(), "{} busy", busy.len());
    assert!(
        busy.iter()
            .all(|answer| answer.headers.contains_key("retry-after"))
    );
    assert!(
        wrong
            .iter()
            .all(|answer| answer.status == StatusCode::UNAUTHORIZED)
    );
}
