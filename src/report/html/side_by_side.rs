//! Several runs side by side: one row a run.

use super::foreign_text::{NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::summary::{metric_cell, verdict_words};
use super::table::{Cell, Row, Table};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::report::run_metrics::MetricRow;
use crate::report::text::header;

/// The latencies of the table.
const LATENCIES: [(Latency, Statistic); 7] = [
    (Latency::Ttft, Statistic::Percentile(50.0)),
    (Latency::Ttft, Statistic::Percentile(95.0)),
    (Latency::Ttft, Statistic::Percentile(99.0)),
    (Latency::Tpot, Statistic::Mean),
    (Latency::Tpot, Statistic::Percentile(95.0)),
    (Latency::E2e, Statistic::Percentile(50.0)),
    (Latency::E2e, Statistic::Percentile(95.0)),
];

/// The rates of the table.
const RATES: [&str; 4] = ["request_throughput", "output_throughput", "request_goodput", "failure_rate"];

/// The metrics that any of the runs has, in the order of the table.
fn columns(runs: &[(&str, &Run)]) -> Vec<MetricId> {
    let rates = RATES.into_iter().filter_map(MetricId::scalar);
    let latencies = LATENCIES.into_iter().map(|(latency, statistic)| MetricId::Latency(latency, statistic));
    let has = |id: &MetricId| runs.iter().any(|(_, run)| id.value(run).is_some());
    rates.chain(latencies).filter(has).collect()
}

/// The table of all runs.
pub(super) fn metrics(runs: &[(&str, &Run)]) -> Section {
    let columns = columns(runs);
    let mut table = Table::new(["Run", "Verdict", "Load", "Answered"]);
    table.head.extend(columns.iter().map(|id| id.label()));
    for (name, run) in runs {
        let metrics = &run.metrics;
        let answered = Cell {
            text: metrics.completed.to_string(),
            value: Some(metrics.completed.to_string()),
            metric: Some("completed".into()),
            detail: Some(format!("of {}", metrics.request_count())),
        };
        let mut cells = [foreign_text(name, NAME), verdict_words(run), header::load(&run.spec.load)]
            .map(Cell::from)
            .to_vec();
        cells.push(answered);
        let found = columns.iter().map(|id| MetricRow::from_run(*id, run));
        cells.extend(found.map(|row| row.as_ref().map(metric_cell).unwrap_or_default()));
        let class = if run.validity.valid { "" } else { "bad" };
        table.rows.push(Row { class, cells, ..Row::default() });
    }
    let mut section = Section::new("runs", "Runs side by side");
    section
        .notes
        .push("Below each value is its 95 % interval. `servegauge compare` tests differences.".into());
    section.tables.push(NamedTable { title: String::new(), class: "numbers", table });
    section
}

/// What each run measured, and why it is INVALID where it is.
pub(super) fn measured(runs: &[(&str, &Run)]) -> Section {
    let mut table = Table::new(["Run", "Model", "Server", "Dataset", "Started", "Client", "Verdict"]);
    for (name, run) in runs {
        let dataset = &run.inputs.dataset;
        let version = run.environment.server_version.as_deref().unwrap_or("unknown version");
        let reason = run.validity.reason().unwrap_or_else(|| "VALID".into());
        let texts = [
            name.to_owned(),
            &run.spec.target.model,
            &format!("{} {version}", run.spec.target.display_url()),
            &dataset.dataset,
            &run.started.strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
            &run.environment.host,
            &reason,
        ];
        let cells = texts.map(|text| Cell::from(foreign_text(text, NAME))).to_vec();
        table.rows.push(Row { class: if run.validity.valid { "" } else { "bad" }, cells, ..Row::default() });
    }
    let mut section = Section::new("measured", "What was measured");
    section.tables.push(NamedTable { title: String::new(), class: "plain", table });
    section
}
