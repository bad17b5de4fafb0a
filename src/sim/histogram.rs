//! Histograms with vLLM's buckets.

/// Cumulative counts of values at or below each bound, as in Prometheus.
pub(super) struct CumulativeHistogram {
    bounds: Vec<f64>,
    /// One count for each bound and one for values above all bounds; not cumulative.
    counts: Vec<u64>,
    sum: f64,
}

impl CumulativeHistogram {
    /// Creates an empty histogram with these ascending upper bounds.
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Creates an empty histogram of token counts up to `max`: bounds 1, 2, 5, 10, 20, 50 and so on.
    pub(super) fn for_token_counts(max: usize) -> Self {
        let series = (0..12).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        Self::new(&series.take_while(|bound| *bound <= max as f64).collect::<Vec<_>>())
    }

    /// Counts a value.
    pub(super) fn observe(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    /// Returns each bound with the number of values at or below it; the last bound is infinity.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.counts).scan(0, |below, (bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }

    /// The number of values.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub(super) fn sum(&self) -> f64 {
        self.sum
    }
}

/// Bounds of the time to first token, in seconds.
pub(super) const TTFT_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// Bounds of the time between tokens, in seconds.
pub(super) const ITL_BOUNDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];

/// Bounds of a request's phases and of its total time, in seconds.
pub(super) const REQUEST_TIME_BOUNDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// Bounds of the tokens in a step.
pub(super) const STEP_TOKEN_BOUNDS: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// Bounds of the requested number of answers.
pub(super) const ANSWER_COUNT_BOUNDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// Bounds of a request's preemptions.
pub(super) const PREEMPTION_BOUNDS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_it_and_counts_are_cumulative() {
        let mut histogram = CumulativeHistogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let found: Vec<_> = histogram.cumulative().collect();
        assert_eq!(found, [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
    }

    #[test]
    fn token_bounds_follow_the_series_one_two_five_up_to_the_longest_sequence() {
        let bounds = CumulativeHistogram::for_token_counts(2048).bounds;
        assert_eq!(bounds, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]);
    }
}
