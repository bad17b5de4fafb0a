//! Parses a server's log: the cost of a line that is recognized, and of one that is not.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use jiff::civil::date;
use servegauge::internals::{AlertRules, LogLines, LogObserver, LogSummary, parse_line};

const OVERLOADED: &str = include_str!("../../tests/fixtures/logs/overload-v1.log");
const REAL: &str = include_str!("../../tests/fixtures/logs/real-startup-and-idle.log");

/// The number of lines of each log.
const LINES: usize = 10_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let foreign = |number: usize| {
        format!(
            "INFO:     127.0.0.1:{} - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n",
            10_000 + number % 50_000
        )
    };
    let prompt = "Received request cmpl-7: prompt: 'Tell me of rain.', params: SamplingParams(n=1)";
    let request = |number: usize| format!("INFO 07-28 06:{:02}:09 [logger.py:39] {prompt}\n", number % 60);
    let again = |log: &'static str| log.lines().cycle().map(|line| format!("{line}\n"));
    let logs: [(&str, String); 4] = [
        ("requests over HTTP", (0..LINES).map(foreign).collect()),
        ("requests with prompts", (0..LINES).map(request).collect()),
        ("an overloaded server", again(OVERLOADED).take(LINES).collect()),
        ("a start, then little", again(REAL).take(LINES).collect()),
    ];
    let mut group = criterion.benchmark_group("log");
    for (name, log) in &logs {
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| sum_up(black_box(log))));
    }
    group.finish();
}

/// Summarizes a log as `servegauge logs` does.
fn sum_up(log: &str) -> LogSummary {
    let mut observer = LogObserver::new(AlertRules::default(), date(2026, 7, 28));
    let mut lines = LogLines::new(log.as_bytes());
    while let Some(line) = lines.next_line().expect("memory can be read") {
        observer.push_line(parse_line(line));
    }
    observer.finish()
}
