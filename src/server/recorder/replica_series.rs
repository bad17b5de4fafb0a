//! The time series of one replica.

use std::collections::BTreeMap;

use super::round_to_step;
use crate::model::server::{ReplicaMetrics, ScrapedHistogram, ServerSignal, SignalKind};
use crate::server::recorder::downsample::Downsampling;
use crate::server::signals::{MetricsSnapshot, SignalValue};

/// Accumulates the time series of one replica.
#[derive(Debug, Default)]
pub(super) struct ReplicaSeries {
    replica: ReplicaMetrics,
    /// The replica's last snapshot.
    last: Option<MetricsSnapshot>,
    /// For each latency, its sum and count since the sample before.
    times: BTreeMap<ServerSignal, Vec<Option<(f64, f64)>>>,
}

impl ReplicaSeries {
    /// Creates the series of the page at this URL.
    pub(super) fn new(url: String) -> Self {
        Self { replica: ReplicaMetrics { url, ..ReplicaMetrics::default() }, ..Self::default() }
    }

    /// Adds a snapshot; `None` if the replica did not answer.
    pub(super) fn push_snapshot(&mut self, sample: usize, reading: Option<MetricsSnapshot>) {
        match reading {
            Some(reading) => self.record_snapshot(sample, reading),
            None => self.replica.missed += 1,
        }
        self.fill_columns(sample + 1);
    }

    /// Returns the gauges of a sample.
    pub(super) fn levels(&self, sample: usize) -> impl Iterator<Item = (ServerSignal, f64)> {
        let gauges = self.replica.gauges.iter();
        gauges.filter_map(move |(signal, column)| Some((*signal, (*column.get(sample)?)?)))
    }

    /// Downsamples the columns: counts add up, and of gauges the highest stays.
    pub(super) fn downsample(&mut self, thinning: Downsampling, length: usize) {
        let Self { replica, times, .. } = self;
        replica.gauges.values_mut().for_each(|column| thinning.downsample_known(column, f64::max));
        replica.counters.values_mut().for_each(|column| thinning.downsample_known(column, |a, b| a + b));
        let add = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1 + b.1);
        times.values_mut().for_each(|column| thinning.downsample_known(column, add));
        replica.restarts.iter_mut().for_each(|sample| *sample = thinning.new_index(*sample, length));
    }

    /// Returns the metrics of the replica over the run.
    pub(super) fn finish(self) -> ReplicaMetrics {
        let mean = |&(sum, count): &(f64, f64)| (count > 0.0).then(|| round_to_step(sum / count, 1e6));
        let means = |column: Vec<Option<(f64, f64)>>| {
            column.iter().map(|times| times.as_ref().and_then(mean)).collect()
        };
        let means_s = self.times.into_iter().map(|(signal, column)| (signal, means(column))).collect();
        ReplicaMetrics { means_s, ..self.replica }
    }

    fn record_snapshot(&mut self, sample: usize, reading: MetricsSnapshot) {
        let replica = &mut self.replica;
        replica.engine = replica.engine.take().or(reading.engine.map(|engine| engine.label().to_owned()));
        let restarted = self.last.as_ref().is_some_and(|last| reading.has_restarted_since(last));
        if restarted {
            replica.restarts.push(sample);
        }
        for (signal, level) in reading.impossible() {
            let highest = replica.impossible.entry(*signal).or_default();
            *highest = highest.max(*level);
        }
        let last = self.last.take();
        for (signal, value) in reading.values() {
            // After a restart, everything that the server has counted is new.
            let before = last.as_ref().map(|last| last.get(signal).filter(|_| !restarted));
            self.record_value(sample, (signal, value), before);
        }
        self.last = Some(reading);
    }

    /// Records a signal's value in a sample. `before` is its value in the sample before, if there was one.
    fn record_value(
        &mut self,
        sample: usize,
        (signal, value): (ServerSignal, &SignalValue),
        before: Option<Option<&SignalValue>>,
    ) {
        let replica = &mut self.replica;
        match value {
            // The first snapshot's start time. The counters also show a restart during the run.
            SignalValue::Number(at) if signal == ServerSignal::ProcessStart => {
                replica.started.get_or_insert(*at);
            }
            SignalValue::Number(level) if signal.info().kind == SignalKind::Gauge => {
                *entry(&mut replica.gauges, signal, sample) = Some(round_to_step(*level, 1e4));
            }
            SignalValue::Number(_) | SignalValue::Parts(_) => {
                let before_it = |before: Option<&SignalValue>| before.map_or(0.0, total);
                let increase = before.map(|before| total(value) - before_it(before));
                *entry(&mut replica.counters, signal, sample) = increase;
                if let (SignalValue::Parts(now), Some(before)) = (value, before) {
                    add_parts(replica.parts.entry(signal).or_default(), now, before);
                }
            }
            SignalValue::Histogram(now) => {
                let Some(delta) = before.and_then(|before| since(now, before)) else { return };
                *entry(&mut self.times, signal, sample) = Some((delta.sum, delta.count));
                replica.times.entry(signal).or_default().merge(&delta);
            }
            SignalValue::Facts(facts) => replica.facts.entry(signal).or_default().clone_from(facts),
        }
    }

    /// Extends all columns to this number of samples.
    fn fill_columns(&mut self, samples: usize) {
        let columns = [&mut self.replica.gauges, &mut self.replica.counters];
        columns.into_iter().flat_map(BTreeMap::values_mut).for_each(|column| column.resize(samples, None));
        self.times.values_mut().for_each(|column| column.resize(samples, None));
    }
}

fn entry<T: Clone>(
    columns: &mut BTreeMap<ServerSignal, Vec<Option<T>>>,
    signal: ServerSignal,
    sample: usize,
) -> &mut Option<T> {
    let column = columns.entry(signal).or_default();
    column.resize(sample + 1, None);
    &mut column[sample]
}

fn total(value: &SignalValue) -> f64 {
    match value {
        SignalValue::Number(number) => *number,
        SignalValue::Parts(parts) => parts.values().sum(),
        SignalValue::Histogram(_) | SignalValue::Facts(_) => 0.0,
    }
}

fn add_parts(sums: &mut BTreeMap<String, f64>, now: &BTreeMap<String, f64>, before: Option<&SignalValue>) {
    let before = |part: &str| match before {
        Some(SignalValue::Parts(parts)) => parts.get(part).copied().unwrap_or_default(),
        _ => 0.0,
    };
    for (part, count) in now {
        *sums.entry(part.clone()).or_default() += (count - before(part)).max(0.0);
    }
}

/// Returns what a histogram counted since `before`: all of it, if the histogram was not there before.
fn since(now: &ScrapedHistogram, before: Option<&SignalValue>) -> Option<ScrapedHistogram> {
    match before {
        Some(SignalValue::Histogram(before)) => now.since(before),
        _ => Some(now.clone()),
    }
}
