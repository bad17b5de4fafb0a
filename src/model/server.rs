//! The server's own metrics during a run: samples of its `/metrics` page, and their summary.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

mod condition;
mod histogram;
mod share;
mod signal;
mod spec_decode;

pub(crate) use crate::model::server::spec_decode::SpecDecodeStats;
pub(crate) use condition::{MeasuredValue, MeasurementPeriod, SignalCondition, SignalStatus};
pub(crate) use histogram::ScrapedHistogram;
pub(crate) use share::{ImpossibleShare, is_possible, share_of};
pub(crate) use signal::{Aggregation, ServerSignal, Severity, SignalAspect, SignalKind, SignalLimit};

/// The metrics that the replicas of a server reported during a run. All columns have one entry per point; `None` marks
/// a replica that did not answer, or did not report the metric.
///
/// A point is one sample. In a long run it is several samples: their counts are added, the means of their times
/// are weighted by count, and the highest level is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerMetrics {
    /// The sampling interval.
    #[serde(rename = "interval_s", with = "seconds")]
    pub interval: Duration,
    /// The number of samples; 0 in results from before a point could combine several samples.
    #[serde(default)]
    pub taken: usize,
    /// The longest time between two samples; zero in results from before it was recorded.
    #[serde(default, rename = "longest_gap_s", with = "seconds")]
    pub longest_gap: Duration,
    /// The number of warm-up requests before the run: the server's counts include those that were in flight at its
    /// start.
    #[serde(default)]
    pub warmup: usize,
    /// The time of the last sample of each point, in seconds from t0. The first point is the baseline of the counts.
    /// Without a warm-up it precedes t0 and has a negative time; with a warm-up it is from the start of the measured
    /// load.
    pub at_s: Vec<f64>,
    /// Summaries of the gauges over the run, from all samples and all replicas together.
    #[serde(default)]
    pub summary: BTreeMap<ServerSignal, GaugeSummary>,
    /// The replicas whose metrics were scraped; at least one of them responded.
    pub replicas: Vec<ReplicaMetrics>,
}

/// The metrics of one replica.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaMetrics {
    /// The URL of the replica's metrics page.
    pub url: String,
    /// The engine whose metric names the page uses: `vLLM`.
    pub engine: Option<String>,
    /// The start time of the replica's process in seconds since 1970; `None` if it does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<f64>,
    /// The number of samples that it did not answer.
    pub missed: usize,
    /// The points at which the replica was found restarted, or with lost counts.
    pub restarts: Vec<usize>,
    /// Gauge values by point.
    pub gauges: BTreeMap<ServerSignal, Vec<Option<f64>>>,
    /// Counter increases since the previous point.
    pub counters: BTreeMap<ServerSignal, Vec<Option<f64>>>,
    /// The increase of each part of a counter with parts, over the run.
    pub parts: BTreeMap<ServerSignal, BTreeMap<String, f64>>,
    /// The mean of the times observed since the previous point, in seconds.
    pub means_s: BTreeMap<ServerSignal, Vec<Option<f64>>>,
    /// All times observed over the run, in seconds.
    pub times: BTreeMap<ServerSignal, ScrapedHistogram>,
    /// Facts of each engine, as labels.
    pub facts: BTreeMap<ServerSignal, Vec<BTreeMap<String, String>>>,
    /// Gauges of a share that were above 1, with their highest value. Their samples are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub impossible: BTreeMap<ServerSignal, f64>,
}

/// The summary of a gauge over the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GaugeSummary {
    /// The mean of the samples, without the first and the last, which precede and follow the run.
    pub mean: f64,
    /// The highest value.
    pub peak: f64,
}

impl ServerMetrics {
    /// The number of points.
    pub fn point_count(&self) -> usize {
        self.at_s.len()
    }

    /// The number of samples that replicas did not answer.
    pub fn missed_samples(&self) -> usize {
        self.replicas.iter().map(|replica| replica.missed).sum()
    }

    /// The times at which replicas were found restarted, in seconds from t0.
    pub fn restarts(&self) -> impl Iterator<Item = f64> {
        let points = self.replicas.iter().flat_map(|replica| &replica.restarts);
        points.filter_map(|point| self.at_s.get(*point).copied())
    }

    /// A gauge by point, of all replicas together; `None` where no replica reported it.
    pub fn gauge_series(&self, signal: ServerSignal) -> Vec<Option<f64>> {
        let columns: Vec<_> =
            self.replicas.iter().filter_map(|replica| replica.gauges.get(&signal)).collect();
        let merge = signal.info().merge;
        let at = |point| columns.iter().filter_map(move |column| *column.get(point)?);
        (0..self.point_count()).map(|point| merge.aggregate(at(point))).collect()
    }

    /// The summary of a gauge over the run; `None` if no replica reported it.
    pub fn gauge_summary(&self, signal: ServerSignal) -> Option<GaugeSummary> {
        if let Some(gauged) = self.summary.get(&signal) {
            return Some(*gauged);
        }
        let levels: Vec<f64> = self.gauge_series(signal).into_iter().flatten().collect();
        Some(GaugeSummary {
            mean: Aggregation::Mean.aggregate(levels.iter().copied())?,
            peak: Aggregation::Max.aggregate(levels.into_iter())?,
        })
    }

    /// The increase of a counter by point, of all replicas together; `None` where no replica reported it.
    pub fn counter_series(&self, signal: ServerSignal) -> Vec<Option<f64>> {
        let columns: Vec<_> =
            self.replicas.iter().filter_map(|replica| replica.counters.get(&signal)).collect();
        let at = |point| columns.iter().filter_map(move |column| *column.get(point)?);
        (0..self.point_count()).map(|point| Aggregation::Sum.aggregate(at(point))).collect()
    }

    /// The increase of a counter over the run; `None` if no replica reported it.
    pub fn counter_total(&self, signal: ServerSignal) -> Option<f64> {
        let columns = self.replicas.iter().filter_map(|replica| replica.counters.get(&signal));
        Aggregation::Sum.aggregate(columns.flatten().filter_map(|increase| *increase))
    }

    /// The value of a gauge when a counter first increased: the higher one of that point and the previous one. `None`
    /// if the counter never increased, or the gauge was not reported.
    pub fn gauge_at_first_increase(&self, counted: ServerSignal, gauge: ServerSignal) -> Option<f64> {
        let columns = self.replicas.iter().filter_map(|replica| replica.counters.get(&counted));
        let rose = |column: &Vec<Option<f64>>| {
            column.iter().position(|count| count.is_some_and(|count| count > 0.0))
        };
        let first = columns.filter_map(rose).min()?;
        let levels = self.gauge_series(gauge);
        Aggregation::Max
            .aggregate(levels.get(first.saturating_sub(1)..=first)?.iter().filter_map(|level| *level))
    }

    /// The increase of a counter over the run by its parts, sorted by name, or by number where the names are numbers.
    pub fn counter_parts(&self, signal: ServerSignal) -> Vec<(String, f64)> {
        let mut parts: BTreeMap<(Option<u64>, &str), f64> = BTreeMap::new();
        for (part, count) in self.replicas.iter().filter_map(|replica| replica.parts.get(&signal)).flatten() {
            *parts.entry((part.parse().ok(), part)).or_default() += count;
        }
        parts.into_iter().map(|((_, part), count)| (part.to_owned(), count)).collect()
    }

    /// The times observed over the run; `None` if no replica reported any.
    pub fn histogram_total(&self, signal: ServerSignal) -> Option<ScrapedHistogram> {
        let mut all = ScrapedHistogram::default();
        self.replicas
            .iter()
            .filter_map(|replica| replica.times.get(&signal))
            .for_each(|times| all.merge(times));
        (all.count > 0.0).then_some(all)
    }

    /// The share of looked-up prompt tokens that the prefix cache contained; if replicas only report rates, their last
    /// value.
    pub fn prefix_hit_rate(&self) -> Option<f64> {
        match (self.counter_total(ServerSignal::PrefixQueries), self.counter_total(ServerSignal::PrefixHits))
        {
            (Some(queries), Some(hits)) => share_of(hits, queries),
            _ => self.gauge_series(ServerSignal::PrefixHitRate).into_iter().flatten().next_back(),
        }
    }

    /// The shares over the run that the server's counts make larger than 1.
    pub(crate) fn impossible_shares(&self) -> Vec<ImpossibleShare> {
        let gauges = self.replicas.iter().flat_map(|replica| &replica.impossible);
        let gauges = gauges.map(|(signal, level)| ImpossibleShare::of_gauge(*signal, *level));
        let counters = ImpossibleShare::of_counters(|signal| self.counter_total(signal));
        gauges.chain(counters).collect()
    }
}

impl Aggregation {
    /// Combines several values into one; `None` without values.
    pub fn aggregate(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        let (mut sum, mut max, mut count) = (0.0, f64::NEG_INFINITY, 0_u32);
        values.for_each(|value| (sum, max, count) = (sum + value, f64::max(max, value), count + 1));
        (count > 0).then(|| match self {
            Self::Sum => sum,
            Self::Max => max,
            Self::Mean => sum / f64::from(count),
        })
    }
}

#[cfg(test)]
mod tests;
