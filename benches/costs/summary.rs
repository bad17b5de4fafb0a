//! Summarizes a million requests.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use servegauge::internals::{DurationSketch, Events, Milestone};
use servegauge::{Metrics, Record, Slo, Timestamps, TokenCount, TokenSource};

const REQUESTS: usize = 1_000_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let records: Vec<_> = (0..REQUESTS).map(record).collect();
    let mut itl = DurationSketch::default();
    (0..100_000).for_each(|i| itl.record(Duration::from_nanos(18_000_000 + i * 40)));
    let slo = Slo { ttft: Some(Duration::from_millis(200)), ..Slo::default() };
    let mut group = criterion.benchmark_group("summary");
    group.sample_size(10);
    group.bench_function("10^6 records", |bencher| {
        bencher.iter(|| Metrics::compute(black_box(&records), &itl, &slo, &[50.0, 90.0, 99.0]));
    });
    group.finish();
}

/// One request of 500 arrivals a second. The latencies are spread over a second, in no order.
fn record(ordinal: usize) -> Record {
    let due = Duration::from_millis(2) * u32::try_from(ordinal).expect("a million fits");
    let spread = |prime: usize| Duration::from_micros((ordinal * prime % 1_000_003) as u64);
    let first_token = due + Duration::from_millis(50) + spread(7919);
    let last_token = first_token + Duration::from_secs(2) + spread(104_729);
    let mut events = Events::default();
    (0..3).for_each(|second| events.note(first_token + Duration::from_secs(second)));
    let tokens = |count| TokenCount { count, source: TokenSource::Usage };
    let times = Timestamps::new(due)
        .with_time(Milestone::Sent, due + Duration::from_micros(40))
        .with_time(Milestone::FirstToken, first_token)
        .with_time(Milestone::LastToken, last_token)
        .with_time(Milestone::Done, last_token);
    let id = Some(format!("bench-0123abcd-{ordinal}").into());
    Record::answered(ordinal, id, times, [tokens(256), tokens(128)], events)
}
