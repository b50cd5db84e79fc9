//! A kill while a request is with the upstream and its hold is on its way into the books.

use support::{Lock, Person, chat, in_time};

use super::rig::Rig;

#[tokio::test]
async fn what_was_sent_before_its_commit_leaves_nothing() {
    let rig = Rig::new().await;
    let server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(4);
    // After the first answer the gate knows that there is room.
    let answer = ada.chat(&ask).await;
    assert_eq!(answer.status, 200);
    let used = answer.json()["usage"]["total_tokens"].as_u64();
    in_time("the first one is settled", async {
        while rig.books(&ada).await.2.pending > 0 {}
    })
    .await;
    // Somebody else writes, so no hold is committed.
    let lock = Lock::take(rig.folder.path());
    let call = tokio::spawn({
        let (client, body) = (ada.client.clone(), ask.json());
        async move { client.post("/v1/chat/completions", &body).await }
    });
    in_time(
        "the upstream has answered",
        rig.vllm.until(|counts| counts.finished == 2),
    )
    .await;
    server.kill().await;
    assert!(
        call.await.expect("no panic").is_err(),
        "nothing is delivered before the commit"
    );
    lock.release();
    let (before, reserved, totals) = rig.books(&ada).await;
    assert_eq!((Some(before), reserved, totals.pending), (used, 0, 0));

    let dead = rig.journals();
    let _server = rig.serve().await;
    let (after, reserved, totals) = rig.books(&ada).await;
    assert_eq!(
        (Some(after), reserved, totals.pending, totals.settled),
        (used, 0, 0, 1),
        "at no charge"
    );
    let left = rig.journals();
    assert_eq!(left.len(), 1, "the living one's");
    assert!(
        left.is_disjoint(&dead),
        "the dead one's is gone, and not set aside"
    );
}
