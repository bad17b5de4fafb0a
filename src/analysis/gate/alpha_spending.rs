//! When a gate that is extended has an interim analysis, and what part of `alpha` each analysis may spend.

use std::time::Duration;

use serde::Serialize;

/// The measured time grows by half from one interim analysis to the next: a sample that is barely larger shows barely
/// more, and each analysis has a cost.
const BLOCK_GROWTH: f64 = 1.5;

/// The share of `alpha` that the first analysis may spend: most candidates are clearly good or clearly bad.
const FIRST_ANALYSIS_SHARE: f64 = 0.5;

/// A plan of interim analyses, made when the first block ends.
///
/// The plan spends `alpha` over the analyses (Lan and DeMets, *Discrete sequential boundaries for clinical trials*,
/// Biometrika 1983): half at the first, the rest in equal parts at the others. No analysis is added later. Each
/// analysis tests at the level that it spends, so by Bonferroni's inequality the probability of a false alarm at any
/// analysis stays below `alpha`. Tests with normal increments could spend more at later analyses. These tests need not
/// be of that kind, and the plan assumes nothing about the dependence between analyses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AlphaSpending {
    alpha: f64,
    /// The numbers of blocks after which an analysis is due, in ascending order.
    after: Vec<usize>,
    taken: usize,
}

impl AlphaSpending {
    /// Plans a single analysis.
    pub(crate) fn single(alpha: f64) -> Self {
        Self { alpha, after: vec![1], taken: 0 }
    }

    /// Plans analyses of the first block and of as many further blocks of equal length as fit.
    pub(crate) fn plan(alpha: f64, block: Duration, extend: Duration) -> Self {
        let more = extend.as_secs_f64() / block.as_secs_f64().max(f64::MIN_POSITIVE);
        let blocks = 1 + more.min(1e6) as usize;
        let mut after = vec![1];
        while let Some(&last) = after.last().filter(|last| **last < blocks) {
            let next = ((last as f64 * BLOCK_GROWTH).ceil() as usize).min(blocks);
            after.push(next);
        }
        Self { alpha, after, taken: 0 }
    }

    /// The maximum number of analyses.
    pub(crate) fn max_analyses(&self) -> usize {
        self.after.len()
    }

    /// The maximum number of blocks.
    pub(crate) fn max_blocks(&self) -> usize {
        self.after.last().copied().unwrap_or(1)
    }

    /// The number of analyses done.
    pub(crate) fn analyses_done(&self) -> usize {
        self.taken
    }

    /// The part of `alpha` that an analysis after this number of blocks may spend; `None` if no analysis is due. An
    /// analysis with `last` set always takes place, and replaces the next planned one.
    pub(crate) fn next_alpha(&mut self, blocks: usize, last: bool) -> Option<f64> {
        let planned = *self.after.get(self.taken)?;
        if blocks < planned && !last {
            return None;
        }
        self.taken += 1;
        Some(self.analysis_share(self.taken))
    }

    /// The share of one analysis, counted from 1.
    fn analysis_share(&self, look: usize) -> f64 {
        match (self.after.len(), look) {
            (1, _) => self.alpha,
            (_, 1) => self.alpha * FIRST_ANALYSIS_SHARE,
            (looks, _) => self.alpha * (1.0 - FIRST_ANALYSIS_SHARE) / (looks - 1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    fn spent(mut looks: AlphaSpending) -> Vec<(usize, f64)> {
        let blocks = looks.max_blocks();
        (1..=blocks).filter_map(|block| Some((block, looks.next_alpha(block, block == blocks)?))).collect()
    }

    #[test]
    fn all_looks_together_spend_alpha() {
        for extend in [0, 1, 2, 10, 60, 10_000] {
            let spent = spent(AlphaSpending::plan(0.05, minutes(1), minutes(extend)));
            let sum: f64 = spent.iter().map(|(_, share)| share).sum();
            assert!((sum - 0.05).abs() < 1e-12, "{extend}: {spent:?}");
        }
    }

    #[test]
    fn looks_become_rarer_and_the_last_is_at_the_end() {
        let after: Vec<usize> = spent(AlphaSpending::plan(0.05, minutes(1), minutes(10)))
            .iter()
            .map(|(block, _)| *block)
            .collect();
        assert_eq!(after, [1, 2, 3, 5, 8, 11]);
        assert_eq!(AlphaSpending::plan(0.05, minutes(1), Duration::from_secs(59)).max_blocks(), 1);
    }

    #[test]
    fn an_early_end_takes_the_next_look_and_no_more() {
        let mut looks = AlphaSpending::plan(0.05, minutes(1), minutes(10));
        assert_eq!(looks.next_alpha(1, false), Some(0.025));
        assert_eq!(looks.next_alpha(2, false), Some(0.005));
        assert_eq!(looks.next_alpha(3, false), Some(0.005));
        assert_eq!(looks.next_alpha(4, false), None);
        assert_eq!(looks.next_alpha(4, true), Some(0.005), "the time was up");
        assert_eq!(looks.analyses_done(), 4);
        let mut once = AlphaSpending::single(0.05);
        assert_eq!((once.next_alpha(1, true), once.next_alpha(2, true)), (Some(0.05), None));
    }

    #[test]
    fn a_block_of_no_time_is_no_endless_plan() {
        assert!(AlphaSpending::plan(0.05, Duration::ZERO, minutes(1)).max_analyses() < 50);
    }
}
