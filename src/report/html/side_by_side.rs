//! Several results side by side, runs of this program and results of other tools: one row a result.

use super::foreign_text::{NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::summary::{metric_cell, verdict_words};
use super::table::{Cell, Row, Table};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::model::stated::StatedResult;
use crate::report::run_metrics::{MetricRow, value_text};
use crate::report::stated::{self, NOT_JUDGED};
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

/// A result on a page.
#[derive(Clone, Copy)]
pub(crate) enum PageResult<'a> {
    /// A run of this program.
    Run(&'a Run),
    /// A result of another tool.
    Stated(&'a StatedResult),
}

impl PageResult<'_> {
    fn has(self, id: MetricId) -> bool {
        match self {
            Self::Run(run) => id.value(run).is_some(),
            Self::Stated(result) => id.stated_value(result).is_some(),
        }
    }

    /// The class of the result's row.
    fn class(self) -> &'static str {
        match self {
            Self::Run(run) if !run.validity.valid => "bad",
            Self::Run(_) | Self::Stated(_) => "",
        }
    }

    /// The verdict, the load, and how many requests were answered.
    fn first_cells(self) -> [Cell; 3] {
        let (verdict, load, completed, all) = match self {
            Self::Run(run) => {
                let metrics = &run.metrics;
                let (completed, all) = (metrics.completed as u64, metrics.request_count() as u64);
                (verdict_words(run), header::load(&run.spec.load), Some(completed), Some(all))
            }
            Self::Stated(result) => {
                let load = stated::load(&result.load).unwrap_or_default();
                (NOT_JUDGED.to_owned(), load, result.completed, result.request_count())
            }
        };
        let answered = Cell {
            text: completed.map(|count| count.to_string()).unwrap_or_default(),
            value: completed.map(|count| count.to_string()),
            metric: Some("completed".into()),
            detail: all.map(|all| format!("of {all}")),
        };
        [verdict.into(), load.into(), answered]
    }

    fn metric_cell(self, id: MetricId) -> Cell {
        match self {
            Self::Run(run) => MetricRow::from_run(id, run).as_ref().map(metric_cell).unwrap_or_default(),
            Self::Stated(result) => {
                id.stated_value(result).map(|value| stated_cell(id, value)).unwrap_or_default()
            }
        }
    }

    /// Model, server, dataset, start, client and verdict.
    fn measured(self) -> [String; 6] {
        match self {
            Self::Run(run) => {
                let version = run.environment.server_version.as_deref().unwrap_or("unknown version");
                [
                    run.spec.target.model.clone(),
                    format!("{} {version}", run.spec.target.display_url()),
                    run.inputs.dataset.dataset.clone(),
                    run.started.strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
                    run.environment.host.clone(),
                    match run.is_predicted() {
                        true => "PREDICTED".into(),
                        false => run.validity.reason().unwrap_or_else(|| "VALID".into()),
                    },
                ]
            }
            Self::Stated(result) => [
                result.model.clone().unwrap_or_default(),
                String::new(),
                String::new(),
                result.started.clone().unwrap_or_default(),
                result.origin(),
                NOT_JUDGED.to_owned(),
            ],
        }
    }
}

/// The runs among the results.
pub(super) fn runs<'a>(results: &[(&'a str, PageResult<'a>)]) -> Vec<(&'a str, &'a Run)> {
    let run = |(name, result): &(&'a str, PageResult<'a>)| match result {
        PageResult::Run(run) => Some((*name, *run)),
        PageResult::Stated(_) => None,
    };
    results.iter().filter_map(run).collect()
}

/// A stated value, which has no interval.
pub(super) fn stated_cell(id: MetricId, value: f64) -> Cell {
    Cell {
        text: value_text(id, value),
        value: Some(value.to_string()),
        metric: Some(id.to_string()),
        detail: Some("as stated".into()),
    }
}

/// The metrics that any of the results has, in the order of the table.
fn columns(results: &[(&str, PageResult<'_>)]) -> Vec<MetricId> {
    let rates = RATES.into_iter().filter_map(MetricId::scalar);
    let latencies = LATENCIES.into_iter().map(|(latency, statistic)| MetricId::Latency(latency, statistic));
    rates.chain(latencies).filter(|id| results.iter().any(|(_, result)| result.has(*id))).collect()
}

/// The table of all results.
pub(super) fn metrics(results: &[(&str, PageResult<'_>)]) -> Section {
    let columns = columns(results);
    let mut table = Table::new(["Run", "Verdict", "Load", "Answered"]);
    table.head.extend(columns.iter().map(|id| id.label()));
    for (name, result) in results {
        let mut cells = vec![Cell::from(foreign_text(name, NAME))];
        cells.extend(result.first_cells());
        cells.extend(columns.iter().map(|id| result.metric_cell(*id)));
        table.rows.push(Row { class: result.class(), cells, ..Row::default() });
    }
    let mut section = Section::new("runs", "Runs side by side");
    section
        .notes
        .push("Below each value is its 95 % interval. `servegauge compare` tests differences.".into());
    if results.iter().any(|(_, result)| matches!(result, PageResult::Stated(_))) {
        section.notes.push(
            "Values of other tools are as stated: each tool defines its latencies and percentiles, and none states an interval."
                .into(),
        );
    }
    section.tables.push(NamedTable { title: String::new(), class: "numbers", table });
    section
}

/// What each result measured, and why it is INVALID where it is.
pub(super) fn measured(results: &[(&str, PageResult<'_>)]) -> Section {
    let mut table = Table::new(["Run", "Model", "Server", "Dataset", "Started", "Client", "Verdict"]);
    for (name, result) in results {
        let texts = [(*name).to_owned()].into_iter().chain(result.measured());
        let cells = texts.map(|text| Cell::from(foreign_text(&text, NAME))).collect();
        table.rows.push(Row { class: result.class(), cells, ..Row::default() });
    }
    let mut section = Section::new("measured", "What was measured");
    section.tables.push(NamedTable { title: String::new(), class: "plain", table });
    section
}
