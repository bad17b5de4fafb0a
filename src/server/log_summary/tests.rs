//! Each alert is tested on a log that must raise it, and on one that must not.

use std::time::Duration;

use jiff::civil::date;

use super::*;
use crate::server::log::parse_line;

mod troubles;

/// A log of periodic lines, ten seconds apart.
struct Log {
    seconds: u64,
    lines: Vec<String>,
}

/// The values of a periodic line.
#[derive(Clone, Copy)]
struct Load {
    running: u64,
    waiting: u64,
    kv: f64,
    generation: f64,
}

const HEALTHY: Load = Load { running: 20, waiting: 2, kv: 60.0, generation: 1000.0 };

impl Log {
    /// The log starts at 10:00:00.
    fn new() -> Self {
        Self { seconds: 0, lines: Vec::new() }
    }

    fn stamp(&self) -> String {
        format!(
            "07-28 {:02}:{:02}:{:02}",
            10 + self.seconds / 3600,
            self.seconds / 60 % 60,
            self.seconds % 60
        )
    }

    fn line(mut self, text: &str) -> Self {
        self.lines.push(format!("INFO {} [x.py:1] {text}", self.stamp()));
        self.seconds += 10;
        self
    }

    /// Adds `lines` lines of V1.
    fn load(mut self, lines: u64, load: Load) -> Self {
        for _ in 0..lines {
            self = self.line(&v1(0, load, ""));
        }
        self
    }

    /// Adds `lines` lines of V0, with requests swapped out.
    fn swapped(mut self, lines: u64, swapped: u64) -> Self {
        for _ in 0..lines {
            self = self.line(&format!(
                "Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 1000.0 tokens/s, Running: 20 reqs, \
                 Swapped: {swapped} reqs, Pending: 0 reqs, GPU KV cache usage: 60.0%, CPU KV cache usage: 0.0%"
            ));
        }
        self
    }

    fn silence(mut self, duration: Duration) -> Self {
        self.seconds += duration.as_secs();
        self
    }

    fn summary(&self) -> LogSummary {
        judged(&self.lines, AlertRules::default())
    }

    #[track_caller]
    fn only_alert(&self) -> LogAlert {
        let summary = self.summary();
        assert_eq!(summary.alerts.len(), 1, "{:#?}", summary.alerts);
        summary.alerts[0].clone()
    }

    #[track_caller]
    fn is_calm(&self) {
        assert_eq!(self.summary().alerts, []);
    }
}

fn v1(engine: u32, load: Load, more: &str) -> String {
    let Load { running, waiting, kv, generation } = load;
    format!(
        "Engine {engine:03}: Avg prompt throughput: 100.0 tokens/s, Avg generation throughput: {generation:.1} tokens/s, \
         Running: {running} reqs, Waiting: {waiting} reqs{more}, GPU KV cache usage: {kv:.1}%, Prefix cache hit rate: 40.0%"
    )
}

fn judged(lines: &[String], rules: AlertRules) -> LogSummary {
    let mut observer = LogObserver::new(rules, date(2026, 11, 22));
    lines.iter().for_each(|line| observer.push_line(parse_line(line.as_bytes())));
    observer.finish()
}

/// An alert's issue, start, duration in seconds, and whether it is ongoing.
fn essence(alert: &LogAlert) -> (LogIssue, String, u64, bool) {
    let start = alert.start.map(|start| start.to_string()).unwrap_or_default();
    (alert.rule, start, alert.duration.as_secs(), alert.ongoing)
}

#[test]
fn a_healthy_log_raises_no_alert() {
    let summary = Log::new().load(360, HEALTHY).summary();
    assert_eq!(summary.alerts, []);
    assert_eq!((summary.lines.all, summary.lines.statistics, summary.lines.unknown), (360, 360, 0));
    Log::new().swapped(360, 0).is_calm();
}

#[test]
fn swapping_for_five_minutes() {
    let alert = Log::new().swapped(6, 0).swapped(37, 4).swapped(1, 9).swapped(6, 0).only_alert();
    assert_eq!(essence(&alert), (LogIssue::Swapped, "07-28 10:01:00".to_owned(), 370, false));
    assert_eq!((alert.worst, alert.lines, alert.engine), (9.0, 38, EngineId::Only));
    assert!(alert.advice.contains("GPUs") && alert.advice.contains("concurrency"));
    let alert = Log::new().swapped(31, 1).only_alert();
    assert_eq!(essence(&alert), (LogIssue::Swapped, "07-28 10:00:00".to_owned(), 300, true));
    Log::new().swapped(30, 1).swapped(1, 0).swapped(30, 1).is_calm();
}

#[test]
fn a_kv_cache_that_is_nearly_full_for_a_minute() {
    let full = Load { kv: 95.5, ..HEALTHY };
    let alert = Log::new().load(3, HEALTHY).load(13, full).load(3, HEALTHY).only_alert();
    assert_eq!(essence(&alert), (LogIssue::KvCache, "07-28 10:00:30".to_owned(), 120, false));
    assert_eq!((alert.worst, alert.bound), (95.5, 90.0));
    Log::new().load(6, full).load(1, HEALTHY).load(6, full).is_calm();
    Log::new().load(60, Load { kv: 90.0, ..HEALTHY }).is_calm();
}

#[test]
fn requests_that_pile_up_for_three_lines() {
    let piled = Load { waiting: 11, ..HEALTHY };
    let alert = Log::new().load(1, HEALTHY).load(3, piled).load(1, HEALTHY).only_alert();
    assert_eq!(essence(&alert), (LogIssue::Waiting, "07-28 10:00:10".to_owned(), 20, false));
    assert!(alert.advice.contains("TTFT"));
    Log::new().load(1, HEALTHY).load(2, piled).load(1, HEALTHY).is_calm();
    Log::new().load(60, Load { waiting: 10, ..HEALTHY }).is_calm();
}

#[test]
fn generation_that_slows_down_while_as_many_requests_run() {
    let slow = Load { generation: 300.0, ..HEALTHY };
    let alert = Log::new().load(10, HEALTHY).load(10, slow).load(5, HEALTHY).only_alert();
    assert_eq!(essence(&alert), (LogIssue::Throughput, "07-28 10:01:40".to_owned(), 90, false));
    assert_eq!(alert.worst, 30.0);
    assert!(alert.advice.contains("max_tokens"));
    Log::new().load(10, HEALTHY).load(5, slow).load(5, HEALTHY).is_calm();
}

#[test]
fn generation_that_slows_down_with_the_load_is_no_alert() {
    Log::new().load(10, HEALTHY).load(20, Load { generation: 250.0, running: 5, ..HEALTHY }).is_calm();
    let idle = Load { running: 0, waiting: 0, kv: 0.0, generation: 0.0 };
    Log::new().load(10, HEALTHY).load(1, idle).load(20, Load { generation: 300.0, ..HEALTHY }).is_calm();
}

#[test]
fn preemptions_that_v1_counts_in_its_line() {
    let preempting = v1(0, HEALTHY, ", Preemptions: 7");
    let log =
        Log::new().load(6, HEALTHY).line(&preempting).load(2, HEALTHY).line(&preempting).load(60, HEALTHY);
    let alert = log.only_alert();
    assert_eq!(essence(&alert), (LogIssue::Preemptions, "07-28 10:01:00".to_owned(), 30, false));
    assert_eq!((alert.worst, alert.engine, log.summary().preemptions), (14.0, EngineId::Number(0), 14));
    assert_eq!(log.line(&preempting).summary().alerts.len(), 2, "ten minutes later it is another story");
}

#[test]
fn preemptions_that_v0_warns_of_every_fifty() {
    let warning = |total| {
        format!(
            "Sequence group 3 is preempted by PreemptionMode.SWAP mode because. total_num_cumulative_preemption={total}"
        )
    };
    let log = Log::new().swapped(1, 0).line(&warning(1)).swapped(2, 0).line(&warning(51));
    let alert = log.only_alert();
    assert_eq!(essence(&alert), (LogIssue::Preemptions, "07-28 10:00:10".to_owned(), 30, false));
    assert_eq!((alert.worst, log.summary().preemptions), (51.0, 51));
    assert_eq!(log.line(&warning(1)).summary().preemptions, 52, "a server that started anew counts anew");
}

#[test]
fn a_traceback_about_memory_is_one_alert() {
    let oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB.";
    let mut log = Log::new().load(2, HEALTHY).line(oom);
    log.lines.push(oom.to_owned());
    let alert = log.only_alert();
    assert_eq!(essence(&alert), (LogIssue::OutOfMemory, "07-28 10:00:20".to_owned(), 0, false));
    assert_eq!(alert.worst, 2.0);
}

#[test]
fn a_hole_in_the_log_is_not_taken_for_more_of_the_same() {
    let piled = Load { waiting: 50, ..HEALTHY };
    let log = Log::new().load(4, piled).silence(Duration::from_secs(3600)).load(5, piled);
    let found: Vec<_> = log.summary().alerts.iter().map(essence).collect();
    let expected = [("07-28 10:00:00", 30, false), ("07-28 11:00:40", 40, true)];
    assert_eq!(
        found,
        expected.map(|(start, seconds, ongoing)| (LogIssue::Waiting, start.to_owned(), seconds, ongoing))
    );
    Log::new().load(1, piled).silence(Duration::from_secs(3 * 3600)).load(1, piled).is_calm();
}

#[test]
fn a_log_with_a_line_every_two_minutes_is_judged_too() {
    let mut log = Log::new();
    for _ in 0..5 {
        log = log.load(1, Load { waiting: 50, ..HEALTHY }).silence(Duration::from_secs(110));
    }
    assert_eq!(essence(&log.only_alert()), (LogIssue::Waiting, "07-28 10:00:00".to_owned(), 480, true));
}

#[test]
fn each_engine_is_judged_by_itself() {
    let mut log = Log::new();
    for step in 0..12 {
        let (first, second) = if step % 2 == 0 { (50, 0) } else { (0, 50) };
        log = log.line(&v1(0, Load { waiting: first, ..HEALTHY }, ""));
        log.seconds -= 10;
        log = log.line(&v1(1, Load { waiting: second, ..HEALTHY }, ""));
    }
    log.is_calm();
    let summary = log.summary();
    assert_eq!(
        summary.engines.keys().copied().collect::<Vec<_>>(),
        [EngineId::Number(0), EngineId::Number(1)]
    );
    assert_eq!(summary.engines[&EngineId::Number(1)].waiting.summarize().unwrap().mean, 25.0);
}

#[test]
fn an_alert_over_new_year_lasts_as_long_as_it_lasted() {
    let line = |stamp: &str| format!("INFO {stamp} [x.py:1] {}", v1(0, Load { waiting: 50, ..HEALTHY }, ""));
    let lines = ["12-31 23:59:40", "12-31 23:59:50", "01-01 00:00:00", "01-01 00:00:10"].map(line);
    let summary = judged(&lines, AlertRules::default());
    assert_eq!(essence(&summary.alerts[0]), (LogIssue::Waiting, "12-31 23:59:40".to_owned(), 30, true));
}

#[test]
fn without_time_stamps_only_events_are_alerts() {
    let lines = [v1(0, Load { waiting: 50, ..HEALTHY }, ""), v1(0, HEALTHY, ", Preemptions: 2")];
    let summary = judged(&[lines.clone(), lines].concat(), AlertRules::default());
    assert_eq!(summary.alerts.len(), 1);
    assert_eq!((summary.alerts[0].rule, summary.alerts[0].start), (LogIssue::Preemptions, None));
    assert_eq!(summary.start, None);
}

#[test]
fn other_thresholds_hold_where_they_are_given() {
    let log = Log::new().load(10, Load { waiting: 8, kv: 99.0, ..HEALTHY });
    let mut rules = AlertRules::default();
    for change in ["waiting=5:1m", "kv=off"] {
        rules.apply(change.parse().unwrap());
    }
    let summary = judged(&log.lines, rules);
    let found: Vec<_> = summary.alerts.iter().map(|alert| (alert.rule, alert.bound)).collect();
    assert_eq!(found, [(LogIssue::Waiting, 5.0)]);
}

#[test]
fn alerts_without_end_take_no_memory_without_end() {
    let mut observer = LogObserver::new(AlertRules::default(), date(2026, 11, 22));
    for day in 1..=28 {
        for step in 0..288 {
            let stamp = format!("07-{day:02} {:02}:{:02}:00", step / 12, step % 12 * 5);
            observer.push_line(parse_line(format!("INFO {stamp} x] torch.OutOfMemoryError: x").as_bytes()));
            observer.push_line(parse_line(
                format!("INFO {stamp} x] {}", v1(step % 2, HEALTHY, ", Preemptions: 1")).as_bytes(),
            ));
        }
    }
    let summary = observer.finish();
    assert!(summary.alerts.len() <= 1000);
}

#[test]
fn the_facts_of_the_last_start_count() {
    let start = |tokens: &str, version: &str| {
        [
            "non-default args: {'max_model_len': 2048}".to_owned(),
            format!("Initializing a V1 LLM engine (v{version}) with config: model='m', max_seq_len=2048)"),
            format!("GPU KV cache size: {tokens} tokens"),
        ]
    };
    let summary =
        judged(&[start("1,000", "0.10.0"), start("2,000", "0.11.0")].concat(), AlertRules::default());
    assert_eq!((summary.starts, summary.start_up.kv_tokens), (2, Some(2000)));
    assert_eq!(summary.start_up.version.as_deref(), Some("0.11.0"));
}

#[test]
fn drafts_add_up_over_intervals_or_stand_for_the_whole() {
    let v1 = "SpecDecoding metrics: Draft acceptance rate: 50.0%, Accepted: 10 tokens, Drafted: 20 tokens"
        .to_owned();
    let drafting = judged(&[v1.clone(), v1], AlertRules::default()).drafting.unwrap();
    assert_eq!((drafting.accepted, drafting.drafted, drafting.acceptance_rate), (20, 40, Some(0.5)));
    let v0 = |accepted| {
        format!(
            "Speculative metrics: Number of accepted tokens: {accepted}, Number of draft tokens: 100, Number of emitted tokens: 5."
        )
    };
    let drafting = judged(&[v0(10), v0(60)], AlertRules::default()).drafting.unwrap();
    assert_eq!((drafting.accepted, drafting.drafted), (60, 100));
}
