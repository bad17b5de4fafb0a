//! Metric identifiers: each names one number of a run, for comparisons and bounds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::{Direction, Latency, OUTPUT_THROUGHPUTS, SCALARS, Scalar, scalar};
use super::run::Run;
use super::stated::StatedResult;
use super::validity::{Check, CheckOutcome, CheckScope};
use crate::model::run_spec::Slo;
use crate::stats::{DurationHistogram, DurationInterval, Percent, Percentile, RateInterval};

/// One number of a run: `ttft.p95`, `tpot.mean`, `output_throughput`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum MetricId {
    /// A statistic of a latency's distribution, in milliseconds.
    Latency(Latency, Statistic),
    /// A metric that is one number, in its own unit.
    Scalar(ScalarId),
}

/// A statistic of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The arithmetic mean.
    Mean,
    /// A percentile; the median is the 50th.
    Percentile(Percent),
}

/// The key of one of [`SCALARS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalarId(&'static str);

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricUnit {
    /// Milliseconds.
    Milliseconds,
    /// A share of the whole, 0 to 1; written in percent.
    Share,
    /// Any other unit, such as `req/s` or `tok/s`; empty for a pure number.
    Plain(&'static str),
}

/// The error for a name that no metric has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a metric of a run; write one such as ttft.p95, tpot.mean, p99_itl_ms or {}",
    known()
)]
pub struct UnknownMetric {
    name: String,
}

impl ScalarId {
    fn definition(self) -> &'static Scalar {
        scalar(self.0).expect("only keys of the table are made")
    }
}

impl MetricId {
    /// The metric with this key of [`SCALARS`].
    pub(crate) fn scalar(key: &str) -> Option<Self> {
        scalar(key).map(|row| Self::Scalar(ScalarId(row.key)))
    }

    /// The metric's display name: `TTFT P95`.
    pub fn label(self) -> String {
        match self {
            Self::Latency(latency, Statistic::Mean) => format!("{} mean", latency.symbol()),
            Self::Latency(latency, Statistic::Percentile(p)) => format!("{} P{p}", latency.symbol()),
            Self::Scalar(key) => key.definition().label.to_owned(),
        }
    }

    /// The metric's unit.
    pub(crate) fn unit(self) -> MetricUnit {
        match self {
            Self::Latency(..) => MetricUnit::Milliseconds,
            Self::Scalar(key) if matches!(key.0, "failure_rate" | "goodput_ratio") => MetricUnit::Share,
            Self::Scalar(key) => MetricUnit::Plain(key.definition().unit),
        }
    }

    /// Whether lower or higher is better.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Latency(..) => Direction::Lower,
            Self::Scalar(key) => key.definition().direction,
        }
    }

    /// The metric's value in a run, in its unit; `None` where the run has none. A percentile that the run does not list
    /// comes from its histogram, within 0.1 %.
    pub fn value(self, run: &Run) -> Option<f64> {
        match self {
            Self::Latency(latency, Statistic::Mean) => {
                run.metrics.latencies.get(&latency).map(|found| milliseconds(found.mean))
            }
            Self::Latency(latency, Statistic::Percentile(p)) => match listed_percentile(run, latency, p) {
                Some((value, _)) => Some(milliseconds(value)),
                None => from_histogram(run, latency, p),
            },
            Self::Scalar(key) => (key.definition().value)(&run.metrics),
        }
    }

    /// The metric's value as a result states it, in the metric's unit; `None` where it does not.
    pub(crate) fn stated_value(self, result: &StatedResult) -> Option<f64> {
        match self {
            Self::Latency(latency, statistic) => {
                let stated = result.latencies.get(&latency)?;
                match statistic {
                    Statistic::Mean => stated.mean_ms,
                    Statistic::Percentile(p) => stated.percentile(p),
                }
            }
            Self::Scalar(key) if key.0 == "failure_rate" => result.failure_rate(),
            Self::Scalar(key) => result.rates.get(key.0).copied(),
        }
    }

    /// Returns whether a check with this scope covers the metric, in runs with these limits.
    pub(crate) fn is_covered_by(self, scope: CheckScope, slo: &Slo) -> bool {
        match self {
            Self::Latency(latency, _) => scope.covers(latency),
            Self::Scalar(key) if matches!(key.0, "request_goodput" | "goodput_ratio") => {
                scope.covers_goodput(slo)
            }
            Self::Scalar(key) if OUTPUT_THROUGHPUTS.contains(&key.0) => scope.covers_output_throughput(),
            Self::Scalar(_) => scope.is_run(),
        }
    }

    /// The reason why the metric is invalid in a run; `None` if it is valid.
    pub fn invalid_reason(self, run: &Run) -> Option<String> {
        let mut invalid = run.validity.checks_with(CheckOutcome::Invalid);
        invalid.find(|check| self.is_covered_by(check.scope, &run.spec.slo)).map(Check::reason)
    }

    /// The metric's 95 % interval in a run, in its unit; `None` where the run states none. That of a predicted run is
    /// the interval of the prediction, at its own coverage.
    pub fn interval(self, run: &Run) -> Option<RateInterval> {
        if let Some(prediction) = &run.prediction {
            return Some(prediction.metrics.get(&self.to_string())?.interval());
        }
        let interval = match self {
            Self::Latency(latency, Statistic::Mean) => run.metrics.latencies.get(&latency)?.mean_interval?,
            Self::Latency(latency, Statistic::Percentile(p)) => listed_percentile(run, latency, p)?.1?,
            Self::Scalar(key) => return run.metrics.rate_intervals.get(key.0).copied(),
        };
        Some(RateInterval { low: milliseconds(interval.low), high: milliseconds(interval.high) })
    }
}

/// The percentile among those that the run lists.
fn listed_percentile(
    run: &Run,
    latency: Latency,
    p: Percent,
) -> Option<(Duration, Option<DurationInterval>)> {
    let found = run.metrics.latencies.get(&latency)?;
    match found.percentiles.iter().find(|listed| listed.p == p) {
        Some(&Percentile { value, interval, .. }) => Some((value, interval)),
        None => (p == 50.0).then_some((found.median, found.median_interval)),
    }
}

fn from_histogram(run: &Run, latency: Latency, p: Percent) -> Option<f64> {
    DurationHistogram::decode(run.histograms.get(&latency)?)?.percentile(p).map(milliseconds)
}

fn milliseconds(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

fn known() -> String {
    SCALARS.iter().map(|scalar| scalar.key).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for MetricId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(latency, Statistic::Mean) => write!(f, "{}.mean", latency.key()),
            Self::Latency(latency, Statistic::Percentile(p)) => write!(f, "{}.p{p}", latency.key()),
            Self::Scalar(key) => f.write_str(key.0),
        }
    }
}

impl FromStr for MetricId {
    type Err = UnknownMetric;

    /// Parses `ttft.p95`, `ttft.mean`, `ttft.median`, vLLM's `p95_ttft_ms` and `mean_ttft_ms`, or the key of a scalar.
    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let found = Self::scalar(name).or_else(|| {
            let (latency, statistic) = match name.strip_suffix("_ms") {
                Some(vllms) => vllms.split_once('_').map(|(statistic, latency)| (latency, statistic))?,
                None => name.split_once('.')?,
            };
            Some(Self::Latency(latency_from_name(latency)?, Statistic::from_name(statistic)?))
        });
        found.ok_or_else(|| UnknownMetric { name: name.to_owned() })
    }
}

fn latency_from_name(name: &str) -> Option<Latency> {
    match name {
        "e2e" => Some(Latency::E2e),
        "e2e_from_due" => Some(Latency::E2eFromDue),
        _ => Latency::from_key(name),
    }
}

impl Statistic {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "mean" | "avg" => Some(Self::Mean),
            "median" => Some(Self::Percentile(50.0)),
            _ => {
                let p: Percent = name.strip_prefix(['p', 'P'])?.parse().ok()?;
                (0.0..=100.0).contains(&p).then_some(Self::Percentile(p))
            }
        }
    }
}

impl TryFrom<String> for MetricId {
    type Error = UnknownMetric;

    fn try_from(name: String) -> Result<Self, UnknownMetric> {
        name.parse()
    }
}

impl From<MetricId> for String {
    fn from(figure: MetricId) -> Self {
        figure.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn figure(name: &str) -> MetricId {
        name.parse().unwrap()
    }

    #[test]
    fn a_figure_is_named_in_our_way_or_in_vllms() {
        assert_eq!(figure("ttft.p95"), figure("p95_ttft_ms"));
        assert_eq!(figure("e2e.mean"), figure("mean_e2el_ms"));
        assert_eq!(figure("tpot.median"), figure("tpot.p50"));
        assert_eq!(figure("p99.9_ttft_ms"), MetricId::Latency(Latency::Ttft, Statistic::Percentile(99.9)));
        assert_eq!(figure("ttft_from_due.p99").label(), "TTFT from due P99");
        for name in ["", "ttft", "ttft.", "ttft.p101", "p_ttft_ms", "speed", "ttft.p-1", "ttft.pNaN"] {
            let error = name.parse::<MetricId>().unwrap_err().to_string();
            assert!(error.contains("ttft.p95") && error.contains("output_throughput"), "{error}");
        }
    }

    #[test]
    fn every_figure_is_written_as_it_is_read() {
        for name in
            ["ttft.p99.9", "tpot.mean", "itl.p50", "e2el_from_due.p99", "output_throughput", "goodput_ratio"]
        {
            assert_eq!(figure(name).to_string(), name);
        }
    }

    #[test]
    fn a_percentile_that_is_not_listed_comes_from_the_histogram() {
        let mut run = sample_run::run(false);
        let listed = figure("itl.p99").value(&run).unwrap();
        let unlisted = figure("itl.p97").value(&run).unwrap();
        assert!((59.0..61.0).contains(&unlisted) && (59.0..61.0).contains(&listed), "{listed} {unlisted}");
        run.histograms.clear();
        assert_eq!(figure("itl.p97").value(&run), None);
    }

    #[test]
    fn values_are_in_the_unit_of_the_figure() {
        let run = sample_run::run(false);
        assert_eq!(figure("ttft.mean").value(&run), Some(100.0));
        assert_eq!(figure("failure_rate").value(&run), Some(0.5));
        assert_eq!(figure("goodput_ratio").value(&run), None, "without an SLO nothing is good");
        assert_eq!(figure("failure_rate").unit(), MetricUnit::Share);
        assert_eq!(figure("output_throughput").unit(), MetricUnit::Plain("tok/s"));
    }
}
