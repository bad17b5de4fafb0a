//! When a gate that is extended is looked at, and what each look may spend.

use std::time::Duration;

use serde::Serialize;

/// From one look to the next the measured time grows by half: a sample that is hardly larger tells hardly more, and each
/// look costs.
const GROWTH: f64 = 1.5;

/// The share of a gate's false alarms that its first look may spend: most candidates are plainly good or plainly bad.
const FIRST: f64 = 0.5;

/// A plan of looks, made when the first block is over.
///
/// `alpha` is spent over the looks (Lan and DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 1983):
/// half at the first, the rest in equal parts at the others, and no more looks are taken than are planned. Each look tests
/// at what it spends, which by Bonferroni's inequality keeps the chance of a false alarm at any look below `alpha`. Tests
/// with normal increments could spend more at later looks; these need not be of that kind, and nothing is assumed of how one
/// look depends on another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Looks {
    alpha: f64,
    /// After how many blocks, ascending.
    after: Vec<usize>,
    taken: usize,
}

impl Looks {
    /// A single look.
    pub fn once(alpha: f64) -> Self {
        Self { alpha, after: vec![1], taken: 0 }
    }

    /// Looks over the first block and as many more of its length as fit.
    pub fn planned(alpha: f64, block: Duration, extend: Duration) -> Self {
        let more = extend.as_secs_f64() / block.as_secs_f64().max(f64::MIN_POSITIVE);
        let blocks = 1 + more.min(1e6) as usize;
        let mut after = vec![1];
        while let Some(&last) = after.last().filter(|last| **last < blocks) {
            let next = ((last as f64 * GROWTH).ceil() as usize).min(blocks);
            after.push(next);
        }
        Self { alpha, after, taken: 0 }
    }

    /// How many at most.
    pub fn planned_looks(&self) -> usize {
        self.after.len()
    }

    /// How many blocks at most.
    pub fn blocks(&self) -> usize {
        self.after.last().copied().unwrap_or(1)
    }

    /// How many were taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// What a look after so many blocks may spend; `None` if none is planned then. The `last` is taken whenever it comes,
    /// in the place of the next that is planned.
    pub fn next(&mut self, blocks: usize, last: bool) -> Option<f64> {
        let planned = *self.after.get(self.taken)?;
        if blocks < planned && !last {
            return None;
        }
        self.taken += 1;
        Some(self.share(self.taken))
    }

    /// Of one look, from 1.
    fn share(&self, look: usize) -> f64 {
        match (self.after.len(), look) {
            (1, _) => self.alpha,
            (_, 1) => self.alpha * FIRST,
            (looks, _) => self.alpha * (1.0 - FIRST) / (looks - 1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    fn spent(mut looks: Looks) -> Vec<(usize, f64)> {
        let blocks = looks.blocks();
        (1..=blocks).filter_map(|block| Some((block, looks.next(block, block == blocks)?))).collect()
    }

    #[test]
    fn all_looks_together_spend_alpha() {
        for extend in [0, 1, 2, 10, 60, 10_000] {
            let spent = spent(Looks::planned(0.05, minutes(1), minutes(extend)));
            let sum: f64 = spent.iter().map(|(_, share)| share).sum();
            assert!((sum - 0.05).abs() < 1e-12, "{extend}: {spent:?}");
        }
    }

    #[test]
    fn looks_become_rarer_and_the_last_is_at_the_end() {
        let after: Vec<usize> =
            spent(Looks::planned(0.05, minutes(1), minutes(10))).iter().map(|(block, _)| *block).collect();
        assert_eq!(after, [1, 2, 3, 5, 8, 11]);
        assert_eq!(Looks::planned(0.05, minutes(1), Duration::from_secs(59)).blocks(), 1);
    }

    #[test]
    fn an_early_end_takes_the_next_look_and_no_more() {
        let mut looks = Looks::planned(0.05, minutes(1), minutes(10));
        assert_eq!(looks.next(1, false), Some(0.025));
        assert_eq!(looks.next(2, false), Some(0.005));
        assert_eq!(looks.next(3, false), Some(0.005));
        assert_eq!(looks.next(4, false), None);
        assert_eq!(looks.next(4, true), Some(0.005), "the time was up");
        assert_eq!(looks.taken(), 4);
        let mut once = Looks::once(0.05);
        assert_eq!((once.next(1, true), once.next(2, true)), (Some(0.05), None));
    }

    #[test]
    fn a_block_of_no_time_is_no_endless_plan() {
        assert!(Looks::planned(0.05, Duration::ZERO, minutes(1)).planned_looks() < 50);
    }
}
