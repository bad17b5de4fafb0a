//! Where the numbers lie with 95 % confidence, one line a metric.

use std::io::{self, Write};

use super::section;
use crate::core::metrics::{Latency, Metrics, SCALARS};
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
    for scalar in &SCALARS {
        let Some(interval) = metrics.rate_intervals.get(scalar.key) else { continue };
        let written = if scalar.unit == "req/s" { requests_per_second } else { tokens_per_second };
        let [value, low, high] =
            [(scalar.value)(metrics), Some(interval.low), Some(interval.high)].map(written);
        let bare = |figure: &str| figure.trim_end_matches(scalar.unit).trim_end().to_owned();
        writeln!(to, "{} {} [{}, {}] {}", scalar.label, bare(&value), bare(&low), bare(&high), scalar.unit)?;
    }
    Ok(())
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
