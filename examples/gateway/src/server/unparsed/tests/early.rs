//! Answers that are given before their requests were read.

use super::*;

/// Requests that are answered before hyper has read their bodies, and what comes with them.
fn early() -> Vec<String> {
    let mut all = Vec::new();
    for head in [
        "expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
        "expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        all.push(format!("POST / HTTP/1.1\r\n{head}{GARBAGE}"));
    }
    all
}

/// An answer that is longer than [`early`] ones, and with hyper at once.
fn long() -> Pieces {
    Pieces {
        left: [Bytes::from(BARE.repeat(2))].into(),
        waits: true,
        tells: true,
    }
}

/// Says `words` to a server, and returns what it says to a client that reads nothing for a while.
async fn read_late<F>(words: &str, serve: impl FnOnce(DuplexStream) -> F) -> String
where
    F: Future<Output = bool>,
{
    let (server, mut client) = tokio::io::duplex(words.len());
    client.write_all(words.as_bytes()).await.expect("room");
    let mut serve = std::pin::pin!(serve(server));
    for _ in 0..8 {
        assert!(waits(serve.as_mut()).await, "the client reads nothing");
    }
    let mut heard = String::new();
    let (_, read) = tokio::join!(serve, client.read_to_string(&mut heard));
    read.expect("text");
    heard
}

/// Where this fails, hyper has learned to wait, and nothing has to end such a connection any more.
#[tokio::test]
async fn hyper_by_itself_reads_on_behind_an_answer_that_nobody_has_taken() {
    for words in early() {
        let heard = read_late(&words, |stream| {
            let stream = TokioIo::new(around(Plain(stream), &Arc::default()));
            let connection = builder(&ServerConfig::default())
                .serve_connection(stream, answers::<Incoming>(long()))
                .into_owned();
            async move { connection.await.is_ok() }
        })
        .await;
        let (served, own) = heard.split_at(heard.len() - BARE.len());
        assert!(served.ends_with(&BARE.repeat(2)), "{words} {heard}");
        assert!(Bare::read(own.as_bytes()).is_some(), "{words} {heard}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_its_request_is_the_last_one() {
    for words in early() {
        for vectored in [true, false] {
            let heard = read_late(&words, async |stream| match vectored {
                true => serve(stream, long()).await,
                false => serve(Plain(stream), long()).await,
            })
            .await;
            let (head, body) = heard.split_once("\r\n\r\n").expect("an answer");
            assert!(
                head.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"),
                "{head}"
            );
            assert_eq!(body, BARE.repeat(2), "{vectored} {words}");
        }
    }
}

/// As of whoever is refused by the head of a request, and sends the next one.
#[tokio::test]
async fn a_body_that_came_along_need_not_be_read() {
    let all = format!("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}{GARBAGE}");
    let some = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n{}";
    for vectored in [true, false] {
        let heard = converse(4096, vectored, pieces(&["yes"], true), &all).await;
        let (first, own) = heard.split_once("yes").expect("an answer");
        assert!(!first.contains("connection: close"), "{first}");
        assert_eq!(own, in_our_words(date(&heard)));
        let heard = converse(4096, vectored, pieces(&["yes"], true), some).await;
        assert!(
            heard.contains("connection: close") && heard.ends_with("yes"),
            "{heard}"
        );
    }
}
