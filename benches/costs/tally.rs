//! Adds one gap between tokens to a histogram.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use servegauge::internals::DurationSketch;

pub(crate) fn bench(criterion: &mut Criterion) {
    // The gaps are around 20 ms and do not all fall into one bucket. A coprime step visits them in no order.
    let gaps: Vec<_> =
        (0..4096).map(|i| Duration::from_nanos(18_000_000 + i * 2_654_435_761 % 4_000_000)).collect();
    let mut group = criterion.benchmark_group("tally");
    group.throughput(Throughput::Elements(gaps.len() as u64));
    let mut tally = DurationSketch::default();
    group.bench_function("record", |bencher| {
        bencher.iter(|| black_box(&gaps).iter().for_each(|gap| tally.record(*gap)));
    });
    group.finish();
}
