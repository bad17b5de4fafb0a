//! The top of the page: the verdict and the most important numbers.

use serde::Serialize;

use super::foreign_text::{MESSAGE, foreign_text};
use super::table::Cell;
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::model::validity::CheckOutcome;
use crate::report::run_metrics::MetricRow;

/// The verdict and the most important numbers of a run.
#[derive(Serialize)]
pub(super) struct Summary {
    /// `VALID`, `INVALID`, or `INVALID` with the metrics that are.
    pub verdict: String,
    /// The class: `bad`, `warn` or nothing.
    pub class: &'static str,
    /// The words behind the verdict.
    pub reason: String,
    /// Further lines.
    pub lines: Vec<String>,
    /// The numbers.
    pub tiles: Vec<Tile>,
}

/// A number with its name.
#[derive(Serialize)]
pub(super) struct Tile {
    label: String,
    cell: Cell,
}

/// The metrics at the top of the page.
const TILES: [(Latency, Statistic); 5] = [
    (Latency::Ttft, Statistic::Percentile(50.0)),
    (Latency::Ttft, Statistic::Percentile(95.0)),
    (Latency::Tpot, Statistic::Mean),
    (Latency::E2e, Statistic::Percentile(50.0)),
    (Latency::E2e, Statistic::Percentile(95.0)),
];

/// The rates at the top of the page.
const RATES: [&str; 4] = ["request_throughput", "output_throughput", "request_goodput", "failure_rate"];

impl Summary {
    /// Summarizes a run.
    pub(super) fn from_run(run: &Run) -> Self {
        let verdict = &run.validity;
        let count = |outcome| verdict.checks_with(outcome).count();
        let class = match (verdict.valid, count(CheckOutcome::Warning)) {
            (false, _) => "bad",
            (true, 0) => "",
            (true, _) => "warn",
        };
        let mut lines = Vec::new();
        if run.interrupted {
            lines.push(
                "Interrupted: the numbers are of what was measured until then, and favor shorter requests."
                    .into(),
            );
        }
        if run.spec.target.insecure {
            lines.push("TLS certificates were not checked.".into());
        }
        Self { verdict: verdict_words(run), class, reason: reason(run), lines, tiles: tiles(run) }
    }
}

/// `VALID`, or `INVALID` with the metrics that are INVALID where others are not.
pub(super) fn verdict_words(run: &Run) -> String {
    if run.is_predicted() {
        return "PREDICTED".to_owned();
    }
    match (run.validity.valid, run.validity.invalid_metrics()) {
        (true, _) => "VALID".to_owned(),
        (false, None) => "INVALID".to_owned(),
        (false, Some(metrics)) => format!("INVALID {metrics}"),
    }
}

fn reason(run: &Run) -> String {
    if let Some(prediction) = &run.prediction {
        return foreign_text(&format!("not measured: {}", prediction.origin()), MESSAGE);
    }
    let verdict = &run.validity;
    if let Some(reason) = verdict.reason() {
        return foreign_text(&reason, MESSAGE);
    }
    let count = |outcome| verdict.checks_with(outcome).count();
    let passed = format!("{} of {} checks passed", count(CheckOutcome::Passed), verdict.checks.len());
    let others = [(CheckOutcome::Warning, "with a warning"), (CheckOutcome::NotJudged, "not judged")];
    let others = others.into_iter().map(|(outcome, words)| (count(outcome), words));
    let others = others.filter(|(count, _)| *count > 0).map(|(count, words)| format!(", {count} {words}"));
    passed + &others.collect::<String>()
}

fn tiles(run: &Run) -> Vec<Tile> {
    let metrics = &run.metrics;
    let answered = Cell {
        text: metrics.completed.to_string(),
        value: Some(metrics.completed.to_string()),
        metric: Some("completed".into()),
        detail: Some(format!("of {}", metrics.request_count())),
    };
    let rates = RATES.into_iter().filter_map(MetricId::scalar);
    let latencies = TILES.into_iter().map(|(latency, statistic)| MetricId::Latency(latency, statistic));
    let rows = rates.chain(latencies).filter_map(|id| MetricRow::from_run(id, run));
    let tiles = rows.map(|row| Tile { label: row.id.label(), cell: metric_cell(&row) });
    std::iter::once(Tile { label: "Answered requests".into(), cell: answered }).chain(tiles).collect()
}

/// A metric with its interval.
pub(super) fn metric_cell(row: &MetricRow) -> Cell {
    let interval = row.interval_text();
    let detail = match (&row.invalid, interval) {
        (Some(_), Some(interval)) => format!("{interval}\nINVALID"),
        (Some(_), None) => "INVALID".to_owned(),
        (None, Some(interval)) => interval,
        (None, None) => "no interval".to_owned(),
    };
    Cell {
        text: row.value_text(),
        value: Some(row.value.to_string()),
        metric: Some(row.id.to_string()),
        detail: Some(detail),
    }
}
