//! Who is not recognised learns nothing, costs nothing and gets nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use http_body_util::Full;
use llm_gate::auth::{ApiKeySecret, JwtIssuer, SigningKey};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{ProjectId, Role};
use llm_gate::test_util::ManualClock;
use scripted_vllm::{Answer, Gate};
use serde_json::json;
use support::{Answer as Whole, Person, World, chat};

const SECRET: &str = "the secret that signs in these tests";

async fn world(clock: &ManualClock) -> World {
    World::builder()
        .clock(clock.clone())
        .config(|config| config.auth.jwt_secret = Some(SECRET.into()))
        .start()
        .await
}

/// Signs a credential for `person`.
fn forge(
    world: &World,
    person: &Person,
    secret: &str,
    audience: &str,
    clock: impl Clock,
) -> String {
    let key = SigningKey::hs256(secret.as_bytes()).expect("long enough");
    let issuer = format!("http://{}", world.address());
    JwtIssuer::new(issuer, audience, key, Arc::new(clock))
        .issue(
            person.id,
            ProjectId::new(),
            Role::Admin,
            Duration::from_secs(600),
        )
        .expect("claims can be signed")
        .jwt
}

/// Takes the signature off a credential and says that it needs none.
fn unsigned(jwt: &str) -> String {
    let claims = jwt.split('.').nth(1).expect("three parts");
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    format!("{head}.{claims}.")
}

type Headers = Vec<(&'static str, String)>;

async fn send(world: &World, method: Method, path: &str, headers: &Headers) -> Whole {
    let body = if method == Method::POST {
        chat("Hi").max_tokens(2).json().to_string()
    } else {
        String::new()
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gate");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    world.client().send(request).await.expect("an answer")
}

#[tokio::test]
async fn every_bad_credential_gets_one_and_the_same_401() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    let session = ada.login().await["access_token"]
        .as_str()
        .expect("a credential")
        .to_owned();
    let bearer = |text: String| vec![("authorization", format!("Bearer {text}"))];
    let good = forge(&world, &ada, SECRET, "llm-gate", clock.clone());
    let past = ManualClock::at(Timestamp::from_micros(
        clock.now().as_micros() - 3_600_000_000,
    ));
    let mut cut = ada.key.clone();
    cut.pop();

    let bad: Vec<(&str, Headers)> = vec![
        ("none", vec![]),
        ("empty", bearer(String::new())),
        ("no bearer", vec![("authorization", ada.key.clone())]),
        ("basic", vec![("authorization", "Basic YTpi".to_owned())]),
        ("nonsense", bearer("nonsense".to_owned())),
        (
            "a key that is not known",
            bearer(ApiKeySecret::generate().expose().to_owned()),
        ),
        ("a key cut short", bearer(cut)),
        (
            "another secret",
            bearer(forge(
                &world,
                &ada,
                "another secret of thirty-two bytes!",
                "llm-gate",
                clock.clone(),
            )),
        ),
        (
            "another audience",
            bearer(forge(&world, &ada, SECRET, "elsewhere", clock.clone())),
        ),
        (
            "expired",
            bearer(forge(&world, &ada, SECRET, "llm-gate", past)),
        ),
        ("no algorithm", bearer(unsigned(&good))),
        ("no algorithm, a real session", bearer(unsigned(&session))),
        ("oversized", bearer("x".repeat(9000))),
        (
            "a refresh token",
            bearer(
                ada.login().await["refresh_token"]
                    .as_str()
                    .expect("one")
                    .to_owned(),
            ),
        ),
        (
            "two that differ",
            vec![
                ("authorization", format!("Bearer {}", ada.key)),
                ("x-api-key", session.clone()),
            ],
        ),
        (
            "one twice",
            vec![
                ("x-api-key", ada.key.clone()),
                ("x-api-key", ada.key.clone()),
            ],
        ),
    ];
    let before = world.store().tally();
    for (method, path) in [
        (Method::POST, "/v1/chat/completions"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/nothing"),
        (Method::GET, "/api/v1/users/me"),
        (Method::POST, "/api/v1/projects/x/api-keys"),
    ] {
        let mut bodies = Vec::new();
        for (what, headers) in &bad {
            let answer = send(&world, method.clone(), path, headers).await;
            assert_eq!(answer.status, 401, "{path}: {what}");
            assert_eq!(
                answer.headers["www-authenticate"], "Bearer",
                "{path}: {what}"
            );
            bodies.push(answer.body);
        }
        bodies.dedup();
        assert_eq!(
            bodies.len(),
            1,
            "{path}: a refusal says nothing of its reason: {bodies:?}"
        );
    }
    let after = world.store().tally();
    assert_eq!(
        (after.writes, after.batches),
        (before.writes, before.batches),
        "nothing is written"
    );
    assert_eq!(after.reads, before.reads, "nobody is looked up");
    assert_eq!(
        after.key_lookups - before.key_lookups,
        1,
        "one look-up for the one key that could be"
    );
    assert_eq!(world.vllm().counts().requests, 0);
    for fine in [ada.key.clone(), session, good] {
        let answer = send(&world, Method::GET, "/v1/models", &bearer(fine)).await;
        assert_eq!(answer.status, 200, "the same ways are open to good ones");
    }
    world.settle().await;
}

#[tokio::test]
async fn a_key_in_x_api_key_is_a_key() {
    let world = World::start().await;
    let ada = world.register().await;
    let key = ada.key.clone();
    for headers in [
        vec![("x-api-key", key.clone())],
        vec![
            ("x-api-key", key.clone()),
            ("authorization", format!("bearer {key}")),
        ],
    ] {
        let answer = send(&world, Method::POST, "/v1/chat/completions", &headers).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json());
    }
    world.settle().await;
}

#[tokio::test]
async fn an_unknown_key_is_looked_up_once_however_often_it_comes() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let unknown = ApiKeySecret::generate();
    let headers = vec![("x-api-key", unknown.expose().to_owned())];
    let before = world.store().tally().key_lookups;
    for _ in 0..20 {
        let answer = send(&world, Method::GET, "/v1/models", &headers).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(world.store().tally().key_lookups - before, 1);
}

async fn models(person: &Person) -> u16 {
    person.get("/v1/models").await.status.as_u16()
}

async fn call(person: &Person) -> Whole {
    person.chat(&chat("Hi").max_tokens(2)).await
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_however_fresh_its_last_use() {
    // The clock stands still: what is remembered of a key never grows old.
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    assert_eq!(call(&ada).await.status, 200);

    revoke(&ada).await;
    let refused = call(&ada).await;
    assert_eq!(refused.status, 401);
    assert_eq!(models(&ada).await, 401);
    let nobody = send(&world, Method::POST, "/v1/chat/completions", &vec![]).await;
    assert_eq!(
        refused.body, nobody.body,
        "a revoked key is as good as none"
    );
    world.settle().await;
    assert_eq!(world.vllm().counts().requests, 1);
}

/// Revokes the key of `person` over HTTP.
async fn revoke(person: &Person) {
    let session = person.session().await;
    let me = session
        .get("/api/v1/users/me")
        .await
        .expect("an answer")
        .json();
    let project = me["default_project_id"]
        .as_str()
        .expect("a project")
        .to_owned();
    let keys = format!("/api/v1/projects/{project}/api-keys");
    let list = session.get(&keys).await.expect("an answer").json();
    let id = list["keys"][0]["id"].as_str().expect("a key").to_owned();
    let answer = session
        .post(&format!("{keys}/{id}/revoke"), &json!({}))
        .await;
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_key_that_another_process_revokes_is_granted_nothing_more() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    assert_eq!(call(&ada).await.status, 200);
    world.settle().await;
    let used = world.used(&ada).await;

    let visible = &ada.key[..15];
    let revoked = world
        .command(&["key", "revoke", &ada.name, visible], "")
        .await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    // The key is still remembered as good, but its counter is frozen.
    let refused = call(&ada).await;
    assert_eq!(refused.status, 401, "{:?}", refused.json());
    let nobody = send(&world, Method::POST, "/v1/chat/completions", &vec![]).await;
    assert_eq!(refused.body, nobody.body);
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    // Where nothing is reserved it works on until it is forgotten, a second at most.
    clock.advance(Duration::from_secs(1));
    assert_eq!(models(&ada).await, 401);
    let totals = world.settle().await;
    assert_eq!(
        (world.used(&ada).await, totals.settled),
        (used, 1),
        "it may have been sent while its hold was being committed, but nothing was granted"
    );
}

#[tokio::test]
async fn a_key_revoked_amid_a_stream_is_not_admitted_again_and_pays_for_the_stream() {
    let world = World::start().await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(4).stream()).await;
    key.release();
    stream.event().await;

    revoke(&ada).await;
    assert_eq!(call(&ada).await.status, 401);
    key.open();
    assert!(
        stream.to_end().await.is_done(),
        "what was admitted is served"
    );
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
    assert_eq!(world.vllm().counts().requests, 1);
}

#[tokio::test]
async fn a_disabled_user_is_nobody_until_enabled_again() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    let pair = ada.login().await;
    let session = ada
        .client
        .bearer(pair["access_token"].as_str().expect("a credential"));
    assert_eq!(call(&ada).await.status, 200);
    world.settle().await;
    let used = world.used(&ada).await;

    let disabled = world.command(&["user", "disable", &ada.name], "").await;
    assert_eq!(disabled.code, 0, "{disabled:?}");
    assert_eq!(
        call(&ada).await.status,
        401,
        "no reservation on a frozen counter"
    );
    assert_eq!(models(&ada).await, 401);
    let body = chat("Hi").max_tokens(2).json();
    for path in ["/v1/chat/completions", "/api/v1/auth/login"] {
        let body = if path.contains("login") {
            json!({ "username": ada.name, "password": ada.password })
        } else {
            body.clone()
        };
        let answer = session.post(path, &body).await.expect("an answer");
        assert_eq!(answer.status, 401, "{path}: {:?}", answer.json());
    }
    let me = session.get("/api/v1/users/me").await.expect("an answer");
    assert_eq!(me.status, 401, "a session that was open is no way in");
    let refresh = json!({ "refresh_token": pair["refresh_token"] });
    let renewed = session
        .post("/api/v1/auth/refresh", &refresh)
        .await
        .expect("an answer");
    assert_eq!(renewed.status, 401);

    let enabled = world.command(&["user", "enable", &ada.name], "").await;
    assert_eq!(enabled.code, 0, "{enabled:?}");
    clock.advance(Duration::from_secs(1));
    assert_eq!(call(&ada).await.status, 200);
    let totals = world.settle().await;
    assert_eq!(
        (world.used(&ada).await, totals.settled),
        (2 * used, 2),
        "nothing was granted in between"
    );
}

#[tokio::test]
async fn credentials_end_at_their_time() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    let session = ada.session().await;
    let me = session
        .get("/api/v1/users/me")
        .await
        .expect("an answer")
        .json();
    let project = me["default_project_id"]
        .as_str()
        .expect("a project")
        .to_owned();
    let body = json!({ "name": "short", "expires_at": "2026-01-01T01:00:00Z" });
    let path = format!("/api/v1/projects/{project}/api-keys");
    let made = session.post(&path, &body).await.expect("an answer");
    assert_eq!(made.status, 201, "{:?}", made.json());
    let short = ada.client.bearer(made.text("api_key"));
    assert_eq!(
        short.get("/v1/models").await.expect("an answer").status,
        200
    );

    clock.advance(Duration::from_secs(3600));
    for (what, client) in [("the key", &short), ("the session", &session)] {
        let answer = client.get("/v1/models").await.expect("an answer");
        assert_eq!(answer.status, 401, "{what}");
    }
    assert_eq!(models(&ada).await, 200, "a key without an end has none");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_theft_ends_the_session() {
    let clock = ManualClock::new();
    let world = world(&clock).await;
    let ada = world.register().await;
    let first = json!({ "refresh_token": ada.login().await["refresh_token"] });
    let renew = async |body: &serde_json::Value| ada.post("/api/v1/auth/refresh", body).await;
    let second = renew(&first).await;
    assert_eq!(second.status, 200, "{:?}", second.json());
    let again = renew(&first).await;
    assert_eq!(
        again.text("refresh_token"),
        second.text("refresh_token"),
        "another tab gets the same one"
    );
    clock.advance(Duration::from_secs(31));
    assert_eq!(renew(&first).await.status, 401, "no tab is that late");
    let second = json!({ "refresh_token": second.text("refresh_token") });
    assert_eq!(
        renew(&second).await.status,
        401,
        "somebody had a copy: all of them end"
    );
}
