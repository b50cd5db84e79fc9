//! The worlds the recordings are played in.

use llm_gate::tokens::Tokens;
use llm_gate_gateway::config::{Config, Secret};
use support::{Person, World, in_time};

use super::recording::{self, Answer, Request};

/// The key of the gate at its upstream, which no client knows.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-1";

/// Starts a world whose upstream wants a key, and where nobody runs out of tokens.
pub(crate) async fn start() -> World {
    with(|_| {}, |_| {}).await
}

/// Starts one with changes to the configurations of upstream and gateway.
pub(crate) async fn with(
    vllm: impl FnOnce(&mut scripted_vllm::Config),
    gateway: impl FnOnce(&mut Config),
) -> World {
    let world = World::builder()
        .vllm(|config| {
            config.api_key = Some(UPSTREAM_KEY.to_owned());
            vllm(config);
        })
        .config(|config| {
            config.limits.default_user = Tokens::new(1_000_000_000);
            config.upstream.api_key = Some(Secret::from(UPSTREAM_KEY));
            gateway(config);
        });
    world.start().await
}

/// Sends a recorded request; `None` if the gateway closes without an answer.
pub(crate) async fn send(world: &World, request: &Request) -> Option<Answer> {
    let bytes = request.to_bytes(world.address());
    let answer = in_time(&request.line, recording::send(world.address(), bytes)).await;
    Answer::parse(&answer, request.method() == "HEAD")
}

/// How many calls the upstream has received.
pub(crate) fn calls(world: &World) -> u64 {
    world.vllm().counts().requests
}

/// What somebody has been charged, once everything is settled and nothing is held.
pub(crate) async fn charged(world: &World, person: &Person) -> u64 {
    world.settle().await;
    let standing = world.standing(person.subject()).await;
    assert_eq!(standing.reserved.get(), 0, "nothing stays reserved");
    assert_eq!(standing.overage.get(), 0, "the bound was one");
    standing.used.get()
}
