//! Prometheus histograms: counts of values at or below bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::MeasuredValue;

/// A histogram scraped from a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrapedHistogram {
    /// Pairs (finite bound, number of values at or below it), ascending by bound.
    pub buckets: Vec<(f64, f64)>,
    /// The sum of all values.
    pub sum: f64,
    /// The number of values.
    pub count: f64,
}

impl ScrapedHistogram {
    /// The values observed since an earlier state of the same histogram; `None` if the histogram was reset in between.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let bounds = |histogram: &Self| histogram.buckets.iter().map(|bucket| bucket.0).collect::<Vec<_>>();
        if self.count < earlier.count || self.sum < earlier.sum || bounds(self) != bounds(earlier) {
            return None;
        }
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Some(Self {
            buckets: buckets.map(|(now, then)| (now.0, (now.1 - then.1).max(0.0))).collect(),
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
        })
    }

    /// Adds the values of another histogram. Bounds that only one of them has are dropped.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0.0 && self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets.retain_mut(|bucket| {
                let theirs = other.buckets.iter().find(|theirs| theirs.0 == bucket.0);
                bucket.1 += theirs.map_or(0.0, |theirs| theirs.1);
                theirs.is_some()
            });
        }
        self.sum += other.sum;
        self.count += other.count;
    }

    /// The mean of the values; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The mean of values that are seconds.
    pub fn mean_time(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.mean()?).ok()
    }

    /// A quantile (0 to 1) as Prometheus' `histogram_quantile` estimates it: values are spread evenly between two
    /// bounds. Above the last finite bound, the result is that bound. `None` without values, or without a bound.
    pub fn quantile(&self, q: f64) -> Option<MeasuredValue> {
        let rank = q.clamp(0.0, 1.0) * self.count;
        let last = self.buckets.last().filter(|_| self.count > 0.0)?.0;
        let Some(at) = self.buckets.iter().position(|bucket| bucket.1 >= rank) else {
            return Some(MeasuredValue { value: last, is_lower_bound: true });
        };
        let (high, below_high) = self.buckets[at];
        let (low, below_low) = at.checked_sub(1).map_or((0.0_f64.min(high), 0.0), |at| self.buckets[at]);
        let inside = below_high - below_low;
        let value = if inside > 0.0 { low + (high - low) * (rank - below_low) / inside } else { high };
        Some(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(below: [f64; 3], sum: f64, count: f64) -> ScrapedHistogram {
        ScrapedHistogram { buckets: [0.1, 0.2, 0.4].into_iter().zip(below).collect(), sum, count }
    }

    #[test]
    fn what_was_counted_in_between_is_the_difference() {
        let delta =
            histogram([2.0, 6.0, 9.0], 3.0, 10.0).since(&histogram([1.0, 2.0, 3.0], 1.0, 4.0)).unwrap();
        assert_eq!(delta, histogram([1.0, 4.0, 6.0], 2.0, 6.0));
        assert_eq!(delta.mean_time(), Some(Duration::from_secs_f64(2.0 / 6.0)));
    }

    #[test]
    fn a_histogram_that_was_begun_anew_has_no_difference() {
        assert_eq!(histogram([0.0; 3], 0.0, 0.0).since(&histogram([1.0, 2.0, 3.0], 1.0, 4.0)), None);
    }

    #[test]
    fn quantiles_lie_evenly_between_bounds() {
        let histogram = histogram([0.0, 10.0, 19.0], 3.0, 20.0);
        let near = |q: f64, expected: f64| {
            assert!((histogram.quantile(q).unwrap().value - expected).abs() < 1e-9, "{q}");
        };
        near(0.25, 0.15);
        near(0.5, 0.2);
        let beyond = MeasuredValue { value: 0.4, is_lower_bound: true };
        assert_eq!(histogram.quantile(0.99), Some(beyond), "it is above the last bound");
        let unbounded = ScrapedHistogram { buckets: Vec::new(), sum: 3.0, count: 2.0 };
        assert_eq!(unbounded.quantile(0.5), None, "there is only +Inf");
        assert_eq!(ScrapedHistogram::default().quantile(0.5), None);
        assert_eq!(ScrapedHistogram::default().mean(), None);
    }

    #[test]
    fn merging_keeps_the_bounds_that_both_have() {
        let mut all = ScrapedHistogram::default();
        all.merge(&histogram([1.0, 2.0, 3.0], 1.0, 4.0));
        all.merge(&ScrapedHistogram { buckets: vec![(0.1, 1.0), (0.4, 2.0)], sum: 1.0, count: 2.0 });
        assert_eq!(all, ScrapedHistogram { buckets: vec![(0.1, 2.0), (0.4, 5.0)], sum: 2.0, count: 6.0 });
    }
}
