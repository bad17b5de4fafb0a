//! Where prompts come from: every request is made before the clock starts, from a file or from a seed.

pub mod bundled;
mod conversations;
mod entries;
mod error;
#[allow(dead_code, reason = "its first readers are on their way")]
mod lines;
mod random;
mod request;
pub mod sessions;
mod sharegpt;
pub mod sharing;
mod source;
pub mod stats;
mod stream;

use std::time::Duration;

use crate::core::dataset::Provenance;
use crate::core::spec::{self, Dataset};
use crate::drive::tokenizer::Tokenizer;

pub use error::{Fault, Format, Place, WorkloadError};
pub use request::{Content, Own, Request, Turn};

/// The requests of a run, in the order in which they are sent, and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// As many as were asked for.
    pub requests: Vec<Request>,
    /// When each is due, from the first: only where the dataset is a trace that tells.
    pub arrivals: Option<Vec<Duration>>,
    /// Where they came from.
    pub provenance: Provenance,
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
        Dataset::SharegptTurns { path, output_len, turns } => {
            sessions::sharegpt(path.as_deref(), *output_len, *turns, &job)
        }
        Dataset::RandomTurns(wanted) => sessions::random(wanted, &job),
        Dataset::Conversations { path, all } => sessions::conversations(path, *all, &job),
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
