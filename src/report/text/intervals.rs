//! Where the numbers lie with 95 % confidence, one line a metric.

use std::io::{self, Write};

use super::section;
use crate::core::metrics::{Latency, Metrics, SCALARS, Scalar};
use crate::core::run::Run;
use crate::core::stats::{Distribution, Interval, Percentile};
use crate::report::figures::{self, bare_milliseconds, percentile, requests_per_second, tokens_per_second};

/// The section; nothing for a run without samples.
pub fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    if metrics.completed == 0 {
        return Ok(());
    }
    section("95 % intervals", to)?;
    rates(metrics, to)?;
    for latency in &run.selection.latencies {
        if let Some(distribution) = metrics.latencies.get(latency) {
            let unit = if *latency == Latency::Itl { "events" } else { "requests" };
            writeln!(to, "{} (n {} {unit})", line(*latency, distribution), distribution.n)?;
        }
    }
    Ok(())
}

fn rates(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let mut known = SCALARS.iter().filter(|scalar| metrics.rate_intervals.contains_key(scalar.key));
    known.try_for_each(|scalar| writeln!(to, "{}", rate(scalar, metrics)))
}

/// `Request throughput 19.95 [18.60, 21.20] req/s`.
pub fn rate(scalar: &Scalar, metrics: &Metrics) -> String {
    let bare = |value: Option<f64>| {
        let written = match scalar.unit {
            "req/s" => requests_per_second(value),
            _ => tokens_per_second(value),
        };
        written.trim_end_matches(scalar.unit).trim_end().to_owned()
    };
    let interval = metrics.rate_intervals.get(scalar.key);
    let interval = interval.map_or("[n/a]".to_owned(), |interval| {
        format!("[{}, {}]", bare(Some(interval.low)), bare(Some(interval.high)))
    });
    format!("{} {} {interval} {}", scalar.label, bare((scalar.value)(metrics)), scalar.unit)
}

/// `TTFT mean 120 [115, 125] · median 95 [93, 97] · P99 480 [450, 560] ms`.
pub fn line(latency: Latency, distribution: &Distribution) -> String {
    let value = |name: &str, value, interval: Option<Interval>| {
        format!("{name} {} {}", bare_milliseconds(value), interval.map_or("[n/a]".into(), figures::interval))
    };
    let mut parts = vec![
        value("mean", distribution.mean, distribution.mean_interval),
        value("median", distribution.median, distribution.median_interval),
    ];
    parts.extend(distribution.percentiles.iter().map(|percentile| tail(percentile, distribution.n)));
    format!("{} {} ms", latency.symbol(), parts.join(" · "))
}

/// Without an interval it says how many requests there would have to be.
fn tail(found: &Percentile, n: u64) -> String {
    let (name, value) = (percentile(found.p), bare_milliseconds(found.value));
    match (found.interval, found.needs) {
        (Some(interval), _) => format!("{name} {value} {}", figures::interval(interval)),
        (None, Some(needs)) if n < needs => format!("{name} {value} [n/a: needs {needs}]"),
        (None, Some(_)) => format!("{name} {value} [n/a: worth {} independent]", found.effective_n),
        (None, None) => format!("{name} {value} [n/a]"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn latencies(n: u64) -> Distribution {
        let values = (0..n).map(|i| Duration::from_millis(100 + i * 37 % 100)).collect();
        Distribution::of(values, &[99.0, 100.0]).unwrap()
    }

    #[test]
    fn every_number_stands_beside_its_interval() {
        let text = line(Latency::Ttft, &latencies(2000));
        let (names, rest) = text.split_once(" mean 150 [").unwrap();
        assert_eq!(names, "TTFT");
        assert!(rest.contains("] · median 150 [") && rest.contains("] · P99 198 [19"), "{text}");
        assert!(rest.ends_with(" · P100 199 [n/a] ms"), "{text}");
    }

    #[test]
    fn a_percentile_of_too_few_says_how_many_it_needs() {
        let text = line(Latency::E2e, &latencies(100));
        assert!(text.contains("[n/a: needs 662]"), "{text}");
        assert!(line(Latency::E2e, &latencies(5)).starts_with("E2E mean 134 [n/a] · median 137 [n/a]"));
    }
}
