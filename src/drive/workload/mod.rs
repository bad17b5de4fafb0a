//! Where prompts come from: every request is made before the clock starts, from a file or from a seed.

pub mod bundled;
mod conversations;
mod error;
mod random;
mod sharegpt;
mod source;
pub mod stats;
mod stream;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::core::digest::Digest;
use crate::core::spec::{self, Dataset};
use crate::drive::tokenizer::Tokenizer;

pub use error::{Fault, Place, WorkloadError};

/// One request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The text to send.
    pub prompt: Arc<str>,
    /// Its length in tokens by our count, special tokens included.
    pub prompt_tokens: u32,
    /// How many tokens to ask for.
    pub max_tokens: u32,
}

/// The requests of a run, in the order in which they are sent, and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// As many as were asked for.
    pub requests: Vec<Request>,
    /// Where they came from.
    pub provenance: Provenance,
}

/// Where requests came from, and what was lost or invented on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// vLLM's name of the dataset.
    pub dataset: &'static str,
    /// The file as shown to people; `None` if there is none.
    pub path: Option<String>,
    /// SHA-256 of the file as it lies on disk.
    pub sha256: Option<Digest>,
    /// Conversations in the file.
    pub candidates: usize,
    /// Conversations that cannot be used. Too few turns are counted over the whole file, the rest only as far as
    /// conversations were looked at to fill the run.
    pub dropped: Drops,
    /// Requests that are there for a second time, because the file has too few conversations.
    pub repeated: usize,
    /// Generated prompts whose length is not exactly the one asked for, because no text was found that has it. Their
    /// [`Request::prompt_tokens`] are true.
    pub inexact: usize,
}

/// Conversations that cannot be used, by the first rule that they break (vLLM's `is_valid_sequence`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// Fewer than two turns.
    pub few_turns: usize,
    /// A prompt of fewer than 4 tokens.
    pub short_prompt: usize,
    /// An output of fewer than 4 tokens.
    pub short_output: usize,
    /// A prompt of more than 1024 tokens.
    pub long_prompt: usize,
    /// Prompt and output of more than 2048 tokens together.
    pub long_total: usize,
}

impl Drops {
    /// All reasons together.
    pub fn total(&self) -> usize {
        self.reasons().iter().map(|(_, count)| count).sum()
    }

    /// Each reason in words, with its count.
    pub fn reasons(&self) -> [(&'static str, usize); 5] {
        [
            ("fewer than two turns", self.few_turns),
            ("prompt under 4 tokens", self.short_prompt),
            ("output under 4 tokens", self.short_output),
            ("prompt over 1024 tokens", self.long_prompt),
            ("prompt and output over 2048 tokens", self.long_total),
        ]
    }
}

impl fmt::Display for Drops {
    /// The reasons that occurred: `12 fewer than two turns, 3 prompt under 4 tokens`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.reasons().into_iter().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = counted.map(|(reason, count)| format!("{count} {reason}")).collect();
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// How far the preparation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A file is being read; it may be read more than once.
    Reading {
        /// Bytes read.
        bytes: u64,
        /// Of this many, where that is known.
        total: Option<u64>,
    },
    /// Prompts are being counted or written.
    Tokenizing {
        /// Requests that are ready.
        done: usize,
        /// Requests that are wanted.
        of: usize,
    },
}

/// Is told how far the preparation is, often and from any thread.
pub type OnProgress<'a> = dyn Fn(Progress) + Sync + 'a;

/// Makes the requests of a run. The same arguments give the same requests; asking for more keeps the first ones.
///
/// This is work for seconds to minutes on all cores: do not call it on a thread that must answer.
///
/// # Errors
/// When the file, the lengths, or the tokenizer will not do; see [`WorkloadError`].
pub fn prepare(
    spec: &spec::Workload,
    seed: u64,
    tokenizer: &Tokenizer,
    progress: &OnProgress<'_>,
) -> Result<Workload, WorkloadError> {
    let job = Job { num_prompts: spec.num_prompts, seed, tokenizer, progress };
    match &spec.dataset {
        Dataset::Sharegpt { path, output_len } => sharegpt::prepare(path.as_deref(), *output_len, &job),
        Dataset::Random(lengths) => random::prepare(lengths, &job),
    }
}

/// What every dataset needs to know.
#[derive(Clone, Copy)]
struct Job<'a> {
    num_prompts: usize,
    seed: u64,
    tokenizer: &'a Tokenizer,
    progress: &'a OnProgress<'a>,
}

#[cfg(test)]
mod tests;
