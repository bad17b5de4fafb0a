//! Readings through time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::signals::{Reading, Value};
use crate::core::server::{Histogram, Kind, Replica, ServerSide, Signal};

/// Turns the readings of a server, or of several replicas, into columns as they come.
#[derive(Debug)]
pub struct Recorder {
    interval: Duration,
    at: Vec<Timestamp>,
    replicas: Vec<Course>,
}

impl Recorder {
    /// Of the pages at these URLs.
    pub fn new(urls: impl IntoIterator<Item = String>, interval: Duration) -> Self {
        let course = |url| Course { replica: Replica { url, ..Replica::default() }, last: None };
        Self { interval, at: Vec::new(), replicas: urls.into_iter().map(course).collect() }
    }

    /// Takes a sample: the reading of each replica, in the order of their URLs; `None` of one that did not answer.
    pub fn push(&mut self, at: Timestamp, readings: Vec<Option<Reading>>) {
        let sample = self.at.len();
        self.at.push(at);
        for (course, reading) in self.replicas.iter_mut().zip(readings) {
            match reading {
                Some(reading) => course.take(sample, reading),
                None => course.replica.missed += 1,
            }
            course.fill(sample + 1);
        }
    }

    /// The course of the run that began then.
    pub fn finish(self, began: Timestamp) -> ServerSide {
        let since = |at: &Timestamp| at.duration_since(began).as_secs_f64().max(0.0);
        ServerSide {
            interval: self.interval,
            at_s: self.at.iter().map(|at| rounded(since(at), 1e3)).collect(),
            replicas: self.replicas.into_iter().map(|course| course.replica).collect(),
        }
    }
}

/// One replica so far.
#[derive(Debug)]
struct Course {
    replica: Replica,
    /// What it said last.
    last: Option<Reading>,
}

impl Course {
    fn take(&mut self, sample: usize, reading: Reading) {
        let replica = &mut self.replica;
        replica.engine = replica.engine.take().or(reading.engine.map(|engine| engine.label().to_owned()));
        let restarted = self.last.as_ref().is_some_and(|last| reading.began_anew_since(last));
        if restarted {
            replica.restarts.push(sample);
        }
        for (signal, value) in reading.values() {
            // Where the server began anew, all that it counted was counted since.
            let before = self.last.as_ref().map(|last| last.get(signal).filter(|_| !restarted));
            note(replica, sample, (signal, value), before);
        }
        self.last = Some(reading);
    }

    /// Makes all columns so long.
    fn fill(&mut self, samples: usize) {
        let replica = &mut self.replica;
        let columns = [&mut replica.gauges, &mut replica.counters, &mut replica.means_s];
        columns.into_iter().flat_map(BTreeMap::values_mut).for_each(|column| column.resize(samples, None));
    }
}

/// Notes what a sample says of a signal. `before` is what the sample before said of it, if there was one.
fn note(
    replica: &mut Replica,
    sample: usize,
    (signal, value): (Signal, &Value),
    before: Option<Option<&Value>>,
) {
    match value {
        // It tells of restarts, and of nothing else.
        Value::Number(_) if signal == Signal::ProcessStart => {}
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
            *entry(&mut replica.means_s, signal, sample) = delta.mean().map(|mean| rounded(mean, 1e6));
            replica.times.entry(signal).or_default().merge(&delta);
        }
        Value::Facts(facts) => replica.facts.entry(signal).or_default().clone_from(facts),
    }
}

fn entry(
    columns: &mut BTreeMap<Signal, Vec<Option<f64>>>,
    signal: Signal,
    sample: usize,
) -> &mut Option<f64> {
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

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests;
