//! The metrics of a run as rows, in CSV and in Markdown.

use std::io::{self, Write};

use super::format::{plain_number, requests_per_second, share_text, tokens_per_second, unit_symbol};
use super::table::{Table, row};
use super::text::{header, validity};
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::{Latency, SCALARS, TABLE_PERCENTS};
use crate::model::plain_text::{self, spreadsheet_cell};
use crate::model::run::Run;
use crate::model::validity::CheckOutcome;
use crate::stats::{Percent, RateInterval};

/// A metric of a run.
pub(crate) struct MetricRow {
    /// The metric.
    pub id: MetricId,
    /// The value in the metric's unit.
    pub value: f64,
    /// The 95 % interval; `None` where the run states none.
    pub interval: Option<RateInterval>,
    /// The number of values; `None` for a rate.
    pub n: Option<u64>,
    /// Why the value is INVALID; `None` if it is valid.
    pub invalid: Option<String>,
}

impl MetricRow {
    /// Reads a metric of a run; `None` where the run has no value.
    pub(crate) fn from_run(id: MetricId, run: &Run) -> Option<Self> {
        let n = match id {
            MetricId::Latency(latency, _) => run.metrics.latencies.get(&latency).map(|found| found.n),
            MetricId::Scalar(_) => None,
        };
        let value = id.value(run)?;
        Some(Self { id, value, interval: id.interval(run), n, invalid: id.invalid_reason(run) })
    }

    /// The value with its unit.
    pub(crate) fn value_text(&self) -> String {
        value_text(self.id, self.value)
    }

    /// The interval without a unit: `[115, 125]`.
    pub(crate) fn interval_text(&self) -> Option<String> {
        let end = |value| {
            let text = value_text(self.id, value);
            text.strip_suffix(unit_symbol(self.id.unit())).unwrap_or(&text).trim_end().to_owned()
        };
        self.interval.map(|interval| format!("[{}, {}]", end(interval.low), end(interval.high)))
    }
}

/// Formats a metric's value with its unit.
pub(crate) fn value_text(id: MetricId, value: f64) -> String {
    match id.unit() {
        MetricUnit::Milliseconds => plain_number(Some(value), "ms"),
        MetricUnit::Share => share_text(value),
        MetricUnit::Plain("req/s") => requests_per_second(Some(value)),
        MetricUnit::Plain("tok/s") => tokens_per_second(Some(value)),
        MetricUnit::Plain(unit) => plain_number(Some(value), unit),
    }
}

/// The percentiles that tables of a run have: those that were asked for, and those of every report, ascending.
pub(crate) fn table_percents(run: &Run) -> Vec<Percent> {
    let mut percents = [&run.selection.percents[..], &TABLE_PERCENTS].concat();
    percents.sort_unstable_by(f64::total_cmp);
    percents.dedup();
    percents
}

/// The latencies that a run has, in the order of reports.
pub(crate) fn latencies(run: &Run) -> impl Iterator<Item = Latency> {
    Latency::ALL.into_iter().filter(|latency| run.metrics.latencies.contains_key(latency))
}

/// The metrics that are one number and that a run has.
pub(crate) fn scalar_rows(run: &Run) -> impl Iterator<Item = MetricRow> {
    let ids = SCALARS.iter().filter_map(|scalar| MetricId::scalar(scalar.key));
    ids.filter_map(|id| MetricRow::from_run(id, run))
}

/// The statistics of a latency.
pub(crate) fn statistics(run: &Run) -> Vec<Statistic> {
    let percents = table_percents(run).into_iter().map(Statistic::Percentile);
    std::iter::once(Statistic::Mean).chain(percents).collect()
}

/// The columns of a run's CSV.
pub(crate) const CSV_HEAD: [&str; 8] = ["run", "metric", "unit", "value", "low", "high", "n", "invalid"];

/// One line of CSV for each metric of a run, numbers in the metric's unit.
pub(crate) fn csv_lines(name: &str, run: &Run) -> Vec<[String; 8]> {
    let statistics = statistics(run);
    let of_latency = |latency| statistics.iter().map(move |statistic| MetricId::Latency(latency, *statistic));
    let rows = latencies(run).flat_map(of_latency).filter_map(|id| MetricRow::from_run(id, run));
    rows.chain(scalar_rows(run)).map(|row| csv_line(name, &row)).collect()
}

fn csv_line(name: &str, row: &MetricRow) -> [String; 8] {
    let unit = match row.id.unit() {
        MetricUnit::Milliseconds => "ms",
        MetricUnit::Share => "share",
        MetricUnit::Plain(unit) => unit,
    };
    let end = |end: fn(&RateInterval) -> f64| {
        row.interval.as_ref().map(end).filter(|end| end.is_finite()).map(|end| end.to_string())
    };
    [
        spreadsheet_cell(name),
        row.id.to_string(),
        unit.to_owned(),
        row.value.to_string(),
        end(|interval| interval.low).unwrap_or_default(),
        end(|interval| interval.high).unwrap_or_default(),
        row.n.map(|n| n.to_string()).unwrap_or_default(),
        row.invalid.as_deref().map(spreadsheet_cell).unwrap_or_default(),
    ]
}

/// Writes a run as Markdown, for a ticket or a pull request.
pub(crate) fn markdown(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let mut banner = Vec::new();
    validity::run_banner(run, &mut banner)?;
    let mut measured = Vec::new();
    header::render(run, &mut measured)?;
    let text = |bytes: Vec<u8>| plain_text::markdown(&String::from_utf8_lossy(&bytes));
    writeln!(to, "**{}**\n\n{}\n", text(banner), text(measured))?;
    let statistics = statistics(run);
    let names = statistics.iter().map(|statistic| match statistic {
        Statistic::Mean => "mean".to_owned(),
        Statistic::Percentile(p) => format!("P{p}"),
    });
    let mut rows = vec![std::iter::once("Latency".to_owned()).chain(names).chain(["n".to_owned()]).collect()];
    for latency in latencies(run) {
        let cells = statistics.iter().map(|statistic| cell(MetricId::Latency(latency, *statistic), run));
        let n = run.metrics.latencies.get(&latency).map_or(0, |found| found.n);
        let name = latency.symbol().to_owned();
        rows.push(std::iter::once(name).chain(cells).chain([n.to_string()]).collect());
    }
    if rows.len() > 1 {
        Table::left(rows).write_markdown(to)?;
        writeln!(to)?;
    }
    let mut rows = vec![row(["Metric", "value"])];
    rows.extend(scalar_rows(run).map(|metric| vec![metric.id.label(), cell(metric.id, run)]));
    let metrics = &run.metrics;
    rows.push(row(["Answered requests", &format!("{} of {}", metrics.completed, metrics.request_count())]));
    Table::left(rows).write_markdown(to)?;
    for check in run.validity.checks.iter().filter(|check| check.outcome >= CheckOutcome::Warning) {
        let word = if check.outcome == CheckOutcome::Invalid { "INVALID" } else { "Warning" };
        let (finding, advice) = (plain_text::markdown(&check.finding()), plain_text::markdown(&check.advice));
        writeln!(to, "\n> **{word}:** {finding}: {advice}")?;
    }
    Ok(())
}

/// A value with its interval, escaped for Markdown.
fn cell(id: MetricId, run: &Run) -> String {
    let Some(row) = MetricRow::from_run(id, run) else { return String::new() };
    let interval = row.interval_text().map(|interval| format!(" {interval}")).unwrap_or_default();
    plain_text::markdown(&format!("{}{interval}", row.value_text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn written(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn csv_has_a_line_for_every_metric_with_the_value_of_the_result() {
        let run = sample_run::run(false);
        let lines: Vec<String> = csv_lines("=a.json", &run).iter().map(|line| line.join(",")).collect();
        assert!(
            lines.contains(&"'=a.json,ttft.p99,ms,100,,,1,failed requests: 50.0 % (limit 1.0 %)".to_owned()),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.starts_with("'=a.json,failure_rate,share,0.5,")), "{lines:?}");
    }

    #[test]
    fn markdown_begins_with_the_verdict_and_has_the_tables() {
        let mut run = sample_run::run(false);
        run.spec.target.model = "<b>|`x`".into();
        let text = written(|to| markdown(&run, to));
        assert!(text.starts_with("**INVALID: "), "{text}");
        for part in
            ["| Latency | mean | P50 | P90 |", "| TTFT | 100 ms |", "\n> **INVALID:** ", "&lt;b>\\|\\`x\\`"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
