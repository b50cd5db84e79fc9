//! What holds for recordings of all kinds at once.

use super::recording::{Request, names};
use super::world::{self, UPSTREAM_KEY, calls, send};

#[tokio::test]
async fn without_a_key_nothing_below_v1_is_served() {
    let world = world::start().await;
    for name in names("wire") {
        let request = Request::load("wire", &name)
            .without("authorization")
            .without("x-api-key");
        if !request.path().starts_with("/v1/") {
            continue;
        }
        let answer = send(&world, &request).await;
        let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, 401, "{name}: whatever is asked");
        assert!(answer.header("www-authenticate").is_some(), "{name}");
    }
    assert_eq!(calls(&world), 0, "nothing reached the upstream");
}

#[tokio::test]
async fn the_key_of_the_upstream_opens_nothing() {
    let world = world::start().await;
    for name in ["chat", "models"] {
        let request = Request::load("wire", name).with_key(UPSTREAM_KEY);
        let answer = send(&world, &request).await.expect("an answer");
        assert_eq!(answer.status, 401, "{name}: it is no key of the gate");
    }
    assert_eq!(calls(&world), 0, "nothing reached the upstream");
}
