//! Token counts that come after the Record.

use super::{Record, TokenCount};

/// Counts of one request that came after its Record was made: a server's tokenizer is asked only when the load is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LateCounts {
    /// The request's position in the schedule.
    pub ordinal: usize,
    /// The prompt tokens: a later turn of a session repeats answers that are counted late.
    pub prompt_tokens: TokenCount,
    /// The output tokens.
    pub output_tokens: TokenCount,
}

impl LateCounts {
    /// Replaces the counts of the request's Record.
    pub(crate) fn apply_to(&self, record: &mut Record) {
        record.prompt_tokens = self.prompt_tokens;
        record.output_tokens = self.output_tokens;
    }
}
