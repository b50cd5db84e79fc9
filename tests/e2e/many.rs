//! Requests of every kind and fate, thousands of them over connections that are kept: in the end the ledger,
//! the counters and the upstream's own count are the same figure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use llm_gate_gateway::config::RateLimitConfig;
use scripted_vllm::{Answer, Config, Fault, Gate, GateKey, Step};
use serde_json::json;
use support::{Ask, Dice, Events, Kept, Person, World, chat, completion, embedding, rounds};
use tokio::task::JoinSet;

const CLIENTS: usize = 64;
const CHAT: &str = "/v1/chat/completions";

/// What becomes of a request. Each is as frequent as its number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Whole,
    Streamed,
    Completion,
    Embedding,
    /// The limit leaves no room.
    Refused,
    /// It is no call that could be understood.
    Malformed,
    /// Nobody knows the key.
    Unknown,
    /// The upstream answers with an error.
    UpstreamRefuses,
    /// The upstream's answer is no HTTP.
    UpstreamBabbles,
    /// The upstream closes the connection instead of an answer.
    UpstreamCloses,
    /// The upstream breaks off a stream.
    UpstreamBreaks,
    /// The client leaves amid a stream.
    Leaves,
}

const FATES: [(Fate, u64); 12] = [
    (Fate::Whole, 350),
    (Fate::Streamed, 300),
    (Fate::Completion, 80),
    (Fate::Embedding, 50),
    (Fate::Refused, 50),
    (Fate::Malformed, 20),
    (Fate::Unknown, 20),
    (Fate::UpstreamRefuses, 40),
    (Fate::UpstreamBabbles, 20),
    (Fate::UpstreamCloses, 20),
    (Fate::UpstreamBreaks, 30),
    (Fate::Leaves, 20),
];

/// Somebody with a connection.
struct Client {
    name: String,
    world: Arc<World>,
    rich: Person,
    poor: Person,
    kept: Kept,
    dice: Dice,
    done: Done,
}

/// What a client has done.
#[derive(Default)]
struct Done {
    fates: BTreeMap<Fate, u64>,
    /// Requests of which something was delivered.
    charged: u64,
    /// Tokens that the upstream has counted and a reset has thrown away on the way to the gateway.
    lost: u64,
    /// What keeps the upstream from going on with streams whose clients have left.
    keys: Vec<GateKey>,
}

impl Client {
    async fn go(mut self, requests: usize) -> Done {
        for number in 0..requests {
            let fate = self.fate();
            let name = format!("{}-{number};", self.name);
            let charged = self.meet(fate, &name).await;
            self.done.charged += u64::from(charged);
            *self.done.fates.entry(fate).or_default() += 1;
        }
        assert!(
            self.kept.connections() <= requests as u64 / 2 + 1,
            "connections are kept"
        );
        self.done
    }

    fn fate(&mut self) -> Fate {
        let all = FATES.iter().map(|(_, share)| share).sum();
        let mut at = self.dice.below(all);
        for (fate, share) in FATES {
            if at < share {
                return fate;
            }
            at -= share;
        }
        unreachable!("the shares add up")
    }

    /// Makes a request, sees to its fate, and returns whether anything of an answer was delivered.
    async fn meet(&mut self, fate: Fate, name: &str) -> bool {
        let tokens = 1 + self.dice.below(12);
        let call = chat("Tell me").max_tokens(tokens).with("user", name);
        let stream = match self.dice.below(2) {
            0 => call.clone().stream(),
            _ => call.clone().stream().usage(),
        };
        let either = match self.dice.below(2) {
            0 => call.clone(),
            _ => stream.clone(),
        };
        match fate {
            Fate::Whole => {
                let call = call.with("n", 1 + self.dice.below(2));
                let answer = self.open(CHAT, &call).await;
                finished(answer, 200).await
            }
            Fate::Streamed => {
                let answer = self.open(CHAT, &stream).await;
                assert!(answer.to_end().await.is_done());
                true
            }
            Fate::Completion => {
                let call = completion("Tell me").max_tokens(tokens);
                let answer = self.open("/v1/completions", &call).await;
                finished(answer, 200).await
            }
            Fate::Embedding => {
                let answer = self.open("/v1/embeddings", &embedding("Tell me")).await;
                finished(answer, 200).await
            }
            Fate::Refused => {
                let request = self.poor.request(CHAT, &either);
                !finished(self.kept.send(request).await, 429).await
            }
            Fate::Malformed => {
                let call = either.with("messages", "none");
                let answer = self.open(CHAT, &call).await;
                !finished(answer, 400).await
            }
            Fate::Unknown => {
                let mut request = self.rich.request(CHAT, &either);
                let key = "Bearer nobody knows it".parse().expect("a header");
                request.headers_mut().insert("authorization", key);
                !finished(self.kept.send(request).await, 401).await
            }
            Fate::UpstreamRefuses => {
                let code = *self.dice.pick(&[400, 404, 429, 500, 503]);
                self.script(name, Answer::error(code, "Scripted", "no"));
                let answer = self.open(CHAT, &either).await;
                !finished(answer, code).await
            }
            Fate::UpstreamBabbles => {
                let babble = vec![Step::text("no HTTP at all\r\n\r\n"), Step::Close];
                self.script(name, Answer::Raw(babble));
                let answer = self.open(CHAT, &either).await;
                !finished(answer, 502).await
            }
            Fate::UpstreamCloses => {
                let fault = *self.dice.pick(&[Fault::Close, Fault::Reset]);
                self.script(name, Answer::Fails { after: 0, fault });
                let answer = self.open(CHAT, &call).await;
                // On a connection that had answered before it is sent again.
                let again = answer.status == 200;
                let status = if again { 200 } else { 502 };
                finished(answer, status).await && again
            }
            Fate::UpstreamBreaks => {
                let fault = *self.dice.pick(&[Fault::Close, Fault::Reset, Fault::Engine]);
                let after = 1 + self.dice.below(tokens);
                self.script(name, Answer::Fails { after, fault });
                let usage = json!({ "include_usage": true, "continuous_usage_stats": true });
                let stream = call.stream().with("stream_options", usage);
                let ended = self.open(CHAT, &stream).await.to_end().await;
                assert!(
                    ended.error().is_some(),
                    "{fault:?} after {after}: {ended:?}"
                );
                // The prompt comes with the first event, a token with each behind it.
                let seen = ended
                    .usage()
                    .map(|usage| usage["completion_tokens"].as_u64());
                let seen = seen
                    .flatten()
                    .expect("the first event was written with the head");
                self.done.lost += after - 1 - seen;
                assert!(
                    fault == Fault::Reset || seen == after - 1,
                    "{fault:?}: {ended:?}"
                );
                true
            }
            Fate::Leaves => {
                let (gate, key) = Gate::new();
                self.script(name, Answer::Lockstep { gate });
                let call = call.stream().usage();
                let mut answer = self.open(CHAT, &call).await;
                let events = self.dice.below(tokens + 1);
                for _ in 0..events {
                    key.release();
                    answer.event().await;
                }
                self.done.keys.push(key);
                events > 0
            }
        }
    }

    fn script(&self, name: &str, answer: Answer) {
        self.world.vllm().push_for(name, answer);
    }

    async fn open(&mut self, path: &str, ask: &Ask) -> Events {
        self.kept.send(self.rich.request(path, ask)).await
    }
}

/// Reads an answer to its end and checks its status.
async fn finished(answer: Events, status: u16) -> bool {
    let answer = answer.collect().await;
    assert_eq!(answer.status, status, "{:?}", answer.json());
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_counters_and_the_upstream_agree_whatever_becomes_of_thousands_of_requests() {
    let requests = rounds("MANY_REQUESTS", 2_000);
    let mut dice = Dice::seeded();
    let world = World::builder()
        .config(|config| config.rate_limits = RateLimitConfig::off())
        .vllm(|vllm: &mut Config| vllm.keep_requests = 0);
    let world = Arc::new(world.start().await);
    let (mut rich, poor) = (Vec::new(), world.register_with(1).await);
    for _ in 0..8 {
        rich.push(world.register_with(1 << 40).await);
    }
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            name: format!("client-{number}"),
            world: Arc::clone(&world),
            rich: rich[number % rich.len()].clone(),
            poor: poor.clone(),
            kept: Kept::new(world.address()),
            dice: dice.fork(),
            done: Done::default(),
        };
        clients.spawn(client.go(requests / CLIENTS + usize::from(number < requests % CLIENTS)));
    }
    let mut all = Done::default();
    while let Some(done) = clients.join_next().await {
        let done = done.expect("no panic");
        for (fate, count) in done.fates {
            *all.fates.entry(fate).or_default() += count;
        }
        all.charged += done.charged;
        all.lost += done.lost;
        all.keys.extend(done.keys);
    }
    let took = started.elapsed();
    // Whoever has left is noticed before its stream could go on.
    world.upstream(|counts| counts.active == 0).await;
    drop(all.keys);

    let totals = world.settle().await;
    let mut used = 0;
    for person in rich.iter().chain([&poor]) {
        used += world.used(person).await;
    }
    let generated = world.generated() - all.lost;
    println!("{requests} requests in {took:.1?}: {:?}", all.fates);
    println!(
        "used {used}, generated {generated} and {} lost, {totals:?}",
        all.lost
    );
    assert_eq!(
        used, generated,
        "as the upstream counted, less what has never arrived"
    );
    assert_eq!(
        (totals.counters_used, totals.ledger_charges),
        (3 * generated, 3 * generated),
        "for the user, the project and the key of each"
    );
    assert_eq!(totals.counters_overage, 0);
    assert_eq!(totals.settled, all.charged, "one settlement each");
    let verified = world.command(&["ledger", "verify"], "").await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    println!("{}", verified.out);
}
