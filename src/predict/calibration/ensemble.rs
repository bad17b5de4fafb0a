//! Other costs that fit the calibration runs about as well: the source of a prediction's intervals.
//!
//! A member is a fit on a block bootstrap of the runs, with one of the sets of terms that cross-validation cannot tell
//! from the best. It is then scaled by a factor drawn from the errors in cross-validation: two runs of the same server
//! differ by more than the blocks of one run tell.

use super::figures::{mean, percentile};
use super::fit::{Fit, FittedCosts};
use super::fit_block::{FitBlock, solve};
use super::overhead;
use super::step_terms::{self, GrowthBeyond, TERMS};
use super::term_choice::FOLDS;
use crate::predict::noise::mix;
use crate::stats::student_quantile;

/// The number of members.
pub(crate) const MEMBERS: usize = 24;

/// The spread between runs, which no single run shows: repeated runs of a server on the same machine differ by 1 to 3 %.
const LEAST_SPREAD: f64 = 0.012;

/// The largest spread of a factor; beyond it the calibration is useless, and the factor would be too.
const MOST_SPREAD: f64 = 0.5;

/// The spread of the errors in cross-validation, as standard deviations of a logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ErrorSpread {
    /// Of the time of steps.
    pub step_time: f64,
    /// Of the time outside the engine.
    pub overhead: f64,
}

/// The spread of the errors of folds that were predicted from the others.
pub(crate) fn error_spread(fit: &Fit) -> ErrorSpread {
    let mut steps = Vec::new();
    let mut overheads = Vec::new();
    for held_out in 0..FOLDS {
        let x = solve(fit.blocks.iter().filter(|block| block.fold != held_out), &fit.terms);
        for run in fit.blocks.chunk_by(|a, b| a.run == b.run) {
            let own: Vec<&FitBlock> = run.iter().filter(|block| block.fold == held_out).collect();
            let scale = scale(&x, &fit.costs.coefficients, own.iter().copied());
            let (measured, replayed): (Vec<f64>, Vec<f64>) =
                own.iter().flat_map(|block| block.tpot.iter().copied()).unzip();
            // A load point without single requests is a whole run, and is not scaled below.
            if run.iter().all(|block| block.ttft.is_empty()) {
                let error = |(measured, replayed): (&f64, &f64)| (scale * replayed / measured).ln();
                let whole = (FOLDS as f64).sqrt();
                steps.extend(measured.iter().zip(&replayed).map(|pair| whole * error(pair)));
            } else if !measured.is_empty() {
                steps.push((scale * mean(&replayed) / mean(&measured)).ln());
            }
            let (measured, replayed): (Vec<f64>, Vec<f64>) =
                own.iter().flat_map(|block| block.ttft.iter().copied()).unzip();
            if !measured.is_empty() {
                overheads.push((percentile(&replayed, 50.0) / percentile(&measured, 50.0)).ln());
            }
        }
    }
    let spread = |errors: &[f64]| {
        let squares: Vec<f64> =
            errors.iter().filter(|error| error.is_finite()).map(|error| error * error).collect();
        // A fold is a fifth of a run: the figures of a whole run deviate less.
        (mean(&squares) / FOLDS as f64 + LEAST_SPREAD * LEAST_SPREAD).sqrt().min(MOST_SPREAD)
    };
    ErrorSpread { step_time: spread(&steps), overhead: spread(&overheads) }
}

/// The decode time with some coefficients over that with others, given the schedule.
fn scale<'b>(x: &[f64], base: &[f64], blocks: impl Iterator<Item = &'b FitBlock>) -> f64 {
    let sums = blocks.fold([0.0; TERMS], |sums: step_terms::TermSums, block| {
        std::array::from_fn(|term| sums[term] + block.work[term])
    });
    let (new, old) = (step_terms::duration(&sums, x), step_terms::duration(&sums, base));
    if old > 0.0 { new / old } else { 1.0 }
}

/// The members of a fit's ensemble.
pub(crate) fn members(fit: &Fit, spread: ErrorSpread, seed: u64) -> Vec<FittedCosts> {
    (0..MEMBERS).map(|member| draw_member(fit, spread, seed, member)).collect()
}

fn draw_member(fit: &Fit, spread: ErrorSpread, seed: u64, member: usize) -> FittedCosts {
    let runs = fit.blocks.chunk_by(|a, b| a.run == b.run).enumerate();
    let drawn = runs.flat_map(|(run, blocks)| {
        let stream = mix(mix(seed, member as u64), run as u64);
        (0..blocks.len()).map(move |at| &blocks[(mix(stream, at as u64) % blocks.len() as u64) as usize])
    });
    let drawn: Vec<&FitBlock> = drawn.collect();
    let terms = &fit.alternatives[member % fit.alternatives.len()];
    let steps = (spread.step_time * normal_quantile(member, 1)).exp();
    let coefficients = solve(drawn.iter().copied(), terms).into_iter().map(|cost| cost * steps).collect();
    let unexplained: Vec<_> = drawn.iter().flat_map(|block| block.unexplained.iter().copied()).collect();
    let overhead = overhead::fit(&unexplained).unwrap_or(fit.costs.overhead);
    FittedCosts {
        coefficients,
        overhead: overhead.times((spread.overhead * normal_quantile(member, 7)).exp()),
    }
}

/// The degrees of freedom with which Student's distribution is the normal one.
const NORMAL: f64 = f64::INFINITY;

/// A quantile of the normal distribution for each member, evenly spread over them; another `stride`, another order.
fn normal_quantile(member: usize, stride: usize) -> f64 {
    let rank = (member * stride % MEMBERS) as f64 + 0.5;
    student_quantile(rank / MEMBERS as f64, NORMAL)
}

/// How fast a member's step time grows beyond the largest step that was seen, as multiples of what its coefficients say.
///
/// No measurement shows it. Each is spread evenly over the members: from no growth, where further work uses what
/// the rest leaves idle, to as much above the growth of the coefficients, where another part becomes the bottleneck.
/// Decoding waits for memory and prompts for arithmetic, so that neither shows the growth of the other.
pub(super) fn growth_beyond(member: usize) -> GrowthBeyond {
    let growth = |stride: usize| 2.0 * ((member * stride % MEMBERS) as f64 + 0.5) / MEMBERS as f64;
    GrowthBeyond { decode: growth(5), prefill: growth(11) }
}

/// An interval of a coefficient over the members, from 5 % to 95 %.
pub(crate) fn interval(members: &[FittedCosts], value: impl Fn(&FittedCosts) -> f64) -> (f64, f64) {
    let values: Vec<f64> = members.iter().map(value).collect();
    (percentile(&values, 5.0), percentile(&values, 95.0))
}
