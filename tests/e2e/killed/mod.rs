//! `kill -9`: after the next start everything delivered is charged, nothing is charged twice, and nothing
//! stays held.

mod caller;
mod overlap;
mod postgres;
mod random;
mod rig;
mod steps;

use scripted_vllm::{Answer, Gate};
use serde_json::Value;
use support::{Person, chat, in_time};

use self::rig::Rig;

/// What the upstream had reported with an event.
fn reported(event: &str) -> u64 {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["usage"]["total_tokens"]
        .as_u64()
        .expect("running usage was asked for")
}

#[tokio::test]
async fn a_kill_at_any_event_charges_what_was_delivered() {
    let rig = Rig::new().await;
    let mut server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(4).stream().with(
        "stream_options",
        serde_json::json!({ "include_usage": true, "continuous_usage_stats": true }),
    );
    let mut charged = 0;
    for events in 0..=5 {
        let ada = ada.at(server.address);
        let (gate, key) = Gate::new();
        rig.vllm.push(Answer::Lockstep { gate });
        let mut stream = ada.open(&ask).await;
        let mut delivered = 0;
        for _ in 0..events {
            key.release();
            delivered = reported(&stream.event().await);
        }
        server.kill().await;
        assert!(!stream.to_end().await.whole, "nobody takes it for whole");
        drop(key);
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(used, charged, "not settled by the dead");
        assert!(
            reserved > 0 && totals.pending == 1,
            "the hold stands in for it meanwhile"
        );

        server = rig.serve().await;
        charged += delivered;
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(
            used, charged,
            "killed after {events} events: charged what was delivered"
        );
        assert_eq!((reserved, totals.pending), (0, 0), "nothing stays held");
        assert!(totals.balance());
        assert_eq!(
            rig.journals().len(),
            1,
            "the dead one's journal is settled and gone"
        );
    }
}

#[tokio::test]
async fn an_answer_that_was_never_delivered_is_free() {
    let rig = Rig::new().await;
    let server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let (gate, key) = Gate::new();
    rig.vllm.push(Answer::Lockstep { gate });
    let call = tokio::spawn({
        let (client, body) = (ada.client.clone(), chat("Hello").max_tokens(4).json());
        async move { client.post("/v1/chat/completions", &body).await }
    });
    in_time(
        "the upstream is asked",
        rig.vllm.until(|counts| counts.active == 1),
    )
    .await;
    server.kill().await;
    assert!(call.await.expect("no panic").is_err(), "no answer");
    drop(key);

    let _server = rig.serve().await;
    let (used, reserved, totals) = rig.books(&ada).await;
    assert_eq!((used, reserved, totals.pending), (0, 0, 0));
}

#[tokio::test]
async fn what_was_settled_before_the_kill_is_not_settled_again() {
    let rig = Rig::new().await;
    let mut server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    for round in 1..=3 {
        let ada = ada.at(server.address);
        let answer = ada.chat(&chat("Hello").max_tokens(4)).await;
        assert_eq!(answer.status, 200);
        // Whether or not the settlement is committed by now.
        server.kill().await;
        server = rig.serve().await;
        let counts = rig.vllm.counts();
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(
            used,
            counts.prompt_tokens + counts.completion_tokens,
            "round {round}"
        );
        assert_eq!(
            (reserved, totals.settled),
            (0, round),
            "one settlement each"
        );
        assert!(totals.balance());
    }
}
