//! A row of a comparison in words.

use std::time::Duration;

use crate::core::figure::{Figure, Unit};
use crate::core::stats::RateInterval;
use crate::judge::compare::{Call, Difference, Needs, Row, Sample};
use crate::report::figures::{NOT_AVAILABLE, bare_milliseconds, plain, share};

/// The columns.
pub const COLUMNS: [&str; 5] = ["", "baseline", "candidate", "difference", "call"];

/// Figure, baseline, candidate, difference, call.
pub fn cells(row: &Row) -> [String; 5] {
    [
        row.figure.label(),
        sample(row.figure, &row.base),
        sample(row.figure, &row.candidate),
        difference(row.figure, &row.difference, row.base.value),
        call(row.call),
    ]
}

fn sample(figure: Figure, sample: &Sample) -> String {
    let value = in_unit(figure, sample.value);
    match sample.interval {
        Some(RateInterval { low, high }) => {
            format!("{value} [{}, {}]", bare(figure, low), bare(figure, high))
        }
        None => value,
    }
}

/// A value of a figure with its unit.
pub fn in_unit(figure: Figure, value: f64) -> String {
    match figure.unit() {
        Unit::Milliseconds => format!("{} ms", bare(figure, value)),
        Unit::Share => share(value),
        Unit::Plain(unit) => plain(Some(value), unit),
    }
}

fn bare(figure: Figure, value: f64) -> String {
    if !value.is_finite() {
        return if value > 0.0 { "∞".into() } else { "-∞".into() };
    }
    match figure.unit() {
        Unit::Milliseconds => {
            let time = Duration::try_from_secs_f64(value.abs() / 1e3).map(bare_milliseconds);
            let sign = if value < 0.0 { "-" } else { "" };
            time.map_or(NOT_AVAILABLE.into(), |time| format!("{sign}{time}"))
        }
        Unit::Share => format!("{:.1}", 100.0 * value),
        Unit::Plain(_) => plain(Some(value), ""),
    }
}

/// Of a share the difference is in percentage points, of anything else in percent of the baseline.
fn difference(figure: Figure, difference: &Difference, base: f64) -> String {
    let (scale, unit) = match figure.unit() {
        Unit::Share => (100.0, "points"),
        _ if base != 0.0 => (100.0 / base, "%"),
        Unit::Milliseconds => (1.0, "ms"),
        Unit::Plain(unit) => (1.0, unit),
    };
    let value = signed(difference.absolute * scale);
    match difference.interval {
        Some(RateInterval { low, high }) => {
            format!("{value} {unit} [{}, {}]", signed(low * scale), signed(high * scale))
        }
        None => format!("{value} {unit}"),
    }
}

fn signed(value: f64) -> String {
    match value {
        f64::INFINITY => "+∞".into(),
        f64::NEG_INFINITY => "-∞".into(),
        // A zero has no sign.
        value if value.abs() < 0.05 => "0.0".into(),
        value => format!("{value:+.1}"),
    }
}

fn call(call: Call) -> String {
    match call {
        Call::Better => "better".into(),
        Call::Worse => "worse".into(),
        Call::Same => "the same".into(),
        Call::CannotTell { needs: None } => "cannot tell".into(),
        Call::CannotTell { needs: Some(Needs { count, of }) } => {
            format!("cannot tell (needs {} {})", rounded(count), of.word())
        }
    }
}

/// Upwards to two digits: it is an estimate.
pub fn rounded(count: u64) -> u64 {
    let unit = 10_u64.pow(count.checked_ilog10().unwrap_or_default().saturating_sub(1));
    count.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_needs_are_short() {
        let written = [-0.04, 0.04, -1.25, 18.0, f64::INFINITY].map(signed);
        assert_eq!(written, ["0.0", "0.0", "-1.2", "+18.0", "+∞"]);
        assert_eq!([0, 7, 84, 301, 48_211].map(rounded), [0, 7, 84, 310, 49_000]);
    }

    #[test]
    fn values_have_their_figures_unit() {
        let written = |name: &str, value: f64| in_unit(name.parse().unwrap(), value);
        assert_eq!(written("ttft.mean", 101.4), "101 ms");
        assert_eq!(written("failure_rate", 0.0123), "1.2 %");
        assert_eq!(written("output_throughput", 1234.5), "1234 tok/s");
    }
}
