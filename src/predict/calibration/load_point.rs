//! Results that have only means: load points of a closed loop, one row each.
//!
//! The mean number of decoding sequences is known from the throughput: n = output tokens a second · TPOT. Of requests in
//! flight the others wait or compute their prompt, so that the concurrency itself says less: in set 09 of the
//! measurements that the bounds were derived from, 27 % error of TPOT with it and 5 % with n.

use super::fit_block::FitBlock;
use super::nnls::LeastSquares;
use super::step_terms::{self, TERMS, TermSums};
use super::term_choice::FOLDS;
use crate::model::metrics::Latency;
use crate::model::stated::StatedResult;
use crate::predict::seen_steps::SeenSteps;

/// A load point of a closed loop. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadPoint {
    pub name: String,
    pub concurrency: f64,
    /// Mean tokens of a prompt.
    pub prompt: f64,
    /// Mean tokens of an answer.
    pub output: f64,
    pub tpot: f64,
    /// Output tokens a second of the whole server.
    pub output_throughput: f64,
}

/// Why a load point cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum LoadPointError {
    #[error(
        "{0} has only means and no concurrency: a load point needs a closed loop with a known concurrency"
    )]
    NoConcurrency(String),
    #[error("{name} has only means, and {what} is not among them")]
    Missing { name: String, what: &'static str },
}

impl LoadPoint {
    /// Takes a result with means.
    ///
    /// # Errors
    ///
    /// A mean is missing or not above zero.
    pub(crate) fn from_stated(name: String, stated: &StatedResult) -> Result<Self, LoadPointError> {
        let positive = |value: Option<f64>| value.filter(|value| value.is_finite() && *value > 0.0);
        let missing = |what| LoadPointError::Missing { name: name.clone(), what };
        let per_request = |tokens: Option<u64>| {
            let completed = stated.completed.filter(|completed| *completed > 0)?;
            positive(Some(tokens? as f64 / completed as f64))
        };
        let concurrency = positive(stated.load.max_concurrency.map(|most| most as f64));
        let tpot = stated
            .latencies
            .get(&Latency::Tpot)
            .and_then(|tpot| tpot.mean_ms.or_else(|| tpot.percentile(50.0)));
        Ok(Self {
            concurrency: concurrency.ok_or_else(|| LoadPointError::NoConcurrency(name.clone()))?,
            prompt: per_request(stated.input_tokens.total)
                .ok_or_else(|| missing("the number of prompt tokens"))?,
            output: per_request(stated.output_tokens.total)
                .ok_or_else(|| missing("the number of output tokens"))?,
            tpot: positive(tpot).ok_or_else(|| missing("TPOT"))? / 1e3,
            output_throughput: positive(stated.rates.get("output_throughput").copied())
                .ok_or_else(|| missing("the output throughput"))?,
            name,
        })
    }

    /// The mean number of decoding sequences.
    pub(super) fn decode_seqs(&self) -> f64 {
        (self.output_throughput * self.tpot).min(self.concurrency)
    }

    /// The mean amounts of the terms in a step: while a sequence generates its answer, each of the others is replaced
    /// by one with a new prompt at some time.
    fn amounts(&self) -> TermSums {
        let seqs = self.decode_seqs();
        let prompts_a_step = seqs / self.output;
        step_terms::mean_amounts(&step_terms::MeanWork {
            decode_seqs: seqs,
            kv_tokens: seqs * (self.prompt + self.output / 2.0),
            prefill_tokens: prompts_a_step * self.prompt,
            attention: prompts_a_step * self.prompt * self.prompt / 2.0,
            mixed_share: prompts_a_step.min(1.0),
        })
    }

    /// The work of its steps, as far as means tell.
    pub(super) fn hull(&self) -> SeenSteps {
        let seqs = self.decode_seqs();
        SeenSteps {
            decode_seqs: seqs.ceil() as u64,
            kv_tokens: (seqs * (self.prompt + self.output)) as u64,
            prefill_tokens: self.prompt as u64,
            attention: (self.prompt * self.prompt / 2.0) as u64,
            least_decode_seqs: Some(seqs.floor() as u64),
        }
    }

    /// TPOT with these coefficients, in seconds.
    pub(crate) fn fitted_tpot(&self, coefficients: &[f64]) -> f64 {
        step_terms::duration(&self.amounts(), coefficients)
    }
}

/// The rows of the points as the blocks of one run, and the mean distance of their TPOT; without points neither.
///
/// Folds are ranges of the number of sequences: each is predicted from fewer and from more sequences, as in use.
pub(super) fn blocks(points: &[LoadPoint], run: usize, coefficients: &[f64]) -> (Vec<FitBlock>, Option<f64>) {
    let mut sorted: Vec<&LoadPoint> = points.iter().collect();
    sorted.sort_by(|a, b| a.decode_seqs().total_cmp(&b.decode_seqs()));
    let block = |(at, point): (usize, &&LoadPoint)| {
        let mut problem = LeastSquares::new(TERMS);
        problem.add(&point.amounts(), point.tpot, point.tpot.recip());
        FitBlock {
            run,
            fold: at * FOLDS / points.len(),
            problem,
            work: point.amounts(),
            unexplained: Vec::new(),
            tpot: vec![(point.tpot, point.fitted_tpot(coefficients))],
            ttft: Vec::new(),
        }
    };
    let blocks: Vec<FitBlock> = sorted.iter().enumerate().map(block).collect();
    let distances: Vec<f64> =
        points.iter().map(|point| (point.fitted_tpot(coefficients) / point.tpot).ln().abs()).collect();
    let distance = (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64);
    (blocks, distance)
}
