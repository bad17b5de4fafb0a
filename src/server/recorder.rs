//! Readings through time.
//!
//! However long the run, no more than [`MOST_POINTS`] points are kept of a signal. When there would be more, every two
//! become one, and from then on a point stands for twice as many samples. Counts of the two add up and times are
//! weighted, so that sums over the run stay exact; of levels the higher one stays, so that peaks do. The mean and the
//! peak of each level over the run are taken from all samples before any are joined.

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
            stride: 1,
            filled: 1,
        }
    }

    /// Takes a sample: the reading of each replica, in the order of their URLs; `None` of one that did not answer.
    pub fn push(&mut self, at: Timestamp, readings: Vec<Option<Reading>>) {
        let sample = self.at.len();
        self.at.push(at);
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

    /// The course of the run that began then.
    pub fn finish(self, began: Timestamp) -> ServerSide {
        let since = |at: &Timestamp| at.duration_since(began).as_secs_f64().max(0.0);
        ServerSide {
            interval: self.interval,
            taken: self.taken,
            at_s: self.at.iter().map(|at| rounded(since(at), 1e3)).collect(),
            summary: self.levels.into_iter().map(|(signal, level)| (signal, level.gauged())).collect(),
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
                self.levels.entry(signal).or_default().add(level);
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
}

impl Level {
    fn add(&mut self, level: f64) {
        self.sum += level;
        self.samples += 1;
        self.peak = self.peak.max(level);
    }

    fn gauged(&self) -> Gauged {
        Gauged { mean: self.sum / f64::from(self.samples), peak: self.peak }
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests;
