//! Who floods the gate is kept out before anything is looked up; who does not is served.

use std::net::Ipv4Addr;

use futures_util::future::join_all;
use llm_gate::auth::ApiKeySecret;
use llm_gate::test_util::ManualClock;
use support::{World, chat};

const WRONG_KEYS: usize = 10_000;
/// What `rate_limits.failures_per_address` is unless set.
const ALLOWED: usize = 120;

#[tokio::test]
async fn wrong_keys_of_one_address_are_not_looked_up_for_long_and_another_address_is_served() {
    // Time stands still, so none of it comes back.
    let world = World::builder().clock(ManualClock::new()).start().await;
    let ada = world.register().await;
    let ask = chat("Hi").max_tokens(3);
    let attacker = world.client().from(Ipv4Addr::new(127, 0, 0, 2).into());
    let before = world.store().tally();
    let (mut wrong, mut throttled) = (0, 0);
    for _ in 0..WRONG_KEYS / 100 {
        let guesses = (0..100).map(|_| {
            // Well-formed, so that only the store could tell.
            let guess = attacker.bearer(ApiKeySecret::generate().expose());
            async move { guess.get("/v1/models").await.expect("an answer") }
        });
        for answer in join_all(guesses).await {
            match answer.status.as_u16() {
                401 => wrong += 1,
                429 => {
                    throttled += 1;
                    assert!(answer.headers.contains_key("retry-after"));
                    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
                }
                other => panic!("{other}"),
            }
        }
        // In the middle of it, and new to the gate.
        let served = ada.chat(&ask).await;
        assert_eq!(served.status, 200, "another address: {served:?}");
    }
    assert_eq!((wrong, throttled), (ALLOWED, WRONG_KEYS - ALLOWED));
    let lookups = world.store().tally().key_lookups - before.key_lookups;
    assert_eq!(
        lookups,
        ALLOWED as u64 + 1,
        "one for each guess that was let through, and one for her"
    );
    world.settle().await;
}
