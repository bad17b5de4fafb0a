//! Locates the boundary from all trials together.
//!
//! The only assumption about the server is that a higher load improves nothing. Each criterion's slack is fitted over
//! the load by a function that never falls (`isotonic`). The boundary is between the highest load at which every fit is
//! within its limit and the lowest load at which one fit is beyond. A parametric bootstrap estimates the uncertainty
//! (Efron and Tibshirani 1993, section 6.5): each draw moves every slack by its own error and is fitted again. The
//! interval reaches from the 2.5th percentile of the draws' lower ends to the 97.5th percentile of their upper ends.
//! The interval therefore contains the whole gap between two tried loads, which an interpolated curve would hide.
//!
//! Where requests were cut off, a trial bounds its slack only between two values. Each draw then has two fits: a load
//! is good only by the fit through the higher slacks, and too high only by the fit through the lower slacks.
//!
//! The error of a slack comes from a single trial. Where trials at neighboring loads contradict each other by more than
//! their errors, all errors are widened (like Birge's ratio).

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use super::evidence::CriterionEvidence;
use super::isotonic::{self, IsotonicPoint};
use super::trial::Trial;

const DRAWS: usize = 600;

/// The probability that the interval misses the boundary, split evenly between its two sides.
const ALPHA: f64 = 0.05;

/// The number of hypothetical trials in perfect agreement that precede the real ones: a single contradiction then
/// widens the errors only a little.
const PRIOR_TRIALS: f64 = 2.0;

/// Loads whose logarithms differ by at most this much have the same noise.
pub(super) const SAME_NOISE_DISTANCE: f64 = 0.15;

/// The lower bound of a slack's error.
const SMALLEST_ERROR: f64 = 1e-3;

/// The location of the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Boundary {
    /// The median of the draws.
    pub estimate: f64,
    /// The lower end of the 95 % interval; `None` if no load is known to be good.
    pub low: Option<f64>,
    /// The upper end of the 95 % interval; `None` if no load is known to be too high.
    pub high: Option<f64>,
}

impl Boundary {
    /// Half the interval's width as a share of the estimate; infinite for an open interval.
    pub fn precision(&self) -> f64 {
        match (self.low, self.high) {
            (Some(low), Some(high)) => (high - low) / 2.0 / self.estimate,
            _ => f64::INFINITY,
        }
    }
}

/// The bracket of one draw.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bracket {
    /// The highest load that is good whatever the outcome of the censored requests; 0 if there is none.
    low: f64,
    /// The lowest load that is too high whatever the outcome of the censored requests; infinite if there is none.
    high: f64,
    /// Whether some load is good if every censored request met its limits.
    may_hold: bool,
    /// Whether some load is too high if every censored request violated its limits.
    may_be_too_much: bool,
    /// The criterion that determines `high`.
    binding: Option<usize>,
    /// The assumed position of the boundary between `low` and `high`: uniform, because nothing indicates a position.
    place: f64,
}

impl Bracket {
    fn boundary(&self) -> f64 {
        match (self.low > 0.0, self.high.is_finite()) {
            (true, true) => self.low * (self.high / self.low).powf(self.place),
            (true, false) => 2.0 * self.low,
            (false, _) => self.high / 2.0,
        }
    }
}

/// Draws of the boundary from its confidence distribution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BoundaryDraws {
    brackets: Vec<Bracket>,
}

impl BoundaryDraws {
    /// Draws the boundary from these trials. The same trials and seed give the same draws.
    pub(crate) fn draw_from_trials(trials: &[&Trial], seed: u64) -> Self {
        let criteria = trials.first().map_or(0, |trial| trial.evidence.len());
        let curves: Vec<SlackCurve> =
            (0..criteria).map(|criterion| SlackCurve::from_trials(trials, criterion)).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        Self { brackets: (0..DRAWS).map(|_| draw_bracket(&curves, &mut rng)).collect() }
    }

    /// The share of the draws in which some load is good.
    pub(crate) fn share_with_met_load(&self) -> f64 {
        self.share(|bracket| bracket.low > 0.0)
    }

    /// The share of the draws in which some load is too high.
    pub(crate) fn share_with_missed_load(&self) -> f64 {
        self.share(|bracket| bracket.high.is_finite())
    }

    /// The share of the draws in which some load may be good, given what is known of the censored requests.
    pub(crate) fn share_with_possibly_met_load(&self) -> f64 {
        self.share(|bracket| bracket.may_hold)
    }

    /// The share of the draws in which some load may be too high, given what is known of the censored requests.
    pub(crate) fn share_with_possibly_missed_load(&self) -> f64 {
        self.share(|bracket| bracket.may_be_too_much)
    }

    /// Returns the load below which the boundary lies with this probability.
    pub(crate) fn quantile(&self, probability: f64) -> f64 {
        self.at(probability, Bracket::boundary)
    }

    /// Returns the estimate and the interval.
    pub(crate) fn boundary(&self) -> Boundary {
        let low = self.at(ALPHA / 2.0, |bracket| bracket.low);
        let high = self.at(1.0 - ALPHA / 2.0, |bracket| bracket.high);
        Boundary {
            estimate: self.quantile(0.5).max(low),
            low: (low > 0.0).then_some(low),
            high: high.is_finite().then_some(high),
        }
    }

    /// The criterion that limits the load in the most draws.
    pub(crate) fn binding(&self) -> Option<usize> {
        let mut counts = std::collections::BTreeMap::<usize, usize>::new();
        self.brackets
            .iter()
            .filter_map(|bracket| bracket.binding)
            .for_each(|c| *counts.entry(c).or_default() += 1);
        counts.into_iter().max_by_key(|&(_, count)| count).map(|(criterion, _)| criterion)
    }

    fn share(&self, is_so: impl Fn(&Bracket) -> bool) -> f64 {
        self.brackets.iter().filter(|bracket| is_so(bracket)).count() as f64 / self.brackets.len() as f64
    }

    fn at(&self, probability: f64, value: impl Fn(&Bracket) -> f64) -> f64 {
        let mut values: Vec<f64> = self.brackets.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[(probability * (values.len() - 1) as f64).round() as usize]
    }
}

/// One trial's slack for a criterion.
struct SlackObservation {
    load: f64,
    slack: f64,
    worst_slack: f64,
    error: f64,
    n: f64,
}

impl SlackObservation {
    /// The average error of trials near this load, for this trial's number of requests.
    ///
    /// A trial without a burst has both a low slack and a small error. Weighted by its own error it would outweigh its
    /// neighbors, and the boundary would be too high.
    fn shared_error(&self, all: &[Self]) -> f64 {
        let near = all.iter().filter(|other| (other.load / self.load).ln().abs() <= SAME_NOISE_DISTANCE);
        let (sum, count) =
            near.fold((0.0, 0.0), |(sum, count), near| (sum + near.error.powi(2) * near.n, count + 1.0));
        (sum / count / self.n).sqrt().max(SMALLEST_ERROR)
    }
}

/// The slacks of one criterion over the load.
struct SlackCurve {
    /// The slacks with censored requests within the limit, in ascending order of load.
    points: Vec<IsotonicPoint>,
    /// The slacks with censored requests beyond the limit; `None` if no request was censored.
    worst: Option<Vec<IsotonicPoint>>,
    errors: Vec<f64>,
}

impl SlackCurve {
    fn from_trials(trials: &[&Trial], criterion: usize) -> Self {
        let mut known: Vec<SlackObservation> = trials
            .iter()
            .filter_map(|trial| {
                let CriterionEvidence { slack, worst_slack, error, n, .. } = trial.evidence[criterion]?;
                Some(SlackObservation { load: trial.load, slack, worst_slack, error, n: n.max(1) as f64 })
            })
            .collect();
        known.sort_by(|a, b| a.load.total_cmp(&b.load));
        let errors: Vec<f64> = known.iter().map(|of| of.shared_error(&known)).collect();
        let points = |height: fn(&SlackObservation) -> f64| -> Vec<IsotonicPoint> {
            let point = |(known, error): (&SlackObservation, &f64)| IsotonicPoint {
                at: known.load,
                height: height(known),
                weight: 1.0 / (error * error),
            };
            known.iter().zip(&errors).map(point).collect()
        };
        let is_censored = known.iter().any(|known| known.worst_slack > known.slack);
        let (points, worst) =
            (points(|known| known.slack), is_censored.then(|| points(|known| known.worst_slack)));
        let wider = fit_disagreement(&points, &errors);
        Self { points, worst, errors: errors.iter().map(|error| wider * error).collect() }
    }

    /// Fits both curves, with every point moved by its error.
    fn draw_fits(&self, rng: &mut StdRng) -> (Vec<f64>, Option<Vec<f64>>) {
        let noises: Vec<f64> = self
            .errors
            .iter()
            .map(|error| {
                let noise: f64 = StandardNormal.sample(rng);
                error * noise
            })
            .collect();
        let fit = |points: &Vec<IsotonicPoint>| {
            let moved = |(point, noise): (&IsotonicPoint, &f64)| IsotonicPoint {
                height: point.height + noise,
                ..*point
            };
            isotonic::isotonic_fit(&points.iter().zip(&noises).map(moved).collect::<Vec<_>>())
        };
        (fit(&self.points), self.worst.as_ref().map(fit))
    }
}

/// The factor by which the points deviate from their fit beyond their errors; at least 1.
fn fit_disagreement(points: &[IsotonicPoint], errors: &[f64]) -> f64 {
    let fit = isotonic::isotonic_fit(points);
    let levels = 1 + fit.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let freedom = points.len().saturating_sub(levels) as f64;
    let scores =
        points.iter().zip(&fit).zip(errors).map(|((point, fit), error)| (point.height - fit) / error);
    let squares: f64 = scores.map(|score| score * score).sum();
    ((PRIOR_TRIALS + squares) / (PRIOR_TRIALS + freedom)).sqrt().max(1.0)
}

fn draw_bracket(curves: &[SlackCurve], rng: &mut StdRng) -> Bracket {
    let known: Vec<(usize, &SlackCurve)> =
        curves.iter().enumerate().filter(|(_, curve)| !curve.points.is_empty()).collect();
    let mut bracket = Bracket {
        low: if known.is_empty() { 0.0 } else { f64::INFINITY },
        high: f64::INFINITY,
        may_hold: !known.is_empty(),
        may_be_too_much: false,
        binding: None,
        place: rng.random(),
    };
    let mut excess = 0.0;
    for (criterion, curve) in known {
        let (fit, worst) = curve.draw_fits(rng);
        let first_beyond = |fit: &[f64]| fit.iter().position(|&height| height > 0.0);
        let (beyond, at_worst) = (first_beyond(&fit), first_beyond(worst.as_ref().unwrap_or(&fit)));
        let within = at_worst.unwrap_or(fit.len());
        bracket.low = bracket.low.min(within.checked_sub(1).map_or(0.0, |last| curve.points[last].at));
        bracket.may_hold &= beyond != Some(0);
        bracket.may_be_too_much |= at_worst.is_some();
        let Some(first) = beyond else { continue };
        let (high, score) = (curve.points[first].at, fit[first] / curve.errors[first]);
        if high < bracket.high || (high == bracket.high && score > excess) {
            (bracket.high, bracket.binding, excess) = (high, Some(criterion), score);
        }
    }
    bracket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::searches::trial;

    /// Makes draws from trials of these (load, slack) pairs, with this error.
    fn belief(slacks: &[(f64, f64)], error: f64) -> BoundaryDraws {
        let evidence = |slack| CriterionEvidence {
            slack,
            worst_slack: slack,
            error,
            value: None,
            n: 100,
            censored: 0,
            beyond: None,
        };
        let trials: Vec<Trial> =
            slacks.iter().map(|&(load, slack)| trial(load, vec![Some(evidence(slack))])).collect();
        BoundaryDraws::draw_from_trials(&trials.iter().collect::<Vec<_>>(), 1)
    }

    #[test]
    fn the_gap_between_plain_trials_is_in_the_interval_whole() {
        let boundary = belief(&[(1.0, -0.05), (2.0, -0.05), (4.0, -0.05), (8.0, 0.5)], 0.01).boundary();
        assert_eq!((boundary.low, boundary.high), (Some(4.0), Some(8.0)));
        assert!((5.0..6.4).contains(&boundary.estimate), "{boundary:?}");
    }

    #[test]
    fn an_unclear_trial_leaves_both_sides_open_and_more_of_them_close_one() {
        let unclear = belief(&[(4.0, -0.05), (6.0, 0.01), (8.0, 0.5)], 0.01).boundary();
        assert_eq!((unclear.low, unclear.high), (Some(4.0), Some(8.0)));
        let trials = [&[(4.0, -0.05), (8.0, 0.5)][..], &[(6.0, 0.01); 9]].concat();
        let clear = belief(&trials, 0.01).boundary();
        assert_eq!((clear.low, clear.high), (Some(4.0), Some(6.0)));
    }

    #[test]
    fn nothing_good_and_nothing_too_much_leave_the_interval_open() {
        let never = belief(&[(1.0, 0.5), (0.5, 0.4)], 0.01);
        assert!(never.share_with_met_load() < 0.01 && never.share_with_missed_load() > 0.99);
        assert_eq!(never.boundary().low, None);
        let always = belief(&[(1.0, -0.05), (2.0, -0.05)], 0.01);
        assert!(always.share_with_met_load() > 0.99 && always.share_with_missed_load() < 0.01);
        assert_eq!(always.boundary().high, None);
        assert!(always.boundary().precision().is_infinite());
    }

    #[test]
    fn trials_that_contradict_each_other_are_believed_less() {
        let heights = [0.05, -0.05, 0.06, -0.06, 0.05, -0.04];
        let points = |heights: &[f64]| -> Vec<IsotonicPoint> {
            let point = |(i, &height): (usize, &f64)| IsotonicPoint { at: i as f64, height, weight: 1e4 };
            heights.iter().enumerate().map(point).collect()
        };
        assert!(fit_disagreement(&points(&heights), &[0.01; 6]) > 3.0);
        assert_eq!(fit_disagreement(&points(&[-0.05, -0.01, 0.0, 0.2]), &[0.01; 4]), 1.0);
    }

    #[test]
    fn the_criterion_with_the_lowest_boundary_binds() {
        let evidence = |slack| {
            Some(CriterionEvidence {
                slack,
                worst_slack: slack,
                error: 0.01,
                value: None,
                n: 100,
                censored: 0,
                beyond: None,
            })
        };
        let trials = [(1.0, -0.05, -0.05), (2.0, 0.3, -0.05), (4.0, 0.5, 0.4)];
        let trials = trials.map(|(load, a, b)| trial(load, vec![evidence(b), evidence(a)]));
        assert_eq!(BoundaryDraws::draw_from_trials(&trials.iter().collect::<Vec<_>>(), 1).binding(), Some(1));
    }
}
