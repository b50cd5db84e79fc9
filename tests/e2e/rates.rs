//! Who floods the gate is kept out before anything is looked up; who does not is served.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_util::future::join_all;
use llm_gate::auth::ApiKeySecret;
use llm_gate::store::LedgerStore;
use llm_gate::test_util::ManualClock;
use llm_gate_diesel::{PgConfig, PgStore};
use llm_gate_gateway::config::Config;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::ScriptedVllm;
use support::{Client, Front, Person, WatchedStore, World, chat, database, in_time};
use tempfile::TempDir;

const WRONG_KEYS: usize = 10_000;
/// Enough where all that is asked is what each of two gateways lets through: every guess takes a port.
const FEWER: usize = 2_000;
/// What `rate_limits.failures_per_address` is unless set.
const ALLOWED: usize = 120;

/// Guesses so many keys from an address of its own, while `ada` is served; returns how many guesses were wrong and how
/// many were throttled.
async fn flood(ada: &Person, nobody: Client, guesses: usize) -> (usize, usize) {
    let ask = chat("Hi").max_tokens(3);
    let attacker = nobody.from(Ipv4Addr::new(127, 0, 0, 2).into());
    let (mut wrong, mut throttled) = (0, 0);
    for _ in 0..guesses / 100 {
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
    (wrong, throttled)
}

#[tokio::test]
async fn wrong_keys_of_one_address_are_not_looked_up_for_long_and_another_address_is_served() {
    // Time stands still, so none of it comes back.
    let world = World::builder().clock(ManualClock::new()).start().await;
    let ada = world.register().await;
    let before = world.store().tally();
    let counts = flood(&ada, world.client(), WRONG_KEYS).await;
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
    let counts = flood(&ada, Client::new(address), FEWER).await;
    // Each counts for itself, in memory.
    assert_eq!(counts, (2 * ALLOWED, FEWER - 2 * ALLOWED));
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
