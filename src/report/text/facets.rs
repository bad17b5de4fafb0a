//! The same figures for each turn, each class, each adapter: one table a facet.

use std::io::{self, Write};

use super::section;
use crate::core::metrics::{Facet, Metrics, Row, Timing};
use crate::report::figures::{NOT_AVAILABLE, bare_milliseconds, share};

/// A column: its head, and what stands in it for a row.
type Column = (&'static str, fn(&Row) -> Option<String>);

const COLUMNS: [Column; 13] = [
    ("n", |row| Some(row.requests.to_string())),
    ("failed", |row| Some(row.failed.to_string())),
    ("abandoned", |row| Some(row.abandoned.to_string())),
    ("input", |row| row.mean_input().map(|tokens| format!("{tokens:.0}"))),
    ("cached", |row| row.cached_share.map(share)),
    ("output", |row| row.output_share.map(share)),
    ("TTFT mean", |row| row.ttft.map(|ttft| bare_milliseconds(ttft.mean))),
    ("median", |row| median(row.ttft)),
    ("P99", |row| p99(row.ttft)),
    ("TPOT median", |row| median(row.tpot)),
    ("P99", |row| p99(row.tpot)),
    ("E2E median", |row| median(row.e2e)),
    ("P99", |row| p99(row.e2e)),
];

fn median(timing: Option<Timing>) -> Option<String> {
    timing.map(|timing| bare_milliseconds(timing.median))
}

fn p99(timing: Option<Timing>) -> Option<String> {
    timing.map(|timing| bare_milliseconds(timing.p99))
}

/// One section for each facet that the requests have; nothing for requests without any.
pub fn render(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    metrics.rows.iter().try_for_each(|(facet, rows)| {
        section(&format!("By {}", facet.label()), to)?;
        writeln!(
            to,
            "Times in ms; input: mean prompt tokens; cached: share of them; output: share of the tokens"
        )?;
        table(*facet, rows, to)
    })
}

/// Columns in which nothing stands, or nothing but zeros, are left out; that nothing failed is told.
fn table(facet: Facet, rows: &[Row], to: &mut impl Write) -> io::Result<()> {
    let names = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let first = names.max(facet.label().len());
    let tells = |(head, cell): &Column| {
        let mut cells = rows.iter().filter_map(cell);
        cells.any(|cell| cell != "0" || *head == "failed")
    };
    let columns: Vec<Column> = COLUMNS.into_iter().filter(tells).collect();
    let cell = |column: &Column, row: &Row| column.1(row).unwrap_or_else(|| NOT_AVAILABLE.to_owned());
    let width = |column: &Column| {
        let cells = rows.iter().map(|row| cell(column, row).chars().count());
        cells.max().unwrap_or_default().max(column.0.chars().count())
    };
    write!(to, "{:<first$}", facet.label())?;
    columns.iter().try_for_each(|column| write!(to, "  {:>1$}", column.0, width(column)))?;
    writeln!(to)?;
    for row in rows {
        write!(to, "{:<first$}", row.name)?;
        columns.iter().try_for_each(|column| write!(to, "  {:>1$}", cell(column, row), width(column)))?;
        writeln!(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(name: &str, ms: u64) -> Row {
        let time = Duration::from_millis(ms);
        let timing = Some(Timing { mean: time, median: time, p99: time * 3 });
        Row {
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
        table(Facet::Turn, &[row("1", 50), row("2", 1500)], &mut text).unwrap();
        let expected = "\
turn   n  failed  input  output  TTFT mean  median   P99  E2E median   P99
1     10       1     50  50.0 %         50      50   150          50   150
2     10       1   1500  50.0 %       1500    1500  4500        1500  4500
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn what_one_row_lacks_is_no_zero() {
        let mut text = Vec::new();
        let failed = Row { ttft: None, e2e: None, completed: 0, ..row("sql-lora", 1) };
        table(Facet::Adapter, &[row("base", 50), failed], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("sql-lora  10       1    n/a  50.0 %"), "{text}");
        assert!(last.ends_with("n/a"), "{text}");
    }
}
