//! One table at the end: what each layer adds, measured against each other in one run.
//!
//! The stacks take turns, so that whatever the machine does besides meets all of them. Each figure is
//! the median over the turns, in CPU time of the thread.

use std::time::Duration;

use llm_gate_benches::stack::{Case, Setup};
use llm_gate_benches::wire::{self, Asks, Running, Script};

/// The stacks, each one layer more than the one before it.
const STACKS: [(Case, &str); 5] = [
    (Case::Bare, "bare service"),
    (Case::Key, "+ auth (API key)"),
    (Case::KeyCall, "+ call"),
    (Case::KeyCallMeter, "+ meter"),
    (Case::Whole, "+ quota (memory)"),
];
const SHORT: usize = 8;
const LONG: usize = 264;

fn main() {
    // Cargo says so when it runs benches; without it this is a test that all of it works.
    let measures = std::env::args().any(|argument| argument == "--bench")
        && !std::env::args().any(|argument| argument == "--test");
    let (turns, exchanges) = if measures { (51, 2048) } else { (1, 1_u64) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();

    let json = Script::json(wire::answer(&wire::text(80)));
    let stream = |chunks| Script::stream(wire::events(chunks, Running::InEveryEvent));
    let answers = [
        (Asks::Whole, json, exchanges),
        (Asks::Stream, stream(SHORT), exchanges),
        (Asks::Stream, stream(LONG), exchanges.div_ceil(8)),
        (Asks::Running, stream(SHORT), exchanges),
        (Asks::Running, stream(LONG), exchanges.div_ceil(8)),
    ];
    let medians = medians(turns, &answers);
    if !measures {
        return;
    }

    println!("CPU time, median of {turns} turns            request      streamed event, usage");
    println!("                                    not streamed    taken out     left in");
    let mut last = [0.0; 3];
    for ((_, name), exchange) in STACKS.iter().zip(&medians) {
        let event =
            |short: usize, long: usize| (exchange[long] - exchange[short]) / (LONG - SHORT) as f64;
        let figures = [exchange[0], event(1, 2), event(3, 4)];
        let [request, out, left] = figures;
        print!("{name:<34} {request:>10.0} ns {out:>9.1} ns {left:>9.1} ns");
        if last[0] > 0.0 {
            print!(
                "   adds {:>6.0} ns {:>7.1} ns {:>7.1} ns",
                request - last[0],
                out - last[1],
                left - last[2]
            );
        }
        println!();
        last = figures;
    }
    let [bare, .., whole] = &medians[..] else {
        unreachable!("there are five stacks");
    };
    let events = (LONG - SHORT) as f64;
    println!(
        "the whole gate adds {:.2} us to a request, {:.0} ns to a streamed event with running usage \
         taken out, {:.0} ns with it left in",
        (whole[0] - bare[0]) / 1000.0,
        ((whole[2] - whole[1]) - (bare[2] - bare[1])) / events,
        ((whole[4] - whole[3]) - (bare[4] - bare[3])) / events,
    );
}

/// Measures every stack over every answer, in turns, and returns nanoseconds an exchange.
fn medians(turns: usize, answers: &[(Asks, Script, u64)]) -> Vec<Vec<f64>> {
    let mut samples = vec![vec![Vec::with_capacity(turns); answers.len()]; STACKS.len()];
    for _ in 0..turns {
        for ((case, _), samples) in STACKS.iter().zip(&mut samples) {
            for ((asks, script, exchanges), samples) in answers.iter().zip(samples) {
                let setup = Setup {
                    case: *case,
                    asks: *asks,
                    script: script.clone(),
                };
                samples.push(setup.measure(*exchanges) / u32::try_from(*exchanges).unwrap_or(1));
            }
        }
    }
    let median = |mut samples: Vec<Duration>| {
        samples.sort_unstable();
        samples[samples.len() / 2].as_nanos() as f64
    };
    let all = samples.into_iter();
    all.map(|stack| stack.into_iter().map(median).collect())
        .collect()
}
