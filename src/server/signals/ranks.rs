//! Decides which series of a metric are parts of a total, and which repeat one another.
//!
//! SGLang's ranks of tensor, pipeline, context and expert parallelism report the same requests, each under its own
//! `pid` and rank labels; data-parallel ranks (`dp_rank`) have their own requests. So one series counts for each
//! `dp_rank`: that of the lowest ranks. With priorities, SGLang reports the total under `priority=""`, and beside it
//! the part of each priority.

use std::collections::HashMap;

use crate::server::metrics_text::ScrapedSample;

/// Labels of ranks that compute the same requests together, the outermost first.
const RANKS: [&str; 9] = [
    "pp_rank",
    "tp_rank",
    "attn_tp_rank",
    "attn_cp_rank",
    "cp_rank",
    "dcp_rank",
    "moe_dp_rank",
    "moe_ep_rank",
    "moe_tp_rank",
];

/// Labels that differ between such ranks without meaning.
const OF_A_RANK: [&str; 3] = ["pid", "le", "gpu_id"];

const PRIORITY: &str = "priority";

type RankNumbers = [u64; RANKS.len()];

/// The series of a metric that count.
#[derive(Debug, Default)]
pub(super) struct CountedSeries {
    /// The lowest ranks of each group.
    lowest: HashMap<Vec<(String, String)>, RankNumbers>,
    has_priority_total: bool,
}

impl CountedSeries {
    /// Selects among these series, which all have the same name.
    pub(super) fn new<'p>(series: impl Iterator<Item = &'p ScrapedSample<'p>>) -> Self {
        let mut counted = Self::default();
        for sample in series {
            counted.has_priority_total |= sample.label(PRIORITY) == Some("");
            let Some(rank) = rank(sample) else { continue };
            let lowest = counted.lowest.entry(group(sample)).or_insert(rank);
            *lowest = rank.min(*lowest);
        }
        counted
    }

    /// Whether a series counts.
    pub(super) fn contains(&self, sample: &ScrapedSample<'_>) -> bool {
        let is_part = self.has_priority_total && sample.label(PRIORITY).is_some_and(|part| !part.is_empty());
        !is_part && rank(sample).is_none_or(|rank| self.lowest.get(&group(sample)) == Some(&rank))
    }
}

/// The ranks of a series; `None` without a rank label.
fn rank(sample: &ScrapedSample<'_>) -> Option<RankNumbers> {
    let ranks = RANKS.map(|label| sample.label(label));
    let number = |rank: Option<&str>| rank.and_then(|rank| rank.parse().ok()).unwrap_or_default();
    ranks.iter().any(Option::is_some).then(|| ranks.map(number))
}

/// The labels that all ranks of a group share.
fn group(sample: &ScrapedSample<'_>) -> Vec<(String, String)> {
    let differs = |label: &str| RANKS.contains(&label) || OF_A_RANK.contains(&label);
    let common = sample.labels.iter().filter(|(label, _)| !differs(label));
    let mut group: Vec<_> = common.map(|(label, value)| ((*label).to_owned(), value.to_string())).collect();
    group.sort_unstable();
    group
}
