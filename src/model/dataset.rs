//! Provenance and statistics of a dataset: the source of the requests, the dropped entries and the reasons, text
//! lengths.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::length_counts::LengthSummary;
use super::record::TokenSource;

/// The source of a run's requests, and the number of dropped, repeated and inexact ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// vLLM's name of the dataset.
    pub dataset: String,
    /// The file as displayed to users; `None` without a file.
    pub path: Option<String>,
    /// SHA-256 of the file as stored on disk.
    pub sha256: Option<Digest>,
    /// The number of conversations (or other selectable entries) in the file.
    pub candidates: usize,
    /// Conversations that cannot be used. Those with too few turns are counted over the whole file, the others only
    /// among the conversations that were examined to fill the run.
    pub dropped: DropCounts,
    /// Requests that repeat an earlier one, because the file has too few conversations.
    pub repeated: usize,
    /// Generated prompts whose length differs from the requested one, because no text of that length was found. Their
    /// token counts are exact.
    pub inexact: usize,
    /// The largest difference from the requested length among the inexact prompts, in tokens: positive where the prompt
    /// is longer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inexact_by: i64,
    /// Conversations that begin with a system turn, which then is the prompt, as in vLLM's client.
    #[serde(default, skip_serializing_if = "is_none")]
    pub system_prompts: usize,
    /// What is odd about the file, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Provenance {
    /// The provenance of generated requests.
    pub fn from_generator(dataset: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            path: None,
            sha256: None,
            candidates: 0,
            dropped: DropCounts::default(),
            repeated: 0,
            inexact: 0,
            inexact_by: 0,
            system_prompts: 0,
            remarks: Vec::new(),
        }
    }

    /// Counts a prompt by the difference from its requested length, in tokens.
    pub fn record_length_error(&mut self, off: i64) {
        self.inexact += usize::from(off != 0);
        self.inexact_by = larger_deviation(self.inexact_by, off);
    }

    /// Remarks on the requests for a reader of the results.
    pub fn notes(&self) -> Vec<String> {
        let mut remarks = self.remarks.clone();
        let bad = self.dropped.malformed.total();
        if bad > 0 {
            let rows = &self.dropped.malformed;
            let were = if bad == 1 { "was" } else { "were" };
            remarks.push(format!("{bad} of {} rows of the dataset {were} skipped: {rows}", self.candidates));
        }
        if self.inexact > 0 {
            let by = match self.inexact_by {
                0 => String::new(),
                by => format!(" (by at most {by:+} tokens)"),
            };
            let are = if self.inexact == 1 { "prompt is" } else { "prompts are" };
            remarks.push(format!("{} {are} longer or shorter than requested{by}", self.inexact));
        }
        if self.system_prompts > 0 {
            let count = self.system_prompts;
            let begin = if count == 1 { "conversation begins" } else { "conversations begin" };
            remarks.push(format!(
                "{count} {begin} with a system turn, which is taken for the prompt as vLLM's client does"
            ));
        }
        remarks
    }
}

/// The difference with the larger absolute value.
pub(crate) fn larger_deviation(one: i64, other: i64) -> i64 {
    if other.abs() > one.abs() { other } else { one }
}

/// Malformed rows of a file, by fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BadRows(BTreeMap<String, BadRow>);

/// Rows with the same fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// The number of rows with the fault.
    pub count: usize,
    /// The position of the first such row.
    pub first: String,
}

impl BadRows {
    /// The number of distinct faults that are kept: each row of a file may have its own fault.
    const MAX_FAULT_KINDS: usize = 8;
    /// The key of all other faults.
    const OTHER_FAULTS: &str = "other faults";

    /// Counts a row with a fault. If the fault's text ends with the value found, only the text before the value is the
    /// key.
    pub fn add(&mut self, fault: &str, place: &str) {
        let kind = fault.split_once(", not `").map_or(fault, |(kind, _)| kind);
        let kind = if self.0.len() < Self::MAX_FAULT_KINDS || self.0.contains_key(kind) {
            kind
        } else {
            Self::OTHER_FAULTS
        };
        match self.0.get_mut(kind) {
            Some(rows) => rows.count += 1,
            None => _ = self.0.insert(kind.to_owned(), BadRow { count: 1, first: place.to_owned() }),
        }
    }

    /// Adds the rows of another file.
    pub fn merge(&mut self, other: Self) {
        for (fault, rows) in other.0 {
            match self.0.get_mut(&fault) {
                Some(ours) => ours.count += rows.count,
                None => _ = self.0.insert(fault, rows),
            }
        }
    }

    /// The number of all rows.
    pub fn total(&self) -> usize {
        self.0.values().map(|rows| rows.count).sum()
    }

    /// Each fault with its rows.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BadRow)> {
        self.0.iter().map(|(fault, rows)| (fault.as_str(), rows))
    }

    /// Returns whether there are no malformed rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for BadRows {
    /// `2 a turn without `value` (first: line 12), 1 not JSON (first: line 40)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |(fault, BadRow { count, first }): (&String, &BadRow)| {
            format!("{count} {fault} (first: {first})")
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// Entries that cannot be used, by the first rule that they violate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCounts {
    /// Entries with fewer than two turns.
    pub few_turns: usize,
    /// Conversations with fewer user turns that have an answer than a session needs: at least two.
    #[serde(default, skip_serializing_if = "is_none")]
    pub few_user_turns: usize,
    /// Rows of a trace whose prompt or output has no tokens, such as those of failed requests.
    #[serde(default)]
    pub empty: usize,
    /// Entries without any text.
    #[serde(default)]
    pub textless: usize,
    /// Entries whose prompt is shorter than `--min-prompt-len`; with `sharegpt`, shorter than 4 tokens.
    pub short_prompt: usize,
    /// Entries whose output is shorter than 4 tokens.
    pub short_output: usize,
    /// Entries whose prompt is longer than `--max-prompt-len`; with `sharegpt`, longer than 1024 tokens.
    pub long_prompt: usize,
    /// Entries whose prompt and output together exceed `--max-total-len` or `--max-model-len`; with `sharegpt`, 2048
    /// tokens.
    pub long_total: usize,
    /// Malformed entries.
    #[serde(default, skip_serializing_if = "BadRows::is_empty")]
    pub malformed: BadRows,
}

impl DropCounts {
    /// The sum over all reasons.
    pub fn total(&self) -> usize {
        self.malformed.total() + self.reasons().iter().map(|(_, count)| count).sum::<usize>()
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: Self) {
        let Self {
            few_turns,
            few_user_turns,
            empty,
            textless,
            short_prompt,
            short_output,
            long_prompt,
            long_total,
            malformed,
        } = other;
        self.few_turns += few_turns;
        self.few_user_turns += few_user_turns;
        self.empty += empty;
        self.textless += textless;
        self.short_prompt += short_prompt;
        self.short_output += short_output;
        self.long_prompt += long_prompt;
        self.long_total += long_total;
        self.malformed.merge(malformed);
    }

    /// Each reason as text, with its count; malformed entries have their own texts.
    pub fn reasons(&self) -> [(&'static str, usize); 8] {
        [
            ("fewer than two turns", self.few_turns),
            ("too few user turns with an answer", self.few_user_turns),
            ("no prompt or no output", self.empty),
            ("no text", self.textless),
            ("prompt too short", self.short_prompt),
            ("output too short", self.short_output),
            ("prompt too long", self.long_prompt),
            ("prompt and output too long together", self.long_total),
        ]
    }
}

impl fmt::Display for DropCounts {
    /// Writes the reasons that occurred: `12 fewer than two turns, 3 prompt too short`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.reasons().into_iter().filter(|(_, count)| *count > 0);
        let counted = counted.map(|(reason, count)| format!("{count} {reason}"));
        let malformed = (!self.malformed.is_empty()).then(|| self.malformed.to_string());
        let parts: Vec<String> = counted.chain(malformed).collect();
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// The statistics of a ShareGPT file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatasetStats {
    /// The file as displayed to users.
    pub path: String,
    /// SHA-256 of the file as stored on disk.
    pub sha256: Digest,
    /// The number of conversations in the file.
    pub conversations: usize,
    /// The number of conversations, by their number of turns.
    pub turns: BTreeMap<usize, usize>,
    /// Lengths of the first turn in tokens, of conversations with at least two turns; `None` if there are none.
    pub prompt: Option<LengthSummary>,
    /// Lengths of the second turn in tokens.
    pub answer: Option<LengthSummary>,
    /// The number of conversations that a run could use.
    pub usable: usize,
    /// The conversations that a run could not use, by reason, over the whole file.
    pub dropped: DropCounts,
    /// The source of the token counts.
    pub counted_by: TokenSource,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reasons_that_occurred_are_named() {
        assert_eq!(DropCounts::default().to_string(), "none");
        let drops = DropCounts { few_turns: 12, long_total: 1, ..DropCounts::default() };
        assert_eq!(drops.to_string(), "12 fewer than two turns, 1 prompt and output too long together");
        assert_eq!(drops.total(), 13);
    }

    #[test]
    fn bad_rows_are_counted_by_fault_and_the_first_is_named() {
        let mut rows = BadRows::default();
        rows.add("`n` must be a number, not `x`", "line 2");
        rows.add("`n` must be a number, not `y`", "line 3");
        rows.add("no `n`", "line 4");
        assert_eq!(rows.to_string(), "2 `n` must be a number (first: line 2), 1 no `n` (first: line 4)");
        (0..20).for_each(|line| rows.add(&format!("fault {line}"), "line 9"));
        assert_eq!((rows.0.len(), rows.total()), (BadRows::MAX_FAULT_KINDS + 1, 23));
        let mut others = rows.clone();
        others.merge(rows);
        assert_eq!(others.total(), 46);
    }
}
