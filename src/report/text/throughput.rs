//! Throughputs and shares with their 95 % intervals.

use std::io::{self, Write};

use super::wrapped;
use crate::model::metric_id::{MetricId, MetricUnit};
use crate::model::metrics::{Metrics, SCALARS, Scalar};
use crate::report::format::{NOT_AVAILABLE, plain_number, requests_per_second, seconds, tokens_per_second};

/// Throughputs that every report shows, with or without an interval.
const MAIN: [&str; 5] =
    ["request_throughput", "input_throughput", "output_throughput", "input_sequence_throughput", "rtfx"];

/// Writes the throughputs of a table of metrics that has no separate lines for them.
pub(super) fn main(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let shown = |scalar: &&Scalar| MAIN.contains(&scalar.key) && (scalar.value)(metrics).is_some();
    let parts: Vec<_> = SCALARS.iter().filter(shown).map(|scalar| rate(scalar, metrics, false)).collect();
    wrapped(&parts, to)?;
    without_interval(metrics, to)
}

/// Writes the intervals of the throughputs that the report has printed above, and the throughputs that it has not
/// printed.
pub(super) fn beside_contract(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let is_printed = |key: &str| match key {
        "total_token_throughput" => false,
        "failure_rate" => metrics.failed > 0,
        _ => true,
    };
    let known = SCALARS.iter().filter(|scalar| metrics.rate_intervals.contains_key(scalar.key));
    let parts: Vec<_> = known.map(|scalar| rate(scalar, metrics, is_printed(scalar.key))).collect();
    wrapped(&parts, to)?;
    without_interval(metrics, to)
}

fn without_interval(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    if metrics.completed == 0 || metrics.rate_intervals.contains_key("request_throughput") {
        return Ok(());
    }
    writeln!(to, "No interval: throughput: {} were measured, 10 s are needed", seconds(metrics.duration))
}

/// Formats `Request throughput 19.95 [18.60, 21.20] req/s`, without the value if it is already printed.
fn rate(scalar: &Scalar, metrics: &Metrics, is_printed: bool) -> String {
    let is_share = MetricId::scalar(scalar.key).is_some_and(|figure| figure.unit() == MetricUnit::Share);
    let bare = |value: Option<f64>| {
        let written = match scalar.unit {
            _ if is_share => value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{:.2}", 100.0 * value)),
            "req/s" => requests_per_second(value),
            "tok/s" => tokens_per_second(value),
            unit => plain_number(value, unit),
        };
        written.strip_suffix(scalar.unit).unwrap_or(&written).trim_end().to_owned()
    };
    let interval = metrics.rate_intervals.get(scalar.key);
    let interval =
        interval.map(|interval| format!("[{}, {}]", bare(Some(interval.low)), bare(Some(interval.high))));
    let value = (!is_printed).then(|| bare((scalar.value)(metrics)));
    let unit = if is_share { "%" } else { scalar.unit };
    let words = [Some(scalar.label.to_owned()), value, interval, Some(unit.to_owned())];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::metrics::scalar;
    use crate::stats::RateInterval;
    use crate::testing::sample_run;

    #[test]
    fn a_rate_has_its_interval_and_its_value_unless_that_is_printed_above() {
        let mut metrics = sample_run::run(true).metrics;
        let failures = scalar("failure_rate").unwrap();
        assert_eq!(rate(failures, &metrics, false), "Failure rate 50.00 [0.00, 100.00] %", "of two requests");
        let requests = scalar("request_throughput").unwrap();
        metrics.duration = Duration::from_secs(20);
        assert_eq!(rate(requests, &metrics, false), "Request throughput 0.0500 req/s");
        metrics.rate_intervals.insert(requests.key.to_owned(), RateInterval { low: 4.0, high: 5.25 });
        assert_eq!(rate(requests, &metrics, true), "Request throughput [4.00, 5.25] req/s");
    }

    #[test]
    fn a_short_run_says_why_its_throughput_has_no_interval() {
        let mut text = Vec::new();
        main(&sample_run::run(true).metrics, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.ends_with("\nNo interval: throughput: 0.21 s were measured, 10 s are needed\n"),
            "{text}"
        );
    }
}
