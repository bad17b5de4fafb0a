//! A row of a comparison in words.

use std::time::Duration;

use crate::core::figure::{Figure, Unit};
use crate::core::stats::RateInterval;
use crate::judge::compare::{Call, Counted, Needs, Row, Sample};
use crate::report::figures::{NOT_AVAILABLE, bare_milliseconds, plain, share};

/// The columns.
pub const COLUMNS: [&str; 5] = ["", "baseline", "candidate", "difference", "verdict"];

/// Figure, baseline, candidate, difference, verdict.
pub fn cells(row: &Row) -> [String; 5] {
    [
        row.figure.label(),
        sample(row.figure, &row.base),
        sample(row.figure, &row.candidate),
        difference(row),
        verdict(row.call),
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

/// The same without its unit; `∞` where nothing bounds it.
pub fn bare(figure: Figure, value: f64) -> String {
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

/// The difference with the interval that the verdict rests on. For a share it is in percentage points, for anything else in
/// percent of the baseline; nothing falls by more than 100 %.
pub fn difference(row: &Row) -> String {
    let base = row.base.value;
    let (scale, unit, least) = match row.figure.unit() {
        Unit::Share => (100.0, "points", f64::NEG_INFINITY),
        _ if base != 0.0 => (100.0 / base, "%", -100.0),
        Unit::Milliseconds => (1.0, "ms", f64::NEG_INFINITY),
        Unit::Plain(unit) => (1.0, unit, f64::NEG_INFINITY),
    };
    let value = signed(row.difference.absolute * scale);
    match row.verdict_interval {
        Some(RateInterval { low, high }) => {
            format!("{value} {unit} [{}, {}]", signed((low * scale).max(least)), signed(high * scale))
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

fn verdict(call: Call) -> String {
    match call {
        Call::Better => "better".into(),
        Call::Worse => "worse".into(),
        Call::Same => "the same".into(),
        Call::CannotTell { needs: None } => "cannot tell".into(),
        Call::CannotTell { needs: Some(needs) } => format!("cannot tell ({})", needed(needs)),
    }
}

/// How much larger a sample would settle a row, or that none that anybody would collect does.
pub fn needed(needs: Needs) -> String {
    let most = needs.of.most_practical();
    match (needs.is_practical(), needs.of) {
        (true, of) => format!("needs {} {}", rounded(needs.count), of.word()),
        (false, Counted::Requests) => format!("needs more than {most} requests: repeat the runs instead"),
        (false, Counted::Starts) => format!("needs more than {most} starts of the server"),
        (false, Counted::Runs) => format!("needs more than {most} runs"),
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
        let written = |count, of| needed(Needs { count, of });
        assert_eq!(written(301, Counted::Requests), "needs 310 requests");
        assert_eq!(
            written(140_000_000, Counted::Requests),
            "needs more than 10000 requests: repeat the runs instead"
        );
        assert_eq!(written(28_000, Counted::Runs), "needs more than 100 runs");
    }

    #[test]
    fn values_have_their_figures_unit() {
        let written = |name: &str, value: f64| in_unit(name.parse().unwrap(), value);
        assert_eq!(written("ttft.mean", 101.4), "101 ms");
        assert_eq!(written("failure_rate", 0.0123), "1.2 %");
        assert_eq!(written("output_throughput", 1234.5), "1234 tok/s");
    }
}
