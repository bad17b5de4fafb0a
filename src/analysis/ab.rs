//! A/B test: two servers are measured alternately, in pairs of blocks.
//!
//! A machine slows down when it is warm, when a neighbor works, or when another job starts. If you measure one server
//! after the other, such a change looks like a difference between the servers. Here both blocks of a pair send the same
//! requests at the same offsets, one block to each server, one soon after the other. Whatever the machine does to both
//! blocks cancels in their difference, and the comparison uses only these differences ([`Comparison::from_pairs`]).
//!
//! The seed decides which server goes first, and the next pair reverses the order (ABBA or BAAB). A machine that
//! steadily slows down favors the server that goes first, so each server goes first equally often.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use super::compare::{ClaimScope, CompareConfig, Comparison, ComparisonSide};
use crate::model::metric_id::MetricId;
use crate::model::run::Run;
use crate::seconds;

#[cfg(test)]
mod tests;

/// A comparison needs at least this many valid pairs.
const MIN_PAIRS: usize = 2;

/// Keeps the order independent of prompts and arrivals, which have the same seed.
const ORDER_STREAM: u64 = 0x00AB_BA00;

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Arm {
    /// The baseline.
    A,
    /// The candidate.
    B,
}

impl Arm {
    /// Both arms.
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the other arm.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Returns the arm that goes first in each pair.
pub(crate) fn first_arms(pairs: usize, seed: u64) -> Vec<Arm> {
    let mut dice = StdRng::seed_from_u64(seed ^ ORDER_STREAM);
    let drawn = std::iter::repeat_with(|| Arm::BOTH[dice.random_range(0..2_usize)]);
    drawn.flat_map(|first| [first, first.other()]).take(pairs).collect()
}

/// The design of an A/B test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AbDesign {
    /// The servers, A first: URLs, or the commands that start them.
    pub servers: [String; 2],
    /// The number of pairs of blocks.
    #[serde(rename = "planned_pairs")]
    pub pairs: usize,
    /// How long each block sends requests.
    #[serde(rename = "block_s", with = "seconds")]
    pub block: Duration,
    /// Whether each block runs on a fresh server start.
    pub fresh_starts: bool,
    /// Whether INVALID blocks count.
    pub allow_invalid: bool,
}

/// Two blocks with the same requests at the same offsets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockPair {
    /// The arm that went first.
    pub first: Arm,
    /// The runs of A and of B.
    pub runs: [Run; 2],
}

/// Whether a pair counts, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PairStatus {
    /// The arm that went first.
    pub first: Arm,
    /// Why the pair does not count; `None` if it counts.
    pub left_out: Option<String>,
    /// The arms whose run in this pair is INVALID.
    pub invalid: Vec<Arm>,
}

/// Two servers compared by the pairs that count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AbComparison {
    /// The design of the test.
    #[serde(flatten)]
    pub design: AbDesign,
    /// All complete pairs, in the order of measurement.
    pub pairs: Vec<PairStatus>,
    /// The comparison of B with A.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl AbComparison {
    /// Compares the servers by complete pairs, given in the order of measurement.
    pub(crate) fn compare(
        design: AbDesign,
        pairs: Vec<BlockPair>,
        figures: &[MetricId],
        settings: CompareConfig,
    ) -> Self {
        let statuses: Vec<PairStatus> = pairs
            .iter()
            .map(|pair| PairStatus {
                first: pair.first,
                left_out: pair.exclusion_reason(design.allow_invalid),
                invalid: pair.invalid_arms(),
            })
            .collect();
        let mut sides = Arm::BOTH.map(|arm| ComparisonSide { name: arm.to_string(), runs: Vec::new() });
        // A metric that is INVALID in one block has no row.
        let mut marred = Vec::new();
        for (mut pair, _) in pairs.into_iter().zip(&statuses).filter(|(_, status)| status.left_out.is_none())
        {
            if !design.allow_invalid {
                let why = pair.runs.iter_mut().filter_map(Run::remove_invalid_metrics);
                marred.extend(why.map(|why| format!("{why}; left out")));
            }
            sides.iter_mut().zip(pair.runs).for_each(|(side, run)| side.runs.push(run));
        }
        let [a, b] = &sides;
        let mut comparison = Comparison::from_pairs(a, b, figures, settings);
        if !design.fresh_starts {
            comparison.candidates.iter_mut().for_each(|b| b.scope = ClaimScope::TheseStarts);
        }
        let mut ab = Self { design, pairs: statuses, comparison };
        ab.comparison.caveats = ab.caveats();
        ab.comparison.caveats.extend(marred.into_iter().next());
        ab
    }

    /// The number of pairs that count.
    pub(crate) fn counted_pairs(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.left_out.is_none()).count()
    }

    /// Whether enough of the complete pairs count: at least half of them, and at least two.
    pub(crate) fn is_believable(&self) -> bool {
        self.counted_pairs() >= MIN_PAIRS && 2 * self.counted_pairs() >= self.pairs.len()
    }

    /// A server looks better if pairs are left out because of what it did in them.
    fn one_sided_caveat(&self) -> Option<String> {
        let left_out = || self.pairs.iter().filter(|pair| pair.left_out.is_some());
        let spoiled = Arm::BOTH.map(|arm| left_out().filter(|pair| pair.invalid.contains(&arm)).count());
        let (more, fewer) = if spoiled[1] >= spoiled[0] { (Arm::B, Arm::A) } else { (Arm::A, Arm::B) };
        let [most, least] = [spoiled[more as usize], spoiled[fewer as usize]];
        (most > least).then(|| {
            format!(
                "the table is one-sided: pairs are left out because {more} is INVALID in {most} and {fewer} in {least}; it may \
                 favor {more}, so only a verdict against {more} is reliable"
            )
        })
    }

    fn caveats(&self) -> Vec<String> {
        let (complete, planned) = (self.pairs.len(), self.design.pairs);
        let cut = (complete < planned).then(|| format!("only {complete} of {planned} pairs are complete"));
        let left_out = self.pairs.iter().enumerate().filter_map(|(at, pair)| {
            Some(format!("pair {} is left out: {}", at + 1, pair.left_out.as_ref()?))
        });
        let one_sided = self.one_sided_caveat();
        let nothing = (self.counted_pairs() > 0 && self.comparison.rows().next().is_none())
            .then(|| "no metric was measured in every block".to_owned());
        let few = (!self.is_believable()).then(|| {
            "too few valid pairs for a verdict: see above why pairs are left out, or include them with `ab.allow_invalid`".to_owned()
        });
        cut.into_iter().chain(left_out).chain(one_sided).chain(nothing).chain(few).collect()
    }
}

impl BlockPair {
    fn invalid_arms(&self) -> Vec<Arm> {
        let is_invalid = |(_, run): &(Arm, &Run)| run.validity.reason().is_some();
        Arm::BOTH.into_iter().zip(&self.runs).filter(is_invalid).map(|(arm, _)| arm).collect()
    }

    /// Whether the pair counts: none of its runs is INVALID, or INVALID runs count.
    pub(crate) fn is_counted(&self, allow_invalid: bool) -> bool {
        self.exclusion_reason(allow_invalid).is_none()
    }

    /// Why the pair does not count.
    fn exclusion_reason(&self, allow_invalid: bool) -> Option<String> {
        let reasons = Arm::BOTH.into_iter().zip(&self.runs).filter_map(|(arm, run)| {
            Some(format!("{arm} is INVALID: {}", run.validity.run_invalid_reason()?))
        });
        let reasons: Vec<String> = reasons.filter(|_| !allow_invalid).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
