//! What is known of a dataset: where requests came from, what was dropped and why, how long the texts are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::record::TokenSource;

/// Where a run's requests came from, and what was lost or invented on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// vLLM's name of the dataset.
    pub dataset: String,
    /// The file as shown to people; `None` if there is none.
    pub path: Option<String>,
    /// SHA-256 of the file as it lies on disk.
    pub sha256: Option<Digest>,
    /// Conversations, or whatever else there is to choose from, in the file.
    pub candidates: usize,
    /// Conversations that cannot be used. Too few turns are counted over the whole file, the rest only as far as
    /// conversations were looked at to fill the run.
    pub dropped: Drops,
    /// Requests that are there for a second time, because the file has too few conversations.
    pub repeated: usize,
    /// Generated prompts whose length is not exactly the one asked for, because no text was found that has it. Their
    /// counted lengths are true.
    pub inexact: usize,
}

impl Provenance {
    /// Of requests that come from no file.
    pub fn generated(dataset: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            path: None,
            sha256: None,
            candidates: 0,
            dropped: Drops::default(),
            repeated: 0,
            inexact: 0,
        }
    }
}

/// Entries that cannot be used, by the first rule that they break.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Fewer than two turns.
    pub few_turns: usize,
    /// Rows of a trace whose prompt or output has no token, such as those of requests that failed.
    #[serde(default)]
    pub empty: usize,
    /// No text at all.
    #[serde(default)]
    pub textless: usize,
    /// A prompt below `--min-prompt-len`; with `sharegpt` of fewer than 4 tokens.
    pub short_prompt: usize,
    /// An output of fewer than 4 tokens.
    pub short_output: usize,
    /// A prompt above `--max-prompt-len`; with `sharegpt` of more than 1024 tokens.
    pub long_prompt: usize,
    /// Prompt and output above `--max-total-len` or `--max-model-len` together; with `sharegpt` of more than 2048 tokens.
    pub long_total: usize,
}

impl Drops {
    /// All reasons together.
    pub fn total(&self) -> usize {
        self.reasons().iter().map(|(_, count)| count).sum()
    }

    /// Each reason in words, with its count.
    pub fn reasons(&self) -> [(&'static str, usize); 7] {
        [
            ("fewer than two turns", self.few_turns),
            ("no prompt or no output", self.empty),
            ("no text", self.textless),
            ("prompt too short", self.short_prompt),
            ("output too short", self.short_output),
            ("prompt too long", self.long_prompt),
            ("prompt and output too long together", self.long_total),
        ]
    }
}

impl fmt::Display for Drops {
    /// The reasons that occurred: `12 fewer than two turns, 3 prompt too short`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.reasons().into_iter().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = counted.map(|(reason, count)| format!("{count} {reason}")).collect();
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// The statistics of a ShareGPT file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetStats {
    /// The file as shown to people.
    pub path: String,
    /// SHA-256 of the file as it lies on disk.
    pub sha256: Digest,
    /// Conversations in the file.
    pub conversations: usize,
    /// Conversations by their number of turns.
    pub turns: BTreeMap<usize, usize>,
    /// Tokens of the first turn, of conversations with at least two; `None` if there are none.
    pub prompt: Option<LengthSummary>,
    /// Tokens of the second turn.
    pub answer: Option<LengthSummary>,
    /// Conversations that a run could use.
    pub usable: usize,
    /// Those that it could not, and why: over the whole file.
    pub dropped: Drops,
    /// Who counted the tokens.
    pub counted_by: TokenSource,
}

/// A summary of lengths in tokens. Percentiles interpolate linearly between closest ranks, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthSummary {
    /// How many.
    pub n: usize,
    /// All lengths together.
    pub total: u64,
    /// The shortest.
    pub min: u32,
    /// The 10th percentile.
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: u32,
}

impl LengthSummary {
    /// Summarises lengths in any order; `None` without any.
    pub fn of(lengths: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut lengths: Vec<u32> = lengths.into_iter().collect();
        lengths.sort_unstable();
        let (&min, &max) = (lengths.first()?, lengths.last()?);
        let at = |p: f64| {
            let rank = p / 100.0 * (lengths.len() - 1) as f64;
            let (low, high) = (lengths[rank.floor() as usize], lengths[rank.ceil() as usize]);
            f64::from(low) + f64::from(high - low) * rank.fract()
        };
        let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let n = lengths.len();
        let mean = total as f64 / n as f64;
        Some(Self { n, total, min, p10: at(10.0), p50: at(50.0), mean, p90: at(90.0), p99: at(99.0), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_summarised_with_the_pinned_percentiles() {
        let lengths = LengthSummary::of([40, 10, 30, 20]).unwrap();
        assert_eq!((lengths.n, lengths.total, lengths.min, lengths.max), (4, 100, 10, 40));
        assert_eq!((lengths.mean, lengths.p50, lengths.p90), (25.0, 25.0, 37.0));
        assert!(LengthSummary::of([]).is_none());
    }

    #[test]
    fn only_the_reasons_that_occurred_are_named() {
        assert_eq!(Drops::default().to_string(), "none");
        let drops = Drops { few_turns: 12, long_total: 1, ..Drops::default() };
        assert_eq!(drops.to_string(), "12 fewer than two turns, 1 prompt and output too long together");
        assert_eq!(drops.total(), 13);
    }
}
