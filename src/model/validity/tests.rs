use std::num::NonZeroUsize;

use super::*;
use crate::model::metrics::Latency;
use crate::model::record::{Failure, FailureClass, Milestone, Record, ServerTimes};
use crate::model::units::Rate;
use crate::stats::DurationSketch;
use crate::testing::queue::{Queue, closed_load, open_load, spec};

mod reads;
mod workload;

/// A run with complete diagnostics; each test degrades one part of it.
struct Case {
    evidence: RunDiagnostics,
    spec: Spec,
    records: Vec<Record>,
    itl: DurationSketch,
    percents: Vec<f64>,
}

impl Case {
    /// Poisson arrivals at 70 % of the capacity; every diagnostic is known and good.
    fn clean() -> Self {
        Self { percents: vec![50.0], ..Self::at(0.7, 1000, 1) }
    }

    fn at(utilisation: f64, n: usize, seed: u64) -> Self {
        let queue = Queue { seed, ..Queue::default() };
        let rate = queue.rate(utilisation);
        Self::of(spec(open_load(rate)), queue.open(n, rate))
    }

    fn of(spec: Spec, records: Vec<Record>) -> Self {
        let evidence = RunDiagnostics {
            client_errors: Vec::new(),
            shards: Vec::new(),
            timestamp_source: Some(TimestampSource::Kernel),
            read_delay: Some(Duration::from_micros(200)),
            merged_reads: Some(0.002),
            burst_starts: Some(0.01),
            server_times: None,
            server_parts: None,
            profiler_effect: None,
            worker_cpu: vec![0.3, 0.2],
            clock_step: Some(Duration::from_micros(20)),
            starved: 0,
            descriptor_limit: Some(1 << 20),
            prefix_cache: Some(PrefixCacheCounts { queries: 100_000, hits: 3_000, explained: 2_000 }),
            repeated_prompts: 0,
            token_disagreement: Some(0.001),
            template_tokens: None,
            estimated_prompts: None,
            lengths: Some(OutputLengths {
                answers: 1000,
                bound: 1000,
                by_usage: 1000,
                ..OutputLengths::default()
            }),
            repeated_answers: EmptyAnswers { all: 500, silent: 0 },
            text_claims: TextClaims::default(),
        };
        let itl = [Duration::from_millis(10); 100].into_iter().collect();
        Self { evidence, spec, records, itl, percents: Vec::new() }
    }

    fn verdict(&self) -> Verdict {
        let metrics = Metrics::compute(&self.records, &self.itl, &self.spec.slo, &self.percents);
        Verdict::judge(
            &self.evidence,
            &self.spec,
            &SentLoad::of_records(&self.records),
            &metrics,
            &self.percents,
        )
    }

    /// The only check that this degraded run does not pass.
    fn only_objection(&self) -> Check {
        let verdict = self.verdict();
        let objections: Vec<_> = verdict
            .checks_with(CheckOutcome::Invalid)
            .chain(verdict.checks_with(CheckOutcome::Warning))
            .cloned()
            .collect();
        let [objection] = &objections[..] else { panic!("not one objection but {objections:#?}") };
        assert!(!objection.advice.is_empty());
        assert_eq!(verdict.valid, objection.outcome != CheckOutcome::Invalid);
        objection.clone()
    }

    #[track_caller]
    fn assert(&self, name: CheckName, outcome: CheckOutcome) {
        let objection = self.only_objection();
        assert_eq!((objection.name, objection.outcome), (name, outcome), "{objection:?}");
    }

    fn outcome(&self, name: CheckName) -> CheckOutcome {
        self.verdict().checks.iter().find(|check| check.name == name).unwrap().outcome
    }
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// Delays `sent` and everything measured after it.
fn send_later(record: &mut Record, by: Duration) {
    let times = &mut record.times;
    for milestone in [Milestone::Sent, Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
        times.map_time(milestone, |at| at + by);
    }
}

#[test]
fn a_clean_run_passes_every_check() {
    let verdict = Case::clean().verdict();
    assert!(verdict.valid && verdict.reason().is_none());
    let rest: Vec<_> = verdict.checks.iter().filter(|check| check.outcome != CheckOutcome::Passed).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    assert_eq!(verdict.checks.len(), 18);
}

#[test]
fn no_clean_run_of_two_hundred_is_called_invalid() {
    for seed in 0..200 {
        let verdict = Case::at(0.5 + 0.3 * (seed as f64 / 200.0), 700, seed).verdict();
        assert!(verdict.valid, "seed {seed}: {:?}", verdict.reason());
        assert_eq!(verdict.checks_with(CheckOutcome::Warning).count(), 0, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn no_clean_closed_loop_of_fifty_is_objected_to() {
    for seed in 0..50 {
        let queue = Queue { seed, ..Queue::default() };
        let verdict = Case::of(spec(closed_load(20)), queue.closed(700, 20)).verdict();
        assert!(
            verdict.valid && verdict.checks_with(CheckOutcome::Warning).count() == 0,
            "seed {seed}: {verdict:?}"
        );
    }
}

#[test]
fn late_sending_is_objected_to() {
    let mut case = Case::clean();
    case.records.iter_mut().step_by(50).for_each(|record| send_later(record, ms(20)));
    case.assert(CheckName::ScheduleLag, CheckOutcome::Warning);
    case.records.iter_mut().step_by(50).for_each(|record| send_later(record, ms(80)));
    case.assert(CheckName::ScheduleLag, CheckOutcome::Invalid);
}

#[test]
fn what_the_cap_held_back_is_not_the_clients_lag() {
    let mut case = Case::clean();
    case.spec.load.max_concurrency = NonZeroUsize::new(100);
    assert_eq!(case.outcome(CheckName::ScheduleLag), CheckOutcome::NotJudged);
    for record in case.records.iter_mut().step_by(10) {
        record.times.set(Milestone::Released, record.times.due() + ms(100));
        send_later(record, ms(100));
    }
    assert_eq!(case.outcome(CheckName::ScheduleLag), CheckOutcome::Passed);
}

#[test]
fn a_burst_of_everything_has_no_schedule_to_miss() {
    let mut case = Case::clean();
    case.spec.load.request_rate = Rate::INFINITE;
    case.records.iter_mut().for_each(|record| record.times.set_due(Duration::ZERO));
    assert_eq!(case.outcome(CheckName::ScheduleLag), CheckOutcome::Warning);
    assert_eq!(case.outcome(CheckName::AchievedRate), CheckOutcome::NotJudged);
}

#[test]
fn a_rate_that_was_not_achieved_is_objected_to() {
    let mut case = Case::clean();
    let last = case.records.last().unwrap().times.due();
    // 4 % slower than planned; the plan attributes the lag to the cap.
    for record in &mut case.records {
        let by = record.times.due() / 25;
        send_later(record, by);
        record.times.set(Milestone::Released, record.times.sent());
    }
    assert!(last > Duration::from_secs(30));
    case.assert(CheckName::AchievedRate, CheckOutcome::Invalid);
    case.spec.load.max_concurrency = NonZeroUsize::new(1000);
    case.assert(CheckName::AchievedRate, CheckOutcome::Warning);
}

#[test]
fn a_busy_client_is_objected_to() {
    let mut case = Case::clean();
    case.evidence.worker_cpu = vec![0.2, 0.85];
    case.assert(CheckName::ClientCpu, CheckOutcome::Warning);
    case.evidence.worker_cpu = vec![0.97];
    case.assert(CheckName::ClientCpu, CheckOutcome::Warning);
    case.evidence.timestamp_source = Some(TimestampSource::Reader);
    case.assert(CheckName::ClientCpu, CheckOutcome::Invalid);
}

#[test]
fn failures_above_the_limit_make_a_run_invalid() {
    let fail = |case: &mut Case, step: usize, class: FailureClass| {
        for record in case.records.iter_mut().step_by(step) {
            record.outcome = Err(Failure::new(class, "").into());
        }
    };
    let mut few = Case::clean();
    fail(&mut few, 100, FailureClass::BrokenStream);
    assert_eq!(few.outcome(CheckName::Failures), CheckOutcome::Passed);
    let mut many = Case::clean();
    fail(&mut many, 50, FailureClass::BrokenStream);
    many.assert(CheckName::Failures, CheckOutcome::Invalid);
    many.spec.max_failure_rate = 0.05;
    assert_eq!(many.outcome(CheckName::Failures), CheckOutcome::Passed);
    let mut cancelled = Case::clean();
    fail(&mut cancelled, 50, FailureClass::Cancelled);
    assert_eq!(cancelled.outcome(CheckName::Failures), CheckOutcome::Passed);
}

#[test]
fn a_run_without_requests_is_invalid() {
    let mut case = Case::clean();
    case.records.clear();
    let verdict = case.verdict();
    assert!(!verdict.valid);
    assert!(verdict.reason().unwrap().starts_with("no request finished"));
}

#[test]
fn too_few_samples_for_a_percentile_are_a_warning() {
    let case = Case { percents: vec![99.0], ..Case::at(0.5, 300, 1) };
    case.assert(CheckName::Samples, CheckOutcome::Warning);
    let finding = case.only_objection().finding();
    assert!(finding.ends_with(", at least 662 are needed"), "{finding}");
    let median = Case { percents: vec![50.0], ..Case::at(0.5, 300, 1) };
    assert_eq!(median.outcome(CheckName::Samples), CheckOutcome::Passed);
}

#[test]
fn samples_that_are_alike_count_for_less() {
    // Nearly at capacity, answers wait for each other: a thousand are worth far fewer.
    let case = Case { percents: vec![99.0], ..Case::at(0.9, 1000, 1) };
    let check = case.verdict().checks.into_iter().find(|check| check.name == CheckName::Samples).unwrap();
    assert_eq!(check.outcome, CheckOutcome::Warning);
    assert!(check.figure < Some(Quantity::Count(662)), "{check:?}");
}

#[test]
fn overload_behind_a_cap_makes_what_is_measured_from_due_invalid_and_nothing_else() {
    let mut case = Case::at(1.3, 1000, 1);
    case.spec.load.max_concurrency = NonZeroUsize::new(10);
    for record in &mut case.records {
        let times = &mut record.times;
        times.set(Milestone::Sent, times.sent().max(times.first_token().map(|at| at.saturating_sub(ms(25)))));
        times.set(Milestone::Released, times.sent());
    }
    let verdict = case.verdict();
    let check = verdict.checks.iter().find(|check| check.name == CheckName::Stationarity).unwrap();
    assert_eq!((check.outcome, check.scope), (CheckOutcome::Invalid, CheckScope::FromDue), "{check:?}");
    assert_eq!(verdict.invalid_metrics().as_deref(), Some("latencies and goodput from due"));
    assert!(check.advice.contains("`load.max_concurrency`"));
}

#[test]
fn few_requests_say_why_a_check_is_not_judged() {
    let case = Case::at(0.7, 30, 1);
    let check =
        case.verdict().checks.into_iter().find(|check| check.name == CheckName::Stationarity).unwrap();
    assert_eq!(check.outcome, CheckOutcome::NotJudged);
    assert_eq!(check.advice, "30 requests were answered, 40 are needed; send more");
    // The run that revealed the problem: one request at a time, 2.4 times the capacity, 99 requests.
    let queue = Queue { servers: 1, ..Queue::default() };
    let rate = queue.rate(2.4);
    let case = Case::of(spec(open_load(rate)), queue.open(99, rate));
    assert_eq!(case.outcome(CheckName::Stationarity), CheckOutcome::Invalid);
}

#[test]
fn a_latency_that_falls_over_the_run_is_a_warning() {
    let queue = Queue { servers: 100, ..Queue::default() };
    let rate = 10.0;
    let mut records = queue.open(1000, rate);
    for (i, record) in records.iter_mut().enumerate() {
        let later = Duration::from_micros(100) * (1000 - i as u32);
        let times = &mut record.times;
        for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
            times.map_time(milestone, |at| at + later);
        }
    }
    let case = Case::of(spec(open_load(rate)), records);
    case.assert(CheckName::LatencyTrend, CheckOutcome::Warning);
    assert!(case.only_objection().advice.starts_with("TTFT fell"), "{:?}", case.only_objection());
}

#[test]
fn more_load_than_the_server_can_take_is_invalid() {
    let case = Case::at(1.3, 1000, 1);
    case.assert(CheckName::Stationarity, CheckOutcome::Invalid);
    assert!(case.only_objection().advice.contains("`load.request_rate`"));
}

#[test]
fn a_closed_loop_that_slows_down_is_a_warning() {
    let queue = Queue { servers: 100, ..Queue::default() };
    let mut records = queue.closed(1000, 20);
    for (i, record) in records.iter_mut().enumerate() {
        record.times.map_time(Milestone::FirstToken, |at| at + Duration::from_micros(100) * i as u32);
    }
    Case::of(spec(closed_load(20)), records).assert(CheckName::Stationarity, CheckOutcome::Warning);
}

#[test]
fn a_stepped_clock_is_fatal_only_with_kernel_stamps() {
    let mut case = Case::clean();
    case.evidence.clock_step = Some(ms(5));
    case.assert(CheckName::WallClock, CheckOutcome::Invalid);
    case.evidence.timestamp_source = Some(TimestampSource::Reader);
    assert_eq!(case.outcome(CheckName::WallClock), CheckOutcome::Passed);
}

#[test]
fn a_run_that_was_profiled_says_so_and_one_that_stood_still_for_it_is_invalid() {
    let mut case = Case::clean();
    case.evidence.profiler_effect = Some(ProfilerEffect { on: ms(2_000), standstill: Duration::ZERO });
    case.assert(CheckName::Profiler, CheckOutcome::Warning);
    case.evidence.profiler_effect = Some(ProfilerEffect { on: ms(343_000), standstill: ms(341_000) });
    case.assert(CheckName::Profiler, CheckOutcome::Invalid);
    assert!(case.only_objection().advice.contains("on for 343.0 s"), "{:?}", case.only_objection());
}

#[test]
fn the_servers_times_in_its_answers_must_be_those_of_its_histograms() {
    let mut case = Case::clean();
    let times = ServerTimes::new(Some(ms(40)), Some(ms(10)), Some(ms(100))).boxed();
    case.records.iter_mut().for_each(|record| record.server_times.clone_from(&times));
    let means = ServerPartMeans { queue: Some(ms(41)), prefill: Some(ms(10)), decode: None };
    case.evidence.server_parts = Some(means);
    assert_eq!(case.outcome(CheckName::ServerTimes), CheckOutcome::Passed);
    case.evidence.server_parts = Some(ServerPartMeans { queue: Some(ms(44)), ..means });
    case.assert(CheckName::ServerTimes, CheckOutcome::Warning);
    // Histograms have all answers, so that the means of some say nothing.
    case.records[..20].iter_mut().for_each(|record| record.server_times = None);
    assert!(case.verdict().checks.iter().all(|check| check.name != CheckName::ServerTimes));
}

#[test]
fn a_client_without_descriptors_or_ports_is_objected_to() {
    let mut case = Case::clean();
    case.evidence.starved = 3;
    case.assert(CheckName::Descriptors, CheckOutcome::Invalid);
    let mut case = Case::clean();
    case.evidence.descriptor_limit = Some(8);
    case.assert(CheckName::Descriptors, CheckOutcome::Warning);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let case = Case { evidence: RunDiagnostics::default(), ..Case::clean() };
    let verdict = case.verdict();
    assert!(verdict.valid);
    let unknown: Vec<_> = verdict.checks_with(CheckOutcome::NotJudged).map(|check| check.name).collect();
    use CheckName::{
        Bursts, ClientCpu, MergedReads, OutputLength, PrefixCache, ReadDelay, TokenAgreement, Usage,
        WallClock,
    };
    let expected = [
        ReadDelay,
        MergedReads,
        Bursts,
        ClientCpu,
        TokenAgreement,
        PrefixCache,
        WallClock,
        OutputLength,
        Usage,
    ];
    assert_eq!(unknown, expected);
    assert!(verdict.checks_with(CheckOutcome::NotJudged).all(|check| !check.advice.is_empty()));
}

#[test]
fn the_reason_counts_what_it_does_not_name() {
    let mut case = Case::clean();
    case.evidence.starved = 3;
    case.evidence.clock_step = Some(ms(5));
    let reason = case.verdict().reason().unwrap();
    assert_eq!(reason, "step of the wall clock: 5.00 ms (limit 1.00 ms) (and 1 more)");
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
    case.assert(CheckName::ClientErrors, CheckOutcome::Invalid);
    let check = case.only_objection();
    assert_eq!(check.finding(), "errors of the client itself: 2");
    assert!(check.advice.contains("no timer left"), "{}", check.advice);
}
