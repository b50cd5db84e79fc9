//! Kills at any moment.

use std::sync::Arc;

use llm_gate_diesel::PgConfig;
use llm_gate_diesel::test_db::postgres;
use scripted_vllm::ScriptedVllm;
use support::{Dice, in_time, rounds};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::caller::{Caller, check, rig};

const CALLERS: usize = 4;

/// Makes requests of all kinds, one after the other, until the gateway is gone.
async fn call(
    mut caller: Caller,
    vllm: Arc<ScriptedVllm>,
    mut dice: Dice,
    log: Arc<watch::Sender<u64>>,
) -> Caller {
    let written = || log.send_modify(|lines| *lines += 1);
    loop {
        let tokens = *dice.pick(&[1, 30, 50, 120, 300, 700]);
        if dice.below(4) == 0 {
            if !caller.whole(&vllm, tokens, true).await {
                return caller;
            }
            written();
        } else {
            let (told, early) = (dice.below(2) == 0, dice.below(2) == 0);
            let Some(stream) = caller.open(&vllm, tokens, told, early).await else {
                return caller;
            };
            if !caller.read_all(stream, written).await {
                return caller;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_charges_what_was_delivered_and_at_most_one_event_more() {
    let rounds = rounds("KILL_ROUNDS", 50).div_ceil(2);
    kill(rounds, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_the_same_books_in_postgresql() {
    if !postgres::installed() {
        eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let rounds = rounds("KILL_ROUNDS", 50).div_ceil(5);
    kill(rounds, Some(&postgres::config().await)).await;
}

/// Kills a gateway at any moments, so many times.
async fn kill(rounds: usize, database: Option<&PgConfig>) {
    let mut dice = Dice::seeded();
    let (mut rig, mut server, mut callers) = rig(CALLERS, database).await;
    for round in 1..=rounds {
        let vllm = Arc::new(rig.vllm);
        let log = Arc::new(watch::Sender::new(0));
        let before = vllm.counts().requests;
        let mut calling = JoinSet::new();
        for mut caller in callers {
            caller.turn_to(&server);
            let (vllm, log) = (Arc::clone(&vllm), Arc::clone(&log));
            calling.spawn(call(caller, vllm, dice.fork(), log));
        }
        // Behind so many events that clients have, or so many requests that the upstream has.
        if dice.below(2) == 0 {
            let lines = dice.below(60);
            let mut log = log.subscribe();
            let reached = log.wait_for(|written| *written >= lines);
            let reached = in_time("events", reached).await;
            reached.expect("the sender is here");
        } else {
            let requests = before + dice.below(16);
            let reached = vllm.until(|counts| counts.requests >= requests);
            in_time("requests", reached).await;
        }
        // And in between.
        for _ in 0..dice.below(100) {
            tokio::task::yield_now().await;
        }
        server.kill().await;
        callers = calling.join_all().await;
        rig.vllm = Arc::into_inner(vllm).expect("its borrowers have ended");
        // What no request has come to take.
        rig.vllm.clear();

        server = rig.serve().await;
        let when = format!("kill {round} of {rounds}");
        check(&rig, &mut callers, &when).await;
        if round % 100 == 0 {
            println!("at any moment: {when}");
        }
    }
    let sum = |figure: fn(&Caller) -> u64| callers.iter().map(figure).sum::<u64>();
    let (met, ahead) = (sum(|caller| caller.met), sum(|caller| caller.ahead));
    println!(
        "{rounds} kills met {met} requests amid their answers, {ahead} an event ahead of the client"
    );
    assert!(met > 0, "nobody was met at work");
}
