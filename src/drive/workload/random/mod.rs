//! `random`: prompts of given lengths that no model has seen.
//!
//! The shape is vLLM's (`RandomDataset`): lengths are uniform in a range around the mean; a prompt is a shared prefix
//! followed by consecutive ids of the vocabulary from a random offset, decoded, and driven to its length. With Python's
//! dice the numbers are vLLM's too, and with them its repeats: two prompts of the same offset are one prompt to a prefix cache.
//! Our own dice put random ids between the prefix and the walk, so that no two prompts share a block behind the prefix. A
//! tokenizer that only counts has no ids: its prompts are random words.

mod ids;
mod python;
mod words;

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt as _;
use rayon::prelude::*;

use super::stream::Stream;
use super::{Content, Job, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::Provenance;
use crate::core::rng::{Dice, Generator};
use crate::core::spec::RandomLengths;
use crate::drive::tokenizer::{Local, TokenizeError, Tokenizer};
pub(super) use ids::Ids;
pub(super) use words::WORDS;
use words::Words;

/// Beyond every context window; a length above it is a slip.
const LONGEST: u64 = 1 << 24;

/// Writes all prompts, in parallel where that can be.
pub(super) fn prepare(
    lengths: &RandomLengths,
    job: &Job<'_>,
    dice: &Dice,
) -> Result<Workload, WorkloadError> {
    let specials = job.tokenizer.specials()?;
    if lengths.token_ids && !matches!(job.tokenizer, Tokenizer::Local(_)) {
        return Err(unmakeable(
            "token ids need a tokenizer that can decode; name one with --tokenizer".into(),
        ));
    }
    let ranges = Ranges::of(lengths, specials)?;
    let maker = Maker { lengths, ranges, job, done: AtomicUsize::new(0) };
    let mut prompts = Vec::with_capacity(job.num_prompts);
    let mut author = Author::new(job.tokenizer, lengths.prefix_len, job.seed)?;
    if dice.are_python() {
        prompts = match job.tokenizer {
            Tokenizer::Local(local) => maker.as_python(local, &mut author)?,
            Tokenizer::Server(_) | Tokenizer::Estimate => maker.as_python_in_words(&author)?,
        };
    }
    author.expect(maker.tokens(job.num_prompts - prompts.len()))?;
    let draws = draw(&maker.ranges, author.vocabulary(), job.num_prompts, job.seed);
    prompts.extend(maker.write(&author, &draws, prompts.len()..job.num_prompts)?);
    let inexact = prompts.iter().filter(|prompt| !prompt.exact).count();
    let requests = prompts.into_iter().map(|prompt| prompt.request(specials)).collect();
    let provenance = Provenance { inexact, ..Provenance::generated("random") };
    Ok(Workload { requests, arrivals: None, provenance })
}

fn unmakeable(cause: String) -> WorkloadError {
    WorkloadError::Unmakeable { dataset: "random", cause }
}

fn no_tokens(local: &Local) -> WorkloadError {
    unmakeable(format!("tokenizer {} has no ordinary tokens to write with", local.origin()))
}

/// A prompt that has been made, and whether it has the length that it should have.
struct Prompt {
    content: Content,
    /// Special tokens not included.
    tokens: u32,
    output: u32,
    exact: bool,
}

impl Prompt {
    /// The server adds special tokens to a text, and none to ids.
    fn request(self, specials: u32) -> Request {
        let added = if matches!(self.content, Content::TokenIds(_)) { 0 } else { specials };
        Request::of(self.content, self.tokens.saturating_add(added), self.output)
    }
}

/// Makes prompts and tells how many are done.
struct Maker<'a> {
    lengths: &'a RandomLengths,
    ranges: Ranges,
    job: &'a Job<'a>,
    done: AtomicUsize,
}

impl Maker<'_> {
    /// The measured prompts as vLLM's client writes them. Others are to have its prefix.
    fn as_python(&self, local: &Local, author: &mut Author<'_>) -> Result<Vec<Prompt>, WorkloadError> {
        let mut generator = Generator::new(self.job.seed);
        let draws = python::draw(&self.ranges, local.vocabulary_size(), self.job.measured, &mut generator);
        let writer =
            python::Writer::new(local, generator, self.lengths.prefix_len, self.tokens(draws.len()))?;
        author.begin_with(&writer.prefix);
        if self.lengths.token_ids {
            let ids = draws.iter().enumerate().map(|(index, draw)| writer.ids(draw, index));
            return Ok(ids.zip(&draws).map(|(ids, draw)| self.of_ids(ids, draw)).collect());
        }
        let drafts = writer.write(&draws, &|| self.tell())?;
        let prompt = |(draft, draw): (super::draft::Draft, &Draw)| Prompt {
            tokens: draft.ids.len() as u32,
            exact: draft.is_exact(),
            content: Content::Text(draft.text.into()),
            output: draw.output,
        };
        Ok(drafts.into_iter().zip(&draws).map(prompt).collect())
    }

    /// About how many tokens so many prompts have.
    fn tokens(&self, prompts: usize) -> usize {
        prompts * (self.lengths.prefix_len + self.lengths.input_len) as usize
    }

    /// The measured prompts with the lengths that vLLM's client draws: its texts take a tokenizer that can decode.
    fn as_python_in_words(&self, author: &Author<'_>) -> Result<Vec<Prompt>, WorkloadError> {
        let (measured, mut generator) = (self.job.measured, Generator::new(self.job.seed));
        let draws = python::draw(&self.ranges, author.vocabulary() as u32, measured, &mut generator);
        self.write(author, &draws, 0..measured)
    }

    /// The prompts of these indices, each from a stream of its own.
    fn write(
        &self,
        author: &Author<'_>,
        draws: &[Draw],
        indices: Range<usize>,
    ) -> Result<Vec<Prompt>, WorkloadError> {
        let prompt = |index: usize| {
            let draw = &draws[index];
            if let (true, Author::Ids(ids)) = (self.lengths.token_ids, author) {
                let mut rng = Stream::Padding.rng_of(self.job.seed, index);
                return Ok(self.of_ids(ids.walk(draw.offset + index, draw.input, &mut rng), draw));
            }
            let Text { text, tokens } = author.write(draw, index, self.job.seed)?;
            self.tell();
            let exact = tokens == self.lengths.prefix_len + draw.input;
            Ok(Prompt { content: Content::Text(text.into()), tokens, output: draw.output, exact })
        };
        indices.into_par_iter().map(prompt).collect()
    }

    /// A prompt that is sent as ids: it has the length that it was made with.
    fn of_ids(&self, ids: Vec<u32>, draw: &Draw) -> Prompt {
        self.tell();
        let tokens = ids.len() as u32;
        let exact = tokens == self.lengths.prefix_len + draw.input;
        Prompt { content: Content::TokenIds(ids.into()), tokens, output: draw.output, exact }
    }

    /// One more is done.
    fn tell(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.job.progress)(Progress::Tokenizing { done, of: self.job.num_prompts });
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
            return Err(unmakeable(format!(
                "an input length of {} with a range ratio of {} allows prompts without a token, {specials} special ones \
                 apart; ask for longer ones",
                lengths.input_len, lengths.input_range_ratio
            )));
        }
        if u64::from(lengths.prefix_len) + u64::from(*input.end()).max((*output.end()).into()) > LONGEST {
            return Err(unmakeable(format!("lengths above {LONGEST} tokens are not made")));
        }
        Ok(Self { input, output: (*output.start()).max(1)..=(*output.end()).max(1) })
    }
}

/// floor(len·(1−r)) ..= ceil(len·(1+r)).
fn around(what: &str, len: u32, ratio: f64) -> Result<RangeInclusive<u32>, WorkloadError> {
    if !(0.0..1.0).contains(&ratio) {
        return Err(unmakeable(format!(
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
pub(super) struct Text {
    pub text: String,
    pub tokens: u32,
}

/// Who writes: where the tokenizer can decode, a walk over its vocabulary; else random words.
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

    /// Gets ready to write so many tokens in all.
    fn expect(&mut self, tokens: usize) -> Result<(), TokenizeError> {
        match self {
            Self::Ids(ids) => ids.expect(tokens),
            Self::Words(_) => Ok(()),
        }
    }

    fn vocabulary(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.vocabulary(),
            Self::Words(words) => words.vocabulary(),
        }
    }

    /// Begins prompts with this prefix instead, where they begin with ids.
    fn begin_with(&mut self, prefix: &[u32]) {
        if let Self::Ids(ids) = self {
            ids.begin_with(prefix);
        }
    }

    /// Writes the `index`-th prompt. As in vLLM the index is added to the offset.
    fn write(&self, draw: &Draw, index: usize, seed: u64) -> Result<Text, TokenizeError> {
        let start = draw.offset + index;
        let mut rng = Stream::Padding.rng_of(seed, index);
        match self {
            Self::Ids(ids) => ids.write(start, draw.input, &mut rng),
            Self::Words(words) => words.write(draw.input, &mut rng),
        }
    }
}

#[cfg(test)]
mod tests;
