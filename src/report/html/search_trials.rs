//! A search: its answer, and the trials behind it against their load.

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{MESSAGE, foreign_text, report_lines};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table, optional_number, short_number};
use crate::analysis::search::evidence::CriterionOutcome;
use crate::analysis::search::trial::Trial;
use crate::report::search::{SearchReport, criteria_text};

/// The most trials of a page.
const MAX_TRIALS: usize = 300;

/// A number of a trial that has a chart: title, unit, value.
type TrialColumn = (&'static str, &'static str, fn(&Trial) -> Option<f64>);

const COLUMNS: [TrialColumn; 5] = [
    ("TTFT P95", "ms", |trial| trial.service.ttft_p95_ms),
    ("TPOT P95", "ms", |trial| trial.service.tpot_p95_ms),
    ("E2E P95", "ms", |trial| trial.service.e2e_p95_ms),
    ("Output tokens", "tokens per second", |trial| trial.service.output_throughput),
    ("Requests in flight, mean", "requests", |trial| trial.service.in_flight),
];

/// The section of the answer.
pub(super) fn answer(report: &SearchReport<'_>) -> Section {
    let mut section = Section::new("answer", "Answer");
    section.notes = report_lines(|to| report.render_answer(to));
    section
}

/// The section of the trials.
pub(super) fn trials(report: &SearchReport<'_>) -> Section {
    let mut trials: Vec<&Trial> = report.search.trials().iter().take(MAX_TRIALS).collect();
    trials.sort_by(|a, b| a.load.total_cmp(&b.load).then(a.number.cmp(&b.number)));
    let mut section = Section::new("trials", "Trials");
    if trials.is_empty() {
        section.notes.push("There was no trial.".into());
        return section;
    }
    section.tables.push(NamedTable { title: String::new(), class: "numbers", table: table(report, &trials) });
    section.charts.extend(COLUMNS.into_iter().filter_map(|column| chart(report, &trials, column)));
    section
}

fn table(report: &SearchReport<'_>, trials: &[&Trial]) -> Table {
    let unit = report.answer.over.unit();
    let mut table = Table::new(["Trial", "", "Levels", "Requests", "Failed", "Answered/s"]);
    table.head[1] = unit.to_owned();
    table.head.extend(COLUMNS.iter().map(|(name, unit, _)| format!("{name}, {unit}")));
    for trial in trials {
        let class = match trial.outcome() {
            CriterionOutcome::Met => "good",
            CriterionOutcome::Missed => "bad",
            CriterionOutcome::Unclear => "warn",
        };
        let mut cells = vec![
            trial.number.to_string(),
            short_number(trial.load),
            foreign_text(&criteria_text(report.search.config(), trial), MESSAGE),
            trial.service.requests.to_string(),
            trial.service.failed.to_string(),
            optional_number(trial.service.request_throughput),
        ];
        cells.extend(COLUMNS.iter().map(|(_, _, value)| optional_number(value(trial))));
        table.rows.push(Row { class, cells: cells.into_iter().map(Cell::from).collect(), ..Row::default() });
    }
    table
}

/// A number against the load, with the boundary; `None` where no trial has it.
fn chart(report: &SearchReport<'_>, trials: &[&Trial], (name, unit, value): TrialColumn) -> Option<Chart> {
    let points: Vec<(f64, f64)> =
        trials.iter().filter_map(|trial| Some((trial.load, value(trial)?))).collect();
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let (most_load, highest) = (most(|point| point.0), most(|point| point.1));
    if highest <= 0.0 {
        return None;
    }
    let x = Axis::from_zero(report.answer.over.unit(), most_load);
    let mut chart = Chart::new(format!("{name} against load"), x, Axis::from_zero(unit, highest));
    if let Some(boundary) = report.answer.boundary() {
        if let (Some(from), Some(to)) = (boundary.low, boundary.high) {
            chart.layers.push(Layer::Span { class: "few", from, to });
            chart.legend.push((LegendKey::Class("few"), "interval of the boundary".into()));
        }
        chart.layers.push(Layer::Rule { class: "limit", x: boundary.estimate, label: "boundary".into() });
    }
    if let Some(knee) = report.answer.knee {
        chart.layers.push(Layer::Rule { class: "marker", x: knee, label: "knee".into() });
    }
    chart.layers.push(Layer::Line { color: 0, points: points.iter().copied().map(Some).collect() });
    chart.table.head = vec![report.answer.over.unit().to_owned(), format!("{name}, {unit}")];
    for (load, value) in points {
        chart.layers.push(Layer::Dot { color: 0, x: load, y: value, radius: 3.0, label: DotLabel::None });
        chart.table.push_at(load, vec![short_number(load), short_number(value)]);
    }
    Some(chart)
}
