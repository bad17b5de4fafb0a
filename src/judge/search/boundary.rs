//! Where the boundary lies, by all trials together.
//!
//! Nothing is assumed of the server but that more load makes nothing better. Each criterion's slack is fitted over the load
//! by a function that never falls ([`isotonic`]); the boundary is between the highest load at which every fit is within its
//! limit and the lowest at which one is beyond. How sure that is, a parametric bootstrap tells (Efron and Tibshirani 1993,
//! section 6.5): each draw moves every slack by its own error and is fitted anew. The interval reaches from the 2.5th
//! percentile of the draws' lower ends to the 97.5th of their upper ends. So a gap between two loads that were tried is in
//! the interval whole, which an interpolated curve would hide.
//!
//! Where requests were cut off, a trial leaves open where between two slacks its own lies. Each draw then has two fits: what holds
//! must hold in the one through the higher slacks, what is too much must be so in the one through the lower.
//!
//! The error of a slack is from within one trial. Where trials of neighbouring loads contradict each other by more than
//! that, all errors are widened (as Birge's ratio widens them).

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::isotonic::{self, Point};
use super::trial::Trial;

const DRAWS: usize = 600;

/// The chance that the interval misses, split evenly between its two sides.
const ALPHA: f64 = 0.05;

/// Trials whose agreement is taken for granted before any have disagreed: one contradiction does not widen much.
const PRIOR: f64 = 2.0;

/// Loads whose logarithms differ by no more have the same noise.
pub(super) const NEAR: f64 = 0.15;

/// No slack is known better.
const SMALLEST_ERROR: f64 = 1e-3;

/// Where the boundary is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// As likely below as above.
    pub estimate: f64,
    /// The lower end of the 95 % interval; `None` if no load is known to be good.
    pub low: Option<f64>,
    /// The upper end; `None` if no load is known to be too much.
    pub high: Option<f64>,
}

impl Boundary {
    /// Half of the interval's width as a share of the estimate; infinite for an open interval.
    pub fn precision(&self) -> f64 {
        match (self.low, self.high) {
            (Some(low), Some(high)) => (high - low) / 2.0 / self.estimate,
            _ => f64::INFINITY,
        }
    }
}

/// One draw's bracket.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bracket {
    /// The highest load that holds whatever the censored requests would have done; 0 for none.
    low: f64,
    /// The lowest load that does not, whatever they would have done; infinite for none.
    high: f64,
    /// Whether some load holds if every censored request met its limits.
    may_hold: bool,
    /// Whether some load is too much if every censored request missed them.
    may_be_too_much: bool,
    /// Which criterion gives `high`.
    binding: Option<usize>,
    /// Where between the two the boundary is taken to be: nothing says, so anywhere.
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

/// The boundary as the draws show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    brackets: Vec<Bracket>,
}

impl Belief {
    /// By these trials. The same trials and seed give the same belief.
    pub fn of(trials: &[&Trial], seed: u64) -> Self {
        let criteria = trials.first().map_or(0, |trial| trial.evidence.len());
        let curves: Vec<Curve> = (0..criteria).map(|criterion| Curve::of(trials, criterion)).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        Self { brackets: (0..DRAWS).map(|_| draw(&curves, &mut rng)).collect() }
    }

    /// The share of the draws in which some load holds.
    pub fn some_load_holds(&self) -> f64 {
        self.share(|bracket| bracket.low > 0.0)
    }

    /// The share of the draws in which some load is too much.
    pub fn some_load_is_too_much(&self) -> f64 {
        self.share(|bracket| bracket.high.is_finite())
    }

    /// The share of the draws in which some load may hold, for all that is known of the censored requests.
    pub fn some_load_may_hold(&self) -> f64 {
        self.share(|bracket| bracket.may_hold)
    }

    /// The share of the draws in which some load may be too much, for all that is known of the censored requests.
    pub fn some_load_may_be_too_much(&self) -> f64 {
        self.share(|bracket| bracket.may_be_too_much)
    }

    /// The load below which the boundary is with this probability.
    pub fn quantile(&self, probability: f64) -> f64 {
        self.at(probability, Bracket::boundary)
    }

    /// Estimate and interval.
    pub fn boundary(&self) -> Boundary {
        let low = self.at(ALPHA / 2.0, |bracket| bracket.low);
        let high = self.at(1.0 - ALPHA / 2.0, |bracket| bracket.high);
        Boundary {
            estimate: self.quantile(0.5).max(low),
            low: (low > 0.0).then_some(low),
            high: high.is_finite().then_some(high),
        }
    }

    /// The criterion that most draws are bound by.
    pub fn binding(&self) -> Option<usize> {
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

/// What one trial says about a criterion.
struct Known {
    load: f64,
    slack: f64,
    worst_slack: f64,
    error: f64,
    n: f64,
}

impl Known {
    /// The error that trials of about this load have on average, for as many requests as this one's.
    ///
    /// A trial that saw no burst has a low slack and a small error at once. Weighed by its own error it would outweigh its
    /// neighbours, and the boundary would come out too high.
    fn shared_error(&self, all: &[Self]) -> f64 {
        let near = all.iter().filter(|other| (other.load / self.load).ln().abs() <= NEAR);
        let (sum, count) =
            near.fold((0.0, 0.0), |(sum, count), near| (sum + near.error.powi(2) * near.n, count + 1.0));
        (sum / count / self.n).sqrt().max(SMALLEST_ERROR)
    }
}

/// One criterion's slacks over the load.
struct Curve {
    /// With censored requests within the limit; in ascending order of load.
    points: Vec<Point>,
    /// With them beyond it, where any were censored.
    worst: Option<Vec<Point>>,
    errors: Vec<f64>,
}

impl Curve {
    fn of(trials: &[&Trial], criterion: usize) -> Self {
        let mut known: Vec<Known> = trials
            .iter()
            .filter_map(|trial| {
                let Evidence { slack, worst_slack, error, n, .. } = trial.evidence[criterion]?;
                Some(Known { load: trial.load, slack, worst_slack, error, n: n.max(1) as f64 })
            })
            .collect();
        known.sort_by(|a, b| a.load.total_cmp(&b.load));
        let errors: Vec<f64> = known.iter().map(|of| of.shared_error(&known)).collect();
        let points = |height: fn(&Known) -> f64| -> Vec<Point> {
            let point = |(known, error): (&Known, &f64)| Point {
                at: known.load,
                height: height(known),
                weight: 1.0 / (error * error),
            };
            known.iter().zip(&errors).map(point).collect()
        };
        let is_censored = known.iter().any(|known| known.worst_slack > known.slack);
        let (points, worst) =
            (points(|known| known.slack), is_censored.then(|| points(|known| known.worst_slack)));
        let wider = disagreement(&points, &errors);
        Self { points, worst, errors: errors.iter().map(|error| wider * error).collect() }
    }

    /// The fits through the points and through the worst of them, all moved by their errors.
    fn drawn(&self, rng: &mut StdRng) -> (Vec<f64>, Option<Vec<f64>>) {
        let noises: Vec<f64> = self
            .errors
            .iter()
            .map(|error| {
                let noise: f64 = StandardNormal.sample(rng);
                error * noise
            })
            .collect();
        let fit = |points: &Vec<Point>| {
            let moved = |(point, noise): (&Point, &f64)| Point { height: point.height + noise, ..*point };
            isotonic::fit(&points.iter().zip(&noises).map(moved).collect::<Vec<_>>())
        };
        (fit(&self.points), self.worst.as_ref().map(fit))
    }
}

/// By what factor the points lie further from their fit than their errors explain; at least 1.
fn disagreement(points: &[Point], errors: &[f64]) -> f64 {
    let fit = isotonic::fit(points);
    let levels = 1 + fit.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let freedom = points.len().saturating_sub(levels) as f64;
    let scores =
        points.iter().zip(&fit).zip(errors).map(|((point, fit), error)| (point.height - fit) / error);
    let squares: f64 = scores.map(|score| score * score).sum();
    ((PRIOR + squares) / (PRIOR + freedom)).sqrt().max(1.0)
}

fn draw(curves: &[Curve], rng: &mut StdRng) -> Bracket {
    let known: Vec<(usize, &Curve)> =
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
        let (fit, worst) = curve.drawn(rng);
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
    use crate::judge::search::tests::trial;

    /// Trials (load, slack) with this error.
    fn belief(slacks: &[(f64, f64)], error: f64) -> Belief {
        let evidence = |slack| Evidence {
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
        Belief::of(&trials.iter().collect::<Vec<_>>(), 1)
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
        assert!(never.some_load_holds() < 0.01 && never.some_load_is_too_much() > 0.99);
        assert_eq!(never.boundary().low, None);
        let always = belief(&[(1.0, -0.05), (2.0, -0.05)], 0.01);
        assert!(always.some_load_holds() > 0.99 && always.some_load_is_too_much() < 0.01);
        assert_eq!(always.boundary().high, None);
        assert!(always.boundary().precision().is_infinite());
    }

    #[test]
    fn trials_that_contradict_each_other_are_believed_less() {
        let heights = [0.05, -0.05, 0.06, -0.06, 0.05, -0.04];
        let points = |heights: &[f64]| -> Vec<Point> {
            let point = |(i, &height): (usize, &f64)| Point { at: i as f64, height, weight: 1e4 };
            heights.iter().enumerate().map(point).collect()
        };
        assert!(disagreement(&points(&heights), &[0.01; 6]) > 3.0);
        assert_eq!(disagreement(&points(&[-0.05, -0.01, 0.0, 0.2]), &[0.01; 4]), 1.0);
    }

    #[test]
    fn the_criterion_with_the_lowest_boundary_binds() {
        let evidence = |slack| {
            Some(Evidence {
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
        assert_eq!(Belief::of(&trials.iter().collect::<Vec<_>>(), 1).binding(), Some(1));
    }
}
