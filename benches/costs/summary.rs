//! Summing up a million requests.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use servebench::core::metrics::Metrics;
use servebench::core::record::{Events, Finish, Input, Record, Times, TokenCount, TokenSource};
use servebench::core::spec::Slo;
use servebench::core::stats::Tally;

const REQUESTS: usize = 1_000_000;

pub fn bench(criterion: &mut Criterion) {
    let records: Vec<_> = (0..REQUESTS).map(record).collect();
    let mut itl = Tally::default();
    (0..100_000).for_each(|i| itl.record(Duration::from_nanos(18_000_000 + i * 40)));
    let slo = Slo { ttft: Some(Duration::from_millis(200)), ..Slo::default() };
    let mut group = criterion.benchmark_group("summary");
    group.sample_size(10);
    group.bench_function("10^6 records", |bencher| {
        bencher.iter(|| Metrics::of(black_box(&records), &itl, &slo, &[50.0, 90.0, 99.0]));
    });
    group.finish();
}

/// One of 500 arrivals a second; latencies spread over a second, in no order.
fn record(ordinal: usize) -> Record {
    let due = Duration::from_millis(2) * u32::try_from(ordinal).expect("a million fits");
    let spread = |prime: usize| Duration::from_micros((ordinal * prime % 1_000_003) as u64);
    let first_token = due + Duration::from_millis(50) + spread(7919);
    let last_token = first_token + Duration::from_secs(2) + spread(104_729);
    let mut events = Events::default();
    (0..3).for_each(|second| events.note(first_token + Duration::from_secs(second)));
    let tokens = |count| TokenCount { count, source: TokenSource::Usage };
    Record {
        ordinal,
        id: format!("bench-0123abcd-{ordinal}"),
        times: Times {
            due,
            sent: Some(due + Duration::from_micros(40)),
            first_token: Some(first_token),
            last_token: Some(last_token),
            done: Some(last_token),
            ..Times::default()
        },
        prompt_tokens: tokens(256),
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        leaves_after: None,
        output_tokens: tokens(128),
        events,
        outcome: Ok(Finish::Length),
        input: Input::default(),
        facets: None,
        text: None,
    }
}
