//! Who floods the gate is kept out before anything is looked up; who does not is served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use llm_gate::auth::ApiKeySecret;
use llm_gate::store::LedgerStore;
use llm_gate::test_util::ManualClock;
use llm_gate_diesel::{PgConfig, PgStore};
use llm_gate_gateway::config::Config;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::ScriptedVllm;
use support::{Answer, Front, Person, WatchedStore, World, chat, database, in_time};
use tempfile::TempDir;
use tokio::net::TcpSocket;

const WRONG_KEYS: usize = 10_000;
/// How many connections the guesses share: with one each, they would use up the machine's ports.
const LINES: usize = 10;
/// What `rate_limits.failures_per_address` is unless set.
const ALLOWED: usize = 120;
/// Where the guesses come from.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection that is kept for many guesses.
struct Line {
    to: SocketAddr,
    /// Whether it is a front's, which says whom a request is from.
    front: bool,
    sender: SendRequest<Full<Bytes>>,
}

impl Line {
    /// Connects the attacker with a gateway.
    async fn direct(to: SocketAddr) -> Self {
        Self::open(ATTACKER, to, false).await
    }

    /// Connects a front, which the attacker has come to, with one of its gateways.
    async fn of_front(to: SocketAddr) -> Self {
        Self::open(Ipv4Addr::LOCALHOST, to, true).await
    }

    async fn open(from: Ipv4Addr, to: SocketAddr, front: bool) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let bound = socket.bind((from, 0).into());
        bound.expect("an address of this machine");
        let stream = socket.connect(to).await.expect("it listens");
        stream.set_nodelay(true).expect("a connection");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        // Ends with its sender.
        tokio::spawn(connection);
        Self { to, front, sender }
    }

    async fn guess(&mut self) -> Answer {
        // Well-formed, so that only the store could tell.
        let key = ApiKeySecret::generate();
        let mut request = Request::get("/v1/models")
            .header(HOST, self.to.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", key.expose()));
        if self.front {
            request = request.header("x-forwarded-for", ATTACKER.to_string());
        }
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        self.sender.ready().await.expect("the connection is kept");
        let answer = self.sender.send_request(request).await;
        let (head, body) = answer.expect("an answer").into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.expect("a whole answer").to_bytes(),
        }
    }
}

/// Guesses [`WRONG_KEYS`] in turn on `lines`, while `ada` is served; returns how many guesses were wrong and how many were
/// throttled.
async fn flood(ada: &Person, mut lines: Vec<Line>) -> (usize, usize) {
    let ask = chat("Hi").max_tokens(3);
    let (mut wrong, mut throttled) = (0, 0);
    for _ in 0..WRONG_KEYS / 100 {
        let guesses = lines.iter_mut().map(|line| async move {
            let mut answers = Vec::new();
            for _ in 0..100 / LINES {
                answers.push(line.guess().await);
            }
            answers
        });
        let answers = in_time("a hundred guesses", join_all(guesses)).await;
        for answer in answers.into_iter().flatten() {
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
    (wrong, throttled)
}

#[tokio::test]
async fn wrong_keys_of_one_address_are_not_looked_up_for_long_and_another_address_is_served() {
    // Time stands still, so none of it comes back.
    let world = World::builder().clock(ManualClock::new()).start().await;
    let ada = world.register().await;
    let before = world.store().tally();
    let mut lines = Vec::new();
    for _ in 0..LINES {
        lines.push(Line::direct(world.address()).await);
    }
    let counts = flood(&ada, lines).await;
    assert_eq!(counts, (ALLOWED, WRONG_KEYS - ALLOWED));
    let lookups = world.store().tally().key_lookups - before.key_lookups;
    assert_eq!(
        lookups,
        ALLOWED as u64 + 1,
        "one for each guess that was let through, and one for her"
    );
    world.settle().await;
}

/// One of two gateways on one PostgreSQL.
struct One {
    running: Running,
    store: Arc<WatchedStore<PgStore>>,
    _folder: TempDir,
}

impl One {
    async fn start(database: &PgConfig, vllm: &ScriptedVllm, clock: &ManualClock) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut config = Config {
            data_dir: folder.path().to_path_buf(),
            ..Config::default()
        };
        config.server.port = 0;
        config.metrics.port = 0;
        // What tells it whom a request is from.
        let front = IpAddr::from(Ipv4Addr::LOCALHOST).to_string();
        config.server.trusted_proxies = vec![front.parse().expect("an address")];
        config.passwords.memory_kib = 7168;
        config.passwords.iterations = 5;
        config.web_url = Some("http://gate.example".into());
        config.auth.jwt_secret = Some("one secret for both, thirty-two bytes".into());
        config.auth.api_key_pepper = Some("one pepper for both, thirty-two bytes".into());
        config.upstream.url = vllm.url();
        let store = PgStore::open(database.clone().database_time(false)).await;
        let store = WatchedStore::new(store.expect("a database"));
        let gateway = Gateway::new(config)
            .store(Arc::clone(&store) as _)
            .durable()
            .clock(Arc::new(clock.clone()));
        let running = gateway.start().await.expect("a gateway");
        running.models_known().await;
        Self {
            running,
            store,
            _folder: folder,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_gateways_lets_as_many_wrong_keys_through_and_serves_another_address() {
    let Some(database) = database().await else {
        return;
    };
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let clock = ManualClock::new();
    let gateways = [
        One::start(&database, &vllm, &clock).await,
        One::start(&database, &vllm, &clock).await,
    ];
    let front = Front::listen().await;
    let address = front.address;
    front.by_request(gateways.iter().map(|one| one.running.address).collect());
    let ada = Person::register(address, "ada").await;
    let lookups = || {
        gateways
            .each_ref()
            .map(|one| one.store.tally().key_lookups as usize)
    };
    let before = lookups();
    let mut lines = Vec::new();
    // Every guess goes to the other one.
    for one in gateways.iter().cycle().take(LINES) {
        lines.push(Line::of_front(one.running.address).await);
    }
    let counts = flood(&ada, lines).await;
    // Each counts for itself, in memory.
    assert_eq!(counts, (2 * ALLOWED, WRONG_KEYS - 2 * ALLOWED));
    assert_eq!(
        lookups(),
        before.map(|before| before + ALLOWED + 1),
        "at each one for each guess that was let through, and one for her"
    );
    let settled = async {
        loop {
            let totals = gateways[0].store.totals().await.expect("a database");
            if totals.pending == 0 {
                return totals;
            }
        }
    };
    assert!(in_time("the books", settled).await.balance());
}
