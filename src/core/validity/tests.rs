use std::num::NonZeroUsize;

use super::*;
use crate::core::metrics::Latency;
use crate::core::record::{Failure, FailureClass, TokenSource};
use crate::core::simulated::{Queue, closed_load, open_load, spec};
use crate::core::spec::{Dataset, RandomLengths};
use crate::core::stats::Tally;
use crate::core::units::Rate;

/// A run and all that is known of it, to be spoilt one thing at a time.
struct Case {
    evidence: Evidence,
    spec: Spec,
    records: Vec<Record>,
    itl: Tally,
    percents: Vec<f64>,
}

impl Case {
    /// Poisson arrivals at 70 % of the capacity; everything is known and fine.
    fn clean() -> Self {
        Self { percents: vec![50.0], ..Self::at(0.7, 1000, 1) }
    }

    fn at(utilisation: f64, n: usize, seed: u64) -> Self {
        let queue = Queue { seed, ..Queue::default() };
        let rate = queue.rate(utilisation);
        Self::of(spec(open_load(rate)), queue.open(n, rate))
    }

    fn of(spec: Spec, records: Vec<Record>) -> Self {
        let evidence = Evidence {
            client_errors: Vec::new(),
            stamps: Some(Stamps::Kernel),
            read_delay: Some(Duration::from_micros(200)),
            merged_reads: Some(0.002),
            burst_starts: Some(0.01),
            server_times: None,
            profiled: None,
            worker_cpu: vec![0.3, 0.2],
            clock_step: Some(Duration::from_micros(20)),
            starved: 0,
            descriptor_limit: Some(1 << 20),
            prefix_cache: Some(PrefixCache { queries: 100_000, hits: 3_000, explained: 2_000 }),
            repeated_prompts: 0,
            token_disagreement: Some(0.001),
            estimated_prompts: None,
        };
        let itl = [Duration::from_millis(10); 100].into_iter().collect();
        Self { evidence, spec, records, itl, percents: Vec::new() }
    }

    fn verdict(&self) -> Verdict {
        let metrics = Metrics::of(&self.records, &self.itl, &self.spec.slo, &self.percents);
        Verdict::of(&self.evidence, &self.spec, &self.records, &metrics)
    }

    /// The one check that this spoilt run does not pass.
    fn only_objection(&self) -> Check {
        let verdict = self.verdict();
        let objections: Vec<_> =
            verdict.with(Outcome::Invalid).chain(verdict.with(Outcome::Warning)).cloned().collect();
        let [objection] = &objections[..] else { panic!("not one objection but {objections:#?}") };
        assert!(!objection.advice.is_empty());
        assert_eq!(verdict.valid, objection.outcome != Outcome::Invalid);
        objection.clone()
    }

    #[track_caller]
    fn assert(&self, name: CheckName, outcome: Outcome) {
        let objection = self.only_objection();
        assert_eq!((objection.name, objection.outcome), (name, outcome), "{objection:?}");
    }

    fn outcome(&self, name: CheckName) -> Outcome {
        self.verdict().checks.iter().find(|check| check.name == name).unwrap().outcome
    }
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// Everything that is measured from `sent` on comes later too.
fn send_later(record: &mut Record, by: Duration) {
    let times = &mut record.times;
    for at in [&mut times.sent, &mut times.first_token, &mut times.last_token, &mut times.done] {
        *at = at.map(|at| at + by);
    }
}

#[test]
fn a_clean_run_passes_every_check() {
    let verdict = Case::clean().verdict();
    assert!(verdict.valid && verdict.reason().is_none());
    let rest: Vec<_> = verdict.checks.iter().filter(|check| check.outcome != Outcome::Passed).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    assert_eq!(verdict.checks.len(), 16);
}

#[test]
fn no_clean_run_of_two_hundred_is_called_invalid() {
    for seed in 0..200 {
        let verdict = Case::at(0.5 + 0.3 * (seed as f64 / 200.0), 700, seed).verdict();
        assert!(verdict.valid, "seed {seed}: {:?}", verdict.reason());
        assert_eq!(verdict.with(Outcome::Warning).count(), 0, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn no_clean_closed_loop_of_fifty_is_objected_to() {
    for seed in 0..50 {
        let queue = Queue { seed, ..Queue::default() };
        let verdict = Case::of(spec(closed_load(20)), queue.closed(700, 20)).verdict();
        assert!(verdict.valid && verdict.with(Outcome::Warning).count() == 0, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn late_sending_is_objected_to() {
    let mut case = Case::clean();
    case.records.iter_mut().step_by(50).for_each(|record| send_later(record, ms(20)));
    case.assert(CheckName::ScheduleLag, Outcome::Warning);
    case.records.iter_mut().step_by(50).for_each(|record| send_later(record, ms(80)));
    case.assert(CheckName::ScheduleLag, Outcome::Invalid);
}

#[test]
fn what_the_cap_held_back_is_not_the_clients_lag() {
    let mut case = Case::clean();
    case.spec.load.max_concurrency = NonZeroUsize::new(100);
    assert_eq!(case.outcome(CheckName::ScheduleLag), Outcome::NotJudged);
    for record in case.records.iter_mut().step_by(10) {
        record.times.released = Some(record.times.due + ms(100));
        send_later(record, ms(100));
    }
    assert_eq!(case.outcome(CheckName::ScheduleLag), Outcome::Passed);
}

#[test]
fn a_burst_of_everything_has_no_schedule_to_miss() {
    let mut case = Case::clean();
    case.spec.load.request_rate = Rate::INFINITE;
    case.records.iter_mut().for_each(|record| record.times.due = Duration::ZERO);
    assert_eq!(case.outcome(CheckName::ScheduleLag), Outcome::Warning);
    assert_eq!(case.outcome(CheckName::AchievedRate), Outcome::NotJudged);
}

#[test]
fn a_read_delay_is_fatal_only_without_kernel_stamps() {
    let mut case = Case::clean();
    case.evidence.read_delay = Some(ms(40));
    assert_eq!(case.outcome(CheckName::ReadDelay), Outcome::Passed);
    case.evidence.stamps = Some(Stamps::Reader);
    case.assert(CheckName::ReadDelay, Outcome::Invalid);
    case.evidence.read_delay = None;
    case.assert(CheckName::ReadDelay, Outcome::Warning);
    case.evidence.read_delay = Some(Duration::from_micros(900));
    assert_eq!(case.outcome(CheckName::ReadDelay), Outcome::Passed);
}

/// A server that writes each event by itself every `gap`, and a reader that comes when every `together`-th has been
/// written: all but one gap of them are zero, and the read delay is as long as the gap at most.
fn read_late(case: &mut Case, gap: Duration, together: u32) {
    case.itl = (0..1000).map(|i| if i % together == 0 { gap * together } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(1.0 - f64::from(together).recip());
    case.evidence.read_delay = Some(gap * 9 / 10);
}

#[test]
fn events_that_a_late_reader_takes_together_are_objected_to() {
    for (gap, together) in [(ms(10), 2), (ms(10), 10), (Duration::from_micros(500), 3)] {
        let mut case = Case::clean();
        read_late(&mut case, gap, together);
        case.assert(CheckName::MergedReads, Outcome::Invalid);
        case.evidence.merged_reads = Some(0.05);
        case.assert(CheckName::MergedReads, Outcome::Warning);
        case.evidence.merged_reads = Some(0.009);
        assert_eq!(case.outcome(CheckName::MergedReads), Outcome::Passed);
    }
}

#[test]
fn events_that_the_server_sends_together_are_no_objection() {
    for (pause, together) in [(ms(40), 2), (ms(40), 8), (ms(5), 5)] {
        let mut case = Case::clean();
        read_late(&mut case, pause / together, together);
        case.evidence.read_delay = Some(Duration::from_micros(200));
        assert_eq!(case.outcome(CheckName::MergedReads), Outcome::Passed, "{together} every {pause:?}");
    }
}

#[test]
fn who_merged_reads_of_unknown_delay_is_not_judged() {
    let mut case = Case::clean();
    case.evidence.merged_reads = Some(0.5);
    case.evidence.read_delay = None;
    assert_eq!(case.outcome(CheckName::MergedReads), Outcome::NotJudged);
}

/// A gateway that hands on 16 events of a server at a time: the first token waits for the others.
fn buffered() -> Case {
    let mut case = Case::clean();
    case.itl = (0..1600).map(|i| if i % 16 == 0 { ms(208) } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(0.94);
    case.evidence.burst_starts = Some(0.99);
    case
}

/// Means of what the client measured.
fn as_measured(case: &Case) -> ServerTimes {
    let metrics = Metrics::of(&case.records, &case.itl, &case.spec.slo, &case.percents);
    let mean = |latency: Latency| metrics.latencies[&latency].mean;
    ServerTimes { ttft: mean(Latency::Ttft), tpot: mean(Latency::Tpot) }
}

#[test]
fn a_buffer_on_the_way_makes_times_within_the_stream_invalid_and_nothing_else() {
    let case = buffered();
    case.assert(CheckName::Bursts, Outcome::Invalid);
    assert_eq!(case.only_objection().scope, Scope::Stream);
    let advice = case.only_objection().advice;
    for fix in ["proxy_buffering off", "X-Accel-Buffering: no", "option http-no-delay"] {
        assert!(advice.contains(fix), "{advice}");
    }
    let verdict = case.verdict();
    assert_eq!(verdict.invalid_metrics().as_deref(), Some("TTFT, TPOT and ITL"));
    assert_eq!(verdict.reason_for_all(), None);
    // Whole answers in one read, and a reader that was late beside it.
    let mut whole = Case { itl: std::iter::repeat_n(Duration::ZERO, 100).collect(), ..buffered() };
    whole.evidence.merged_reads = Some(0.99);
    whole.assert(CheckName::Bursts, Outcome::Invalid);
    whole.evidence.read_delay = Some(ms(150));
    assert_eq!(whole.outcome(CheckName::Bursts), Outcome::Invalid);
}

#[test]
fn several_tokens_of_a_step_at_once_are_no_buffer() {
    // Speculative decoding: the tokens of a step together, the first one alone.
    let mut case = Case::clean();
    case.itl = (0..1000).map(|i| if i % 4 == 0 { ms(40) } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(0.75);
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Passed);
    // Where even the first step has several, the server's own times say that nothing came later than it left.
    case.evidence.burst_starts = Some(0.9);
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Invalid);
    case.evidence.server_times = Some(as_measured(&case));
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Passed);
}

#[test]
fn the_servers_own_times_tell_on_a_buffer_that_only_some_answers_go_through() {
    let mut case = buffered();
    case.evidence.burst_starts = Some(0.3);
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Passed);
    let servers = as_measured(&case);
    case.evidence.server_times = Some(ServerTimes { tpot: servers.tpot.mul_f64(1.1), ..servers });
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Invalid);
    for record in &mut case.records {
        let times = &mut record.times;
        for at in [&mut times.first_token, &mut times.last_token, &mut times.done] {
            *at = at.map(|at| at + ms(120));
        }
    }
    case.evidence.server_times = Some(servers);
    // A TTFT above the server's may be the network's, unless most answers begin with a burst.
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Passed);
    case.evidence.burst_starts = Some(0.6);
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Invalid);
}

#[test]
fn events_that_follow_each_other_within_milliseconds_hide_nothing() {
    let mut case = buffered();
    case.itl = (0..1600).map(|i| if i % 16 == 0 { ms(3) } else { Duration::ZERO }).collect();
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::Passed);
    case.evidence.burst_starts = None;
    assert_eq!(case.outcome(CheckName::Bursts), Outcome::NotJudged);
}

#[test]
fn a_rate_that_was_not_achieved_is_objected_to() {
    let mut case = Case::clean();
    let last = case.records.last().unwrap().times.due;
    // 4 % slower than planned, the lag hidden behind a plan that is blamed on the cap.
    for record in &mut case.records {
        let by = record.times.due / 25;
        send_later(record, by);
        record.times.released = record.times.sent;
    }
    assert!(last > Duration::from_secs(30));
    case.assert(CheckName::AchievedRate, Outcome::Invalid);
    case.spec.load.max_concurrency = NonZeroUsize::new(1000);
    case.assert(CheckName::AchievedRate, Outcome::Warning);
}

#[test]
fn a_busy_client_is_objected_to() {
    let mut case = Case::clean();
    case.evidence.worker_cpu = vec![0.2, 0.85];
    case.assert(CheckName::ClientCpu, Outcome::Warning);
    case.evidence.worker_cpu = vec![0.97];
    case.assert(CheckName::ClientCpu, Outcome::Warning);
    case.evidence.stamps = Some(Stamps::Reader);
    case.assert(CheckName::ClientCpu, Outcome::Invalid);
}

#[test]
fn failures_above_the_limit_make_a_run_invalid() {
    let fail = |case: &mut Case, step: usize, class: FailureClass| {
        for record in case.records.iter_mut().step_by(step) {
            record.outcome = Err(Failure::new(class, ""));
        }
    };
    let mut few = Case::clean();
    fail(&mut few, 100, FailureClass::BrokenStream);
    assert_eq!(few.outcome(CheckName::Failures), Outcome::Passed);
    let mut many = Case::clean();
    fail(&mut many, 50, FailureClass::BrokenStream);
    many.assert(CheckName::Failures, Outcome::Invalid);
    many.spec.max_failure_rate = 0.05;
    assert_eq!(many.outcome(CheckName::Failures), Outcome::Passed);
    let mut cancelled = Case::clean();
    fail(&mut cancelled, 50, FailureClass::Cancelled);
    assert_eq!(cancelled.outcome(CheckName::Failures), Outcome::Passed);
}

#[test]
fn a_run_without_requests_is_invalid() {
    let mut case = Case::clean();
    case.records.clear();
    let verdict = case.verdict();
    assert!(!verdict.valid);
    assert!(verdict.reason().unwrap().starts_with("no request ended"));
}

#[test]
fn too_few_samples_for_a_percentile_are_a_warning() {
    let case = Case { percents: vec![99.0], ..Case::at(0.5, 300, 1) };
    case.assert(CheckName::Samples, Outcome::Warning);
    let finding = case.only_objection().finding();
    assert!(finding.ends_with(", at least 662 are needed"), "{finding}");
    let median = Case { percents: vec![50.0], ..Case::at(0.5, 300, 1) };
    assert_eq!(median.outcome(CheckName::Samples), Outcome::Passed);
}

#[test]
fn samples_that_are_alike_count_for_less() {
    // Nearly at capacity, answers wait for each other: a thousand are worth far fewer.
    let case = Case { percents: vec![99.0], ..Case::at(0.9, 1000, 1) };
    let check = case.verdict().checks.into_iter().find(|check| check.name == CheckName::Samples).unwrap();
    assert_eq!(check.outcome, Outcome::Warning);
    assert!(check.figure < Some(Figure::Count(662)), "{check:?}");
}

#[test]
fn overload_behind_a_cap_makes_what_is_measured_from_due_invalid_and_nothing_else() {
    let mut case = Case::at(1.3, 1000, 1);
    case.spec.load.max_concurrency = NonZeroUsize::new(10);
    for record in &mut case.records {
        let times = &mut record.times;
        times.sent = times.sent.max(times.first_token.map(|at| at.saturating_sub(ms(25))));
        times.released = times.sent;
    }
    let verdict = case.verdict();
    let check = verdict.checks.iter().find(|check| check.name == CheckName::Stationarity).unwrap();
    assert_eq!((check.outcome, check.scope), (Outcome::Invalid, Scope::FromDue), "{check:?}");
    assert_eq!(verdict.invalid_metrics().as_deref(), Some("latencies and goodput from due"));
    assert!(check.advice.contains("--max-concurrency"));
}

#[test]
fn few_requests_say_why_a_check_is_not_judged() {
    let case = Case::at(0.7, 30, 1);
    let check =
        case.verdict().checks.into_iter().find(|check| check.name == CheckName::Stationarity).unwrap();
    assert_eq!(check.outcome, Outcome::NotJudged);
    assert_eq!(check.advice, "30 requests were answered, 40 are needed; send more");
    // The trial that brought it out: one at a time, 2.4 times the capacity, 99 requests.
    let queue = Queue { servers: 1, ..Queue::default() };
    let rate = queue.rate(2.4);
    let case = Case::of(spec(open_load(rate)), queue.open(99, rate));
    assert_eq!(case.outcome(CheckName::Stationarity), Outcome::Invalid);
}

#[test]
fn a_latency_that_falls_over_the_run_is_a_warning() {
    let queue = Queue { servers: 100, ..Queue::default() };
    let rate = 10.0;
    let mut records = queue.open(1000, rate);
    for (i, record) in records.iter_mut().enumerate() {
        let later = Duration::from_micros(100) * (1000 - i as u32);
        let times = &mut record.times;
        for at in [&mut times.first_token, &mut times.last_token, &mut times.done] {
            *at = at.map(|at| at + later);
        }
    }
    let case = Case::of(spec(open_load(rate)), records);
    case.assert(CheckName::LatencyTrend, Outcome::Warning);
    assert!(case.only_objection().advice.starts_with("TTFT fell"), "{:?}", case.only_objection());
}

#[test]
fn guessed_token_counts_are_a_warning() {
    let mut case = Case::clean();
    case.records[5].output_tokens.source = TokenSource::Events;
    case.assert(CheckName::TokenSource, Outcome::Warning);
    let mut case = Case::clean();
    case.records[5].prompt_tokens.source = TokenSource::Estimate;
    case.assert(CheckName::TokenSource, Outcome::Warning);
}

#[test]
fn a_tokenizer_that_counts_otherwise_than_the_server_is_a_warning() {
    let mut case = Case::clean();
    case.evidence.token_disagreement = Some(0.03);
    case.assert(CheckName::TokenAgreement, Outcome::Warning);
}

#[test]
fn more_load_than_the_server_can_take_is_invalid() {
    let case = Case::at(1.3, 1000, 1);
    case.assert(CheckName::Stationarity, Outcome::Invalid);
    assert!(case.only_objection().advice.contains("--request-rate"));
}

#[test]
fn a_closed_loop_that_slows_down_is_a_warning() {
    let queue = Queue { servers: 100, ..Queue::default() };
    let mut records = queue.closed(1000, 20);
    for (i, record) in records.iter_mut().enumerate() {
        record.times.first_token =
            record.times.first_token.map(|at| at + Duration::from_micros(100) * i as u32);
    }
    Case::of(spec(closed_load(20)), records).assert(CheckName::Stationarity, Outcome::Warning);
}

#[test]
fn a_warm_prefix_cache_is_objected_to() {
    let mut case = Case::clean();
    for (hits, outcome) in [(12_000, Outcome::Warning), (60_000, Outcome::Invalid)] {
        case.evidence.prefix_cache = Some(PrefixCache { queries: 100_000, hits, explained: 2_000 });
        case.assert(CheckName::PrefixCache, outcome);
    }
    case.evidence.prefix_cache = Some(PrefixCache { queries: 0, hits: 0, explained: 0 });
    assert_eq!(case.outcome(CheckName::PrefixCache), Outcome::NotJudged);
}

#[test]
fn an_estimated_workload_that_the_server_counts_otherwise_is_a_warning_with_the_factor() {
    let mut case = Case::clean();
    case.evidence.estimated_prompts = Some(EstimatedPrompts { estimated: 5314, counted: 12446 });
    case.assert(CheckName::TokenAgreement, Outcome::Warning);
    assert!(case.only_objection().advice.contains("2.34 times as many tokens"));
    case.evidence.estimated_prompts = Some(EstimatedPrompts { estimated: 5314, counted: 5600 });
    assert_eq!(case.outcome(CheckName::TokenAgreement), Outcome::Passed);
}

#[test]
fn another_seed_is_advised_only_where_it_writes_other_prompts() {
    let mut case = Case::clean();
    case.evidence.prefix_cache = Some(PrefixCache { queries: 1000, hits: 900, explained: 0 });
    let lengths = RandomLengths {
        input_len: 8,
        output_len: 8,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    };
    for (dataset, helps) in
        [(Dataset::Random(lengths), true), (Dataset::Sharegpt { path: None, output_len: None }, false)]
    {
        case.spec.workload.dataset = dataset;
        let advice = case.only_objection().advice;
        assert_eq!(advice.contains("--seed"), helps, "{advice}");
        for flag in ["--unique-prompts", "--reset-prefix-cache", "VLLM_SERVER_DEV_MODE=1"] {
            assert!(advice.contains(flag), "{advice}");
        }
    }
}

#[test]
fn prompts_that_were_sent_before_are_a_warning() {
    let mut case = Case::clean();
    case.evidence.repeated_prompts = 12;
    case.assert(CheckName::RepeatedPrompts, Outcome::Warning);
}

#[test]
fn a_stepped_clock_is_fatal_only_with_kernel_stamps() {
    let mut case = Case::clean();
    case.evidence.clock_step = Some(ms(5));
    case.assert(CheckName::WallClock, Outcome::Invalid);
    case.evidence.stamps = Some(Stamps::Reader);
    assert_eq!(case.outcome(CheckName::WallClock), Outcome::Passed);
}

#[test]
fn a_run_that_was_profiled_says_so_and_one_that_stood_still_for_it_is_invalid() {
    let mut case = Case::clean();
    case.evidence.profiled = Some(Profiled { on: ms(2_000), standstill: Duration::ZERO });
    case.assert(CheckName::Profiler, Outcome::Warning);
    case.evidence.profiled = Some(Profiled { on: ms(343_000), standstill: ms(341_000) });
    case.assert(CheckName::Profiler, Outcome::Invalid);
    assert!(case.only_objection().advice.contains("on for 343.0 s"), "{:?}", case.only_objection());
}

#[test]
fn a_client_without_descriptors_or_ports_is_objected_to() {
    let mut case = Case::clean();
    case.evidence.starved = 3;
    case.assert(CheckName::Descriptors, Outcome::Invalid);
    let mut case = Case::clean();
    case.evidence.descriptor_limit = Some(8);
    case.assert(CheckName::Descriptors, Outcome::Warning);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let case = Case { evidence: Evidence::default(), ..Case::clean() };
    let verdict = case.verdict();
    assert!(verdict.valid);
    let unknown: Vec<_> = verdict.with(Outcome::NotJudged).map(|check| check.name).collect();
    use CheckName::{Bursts, ClientCpu, MergedReads, PrefixCache, ReadDelay, TokenAgreement, WallClock};
    assert_eq!(unknown, [ReadDelay, MergedReads, Bursts, ClientCpu, TokenAgreement, PrefixCache, WallClock]);
    assert!(verdict.with(Outcome::NotJudged).all(|check| !check.advice.is_empty()));
}

#[test]
fn the_reason_counts_what_it_does_not_name() {
    let mut case = Case::clean();
    case.evidence.starved = 3;
    case.evidence.clock_step = Some(ms(5));
    let reason = case.verdict().reason().unwrap();
    assert_eq!(reason, "step of the wall clock: 5.00 ms, at most 1.00 ms would do (and 1 more)");
}

#[test]
fn a_verdict_survives_json() {
    let verdict = Case::at(1.3, 300, 1).verdict();
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict, "{text}");
    assert!(text.contains(r#""figure":{"time_s":"#) && text.contains(r#""name":"schedule_lag""#), "{text}");
}

#[test]
fn an_error_of_the_client_itself_is_said_and_makes_the_run_invalid() {
    let mut case = Case::clean();
    assert!(case.verdict().checks.iter().all(|check| check.name != CheckName::ClientErrors), "only if any");
    case.evidence.client_errors = vec!["no timer left".into(), "a request panicked: index".into()];
    case.assert(CheckName::ClientErrors, Outcome::Invalid);
    let check = case.only_objection();
    assert_eq!(check.finding(), "errors of the client itself: 2");
    assert!(check.advice.contains("no timer left"), "{}", check.advice);
}
