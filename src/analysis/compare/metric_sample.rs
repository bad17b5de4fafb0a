//! What one or several runs show about a metric.

use std::time::Duration;

use serde::Serialize;

use crate::analysis::compare::server_starts;
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::{self, Latency};
use crate::model::prediction::Prediction;
use crate::model::record::Record;
use crate::model::run::Run;
use crate::model::stated::StatedResult;
use crate::stats::{self, ConfidenceDistribution, DurationHistogram, Percent, RateInterval};

/// The value of a metric, and how uncertain it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricSample {
    /// The value in the metric's unit. With several server starts it is the mean of the starts' means;
    /// otherwise, with several runs, the mean of the runs.
    pub value: f64,
    /// The 95 % interval, where one can be computed. An unbounded end is infinite, and `null` in JSON.
    pub interval: Option<RateInterval>,
    /// How the spread was estimated; `None` if it is unknown.
    pub(crate) method: Option<SpreadMethod>,
    /// The value in each run that has the metric.
    pub runs: Vec<f64>,
    /// The values grouped by server start. A run that does not report its start forms a separate group.
    pub(crate) starts: Vec<Vec<f64>>,
    /// The number of requests in these runs, answered or not.
    pub requests: u64,
    /// The effective sample size of a percentile, where it is known.
    pub effective_n: Option<u64>,
    /// For a share, the variance from counting alone. Without it, repeats with equal shares would show no spread at
    /// all.
    #[serde(skip)]
    pub(super) counting: f64,
    #[serde(skip)]
    pub(super) belief: Option<ConfidenceDistribution>,
}

/// How the spread of a metric was estimated, the weakest method first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SpreadMethod {
    /// From the interval of a prediction.
    Predicted,
    /// From the intervals, histograms and counts of a run that was saved without its requests.
    Stated,
    /// From all requests of one run.
    Records,
    /// From the spread between runs.
    Repeats,
    /// From the variation between server starts.
    Starts,
}

impl MetricSample {
    /// Computes the sample of several runs; `None` if no run has the metric.
    pub(crate) fn from_runs(runs: &[Run], figure: MetricId) -> Option<Self> {
        let having: Vec<(&Run, f64)> =
            runs.iter().filter_map(|run| Some((run, figure.value(run)?))).collect();
        let values: Vec<f64> = having.iter().map(|(_, value)| *value).collect();
        let places = server_starts::group_by_start(having.iter().map(|(run, _)| *run));
        let starts: Vec<Vec<f64>> =
            places.iter().map(|places| places.iter().map(|&at| values[at]).collect()).collect();
        let units = if starts.len() > 1 { means(&starts) } else { values.clone() };
        let requests = having.iter().map(|(run, _)| run.metrics.request_count() as u64).sum();
        let counted = (figure.unit() == MetricUnit::Share)
            .then(|| CountedShare { share: mean_value(&values), of: requests });
        let (value, known) = match having[..] {
            [] => return None,
            [(run, value)] => (value, from_single_run(run, figure)),
            _ => {
                let known = having.iter().all(|(run, _)| run.server_start().is_some());
                let method =
                    if known && starts.len() > 1 { SpreadMethod::Starts } else { SpreadMethod::Repeats };
                let belief = from_units(&units, counted);
                (mean_value(&units), belief.map(|belief| SampleEstimate::new(method, belief)))
            }
        };
        Some(Self {
            value,
            interval: known.as_ref().map(|known| known.belief.interval(0.05)),
            method: known.as_ref().map(|known| known.method),
            runs: values,
            starts,
            requests,
            counting: counted.map_or(0.0, CountedShare::variance),
            effective_n: known.as_ref().and_then(|known| known.effective_n),
            belief: known.map(|known| known.belief),
        })
    }

    /// Computes the sample of a result of another tool: over its requests, else the figure as stated, whose spread is
    /// unknown. `None` if the result has neither.
    pub(crate) fn from_stated(result: &StatedResult, figure: MetricId) -> Option<Self> {
        let measured = from_stated_requests(result, figure);
        let (value, known) = match measured {
            Some((value, known)) => (value, known),
            None => (figure.stated_value(result)?, None),
        };
        let requests = result.request_count().unwrap_or_default();
        let counted =
            (figure.unit() == MetricUnit::Share).then_some(CountedShare { share: value, of: requests });
        Some(Self {
            value,
            interval: known.as_ref().map(|known| known.belief.interval(0.05)),
            method: known.as_ref().map(|known| known.method),
            runs: vec![value],
            starts: vec![vec![value]],
            requests,
            counting: counted.map_or(0.0, CountedShare::variance),
            effective_n: known.as_ref().and_then(|known| known.effective_n),
            belief: known.map(|known| known.belief),
        })
    }

    /// The mean of each start: the independent values in a difference between servers.
    pub(super) fn start_values(&self) -> Vec<f64> {
        means(&self.starts)
    }

    /// The confidence that the true value is at most `limit`; `None` if the spread is unknown.
    pub(crate) fn at_most(&self, limit: f64) -> Option<f64> {
        Some(self.belief.as_ref()?.minus(&ConfidenceDistribution::exact(0.0)).at_most(limit))
    }

    /// The confidence that the true value is at least `limit`; `None` if the spread is unknown.
    pub(crate) fn at_least(&self, limit: f64) -> Option<f64> {
        Some(self.belief.as_ref()?.minus(&ConfidenceDistribution::exact(0.0)).at_least(limit))
    }

    /// The interval that misses the true value with probability `alpha`.
    pub(crate) fn interval_at(&self, alpha: f64) -> Option<RateInterval> {
        Some(self.belief.as_ref()?.interval(alpha))
    }
}

/// A share of requests.
#[derive(Clone, Copy)]
struct CountedShare {
    share: f64,
    of: u64,
}

impl CountedShare {
    /// The variance of the share. Adding one success and one failure keeps it above zero where all requests were alike
    /// (Agresti and Caffo 2000).
    fn variance(self) -> f64 {
        let n = self.of as f64;
        let share = (self.share * n + 1.0) / (n + 2.0);
        share * (1.0 - share) / n.max(1.0)
    }
}

/// The confidence distribution of the mean of several runs or starts. The uncertainty of a share is at least that of
/// its count.
fn from_units(units: &[f64], counted: Option<CountedShare>) -> Option<ConfidenceDistribution> {
    let Some(counted) = counted else { return ConfidenceDistribution::from_positive_mean(units) };
    let spread = ConfidenceDistribution::from_mean(units);
    let count = ConfidenceDistribution::from_count(counted.share, counted.of as f64);
    Some(spread.map_or(count.clone(), |spread| spread.envelope(&count)).clamped(0.0, 1.0))
}

fn means(groups: &[Vec<f64>]) -> Vec<f64> {
    groups.iter().map(|values| mean_value(values)).collect()
}

fn mean_value(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A confidence distribution, and the method that it comes from.
struct SampleEstimate {
    method: SpreadMethod,
    belief: ConfidenceDistribution,
    effective_n: Option<u64>,
}

impl SampleEstimate {
    fn new(method: SpreadMethod, belief: ConfidenceDistribution) -> Self {
        Self { method, belief, effective_n: None }
    }

    fn percentile(method: SpreadMethod, (belief, effective_n): (ConfidenceDistribution, u64)) -> Self {
        Self { method, belief, effective_n: Some(effective_n) }
    }
}

/// The value of a metric over the requests of a result of another tool, and its spread where it can be estimated; `None`
/// where the requests do not have the metric.
fn from_stated_requests(result: &StatedResult, figure: MetricId) -> Option<(f64, Option<SampleEstimate>)> {
    let records = |belief| SampleEstimate::new(SpreadMethod::Records, belief);
    match figure {
        MetricId::Latency(latency, statistic) => {
            let groups = result.sample_groups(latency);
            let mut values: Vec<Duration> = groups.concat();
            values.sort_unstable();
            match statistic {
                Statistic::Mean => {
                    let sum = |group: &Vec<Duration>| group.iter().sum::<Duration>().as_secs_f64();
                    let total: f64 = groups.iter().map(sum).sum();
                    let pairs: Vec<_> = groups.iter().map(|group| (sum(group), group.len() as f64)).collect();
                    let belief = ConfidenceDistribution::from_ratio(pairs.into_iter());
                    let mean = (!values.is_empty()).then(|| total / values.len() as f64 * 1e3)?;
                    Some((mean, belief.map(|belief| records(belief.scaled(1e3)))))
                }
                Statistic::Percentile(p) => {
                    let value = stats::percentile(&values, p)?.as_secs_f64() * 1e3;
                    let known = ConfidenceDistribution::from_percentile(groups.into_iter(), p);
                    let known = known.map(|(belief, n)| (belief.scaled(1e3), n));
                    Some((value, known.map(|known| SampleEstimate::percentile(SpreadMethod::Records, known))))
                }
            }
        }
        MetricId::Scalar(_) if figure.to_string() == "failure_rate" => {
            let requests = result.requests.as_ref().filter(|requests| !requests.is_empty())?;
            let failed = requests.iter().filter(|request| request.failed).count();
            let belief = failure_share(requests.iter().map(|request| request.failed));
            Some((failed as f64 / requests.len() as f64, belief.map(records)))
        }
        MetricId::Scalar(_) => None,
    }
}

fn from_single_run(run: &Run, figure: MetricId) -> Option<SampleEstimate> {
    if let Some(prediction) = &run.prediction {
        return from_prediction(prediction, figure);
    }
    let recorded = run.records.as_deref().and_then(|records| from_records(run, records, figure));
    recorded.or_else(|| from_stated_interval(run, figure))
}

/// The spread of a prediction is that of its ensemble; that of its simulated requests says nothing about the model.
fn from_prediction(prediction: &Prediction, figure: MetricId) -> Option<SampleEstimate> {
    let known = prediction.metrics.get(&figure.to_string())?;
    let belief = ConfidenceDistribution::from_coverage(known.point, known.interval(), prediction.coverage);
    Some(SampleEstimate::new(SpreadMethod::Predicted, belief))
}

fn from_records(run: &Run, records: &[Record], figure: MetricId) -> Option<SampleEstimate> {
    match figure {
        MetricId::Latency(latency, Statistic::Percentile(p)) => {
            let (belief, effective_n) = latency_percentile(records, latency, p)?;
            Some(SampleEstimate::percentile(SpreadMethod::Records, (belief.scaled(1e3), effective_n)))
        }
        MetricId::Latency(latency, Statistic::Mean) => {
            let belief = mean_latency(records, latency)?.scaled(1e3);
            Some(SampleEstimate::new(SpreadMethod::Records, belief))
        }
        MetricId::Scalar(_) => {
            let name = figure.to_string();
            let belief = match name.as_str() {
                "failure_rate" => failure_share(metrics::failures(records)),
                "goodput_ratio" => failure_share(metrics::successes(records, &run.spec.slo)),
                key => {
                    let pairs = metrics::by_second(records, &run.spec.slo).remove(key)?;
                    ConfidenceDistribution::from_ratio(pairs.into_iter())
                }
            };
            Some(SampleEstimate::new(SpreadMethod::Records, belief?))
        }
    }
}

fn failure_share(happened: impl Iterator<Item = bool>) -> Option<ConfidenceDistribution> {
    let pairs: Vec<(f64, f64)> = happened.map(|yes| (f64::from(u8::from(yes)), 1.0)).collect();
    ConfidenceDistribution::from_share(pairs.into_iter())
}

/// The confidence distribution of the mean, in seconds.
fn mean_latency(records: &[Record], latency: Latency) -> Option<ConfidenceDistribution> {
    let pairs: Vec<(f64, f64)> = match latency {
        Latency::Itl => {
            let sums = metrics::gap_sums(records);
            sums.map(|(time, gaps)| (time.as_secs_f64(), f64::from(gaps))).collect()
        }
        _ => metrics::samples(records, latency).map(|value| (value.as_secs_f64(), 1.0)).collect(),
    };
    ConfidenceDistribution::from_ratio(pairs.into_iter())
}

/// The confidence distribution of a percentile, in seconds, and the effective sample size.
fn latency_percentile(
    records: &[Record],
    latency: Latency,
    p: Percent,
) -> Option<(ConfidenceDistribution, u64)> {
    if latency == Latency::Itl {
        let counted = records.iter().filter(|record| latency.applies_to(record));
        let gaps: Option<Vec<_>> = counted.map(|record| record.events.gaps.as_ref()).collect();
        return ConfidenceDistribution::from_percentile(gaps?.into_iter(), p);
    }
    let values: Vec<_> = metrics::samples(records, latency).collect();
    ConfidenceDistribution::from_percentile(values.chunks(1), p)
}

fn from_stated_interval(run: &Run, figure: MetricId) -> Option<SampleEstimate> {
    if let MetricId::Latency(latency, Statistic::Percentile(p)) = figure
        && let Some(known) = from_histogram(run, latency, p)
    {
        return Some(SampleEstimate::percentile(SpreadMethod::Stated, known));
    }
    let belief = match figure.to_string().as_str() {
        "failure_rate" => failures_by_second(run),
        "goodput_ratio" => from_goodput(run, figure),
        _ => Some(ConfidenceDistribution::from_interval(figure.value(run)?, figure.interval(run)?)),
    };
    Some(SampleEstimate::new(SpreadMethod::Stated, belief?))
}

/// The share of failures in each second, among the requests that ended in it.
fn failures_by_second(run: &Run) -> Option<ConfidenceDistribution> {
    let seconds = run.series.failures.iter().zip(&run.series.completions);
    ConfidenceDistribution::from_share(
        seconds.map(|(failed, done)| (f64::from(*failed), f64::from(failed + done))),
    )
}

/// The goodput ratio has the relative uncertainty of the good requests per second.
fn from_goodput(run: &Run, ratio: MetricId) -> Option<ConfidenceDistribution> {
    let rate = MetricId::scalar("request_goodput")?;
    let (ratio, good) = (ratio.value(run)?, rate.value(run).filter(|&good| good > 0.0)?);
    let interval = rate.interval(run)?;
    let scaled = |end: f64| (ratio * end / good).min(1.0);
    Some(ConfidenceDistribution::from_interval(
        ratio,
        RateInterval { low: scaled(interval.low), high: scaled(interval.high) },
    ))
}

/// The effective sample size comes from the percentile that the run reports, and the distribution from its histogram.
fn from_histogram(run: &Run, latency: Latency, p: Percent) -> Option<(ConfidenceDistribution, u64)> {
    let listed = run.metrics.latencies.get(&latency)?.percentiles.iter().find(|listed| listed.p == p)?;
    let histogram = DurationHistogram::decode(run.histograms.get(&latency)?)?;
    let belief = ConfidenceDistribution::from_histogram(&histogram, p, listed.effective_n)?;
    Some((belief.scaled(1e3), listed.effective_n))
}
