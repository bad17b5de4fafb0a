//! A ladder: one row for each load, and what the rows show together.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::compare::{with_unit, without_unit};
use super::format::{NOT_AVAILABLE, requests_per_second};
use super::table::{Column, Table};
use super::text;
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::Latency;
use crate::model::plain_text::one_line;
use crate::model::run::Run;
use crate::model::step_load::StepLoad;
use crate::model::stop_rule::StopRule;
use crate::stats::Percent;

mod findings;
mod index;

pub(crate) use index::{IndexedStep, LadderIndex};

/// The percentiles of TTFT in every table.
const TTFT_PERCENTS: [Percent; 3] = [50.0, 95.0, 99.0];

/// The percentile of E2E in every table.
const E2E_PERCENT: Percent = 95.0;

/// A ladder and its results.
pub(crate) struct LadderReport<'a> {
    /// The steps that were measured, in order.
    pub steps: Vec<StepReport<'a>>,
    /// The loads that were not measured, in order.
    pub open: Vec<StepLoad>,
    /// Why no more steps were measured.
    pub end: LadderEnd,
    /// Percentiles of TTFT and TPOT that the table has in addition.
    pub percents: &'a [Percent],
}

/// A step of a ladder.
pub(crate) struct StepReport<'a> {
    /// The load.
    pub load: StepLoad,
    /// The Run, or why there is none.
    pub outcome: Result<&'a Run, &'a str>,
    /// The name of the result's file.
    pub file: Option<String>,
}

/// Why no more steps were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum LadderEnd {
    /// All steps were measured.
    Complete,
    /// This rule became true.
    Until {
        /// The rule.
        rule: StopRule,
    },
    /// The user asked for the end.
    Interrupted,
    /// The server no longer answered.
    Failed,
}

/// What a step's numbers are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepVerdict {
    /// The Run is VALID.
    Valid,
    /// The Run is INVALID.
    Invalid,
    /// The step was cut short.
    Interrupted,
    /// The step has no answers.
    Failed,
}

impl StepVerdict {
    fn word(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl StepReport<'_> {
    fn verdict(&self) -> StepVerdict {
        match self.outcome {
            Ok(run) if run.interrupted => StepVerdict::Interrupted,
            Ok(run) if run.metrics.completed == 0 => StepVerdict::Failed,
            Ok(run) if run.validity.valid => StepVerdict::Valid,
            Ok(_) => StepVerdict::Invalid,
            Err(_) => StepVerdict::Failed,
        }
    }

    /// Why the step is INVALID or failed; `None` if it is neither.
    fn reason(&self) -> Option<String> {
        match (self.verdict(), self.outcome) {
            (_, Err(why)) => Some(why.to_owned()),
            (StepVerdict::Invalid, Ok(run)) => run.validity.reason(),
            (StepVerdict::Failed, Ok(run)) => Some(failure(run)),
            (StepVerdict::Valid | StepVerdict::Interrupted, Ok(_)) => None,
        }
    }

    fn run(&self) -> Option<&Run> {
        self.outcome.ok()
    }
}

/// Says what failed in a run without any answer.
fn failure(run: &Run) -> String {
    let requests = run.metrics.request_count();
    match run.metrics.failures.first() {
        Some(first) => {
            format!("none of {requests} requests was answered: {}: {}", first.class, first.example)
        }
        None => format!("none of {requests} requests was answered"),
    }
}

/// What a column of the table shows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum StepValue {
    Metric(MetricId),
    /// 1 / mean TPOT.
    SpeedPerUser,
}

impl StepValue {
    fn scalar(key: &str) -> Option<Self> {
        MetricId::scalar(key).map(Self::Metric)
    }

    fn latency(latency: Latency, statistic: Statistic) -> Self {
        Self::Metric(MetricId::Latency(latency, statistic))
    }

    fn value(self, run: &Run) -> Option<f64> {
        match self {
            Self::Metric(id) => id.value(run),
            Self::SpeedPerUser => {
                let tpot = MetricId::Latency(Latency::Tpot, Statistic::Mean).value(run)?;
                (tpot > 0.0).then_some(1e3 / tpot)
            }
        }
    }

    fn text(self, run: &Run) -> Option<String> {
        let value = self.value(run)?;
        Some(match self {
            // As in other reports.
            Self::Metric(id) if id.unit() == MetricUnit::Plain("req/s") => {
                requests_per_second(Some(value)).trim_end_matches(" req/s").to_owned()
            }
            Self::Metric(id) => without_unit(id, value),
            Self::SpeedPerUser => format!("{value:.1}"),
        })
    }

    /// The key in the index: that of the metric.
    fn key(self) -> String {
        match self {
            Self::Metric(id) => id.to_string(),
            Self::SpeedPerUser => "output_tokens_per_second_per_user".to_owned(),
        }
    }
}

/// A column of the table, with the three lines of its head: the quantity, the statistic, the unit.
struct StepColumn {
    head: [String; 3],
    value: StepValue,
}

impl StepColumn {
    fn new(head: [&str; 3], value: StepValue) -> Self {
        Self { head: head.map(ToOwned::to_owned), value }
    }

    fn percentile(latency: Latency, p: Percent) -> Self {
        let (name, statistic) = (latency.symbol(), Statistic::Percentile(p));
        Self::new([name, &format!("P{p}"), "ms"], StepValue::latency(latency, statistic))
    }
}

/// The columns for steps under this kind of load.
fn columns(load: StepLoad, percents: &[Percent]) -> Vec<StepColumn> {
    let achieved = match load {
        StepLoad::Concurrency(_) => ["rate", "", "req/s"],
        StepLoad::Rate(_) => ["achieved", "", "req/s"],
    };
    let scalar = |head, key| StepValue::scalar(key).map(|value| StepColumn::new(head, value));
    let more = |known: &'static [Percent]| percents.iter().copied().filter(|p| !known.contains(p));
    let mut columns: Vec<StepColumn> =
        [scalar(achieved, "request_throughput"), scalar(["output", "", "tok/s"], "output_throughput")]
            .into_iter()
            .flatten()
            .collect();
    columns.push(StepColumn::new(["per", "user", "tok/s"], StepValue::SpeedPerUser));
    let ttft = TTFT_PERCENTS.into_iter().chain(more(&TTFT_PERCENTS));
    columns.extend(ttft.map(|p| StepColumn::percentile(Latency::Ttft, p)));
    let mean = StepValue::latency(Latency::Tpot, Statistic::Mean);
    columns.push(StepColumn::new([Latency::Tpot.symbol(), "mean", "ms"], mean));
    columns.extend(more(&[]).map(|p| StepColumn::percentile(Latency::Tpot, p)));
    columns.push(StepColumn::percentile(Latency::E2e, E2E_PERCENT));
    columns
}

/// The table's formats: numbers, and the verdict at the end.
const NUMBERS: [Column; 1] = [Column::RIGHT];

/// Writes the table, what it shows, and why steps are INVALID or missing. Writes nothing without steps.
pub(crate) fn render(ladder: &LadderReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let Some(first) = ladder.steps.first() else { return Ok(()) };
    table(ladder, first.load, to)?;
    findings::throughput(ladder, to)?;
    findings::reasons(ladder, to)?;
    end(ladder, to)
}

fn table(ladder: &LadderReport<'_>, load: StepLoad, to: &mut impl Write) -> io::Result<()> {
    let has_values = |column: &StepColumn| {
        ladder.steps.iter().filter_map(StepReport::run).any(|run| column.value.value(run).is_some())
    };
    let columns: Vec<StepColumn> = columns(load, ladder.percents).into_iter().filter(has_values).collect();
    let load_head = match load {
        StepLoad::Concurrency(_) => ["conc.", "", ""],
        StepLoad::Rate(_) => ["offered", "", "req/s"],
    };
    let mut rows: Vec<Vec<String>> = (0..3)
        .map(|line| {
            let heads = columns.iter().map(|column| column.head[line].clone());
            let ends = [["failed", "verdict"], ["", ""], ["", ""]][line].map(ToOwned::to_owned);
            std::iter::once(load_head[line].to_owned()).chain(heads).chain(ends).collect()
        })
        .collect();
    for step in &ladder.steps {
        let cells = columns.iter().map(|column| {
            step.run().and_then(|run| column.value.text(run)).unwrap_or_else(|| NOT_AVAILABLE.to_owned())
        });
        let failed = step.run().map_or(NOT_AVAILABLE.to_owned(), |run| run.metrics.failed.to_string());
        let ends = [failed, step.verdict().word().to_owned()];
        rows.push(std::iter::once(step.load.value().to_string()).chain(cells).chain(ends).collect());
    }
    // The verdict is the only text.
    let width =
        rows.iter().filter_map(|row| row.last()).map(|cell| cell.chars().count()).max().unwrap_or_default();
    for row in &mut rows {
        if let Some(verdict) = row.last_mut() {
            *verdict = format!("{verdict:<width$}");
        }
    }
    Table::new(&NUMBERS, rows).write(to)
}

/// Writes why steps are missing.
fn end(ladder: &LadderReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let open = match ladder.open.as_slice() {
        [] => String::new(),
        [only] => format!(": {only} was not measured"),
        [first, .., last] => {
            format!(": {} loads from {first} to {last} were not measured", ladder.open.len())
        }
    };
    let last = ladder.steps.last().map(|step| step.load.to_string()).unwrap_or_default();
    match &ladder.end {
        LadderEnd::Complete => Ok(()),
        LadderEnd::Until { rule } => writeln!(to, "Ended after {last}, because {rule}{open}"),
        LadderEnd::Interrupted => writeln!(to, "Interrupted at {last}{open}"),
        LadderEnd::Failed => {
            writeln!(to, "Ended after {last}, because two steps in a row had no answers{open}")
        }
    }
}

/// Formats a step in one line, while a ladder runs.
pub(crate) fn step_line(load: StepLoad, run: &Run) -> String {
    let step = StepReport { load, outcome: Ok(run), file: None };
    let latency = |latency, statistic| Some(MetricId::Latency(latency, statistic));
    let ids = [
        MetricId::scalar("request_throughput"),
        MetricId::scalar("output_throughput"),
        latency(Latency::Ttft, Statistic::Percentile(50.0)),
        latency(Latency::Ttft, Statistic::Percentile(95.0)),
        latency(Latency::Tpot, Statistic::Mean),
    ];
    let shown = |id: MetricId| {
        let value = with_unit(id, id.value(run)?);
        Some(if matches!(id, MetricId::Latency(..)) { format!("{} {value}", id.label()) } else { value })
    };
    let values: Vec<String> = ids.into_iter().flatten().filter_map(shown).collect();
    // The reason of a failure is the error that follows.
    let reason = step.reason().filter(|_| step.verdict() == StepVerdict::Invalid);
    let reason = reason.map(|reason| format!(": {}", one_line(&reason))).unwrap_or_default();
    let achieved = if matches!(load, StepLoad::Rate(_)) { "achieved " } else { "" };
    format!("{load}: {achieved}{}; {}{reason}", values.join(", "), step.verdict().word())
}

/// Adds color for a terminal: what is bad in the table, and below it.
pub(crate) fn colored(report: &str) -> String {
    let bad = [StepVerdict::Invalid, StepVerdict::Failed].map(StepVerdict::word);
    let line = |line: &str| {
        let text = line.trim_end();
        let word = bad.iter().find(|word| text.ends_with(&format!("  {word}")));
        match word {
            Some(word) => {
                let marked = console::Style::new().red().bold().force_styling(true).apply_to(word);
                format!("{}{marked}{}", &text[..text.len() - word.len()], &line[text.len()..])
            }
            None => text::colored(line),
        }
    };
    report.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests;
