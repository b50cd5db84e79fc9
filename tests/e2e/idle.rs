//! Clients that hold a place and do nothing with it.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{World, chat, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let world = World::builder()
        .config(|config| config.server.header_timeout_seconds = 1)
        .start()
        .await;
    for said in [&b""[..], b"PRI * HT", b"GET /health/live HTTP/1.1\r\nho"] {
        let mut stream = TcpStream::connect(world.address())
            .await
            .expect("it listens");
        stream.write_all(said).await.expect("it reads");
        let mut answer = Vec::new();
        let closed = stream.read_to_end(&mut answer);
        // Closed or reset, as long as it is over.
        drop(in_time("the end of a silent connection", closed).await);
    }
}

#[tokio::test]
async fn a_client_of_http2_that_opens_no_window_keeps_no_hold() {
    let world = World::builder()
        .config(|config| config.server.stalled_write_seconds = 1)
        .start()
        .await;
    let ada = world.register().await;
    let io = TokioIo::new(
        TcpStream::connect(world.address())
            .await
            .expect("it listens"),
    );
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Full<Bytes>>(io)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for ask in [chat("hi").max_tokens(4).stream(), chat("hi").max_tokens(4)] {
        let request =
            http::Request::post(format!("http://{}/v1/chat/completions", world.address()))
                .header("authorization", format!("Bearer {}", ada.key))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(ask.json().to_string())))
                .expect("a request");
        let answer = send.send_request(request).await.expect("a head");
        assert_eq!(answer.status(), 200);
        answers.push(answer);
    }
    // The answers are open as far as their client is concerned.
    let totals = world.settle().await;
    assert_eq!(totals.pending, 0, "nothing stays held for it");
    drop(answers);
}
