//! h2 over the stream.

use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioExecutor;

use super::*;

/// What a client of HTTP/2 hears when it asks with a header of `length` letters.
async fn ask(sender: &mut SendRequest<Pieces>, length: usize) -> (http::response::Parts, Bytes) {
    let request = Request::get("http://gate/").header("x-long", "x".repeat(length));
    let request = request.body(pieces(&[], true)).expect("a request");
    let (head, body) = sender
        .send_request(request)
        .await
        .expect("heard")
        .into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (head, body)
}

#[tokio::test]
async fn over_http2_our_headers_stand_in_h2s_own_answer_however_it_is_written() {
    for (size, vectored) in [
        (7, true),
        (7, false),
        (100, true),
        (4096, true),
        (4096, false),
    ] {
        let (server, client) = tokio::io::duplex(size);
        let (executor, client) = (TokioExecutor::new(), TokioIo::new(client));
        let talk = async {
            let client = handshake(executor, client).await;
            let (mut sender, connection) = client.expect("HTTP/2");
            let talk = async move {
                // The table of each side is used and changed in between.
                for length in [1, 200 * 1024, 1, 200 * 1024, 200 * 1024, 2] {
                    let (head, body) = ask(&mut sender, length).await;
                    if length < 1024 {
                        assert_eq!((head.status.as_u16(), &*body), (200, BARE.as_bytes()));
                        assert!(!head.headers.contains_key("x-said"));
                        continue;
                    }
                    assert_eq!((head.status.as_u16(), &*body), (431, &b""[..]));
                    let mut names: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
                    names.sort_unstable();
                    assert_eq!(names, ["content-length", "date", "x-said"]);
                    assert_eq!(head.headers["x-said"], "by us");
                    assert_ne!(head.headers["date"], "never");
                }
            };
            let (closed, ()) = tokio::join!(connection, talk);
            closed.expect("never broken");
        };
        let body = pieces(&[BARE], true);
        let serve = async {
            match vectored {
                true => serve(server, body).await,
                false => serve(Plain(server), body).await,
            }
        };
        tokio::join!(serve, talk);
    }
}
