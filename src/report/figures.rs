//! How numbers are written, in one place.

use std::time::Duration;

use crate::core::figure::Unit;
use crate::core::stats::Interval;

/// What stands for a metric without samples. Never a zero.
pub const NOT_AVAILABLE: &str = "n/a";

/// Milliseconds without their unit: as many digits as [`milliseconds`] has.
pub fn bare_milliseconds(value: Duration) -> String {
    let ms = value.as_secs_f64() * 1e3;
    format!("{ms:.*}", decimals(ms))
}

/// A 95 % interval in milliseconds: `[115, 125]`.
pub fn interval(interval: Interval) -> String {
    format!("[{}, {}]", bare_milliseconds(interval.low), bare_milliseconds(interval.high))
}

/// Milliseconds: whole from 10 ms up, three significant digits below, where a whole number says little.
pub fn milliseconds(value: Option<Duration>) -> String {
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

/// Requests per second: two decimals, more where they would say nothing.
pub fn requests_per_second(value: Option<f64>) -> String {
    let decimals = |value: f64| if value < 0.1 { decimals(value) } else { 2 };
    value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{value:.*} req/s", decimals(value)))
}

/// Tokens per second: whole from 10 up.
pub fn tokens_per_second(value: Option<f64>) -> String {
    value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{value:.*} tok/s", decimals(value)))
}

/// Any other number with its unit, which may be none: three significant digits or more.
pub fn plain(value: Option<f64>, unit: &str) -> String {
    let written = value.map(|value| format!("{value:.*} {unit}", decimals(value)).trim_end().to_owned());
    written.unwrap_or_else(|| NOT_AVAILABLE.to_owned())
}

/// What a figure's values are counted in.
pub fn symbol(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::Share => "%",
        Unit::Plain(name) => name,
    }
}

/// Seconds with two decimals.
pub fn seconds(value: Duration) -> String {
    format!("{:.2} s", value.as_secs_f64())
}

/// A percentile's name: `P99`, `P99.9`.
pub fn percentile(p: f64) -> String {
    format!("P{p}")
}

/// A share of the whole, 0 to 1, in percent.
pub fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A share in percent.
pub fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { NOT_AVAILABLE.to_owned() } else { share(part as f64 / whole as f64) }
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
        assert_eq!(percentile(99.0), "P99");
        assert_eq!(percentile(99.9), "P99.9");
    }
}
