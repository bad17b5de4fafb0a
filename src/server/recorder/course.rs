//! The course of one replica.

use std::collections::BTreeMap;

use super::rounded;
use super::thinning::Thinning;
use crate::core::server::{Histogram, Kind, Replica, Signal};
use crate::server::signals::{Reading, Value};

/// One replica so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    replica: Replica,
    /// What it said last.
    last: Option<Reading>,
    /// Of each time, the sum and the count since the sample before.
    times: BTreeMap<Signal, Vec<Option<(f64, f64)>>>,
}

impl Course {
    /// Of the page at this URL.
    pub fn new(url: String) -> Self {
        Self { replica: Replica { url, ..Replica::default() }, ..Self::default() }
    }

    /// Takes what it said; `None` if it did not answer.
    pub fn take(&mut self, sample: usize, reading: Option<Reading>) {
        match reading {
            Some(reading) => self.note_all(sample, reading),
            None => self.replica.missed += 1,
        }
        self.fill(sample + 1);
    }

    /// The levels that it told in a sample.
    pub fn levels(&self, sample: usize) -> impl Iterator<Item = (Signal, f64)> {
        let gauges = self.replica.gauges.iter();
        gauges.filter_map(move |(signal, column)| Some((*signal, (*column.get(sample)?)?)))
    }

    /// Counts add up, and of levels the highest stays.
    pub fn thin(&mut self, thinning: Thinning, length: usize) {
        let Self { replica, times, .. } = self;
        replica.gauges.values_mut().for_each(|column| thinning.thin_known(column, f64::max));
        replica.counters.values_mut().for_each(|column| thinning.thin_known(column, |a, b| a + b));
        let add = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1 + b.1);
        times.values_mut().for_each(|column| thinning.thin_known(column, add));
        replica.restarts.iter_mut().for_each(|sample| *sample = thinning.place(*sample, length));
    }

    /// What it said over the run.
    pub fn finish(self) -> Replica {
        let mean = |&(sum, count): &(f64, f64)| (count > 0.0).then(|| rounded(sum / count, 1e6));
        let means = |column: Vec<Option<(f64, f64)>>| {
            column.iter().map(|times| times.as_ref().and_then(mean)).collect()
        };
        let means_s = self.times.into_iter().map(|(signal, column)| (signal, means(column))).collect();
        Replica { means_s, ..self.replica }
    }

    fn note_all(&mut self, sample: usize, reading: Reading) {
        let replica = &mut self.replica;
        replica.engine = replica.engine.take().or(reading.engine.map(|engine| engine.label().to_owned()));
        let restarted = self.last.as_ref().is_some_and(|last| reading.began_anew_since(last));
        if restarted {
            replica.restarts.push(sample);
        }
        let last = self.last.take();
        for (signal, value) in reading.values() {
            // Where the server began anew, all that it counted was counted since.
            let before = last.as_ref().map(|last| last.get(signal).filter(|_| !restarted));
            self.note(sample, (signal, value), before);
        }
        self.last = Some(reading);
    }

    /// Notes what a sample says of a signal. `before` is what the sample before said of it, if there was one.
    fn note(&mut self, sample: usize, (signal, value): (Signal, &Value), before: Option<Option<&Value>>) {
        let replica = &mut self.replica;
        match value {
            // The first reading: a server that restarts meanwhile is found by its counters too.
            Value::Number(at) if signal == Signal::ProcessStart => {
                replica.started.get_or_insert(*at);
            }
            Value::Number(level) if signal.facts().kind == Kind::Gauge => {
                *entry(&mut replica.gauges, signal, sample) = Some(rounded(*level, 1e4));
            }
            Value::Number(_) | Value::Parts(_) => {
                let before_it = |before: Option<&Value>| before.map_or(0.0, total);
                let increase = before.map(|before| total(value) - before_it(before));
                *entry(&mut replica.counters, signal, sample) = increase;
                if let (Value::Parts(now), Some(before)) = (value, before) {
                    add_parts(replica.parts.entry(signal).or_default(), now, before);
                }
            }
            Value::Histogram(now) => {
                let Some(delta) = before.and_then(|before| since(now, before)) else { return };
                *entry(&mut self.times, signal, sample) = Some((delta.sum, delta.count));
                replica.times.entry(signal).or_default().merge(&delta);
            }
            Value::Facts(facts) => replica.facts.entry(signal).or_default().clone_from(facts),
        }
    }

    /// Makes all columns so long.
    fn fill(&mut self, samples: usize) {
        let columns = [&mut self.replica.gauges, &mut self.replica.counters];
        columns.into_iter().flat_map(BTreeMap::values_mut).for_each(|column| column.resize(samples, None));
        self.times.values_mut().for_each(|column| column.resize(samples, None));
    }
}

fn entry<T: Clone>(
    columns: &mut BTreeMap<Signal, Vec<Option<T>>>,
    signal: Signal,
    sample: usize,
) -> &mut Option<T> {
    let column = columns.entry(signal).or_default();
    column.resize(sample + 1, None);
    &mut column[sample]
}

fn total(value: &Value) -> f64 {
    match value {
        Value::Number(number) => *number,
        Value::Parts(parts) => parts.values().sum(),
        Value::Histogram(_) | Value::Facts(_) => 0.0,
    }
}

fn add_parts(sums: &mut BTreeMap<String, f64>, now: &BTreeMap<String, f64>, before: Option<&Value>) {
    let before = |part: &str| match before {
        Some(Value::Parts(parts)) => parts.get(part).copied().unwrap_or_default(),
        _ => 0.0,
    };
    for (part, count) in now {
        *sums.entry(part.clone()).or_default() += (count - before(part)).max(0.0);
    }
}

/// What a histogram counted since; all of it, if it was not there before.
fn since(now: &Histogram, before: Option<&Value>) -> Option<Histogram> {
    match before {
        Some(Value::Histogram(before)) => now.since(before),
        _ => Some(now.clone()),
    }
}
