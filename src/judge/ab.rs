//! A/B: two servers measured by turns, in pairs of blocks.
//!
//! A machine gets slower when it is warm, when a neighbour works, when another job begins. Whoever measures one server and
//! then the other takes that for a difference of the servers. Here each pair of blocks has the same requests at the same
//! offsets, one block on each server, one soon after the other: what the machine does to both of them cancels in their
//! difference, and only these differences are looked at ([`Comparison::of_pairs`]).
//!
//! Who goes first is drawn, and turned round in the next pair (ABBA or BAAB): a machine that gets slower and slower favours
//! whoever goes first, and each does equally often.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use super::compare::{Comparison, Scope, Settings, Side};
use crate::core::figure::Figure;
use crate::core::run::Run;
use crate::core::units::seconds;

#[cfg(test)]
mod tests;

/// Fewer pairs that are to be believed are no comparison.
const FEWEST: usize = 2;

/// Keeps the order independent of prompts and arrivals, which have the same seed.
const ORDER_STREAM: u64 = 0x00AB_BA00;

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Arm {
    /// The baseline.
    A,
    /// What is held against it.
    B,
}

impl Arm {
    /// The two.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
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

/// Who goes first in each pair.
pub fn order(pairs: usize, seed: u64) -> Vec<Arm> {
    let mut dice = StdRng::seed_from_u64(seed ^ ORDER_STREAM);
    let drawn = std::iter::repeat_with(|| Arm::BOTH[dice.random_range(0..2_usize)]);
    drawn.flat_map(|first| [first, first.other()]).take(pairs).collect()
}

/// What was to be measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Design {
    /// The servers, A first: URLs, or the commands that start them.
    pub servers: [String; 2],
    /// How many pairs of blocks.
    #[serde(rename = "planned_pairs")]
    pub pairs: usize,
    /// For how long requests are sent in a block.
    #[serde(rename = "block_s", with = "seconds")]
    pub block: Duration,
    /// Whether every block is on a start of its server of its own.
    pub fresh_starts: bool,
    /// Whether INVALID blocks count.
    pub allow_invalid: bool,
}

/// Two blocks with the same requests at the same offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Who went first.
    pub first: Arm,
    /// A's and B's.
    pub runs: [Run; 2],
}

/// What became of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Who went first.
    pub first: Arm,
    /// Why it does not count, if it does not.
    pub left_out: Option<String>,
    /// Whose block is INVALID.
    pub invalid: Vec<Arm>,
}

/// Two servers compared by the pairs that count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ab {
    /// What was to be measured.
    #[serde(flatten)]
    pub design: Design,
    /// All complete pairs, in their order.
    pub pairs: Vec<Told>,
    /// B against A.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Ab {
    /// Of complete pairs, in the order in which they were measured.
    pub fn of(design: Design, pairs: Vec<Pair>, figures: &[Figure], settings: Settings) -> Self {
        let told: Vec<Told> = pairs
            .iter()
            .map(|pair| Told {
                first: pair.first,
                left_out: pair.objection(design.allow_invalid),
                invalid: pair.invalid(),
            })
            .collect();
        let mut sides = Arm::BOTH.map(|arm| Side { name: arm.to_string(), runs: Vec::new() });
        // A figure that is INVALID in one block has no row.
        let mut marred = Vec::new();
        for (mut pair, _) in pairs.into_iter().zip(&told).filter(|(_, told)| told.left_out.is_none()) {
            if !design.allow_invalid {
                let why = pair.runs.iter_mut().filter_map(Run::leave_out_invalid_metrics);
                marred.extend(why.map(|why| format!("{why}; left out")));
            }
            sides.iter_mut().zip(pair.runs).for_each(|(side, run)| side.runs.push(run));
        }
        let [a, b] = &sides;
        let mut comparison = Comparison::of_pairs(a, b, figures, settings);
        if !design.fresh_starts {
            comparison.candidates.iter_mut().for_each(|b| b.scope = Scope::TheseStarts);
        }
        let mut ab = Self { design, pairs: told, comparison };
        ab.comparison.caveats = ab.caveats();
        ab.comparison.caveats.extend(marred.into_iter().next());
        ab
    }

    /// How many pairs count.
    pub fn counted(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.left_out.is_none()).count()
    }

    /// Whether enough of the complete pairs count: half of them, and two.
    pub fn is_believable(&self) -> bool {
        self.counted() >= FEWEST && 2 * self.counted() >= self.pairs.len()
    }

    /// To leave out pairs for what a server did in them flatters that server.
    fn one_sided(&self) -> Option<String> {
        let left_out = || self.pairs.iter().filter(|pair| pair.left_out.is_some());
        let spoiled = Arm::BOTH.map(|arm| left_out().filter(|pair| pair.invalid.contains(&arm)).count());
        let (more, fewer) = if spoiled[1] >= spoiled[0] { (Arm::B, Arm::A) } else { (Arm::A, Arm::B) };
        let [most, least] = [spoiled[more as usize], spoiled[fewer as usize]];
        (most > least).then(|| {
            format!(
                "the table is one-sided: pairs are left out because {more} is INVALID in {most} and {fewer} in {least}; it may \
                 flatter {more}, so that only a verdict against {more} is safe"
            )
        })
    }

    fn caveats(&self) -> Vec<String> {
        let (complete, planned) = (self.pairs.len(), self.design.pairs);
        let cut = (complete < planned).then(|| format!("only {complete} of {planned} pairs are complete"));
        let left_out = self.pairs.iter().enumerate().filter_map(|(at, pair)| {
            Some(format!("pair {} is left out: {}", at + 1, pair.left_out.as_ref()?))
        });
        let one_sided = self.one_sided();
        let nothing = (self.counted() > 0 && self.comparison.rows().next().is_none())
            .then(|| "none of the figures was measured in every block".to_owned());
        let few = (!self.is_believable()).then(|| {
            "too few pairs count to believe what is left: see why they do not, or let them count with --allow-invalid".to_owned()
        });
        cut.into_iter().chain(left_out).chain(one_sided).chain(nothing).chain(few).collect()
    }
}

impl Pair {
    /// Whose block is INVALID.
    fn invalid(&self) -> Vec<Arm> {
        let is_invalid = |(_, run): &(Arm, &Run)| run.validity.reason().is_some();
        Arm::BOTH.into_iter().zip(&self.runs).filter(is_invalid).map(|(arm, _)| arm).collect()
    }

    /// Why it does not count.
    fn objection(&self, allow_invalid: bool) -> Option<String> {
        let reasons = Arm::BOTH
            .into_iter()
            .zip(&self.runs)
            .filter_map(|(arm, run)| Some(format!("{arm} is INVALID: {}", run.validity.reason_for_all()?)));
        let reasons: Vec<String> = reasons.filter(|_| !allow_invalid).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
