//! The rows of a stretch of a run: what the regression, the cross-validation and the bootstrap exchange.

use super::nnls::LeastSquares;
use super::overhead::UnexplainedTtft;
use super::step_terms::{TERMS, TermSet, TermSums};

/// The rows of a block of time.
#[derive(Clone, Debug)]
pub(super) struct FitBlock {
    /// The run that it is of. Blocks of different runs are not exchanged by the bootstrap.
    pub run: usize,
    /// The fold of the cross-validation that it is held out in.
    pub fold: usize,
    pub problem: LeastSquares,
    /// The sums of the terms over all decode times.
    pub work: TermSums,
    pub unexplained: Vec<UnexplainedTtft>,
    /// The measured and the simulated decode times for each token.
    pub tpot: Vec<(f64, f64)>,
    /// The measured and the simulated TTFT.
    pub ttft: Vec<(f64, f64)>,
}

/// The coefficients of these terms that fit the blocks best.
pub(super) fn solve<'b>(blocks: impl IntoIterator<Item = &'b FitBlock>, terms: &TermSet) -> Vec<f64> {
    let mut all = LeastSquares::new(TERMS);
    blocks.into_iter().for_each(|block| all.merge(&block.problem));
    all.solve(terms)
}
