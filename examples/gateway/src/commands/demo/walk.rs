//! The way of two users through the HTTP API, checked at every step.

use std::io;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{MODEL, Stage};
use crate::client::{Answer, Client};
use crate::commands::error::{CommandError, print, say};

/// How long to wait for a settlement, and how often to look.
const PATIENCE: (Duration, u32) = (Duration::from_millis(20), 250);

/// What somebody has got who registered and logged in.
pub(super) struct Visitor {
    pub(super) access_token: String,
    pub(super) key: String,
    session: Client,
    caller: Client,
}

/// Walks the whole way; fails at the first step that is not as it should be.
pub(super) async fn walk(stage: &Stage) -> Result<Visitor, CommandError> {
    let visitor = enter(stage, "ada").await?;
    chat(&visitor).await?;
    stream(&visitor).await?;
    account(stage, &visitor).await?;
    exhaust(stage).await?;
    Ok(visitor)
}

/// Registers, logs in, makes a key.
async fn enter(stage: &Stage, name: &str) -> Result<Visitor, CommandError> {
    let client = Client::new(stage.running.address);
    let password = uuid::Uuid::new_v4().to_string();
    let body = json!({ "username": name, "password": password });
    let registered = client.post("/api/v1/auth/register", &body).await?;
    expect(&registered, StatusCode::CREATED, "register")?;
    let limit = &registered.json()["token_limit"];
    say!("register      {name}, may spend {limit} tokens")?;

    let pair = client.post("/api/v1/auth/login", &body).await?;
    expect(&pair, StatusCode::OK, "login")?;
    let access_token = pair.text("access_token");
    let session = client.bearer(&*access_token);
    say!("login         good for {} s", pair.json()["expires_in"])?;

    let me = session.get("/api/v1/users/me").await?;
    let keys = format!(
        "/api/v1/projects/{}/api-keys",
        me.text("default_project_id")
    );
    let made = session.post(&keys, &json!({ "name": "demo" })).await?;
    expect(&made, StatusCode::CREATED, "key")?;
    let key = made.text("api_key");
    say!("key           {}…", made.text("prefix"))?;
    Ok(Visitor {
        access_token,
        caller: client.bearer(&*key),
        key,
        session,
    })
}

async fn chat(visitor: &Visitor) -> Result<(), CommandError> {
    let answer = visitor.caller.post(CHAT, &question(false)).await?;
    expect(&answer, StatusCode::OK, "chat")?;
    let answer = answer.json();
    let usage = &answer["usage"];
    let (prompt, completion) = (&usage["prompt_tokens"], &usage["completion_tokens"]);
    say!(
        "chat          {}",
        answer["choices"][0]["message"]["content"]
    )?;
    say!("              {prompt} prompt + {completion} completion tokens")?;
    Ok(())
}

/// Prints the pieces of a streamed answer as they come.
async fn stream(visitor: &Visitor) -> Result<(), CommandError> {
    let body = question(true).to_string();
    let request = visitor.caller.request(Method::POST, CHAT, body)?;
    let mut response = visitor.caller.stream(request).await?;
    let mut text = String::new();
    print(format_args!("stream        "), "")?;
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        // The gate hands on whole events, so no event is cut between two frames.
        let piece = frame.data_ref().map(|data| String::from_utf8_lossy(data));
        let piece = piece.unwrap_or_default();
        for event in piece.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: Value = serde_json::from_str(event).unwrap_or_default();
            let delta = &event["choices"][0]["delta"]["content"];
            print(format_args!("{}", delta.as_str().unwrap_or_default()), "")?;
        }
        text.push_str(&piece);
    }
    say!("")?;
    if response.status() == StatusCode::OK && text.ends_with("data: [DONE]\n\n") {
        Ok(())
    } else {
        Err(CommandError::failed("the stream did not end as it should"))
    }
}

/// Compares what was charged with what the model server counted.
async fn account(stage: &Stage, visitor: &Visitor) -> Result<(), CommandError> {
    let usage = settled(visitor).await?;
    let (charged, counted) = (usage["tokens_used"].as_u64(), stage.counted());
    say!("usage         {usage}")?;
    say!("model server  {counted} tokens counted")?;
    if charged != Some(counted) {
        return Err(CommandError::failed(format!(
            "charged {charged:?} tokens, but the model server counted {counted}"
        )));
    }
    if !stage.books_balance().await? {
        return Err(CommandError::failed("the books do not balance"));
    }
    say!("books         ledger and counters agree")?;
    Ok(())
}

/// Spends nothing on somebody whose limit is too low.
async fn exhaust(stage: &Stage) -> Result<(), CommandError> {
    say!("")?;
    let visitor = enter(stage, "eve").await?;
    let path = "/api/v1/users/me/token-limit";
    let lowered = visitor
        .session
        .put(path, &json!({ "token_limit": 5 }))
        .await?;
    expect(&lowered, StatusCode::OK, "lower the limit")?;
    let asked = stage.upstream.counts().requests;
    let refused = visitor.caller.post(CHAT, &question(false)).await?;
    expect(&refused, StatusCode::TOO_MANY_REQUESTS, "exhausted quota")?;
    say!("limit of 5    429 {}", refused.json()["error"]["message"])?;
    if stage.upstream.counts().requests != asked {
        return Err(CommandError::failed(
            "a refused call reached the model server",
        ));
    }
    say!("model server  was not asked")?;
    Ok(())
}

const CHAT: &str = "/v1/chat/completions";

fn question(stream: bool) -> Value {
    json!({
        "model": MODEL,
        "stream": stream,
        "max_tokens": 24,
        "messages": [{ "role": "user", "content": "What is a gate good for?" }],
    })
}

/// Waits until nothing is under way: the last bytes reach a client before the books.
async fn settled(visitor: &Visitor) -> Result<Value, CommandError> {
    for _ in 0..PATIENCE.1 {
        let usage = visitor.session.get("/api/v1/users/me/usage").await?;
        expect(&usage, StatusCode::OK, "usage")?;
        if usage.json()["reserved"] == 0 {
            return Ok(usage.json());
        }
        tokio::time::sleep(PATIENCE.0).await;
    }
    Err(CommandError::failed("a call was not settled"))
}

fn expect(answer: &Answer, status: StatusCode, step: &str) -> Result<(), CommandError> {
    if answer.status == status {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(CommandError::failed(format!(
        "{step} was answered {} {body}",
        answer.status
    )))
}
