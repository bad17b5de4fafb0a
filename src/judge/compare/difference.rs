//! How a candidate's figure differs from the baseline's.

use serde::Serialize;

use super::sample::{Method, Sample};
use crate::core::stats::{
    Belief, Contrast, RateInterval, Repeats, least_p, least_signed_p, mann_whitney, wilcoxon,
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
        let scaled = base.value * factor;
        let absolute = candidate.value - scaled;
        let contrast = contrast(base, candidate, factor);
        let bases: Vec<f64> = base.runs.iter().map(|value| value * factor).collect();
        let both = base.runs.len() > 1 && candidate.runs.len() > 1;
        Self {
            absolute,
            relative: (scaled != 0.0).then_some(absolute / scaled),
            interval: contrast.as_ref().map(|contrast| contrast.interval(0.05)),
            p: contrast.as_ref().map(Contrast::p),
            rank_p: both.then(|| mann_whitney(&candidate.runs, &bases)),
            method: base.method.zip(candidate.method).map(|(base, candidate)| base.min(candidate)),
            contrast,
            least_rank_p: least_p(bases.len(), candidate.runs.len()),
        }
    }

    /// Of runs in pairs, the first of the one with the first of the other: what both of a pair met with cancels, and the
    /// spread is that of the differences within them.
    pub fn paired(base: &Sample, candidate: &Sample) -> Self {
        let pairs = candidate.runs.iter().zip(&base.runs);
        let within: Vec<f64> = pairs.map(|(candidate, base)| candidate - base).collect();
        let contrast = Belief::of_mean(&within).map(|belief| belief.minus(&Belief::certain(0.0)));
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

/// Where one side has several runs, what they vary by is what any run varies by.
fn contrast(base: &Sample, candidate: &Sample, factor: f64) -> Option<Contrast> {
    let scaled: Vec<f64> = base.runs.iter().map(|value| value * factor).collect();
    let run_level = match (Repeats::of(&candidate.runs), Repeats::of(&scaled)) {
        (Some(candidate), Some(base)) => candidate.minus(&base),
        (Some(repeats), None) => repeats.minus_one(*scaled.first()?),
        (None, Some(repeats)) => repeats.minus_one(*candidate.runs.first()?).times(-1.0),
        (None, None) => {
            let base = base.belief.as_ref()?.times(factor);
            return Some(candidate.belief.as_ref()?.minus(&base));
        }
    };
    Some(run_level.minus(&Belief::certain(0.0)))
}
