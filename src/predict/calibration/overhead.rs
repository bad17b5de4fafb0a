//! The time of a request outside the engine: before its queue, and from a step's end to the client.

use serde::{Deserialize, Serialize};

use super::nnls::LeastSquares;
use crate::predict::replica::RequestOverhead;
use crate::predict::ticks::Ticks;

/// The times of a request outside the engine, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverheadSeconds {
    /// Each request.
    pub base: f64,
    /// Each prompt token.
    pub per_prompt_token: f64,
    /// Each token of the same step: the client gets them one after the other.
    pub per_delivered_token: f64,
}

impl OverheadSeconds {
    pub(crate) fn to_ticks(self) -> RequestOverhead {
        RequestOverhead {
            base: Ticks::from_seconds(self.base),
            per_prompt_token: Ticks::from_seconds(self.per_prompt_token),
            per_delivered_token: Ticks::from_seconds(self.per_delivered_token),
        }
    }

    /// The part of a TTFT that is spent outside the engine.
    pub(super) fn of_first_token(&self, prompt: u32, batch: f64) -> f64 {
        self.base + self.per_prompt_token * f64::from(prompt) + self.per_delivered_token * batch
    }

    pub(super) fn towards(&self, other: &Self, share: f64) -> Self {
        let between = |from: f64, to: f64| from + share * (to - from);
        Self {
            base: between(self.base, other.base),
            per_prompt_token: between(self.per_prompt_token, other.per_prompt_token),
            per_delivered_token: between(self.per_delivered_token, other.per_delivered_token),
        }
    }

    pub(super) fn times(&self, factor: f64) -> Self {
        Self {
            base: self.base * factor,
            per_prompt_token: self.per_prompt_token * factor,
            per_delivered_token: self.per_delivered_token * factor,
        }
    }
}

/// The part of a TTFT that the simulated engine leaves unexplained.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnexplainedTtft {
    pub seconds: f64,
    /// The TTFT: the deviation of a long one counts less.
    pub ttft: f64,
    pub prompt: u32,
    pub batch: f64,
    /// The requests in flight at its server when it was sent.
    pub in_flight: u32,
}

/// The fewest requests that an overhead is fitted on.
const MIN_REQUESTS: usize = 10;

/// Rounds of reweighting; the deviations of later ones differ by less than a microsecond.
const ROUNDS: usize = 40;

/// Deviations below this share of a TTFT count the same.
const SMALLEST_DEVIATION: f64 = 1e-3;

/// Fits the overhead by least absolute deviations relative to the TTFT, which stalls do not bend; `None` with too few
/// requests.
pub(super) fn fit(unexplained: &[UnexplainedTtft]) -> Option<OverheadSeconds> {
    if unexplained.len() < MIN_REQUESTS {
        return None;
    }
    let mut x = vec![0.0; 3];
    for round in 0..ROUNDS {
        let mut problem = LeastSquares::new(3);
        for ttft in unexplained {
            let row = [1.0, f64::from(ttft.prompt), ttft.batch];
            let found: f64 = row.iter().zip(&x).map(|(amount, cost)| amount * cost).sum();
            let deviation = ((ttft.seconds - found).abs() / ttft.ttft).max(SMALLEST_DEVIATION);
            let weight = if round == 0 { 1.0 } else { deviation.sqrt().recip() };
            problem.add(&row, ttft.seconds, weight / ttft.ttft);
        }
        x = problem.solve(&[true; 3]);
    }
    Some(OverheadSeconds { base: x[0], per_prompt_token: x[1], per_delivered_token: x[2] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_stalls_do_not_bend_the_overhead() {
        let unexplained: Vec<UnexplainedTtft> = (0..200_u32)
            .map(|at| {
                let (prompt, batch) = (100 + at * 37 % 900, f64::from(at % 50));
                let stall = if at % 10 == 9 { 0.3 } else { 0.0 };
                let seconds = 0.012 + 3e-6 * f64::from(prompt) + 0.2e-3 * batch + stall;
                UnexplainedTtft { seconds, ttft: seconds + 0.02, prompt, batch, in_flight: 1 }
            })
            .collect();
        let found = fit(&unexplained).unwrap();
        assert!((found.base - 0.012).abs() < 1e-4, "{found:?}");
        assert!((found.per_prompt_token - 3e-6).abs() < 1e-7, "{found:?}");
        assert!((found.per_delivered_token - 0.2e-3).abs() < 1e-5, "{found:?}");
        assert_eq!(fit(&unexplained[..5]), None);
    }
}
