//! The difference between a candidate's metric and the baseline's.

use serde::Serialize;

use crate::analysis::compare::metric_sample::{MetricSample, SpreadMethod};
use crate::analysis::compare::server_starts::ClaimScope;
use crate::stats::{
    ConfidenceDistribution, DifferenceDistribution, Estimate, RateInterval, RepeatStats, mann_whitney,
    min_p_value, min_signed_p_value, wilcoxon,
};

/// The candidate minus the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricDifference {
    /// The difference in the metric's unit.
    pub absolute: f64,
    /// The difference as a share of the baseline; `None` where the baseline is zero.
    pub relative: Option<f64>,
    /// The 95 % interval of `absolute`. An unbounded end is infinite, and `null` in JSON. `None` where the spread of a
    /// side is unknown.
    pub interval: Option<RateInterval>,
    /// The two-sided p-value of no difference, not adjusted for other rows.
    pub p: Option<f64>,
    /// The p-value of a rank test: Mann-Whitney where both sides have several runs, Wilcoxon where the runs are paired.
    pub rank_p: Option<f64>,
    /// The weaker of the two sides' spread methods.
    pub method: Option<SpreadMethod>,
    #[serde(skip)]
    contrast: Option<DifferenceDistribution>,
    /// The smallest value that `rank_p` can have with these sample sizes.
    #[serde(skip)]
    least_rank_p: f64,
}

impl MetricDifference {
    /// Computes the difference of two samples of the same metric.
    pub(crate) fn between(base: &MetricSample, candidate: &MetricSample) -> Self {
        Self::from_multiple(base, candidate, 1.0)
    }

    /// Computes the difference of the candidate from a multiple of the baseline, as `<= baseline * 1.05` needs it.
    /// `relative` is then a share of that multiple.
    pub(crate) fn from_multiple(base: &MetricSample, candidate: &MetricSample, factor: f64) -> Self {
        let [bases, candidates] = independent_values(base, candidate);
        let bases: Vec<f64> = bases.iter().map(|value| value * factor).collect();
        let [scaled, value] =
            [&bases, &candidates].map(|units| units.iter().sum::<f64>() / units.len() as f64);
        let absolute = value - scaled;
        let by_unit = bases.len().max(candidates.len()) > 1;
        let contrast = match by_unit {
            true => from_independent_values(base, candidate, factor).map(against_zero),
            false => within_runs(base, candidate, factor),
        };
        let both = bases.len() > 1 && candidates.len() > 1;
        let methods = [base.method, candidate.method];
        Self {
            absolute,
            relative: (scaled != 0.0).then_some(absolute / scaled),
            interval: contrast.as_ref().map(|contrast| contrast.interval(0.05)),
            p: contrast.as_ref().map(DifferenceDistribution::p_value),
            rank_p: both.then(|| mann_whitney(&candidates, &bases)),
            method: match by_unit {
                true => methods.into_iter().flatten().max(),
                false => base.method.min(candidate.method),
            },
            contrast,
            least_rank_p: min_p_value(bases.len(), candidates.len()),
        }
    }

    /// Computes the difference of paired runs: the n-th run of one side pairs with the n-th run of the other. Effects
    /// that are common to a pair cancel, and the spread is that of the differences within the pairs.
    pub(crate) fn paired(base: &MetricSample, candidate: &MetricSample) -> Self {
        let pairs = candidate.runs.iter().zip(&base.runs);
        let within: Vec<f64> = pairs.map(|(candidate, base)| candidate - base).collect();
        let counting = base.counting + candidate.counting;
        let estimate = RepeatStats::from_values(&within).map(|repeats| repeats.estimate());
        let belief = estimate.and_then(|estimate| estimate.confidence_with_counting(counting));
        let contrast = belief.map(against_zero);
        let absolute = within.iter().sum::<f64>() / within.len().max(1) as f64;
        Self {
            absolute,
            relative: (base.value != 0.0).then_some(absolute / base.value),
            interval: contrast.as_ref().map(|contrast| contrast.interval(0.05)),
            p: contrast.as_ref().map(DifferenceDistribution::p_value),
            rank_p: contrast.as_ref().map(|_| wilcoxon(&within)),
            method: contrast.as_ref().map(|_| SpreadMethod::Repeats),
            contrast,
            least_rank_p: min_signed_p_value(within.len()),
        }
    }

    /// The interval that misses the true difference with probability `alpha`.
    pub(crate) fn interval_at(&self, alpha: f64) -> Option<RateInterval> {
        Some(self.contrast.as_ref()?.interval(alpha))
    }

    /// The confidence that the difference is at most `limit`: the one-sided p-value of a larger difference.
    pub(crate) fn at_most(&self, limit: f64) -> Option<f64> {
        Some(self.contrast.as_ref()?.at_most(limit))
    }

    /// The confidence that the difference is at least `limit`: the one-sided p-value of a smaller difference.
    pub(crate) fn at_least(&self, limit: f64) -> Option<f64> {
        Some(self.contrast.as_ref()?.at_least(limit))
    }

    /// Whether the ranks of the runs contradict a difference: a rank test could reach `alpha`, and does not.
    pub(crate) fn is_contradicted_by_ranks(&self, alpha: f64) -> bool {
        self.rank_p.is_some_and(|p| p > alpha && self.least_rank_p <= alpha)
    }
}

/// The independent values of both sides. In a difference between servers each start is one value; otherwise each run is
/// one.
fn independent_values(base: &MetricSample, candidate: &MetricSample) -> [Vec<f64>; 2] {
    match ClaimScope::of_counts(base.starts.len(), candidate.starts.len()) {
        ClaimScope::Servers => [base.start_values(), candidate.start_values()],
        ClaimScope::TheseStarts | ClaimScope::OneStart => [base.runs.clone(), candidate.runs.clone()],
    }
}

/// Where only one side has several values, their spread also stands for the spread of the other side.
fn from_independent_values(
    base: &MetricSample,
    candidate: &MetricSample,
    factor: f64,
) -> Option<ConfidenceDistribution> {
    let [bases, candidates] = independent_values(base, candidate);
    let about_servers =
        ClaimScope::of_counts(base.starts.len(), candidate.starts.len()) == ClaimScope::Servers;
    let less = |estimate: Estimate| Estimate { value: -estimate.value, ..estimate };
    let bases: Vec<f64> = bases.iter().map(|value| value * factor).collect();
    let estimate = match (RepeatStats::from_values(&candidates), RepeatStats::from_values(&bases)) {
        (Some(candidate), Some(base)) => candidate.difference(&base),
        (Some(repeats), None) => {
            let estimate = repeats.difference_to_single(*bases.first()?);
            if about_servers {
                with_fewer_runs(estimate, &candidate.starts, base.runs.len(), 1.0)
            } else {
                estimate
            }
        }
        (None, Some(repeats)) => {
            let estimate = repeats.difference_to_single(*candidates.first()?);
            let fewer = |estimate| with_fewer_runs(estimate, &base.starts, candidate.runs.len(), factor);
            less(if about_servers { fewer(estimate) } else { estimate })
        }
        (None, None) => return None,
    };
    estimate.confidence_with_counting(candidate.counting + factor * factor * base.counting)
}

/// Widens the estimate where a single start has fewer runs than each start of the other side: its mean varies more than
/// theirs, by the spread of runs within a start.
fn with_fewer_runs(estimate: Estimate, starts: &[Vec<f64>], runs: usize, factor: f64) -> Estimate {
    let inverse = starts.iter().map(|start| 1.0 / start.len() as f64).sum::<f64>() / starts.len() as f64;
    let short = 1.0 / runs as f64 - inverse;
    let repeated: Vec<RepeatStats> =
        starts.iter().filter_map(|start| RepeatStats::from_values(start)).collect();
    let freedom: f64 = repeated.iter().map(|repeats| repeats.n - 1.0).sum();
    if short <= 0.0 || freedom == 0.0 {
        return estimate;
    }
    let squares: f64 = repeated.iter().map(|repeats| repeats.variance * (repeats.n - 1.0)).sum();
    let variance = factor * factor * short * squares / freedom;
    if variance > 0.0 { estimate.sum(Estimate { value: 0.0, variance, freedom }) } else { estimate }
}

/// The difference of two single runs.
fn within_runs(base: &MetricSample, candidate: &MetricSample, factor: f64) -> Option<DifferenceDistribution> {
    let base = base.belief.as_ref()?.scaled(factor);
    Some(candidate.belief.as_ref()?.minus(&base))
}

fn against_zero(belief: ConfidenceDistribution) -> DifferenceDistribution {
    belief.minus(&ConfidenceDistribution::exact(0.0))
}
