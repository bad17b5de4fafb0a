//! Tests each rule on a server that has only its problem, and on a healthy server.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::date;

use super::*;
use crate::analysis::diagnose::rule_evaluation::TimeRange;
use crate::model::metrics::{FailureCount, GroupBy, GroupMetrics, Latency, SessionTotals};
use crate::model::record::{FailureClass, Record};
use crate::model::run::Run;
use crate::model::run_spec::HistoryMode;
use crate::model::series::BucketQuantiles;
use crate::model::server::{ReplicaMetrics, ScrapedHistogram, ServerMetrics, ServerSignal};
use crate::model::units::Rate;
use crate::model::validity::{Check, CheckName, CheckOutcome, CheckScope, Quantity, Verdict};
use crate::server::log::parse_line;
use crate::server::log_summary::{AlertRules, LogObserver, LogSummary};
use crate::stats::{Distribution, DurationSketch};
use crate::testing::sample_run;

mod borders;

/// All evidence that a rule may use.
struct Kit {
    run: Option<Run>,
    log: Option<String>,
    live: Option<ServerMetrics>,
}

impl Kit {
    /// A healthy server, with evidence from every source.
    fn well() -> Self {
        Self { run: Some(well_run()), log: Some(format!("{START}{}", lines(20, 2, 60, ""))), live: None }
    }

    fn run(change: impl FnOnce(&mut Run)) -> Self {
        let mut kit = Self::well();
        change(kit.run.as_mut().unwrap());
        kit
    }

    fn server(change: impl FnOnce(&mut ReplicaMetrics)) -> Self {
        Self::run(|run| change(&mut run.server.as_mut().unwrap().replicas[0]))
    }

    fn log(log: String) -> Self {
        Self { log: Some(log), ..Self::well() }
    }

    /// A server log that starts with one further argument, followed by a healthy load.
    fn started_with(argument: &str) -> Self {
        let start = START.replace("'max_num_seqs'", &format!("{argument}, 'max_num_seqs'"));
        Self::log(format!("{start}{}", lines(20, 2, 60, "")))
    }

    fn diagnosis(&self) -> Diagnosis {
        let log = self.log.as_deref().map(summary);
        let evidence = DiagnosisEvidence {
            run: self.run.as_ref(),
            log: log.as_ref(),
            live: self.live.as_ref(),
            live_version: None,
        };
        diagnose(&evidence)
    }

    #[track_caller]
    fn finding(&self, rule: &str) -> DiagnosisFinding {
        let diagnosis = self.diagnosis();
        let found = diagnosis.findings.iter().find(|finding| finding.rule == rule);
        found.unwrap_or_else(|| panic!("{rule} was not found: {diagnosis:?}")).clone()
    }
}

const START: &str = "\
INFO 07-28 09:59:00 [utils.py:233] non-default args: {'model': 'm', 'max_num_seqs': 64}
INFO 07-28 09:59:10 [core.py:105] Initializing a V1 LLM engine (v0.10.0) with config: model='m', tensor_parallel_size=1, enforce_eager=False
";

/// Two minutes of periodic V1 log lines.
fn lines(running: u32, waiting: u32, kv: u32, more: &str) -> String {
    let line = |at: u32| {
        format!(
            "INFO 07-28 10:{:02}:{:02} [loggers.py:1] Engine 000: Avg prompt throughput: 100.0 tokens/s, Avg generation \
             throughput: 1000.0 tokens/s, Running: {running} reqs, Waiting: {waiting} reqs{more}, GPU KV cache usage: \
             {kv}.0%, Prefix cache hit rate: 60.0%\n",
            at / 60,
            at % 60
        )
    };
    (0..13).map(|at| line(10 * at)).collect()
}

/// The same log lines, three minutes later.
fn later(lines: &str) -> String {
    lines.replace(" 10:02", " 10:05").replace(" 10:01", " 10:04").replace(" 10:00", " 10:03")
}

/// Two minutes of periodic V0 log lines.
fn lines_of_v0(swapped: u32) -> String {
    let line = |at: u32| {
        format!(
            "INFO 07-28 10:{:02}:{:02} llm_engine.py:645] Avg prompt throughput: 100.0 tokens/s, Avg generation throughput: \
             1000.0 tokens/s, Running: 20 reqs, Swapped: {swapped} reqs, Pending: 2 reqs, GPU KV cache usage: 60.0%, CPU KV \
             cache usage: 0.0%\n",
            at / 60,
            at % 60
        )
    };
    (0..13).map(|at| line(10 * at)).collect()
}

fn summary(log: &str) -> LogSummary {
    let mut observer = LogObserver::new(AlertRules::default(), date(2026, 11, 22));
    log.lines().for_each(|line| observer.push_line(parse_line(line.as_bytes())));
    observer.finish()
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn well_run() -> Run {
    let mut run = sample_run::run(false);
    (run.metrics.completed, run.metrics.failed, run.metrics.peak_in_flight) = (100, 0, 20);
    run.metrics.failures.clear();
    for (latency, value) in [(Latency::Ttft, 100), (Latency::Tpot, 20), (Latency::Itl, 20)] {
        measured(&mut run, latency, vec![ms(value); 100]);
    }
    let names = [CheckName::ScheduleLag, CheckName::Stationarity, CheckName::Samples, CheckName::Bursts];
    run.validity =
        Verdict { valid: true, checks: names.map(|name| check(name, CheckOutcome::Passed)).to_vec() };
    run.metrics.sessions = Some(SessionTotals {
        started: 10,
        completed: 10,
        failed: 0,
        abandoned: 0,
        cut: 0,
        peak_active: 10,
        mean_turns: 3.0,
        mean_duration: None,
    });
    run.server = Some(well_server());
    run
}

fn measured(run: &mut Run, latency: Latency, values: Vec<Duration>) {
    run.histograms.insert(latency, values.iter().copied().collect::<DurationSketch>().encode());
    run.metrics.latencies.insert(latency, Distribution::from_values(values, &[99.0]).unwrap());
}

fn check(name: CheckName, outcome: CheckOutcome) -> Check {
    let (figure, bound) = (Some(Quantity::Share(0.5)), Some(Quantity::Share(0.05)));
    Check { name, outcome, scope: CheckScope::Run, figure, bound, advice: String::new() }
}

const SAMPLES: usize = 13;

fn flat(value: f64) -> Vec<Option<f64>> {
    vec![Some(value); SAMPLES]
}

/// Two minutes of a healthy server, with a sample every ten seconds.
fn well_server() -> ServerMetrics {
    let replica = ReplicaMetrics {
        engine: Some("vLLM".into()),
        gauges: [
            (ServerSignal::Running, flat(20.0)),
            (ServerSignal::Waiting, flat(2.0)),
            (ServerSignal::KvUsage, flat(0.6)),
        ]
        .into(),
        counters: [
            (ServerSignal::Preemptions, flat(0.0)),
            (ServerSignal::PrefixQueries, flat(100.0)),
            (ServerSignal::PrefixHits, flat(60.0)),
        ]
        .into(),
        times: [
            (ServerSignal::Ttft, 0.09),
            (ServerSignal::QueueTime, 0.01),
            (ServerSignal::PrefillTime, 0.06),
            (ServerSignal::Tpot, 0.02),
        ]
        .map(|(signal, mean)| (signal, times(mean)))
        .into(),
        ..ReplicaMetrics::default()
    };
    let at_s = (0..SAMPLES).map(|at| 10.0 * at as f64).collect();
    ServerMetrics {
        interval: Duration::from_secs(10),
        at_s,
        replicas: vec![replica],
        ..ServerMetrics::default()
    }
}

/// A histogram of a hundred values with this mean, in seconds.
fn times(mean: f64) -> ScrapedHistogram {
    ScrapedHistogram { buckets: vec![(2.0 * mean, 100.0)], sum: 100.0 * mean, count: 100.0 }
}

fn failing(class: FailureClass, example: &str) -> Kit {
    Kit::run(|run| {
        run.metrics.failed = 5;
        run.metrics.failures = vec![FailureCount { class, count: 5, example: example.into(), advice: None }];
    })
}

fn waiting(run: &mut Run, count: f64) {
    let server = run.server.as_mut().unwrap();
    server.replicas[0].gauges.insert(ServerSignal::Waiting, flat(count));
}

/// Makes the tokens of a run stall in every other second; `together` puts the first tokens into the same seconds.
fn stalling(run: &mut Run, together: bool) {
    let mut gaps = vec![ms(20); 95];
    gaps.extend([ms(300); 5]);
    measured(run, Latency::Itl, gaps);
    let stalls = |at: usize| at.is_multiple_of(2);
    let itl = (0..12).map(|at| vec![if stalls(at) { ms(300) } else { ms(20) }]).collect();
    let ttft = (0..12).map(|at| if stalls(at) == together { vec![ms(100)] } else { vec![] }).collect();
    (run.series.itl, run.series.ttft) =
        (Some(BucketQuantiles::from_values(itl)), BucketQuantiles::from_values(ttft));
    run.series.bucket = Duration::from_secs(1);
}

/// Sets the counts of drafts, of tokens drafted and of tokens accepted.
fn drafting(replica: &mut ReplicaMetrics, counts: [f64; 3]) {
    let signals = [ServerSignal::SpecDrafts, ServerSignal::SpecDraftTokens, ServerSignal::SpecAcceptedTokens];
    replica.counters.extend(signals.into_iter().zip(counts).map(|(signal, count)| {
        let mut column = flat(0.0);
        column[4] = Some(count);
        (signal, column)
    }));
}

/// Two LoRA adapters for a server that holds one at a time, as in a trial of vLLM 0.32: 144 ms in the queue with one request running.
fn adapters_that_wait(replica: &mut ReplicaMetrics) {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let series = [("a", "b"), ("b", "")].map(|(running, waiting)| {
        [
            label("max_lora", "1"),
            label("running_lora_adapters", running),
            label("waiting_lora_adapters", waiting),
        ]
        .into()
    });
    replica.facts.insert(ServerSignal::Lora, series.to_vec());
    replica.gauges.insert(ServerSignal::Running, flat(1.0));
    replica.times.insert(ServerSignal::QueueTime, times(0.144));
}

/// For each rule, a server that has its problem.
fn troubles() -> Vec<(&'static str, Kit)> {
    let pcie = "WARNING 07-28 09:59:12 custom_all_reduce.py:136] Custom allreduce is disabled because it's not supported on more \
                than two PCIe-only GPUs. To silence this warning, specify disable_custom_all_reduce=True explicitly.\n";
    let error = "ERROR 07-28 10:03:00 [core.py:1131] Error in completion stream generator.\n";
    let out = "ERROR 07-28 10:03:00 [core.py:1131] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB.\n";
    vec![
        (
            "client",
            Kit::run(|run| run.validity.checks[0] = check(CheckName::ScheduleLag, CheckOutcome::Invalid)),
        ),
        ("restart", Kit::server(|replica| replica.restarts.push(3))),
        ("failures", failing(FailureClass::Status(503), "busy")),
        ("oom", Kit::log(format!("{START}{}{out}", lines(20, 2, 60, "")))),
        ("swapping", Kit::log(lines_of_v0(3))),
        ("preemptions", Kit::log(format!("{START}{}", lines(20, 2, 60, ", Preemptions: 4")))),
        ("kv-full", Kit::server(|replica| _ = replica.gauges.insert(ServerSignal::KvUsage, flat(0.97)))),
        (
            "queue",
            Kit::run(|run| {
                waiting(run, 40.0);
                measured(run, Latency::Ttft, vec![ms(2_000); 100]);
                let server = &mut run.server.as_mut().unwrap().replicas[0].times;
                server.extend([(ServerSignal::Ttft, times(1.9)), (ServerSignal::QueueTime, times(1.8))]);
            }),
        ),
        (
            "prefill",
            Kit::run(|run| {
                measured(run, Latency::Ttft, vec![ms(2_000); 100]);
                let server = &mut run.server.as_mut().unwrap().replicas[0].times;
                server.extend([(ServerSignal::Ttft, times(1.9)), (ServerSignal::PrefillTime, times(1.7))]);
            }),
        ),
        ("between", Kit::run(|run| measured(run, Latency::Ttft, vec![ms(300); 100]))),
        (
            "many-running",
            Kit::run(|run| {
                measured(run, Latency::Tpot, vec![ms(60); 100]);
                run.server.as_mut().unwrap().replicas[0].gauges.insert(ServerSignal::Running, flat(60.0));
            }),
        ),
        ("slow-steps", Kit::run(|run| measured(run, Latency::Tpot, vec![ms(60); 100]))),
        ("itl-spikes", Kit::run(|run| stalling(run, true))),
        (
            "tensor-parallel",
            Kit::log(format!(
                "{}{pcie}{}",
                START.replace("tensor_parallel_size=1", "tensor_parallel_size=4"),
                lines(20, 2, 60, "")
            )),
        ),
        (
            "prefix-cache",
            Kit::server(|replica| _ = replica.counters.insert(ServerSignal::PrefixHits, flat(5.0))),
        ),
        (
            "throughput",
            Kit::log(format!(
                "{START}{}{}",
                lines(20, 2, 60, ""),
                later(&lines(20, 2, 60, "")).replace("1000.0", "300.0")
            )),
        ),
        (
            "buffering",
            Kit::run(|run| run.validity.checks[3] = check(CheckName::Bursts, CheckOutcome::Invalid)),
        ),
        (
            "pile-up",
            Kit::run(|run| run.validity.checks[1] = check(CheckName::Stationarity, CheckOutcome::Invalid)),
        ),
        ("log-errors", Kit::log(format!("{START}{}{error}", lines(20, 2, 60, "")))),
        ("speculation", Kit::server(|replica| drafting(replica, [100.0, 300.0, 20.0]))),
        ("adapters", Kit::server(adapters_that_wait)),
        ("enforce-eager", Kit::started_with("'enforce_eager': True")),
        ("delay-factor", Kit::started_with("'scheduler_delay_factor': 0.5")),
        ("swap-space", Kit::started_with("'swap_space': 16.0")),
        ("v0-engine", Kit::log(lines_of_v0(0))),
    ]
}

#[test]
fn a_server_that_is_well_is_judged_by_every_rule_and_nothing_is_found() {
    let diagnosis = Kit::well().diagnosis();
    assert_eq!((diagnosis.findings, diagnosis.not_judged), (vec![], vec![]));
    assert_eq!(diagnosis.fine, RULES.map(|rule| rule.name));
    assert_eq!(diagnosis.version, Some(VllmRelease::new(0, 10, 0)));
}

#[test]
fn every_rule_fires_on_the_server_that_has_its_trouble() {
    let troubles = troubles();
    assert_eq!(troubles.iter().map(|(name, _)| *name).collect::<Vec<_>>(), RULES.map(|rule| rule.name));
    for (name, kit) in troubles {
        let diagnosis = kit.diagnosis();
        let found: Vec<_> = diagnosis.findings.iter().map(|finding| finding.rule).collect();
        // Only the V0 engine swaps.
        let expected = if name == "swapping" { vec!["swapping", "v0-engine"] } else { vec![name] };
        assert_eq!(found, expected, "{diagnosis:?}");
        for finding in diagnosis.findings {
            assert!(!finding.facts.is_empty() && !finding.changes.is_empty(), "{name}");
        }
    }
}

#[test]
fn without_evidence_nothing_is_judged_and_each_rule_says_what_it_needs() {
    let diagnosis = diagnose(&DiagnosisEvidence::default());
    assert_eq!((diagnosis.findings, diagnosis.fine), (vec![], vec![]));
    assert_eq!(diagnosis.not_judged.len(), RULES.len());
    assert!(diagnosis.not_judged.iter().all(|rule| !rule.needs.is_empty()));
}

#[test]
fn a_run_without_the_servers_side_leaves_its_rules_unjudged() {
    let mut run = well_run();
    run.server = None;
    let kit = Kit { run: Some(run), log: None, live: None };
    let unjudged: Vec<_> = kit.diagnosis().not_judged.iter().map(|rule| rule.rule).collect();
    for rule in
        ["oom", "preemptions", "kv-full", "restart", "tensor-parallel", "enforce-eager", "prefix-cache"]
    {
        assert!(unjudged.contains(&rule), "{rule}: {unjudged:?}");
    }
    assert!(!unjudged.contains(&"failures") && !unjudged.contains(&"itl-spikes"), "{unjudged:?}");
}

#[test]
fn a_live_server_alone_tells_of_its_queue_and_its_pool() {
    let mut live = well_server();
    live.replicas[0].gauges.insert(ServerSignal::Waiting, flat(40.0));
    live.replicas[0].times.insert(ServerSignal::Ttft, times(1.0));
    let kit = Kit { run: None, log: None, live: Some(live) };
    let finding = kit.finding("queue");
    assert_eq!((finding.level, finding.facts[0].origin), (Severity::Alert, EvidenceSource::Live));
    assert!(kit.diagnosis().fine.contains(&"kv-full"));
}

#[test]
fn the_worst_comes_first() {
    let mut kit = Kit::started_with("'swap_space': 16.0, 'enforce_eager': True");
    kit.run = Kit::server(|replica| replica.restarts.push(2)).run;
    let found: Vec<_> =
        kit.diagnosis().findings.iter().map(|finding| (finding.rule, finding.level)).collect();
    let expected =
        [("restart", Severity::Alert), ("enforce-eager", Severity::Warn), ("swap-space", Severity::Hint)];
    assert_eq!(found, expected);
}

#[test]
fn a_finding_has_its_figure_its_bound_and_its_time() {
    let log = format!("{START}{}", lines(20, 71, 60, ""));
    let fact = Kit::log(log).finding("queue").facts[0].clone();
    assert_eq!(
        (fact.figure, fact.bound),
        (Some(Quantity::Count(71)), Some(FactBound::Above(Quantity::Count(10))))
    );
    let TimeRange { start, lasted } = fact.when.unwrap();
    assert_eq!((start.to_string(), lasted), ("07-28 10:00:00".into(), Duration::from_secs(120)));
    let fact = Kit::server(|replica| {
        let mut waiting = flat(0.0);
        waiting[4..7].fill(Some(30.0));
        replica.gauges.insert(ServerSignal::Waiting, waiting);
    });
    let TimeRange { start, lasted } = fact.finding("queue").facts[0].when.unwrap();
    assert_eq!((start.to_string(), lasted), ("40.00 s".into(), Duration::from_secs(20)));
}
