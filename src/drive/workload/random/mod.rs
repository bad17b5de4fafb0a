//! `random`: prompts of given lengths that no model has seen.
//!
//! The shape is vLLM's (`RandomDataset`): lengths are uniform in a range around the mean; a prompt is a shared prefix
//! followed by consecutive ids of the vocabulary from a random offset, decoded, and driven to its length. The numbers
//! come from our own generator, so a seed does not give vLLM's prompts.

mod ids;
mod words;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt as _;
use rayon::prelude::*;

use super::stream::Stream;
use super::{Job, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::{Drops, Provenance};
use crate::core::spec::RandomLengths;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};
use ids::Ids;
use words::Words;

/// Beyond every context window; a length above it is a slip.
const LONGEST: u64 = 1 << 24;

/// Writes all prompts, in parallel.
pub(super) fn prepare(lengths: &RandomLengths, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let specials = job.tokenizer.specials()?;
    let ranges = Ranges::of(lengths, specials)?;
    let author = Author::new(job.tokenizer, lengths.prefix_len, job.seed)?;
    let draws = draw(&ranges, author.vocabulary(), job.num_prompts, job.seed);
    let done = AtomicUsize::new(0);
    let written: Vec<(Request, bool)> = draws
        .par_iter()
        .enumerate()
        .map(|(index, draw)| {
            let text = author.write(draw, index, job.seed)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (job.progress)(Progress::Tokenizing { done, of: job.num_prompts });
            let exact = text.tokens == lengths.prefix_len + draw.input;
            let prompt_tokens = text.tokens.saturating_add(specials);
            Ok((Request::text(text.text, prompt_tokens, draw.output), exact))
        })
        .collect::<Result<_, TokenizeError>>()?;
    let inexact = written.iter().filter(|(_, exact)| !exact).count();
    let requests = written.into_iter().map(|(request, _)| request).collect();
    Ok(Workload { requests, arrivals: None, provenance: provenance(inexact) })
}

pub(super) fn provenance(inexact: usize) -> Provenance {
    Provenance {
        dataset: "random".into(),
        path: None,
        sha256: None,
        candidates: 0,
        dropped: Drops::default(),
        repeated: 0,
        inexact,
    }
}

/// The lengths that may be drawn, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges {
    input: RangeInclusive<u32>,
    output: RangeInclusive<u32>,
}

impl Ranges {
    /// vLLM's ranges: the special tokens that the tokenizer adds come out of the input length, and no output is empty.
    fn of(lengths: &RandomLengths, specials: u32) -> Result<Self, WorkloadError> {
        let input = around("input", lengths.input_len.saturating_sub(specials), lengths.input_range_ratio)?;
        let output = around("output", lengths.output_len, lengths.output_range_ratio)?;
        if u64::from(lengths.prefix_len) + u64::from(*input.start()) < 1 {
            return Err(WorkloadError::Lengths(format!(
                "an input length of {} with a range ratio of {} allows prompts without a token, {specials} special ones \
                 apart; ask for longer ones",
                lengths.input_len, lengths.input_range_ratio
            )));
        }
        if u64::from(lengths.prefix_len) + u64::from(*input.end()).max((*output.end()).into()) > LONGEST {
            return Err(WorkloadError::Lengths(format!("lengths above {LONGEST} tokens are not made")));
        }
        Ok(Self { input, output: (*output.start()).max(1)..=(*output.end()).max(1) })
    }
}

/// floor(len·(1−r)) ..= ceil(len·(1+r)).
fn around(what: &str, len: u32, ratio: f64) -> Result<RangeInclusive<u32>, WorkloadError> {
    if !(0.0..1.0).contains(&ratio) {
        return Err(WorkloadError::Lengths(format!(
            "the {what} range ratio must be at least 0 and below 1, not {ratio}"
        )));
    }
    let len = f64::from(len);
    Ok((len * (1.0 - ratio)).floor() as u32..=(len * (1.0 + ratio)).ceil() as u32)
}

/// What is drawn for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Draw {
    input: u32,
    output: u32,
    offset: usize,
}

/// Draws for `n` prompts: the one place where their numbers come from.
fn draw(ranges: &Ranges, vocabulary: usize, n: usize, seed: u64) -> Vec<Draw> {
    let mut input = Stream::InputLength.rng(seed);
    let mut output = Stream::OutputLength.rng(seed);
    let mut offset = Stream::Offset.rng(seed);
    let draw = |_| Draw {
        input: input.random_range(ranges.input.clone()),
        output: output.random_range(ranges.output.clone()),
        offset: offset.random_range(0..vocabulary),
    };
    (0..n).map(draw).collect()
}

/// A written text and its length, special tokens not included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    tokens: u32,
}

/// Who writes: where the tokenizer can decode, a walk over its vocabulary; else a walk over a list of words.
enum Author<'a> {
    Ids(Ids<'a>),
    Words(Words<'a>),
}

impl<'a> Author<'a> {
    /// Takes the tokenizer and writes the shared prefix.
    fn new(tokenizer: &'a Tokenizer, prefix_len: u32, seed: u64) -> Result<Self, WorkloadError> {
        let mut rng = Stream::Prefix.rng(seed);
        match tokenizer {
            Tokenizer::Local(local) => Ok(Self::Ids(Ids::new(local, prefix_len, &mut rng)?)),
            Tokenizer::Server(_) | Tokenizer::Estimate => {
                Ok(Self::Words(Words::new(tokenizer, prefix_len, &mut rng)?))
            }
        }
    }

    fn vocabulary(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.vocabulary(),
            Self::Words(words) => words.vocabulary(),
        }
    }

    /// Writes the `index`-th prompt. As in vLLM the index is added to the offset.
    fn write(&self, draw: &Draw, index: usize, seed: u64) -> Result<Text, TokenizeError> {
        let start = draw.offset + index;
        let mut rng = Stream::Padding.rng_of(seed, index);
        match self {
            Self::Ids(ids) => ids.write(start, draw.input, &mut rng),
            Self::Words(words) => words.write(start, draw.input, &mut rng),
        }
    }
}

#[cfg(test)]
mod tests;
