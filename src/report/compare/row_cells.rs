//! The cells of a comparison row as text.

use std::time::Duration;

use crate::analysis::compare::{
    DifferenceVerdict, MetricComparison, MetricSample, RequiredSample, SampleUnit,
};
use crate::model::metric_id::{MetricId, MetricUnit};
use crate::report::format::{NOT_AVAILABLE, bare_milliseconds, bounds_text, plain_number, share_text};
use crate::stats::RateInterval;

/// The headers of the columns.
pub(crate) const COLUMNS: [&str; 5] = ["", "baseline", "candidate", "difference", "verdict"];

/// Returns the metric, baseline, candidate, difference and verdict of a row as text.
pub(crate) fn row_cells(row: &MetricComparison) -> [String; 5] {
    [
        row.figure.label(),
        sample_text(row.figure, &row.base),
        sample_text(row.figure, &row.candidate),
        difference_text(row),
        verdict_text(row.call),
    ]
}

fn sample_text(figure: MetricId, sample: &MetricSample) -> String {
    let value = with_unit(figure, sample.value);
    match sample.interval {
        Some(interval) => format!("{value} {}", bounds_text(interval, |end| without_unit(figure, end))),
        None => value,
    }
}

/// Formats a metric's value with its unit.
pub(crate) fn with_unit(figure: MetricId, value: f64) -> String {
    match figure.unit() {
        MetricUnit::Milliseconds => format!("{} ms", without_unit(figure, value)),
        MetricUnit::Share => share_text(value),
        MetricUnit::Plain(unit) => plain_number(Some(value), unit),
    }
}

/// Formats a metric's value without its unit.
pub(crate) fn without_unit(figure: MetricId, value: f64) -> String {
    if !value.is_finite() {
        return NOT_AVAILABLE.to_owned();
    }
    match figure.unit() {
        MetricUnit::Milliseconds => {
            let time = Duration::try_from_secs_f64(value.abs() / 1e3).map(bare_milliseconds);
            let sign = if value < 0.0 { "-" } else { "" };
            time.map_or(NOT_AVAILABLE.into(), |time| format!("{sign}{time}"))
        }
        MetricUnit::Share => format!("{:.1}", 100.0 * value),
        MetricUnit::Plain(_) => plain_number(Some(value), ""),
    }
}

/// Formats the difference with the interval that the verdict rests on: in percentage points for a share, else in
/// percent of the baseline. A fall is at most 100 %.
pub(crate) fn difference_text(row: &MetricComparison) -> String {
    let base = row.base.value;
    let (scale, unit, least) = match row.figure.unit() {
        MetricUnit::Share => (100.0, "points", f64::NEG_INFINITY),
        _ if base != 0.0 => (100.0 / base, "%", -100.0),
        MetricUnit::Milliseconds => (1.0, "ms", f64::NEG_INFINITY),
        MetricUnit::Plain(unit) => (1.0, unit, f64::NEG_INFINITY),
    };
    let value = signed(row.difference.absolute * scale);
    match row.verdict_interval {
        Some(RateInterval { low, high }) => {
            let low = match low * scale {
                low if low > least => low,
                // That a value falls by at most 100 % is known without a measurement.
                _ if high.is_infinite() => f64::NEG_INFINITY,
                _ => least,
            };
            format!("{value} {unit} {}", bounds_text(RateInterval { low, high: high * scale }, signed))
        }
        None => format!("{value} {unit}"),
    }
}

fn signed(value: f64) -> String {
    match value {
        // Zero has no sign.
        value if value.abs() < 0.05 => "0.0".into(),
        value => format!("{value:+.1}"),
    }
}

fn verdict_text(call: DifferenceVerdict) -> String {
    match call {
        DifferenceVerdict::Better => "better".into(),
        DifferenceVerdict::Worse => "worse".into(),
        DifferenceVerdict::Same => "the same".into(),
        DifferenceVerdict::CannotTell { needs: None } => "cannot tell".into(),
        DifferenceVerdict::NotJudged => "not judged (stated without an interval)".into(),
        DifferenceVerdict::CannotTell { needs: Some(needs) } => {
            format!("cannot tell ({})", required_sample(needs))
        }
    }
}

/// States how much larger a sample would decide a row, or that no practical sample size would.
pub(crate) fn required_sample(needs: RequiredSample) -> String {
    let most = needs.of.max_practical();
    match (needs.is_practical(), needs.of) {
        (true, of) => format!("needs {} {}", round_up(needs.count), of.unit_word()),
        (false, SampleUnit::Requests) => format!("needs more than {most} requests: repeat the runs instead"),
        (false, SampleUnit::Starts) => format!("needs more than {most} server starts"),
        (false, SampleUnit::Runs) => format!("needs more than {most} runs"),
    }
}

/// Rounds up to two significant digits: the count is an estimate.
pub(crate) fn round_up(count: u64) -> u64 {
    let unit = 10_u64.pow(count.checked_ilog10().unwrap_or_default().saturating_sub(1));
    count.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_needs_are_short() {
        let written = [-0.04, 0.04, -1.25, 18.0].map(signed);
        assert_eq!(written, ["0.0", "0.0", "-1.2", "+18.0"]);
        assert_eq!([0, 7, 84, 301, 48_211].map(round_up), [0, 7, 84, 310, 49_000]);
        let written = |count, of| required_sample(RequiredSample { count, of });
        assert_eq!(written(301, SampleUnit::Requests), "needs 310 requests");
        assert_eq!(
            written(140_000_000, SampleUnit::Requests),
            "needs more than 10000 requests: repeat the runs instead"
        );
        assert_eq!(written(28_000, SampleUnit::Runs), "needs more than 100 runs");
    }

    #[test]
    fn values_have_their_figures_unit() {
        let written = |name: &str, value: f64| with_unit(name.parse().unwrap(), value);
        assert_eq!(written("ttft.mean", 101.4), "101 ms");
        assert_eq!(written("failure_rate", 0.0123), "1.2 %");
        assert_eq!(written("output_throughput", 1234.5), "1234 tok/s");
    }
}
