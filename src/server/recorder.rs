//! Records a server's metrics over time.
//!
//! However long the run, the recorder keeps at most [`MAX_POINTS`] points of a signal. Beyond that, it merges every
//! two points into one, and a point then stands for twice as many samples. Counts of the two add up and latencies are
//! weighted, so that sums over the run stay exact; of gauges the higher one counts, so that peaks stay exact. The
//! mean and the peak of each gauge over the run are computed from the samples before any are merged. The mean leaves
//! out the first and the last sample, from just before and just after the run, when the server is idle.

mod downsample;
mod replica_series;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::signals::MetricsSnapshot;
use crate::model::server::{GaugeSummary, ServerMetrics, ServerSignal};
use crate::server::recorder::downsample::Downsampling;
use crate::server::recorder::replica_series::ReplicaSeries;

/// The most points that are kept, besides the one from before the run: enough for half an hour of one per second.
/// Even, so that pairs are complete.
pub(crate) const MAX_POINTS: usize = 2000;

/// Turns the snapshots of a server, or of several replicas, into time series as they arrive.
#[derive(Debug)]
pub(crate) struct MetricsRecorder {
    interval: Duration,
    most: usize,
    at: Vec<Timestamp>,
    courses: Vec<ReplicaSeries>,
    levels: BTreeMap<ServerSignal, GaugeAccumulator>,
    /// The number of samples so far.
    taken: usize,
    /// The time of the latest sample, and the longest time between two samples.
    latest: Option<Timestamp>,
    longest_gap: Duration,
    /// The number of samples that a point stands for.
    stride: usize,
    /// The number of samples in the last point so far.
    filled: usize,
}

impl MetricsRecorder {
    /// Creates a recorder of the pages at these URLs.
    pub(crate) fn new(urls: impl IntoIterator<Item = String>, interval: Duration) -> Self {
        Self {
            interval,
            most: MAX_POINTS,
            at: Vec::new(),
            courses: urls.into_iter().map(ReplicaSeries::new).collect(),
            levels: BTreeMap::new(),
            taken: 0,
            latest: None,
            longest_gap: Duration::ZERO,
            stride: 1,
            filled: 1,
        }
    }

    /// Adds a sample: the snapshot of each replica, in the order of their URLs; `None` for a replica that did not
    /// answer.
    pub(crate) fn push(&mut self, at: Timestamp, readings: Vec<Option<MetricsSnapshot>>) {
        let sample = self.at.len();
        self.at.push(at);
        let gap = self.latest.replace(at).and_then(|latest| at.duration_since(latest).try_into().ok());
        self.longest_gap = self.longest_gap.max(gap.unwrap_or_default());
        self.taken += 1;
        for (course, reading) in self.courses.iter_mut().zip(readings) {
            course.push_snapshot(sample, reading);
        }
        self.add_levels(sample);
        if self.filled < self.stride {
            self.downsample(Downsampling::Last);
            self.filled += 1;
        } else {
            self.filled = 1;
            if sample > self.most {
                self.downsample(Downsampling::Pairs);
                self.stride *= 2;
            }
        }
    }

    /// Returns the time series of a run that started at `t0`. A sample that was taken earlier has a negative time.
    pub(crate) fn finish(self, t0: Timestamp) -> ServerMetrics {
        let since = |at: &Timestamp| at.duration_since(t0).as_secs_f64();
        ServerMetrics {
            interval: self.interval,
            taken: self.taken,
            longest_gap: self.longest_gap,
            warmup: 0,
            at_s: self.at.iter().map(|at| round_to_step(since(at), 1e3)).collect(),
            summary: self
                .levels
                .iter()
                .map(|(signal, level)| (*signal, level.summarize(self.taken)))
                .collect(),
            replicas: self.courses.into_iter().map(ReplicaSeries::finish).collect(),
        }
    }

    /// Adds a sample's gauges, summed over all replicas, to the run's totals.
    fn add_levels(&mut self, sample: usize) {
        let mut levels_by_signal: BTreeMap<ServerSignal, Vec<f64>> = BTreeMap::new();
        for (signal, level) in self.courses.iter().flat_map(|course| course.levels(sample)) {
            levels_by_signal.entry(signal).or_default().push(level);
        }
        for (signal, levels) in levels_by_signal {
            if let Some(level) = signal.info().merge.aggregate(levels.into_iter()) {
                self.levels.entry(signal).or_default().add(self.taken, level);
            }
        }
    }

    fn downsample(&mut self, thinning: Downsampling) {
        let length = self.at.len();
        // A point has the time of its last sample, since it counts everything until then.
        thinning.downsample(&mut self.at, |_, later| later);
        self.courses.iter_mut().for_each(|course| course.downsample(thinning, length));
    }
}

/// Accumulates a gauge over the run.
#[derive(Debug, Default)]
struct GaugeAccumulator {
    sum: f64,
    samples: u32,
    /// The maximum; gauges are never negative.
    peak: f64,
    /// The value in the run's first sample.
    first: Option<f64>,
    /// The number (from 1) of the latest sample with the gauge, and its value there.
    last: (usize, f64),
}

impl GaugeAccumulator {
    fn add(&mut self, sample: usize, level: f64) {
        self.sum += level;
        self.samples += 1;
        self.peak = self.peak.max(level);
        self.first = self.first.or((sample == 1).then_some(level));
        self.last = (sample, level);
    }

    /// Summarizes a run of `taken` samples. If only the first and the last sample have values, these count.
    fn summarize(&self, taken: usize) -> GaugeSummary {
        let last = Some(self.last).filter(|(sample, _)| *sample == taken).map(|(_, level)| level);
        let ends = || [self.first, last].into_iter().flatten();
        let (sum, samples) = match f64::from(self.samples) - ends().count() as f64 {
            inner if inner > 0.0 => (self.sum - ends().sum::<f64>(), inner),
            _ => (self.sum, f64::from(self.samples)),
        };
        GaugeSummary { mean: sum / samples, peak: self.peak }
    }
}

fn round_to_step(value: f64, steps: f64) -> f64 {
    // Adding zero turns a negative zero into a positive one.
    (value * steps).round() / steps + 0.0
}

#[cfg(test)]
mod tests;
