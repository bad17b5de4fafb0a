//! One wake-up of the pacer: setting the timer, sleeping, and waking up.
//!
//! Most of the time of a wake-up is the wait. This benchmark therefore measures the whole cycle for a wait of 50 µs.
//! The time beyond these 50 µs is the cost of a wake-up plus its lateness.

use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use servegauge::internals::Pacer;

const WAIT: Duration = Duration::from_micros(50);

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let mut pacer = runtime.block_on(async { Pacer::new(&Rc::default()) }).expect("a timer can be made");
    let mut group = criterion.benchmark_group("pace");
    group.bench_function("wait of 50 µs", |bencher| {
        bencher.iter_custom(|rounds| runtime.block_on(wake(&mut pacer, rounds, WAIT)));
    });
    // A late schedule has this cost for every request.
    group.bench_function("no wait", |bencher| {
        bencher.iter_custom(|rounds| runtime.block_on(wake(&mut pacer, rounds, Duration::ZERO)));
    });
    group.finish();
}

async fn wake(pacer: &mut Pacer, rounds: u64, wait: Duration) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        pacer.sleep_until(Instant::now() + wait).await.expect("the timer works");
    }
    start.elapsed()
}
