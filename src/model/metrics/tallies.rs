//! Numbers and failures of any number of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FailureCount, ValueSummary};
use crate::model::record::{Failure, FailureClass};
use crate::stats::{DurationSketch, SampleClusters};

/// A number over requests, of any size: the summary of many is that of a histogram.
#[derive(Default)]
pub(super) struct ValueTally {
    /// A number is a duration of that many seconds.
    sketch: DurationSketch,
    ends: Option<(f64, f64)>,
}

impl ValueTally {
    /// Adds the number of a request.
    pub(super) fn add(&mut self, value: f64) {
        self.sketch.record(Duration::try_from_secs_f64(value).unwrap_or_default());
        let (min, max) = self.ends.unwrap_or((value, value));
        self.ends = Some((min.min(value), max.max(value)));
    }

    /// The summary; `None` without numbers. Percentiles are within 0.1 %.
    pub(super) fn summary(&self) -> Option<ValueSummary> {
        let (min, max) = self.ends?;
        let all = self.sketch.distribution(&[99.0], &SampleClusters::unknown())?;
        let p99 = all.percentiles.first()?.value.as_secs_f64();
        let [mean, p50] = [all.mean, all.median].map(|value| value.as_secs_f64());
        Some(ValueSummary { n: self.sketch.len() as usize, min, mean, p50, p99, max })
    }
}

/// Failures by class, each with the ordinal of its example.
#[derive(Default)]
pub(super) struct FailureTally(BTreeMap<FailureClass, (usize, FailureCount)>);

impl FailureTally {
    /// Adds the failure of a request.
    pub(super) fn add(&mut self, ordinal: usize, failure: &Failure) {
        let class = failure.class;
        let new = || (usize::MAX, FailureCount { class, count: 0, example: String::new(), advice: None });
        let (first, counted) = self.0.entry(class).or_insert_with(new);
        counted.count += 1;
        if ordinal < *first {
            *first = ordinal;
            counted.example.clone_from(&failure.detail);
        }
    }

    /// The failures, the most frequent class first.
    pub(super) fn finish(self) -> Vec<FailureCount> {
        let mut failures: Vec<_> = self.0.into_values().map(|(_, counted)| counted).collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        failures
    }
}
