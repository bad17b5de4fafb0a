//! What one or several runs tell of a figure.

use serde::Serialize;

use super::starts;
use crate::core::figure::{Figure, Statistic, Unit};
use crate::core::metrics::{self, Latency};
use crate::core::record::Record;
use crate::core::run::Run;
use crate::core::stats::{Belief, DurationHistogram, Percent, RateInterval};

/// What is known of a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// In the figure's unit; of several starts of the server the mean of theirs, else of several runs.
    pub value: f64,
    /// Its 95 % interval, where anything tells of one. An end that nothing bounds is infinite, in JSON `null`.
    pub interval: Option<RateInterval>,
    /// How its spread is known; `None` if it is not.
    pub method: Option<Method>,
    /// The value in each run that has the figure.
    pub runs: Vec<f64>,
    /// The same by the start of the server that the run is from. A run that does not tell stands alone.
    pub starts: Vec<Vec<f64>>,
    /// Requests in these runs, answered or not.
    pub requests: u64,
    /// How many independent values a percentile's sample is worth, where that is known.
    pub effective_n: Option<u64>,
    /// Of a share, the variance that counting alone gives it: where repeats tie, their spread would say that it has none.
    #[serde(skip)]
    pub(super) counting: f64,
    #[serde(skip)]
    pub(super) belief: Option<Belief>,
}

/// How the spread of a figure is known, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From what a run that was saved without its requests states of it: intervals, histograms and counts.
    Stated,
    /// From every request of one run.
    Records,
    /// From one run to the next.
    Repeats,
    /// From one start of the server to the next.
    Starts,
}

impl Sample {
    /// What the runs tell; `None` if none of them has the figure.
    pub fn of(runs: &[Run], figure: Figure) -> Option<Self> {
        let having: Vec<(&Run, f64)> =
            runs.iter().filter_map(|run| Some((run, figure.value(run)?))).collect();
        let values: Vec<f64> = having.iter().map(|(_, value)| *value).collect();
        let places = starts::groups(having.iter().map(|(run, _)| *run));
        let starts: Vec<Vec<f64>> =
            places.iter().map(|places| places.iter().map(|&at| values[at]).collect()).collect();
        let units = if starts.len() > 1 { means(&starts) } else { values.clone() };
        let requests = having.iter().map(|(run, _)| run.metrics.requests() as u64).sum();
        let counted =
            (figure.unit() == Unit::Share).then(|| CountedShare { share: mean_of(&values), of: requests });
        let (value, known) = match having[..] {
            [] => return None,
            [(run, value)] => (value, of_one(run, figure)),
            _ => {
                let known = having.iter().all(|(run, _)| run.server_start().is_some());
                let method = if known && starts.len() > 1 { Method::Starts } else { Method::Repeats };
                let belief = of_units(&units, counted);
                (mean_of(&units), belief.map(|belief| Known::by(method, belief)))
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

    /// The values that are independent of each other in a difference about servers: the mean of each start.
    pub(super) fn of_starts(&self) -> Vec<f64> {
        means(&self.starts)
    }

    /// The confidence that the true value is at most this; `None` if nothing is known of its spread.
    pub fn at_most(&self, limit: f64) -> Option<f64> {
        Some(self.belief.as_ref()?.minus(&Belief::certain(0.0)).at_most(limit))
    }

    /// The confidence that the true value is at least this; `None` if nothing is known of its spread.
    pub fn at_least(&self, limit: f64) -> Option<f64> {
        Some(self.belief.as_ref()?.minus(&Belief::certain(0.0)).at_least(limit))
    }

    /// The interval that misses the true value with chance `alpha`.
    pub fn interval_at(&self, alpha: f64) -> Option<RateInterval> {
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
    /// Of the share. One more that it happened to and one more that it did not keep it from zero where all were alike (Agresti
    /// and Caffo 2000).
    fn variance(self) -> f64 {
        let n = self.of as f64;
        let share = (self.share * n + 1.0) / (n + 2.0);
        share * (1.0 - share) / n.max(1.0)
    }
}

/// What several runs, or starts, let one believe of their mean. A share is known no better than its count tells.
fn of_units(units: &[f64], counted: Option<CountedShare>) -> Option<Belief> {
    let Some(counted) = counted else { return Belief::of_positive_mean(units) };
    let spread = Belief::of_mean(units);
    let count = Belief::of_count(counted.share, counted.of as f64);
    Some(spread.map_or(count.clone(), |spread| spread.or(&count)).within(0.0, 1.0))
}

fn means(groups: &[Vec<f64>]) -> Vec<f64> {
    groups.iter().map(|values| mean_of(values)).collect()
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A belief and where it comes from.
struct Known {
    method: Method,
    belief: Belief,
    effective_n: Option<u64>,
}

impl Known {
    fn by(method: Method, belief: Belief) -> Self {
        Self { method, belief, effective_n: None }
    }

    fn percentile(method: Method, (belief, effective_n): (Belief, u64)) -> Self {
        Self { method, belief, effective_n: Some(effective_n) }
    }
}

fn of_one(run: &Run, figure: Figure) -> Option<Known> {
    let recorded = run.records.as_deref().and_then(|records| from_records(run, records, figure));
    recorded.or_else(|| from_statements(run, figure))
}

fn from_records(run: &Run, records: &[Record], figure: Figure) -> Option<Known> {
    match figure {
        Figure::Latency(latency, Statistic::Percentile(p)) => {
            let (belief, effective_n) = percentile(records, latency, p)?;
            Some(Known::percentile(Method::Records, (belief.times(1e3), effective_n)))
        }
        Figure::Latency(latency, Statistic::Mean) => {
            let belief = mean(records, latency)?.times(1e3);
            Some(Known::by(Method::Records, belief))
        }
        Figure::Scalar(_) => {
            let name = figure.to_string();
            let belief = match name.as_str() {
                "failure_rate" => share(metrics::failures(records)),
                "goodput_ratio" => share(metrics::successes(records, &run.spec.slo)),
                key => {
                    let pairs = metrics::by_second(records, &run.spec.slo).remove(key)?;
                    Belief::of_ratio(pairs.into_iter())
                }
            };
            Some(Known::by(Method::Records, belief?))
        }
    }
}

fn share(happened: impl Iterator<Item = bool>) -> Option<Belief> {
    let pairs: Vec<(f64, f64)> = happened.map(|yes| (f64::from(u8::from(yes)), 1.0)).collect();
    Belief::of_share(pairs.into_iter())
}

/// In seconds.
fn mean(records: &[Record], latency: Latency) -> Option<Belief> {
    let pairs: Vec<(f64, f64)> = match latency {
        Latency::Itl => {
            let sums = metrics::gap_sums(records);
            sums.map(|(time, gaps)| (time.as_secs_f64(), f64::from(gaps))).collect()
        }
        _ => metrics::samples(records, latency).map(|value| (value.as_secs_f64(), 1.0)).collect(),
    };
    Belief::of_ratio(pairs.into_iter())
}

/// In seconds, and what the sample is worth.
fn percentile(records: &[Record], latency: Latency, p: Percent) -> Option<(Belief, u64)> {
    if latency == Latency::Itl {
        let counted = records.iter().filter(|record| latency.counts(record));
        let gaps: Option<Vec<_>> = counted.map(|record| record.events.gaps.as_deref()).collect();
        return Belief::of_percentile(gaps?.into_iter(), p);
    }
    let values: Vec<_> = metrics::samples(records, latency).collect();
    Belief::of_percentile(values.chunks(1), p)
}

fn from_statements(run: &Run, figure: Figure) -> Option<Known> {
    if let Figure::Latency(latency, Statistic::Percentile(p)) = figure
        && let Some(known) = from_histogram(run, latency, p)
    {
        return Some(Known::percentile(Method::Stated, known));
    }
    let belief = match figure.to_string().as_str() {
        "failure_rate" => failures_by_second(run),
        "goodput_ratio" => from_goodput(run, figure),
        _ => Some(Belief::of_interval(figure.value(run)?, figure.interval(run)?)),
    };
    Some(Known::by(Method::Stated, belief?))
}

/// What failed in each second, of all that ended in it.
fn failures_by_second(run: &Run) -> Option<Belief> {
    let seconds = run.series.failures.iter().zip(&run.series.completions);
    Belief::of_share(seconds.map(|(failed, done)| (f64::from(*failed), f64::from(failed + done))))
}

/// As uncertain as the requests per second that were good.
fn from_goodput(run: &Run, ratio: Figure) -> Option<Belief> {
    let rate = Figure::scalar("request_goodput")?;
    let (ratio, good) = (ratio.value(run)?, rate.value(run).filter(|&good| good > 0.0)?);
    let interval = rate.interval(run)?;
    let scaled = |end: f64| (ratio * end / good).min(1.0);
    Some(Belief::of_interval(ratio, RateInterval { low: scaled(interval.low), high: scaled(interval.high) }))
}

/// The percentile among those that the run lists says what the sample is worth, its histogram the rest.
fn from_histogram(run: &Run, latency: Latency, p: Percent) -> Option<(Belief, u64)> {
    let listed = run.metrics.latencies.get(&latency)?.percentiles.iter().find(|listed| listed.p == p)?;
    let histogram = DurationHistogram::decode(run.histograms.get(&latency)?)?;
    let belief = Belief::of_histogram(&histogram, p, listed.effective_n)?;
    Some((belief.times(1e3), listed.effective_n))
}
