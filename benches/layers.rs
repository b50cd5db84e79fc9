//! What the layers cost over a service that answers at once: CPU time of one exchange.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use llm_gate_benches::cpu::{self, ThreadTime};
use llm_gate_benches::stack::{Case, Setup};
use llm_gate_benches::wire::{self, Asks, Running, Script};

fn layers(criterion: &mut Criterion<ThreadTime>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let stream = wire::events(64, Running::InEveryEvent);
    for (name, asks, script) in [
        (
            "json",
            Asks::Whole,
            Script::json(wire::answer(&wire::text(80))),
        ),
        ("stream_64", Asks::Stream, Script::stream(stream)),
    ] {
        let mut group = criterion.benchmark_group(format!("layers/{name}"));
        for case in Case::ALL {
            let setup = Setup {
                case,
                asks,
                script: script.clone(),
            };
            group.bench_function(BenchmarkId::from_parameter(case.name()), |bencher| {
                bencher.iter_custom(|iterations| setup.measure(iterations));
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = cpu::criterion(); targets = layers }
criterion_main!(benches);
