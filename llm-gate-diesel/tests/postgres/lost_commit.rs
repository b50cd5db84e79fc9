//! A network that swallows what the server answers to `COMMIT`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llm_gate::identity::Subject;
use llm_gate::store::{LedgerStore, Operation, Outcome, StoreErrorKind};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use crate::support::{limited, reserve, settle};

/// Passes connections on to a server. Armed, it waits for a `COMMIT`, passes it on or not, waits for the server
/// to have done it, and cuts the connection.
struct Proxy {
    url: String,
    armed: Arc<AtomicBool>,
}

impl Proxy {
    async fn to(config: &PgConfig, passing_on: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_, database) = config.url().rsplit_once('/').unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
        let armed = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            url,
            armed: Arc::clone(&armed),
        };
        let socket = config.socket();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (socket, armed) = (socket.clone(), Arc::clone(&armed));
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(socket).await.unwrap();
                    let (mut question, mut answer) = ([0; 65_536], [0; 65_536]);
                    loop {
                        tokio::select! {
                            read = client.read(&mut question) => {
                                let Ok(length @ 1..) = read else { return };
                                let question = &question[..length];
                                let commit = question.windows(6).any(|part| part == b"COMMIT");
                                if commit && armed.swap(false, Ordering::SeqCst) {
                                    if passing_on {
                                        server.write_all(question).await.unwrap();
                                        swallow(&mut server).await;
                                    }
                                    return;
                                }
                                server.write_all(question).await.unwrap();
                            }
                            read = server.read(&mut answer) => {
                                let Ok(length @ 1..) = read else { return };
                                if client.write_all(&answer[..length]).await.is_err() {
                                    return;
                                }
                            }
                        }
                    }
                });
            }
        });
        proxy
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}

/// Reads, and passes on to nobody, until the server says that it has committed. What it said before may come first.
async fn swallow(server: &mut UnixStream) {
    let (mut said, mut answer) = (Vec::new(), [0; 65_536]);
    while let Ok(length @ 1..) = server.read(&mut answer).await {
        said.extend_from_slice(&answer[..length]);
        if said.windows(6).any(|part| part == b"COMMIT") {
            return;
        }
    }
}

/// Applies a batch whose `COMMIT` is cut, and again; returns how the subject stands in between.
async fn cut(
    proxy: &Proxy,
    store: &PgStore,
    beside: &PgStore,
    subject: Subject,
    batch: Vec<Operation>,
) -> (Tokens, Tokens, Vec<Outcome>) {
    proxy.arm();
    let error = store
        .apply(batch.clone())
        .await
        .expect_err("the acknowledgement is lost");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let between = beside.standing(subject).await.unwrap();
    let again = store.apply(batch).await.expect("the next connection works");
    (between.used, between.reserved, again)
}

async fn repeating_is_safe(passing_on: bool) {
    let config = postgres::config().await;
    let beside = PgStore::open(config.clone()).await.unwrap();
    let proxy = Proxy::to(&config, passing_on).await;
    let store = PgStore::open(PgConfig::new(&proxy.url)).await.unwrap();
    let subject = limited(&store, 100).await;
    let hold = reserve(subject, 60);
    let done = |amount| Tokens::new(if passing_on { amount } else { 0 });

    let batch = vec![Operation::Reserve(hold.clone())];
    let (_, reserved, again) = cut(&proxy, &store, &beside, subject, batch).await;
    assert_eq!(reserved, done(60), "whether the server had heard of it");
    assert!(
        matches!(&again[..], [Outcome::Granted(grant)] if grant.hold == Tokens::new(60)),
        "the same hold: {again:?}"
    );
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(standing.reserved, Tokens::new(60), "held once");

    let batch = vec![settle(hold.id, 25)];
    let (used, _, again) = cut(&proxy, &store, &beside, subject, batch).await;
    assert_eq!(used, done(25), "whether the server had heard of it");
    assert!(
        matches!(&again[..], [Outcome::Settled(end)]
            if end.charged == Tokens::new(25) && end.repeated == passing_on),
        "settled once: {again:?}"
    );
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(25), Tokens::ZERO),
        "charged once"
    );
    assert!(store.totals().await.unwrap().balance());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_done_without_a_word_is_done_once() {
    repeating_is_safe(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_done_by_the_repeat() {
    repeating_is_safe(false).await;
}
