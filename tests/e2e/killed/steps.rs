//! Kills at each step of a request by its name.

use futures_util::future::join_all;
use support::{Dice, Lock, Server, in_time, rounds};

use super::caller::{Caller, Stream, check, rig};
use super::rig::Rig;

const CALLERS: usize = 3;
/// Tokens of a stream: seven events and `[DONE]`, or one more where it tells its usage.
const TOKENS: u64 = 300;

/// Where all requests of a round are when the gateway is killed.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The journal knows it, the books cannot be written.
    Reserving,
    /// The upstream has it and has not answered.
    Asked,
    /// The head was delivered, and no event.
    Head,
    /// So many events were delivered.
    Event(usize),
    /// Every event was delivered but `[DONE]`.
    LastEvent,
    /// `[DONE]` was delivered; whether it is settled is a matter of luck.
    Done,
    /// `[DONE]` was delivered, and the settlement is committed.
    Settled,
    /// `[DONE]` was delivered, and the settlement cannot be committed.
    Unsettled,
    /// The hold is used up, and its extension cannot be committed.
    Extending,
    /// An answer that is not streamed is being generated.
    WholeAsked,
    /// An answer that is not streamed was delivered.
    WholeDone,
    /// Two events were delivered, and the next two starts are killed too.
    Starting,
}

const STEPS: [Step; 16] = [
    Step::Reserving,
    Step::Asked,
    Step::Head,
    Step::Event(1),
    Step::Event(2),
    Step::Event(4),
    Step::Event(5),
    Step::Event(6),
    Step::LastEvent,
    Step::Done,
    Step::Settled,
    Step::Unsettled,
    Step::Extending,
    Step::WholeAsked,
    Step::WholeDone,
    Step::Starting,
];

/// What lives until the gateway is dead.
#[derive(Default)]
struct Reached {
    streams: Vec<Stream>,
    lock: Option<Lock>,
}

/// Opens a stream each and reads `events` of it, or all but so many with `but`.
async fn open(
    rig: &Rig,
    callers: &mut [Caller],
    dice: &mut Dice,
    read: impl Fn(usize) -> usize,
) -> Vec<Stream> {
    let told = dice.below(2) == 0;
    let each = callers.iter_mut().map(async |caller| {
        let opened = caller.open(&rig.vllm, TOKENS, told, false).await;
        let mut stream = opened.expect("the gateway is there");
        let events = read(stream.len());
        next(caller, &mut stream, events).await;
        stream
    });
    join_all(each).await
}

/// Reads so many more events of a stream.
async fn next(caller: &mut Caller, stream: &mut Stream, events: usize) {
    for _ in 0..events {
        caller.release(stream);
        assert!(caller.read(stream).await, "the gateway is there");
    }
}

/// Reads so many more events of each stream.
async fn all_next(callers: &mut [Caller], streams: &mut [Stream], events: usize) {
    let each = callers.iter_mut().zip(streams);
    join_all(each.map(|(caller, stream)| next(caller, stream, events))).await;
}

/// Waits until nothing is pending in the books.
async fn settled(rig: &Rig) {
    let store = rig.store().await;
    in_time("the settlements", async {
        while store.totals().await.expect("readable").pending > 0 {}
    })
    .await;
}

/// Leads a request of each caller to `step` and kills the gateway there.
async fn kill_at(step: Step, rig: &Rig, server: Server, callers: &mut [Caller], dice: &mut Dice) {
    let folder = rig.folder.path();
    let count = callers.len();
    match step {
        Step::Reserving => {
            let lock = Lock::take(folder);
            let asking = join_all(callers.iter_mut().map(Caller::in_vain));
            let killing = async {
                server.in_progress(count).await;
                server.kill().await;
            };
            tokio::join!(asking, killing);
            return lock.release();
        }
        Step::Asked | Step::WholeAsked => {
            let whole = matches!(step, Step::WholeAsked);
            let asking = join_all(callers.iter_mut().map(async |caller| {
                if whole {
                    assert!(
                        !caller.whole(&rig.vllm, TOKENS, false).await,
                        "not released"
                    );
                } else {
                    let _key = caller.shut(&rig.vllm);
                    caller.in_vain().await;
                }
            }));
            let killing = async {
                let asked = rig.vllm.until(|counts| counts.active == count as u64);
                in_time("the upstream is asked", asked).await;
                server.kill().await;
            };
            tokio::join!(asking, killing);
            return;
        }
        _ => {}
    }
    let mut reached = Reached::default();
    match step {
        Step::Reserving | Step::Asked | Step::WholeAsked => {}
        Step::Head => reached.streams = open(rig, callers, dice, |_| 0).await,
        Step::Event(events) => reached.streams = open(rig, callers, dice, |_| events).await,
        Step::LastEvent => reached.streams = open(rig, callers, dice, |all| all - 1).await,
        Step::Done => reached.streams = open(rig, callers, dice, |all| all).await,
        Step::Settled => {
            reached.streams = open(rig, callers, dice, |all| all).await;
            settled(rig).await;
        }
        Step::Unsettled => {
            reached.streams = open(rig, callers, dice, |all| all - 1).await;
            reached.lock = Some(Lock::take(folder));
            all_next(callers, &mut reached.streams, 1).await;
        }
        Step::Extending => {
            let events = rig.vllm.counts().events;
            reached.streams = open(rig, callers, dice, |_| 1).await;
            reached.lock = Some(Lock::take(folder));
            // The role, and 250 tokens of the 256 that are held at first.
            all_next(callers, &mut reached.streams, 5).await;
            for stream in &reached.streams {
                stream.release_kept();
            }
            let written = events + 7 * count as u64;
            let written = rig.vllm.until(|counts| counts.events >= written);
            in_time("an event that is kept", written).await;
        }
        Step::WholeDone => {
            let each = callers.iter_mut();
            let answered = join_all(each.map(|caller| caller.whole(&rig.vllm, TOKENS, true)));
            assert!(!answered.await.contains(&false), "the gateway is there");
        }
        Step::Starting => reached.streams = open(rig, callers, dice, |_| 2).await,
    }
    server.kill().await;
    if let Some(lock) = reached.lock {
        lock.release();
    }
    if matches!(step, Step::Starting) {
        kill_starts(rig, dice).await;
    }
}

/// Kills the next two starts: once the new process has its own journal, which it has before it settles from
/// those of the dead, and at some moment.
async fn kill_starts(rig: &Rig, dice: &mut Dice) {
    let (folder, url) = (rig.folder.path(), rig.vllm.url());
    let dead = rig.journals();
    Server::kill_starting(folder, &url, || !rig.journals().is_subset(&dead)).await;
    let mut looks = dice.below(2_000);
    let some_time = || {
        let over = looks == 0 || rig.journals().len() == 1;
        looks = looks.saturating_sub(1);
        over
    };
    Server::kill_starting(folder, &url, some_time).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_charges_exactly_what_was_delivered() {
    let rounds = rounds("KILL_ROUNDS", 50).div_ceil(2);
    let mut dice = Dice::seeded();
    let (rig, mut server, mut callers) = rig(CALLERS, None).await;
    for round in 1..=rounds {
        let step = STEPS[round % STEPS.len()];
        for caller in &mut callers {
            caller.turn_to(&server);
        }
        let idle = rig.vllm.until(|counts| counts.active == 0);
        in_time("the upstream knows that the last one is dead", idle).await;
        kill_at(step, &rig, server, &mut callers, &mut dice).await;
        rig.vllm.clear();

        server = rig.serve().await;
        let when = format!("kill {round} of {rounds}, {step:?}");
        check(&rig, &mut callers, &when).await;
        if round % 100 == 0 {
            println!("at each step: {when}");
        }
    }
}
