use super::*;
use crate::model::record::{
    Events, Failure, FinishReason, Milestone, RequestLabels, RequestTraits, Timestamps,
};
use crate::testing::queue::Queue;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// A request with `tokens` tokens in the same number of events, evenly spaced from `first` to `last` (ms).
fn answered(due: u64, sent: u64, first: u64, last: u64, tokens: u32) -> Record {
    let mut events = Events::default();
    for i in 0..tokens {
        events.note(ms(first) + ms(last - first) * i / (tokens - 1).max(1));
    }
    let count = |count| TokenCount { count, source: TokenSource::Usage };
    Record {
        ordinal: 0,
        id: None,
        times: Timestamps::new(ms(due))
            .with_time(Milestone::Sent, ms(sent))
            .with_time(Milestone::Headers, ms(first))
            .with_time(Milestone::FirstChunk, ms(first))
            .with_time(Milestone::FirstToken, ms(first))
            .with_time(Milestone::LastToken, ms(last))
            .with_time(Milestone::Done, ms(last)),
        prompt_tokens: count(10),
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        server_times: None,
        output_tokens: count(tokens),
        events,
        outcome: Ok(FinishReason::Length),
        traits: None,
        facets: None,
        text: None,
    }
}

fn failed(sent: u64, done: u64, class: FailureClass) -> Record {
    let mut record = answered(sent, sent, sent, done, 1);
    record.times.set(Milestone::FirstToken, None);
    record.outcome = Err(Failure::new(class, format!("at {sent}")).into());
    record
}

fn leaves_after(after: Duration) -> Option<Box<RequestTraits>> {
    RequestTraits { leaves_after: after.into(), ..RequestTraits::default() }.boxed()
}

fn sum(records: &[Record], slo: &Slo) -> Metrics {
    Metrics::compute(records, &DurationSketch::default(), slo, &[99.0])
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

/// A request of three texts that was answered with vectors.
fn pooled(sent: u64, done: u64) -> Record {
    let mut record = answered(sent, sent, done, done, 0);
    record.times.set(Milestone::FirstToken, None);
    record.traits = RequestTraits { sequences: 3, ..RequestTraits::default() }.boxed();
    record
}

#[test]
fn what_pools_has_input_sequences_and_nothing_that_is_generated() {
    let metrics = sum(&[pooled(0, 500), pooled(500, 2000)], &Slo::default());
    let value = |key: &str| (scalar(key).unwrap().value)(&metrics);
    assert_eq!((metrics.input_sequences, value("input_sequence_throughput")), (Some(6), Some(3.0)));
    assert_eq!((value("input_throughput"), value("total_token_throughput")), (Some(10.0), Some(10.0)));
    assert_eq!((value("output_throughput"), metrics.peak_output_tokens_per_s), (None, None));
    assert!(metrics.output_tokens.requests_by_source.is_empty());
    let latencies: Vec<_> = metrics.latencies.keys().copied().collect();
    assert_eq!(latencies, [Latency::E2e, Latency::E2eFromDue, Latency::Lag]);
    let long: Vec<_> = (0..12).map(|i| pooled(1000 * i, 1000 * (i + 1))).collect();
    let intervals = sum(&long, &Slo::default()).rate_intervals;
    assert!(
        intervals.contains_key("input_sequence_throughput") && !intervals.contains_key("output_throughput")
    );
}

#[test]
fn one_answer_whose_tokens_nobody_counted_makes_no_run_of_vectors() {
    let metrics = sum(&[answered(0, 0, 500, 1000, 20), pooled(500, 2000)], &Slo::default());
    assert_eq!((metrics.input_sequences, metrics.output_tokens.total), (None, 20));
    assert_eq!((scalar("output_throughput").unwrap().value)(&metrics), Some(10.0));
}

#[test]
fn an_answer_in_one_piece_has_its_tokens_when_it_ends() {
    let mut record = answered(0, 0, 2000, 2000, 40);
    record.times.set(Milestone::FirstToken, None);
    record.events = Events::default();
    assert_eq!(record.tokens_by_second().collect::<Vec<_>>(), [(2, 40.0)]);
    let metrics = sum(&[record], &Slo::default());
    assert_eq!((scalar("output_throughput").unwrap().value)(&metrics), Some(20.0));
    assert_eq!(metrics.peak_output_tokens_per_s, None, "nobody knows when they were made");
    assert!(
        !metrics.latencies.contains_key(&Latency::Ttft) && !metrics.latencies.contains_key(&Latency::Tpot)
    );
}

#[test]
fn recordings_have_their_length_over_the_time() {
    let mut records = [answered(0, 0, 100, 1000, 10), answered(500, 500, 600, 2000, 30)];
    let traits = RequestTraits { audio: ms(7000).into(), ..RequestTraits::default() };
    records.iter_mut().for_each(|record| record.traits = traits.boxed());
    let metrics = sum(&records, &Slo::default());
    assert_eq!((scalar("rtfx").unwrap().value)(&metrics), Some(7.0));
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
    let slo = Slo { ttft: Some(ms(150)), tpot: Some(ms(50)), ..Slo::default() };
    let records = [
        answered(0, 0, 100, 1000, 100), // good
        answered(0, 0, 200, 1000, 100), // late first token
        answered(0, 0, 100, 1000, 10),  // slow tokens: 100 ms
        answered(0, 0, 150, 150, 1),    // one token, exactly on the limit, and nothing after it: good
        failed(0, 10, FailureClass::EmptyStream),
    ];
    let metrics = sum(&records, &slo);
    assert_eq!(metrics.good, Some(2));
    assert_eq!((scalar("request_goodput").unwrap().value)(&metrics), Some(2.0));
}

#[test]
fn what_an_slo_limits_and_nobody_measured_is_not_good() {
    let mut records = [10, 50, 50].map(|tokens| answered(0, 0, 100, 1000, tokens));
    for record in &mut records[1..] {
        record.events.count = 1;
        record.times.set(Milestone::LastToken, record.times.first_token());
    }
    let slo = Slo { tpot: Some(ms(200)), ..Slo::default() };
    let metrics = sum(&records, &slo);
    assert_eq!(metrics.judged, Some(SloCounts { requests: 3, good: 1, unmeasured: 2 }));
    assert_eq!((metrics.good, metrics.latencies[&Latency::Tpot].n), (Some(1), 1));
    assert_eq!((scalar("goodput_ratio").unwrap().value)(&metrics), Some(1.0 / 3.0));
    let unlimited = Slo { ttft: Some(ms(200)), ..Slo::default() };
    assert_eq!(sum(&records, &unlimited).good, Some(3), "a limit on something else");
    let late = Slo { ttft: Some(ms(50)), ..slo };
    assert_eq!(sum(&records, &late).judged.unwrap().unmeasured, 0, "they missed another limit anyway");
}

#[test]
fn vllms_tpot_is_kept_where_it_is_another() {
    let same = sum(&[answered(0, 0, 100, 1000, 10)], &Slo::default());
    assert_eq!((&same.vllm_tpot, same.vllm_tpot().unwrap().mean), (&None, ms(100)));
    let mut grouped = answered(0, 0, 100, 1000, 10);
    grouped.output_tokens.count = 31;
    let metrics = sum(&[grouped], &Slo::default());
    assert_eq!(metrics.latencies[&Latency::Tpot].mean, ms(900).div_f64(27.9));
    assert_eq!(metrics.vllm_tpot().unwrap().mean, ms(30));
    assert_eq!(metrics.first_event_by_source, [(TokenSource::Estimate, 1)].into());
}

/// 1,000 answers of 1 s and 1,000 of 10 s. Half of each have a user who leaves after 5 s: those users see only the
/// short answers.
fn a_two_point_law() -> Vec<Record> {
    let record = |i: u64| {
        let e2e = if i.is_multiple_of(2) { 1_000 } else { 10_000 };
        let mut record = answered(100 * i, 100 * i, 100 * i + e2e / 2, 100 * i + e2e, 11);
        if i % 4 < 2 {
            record.traits = leaves_after(ms(5_000));
        }
        if record.has_early_cancel() && e2e > 5_000 {
            record.times.set(Milestone::LastToken, ms(100 * i + 5_000));
            record.times.set(Milestone::Done, record.times.last_token());
            record.outcome = Err(Failure::new(FailureClass::Abandoned, "").into());
        }
        record
    };
    (0..2_000).map(record).collect()
}

#[test]
fn users_who_leave_do_not_make_the_server_look_faster() {
    let records = a_two_point_law();
    let slo = Slo { e2e: Some(ms(2_000)), ..Slo::default() };
    let metrics = sum(&records, &slo);
    assert_eq!((metrics.completed, metrics.abandoned, metrics.answered_before_leaving), (1_500, 500, 500));
    let mean = |latency: Latency| (metrics.latencies[&latency].n, metrics.latencies[&latency].mean);
    assert_eq!(mean(Latency::E2e), (1_000, ms(5_500)), "the mean of the law");
    assert_eq!(mean(Latency::Ttft), (1_000, ms(2_750)));
    assert_eq!(mean(Latency::Tpot), (1_000, ms(275)));
    assert_eq!(metrics.latencies[&Latency::E2e].median, ms(5_500), "between the two");
    assert_eq!(metrics.latencies[&Latency::E2e].percentiles[0].value, ms(10_000));
    assert_eq!(metrics.judged, Some(SloCounts { requests: 1_000, good: 500, unmeasured: 0 }));
    assert_eq!((metrics.good, successes(&records, &slo).count()), (Some(1_000), 1_000));
}

#[test]
fn the_peak_is_never_below_the_average_when_events_carry_several_tokens() {
    // 40 tokens in 10 events within two seconds: counting events would give at most 10/s, the average is 20/s.
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

#[test]
fn a_window_counts_who_started_for_latencies_and_who_ended_for_throughput() {
    let records = [
        answered(100, 100, 200, 2500, 24),         // started before, ended within
        answered(2100, 2100, 2200, 2900, 8),       // within
        answered(3500, 3500, 3900, 9000, 52),      // started within, ended after
        answered(9000, 9000, 9100, 9200, 2),       // after
        failed(2500, 2600, FailureClass::Connect), // within
    ];
    let window = SteadyWindow { start: ms(2000), end: ms(4000), requests: 3 };
    let metrics = Metrics::compute_window(&window, &records, &Slo::default(), &[99.0]);
    assert_eq!((metrics.duration, metrics.completed, metrics.failed), (ms(2000), 2, 1));
    assert_eq!(metrics.latencies[&Latency::Ttft].n, 2);
    assert_eq!(metrics.latencies[&Latency::Ttft].mean, ms(250));
    assert_eq!(metrics.input_tokens.total, 20);
    // 6 of the first (2.0 to 2.5 s), 8 of the second, 2 of the third (3.9 and 4.0 s: the latter is outside).
    let in_window = |record: &Record| -> u32 {
        record.events.by_second.iter().filter(|(second, _)| (2..4).contains(second)).map(|(_, n)| n).sum()
    };
    let tokens: u32 = records[..4].iter().map(in_window).sum();
    assert_eq!(metrics.output_tokens.total, u64::from(tokens));
    assert_eq!((metrics.offered_rate, metrics.peak_in_flight), (Some(1.5), 2));
    assert!(!metrics.latencies.contains_key(&Latency::Itl), "the records kept no gaps");
}

#[test]
fn a_window_has_itl_where_the_records_keep_their_gaps() {
    let mut record = answered(100, 100, 200, 400, 3);
    record.events.gaps = Some([ms(80), ms(120)].into_iter().collect());
    let window = SteadyWindow { start: ms(0), end: ms(1000), requests: 1 };
    let metrics = Metrics::compute_window(&window, &[record], &Slo::default(), &[]);
    assert_eq!(metrics.latencies[&Latency::Itl].mean, ms(100));
}

#[test]
fn gaps_of_failures_and_of_users_who_are_to_leave_count_for_nothing() {
    let gaps = |record: Record| {
        let (count, times) = (record.events.count - 1, record.times);
        let gap = (times.last_token().unwrap() - times.first_token().unwrap()) / count;
        let gaps = std::iter::repeat_n(gap, count as usize).collect();
        Record { events: Events { gaps: Some(gaps), ..record.events.clone() }, ..record }
    };
    let mut records =
        [answered(0, 0, 100, 1000, 10), answered(0, 0, 100, 5000, 50), answered(0, 0, 100, 9000, 90)]
            .map(gaps);
    records[1].outcome = Err(Failure::new(FailureClass::BrokenStream, "").into());
    records[2].traits = leaves_after(ms(10_000));
    assert_eq!(gap_sums(&records).collect::<Vec<_>>(), [(ms(900), 9)]);
    assert_eq!(super::gaps(&records).collect::<Vec<_>>(), [ms(100); 9]);
    let window = SteadyWindow { start: ms(0), end: ms(10_000), requests: 3 };
    assert_eq!(
        Metrics::compute_window(&window, &records, &Slo::default(), &[]).latencies[&Latency::Itl].n,
        9
    );
}

#[test]
fn a_window_of_everything_says_what_the_run_says() {
    let queue = Queue::default();
    let records = queue.open(500, queue.rate(0.7));
    let whole = sum(&records, &Slo::default());
    let end = Duration::from_secs(whole.duration.as_secs() + 1);
    let all = SteadyWindow { start: Duration::ZERO, end, requests: 500 };
    let window = Metrics::compute_window(&all, &records, &Slo::default(), &[99.0]);
    assert_eq!((window.completed, &window.latencies), (whole.completed, &whole.latencies));
    assert_eq!((window.input_tokens, window.output_tokens), (whole.input_tokens, whole.output_tokens));
}

#[test]
fn throughputs_of_ten_seconds_and_more_have_intervals_that_hold_them() {
    let queue = Queue::default();
    let records = queue.open(1000, queue.rate(0.7));
    let slo = Slo { ttft: Some(ms(70)), ..Slo::default() };
    let metrics = sum(&records, &slo);
    let generated = ["input_sequence_throughput", "rtfx"].map(|key| (scalar(key).unwrap().value)(&metrics));
    assert_eq!(generated, [None, None]);
    for (scalar, value) in SCALARS.iter().filter_map(|scalar| Some((scalar, (scalar.value)(&metrics)?))) {
        let interval = metrics.rate_intervals[scalar.key];
        if scalar.key == "failure_rate" {
            assert!(value == 0.0 && interval.low == 0.0 && interval.high < 0.01, "{interval:?}");
            continue;
        }
        assert!(interval.low < value && value < interval.high, "{}: {value} {interval:?}", scalar.key);
        assert!(interval.high < 2.0 * value, "{}: {value} {interval:?}", scalar.key);
    }
    let short = sum(&records[..100], &slo).rate_intervals;
    let known: Vec<&str> = short.keys().map(String::as_str).collect();
    assert_eq!(known, ["failure_rate", "goodput_ratio"], "rates have none: it took less than ten seconds");
}

#[test]
fn request_throughput_of_poisson_arrivals_is_covered() {
    let covers = |seed: u64| {
        let queue = Queue { seed, servers: 50, ..Queue::default() };
        let metrics = sum(&queue.open(1000, 20.0), &Slo::default());
        let interval = metrics.rate_intervals["request_throughput"];
        interval.low <= 20.0 && 20.0 <= interval.high
    };
    let covered = (0..100).filter(|&seed| covers(seed)).count();
    assert!(covered >= 88, "{covered} of 100");
}

#[test]
fn tokens_per_event_are_spread_over_the_requests_that_somebody_counted() {
    let mut records = [1, 2, 6].map(|tokens| {
        let mut record = answered(0, 0, 100, 200, 10);
        record.output_tokens.count = tokens * 10;
        record
    });
    let spread = sum(&records, &Slo::default()).tokens_per_event.unwrap();
    assert_eq!((spread.n, spread.min, spread.mean, spread.p50, spread.max), (3, 1.0, 3.0, 2.0, 6.0));
    records.iter_mut().for_each(|record| record.output_tokens.source = TokenSource::Events);
    assert_eq!(sum(&records, &Slo::default()).tokens_per_event, None);
}

#[test]
fn gaps_have_intervals_from_the_requests_they_belong_to() {
    let queue = Queue::default();
    let records = queue.open(300, queue.rate(0.5));
    let gaps = records.iter().flat_map(|record| {
        let (count, times) = (record.events.count - 1, record.times);
        vec![(times.last_token().unwrap() - times.first_token().unwrap()) / count; count as usize]
    });
    let metrics = Metrics::compute(&records, &gaps.collect(), &Slo::default(), &[99.0]);
    let itl = &metrics.latencies[&Latency::Itl];
    let (mean, median) = (itl.mean_interval.unwrap(), itl.median_interval.unwrap());
    assert!(mean.low <= itl.mean && itl.mean <= mean.high, "{itl:?}");
    assert!(median.low <= itl.median && itl.median <= median.high, "{itl:?}");
    assert!(itl.n > 3000 && itl.percentiles[0].effective_n <= 300, "{itl:?}");
}

#[test]
fn goodput_is_judged_from_due_unless_asked_otherwise() {
    let due = Slo { ttft: Some(ms(150)), ..Slo::default() };
    let sent = Slo { from: SloFrom::Sent, ..due.clone() };
    // Sent 100 ms late and answered 100 ms after that: the user waited 200 ms.
    let records = [answered(0, 100, 200, 1000, 10)];
    assert_eq!(sum(&records, &due).good, Some(0));
    assert_eq!(sum(&records, &sent).good, Some(1));
}

#[test]
fn a_class_with_limits_of_its_own_is_held_to_those() {
    let of = |class: &str| {
        let facets = RequestLabels { class: Some(class.into()), ..RequestLabels::default() };
        Record { facets: Some(facets.into()), ..answered(0, 0, 100, 1000, 10) }
    };
    let strict = Slo { ttft: Some(ms(50)), ..Slo::default() };
    let slo = Slo { ttft: Some(ms(200)), classes: [("chat".to_owned(), strict)].into(), ..Slo::default() };
    assert_eq!(sum(&[of("chat"), of("batch"), answered(0, 0, 100, 1000, 10)], &slo).good, Some(2));
    let only_chat = Slo { ttft: None, ..slo };
    assert_eq!(sum(&[of("chat"), of("batch")], &only_chat).good, Some(1));
}
