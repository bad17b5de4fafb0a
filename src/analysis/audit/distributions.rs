//! The statistics of each latency: whether they can be those of one sample, and whether it is large enough.

use super::{AuditCheck, AuditFinding, AuditLevel, AuditMeasure, CheckResult};
use crate::model::metrics::Latency;
use crate::model::stated::{StatedLatency, StatedResult};
use crate::stats::min_sample_size;

/// Rounding of stated figures, as a share.
const ROUNDING: f64 = 0.01;

/// Percentiles ascend, the mean is between the extremes, and mean, median, percentiles and standard deviation fit.
pub(super) fn statistics(result: &StatedResult) -> CheckResult {
    if result.latencies.is_empty() {
        return Err("statistics of latencies");
    }
    let mut findings = Vec::new();
    for (latency, stated) in &result.latencies {
        let n = stated.n.or(result.completed).filter(|n| *n > 0);
        let checks =
            [order(*latency, stated), spread(*latency, stated, n), tail_within_mean(*latency, stated, n)];
        findings.extend(checks.into_iter().flatten());
    }
    Ok(findings)
}

fn impossible(figure: String, measure: AuditMeasure, reason: String) -> AuditFinding {
    let (check, level) = (AuditCheck::Statistics, AuditLevel::Impossible);
    AuditFinding { check, level, figure, measure: Some(measure), reason }
}

/// The smallest value, the percentiles and the largest value, with their names.
fn points(latency: Latency, stated: &StatedLatency) -> Vec<(String, f64)> {
    let symbol = latency.symbol();
    let min = stated.min_ms.map(|value| (format!("{symbol} min"), value));
    let max = stated.max_ms.map(|value| (format!("{symbol} max"), value));
    let percentiles = stated.percentiles.iter().map(|at| (format!("{symbol} P{}", at.p), at.value_ms));
    min.into_iter().chain(percentiles).chain(max).collect()
}

fn order(latency: Latency, stated: &StatedLatency) -> Vec<AuditFinding> {
    let points = points(latency, stated);
    let mut findings = Vec::new();
    for pair in points.windows(2) {
        let [(lower, low), (higher, high)] = pair else { continue };
        if *low > high * (1.0 + 1e-6) + 1e-6 {
            let reason = format!("a lower percentile is never above a higher one, here {higher}");
            findings.push(impossible(lower.clone(), AuditMeasure::at_most(*low, *high, "ms"), reason));
        }
    }
    if let Some((name, value)) = points.iter().find(|(_, value)| *value < 0.0) {
        let measure = AuditMeasure::at_least(*value, 0.0, "ms");
        findings.push(impossible(name.clone(), measure, "a latency is never negative".to_owned()));
    }
    if let Some(mean) = stated.mean_ms {
        let name = format!("{} mean", latency.symbol());
        let above = stated.max_ms.filter(|max| mean > max * (1.0 + 1e-6));
        let below = stated.min_ms.filter(|min| mean < min * (1.0 - 1e-6));
        findings.extend(above.map(|max| {
            let reason = "a mean is never above the largest value".to_owned();
            impossible(name.clone(), AuditMeasure::at_most(mean, max, "ms"), reason)
        }));
        findings.extend(below.map(|min| {
            let reason = "a mean is never below the smallest value".to_owned();
            impossible(name.clone(), AuditMeasure::at_least(mean, min, "ms"), reason)
        }));
    }
    findings
}

/// The median is within one standard deviation of the mean, and the deviation is at most half the range, for every
/// sample (Popoviciu; the factor allows for n − 1 in place of n).
fn spread(latency: Latency, stated: &StatedLatency, n: Option<u64>) -> Vec<AuditFinding> {
    let Some(std) = stated.std_ms else { return Vec::new() };
    let symbol = latency.symbol();
    let mut findings = Vec::new();
    if let (Some(mean), Some(median)) = (stated.mean_ms, stated.percentile(50.0)) {
        let distance = (mean - median).abs();
        if distance > std * (1.0 + ROUNDING) + ROUNDING * median.abs() {
            let reason = "mean and median of a sample differ by at most its standard deviation".to_owned();
            let figure = format!("{symbol} mean − median");
            findings.push(impossible(figure, AuditMeasure::at_most(distance, std, "ms"), reason));
        }
    }
    if let (Some(min), Some(max), Some(n)) = (stated.min_ms, stated.max_ms, n.filter(|n| *n > 1)) {
        let most = (max - min) / 2.0 * (n as f64 / (n - 1) as f64).sqrt();
        if std > most * (1.0 + ROUNDING) + 1e-6 {
            let reason = "a standard deviation is at most half the distance of the extremes".to_owned();
            findings.push(impossible(
                format!("{symbol} std"),
                AuditMeasure::at_most(std, most, "ms"),
                reason,
            ));
        }
    }
    findings
}

/// The values at or above a percentile alone add up to a part of the mean.
fn tail_within_mean(latency: Latency, stated: &StatedLatency, n: Option<u64>) -> Vec<AuditFinding> {
    let (Some(mean), Some(n)) = (stated.mean_ms, n) else { return Vec::new() };
    let n = n as f64;
    let least = |p: f64, value: f64| (n - (p / 100.0 * (n - 1.0)).ceil()) / n * value;
    let bounds = stated.percentiles.iter().map(|at| (at.p, least(at.p, at.value_ms)));
    let worst =
        bounds.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, least)| mean < least * (1.0 - ROUNDING));
    let finding = worst.map(|(p, least)| {
        let reason = format!("the values at P{p} and above alone give a larger mean");
        let figure = format!("{} mean", latency.symbol());
        impossible(figure, AuditMeasure::at_least(mean, least, "ms"), reason)
    });
    finding.into_iter().collect()
}

/// A percentile beyond the last of n values is the largest value, whatever its name. Gaps are left out: they are many,
/// and not independent.
pub(super) fn samples(result: &StatedResult) -> CheckResult {
    let completed = result.completed.ok_or("the number of answered requests")?;
    let stated = || result.latencies.iter().filter(|(latency, _)| **latency != Latency::Itl);
    let mut percents: Vec<f64> =
        stated().flat_map(|(_, stated)| &stated.percentiles).map(|at| at.p).collect();
    percents.sort_unstable_by(f64::total_cmp);
    percents.dedup();
    if percents.is_empty() {
        return Err("percentiles");
    }
    let has_too_few = |p: &f64| *p < 100.0 && (completed as f64) * (1.0 - p / 100.0) < 1.0 - 1e-9;
    let finding = |p: f64| {
        let symbols = stated().filter(|(_, stated)| stated.percentile(p).is_some());
        let symbols: Vec<_> = symbols.map(|(latency, _)| latency.symbol()).collect();
        let needed = min_sample_size(p).map(|n| format!("; a bound on it needs {n}")).unwrap_or_default();
        AuditFinding {
            check: AuditCheck::PercentileSamples,
            level: AuditLevel::Doubtful,
            figure: format!("P{p} of {}", symbols.join(", ")),
            measure: Some(AuditMeasure::at_least(
                completed as f64,
                (100.0 / (100.0 - p) - 1e-9).ceil(),
                "requests",
            )),
            reason: format!("P{p} of {completed} requests is the largest value or next to it{needed}"),
        }
    };
    Ok(percents.into_iter().filter(has_too_few).map(finding).collect())
}
