//! `sharegpt`: the first two turns of conversations, sampled as vLLM does.
//!
//! Rules (`vllm/benchmarks/datasets`, `ShareGPTDataset` and `is_valid_sequence`): entries with at least two turns are
//! shuffled; from the front, those whose lengths are within bounds are taken until there are enough; if there are not
//! enough, taken ones are drawn again. The shuffle is not Python's, so a seed does not give vLLM's sample.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rayon::prelude::*;

use super::conversations;
use super::source::Source;
use super::stream::Stream;
use super::{Job, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Digest;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// A prompt or an output of fewer tokens is not used.
const SHORTEST: u32 = 4;
/// A prompt of more tokens is not used.
const LONGEST_PROMPT: u32 = 1024;
/// A pair of more tokens is not used.
const LONGEST_TOTAL: u32 = 2048;

/// How many conversations are counted at a time: enough to keep the cores busy, few enough not to count in vain.
const BLOCK: usize = 256;

/// Samples requests from a file; without a path, from the bundled conversations.
pub(super) fn prepare(
    path: Option<&Path>,
    output_len: Option<u32>,
    job: &Job<'_>,
) -> Result<Workload, WorkloadError> {
    // About two in three real conversations are within bounds, so the front of the shuffled file is enough almost
    // always, and the rest need not be kept. Where it is not enough, the file is read again and more of it is kept.
    let mut keep = job.num_prompts.saturating_mul(3).saturating_add(BLOCK);
    loop {
        let source = conversations::open(path, job.progress)?;
        let name = source.name.clone();
        let front = Front::read(source, keep, job.seed)?;
        let (mut requests, mut dropped) = pick(&front.pairs, output_len, job)?;
        if requests.len() < job.num_prompts && !front.whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.few_turns = front.few_turns;
        if requests.is_empty() && job.num_prompts > 0 {
            return Err(WorkloadError::Unusable { path: name, candidates: front.candidates, dropped });
        }
        let repeated = repeat(&mut requests, job);
        let provenance = Provenance {
            dataset: "sharegpt".into(),
            path: Some(name),
            sha256: Some(front.digest),
            candidates: front.candidates,
            dropped,
            repeated,
            inexact: 0,
        };
        return Ok(Workload { requests, arrivals: None, provenance });
    }
}

/// A conversation of two turns or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub prompt: Arc<str>,
    pub answer: Box<str>,
}

/// The front of the shuffled file.
struct Front {
    pairs: Vec<Pair>,
    /// Whether it is the whole file.
    whole: bool,
    candidates: usize,
    few_turns: usize,
    digest: Digest,
}

impl Front {
    /// Reads a file and keeps the first `keep` pairs of its shuffled order.
    ///
    /// Every pair draws a number, and the order of the numbers is the shuffled order: it does not depend on how much of
    /// it is kept, and the file need not be in memory.
    fn read(source: Source<'_>, keep: usize, seed: u64) -> Result<Self, WorkloadError> {
        let keep = if source.rereadable { keep } else { usize::MAX };
        let mut rng = Stream::Shuffle.rng(seed);
        let mut kept = BTreeMap::new();
        let (mut candidates, mut few_turns) = (0, 0);
        let digest = conversations::read(source, &mut |conversation| {
            candidates += 1;
            if conversation.turns < 2 {
                few_turns += 1;
                return Ok(());
            }
            let place = (rng.next_u64(), candidates);
            let last = kept.last_key_value().map(|(last, _)| *last);
            if kept.len() < keep || last.is_some_and(|last| place < last) {
                let (prompt, answer) = (conversation.prompt.into(), conversation.answer.into());
                kept.insert(place, Pair { prompt, answer });
            }
            if kept.len() > keep {
                kept.pop_last();
            }
            Ok(())
        })?;
        let whole = kept.len() == candidates - few_turns;
        Ok(Self { pairs: kept.into_values().collect(), whole, candidates, few_turns, digest })
    }
}

/// Takes valid pairs from the front until there are enough. Pairs are counted in parallel blocks; what is beyond the
/// last one taken is not looked at, so the result is that of going one by one.
fn pick(
    pairs: &[Pair],
    output_len: Option<u32>,
    job: &Job<'_>,
) -> Result<(Vec<Request>, Drops), WorkloadError> {
    let (mut requests, mut dropped) = (Vec::new(), Drops::default());
    for block in pairs.chunks(BLOCK) {
        if requests.len() >= job.num_prompts {
            break;
        }
        let lengths: Vec<Lengths> = block
            .par_iter()
            .map(|pair| Lengths::of(pair, output_len, job.tokenizer))
            .collect::<Result<_, _>>()?;
        for (pair, lengths) in block.iter().zip(lengths) {
            if requests.len() >= job.num_prompts {
                break;
            }
            if lengths.accept(output_len.is_some(), &mut dropped) {
                requests.push(lengths.request(pair));
            }
        }
        (job.progress)(Progress::Tokenizing { done: requests.len(), of: job.num_prompts });
    }
    Ok((requests, dropped))
}

/// A pair's lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub prompt: u32,
    pub output: u32,
}

impl Lengths {
    /// Counts both turns, special tokens included, as vLLM does. A forced output length is not counted.
    pub fn of(pair: &Pair, output_len: Option<u32>, tokenizer: &Tokenizer) -> Result<Self, TokenizeError> {
        Ok(Self {
            prompt: tokenizer.count(&pair.prompt)?,
            output: output_len.map_or_else(|| tokenizer.count(&pair.answer), Ok)?,
        })
    }

    /// Whether vLLM's bounds let the pair in; if not, the first reason is counted. A forced output may be short.
    pub fn accept(self, forced_output: bool, dropped: &mut Drops) -> bool {
        let reason = if self.prompt < SHORTEST {
            &mut dropped.short_prompt
        } else if self.output < SHORTEST && !forced_output {
            &mut dropped.short_output
        } else if self.prompt > LONGEST_PROMPT {
            &mut dropped.long_prompt
        } else if self.prompt.saturating_add(self.output) > LONGEST_TOTAL {
            &mut dropped.long_total
        } else {
            return true;
        };
        *reason += 1;
        false
    }

    fn request(self, pair: &Pair) -> Request {
        Request::text(pair.prompt.clone(), self.prompt, self.output)
    }
}

/// Draws from the requests until there are enough, and says how many were added.
fn repeat(requests: &mut Vec<Request>, job: &Job<'_>) -> usize {
    let distinct = requests.len();
    let mut rng = Stream::Repeat.rng(job.seed);
    while requests.len() < job.num_prompts {
        let again = requests[..distinct].choose(&mut rng).cloned();
        requests.extend(again);
    }
    requests.len() - distinct
}
