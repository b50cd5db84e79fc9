//! The ordinary way: an account, a login, a key, calls, and the usage that comes of them.

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use support::{Ask, World, chat, completion, embedding};

#[tokio::test]
async fn what_a_user_is_charged_is_what_the_upstream_counted() {
    let world = World::start().await;
    let ada = world.register().await;

    let plain = ada.chat(&chat("Hello").max_tokens(7)).await;
    assert_eq!(plain.status, 200, "{:?}", plain.json());
    let told = plain.json()["usage"]["total_tokens"].as_u64();
    world.settle().await;
    assert_eq!(
        told,
        Some(world.used(&ada).await),
        "the answer says what it costs"
    );

    let streamed = ada.open(&chat("Hello again").max_tokens(9).stream()).await;
    assert!(
        streamed.to_end().await.is_done(),
        "a stream ends with [DONE]"
    );
    let totals = world.settle().await;

    let usage = ada.usage().await;
    assert_eq!(usage["tokens_used"], world.generated());
    assert_eq!(usage["reserved"], 0);
    assert_eq!(
        usage["remaining"],
        10_000 - world.generated(),
        "of the limit that newcomers get"
    );
    assert_eq!(totals.settled, 2, "one settlement a call");
}

#[tokio::test]
async fn a_login_by_json_and_one_by_form_are_as_good_as_a_key() {
    let world = World::start().await;
    let ada = world.register().await;
    let by_json = ada.login().await;

    let form = format!(
        "grant_type=password&username={}&password={}",
        ada.name,
        ada.password.replace(' ', "+")
    );
    let mut request = ada
        .client
        .request(Method::POST, "/api/v1/auth/token", form)
        .expect("the path is one");
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    let by_form = world.client().send(request).await.expect("an answer");
    assert_eq!(by_form.status, 200, "{:?}", by_form.json());

    for pair in [by_json, by_form.json()] {
        assert_eq!(pair["token_type"], "bearer");
        let session = ada
            .client
            .bearer(pair["access_token"].as_str().expect("a credential"));
        let body = chat("Hi").max_tokens(3).json();
        let answer = session
            .post("/v1/chat/completions", &body)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{:?}", answer.json());
    }
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn every_route_is_charged_streamed_or_not() {
    let world = World::start().await;
    let routes: [(&str, Ask); 7] = [
        ("/v1/chat/completions", chat("one").max_tokens(4)),
        ("/v1/chat/completions", chat("two").max_tokens(4).stream()),
        (
            "/v1/chat/completions",
            chat("three").max_tokens(4).with("n", 3).stream(),
        ),
        ("/v1/completions", completion("four").max_tokens(4)),
        (
            "/v1/completions",
            completion("five").max_tokens(4).stream().usage(),
        ),
        ("/v1/completions", completion("six")),
        ("/v1/embeddings", embedding("seven words or so")),
    ];
    for (path, ask) in routes {
        let before = world.generated();
        let someone = world.register().await;
        let answer = someone.open_at(path, &ask).await;
        assert_eq!(answer.status, 200, "{path} {ask:?}");
        let ended = answer.to_end().await;
        assert!(ended.whole, "{path} {ask:?}");
        world.settle().await;
        let generated = world.generated() - before;
        assert!(generated > 0, "the upstream has worked");
        assert_eq!(world.used(&someone).await, generated, "{path} {ask:?}");
    }
}

#[tokio::test]
async fn usage_is_shown_in_a_stream_only_to_who_asks_for_it() {
    let world = World::start().await;
    let ada = world.register().await;
    let ask = chat("Hello").max_tokens(5).stream();

    let silent = ada.open(&ask).await.to_end().await;
    assert!(silent.is_done());
    for event in silent.values() {
        assert!(event.get("usage").is_none(), "nobody asked: {event}");
        assert_ne!(
            event["choices"],
            json!([]),
            "no event that says nothing else"
        );
    }

    let before = world.generated();
    let told = ada.open(&ask.usage()).await.to_end().await;
    let usage = told.usage().expect("it was asked for");
    assert_eq!(usage["total_tokens"], world.generated() - before);
    let with_usage = told
        .values()
        .iter()
        .filter(|event| event["usage"].is_object())
        .count();
    assert_eq!(with_usage, 1, "running usage is ours");
    world.settle().await;
}

#[tokio::test]
async fn older_paths_lead_to_the_same_accounts() {
    let world = World::start().await;
    let client = world.client();
    let account = json!({ "username": "grace", "password": "a password of some length" });
    let made = client
        .post("/auth/register", &account)
        .await
        .expect("an answer");
    assert_eq!(made.status, 201, "{:?}", made.json());
    let again = client
        .post("/api/auth/register", &account)
        .await
        .expect("an answer");
    assert_eq!(again.status, 409, "the name is taken on every path");

    let pair = client
        .post("/api/auth/login", &account)
        .await
        .expect("an answer");
    let grace = client.bearer(pair.text("access_token"));
    let answer = grace
        .post("/chat/completions", &chat("Hi").max_tokens(2).json())
        .await;
    assert_eq!(answer.expect("an answer").status, 200);
    world.settle().await;
    for path in ["/users/usage", "/api/v1/users/me/usage"] {
        let usage = grace.get(path).await.expect("an answer").json();
        assert_eq!(usage["tokens_used"], world.generated(), "{path}");
    }
    for path in ["/api/me", "/users/me", "/api/v1/users/me"] {
        let me = grace.get(path).await.expect("an answer").json();
        assert_eq!(me["username"], "grace", "{path}");
    }
}

#[tokio::test]
async fn models_are_those_of_the_upstream() {
    let world = World::start().await;
    let ada = world.register().await;
    let list = ada.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "tiny");
    assert_eq!(list["data"][0]["max_model_len"], 4096);
    assert_eq!(ada.get("/v1/models/tiny").await.json()["id"], "tiny");

    let unknown = ada.get("/v1/models/huge").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
    let refused = ada.chat(&chat("Hi").with("model", "huge")).await;
    assert_eq!(refused.status, 404, "{:?}", refused.json());
    assert_eq!(refused.json()["error"]["code"], "model_not_found");
    assert_eq!(
        world.vllm().counts().requests,
        0,
        "no call of these is one for the upstream"
    );
    world.settle().await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_by_their_owner_alone() {
    let world = World::start().await;
    let (ada, eve) = (world.register().await, world.register().await);
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
    let keys = format!("/api/v1/projects/{project}/api-keys");

    let made = session
        .post(&keys, &json!({ "name": "laptop" }))
        .await
        .expect("an answer");
    assert_eq!(made.status, 201, "{:?}", made.json());
    let laptop = ada.client.bearer(made.text("api_key"));
    let call = chat("Hi").max_tokens(2).json();
    let answer = laptop
        .post("/v1/chat/completions", &call)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200);

    let list = session.get(&keys).await.expect("an answer").json();
    let names: Vec<&Value> = list["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names.len(), 2, "{list}");
    assert!(
        !list.to_string().contains(&made.text("api_key")),
        "a secret is shown once"
    );

    let revoke = format!("{keys}/{}/revoke", made.text("id"));
    let others = eve
        .session()
        .await
        .post(&revoke, &json!({}))
        .await
        .expect("an answer");
    assert_eq!(others.status, 404, "what belongs to others does not exist");
    let own = session.post(&revoke, &json!({})).await.expect("an answer");
    assert_eq!(own.status, 200, "{:?}", own.json());
    let answer = laptop
        .post("/v1/chat/completions", &call)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 401);
    world.settle().await;
}
