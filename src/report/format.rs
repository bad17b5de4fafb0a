//! Formats of numbers, in one place.

use std::time::Duration;

use crate::model::metric_id::MetricUnit;
use crate::stats::{DurationInterval, RateInterval};

/// The text for a metric without samples, which is never a zero.
pub(crate) const NOT_AVAILABLE: &str = "n/a";

/// Formats milliseconds without the unit, with as many digits as [`milliseconds`].
pub(crate) fn bare_milliseconds(value: Duration) -> String {
    let ms = value.as_secs_f64() * 1e3;
    format!("{ms:.*}", decimals(ms))
}

/// Formats a 95 % interval in milliseconds: `[115, 125]`.
pub(crate) fn interval_text(interval: DurationInterval) -> String {
    format!("[{}, {}]", bare_milliseconds(interval.low), bare_milliseconds(interval.high))
}

/// Formats an interval whose ends may be infinite: `[1.2, 3.4]`, `[at least 1.2]`, `[at most 3.4]`, or
/// `[cannot be bounded]`. `end` formats a finite end.
pub(crate) fn bounds_text(RateInterval { low, high }: RateInterval, end: impl Fn(f64) -> String) -> String {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("[{}, {}]", end(low), end(high)),
        (true, false) => format!("[at least {}]", end(low)),
        (false, true) => format!("[at most {}]", end(high)),
        (false, false) => "[cannot be bounded]".to_owned(),
    }
}

/// Formats milliseconds: whole from 10 ms up, three significant digits below, where a whole number would be too
/// coarse.
pub(crate) fn milliseconds(value: Option<Duration>) -> String {
    value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{} ms", bare_milliseconds(value)))
}

fn decimals(value: f64) -> usize {
    match value {
        value if value >= 10.0 || value == 0.0 => 0,
        value if value >= 1.0 => 2,
        value if value >= 0.1 => 3,
        _ => 4,
    }
}

/// Formats requests per second: two decimals, more for values that these would round to nothing.
pub(crate) fn requests_per_second(value: Option<f64>) -> String {
    let decimals = |value: f64| if value < 0.1 { decimals(value) } else { 2 };
    value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{value:.*} req/s", decimals(value)))
}

/// Formats tokens per second: whole from 10 up.
pub(crate) fn tokens_per_second(value: Option<f64>) -> String {
    value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{value:.*} tok/s", decimals(value)))
}

/// Formats any other number with its unit, which may be empty: three significant digits or more.
pub(crate) fn plain_number(value: Option<f64>, unit: &str) -> String {
    let written = value.map(|value| format!("{value:.*} {unit}", decimals(value)).trim_end().to_owned());
    written.unwrap_or_else(|| NOT_AVAILABLE.to_owned())
}

/// Returns the symbol of a metric's unit.
pub(crate) fn unit_symbol(unit: MetricUnit) -> &'static str {
    match unit {
        MetricUnit::Milliseconds => "ms",
        MetricUnit::Share => "%",
        MetricUnit::Plain(name) => name,
    }
}

/// Formats seconds with two decimals.
pub(crate) fn seconds(value: Duration) -> String {
    format!("{:.2} s", value.as_secs_f64())
}

/// Formats a percentile's name: `P99`, `P99.9`.
pub(crate) fn percentile_name(p: f64) -> String {
    format!("P{p}")
}

/// Formats a share from 0 to 1 in percent.
pub(crate) fn share_text(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Formats `part` of `whole` in percent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { NOT_AVAILABLE.to_owned() } else { share_text(part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_latencies_keep_digits_that_mean_something() {
        let cases = [
            (120_400, "120 ms"),
            (10_000, "10 ms"),
            (9_876, "9.88 ms"),
            (1_234, "1.23 ms"),
            (456, "0.456 ms"),
            (42, "0.0420 ms"),
            (0, "0 ms"),
        ];
        for (us, expected) in cases {
            assert_eq!(milliseconds(Some(Duration::from_micros(us))), expected);
        }
    }

    /// "∞" in a table means nothing to most readers.
    #[test]
    fn an_interval_without_bounds_is_written_in_words() {
        let written = |low, high| bounds_text(RateInterval { low, high }, |end| format!("{end:.1}"));
        assert_eq!(written(1.0, 2.0), "[1.0, 2.0]");
        assert_eq!(written(1.0, f64::INFINITY), "[at least 1.0]");
        assert_eq!(written(f64::NEG_INFINITY, 2.0), "[at most 2.0]");
        for (low, high) in [(f64::NEG_INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)] {
            assert_eq!(written(low, high), "[cannot be bounded]");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_a_zero() {
        assert_eq!(milliseconds(None), "n/a");
        assert_eq!(requests_per_second(None), "n/a");
        assert_eq!(tokens_per_second(None), "n/a");
        assert_eq!(percent(0, 0), "n/a");
    }

    #[test]
    fn rates_are_written_as_the_documentation_does() {
        assert_eq!(requests_per_second(Some(19.9512)), "19.95 req/s");
        assert_eq!(requests_per_second(Some(0.0123)), "0.0123 req/s");
        assert_eq!(tokens_per_second(Some(4680.2)), "4680 tok/s");
        assert_eq!(percentile_name(99.0), "P99");
        assert_eq!(percentile_name(99.9), "P99.9");
    }
}
