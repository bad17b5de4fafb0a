//! How a candidate's figure differs from the baseline's.

use serde::Serialize;

use super::sample::{Method, Sample};
use super::starts::Scope;
use crate::core::stats::{
    Belief, Contrast, Estimate, RateInterval, Repeats, least_p, least_signed_p, mann_whitney, wilcoxon,
};

/// Candidate less baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// In the figure's unit.
    pub absolute: f64,
    /// As a share of the baseline; `None` where that is zero.
    pub relative: Option<f64>,
    /// The 95 % interval of `absolute`; an end that nothing bounds is infinite, in JSON `null`. `None` where nothing is known
    /// of a side's spread.
    pub interval: Option<RateInterval>,
    /// The two-sided p-value of no difference, by itself.
    pub p: Option<f64>,
    /// Mann and Whitney's, where both sides have several runs; Wilcoxon's, where these are pairs.
    pub rank_p: Option<f64>,
    /// The weaker of the two sides' ways to know their spread.
    pub method: Option<Method>,
    #[serde(skip)]
    contrast: Option<Contrast>,
    /// The least that `rank_p` could have been.
    #[serde(skip)]
    least_rank_p: f64,
}

impl Difference {
    /// Of two samples of the same figure.
    pub fn between(base: &Sample, candidate: &Sample) -> Self {
        Self::from_multiple(base, candidate, 1.0)
    }

    /// Of the candidate and a multiple of the baseline: what `<= baseline * 1.05` asks about. A `relative` difference is one
    /// of that multiple.
    pub fn from_multiple(base: &Sample, candidate: &Sample, factor: f64) -> Self {
        let [bases, candidates] = units(base, candidate);
        let bases: Vec<f64> = bases.iter().map(|value| value * factor).collect();
        let [scaled, value] =
            [&bases, &candidates].map(|units| units.iter().sum::<f64>() / units.len() as f64);
        let absolute = value - scaled;
        let by_unit = bases.len().max(candidates.len()) > 1;
        let contrast = match by_unit {
            true => between_units(base, candidate, factor).map(against_zero),
            false => within_runs(base, candidate, factor),
        };
        let both = bases.len() > 1 && candidates.len() > 1;
        let methods = [base.method, candidate.method];
        Self {
            absolute,
            relative: (scaled != 0.0).then_some(absolute / scaled),
            interval: contrast.as_ref().map(|contrast| contrast.interval(0.05)),
            p: contrast.as_ref().map(Contrast::p),
            rank_p: both.then(|| mann_whitney(&candidates, &bases)),
            method: match by_unit {
                true => methods.into_iter().flatten().max(),
                false => base.method.min(candidate.method),
            },
            contrast,
            least_rank_p: least_p(bases.len(), candidates.len()),
        }
    }

    /// Of runs in pairs, the first of the one with the first of the other: what both of a pair met with cancels, and the
    /// spread is that of the differences within them.
    pub fn paired(base: &Sample, candidate: &Sample) -> Self {
        let pairs = candidate.runs.iter().zip(&base.runs);
        let within: Vec<f64> = pairs.map(|(candidate, base)| candidate - base).collect();
        let counting = base.counting + candidate.counting;
        let estimate = Repeats::of(&within).map(|repeats| repeats.estimate());
        let belief = estimate.and_then(|estimate| estimate.belief_with_counting(counting));
        let contrast = belief.map(against_zero);
        let absolute = within.iter().sum::<f64>() / within.len().max(1) as f64;
        Self {
            absolute,
            relative: (base.value != 0.0).then_some(absolute / base.value),
            interval: contrast.as_ref().map(|contrast| contrast.interval(0.05)),
            p: contrast.as_ref().map(Contrast::p),
            rank_p: contrast.as_ref().map(|_| wilcoxon(&within)),
            method: contrast.as_ref().map(|_| Method::Repeats),
            contrast,
            least_rank_p: least_signed_p(within.len()),
        }
    }

    /// The interval that misses the true difference with chance `alpha`.
    pub fn interval_at(&self, alpha: f64) -> Option<RateInterval> {
        Some(self.contrast.as_ref()?.interval(alpha))
    }

    /// The confidence that the difference is at most this: the one-sided p-value of its being more.
    pub fn at_most(&self, limit: f64) -> Option<f64> {
        Some(self.contrast.as_ref()?.at_most(limit))
    }

    /// The confidence that the difference is at least this: the one-sided p-value of its being less.
    pub fn at_least(&self, limit: f64) -> Option<f64> {
        Some(self.contrast.as_ref()?.at_least(limit))
    }

    /// Whether the ranks of the runs speak against a difference: they could have shown one, and do not.
    pub fn ranks_object(&self, alpha: f64) -> bool {
        self.rank_p.is_some_and(|p| p > alpha && self.least_rank_p <= alpha)
    }
}

/// The values of both sides that are independent of each other. In a difference about servers each start is one; otherwise
/// each run is.
fn units(base: &Sample, candidate: &Sample) -> [Vec<f64>; 2] {
    match Scope::of_counts(base.starts.len(), candidate.starts.len()) {
        Scope::Servers => [base.of_starts(), candidate.of_starts()],
        Scope::TheseStarts | Scope::OneStart => [base.runs.clone(), candidate.runs.clone()],
    }
}

/// Where one side has several values, what they vary by is what any varies by.
fn between_units(base: &Sample, candidate: &Sample, factor: f64) -> Option<Belief> {
    let [bases, candidates] = units(base, candidate);
    let about_servers = Scope::of_counts(base.starts.len(), candidate.starts.len()) == Scope::Servers;
    let less = |estimate: Estimate| Estimate { value: -estimate.value, ..estimate };
    let bases: Vec<f64> = bases.iter().map(|value| value * factor).collect();
    let estimate = match (Repeats::of(&candidates), Repeats::of(&bases)) {
        (Some(candidate), Some(base)) => candidate.minus(&base),
        (Some(repeats), None) => {
            let estimate = repeats.minus_one(*bases.first()?);
            if about_servers {
                with_fewer_runs(estimate, &candidate.starts, base.runs.len(), 1.0)
            } else {
                estimate
            }
        }
        (None, Some(repeats)) => {
            let estimate = repeats.minus_one(*candidates.first()?);
            let fewer = |estimate| with_fewer_runs(estimate, &base.starts, candidate.runs.len(), factor);
            less(if about_servers { fewer(estimate) } else { estimate })
        }
        (None, None) => return None,
    };
    estimate.belief_with_counting(candidate.counting + factor * factor * base.counting)
}

/// A single start with fewer runs than each of those it is held against varies by more than they do: by what runs within a
/// start vary.
fn with_fewer_runs(estimate: Estimate, starts: &[Vec<f64>], runs: usize, factor: f64) -> Estimate {
    let inverse = starts.iter().map(|start| 1.0 / start.len() as f64).sum::<f64>() / starts.len() as f64;
    let short = 1.0 / runs as f64 - inverse;
    let repeated: Vec<Repeats> = starts.iter().filter_map(|start| Repeats::of(start)).collect();
    let freedom: f64 = repeated.iter().map(|repeats| repeats.n - 1.0).sum();
    if short <= 0.0 || freedom == 0.0 {
        return estimate;
    }
    let squares: f64 = repeated.iter().map(|repeats| repeats.variance * (repeats.n - 1.0)).sum();
    let variance = factor * factor * short * squares / freedom;
    if variance > 0.0 { estimate.plus(Estimate { value: 0.0, variance, freedom }) } else { estimate }
}

/// Of one run a side.
fn within_runs(base: &Sample, candidate: &Sample, factor: f64) -> Option<Contrast> {
    let base = base.belief.as_ref()?.times(factor);
    Some(candidate.belief.as_ref()?.minus(&base))
}

fn against_zero(belief: Belief) -> Contrast {
    belief.minus(&Belief::certain(0.0))
}
