//! Clients that write down every event they are given, and let the upstream send the next one only then.

use llm_gate::identity::Subject;
use llm_gate::store::LedgerStore;
use llm_gate_diesel::PgConfig;
use scripted_vllm::{Answer, Config, Gate, GateKey, ScriptedVllm, Step};
use serde_json::json;
use support::{Ask, Events, Person, Server, chat, in_time};

use super::reported;
use super::rig::Rig;

/// Tokens of an event: few events, and yet holds that are extended on the way.
const JOINED: u64 = 50;

/// A rig whose model writes many tokens an event, with a database of its own or in `database`, and callers of one
/// account that has no limit.
pub(super) async fn rig(callers: usize, database: Option<&PgConfig>) -> (Rig, Server, Vec<Caller>) {
    let mut config = Config::default();
    config.tokens_per_event = usize::try_from(JOINED).expect("it is small");
    config.keep_requests = 0;
    let mut rig = Rig::with(config).await;
    if let Some(database) = database {
        rig = rig.on(database);
    }
    let server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let store = rig.store().await;
    let unlimited = store.set_limit(ada.subject(), None).await;
    unlimited.expect("the database is there");
    let answer = ada.chat(&ask("nobody").max_tokens(1)).await.json();
    let prompt = answer["usage"]["prompt_tokens"].as_u64().expect("a figure");
    let mut all = Vec::new();
    for number in 0..callers {
        let (key, person) = ada.another_key().await;
        all.push(Caller {
            name: format!("caller-{number}"),
            person,
            key: Subject::Key(key),
            prompt,
            booked: 0,
            sure: 0,
            open: (0, 0),
            met: 0,
            ahead: 0,
        });
    }
    (rig, server, all)
}

/// The same words of everybody; the upstream tells them apart by the member that names the end user.
fn ask(name: &str) -> Ask {
    chat("Hello").with("user", name)
}

/// Somebody with a key of its own, whose counter tells what its requests were charged.
pub(super) struct Caller {
    name: String,
    person: Person,
    key: Subject,
    /// What the prompt takes.
    prompt: u64,
    /// What the key had been charged when the books were checked last.
    booked: u64,
    /// What requests that were answered to their end have cost since.
    sure: u64,
    /// What the request under way has cost with all that was delivered, and with what may be on its way.
    open: (u64, u64),
    /// How many requests a kill has met, and how many of those were charged the one event more.
    pub(super) met: u64,
    pub(super) ahead: u64,
}

/// An event that comes to the client: how many the upstream writes for it, and what it has cost by then.
#[derive(Clone, Copy)]
struct Delivery {
    releases: usize,
    cost: u64,
}

/// A stream under way.
pub(super) struct Stream {
    events: Events,
    key: GateKey,
    told: bool,
    deliveries: Vec<Delivery>,
    /// How many of them the upstream may have sent.
    released: usize,
    /// How many of them were read.
    read: usize,
}

impl Stream {
    /// How many events there are, `[DONE]` included.
    pub(super) const fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Lets the upstream send the next event, which the gateway will keep.
    pub(super) fn release_kept(&self) {
        let next = self.deliveries[self.read];
        self.key.release_many(next.releases);
    }
}

impl Caller {
    /// Turns to a gateway that listens elsewhere.
    pub(super) fn turn_to(&mut self, server: &Server) {
        self.person = self.person.at(server.address);
    }

    /// The events of a stream as the client is given them.
    fn deliveries(&self, tokens: u64, told: bool) -> Vec<Delivery> {
        let one = |tokens| Delivery {
            releases: 1,
            cost: self.prompt + tokens,
        };
        let mut all: Vec<_> = (0..tokens.div_ceil(JOINED))
            .map(|n| one(n * JOINED))
            .collect();
        // Where the usage behind it is taken out, the last text waits for the fingerprint that comes with that.
        all.push(Delivery {
            releases: if told { 1 } else { 2 },
            ..one(tokens)
        });
        if told {
            all.push(one(tokens));
        }
        // `[DONE]`.
        all.push(one(tokens));
        all
    }

    /// Has the upstream answer the next request of this caller step by step.
    fn gate(&self, vllm: &ScriptedVllm) -> GateKey {
        let (gate, key) = Gate::new();
        vllm.push_for(&self.name, Answer::Lockstep { gate });
        key
    }

    /// Has the upstream not even begin to answer the next request of this caller.
    pub(super) fn shut(&self, vllm: &ScriptedVllm) -> GateKey {
        let (gate, key) = Gate::new();
        let script = vec![Step::Wait(gate), Step::Close];
        vllm.push_for(&self.name, Answer::Raw(script));
        key
    }

    /// Opens a stream of so many `tokens`, which is `told` its usage; `None` if the gateway is gone before its
    /// head. The upstream may send the first event `early`, together with the head.
    pub(super) async fn open(
        &mut self,
        vllm: &ScriptedVllm,
        tokens: u64,
        told: bool,
        early: bool,
    ) -> Option<Stream> {
        let key = self.gate(vllm);
        let deliveries = self.deliveries(tokens, told);
        self.open = (0, 0);
        if early {
            self.open.1 = deliveries[0].cost;
            key.release_many(deliveries[0].releases);
        }
        let mut ask = ask(&self.name).max_tokens(tokens).stream();
        if told {
            let usage = json!({ "include_usage": true, "continuous_usage_stats": true });
            ask = ask.with("stream_options", usage);
        }
        let events = self.person.try_open(&ask).await.ok()?;
        assert_eq!(events.status, 200);
        Some(Stream {
            events,
            key,
            told,
            deliveries,
            released: usize::from(early),
            read: 0,
        })
    }

    /// Lets the upstream send the next event, unless it has.
    pub(super) fn release(&mut self, stream: &mut Stream) {
        if stream.released == stream.read {
            let next = stream.deliveries[stream.read];
            self.open.1 = next.cost;
            stream.released += 1;
            stream.key.release_many(next.releases);
        }
    }

    /// Reads the next event and writes it down. Returns whether there was one.
    pub(super) async fn read(&mut self, stream: &mut Stream) -> bool {
        let Ok(Some(event)) = stream.events.next().await else {
            return false;
        };
        let cost = stream.deliveries[stream.read].cost;
        stream.read += 1;
        if stream.read == stream.len() {
            assert_eq!(event, "[DONE]");
        } else if stream.told {
            assert_eq!(reported(&event), cost, "as the upstream says");
        }
        self.open = (cost, cost);
        true
    }

    /// Reads a stream in lockstep to its end, if that comes.
    pub(super) async fn read_all(&mut self, mut stream: Stream, mut written: impl FnMut()) -> bool {
        while stream.read < stream.len() {
            self.release(&mut stream);
            if !self.read(&mut stream).await {
                return false;
            }
            written();
        }
        self.close();
        true
    }

    /// Asks for an answer that is not streamed, which the upstream gives `at_once` or never. Returns whether it
    /// came.
    pub(super) async fn whole(&mut self, vllm: &ScriptedVllm, tokens: u64, at_once: bool) -> bool {
        let key = self.gate(vllm);
        self.open = (0, 0);
        if at_once {
            self.open.1 = self.prompt + tokens;
            key.release();
        }
        let ask = ask(&self.name).max_tokens(tokens);
        let request = self.person.request("/v1/chat/completions", &ask);
        let answer = in_time("an answer, or none", self.person.client.send(request)).await;
        drop(key);
        let Ok(answer) = answer else {
            return false;
        };
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        self.open.0 = self.prompt + tokens;
        self.close();
        true
    }

    /// Sends a request of which nobody will see an answer.
    pub(super) async fn in_vain(&mut self) {
        self.open = (0, 0);
        let ask = ask(&self.name).max_tokens(1).stream();
        let answered = self.person.try_open(&ask).await;
        assert!(answered.is_err(), "the gateway is gone before its head");
    }

    /// The request under way has come to its end.
    fn close(&mut self) {
        self.sure += self.open.0;
        self.open = (0, 0);
    }

    /// Checks what the key was charged since the last time: what was delivered, and of the request that the
    /// kill has met at most one event more.
    pub(super) async fn check(&mut self, store: &dyn LedgerStore, when: &str) {
        let standing = store.standing(self.key).await.expect("readable");
        let charged = standing.used.get() - self.booked;
        let (least, most) = (self.sure + self.open.0, self.sure + self.open.1);
        assert!(
            charged == least || charged == most,
            "{when}, {}: {charged} charged, {least} delivered, {most} with one event more",
            self.name
        );
        assert_eq!(standing.reserved.get(), 0, "{when}: nothing stays held");
        assert_eq!(standing.overage.get(), 0, "{when}: there is no limit");
        self.booked += charged;
        self.met += u64::from(self.open.1 > 0);
        self.ahead += u64::from(charged > least);
        (self.sure, self.open) = (0, (0, 0));
    }
}

/// Checks the books after a start: of each caller, and as a whole.
pub(super) async fn check(rig: &Rig, callers: &mut [Caller], when: &str) {
    let store = rig.store().await;
    for caller in callers.iter_mut() {
        caller.check(&*store, when).await;
    }
    let totals = store.totals().await.expect("readable");
    assert!(totals.balance(), "{when}: {totals:?}");
    assert_eq!(
        (totals.pending, totals.counters_reserved),
        (0, 0),
        "{when}: nothing stays held"
    );
    let user = store.standing(callers[0].person.subject()).await;
    let keys: u64 = callers.iter().map(|caller| caller.booked).sum();
    // One token and a prompt were spent with the account's own key.
    let own = callers[0].prompt + 1;
    assert_eq!(
        user.expect("readable").used.get(),
        keys + own,
        "{when}: the account's counter has what its keys have"
    );
    assert_eq!(
        rig.journals().len(),
        1,
        "{when}: the dead one's journal is gone"
    );
}
