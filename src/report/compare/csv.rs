//! A comparison as CSV: one line for each row, numbers in the metric's unit.

use std::io::{self, Write};

use crate::analysis::compare::{Comparison, DifferenceVerdict, MetricComparison};
use crate::model::metric_id::MetricUnit;
use crate::model::plain_text::spreadsheet_cell;
use crate::stats::RateInterval;

const HEAD: [&str; 20] = [
    "candidate",
    "figure",
    "unit",
    "base",
    "base_low",
    "base_high",
    "value",
    "value_low",
    "value_high",
    "difference",
    "difference_low",
    "difference_high",
    "relative",
    "p",
    "adjusted_p",
    "call",
    "needs",
    "verdict_low",
    "verdict_high",
    "verdict_alpha",
];

/// Writes a comparison as CSV. Unknown values and missing bounds are empty fields.
pub(crate) fn csv(comparison: &Comparison, to: &mut impl Write) -> io::Result<()> {
    let mut lines = ::csv::Writer::from_writer(to);
    lines.write_record(HEAD)?;
    for candidate in &comparison.candidates {
        for row in &candidate.rows {
            lines.write_record(line(&candidate.party.name, row))?;
        }
    }
    lines.flush()
}

fn line(candidate: &str, row: &MetricComparison) -> Vec<String> {
    let (call, needs) = match row.call {
        DifferenceVerdict::Better => ("better", None),
        DifferenceVerdict::Worse => ("worse", None),
        DifferenceVerdict::Same => ("same", None),
        DifferenceVerdict::CannotTell { needs } => ("cannot_tell", needs),
        DifferenceVerdict::NotJudged => ("not_judged", None),
    };
    let unit = match row.figure.unit() {
        MetricUnit::Milliseconds => "ms",
        MetricUnit::Share => "share",
        MetricUnit::Plain(unit) => unit,
    };
    let mut line =
        vec![spreadsheet_cell(candidate), spreadsheet_cell(&row.figure.to_string()), unit.to_owned()];
    let difference = &row.difference;
    for (value, interval) in [
        (row.base.value, row.base.interval),
        (row.candidate.value, row.candidate.interval),
        (difference.absolute, difference.interval),
    ] {
        line.push(number(Some(value)));
        line.extend(ends(interval));
    }
    line.extend([difference.relative, difference.p, row.adjusted_p].map(number));
    line.push(call.to_owned());
    line.push(needs.map_or(String::new(), |needs| needs.count.to_string()));
    line.extend(ends(row.verdict_interval));
    line.push(number(Some(row.verdict_alpha)));
    line
}

fn ends(interval: Option<RateInterval>) -> [String; 2] {
    [interval.map(|interval| interval.low), interval.map(|interval| interval.high)].map(number)
}

fn number(value: Option<f64>) -> String {
    let rounded = |value: f64| {
        let digits = 5 - value.abs().log10().floor().clamp(-300.0, 300.0) as i32;
        format!("{:.*}", digits.clamp(0, 12) as usize, value)
    };
    match value.filter(|value| value.is_finite()) {
        Some(0.0) => "0".into(),
        Some(value) => rounded(value),
        None => String::new(),
    }
}
