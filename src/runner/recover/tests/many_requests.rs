//! Runs of more requests than are kept in memory, with a limit that is lowered for the tests.

use std::collections::HashMap;

use super::*;
use crate::model::metrics::{GroupMetrics, Latency, Metrics, ValueSummary};
use crate::model::record::{
    Failure, FailureClass, LateCounts, Milestone, RequestLabels, TokenCount, TokenSource,
};
use crate::model::run_spec::{Load, Slo};
use crate::testing::queue::{closed_load, open_load, spec};

/// The number of requests that the runs of these tests keep in memory.
const LIMIT: usize = 2000;

/// Loads from idle to overloaded, each with its requests.
fn loads(n: usize) -> Vec<(Load, Vec<Record>)> {
    let queue = Queue::default();
    let open =
        |utilisation: f64| (open_load(queue.rate(utilisation)), queue.open(n, queue.rate(utilisation)));
    let closed = |cap: usize| (closed_load(cap), queue.closed(n, cap));
    let mut loads = vec![open(0.3), open(0.7), open(2.4), closed(3), closed(20)];
    // A server that slows down over the run.
    let mut slower = queue.closed(n, 8);
    for record in &mut slower {
        let by = Duration::from_millis(50 * record.ordinal as u64 / 1000);
        record.times.map_time(Milestone::FirstToken, |at| at + by);
    }
    loads.push((closed_load(8), slower));
    loads
}

/// Adds failures, sessions that end with them, classes, and tokens that no number of events divides.
fn varied(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        let ordinal = u32::try_from(record.ordinal).unwrap();
        record.output_tokens.count += ordinal % 3;
        record.facets = Some(Box::new(RequestLabels {
            class: Some(["chat", "code"][record.ordinal % 5 / 3].to_owned()),
            session: Some(ordinal / 4),
            turn: Some(ordinal % 4),
            turns: Some(4),
            ..RequestLabels::default()
        }));
        if record.ordinal % 97 == 13 {
            let detail = format!("of request {ordinal}");
            record.outcome = Err(Failure::new(FailureClass::Status(503), detail).into());
        }
    }
    let has_ended = |record: &Record| (record.ordinal / 4 * 4..record.ordinal).any(|turn| turn % 97 == 13);
    records.retain(|record| !has_ended(record));
    records
}

/// The part of a client, its log in the order in which the requests ended.
fn ended_part(spec: &Spec, share: Option<RunShare>, records: &[Record]) -> ClientPart {
    // No turn of a session ends before the one before it.
    let mut ended_at = HashMap::new();
    let mut ended: Vec<_> = records
        .iter()
        .map(|record| {
            let session = record.facets.as_ref().and_then(|labels| labels.session);
            let at = ended_at.get(&session).copied().filter(|_| session.is_some()).max(record.times.done());
            ended_at.insert(session, at.unwrap_or_default());
            ((at, record.ordinal), record.clone())
        })
        .collect();
    ended.sort_by_key(|(key, _)| *key);
    let ended: Vec<Record> = ended.into_iter().map(|(_, record)| record).collect();
    part(spec, share, &ended)
}

fn alone(spec: &Spec, records: &[Record], limit: usize) -> Recovered {
    let mut part = ended_part(spec, None, records);
    part.summary.header.selection.percents = vec![50.0];
    merge(vec![part], limit).unwrap()
}

fn json(run: &Run) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(&run.to_json()).unwrap();
    json["servegauge"]["validity"]["checks"].as_array_mut().unwrap().retain(|check| {
        let name = check["name"].as_str().unwrap();
        name != "shard_lag" && name != "start_skew"
    });
    json
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_merged_run_is_that_of_one_client_above_the_limit(
        n in 300_usize..700,
        count in 1_usize..17,
        limit in 40_usize..300,
    ) {
        let slo = Slo { ttft: Some(Duration::from_millis(60)), ..Slo::default() };
        let spec = Spec { slo, ..spec(open_load(18.0)) };
        // The turns of a session are sent by one client.
        let records = varied(records(n));
        let of = |index: usize| -> Vec<Record> {
            records.iter().filter(|record| record.ordinal / 4 % count == index).cloned().collect()
        };
        let part = |index: usize| ended_part(&spec, Some(share(index, count)), &of(index));
        let together = merge((0..count).map(part).collect(), limit).unwrap();
        let alone = merge(vec![ended_part(&spec, None, &records)], limit).unwrap();
        prop_assert!(!alone.records.is_whole());
        prop_assert_eq!(together.records.sample(), alone.records.sample());
        let text = |run: &Run| {
            let mut run = run.clone();
            run.validity.checks.retain(|check| {
                ![CheckName::ShardLag, CheckName::StartSkew].contains(&check.name)
            });
            format!("{run:?}")
        };
        prop_assert_eq!(json(&together.run), json(&alone.run));
        prop_assert_eq!(text(&together.run), text(&alone.run));
    }
}

fn assert_close(got: Duration, exact: Duration, what: &str) {
    let (got, exact) = (got.as_secs_f64(), exact.as_secs_f64());
    assert!((got - exact).abs() <= exact * 0.002 + 2e-9, "{what}: {got} instead of {exact}");
}

/// What is exact above the limit, and percentiles within the precision of their histograms.
fn assert_same(many: &Metrics, exact: &Metrics) {
    for (latency, distribution) in &exact.latencies {
        let got = &many.latencies[latency];
        assert_eq!((got.n, got.mean, got.std), (distribution.n, distribution.mean, distribution.std));
        for (got, exact) in got.percentiles.iter().zip(&distribution.percentiles) {
            assert_close(got.value, exact.value, &format!("{latency:?} p{}", exact.p));
        }
        let mean = got.mean_interval.unwrap();
        assert!(mean.low <= got.mean && got.mean <= mean.high);
    }
    for (by, rows) in &exact.rows {
        for (got, exact) in many.rows[by].iter().zip(rows) {
            let counts = |row: &GroupMetrics| {
                (row.name.clone(), row.requests, row.failed, row.input_tokens, row.output_share)
            };
            assert_eq!(counts(got), counts(exact));
        }
    }
    let value = |summary: Option<ValueSummary>| summary.map(|summary| (summary.n, summary.min, summary.max));
    assert_eq!(value(many.tokens_per_event), value(exact.tokens_per_event));
    // Everything else is the same, except the intervals of shares and the active sessions.
    let rest = |metrics: &Metrics| {
        let mut rest = Metrics { latencies: Default::default(), rows: Default::default(), ..metrics.clone() };
        rest.rate_intervals.retain(|key, _| key != "failure_rate" && key != "goodput_ratio");
        rest.tokens_per_event = None;
        rest.vllm_tpot = None;
        rest.sessions.iter_mut().for_each(|sessions| sessions.peak_active = 0);
        rest
    };
    assert_eq!(rest(many), rest(exact));
}

#[test]
fn metrics_above_the_limit_are_the_exact_ones_within_their_precision() {
    for (load, records) in loads(6000) {
        let records = varied(records);
        let spec = Spec { slo: Slo { e2e: Some(Duration::from_secs(1)), ..Slo::default() }, ..spec(load) };
        let (many, exact) = (alone(&spec, &records, LIMIT), alone(&spec, &records, usize::MAX));
        assert!(!many.records.is_whole() && exact.records.is_whole());
        assert!(many.records.sample().len() <= LIMIT);
        assert_same(&many.run.metrics, &exact.run.metrics);
        let columns = |run: &Run| {
            let series = run.series.clone();
            (series.arrivals, series.sent, series.completions, series.failures, series.output_tokens)
        };
        assert_eq!(columns(&many.run), columns(&exact.run));
        let pairs = many.run.series.in_flight_mean.iter().zip(&exact.run.series.in_flight_mean);
        for (many, exact) in pairs {
            assert!((many - exact).abs() <= 0.05 + exact * 0.01, "{many} instead of {exact}");
        }
        assert_eq!(many.run.histograms, exact.run.histograms);
    }
}

#[test]
fn verdicts_and_windows_above_the_limit_are_those_of_all_requests() {
    for (load, records) in loads(12_000) {
        let spec = spec(load);
        let (many, exact) = (alone(&spec, &records, LIMIT).run, alone(&spec, &records, usize::MAX).run);
        let outcomes = |run: &Run| -> Vec<(CheckName, CheckOutcome)> {
            run.validity.checks.iter().map(|check| (check.name, check.outcome)).collect()
        };
        assert_eq!(outcomes(&many), outcomes(&exact), "{:?}", spec.load);
        match (&many.steady, &exact.steady) {
            (Ok(many), Ok(exact)) => {
                let length = exact.window.end - exact.window.start;
                assert!(many.window.start.abs_diff(exact.window.start) <= length / 10, "{many:?}");
                assert!(many.window.end.abs_diff(exact.window.end) <= Duration::from_secs(2));
                let found = Metrics::compute_window(&many.window, &records, &spec.slo, &[50.0]);
                assert_same(&many.metrics, &Metrics { vllm_tpot: None, ..found });
            }
            (many, exact) => assert_eq!(many, exact),
        }
    }
}

#[test]
fn a_result_above_the_limit_has_no_arrays_of_requests() {
    let spec = spec(open_load(18.0));
    let many = alone(&spec, &records(400), 100);
    assert!(many.run.always.is_empty() && many.run.records.is_none());
    assert_eq!(many.run.sampled.as_ref().map(|sampled| sampled.requests), Some(400));
    let json = json(&many.run);
    assert!(json.get("latencies").is_none() && json.get("queue_times").is_none());
    let few = alone(&spec, &records(100), 100);
    assert_eq!((few.run.always.len(), few.run.sampled), (100, None));
}

#[test]
fn counts_that_came_after_the_load_apply_above_the_limit() {
    let spec = spec(open_load(18.0));
    let mut part = ended_part(&spec, None, &records(300));
    let output_tokens = TokenCount { count: 1000, source: TokenSource::Tokenizer };
    let prompt_tokens = TokenCount { count: 7, source: TokenSource::Tokenizer };
    let late: HashMap<usize, LateCounts> =
        (0..300).map(|ordinal| (ordinal, LateCounts { ordinal, prompt_tokens, output_tokens })).collect();
    let mut writer = RecordLogWriter::new(Spool::in_memory(), &header(&spec, None)).unwrap();
    writer.write_start(T0).unwrap();
    part.log.for_each(&mut |record| _ = writer.write_record(&record).unwrap()).unwrap();
    late.values().for_each(|counts| writer.write_counts(counts).unwrap());
    (part.summary, part.log) = ClientLog::from_spool(writer.into_spool()).unwrap();
    let metrics = merge(vec![part], 50).unwrap().run.metrics;
    assert_eq!((metrics.input_tokens.total, metrics.output_tokens.total), (2100, 300_000));
    assert!(metrics.latencies.contains_key(&Latency::Ttft));
}
