//! The metrics of each turn, class and adapter: one table for each facet.

use std::io::{self, Write};
use std::iter;
use std::time::Duration;

use super::section;
use crate::model::metrics::{GroupBy, GroupMetrics, LatencySummary, Metrics};
use crate::report::format::{NOT_AVAILABLE, bare_milliseconds, share_text};
use crate::report::table::{self, Table};
use crate::stats::DurationInterval;

/// A column: its header, and the cell of a row.
type Column = (&'static str, fn(&GroupMetrics) -> Option<String>);

const COLUMNS: [Column; 13] = [
    ("n", |row| Some(row.requests.to_string())),
    ("failed", |row| Some(row.failed.to_string())),
    ("abandoned", |row| Some(row.abandoned.to_string())),
    ("input", |row| row.mean_input().map(|tokens| format!("{tokens:.0}"))),
    ("cached", |row| row.cached_share.map(share_text)),
    ("output", |row| row.output_share.map(share_text)),
    ("TTFT mean", |row| mean(row.ttft)),
    ("median", |row| median(row.ttft)),
    ("P99", |row| p99(row.ttft)),
    ("TPOT median", |row| median(row.tpot)),
    ("P99", |row| p99(row.tpot)),
    ("E2E median", |row| median(row.e2e)),
    ("P99", |row| p99(row.e2e)),
];

/// The first column holds names, the others numbers.
const ALIGNED: [table::Column; 2] = [table::Column::LEFT, table::Column::RIGHT];

/// Precedes a number without a 95 % interval.
const UNBOUNDED: char = '~';

fn mean(timing: Option<LatencySummary>) -> Option<String> {
    timing.map(|timing| marked(timing.mean, timing.mean_interval))
}

fn median(timing: Option<LatencySummary>) -> Option<String> {
    timing.map(|timing| marked(timing.median, timing.median_interval))
}

fn p99(timing: Option<LatencySummary>) -> Option<String> {
    timing.map(|timing| marked(timing.p99, timing.p99_interval))
}

fn marked(value: Duration, interval: Option<DurationInterval>) -> String {
    let value = bare_milliseconds(value);
    if interval.is_some() { value } else { format!("{UNBOUNDED}{value}") }
}

/// Writes one section for each facet that the requests have; writes nothing for requests without facets.
pub(super) fn render(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    metrics.rows.iter().try_for_each(|(facet, rows)| {
        section(&format!("By {}", facet.label()), to)?;
        writeln!(
            to,
            "Times in ms; input: mean prompt tokens; cached: share of them; output: share of the tokens"
        )?;
        let mut text = Vec::new();
        table(*facet, rows, &mut text)?;
        to.write_all(&text)?;
        if text.contains(&(UNBOUNDED as u8)) {
            writeln!(to, "{UNBOUNDED}: too few requests for a 95 % interval")?;
        }
        Ok(())
    })
}

/// Columns that are empty or all zeros are left out, except for the column of failures.
fn table(facet: GroupBy, rows: &[GroupMetrics], to: &mut impl Write) -> io::Result<()> {
    let says_something = |(head, cell): &Column| {
        let mut cells = rows.iter().filter_map(cell);
        cells.any(|cell| cell != "0" || *head == "failed")
    };
    let columns: Vec<Column> = COLUMNS.into_iter().filter(says_something).collect();
    let cell =
        |column: &Column, row: &GroupMetrics| column.1(row).unwrap_or_else(|| NOT_AVAILABLE.to_owned());
    let line = |name: &str, cells: Vec<String>| [vec![name.to_owned()], cells].concat();
    let head = line(facet.label(), columns.iter().map(|column| column.0.to_owned()).collect());
    let rows =
        rows.iter().map(|row| line(&row.name, columns.iter().map(|column| cell(column, row)).collect()));
    Table::new(&ALIGNED, iter::once(head).chain(rows).collect()).write(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, ms: u64) -> GroupMetrics {
        let time = Duration::from_millis(ms);
        let interval = Some(DurationInterval { low: time / 2, high: time * 2 });
        let timing = Some(LatencySummary {
            mean: time,
            mean_interval: interval,
            median: time,
            median_interval: interval,
            p99: time * 3,
            p99_interval: None,
        });
        GroupMetrics {
            name: name.into(),
            requests: 10,
            completed: 9,
            failed: 1,
            abandoned: 0,
            input_tokens: 9 * ms,
            output_tokens: 90,
            output_share: Some(0.5),
            cached_share: None,
            ttft: timing,
            tpot: None,
            vllm_tpot: None,
            e2e: timing,
        }
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut text = Vec::new();
        table(GroupBy::Turn, &[row("1", 50), row("2", 1500)], &mut text).unwrap();
        let expected = "\
turn   n  failed  input  output  TTFT mean  median    P99  E2E median    P99
1     10       1     50  50.0 %         50      50   ~150          50   ~150
2     10       1   1500  50.0 %       1500    1500  ~4500        1500  ~4500
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn what_one_row_lacks_is_no_zero() {
        let mut text = Vec::new();
        let failed = GroupMetrics { ttft: None, e2e: None, completed: 0, ..row("sql-lora", 1) };
        table(GroupBy::Adapter, &[row("base", 50), failed], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("sql-lora  10       1    n/a  50.0 %"), "{text}");
        assert!(last.ends_with("n/a"), "{text}");
    }
}
