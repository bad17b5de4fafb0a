//! Readings through time.
//!
//! However long the run, no more than [`MOST_POINTS`] points are kept of a signal. When there would be more, every two
//! become one, and from then on a point stands for twice as many samples. Counts of the two add up and times are
//! weighted, so that sums over the run stay exact; of levels the higher one stays, so that peaks do. The mean and the
//! peak of each level over the run are taken from the samples before any are joined. The mean leaves out the first and
//! the last one, from just before and just after the run, when the server is idle.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::signals::Reading;
use crate::core::server::{Gauged, ServerSide, Signal};
use course::Course;
use thinning::Thinning;

mod course;
mod thinning;

/// So many points are kept, and the one from before the run; half an hour has one a second. Even, so that pairs are whole.
pub const MOST_POINTS: usize = 2000;

/// Turns the readings of a server, or of several replicas, into columns as they come.
#[derive(Debug)]
pub struct Recorder {
    interval: Duration,
    most: usize,
    at: Vec<Timestamp>,
    courses: Vec<Course>,
    levels: BTreeMap<Signal, Level>,
    /// Samples so far.
    taken: usize,
    /// The latest sample, and the longest time between two.
    latest: Option<Timestamp>,
    longest_gap: Duration,
    /// Samples that a point stands for.
    stride: usize,
    /// Samples that the last point stands for so far.
    filled: usize,
}

impl Recorder {
    /// Of the pages at these URLs.
    pub fn new(urls: impl IntoIterator<Item = String>, interval: Duration) -> Self {
        Self {
            interval,
            most: MOST_POINTS,
            at: Vec::new(),
            courses: urls.into_iter().map(Course::new).collect(),
            levels: BTreeMap::new(),
            taken: 0,
            latest: None,
            longest_gap: Duration::ZERO,
            stride: 1,
            filled: 1,
        }
    }

    /// Takes a sample: the reading of each replica, in the order of their URLs; `None` of one that did not answer.
    pub fn push(&mut self, at: Timestamp, readings: Vec<Option<Reading>>) {
        let sample = self.at.len();
        self.at.push(at);
        let gap = self.latest.replace(at).and_then(|latest| at.duration_since(latest).try_into().ok());
        self.longest_gap = self.longest_gap.max(gap.unwrap_or_default());
        self.taken += 1;
        for (course, reading) in self.courses.iter_mut().zip(readings) {
            course.take(sample, reading);
        }
        self.sum_up(sample);
        if self.filled < self.stride {
            self.thin(Thinning::Last);
            self.filled += 1;
        } else {
            self.filled = 1;
            if sample > self.most {
                self.thin(Thinning::Pairs);
                self.stride *= 2;
            }
        }
    }

    /// The course of the run whose t0 was then. A sample that was taken before has a time below zero.
    pub fn finish(self, t0: Timestamp) -> ServerSide {
        let since = |at: &Timestamp| at.duration_since(t0).as_secs_f64();
        ServerSide {
            interval: self.interval,
            taken: self.taken,
            longest_gap: self.longest_gap,
            warmup: 0,
            at_s: self.at.iter().map(|at| rounded(since(at), 1e3)).collect(),
            summary: self.levels.iter().map(|(signal, level)| (*signal, level.gauged(self.taken))).collect(),
            replicas: self.courses.into_iter().map(Course::finish).collect(),
        }
    }

    /// Adds a sample's levels, of all replicas together, to those over the run.
    fn sum_up(&mut self, sample: usize) {
        let mut told: BTreeMap<Signal, Vec<f64>> = BTreeMap::new();
        for (signal, level) in self.courses.iter().flat_map(|course| course.levels(sample)) {
            told.entry(signal).or_default().push(level);
        }
        for (signal, levels) in told {
            if let Some(level) = signal.facts().merge.of(levels.into_iter()) {
                self.levels.entry(signal).or_default().add(self.taken, level);
            }
        }
    }

    fn thin(&mut self, thinning: Thinning) {
        let length = self.at.len();
        // A point is as late as its last sample: what it counts was counted until then.
        thinning.thin(&mut self.at, |_, later| later);
        self.courses.iter_mut().for_each(|course| course.thin(thinning, length));
    }
}

/// A level so far.
#[derive(Debug, Default)]
struct Level {
    sum: f64,
    samples: u32,
    /// Levels are never below zero.
    peak: f64,
    /// In the run's first sample.
    first: Option<f64>,
    /// The latest sample that told of it, from 1, and what it told.
    last: (usize, f64),
}

impl Level {
    fn add(&mut self, sample: usize, level: f64) {
        self.sum += level;
        self.samples += 1;
        self.peak = self.peak.max(level);
        self.first = self.first.or((sample == 1).then_some(level));
        self.last = (sample, level);
    }

    /// Over a run of this many samples. Where there is none between the first and the last, these must do.
    fn gauged(&self, taken: usize) -> Gauged {
        let last = Some(self.last).filter(|(sample, _)| *sample == taken).map(|(_, level)| level);
        let ends = || [self.first, last].into_iter().flatten();
        let (sum, samples) = match f64::from(self.samples) - ends().count() as f64 {
            inner if inner > 0.0 => (self.sum - ends().sum::<f64>(), inner),
            _ => (self.sum, f64::from(self.samples)),
        };
        Gauged { mean: sum / samples, peak: self.peak }
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    // Plus zero, so that no zero is a negative one.
    (value * steps).round() / steps + 0.0
}

#[cfg(test)]
mod tests;
