//! Which terms a model has: those that lower the error in blocked cross-validation.

use super::fit_block::{FitBlock, solve};
use super::step_terms::{FIRST_TERMS, TermSet};

/// The folds of the cross-validation: each is a stretch of every run.
pub(super) const FOLDS: usize = 5;

/// The relative fall of the error in cross-validation that a further term must bring.
const MIN_GAIN: f64 = 0.02;

/// Sets of terms within this share of the least error are alternatives.
const NEARLY_AS_GOOD: f64 = 0.05;

/// Adds candidates to one of the beginnings while that lowers the error in blocked cross-validation. Returns the terms,
/// and all sets that are nearly as good.
pub(super) fn choose_terms(
    beginnings: &[TermSet],
    candidates: &[Vec<usize>],
    blocks: &[FitBlock],
) -> (TermSet, Vec<TermSet>) {
    let mut tried = Vec::new();
    let extended = beginnings.iter().map(|terms| extend_terms(*terms, candidates, blocks, &mut tried));
    let extended: Vec<(f64, TermSet)> = extended.collect();
    let best = extended.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let (least, chosen) = best.unwrap_or((f64::INFINITY, FIRST_TERMS));
    let near = tried.into_iter().filter(|(error, _)| *error <= least * (1.0 + NEARLY_AS_GOOD));
    (chosen, near.map(|(_, terms)| terms).collect())
}

/// Adds groups of terms while that lowers the error in cross-validation. Returns the terms and their error.
fn extend_terms(
    mut chosen: TermSet,
    candidates: &[Vec<usize>],
    blocks: &[FitBlock],
    tried: &mut Vec<(f64, TermSet)>,
) -> (f64, TermSet) {
    let mut least = validation_error(blocks, &chosen);
    tried.push((least, chosen));
    loop {
        let extended = candidates.iter().filter(|group| !chosen[group[0]]).map(|group| {
            let mut terms = chosen;
            group.iter().for_each(|term| terms[*term] = true);
            (validation_error(blocks, &terms), terms)
        });
        let extended: Vec<(f64, TermSet)> = extended.collect();
        tried.extend(extended.iter().copied());
        let best = extended.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        match best.filter(|(error, _)| *error < least * (1.0 - MIN_GAIN)) {
            Some((error, terms)) => (least, chosen) = (error, terms),
            None => return (least, chosen),
        }
    }
}

/// The squared deviation of blocks from a fit on the blocks of the other folds.
fn validation_error(blocks: &[FitBlock], terms: &TermSet) -> f64 {
    let error = |held_out: usize| {
        let x = solve(blocks.iter().filter(|block| block.fold != held_out), terms);
        blocks
            .iter()
            .filter(|block| block.fold == held_out)
            .map(|block| block.problem.deviation(&x))
            .sum::<f64>()
    };
    (0..FOLDS).map(error).sum()
}
