//! Letters to users (M-19), through a relay of the test's own.

use std::time::Duration;

use llm_gate_gateway::mail::{self, Letter, Mailer, Relay};

use super::smtp::Sink;

fn relay(sink: &Sink) -> Relay {
    Relay::new(&sink.url().into(), "llm-gate <gate@example.org>").expect("a relay")
}

fn letter(to: &str) -> Letter {
    Letter::reset_password("https://gate.example", to, "abc_DEF-123")
}

#[tokio::test]
async fn a_letter_arrives_with_its_link() {
    let mut sink = Sink::start().await;
    let (mailer, task) = Mailer::start(relay(&sink), "https://gate.example/");
    assert_eq!(
        mailer.web_url(),
        "https://gate.example",
        "links have one slash"
    );
    mailer.post(letter("ada@example.org"));
    let received = sink.next().await;
    assert_eq!(received.to, "ada@example.org");
    assert_eq!(received.token(), "abc_DEF-123");
    for line in [
        "Subject: Choose a new password",
        "From: llm-gate <gate@example.org>",
    ] {
        assert!(received.text.contains(line), "{}", received.text);
    }
    drop(mailer);
    assert!(
        mail::drain(task, Duration::from_secs(60)).await,
        "nothing is left"
    );
}

#[tokio::test]
async fn what_is_refused_for_now_is_sent_again_and_what_is_refused_for_good_is_not() {
    let mut sink = Sink::start().await;
    sink.refuse("550 no such mailbox");
    sink.refuse("451 come back later");
    sink.refuse("421 too busy");
    let (mailer, task) = Mailer::start_with(
        relay(&sink),
        "https://gate.example",
        Duration::from_millis(1),
    );
    mailer.post(letter("nobody@example.org"));
    mailer.post(letter("ada@example.org"));
    drop(mailer);
    mail::drain(task, Duration::from_secs(60)).await;
    assert_eq!(
        sink.next().await.to,
        "ada@example.org",
        "the third time it was taken"
    );
    assert!(sink.try_next().is_none(), "nobody's was given up at once");
}

#[tokio::test]
async fn a_relay_that_is_away_stops_nobody() {
    let sink = Sink::start().await;
    let relay = relay(&sink);
    drop(sink);
    let (mailer, task) =
        Mailer::start_with(relay, "https://gate.example", Duration::from_millis(1));
    mailer.post(letter("ada@example.org"));
    drop(mailer);
    assert!(
        mail::drain(task, Duration::from_secs(60)).await,
        "the letter is given up"
    );
}

#[tokio::test]
async fn an_address_cannot_bring_headers_along() {
    let mut sink = Sink::start().await;
    let relay = relay(&sink);
    for to in [
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org, eve@example.org",
        "",
        "ada",
    ] {
        assert!(
            relay.send(&letter(to)).await.is_err(),
            "{to:?} is no address"
        );
    }
    assert!(sink.try_next().is_none(), "nothing was sent");
}
