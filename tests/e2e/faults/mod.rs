//! Everything a model server can do wrong, at once: each request is settled once, for what was delivered, and
//! nothing stays held.
//!
//! A server that is not there at all, and what exactly the client is told, is in `upstream.rs`.

mod table;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use futures_util::future::join_all;
use llm_gate::store::Standing;
use scripted_vllm::Answer;
use support::{Ask, World, chat, in_time};

use self::table::{Costs, Fault, OUTPUT, Sees, before, streamed, whole};

/// What each client may spend.
const LIMIT: u64 = 5_000;

impl Fault {
    /// Meets it as somebody new, and returns what the client saw, which must make sense, and how the client stands
    /// in the books then.
    async fn meet(&self, world: &World, number: usize) -> (Option<Sees>, Standing) {
        let person = world.register_with(LIMIT).await;
        let marker = format!("fault-{number};");
        // Once more for a request that is sent again because it met a connection being closed.
        for _ in 0..2 {
            let answer = Answer::Raw(self.script.clone());
            world.vllm().push_for(&marker, answer);
        }
        let answer = person.open(&self.ask(number)).await;
        let status = answer.status.as_u16();
        let ended = answer.to_end().await;
        let done = ended.events.iter().any(|event| event == "[DONE]");
        let told = ended.error().is_some() && !done;
        let sees = match (ended.whole, told) {
            (true, false) => Some(Sees::Status(status)),
            (true, true) => Some(Sees::Ended),
            (false, true) => Some(Sees::Broken),
            (false, false) => None,
        };

        // The others are still at it: wait for this one alone.
        let mut changes = world.store().changes();
        let standing = loop {
            changes.borrow_and_update();
            let standing = world.standing(person.subject()).await;
            if standing.reserved.get() == 0 {
                break standing;
            }
            let changed = in_time("the settlement", changes.changed()).await;
            changed.expect("the store is there");
        };
        (sees, standing)
    }

    /// What it costs, within the limit and beyond it.
    fn cost(&self, number: usize) -> (u64, u64) {
        let prompt = self.ask(number).json().to_string().len() as u64 + 64;
        let cost = match self.costs {
            Costs::Nothing => 0,
            Costs::Exactly(tokens) => tokens,
            Costs::Bound => prompt + OUTPUT,
            Costs::Text(bytes) => prompt + bytes.min(OUTPUT),
            Costs::Beyond(tokens) => return (LIMIT, tokens - LIMIT),
        };
        (cost, 0)
    }

    fn ask(&self, number: usize) -> Ask {
        let ask = chat("Hello").with("user", format!("fault-{number};"));
        let ask = ask.max_tokens(OUTPUT);
        if self.stream { ask.stream() } else { ask }
    }
}

/// Counts the requests that the books know of.
async fn requests(world: &World) -> u64 {
    let count = |connection: &mut SqliteConnection| {
        diesel::select(diesel::dsl::sql::<BigInt>(
            "(SELECT COUNT(*) FROM reservations)",
        ))
        .get_result::<i64>(connection)
    };
    let counted = world.store().database().on_reader(count).await;
    let counted = counted
        .expect("the database is there")
        .expect("it is counted");
    counted.unsigned_abs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_upstream_ends_in_one_settlement_and_holds_nothing() {
    // Long enough for a machine that is busy with other tests, and waited for only by what stalls.
    let world = World::builder().config(|config| {
        config.upstream.idle_timeout_seconds = 3;
        config.upstream.stream_head_timeout_seconds = 3;
        config.upstream.head_timeout_seconds = 3;
    });
    let world = world.start().await;
    let faults = [before(false), before(true), whole(), streamed()];
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    let meeting = faults.iter().enumerate();
    let met = join_all(meeting.map(|(number, fault)| fault.meet(&world, number))).await;
    world.vllm().clear();

    let mut wrong = Vec::new();
    for (number, (fault, (sees, standing))) in faults.iter().zip(met).enumerate() {
        let cost = fault.cost(number);
        if sees != Some(fault.sees) || (standing.used.get(), standing.overage.get()) != cost {
            let (name, stream) = (fault.name, fault.stream);
            let wanted = (fault.sees, cost);
            wrong.push(format!(
                "an upstream that {name} (stream: {stream}): {sees:?}, {standing:?} instead of {wanted:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let totals = world.settle().await;
    let costly = |(number, fault): &(usize, &Fault)| fault.cost(*number).0 > 0;
    let costly = faults.iter().enumerate().filter(costly).count();
    assert_eq!(
        totals.settled, costly as u64,
        "one charge for each that has delivered something"
    );
    assert_eq!(
        requests(&world).await,
        faults.len() as u64,
        "and one end of each request"
    );
    let person = world.register().await;
    let answer = person.chat(&chat("Hello").max_tokens(OUTPUT)).await;
    assert_eq!(answer.status, 200, "the gate has taken no harm");
    world.settle().await;
}
