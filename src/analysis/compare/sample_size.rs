//! The sample size that would decide an undecided row.

use serde::Serialize;

use super::MetricComparison;
use crate::analysis::compare::metric_sample::{MetricSample, SpreadMethod};
use crate::model::metric_id::{MetricId, Statistic};
use crate::stats::{RateInterval, min_p_value, min_sample_size, student_quantile};

/// The search for a number of runs stops here.
const MAX_RUNS: f64 = 1e12;

/// The size of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RequiredSample {
    /// The count on each side.
    pub count: u64,
    /// The unit of the count.
    pub of: SampleUnit,
}

/// The unit of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleUnit {
    /// Requests of one run.
    Requests,
    /// Runs.
    Runs,
    /// Starts of the server.
    Starts,
}

impl SampleUnit {
    /// The largest sample that is worth the time. Beyond 10,000 requests the spread between runs outweighs the
    /// remaining spread within one run. Beyond 100 runs or starts the difference is small compared with the spread
    /// between them.
    pub fn max_practical(self) -> u64 {
        match self {
            Self::Requests => 10_000,
            Self::Runs | Self::Starts => 100,
        }
    }

    /// The unit that the spread of these samples comes from.
    pub(in crate::analysis) fn from_samples<'a>(
        sides: impl Iterator<Item = &'a MetricSample> + Clone,
    ) -> Self {
        match sides.clone().any(|side| side.method == Some(SpreadMethod::Starts)) {
            true => Self::Starts,
            false if sides.clone().any(|side| side.runs.len() > 1) => Self::Runs,
            false => Self::Requests,
        }
    }

    /// The size of a side in this unit.
    pub(in crate::analysis) fn count(self, side: &MetricSample) -> u64 {
        match self {
            Self::Requests => side.requests,
            Self::Runs => side.runs.len() as u64,
            Self::Starts => side.starts.len() as u64,
        }
    }
}

impl RequiredSample {
    /// Whether a sample of this size is practical to collect.
    pub fn is_practical(self) -> bool {
        self.count <= self.of.max_practical()
    }

    /// Estimates the sample that decides the row if the true difference equals the measured one: either the interval at
    /// `alpha` fits into the tolerance, or the interval at the row's `level` in its table excludes zero. `None` where
    /// the spread is unknown.
    pub(super) fn estimate(row: &MetricComparison, alpha: f64, level: f64) -> Option<Self> {
        let half = |alpha: f64| row.difference.interval_at(alpha).map(half_width);
        let alone = half(alpha)?;
        let sides = || [&row.base, &row.candidate].into_iter();
        let of = SampleUnit::from_samples(sides());
        let by_runs = of != SampleUnit::Requests;
        let now = sides().map(|side| of.count(side)).min()? as f64;
        let distance = row.difference.absolute.abs();
        let goals = [(alpha, row.tolerance - distance), (level, distance)];
        let count = match alone.is_finite() {
            true if by_runs => runs_needed(now.max(2.0), alone, alpha, goals),
            true => {
                // Where the sample has no bounds at the table's level, the estimate uses twice the width: the normal
                // distribution's factor for a few hundred rows.
                let widths = goals.map(|(at, width)| {
                    let half = half(at).filter(|half| half.is_finite()).unwrap_or(2.0 * alone);
                    if width > 0.0 { (half / width).powi(2) } else { f64::INFINITY }
                });
                (now * widths[0].min(widths[1])).ceil()
            }
            false => (now * size_factor(row)?).ceil(),
        };
        let least = if by_runs { min_runs_for_ranks(alpha) } else { 0 };
        // The present sample is too small, or the row would have a verdict.
        let count = if count < u64::MAX as f64 { count as u64 } else { u64::MAX };
        Some(Self { count: count.max(now as u64 + 1).max(least), of })
    }
}

/// The smallest number of runs at which the half width at one of the levels is below the goal of that level. Half
/// widths shrink with the square root of the number of runs, and Student's quantiles with the degrees of freedom. For
/// two or three runs the quantiles have the larger effect.
fn runs_needed(now: f64, half: f64, alpha: f64, goals: [(f64, f64); 2]) -> f64 {
    let quantile = |level: f64, runs: f64| student_quantile(1.0 - level / 2.0, 2.0 * (runs - 1.0));
    let error = half / quantile(alpha, now);
    let fits = |runs: f64| {
        goals.iter().any(|&(level, width)| error * (now / runs).sqrt() * quantile(level, runs) <= width)
    };
    let (mut few, mut enough) = (now, 2.0 * now);
    while !fits(enough) {
        if enough > MAX_RUNS {
            return f64::INFINITY;
        }
        (few, enough) = (enough, 2.0 * enough);
    }
    while enough - few > 1.0 {
        let middle = ((few + enough) / 2.0).floor();
        *(if fits(middle) { &mut enough } else { &mut few }) = middle;
    }
    enough
}

fn half_width(interval: RateInterval) -> f64 {
    (interval.high - interval.low) / 2.0
}

/// The factor by which a sample must grow before it bounds the percentile at all.
fn size_factor(row: &MetricComparison) -> Option<f64> {
    let MetricId::Latency(_, Statistic::Percentile(p)) = row.figure else { return None };
    let worth = row.base.effective_n?.min(row.candidate.effective_n?);
    Some(min_sample_size(p)? as f64 / worth.max(1) as f64)
}

fn min_runs_for_ranks(alpha: f64) -> u64 {
    let mut runs = 2;
    while min_p_value(runs, runs) > alpha && runs < 100 {
        runs += 1;
    }
    runs as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_runs_do_not_ask_for_as_many_as_if_students_tails_stayed() {
        let half = student_quantile(0.975, 4.0);
        let runs = runs_needed(3.0, half, 0.05, [(0.05, 0.0), (0.05, 0.5)]);
        assert_eq!(runs, 48.0, "3 (1.96 / 0.5)², and a little for the tails, not 3 (2.78 / 0.5)² = 93");
        let in_table = runs_needed(3.0, half, 0.05, [(0.05, 0.0), (0.05 / 30.0, 0.5)]);
        assert!(in_table > runs, "a table asks for more");
        assert!(
            runs_needed(3.0, half, 0.05, [(0.05, 0.0), (0.05, 0.0)]).is_infinite(),
            "no number is enough"
        );
    }

    #[test]
    fn more_than_anybody_would_collect_is_not_practical() {
        let needs = |count, of| RequiredSample { count, of };
        assert!(
            needs(10_000, SampleUnit::Requests).is_practical() && needs(100, SampleUnit::Runs).is_practical()
        );
        assert!(
            !needs(10_001, SampleUnit::Requests).is_practical()
                && !needs(101, SampleUnit::Runs).is_practical()
        );
    }
}
