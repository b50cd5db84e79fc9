//! How fast the meter reads answers: bytes a second of CPU time, through `TokenMeterLayer` as users get
//! it, request and head included.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_gate_benches::cpu::{self, ThreadTime};
use llm_gate_benches::stack::{Case, Setup};
use llm_gate_benches::wire::{self, Asks, Running, Script};

/// How many chunks a stream has here: so many that the head does not matter.
const CHUNKS: usize = 4096;
const FRAME: usize = 16 << 10;

fn scan(criterion: &mut Criterion<ThreadTime>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let running = wire::events(CHUNKS, Running::InEveryEvent);
    let at_the_end = wire::events(CHUNKS, Running::AtTheEnd);
    let json = |bytes: usize| Script::json(wire::answer(&wire::text(bytes)));
    let cases = [
        // Usage is asked for, or nobody knows what was: nothing is taken out.
        (
            "sse_running/event",
            Case::KeyCallMeter,
            Asks::Running,
            Script::stream(running.clone()),
        ),
        (
            "sse_running/16KiB",
            Case::KeyCallMeter,
            Asks::Running,
            Script::stream(wire::frames(&running, FRAME)),
        ),
        (
            "sse_final/event",
            Case::Meter,
            Asks::Stream,
            Script::stream(at_the_end.clone()),
        ),
        (
            "sse_final/16KiB",
            Case::Meter,
            Asks::Stream,
            Script::stream(wire::frames(&at_the_end, FRAME)),
        ),
        (
            "sse_taken_out/event",
            Case::KeyCallMeter,
            Asks::Stream,
            Script::stream(running.clone()),
        ),
        (
            "sse_taken_out/16KiB",
            Case::KeyCallMeter,
            Asks::Stream,
            Script::stream(wire::frames(&running, FRAME)),
        ),
        ("json/1KiB", Case::Meter, Asks::Whole, json(1 << 10)),
        ("json/1MiB", Case::Meter, Asks::Whole, json(1 << 20)),
    ];
    let mut group = criterion.benchmark_group("scan");
    for (name, case, asks, script) in cases {
        group.throughput(Throughput::Bytes(script.bytes() as u64));
        let setup = Setup { case, script, asks };
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| setup.measure(iterations));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = cpu::criterion(); targets = scan }
criterion_main!(benches);
