//! What the server said of itself while it was measured: samples of its `/metrics` page, and what they come to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::seconds;

mod condition;
mod histogram;
mod signal;
mod speculation;

pub use condition::{Condition, Period, State};
pub use histogram::Histogram;
pub use signal::{Aspect, Facts, Kind, Level, Limit, Merge, SIGNALS, Signal, Source};
pub use speculation::Speculation;

/// What the replicas of a server said during a run. All columns have one entry a point; `None` where a replica did not
/// answer, or did not tell.
///
/// A point is a sample; in a long run it is several, of which counts are added up, times weighted, and the highest level
/// stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSide {
    /// How often they were asked.
    #[serde(rename = "interval_s", with = "seconds")]
    pub interval: Duration,
    /// How many samples were taken; 0 in a result from before there were points of several.
    #[serde(default)]
    pub taken: usize,
    /// The longest time between two samples; zero in a result from before it was noted.
    #[serde(default, rename = "longest_gap_s", with = "seconds")]
    pub longest_gap: Duration,
    /// Warm-up requests that went before the run: those in flight when it began are in what the server counted.
    #[serde(default)]
    pub warmup: usize,
    /// When the last sample of each point was taken, in seconds from t0. The first is what counts are taken from: without a
    /// warm-up it is from before t0 and has a time below zero, with one it is from when the measured traffic began.
    pub at_s: Vec<f64>,
    /// Levels over the run, from all samples, of all replicas together.
    #[serde(default)]
    pub summary: BTreeMap<Signal, Gauged>,
    /// Those that were asked; at least one answered.
    pub replicas: Vec<Replica>,
}

/// What one server said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    /// Where its page is.
    pub url: String,
    /// Whose names the page has: `vLLM`.
    pub engine: Option<String>,
    /// When its process started, in seconds since 1970, if it reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<f64>,
    /// How many times it did not answer.
    pub missed: usize,
    /// The points in which it was found to have started again, or to have lost its counts.
    pub restarts: Vec<usize>,
    /// Levels.
    pub gauges: BTreeMap<Signal, Vec<Option<f64>>>,
    /// What was counted since the point before.
    pub counters: BTreeMap<Signal, Vec<Option<f64>>>,
    /// Of counters with parts, what each part counted over the run.
    pub parts: BTreeMap<Signal, BTreeMap<String, f64>>,
    /// The mean of what was counted since the point before, in seconds.
    pub means_s: BTreeMap<Signal, Vec<Option<f64>>>,
    /// All that was counted over the run, in seconds.
    pub times: BTreeMap<Signal, Histogram>,
    /// Facts, of each engine.
    pub facts: BTreeMap<Signal, Vec<BTreeMap<String, String>>>,
}

/// A level over the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gauged {
    /// Of the samples, without the first and the last, from before and after the run.
    pub mean: f64,
    /// The highest.
    pub peak: f64,
}

impl ServerSide {
    /// How many points there are.
    pub fn points(&self) -> usize {
        self.at_s.len()
    }

    /// How many answers are missing.
    pub fn missed(&self) -> usize {
        self.replicas.iter().map(|replica| replica.missed).sum()
    }

    /// When replicas were found to have started again, in seconds from t0.
    pub fn restarts(&self) -> impl Iterator<Item = f64> {
        let points = self.replicas.iter().flat_map(|replica| &replica.restarts);
        points.filter_map(|point| self.at_s.get(*point).copied())
    }

    /// A level, point by point, of all replicas together; `None` where not one told.
    pub fn levels(&self, signal: Signal) -> Vec<Option<f64>> {
        let columns: Vec<_> =
            self.replicas.iter().filter_map(|replica| replica.gauges.get(&signal)).collect();
        let merge = signal.facts().merge;
        let at = |point| columns.iter().filter_map(move |column| *column.get(point)?);
        (0..self.points()).map(|point| merge.of(at(point))).collect()
    }

    /// A level over the run; `None` if nobody told of it.
    pub fn gauged(&self, signal: Signal) -> Option<Gauged> {
        if let Some(gauged) = self.summary.get(&signal) {
            return Some(*gauged);
        }
        let levels: Vec<f64> = self.levels(signal).into_iter().flatten().collect();
        Some(Gauged {
            mean: Merge::Mean.of(levels.iter().copied())?,
            peak: Merge::Max.of(levels.into_iter())?,
        })
    }

    /// What was counted over the run; `None` if nobody counts that.
    pub fn counted(&self, signal: Signal) -> Option<f64> {
        let columns = self.replicas.iter().filter_map(|replica| replica.counters.get(&signal));
        Merge::Sum.of(columns.flatten().filter_map(|increase| *increase))
    }

    /// The level of a gauge when a counter first rose: the higher one of that point and the one before. `None` if it never
    /// rose, or nobody told of the level.
    pub fn level_at_first(&self, counted: Signal, gauge: Signal) -> Option<f64> {
        let columns = self.replicas.iter().filter_map(|replica| replica.counters.get(&counted));
        let rose = |column: &Vec<Option<f64>>| {
            column.iter().position(|count| count.is_some_and(|count| count > 0.0))
        };
        let first = columns.filter_map(rose).min()?;
        let levels = self.levels(gauge);
        Merge::Max.of(levels.get(first.saturating_sub(1)..=first)?.iter().filter_map(|level| *level))
    }

    /// What was counted over the run, by the parts of the signal, in the order of their names; of numbers, in theirs.
    pub fn parts(&self, signal: Signal) -> Vec<(String, f64)> {
        let mut parts: BTreeMap<(Option<u64>, &str), f64> = BTreeMap::new();
        for (part, count) in self.replicas.iter().filter_map(|replica| replica.parts.get(&signal)).flatten() {
            *parts.entry((part.parse().ok(), part)).or_default() += count;
        }
        parts.into_iter().map(|((_, part), count)| (part.to_owned(), count)).collect()
    }

    /// The times that were counted over the run; `None` if nobody counts them, or nothing was counted.
    pub fn times(&self, signal: Signal) -> Option<Histogram> {
        let mut all = Histogram::default();
        self.replicas
            .iter()
            .filter_map(|replica| replica.times.get(&signal))
            .for_each(|times| all.merge(times));
        (all.count > 0.0).then_some(all)
    }

    /// The share of looked-up prompt tokens that the prefix cache had; where only rates are told, their last.
    pub fn prefix_hit_rate(&self) -> Option<f64> {
        match (self.counted(Signal::PrefixQueries), self.counted(Signal::PrefixHits)) {
            (Some(queries), Some(hits)) => (queries > 0.0).then(|| hits / queries),
            _ => self.levels(Signal::PrefixHitRate).into_iter().flatten().next_back(),
        }
    }
}

impl Merge {
    /// Several values as one; `None` of none.
    pub fn of(self, values: impl Iterator<Item = f64>) -> Option<f64> {
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
