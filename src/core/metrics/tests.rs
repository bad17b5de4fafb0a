use super::*;
use crate::core::record::{Events, Failure, Finish, Times};
use uuid::Uuid;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// A request of `tokens` tokens in as many events, evenly from `first` to `last` (ms).
fn answered(due: u64, sent: u64, first: u64, last: u64, tokens: u32) -> Record {
    let mut events = Events::default();
    for i in 0..tokens {
        events.note(ms(first) + ms(last - first) * i / (tokens - 1).max(1));
    }
    let count = |count| TokenCount { count, source: TokenSource::Usage };
    Record {
        ordinal: 0,
        id: Uuid::nil(),
        times: Times {
            due: ms(due),
            released: None,
            sent: Some(ms(sent)),
            headers: Some(ms(first)),
            first_chunk: Some(ms(first)),
            first_token: Some(ms(first)),
            last_token: Some(ms(last)),
            done: Some(ms(last)),
            ..Times::default()
        },
        prompt_tokens: count(10),
        output_tokens: count(tokens),
        events,
        outcome: Ok(Finish::Length),
        text: None,
    }
}

fn failed(sent: u64, done: u64, class: FailureClass) -> Record {
    let mut record = answered(sent, sent, sent, done, 1);
    record.times.first_token = None;
    record.outcome = Err(Failure::new(class, format!("at {sent}")));
    record
}

fn sum(records: &[Record], slo: &Slo) -> Metrics {
    Metrics::of(records, &Tally::default(), slo, &[99.0])
}

#[test]
fn throughput_is_over_t0_to_the_last_end() {
    let metrics = sum(&[answered(0, 0, 100, 1000, 10), answered(500, 500, 600, 2000, 30)], &Slo::default());
    assert_eq!(metrics.duration, ms(2000));
    let value = |key: &str| (scalar(key).unwrap().value)(&metrics);
    assert_eq!(value("request_throughput"), Some(1.0));
    assert_eq!(value("input_throughput"), Some(10.0));
    assert_eq!(value("output_throughput"), Some(20.0));
    assert_eq!(value("total_token_throughput"), Some(30.0));
    assert_eq!(value("request_goodput"), None);
    assert_eq!(value("failure_rate"), Some(0.0));
}

#[test]
fn failures_count_by_class_and_in_no_latency() {
    let records = [
        answered(0, 0, 100, 1000, 10),
        failed(10, 20, FailureClass::Connect),
        failed(20, 30, FailureClass::Status(500)),
        failed(30, 40, FailureClass::Status(500)),
    ];
    let metrics = sum(&records, &Slo::default());
    assert_eq!((metrics.completed, metrics.failed), (1, 3));
    assert_eq!(metrics.latencies[&Latency::Ttft].n, 1);
    assert_eq!(metrics.latencies[&Latency::Lag].n, 4);
    assert_eq!(metrics.input_tokens.total, 10);
    let counts: Vec<_> = metrics.failures.iter().map(|f| (f.class, f.count, f.example.as_str())).collect();
    assert_eq!(counts, [(FailureClass::Status(500), 2, "at 20"), (FailureClass::Connect, 1, "at 10")]);
}

#[test]
fn a_run_without_answers_has_no_latencies_and_no_zeros() {
    let metrics = sum(&[], &Slo::default());
    assert!(metrics.latencies.is_empty());
    assert!(SCALARS.iter().all(|scalar| (scalar.value)(&metrics).is_none()));
    assert_eq!(metrics.peak_output_tokens_per_s, None);
}

#[test]
fn goodput_needs_every_limit_and_failures_never_meet_it() {
    let slo = Slo { ttft: Some(ms(150)), tpot: Some(ms(50)), e2e: None };
    let records = [
        answered(0, 0, 100, 1000, 100), // good
        answered(0, 0, 200, 1000, 100), // late first token
        answered(0, 0, 100, 1000, 10),  // slow tokens: 100 ms
        answered(0, 0, 150, 150, 1),    // one token, exactly on the limit: good
        failed(0, 10, FailureClass::EmptyStream),
    ];
    let metrics = sum(&records, &slo);
    assert_eq!(metrics.good, Some(2));
    assert_eq!((scalar("request_goodput").unwrap().value)(&metrics), Some(2.0));
}

#[test]
fn the_peak_is_never_below_the_average_when_events_carry_several_tokens() {
    // 40 tokens in 10 events within two seconds: counting events would say at most 10/s, the average is 20/s.
    let mut record = answered(0, 0, 100, 2000, 10);
    record.output_tokens.count = 40;
    let metrics = sum(&[record], &Slo::default());
    assert!(metrics.peak_output_tokens_per_s.unwrap() >= 20.0, "{:?}", metrics.peak_output_tokens_per_s);
}

#[test]
fn the_peak_is_never_below_the_average_of_a_run_of_less_than_a_second() {
    let metrics = sum(&[answered(0, 0, 10, 250, 20)], &Slo::default());
    assert_eq!(metrics.peak_output_tokens_per_s, Some(80.0));
}

#[test]
fn back_to_back_requests_are_one_in_flight() {
    let records = [answered(0, 0, 10, 100, 2), answered(0, 100, 110, 200, 2), answered(0, 150, 160, 300, 2)];
    assert_eq!(sum(&records, &Slo::default()).peak_in_flight, 2);
    assert_eq!(sum(&records[..2], &Slo::default()).peak_in_flight, 1);
}

#[test]
fn offered_and_achieved_rates_are_apart() {
    let records: Vec<_> =
        (1..=10).map(|i| answered(i * 100, i * 200, i * 200 + 10, i * 200 + 20, 2)).collect();
    let metrics = sum(&records, &Slo::default());
    assert_eq!((metrics.offered_rate, metrics.achieved_rate), (Some(10.0), Some(5.0)));
}

#[test]
fn the_keys_of_latencies_are_their_serde_names() {
    for latency in Latency::ALL {
        assert_eq!(serde_json::to_value(latency).unwrap(), latency.key());
        assert_eq!(Latency::from_key(latency.key()), Some(latency));
    }
}
