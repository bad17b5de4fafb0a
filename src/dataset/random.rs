//! The `random` dataset: random prompts of given lengths.
//!
//! Prompts have the shape of vLLM's `RandomDataset`. Lengths are uniform in a range around the mean. A prompt is a
//! shared prefix followed by a walk, which is a run of consecutive ids of the vocabulary from a random offset. The ids
//! are decoded and fitted to the target length.
//!
//! With the Python-compatible RNG, the drawn numbers equal vLLM's, and so do its repeats: a prefix cache sees two
//! prompts with the same offset as one prompt. The native RNG puts random ids between the prefix and the walk, so that
//! no two prompts share a block after the prefix.
//!
//! A tokenizer that only counts has no ids, so its prompts are random words.

mod id_generator;
mod python_generator;
mod word_generator;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt as _;
use rayon::prelude::*;

use super::sampler::is_admitted;
use super::{DatasetError, PrepareContext, PrepareProgress, PreparedWorkload};
use crate::dataset::length_fitter::LengthFitter;
pub(super) use crate::dataset::random::id_generator::IdGenerator;
pub(super) use crate::dataset::random::word_generator::COMMON_WORDS;
use crate::dataset::random::word_generator::WordGenerator;
use crate::dataset::rng_stream::RngStream;
use crate::model::dataset::Provenance;
use crate::model::request::{Content, Request};
use crate::model::rng::{NumpyGenerator, RunRng};
use crate::model::run_spec::RandomLengths;
use crate::tokenizer::{LocalTokenizer, TokenizeError, Tokenizer};

/// Longer than every context window. A greater length is a mistake.
const MAX_LEN: u64 = 1 << 24;

/// Number of prompts that are written at a time: large enough to keep all cores busy, small enough not to hold all
/// prompts in memory twice.
const BLOCK: usize = 4096;

/// Writes all prompts, in parallel where possible.
pub(super) fn prepare(
    lengths: &RandomLengths,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let specials = job.tokenizer.special_token_count()?;
    if lengths.token_ids && !matches!(job.tokenizer, Tokenizer::Local(_)) {
        return Err(unmakeable(
            "`dataset.token_ids` needs a local tokenizer; name one with `workload.tokenizer`".into(),
        ));
    }
    let ranges = LengthRanges::compute(lengths, specials)?;
    let maker = PromptBuilder { lengths, ranges, job, done: AtomicUsize::new(0) };
    let mut author = PromptGenerator::new(job.tokenizer, lengths.prefix_len, job.seed)?;
    let mut provenance = Provenance::from_generator("random");
    let mut requests = job.request_sink();
    let mut take = |prompts: Vec<RandomPrompt>| {
        for prompt in prompts {
            let off = prompt.off;
            let request = prompt.request(specials);
            if is_admitted(job.bounds, request.prompt_tokens, request.max_tokens, &mut provenance.dropped) {
                provenance.record_length_error(off);
                requests.push(request)?;
            }
        }
        Ok(())
    };
    let native_from = if dice.is_python_compatible() { job.measured } else { 0 };
    match (dice.is_python_compatible(), job.tokenizer) {
        (false, _) => {}
        (true, Tokenizer::Local(local)) => maker.build_python(local, &mut author, &mut take)?,
        (true, Tokenizer::Server(_) | Tokenizer::Estimate) => maker.build_python_words(&author, &mut take)?,
    }
    author.prepare_walks(maker.tokens(job.num_prompts - native_from))?;
    let draws = draw_prompts(&maker.ranges, author.vocabulary(), job.num_prompts, job.seed);
    maker.write_blocks(&author, draws.skip(native_from), native_from, &mut take)?;
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

/// Receives finished prompts.
type PromptFn<'a> = dyn FnMut(Vec<RandomPrompt>) -> Result<(), DatasetError> + 'a;

/// The next block of draws; empty after the last one.
fn next_block(draws: &mut impl Iterator<Item = PromptDraw>) -> Vec<PromptDraw> {
    draws.take(BLOCK).collect()
}

fn unmakeable(cause: String) -> DatasetError {
    DatasetError::Unmakeable { dataset: "random", cause }
}

fn no_tokens(local: &LocalTokenizer) -> DatasetError {
    unmakeable(format!("tokenizer {} has no ordinary tokens to write with", local.origin()))
}

/// A finished prompt.
struct RandomPrompt {
    sent: Sent,
    /// The number of tokens, without special tokens.
    tokens: u32,
    output: u32,
    /// The number of tokens by which the prompt exceeds its target length.
    off: i64,
}

/// The form in which a prompt is sent.
enum Sent {
    Text(String),
    Ids(Vec<u32>),
}

impl RandomPrompt {
    /// Builds the request. The server adds special tokens to a text, but not to token ids.
    ///
    /// The content is copied on the thread that will free it, because memory that another thread allocated stays with
    /// that thread.
    fn request(self, specials: u32) -> Request {
        let (content, added) = match self.sent {
            Sent::Text(text) => (Content::Text(text.into()), specials),
            Sent::Ids(ids) => (Content::TokenIds(ids.into()), 0),
        };
        Request::of(content, self.tokens.saturating_add(added), self.output)
    }
}

/// Makes prompts and reports the progress.
struct PromptBuilder<'a> {
    lengths: &'a RandomLengths,
    ranges: LengthRanges,
    job: &'a PrepareContext<'a>,
    done: AtomicUsize,
}

impl PromptBuilder<'_> {
    /// Writes the measured prompts as vLLM's client does. The spare prompts begin with the same prefix.
    fn build_python(
        &self,
        local: &LocalTokenizer,
        author: &mut PromptGenerator<'_>,
        take: &mut PromptFn<'_>,
    ) -> Result<(), DatasetError> {
        let mut generator = NumpyGenerator::new(self.job.seed);
        let mut draws = python_generator::draw_prompts(
            &self.ranges,
            local.vocabulary_size(),
            self.job.measured,
            &mut generator,
        );
        let mut writer = python_generator::PythonGenerator::new(
            local,
            generator,
            self.lengths.prefix_len,
            self.tokens(self.job.measured),
        )?;
        author.set_prefix(&writer.prefix);
        let mut written = 0;
        loop {
            let block = next_block(&mut draws);
            if block.is_empty() {
                return Ok(());
            }
            take(self.python_block(&mut writer, &block, written)?)?;
            written += block.len();
        }
    }

    /// Writes a block of prompts from an index on, as vLLM's client does.
    fn python_block(
        &self,
        writer: &mut python_generator::PythonGenerator<'_>,
        draws: &[PromptDraw],
        from: usize,
    ) -> Result<Vec<RandomPrompt>, DatasetError> {
        if self.lengths.token_ids {
            let prompt = |(place, draw)| self.ids_prompt(writer.ids(draw, from + place), draw);
            return Ok(draws.iter().enumerate().map(prompt).collect());
        }
        let drafts = writer.write(draws, from, &|| self.report_done())?;
        let prompt = |(draft, draw): (LengthFitter, &PromptDraw)| RandomPrompt {
            tokens: draft.ids.len() as u32,
            off: draft.length_error(),
            sent: Sent::Text(draft.text),
            output: draw.output,
        };
        Ok(drafts.into_iter().zip(draws).map(prompt).collect())
    }

    /// Approximate number of tokens of `prompts` prompts.
    fn tokens(&self, prompts: usize) -> usize {
        prompts * (self.lengths.prefix_len + self.lengths.input_len) as usize
    }

    /// Writes the measured prompts with the lengths that vLLM's client draws. The texts differ from vLLM's, because
    /// those need a tokenizer that can decode.
    fn build_python_words(
        &self,
        author: &PromptGenerator<'_>,
        take: &mut PromptFn<'_>,
    ) -> Result<(), DatasetError> {
        let (measured, mut generator) = (self.job.measured, NumpyGenerator::new(self.job.seed));
        let draws = python_generator::draw_prompts(
            &self.ranges,
            author.vocabulary() as u32,
            measured,
            &mut generator,
        );
        self.write_blocks(author, draws, 0, take)
    }

    /// Writes prompts from an index on, block by block.
    fn write_blocks(
        &self,
        author: &PromptGenerator<'_>,
        mut draws: impl Iterator<Item = PromptDraw>,
        from: usize,
        take: &mut PromptFn<'_>,
    ) -> Result<(), DatasetError> {
        let mut written = from;
        loop {
            let block = next_block(&mut draws);
            if block.is_empty() {
                return Ok(());
            }
            take(self.write(author, &block, written)?)?;
            written += block.len();
        }
    }

    /// Writes the prompts from an index on. Each prompt has its own stream.
    fn write(
        &self,
        author: &PromptGenerator<'_>,
        draws: &[PromptDraw],
        from: usize,
    ) -> Result<Vec<RandomPrompt>, DatasetError> {
        let prompt = |(place, draw): (usize, &PromptDraw)| {
            let index = from + place;
            if let (true, PromptGenerator::Ids(ids)) = (self.lengths.token_ids, author) {
                let mut rng = RngStream::Padding.rng_for_index(self.job.seed, index);
                return Ok(self.ids_prompt(ids.walk_ids(draw.offset + index, draw.input, &mut rng), draw));
            }
            let CountedText { text, tokens } = author.write(draw, index, self.job.seed)?;
            self.report_done();
            let off = self.length_error(tokens, draw);
            Ok(RandomPrompt { sent: Sent::Text(text), tokens, output: draw.output, off })
        };
        draws.par_iter().enumerate().map(prompt).collect()
    }

    /// Builds a prompt that is sent as ids. Its length is exact by construction.
    fn ids_prompt(&self, ids: Vec<u32>, draw: &PromptDraw) -> RandomPrompt {
        self.report_done();
        let tokens = ids.len() as u32;
        let off = self.length_error(tokens, draw);
        RandomPrompt { sent: Sent::Ids(ids), tokens, output: draw.output, off }
    }

    /// The number of tokens by which a prompt exceeds its target length.
    fn length_error(&self, tokens: u32, draw: &PromptDraw) -> i64 {
        i64::from(tokens) - i64::from(self.lengths.prefix_len) - i64::from(draw.input)
    }

    /// Reports one more finished prompt.
    fn report_done(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.job.progress)(PrepareProgress::Tokenizing { done, of: self.job.num_prompts });
    }
}

/// The ranges that lengths are drawn from, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LengthRanges {
    input: RangeInclusive<u32>,
    output: RangeInclusive<u32>,
}

impl LengthRanges {
    /// Computes vLLM's ranges. The special tokens that the tokenizer adds are subtracted from the input length, and
    /// every output has at least one token.
    fn compute(lengths: &RandomLengths, specials: u32) -> Result<Self, DatasetError> {
        let input =
            length_range("input", lengths.input_len.saturating_sub(specials), lengths.input_range_ratio)?;
        let output = length_range("output", lengths.output_len, lengths.output_range_ratio)?;
        if u64::from(lengths.prefix_len) + u64::from(*input.start()) < 1 {
            return Err(unmakeable(format!(
                "an input length of {} with a range ratio of {} allows prompts without a token besides \
                 {specials} special ones; choose a greater length",
                lengths.input_len, lengths.input_range_ratio
            )));
        }
        if u64::from(lengths.prefix_len) + u64::from(*input.end()).max((*output.end()).into()) > MAX_LEN {
            return Err(unmakeable(format!("a length is above the maximum of {MAX_LEN} tokens")));
        }
        Ok(Self { input, output: (*output.start()).max(1)..=(*output.end()).max(1) })
    }
}

/// The range floor(len·(1−r)) ..= ceil(len·(1+r)).
fn length_range(what: &str, len: u32, ratio: f64) -> Result<RangeInclusive<u32>, DatasetError> {
    if !(0.0..1.0).contains(&ratio) {
        return Err(unmakeable(format!(
            "the {what} range ratio must be at least 0 and below 1, not {ratio}"
        )));
    }
    let len = f64::from(len);
    Ok((len * (1.0 - ratio)).floor() as u32..=(len * (1.0 + ratio)).ceil() as u32)
}

/// The random numbers of one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PromptDraw {
    input: u32,
    output: u32,
    offset: usize,
}

/// Draws the numbers of `n` prompts. No other function draws them.
fn draw_prompts(
    ranges: &LengthRanges,
    vocabulary: usize,
    n: usize,
    seed: u64,
) -> impl Iterator<Item = PromptDraw> {
    let mut input = RngStream::InputLength.rng(seed);
    let mut output = RngStream::OutputLength.rng(seed);
    let mut offset = RngStream::Offset.rng(seed);
    let draw = move |_| PromptDraw {
        input: input.random_range(ranges.input.clone()),
        output: output.random_range(ranges.output.clone()),
        offset: offset.random_range(0..vocabulary),
    };
    (0..n).map(draw)
}

/// A text and its number of tokens, without special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CountedText {
    pub text: String,
    pub tokens: u32,
}

/// Writes prompts: walks over the vocabulary if the tokenizer can decode, otherwise random words.
enum PromptGenerator<'a> {
    Ids(IdGenerator<'a>),
    Words(WordGenerator<'a>),
}

impl<'a> PromptGenerator<'a> {
    /// Creates the generator for a tokenizer and writes the shared prefix.
    fn new(tokenizer: &'a Tokenizer, prefix_len: u32, seed: u64) -> Result<Self, DatasetError> {
        let mut rng = RngStream::Prefix.rng(seed);
        match tokenizer {
            Tokenizer::Local(local) => Ok(Self::Ids(IdGenerator::new(local, prefix_len, &mut rng)?)),
            Tokenizer::Server(_) | Tokenizer::Estimate => {
                Ok(Self::Words(WordGenerator::new(tokenizer, prefix_len, &mut rng)?))
            }
        }
    }

    /// Prepares to write walks of `tokens` tokens in total.
    fn prepare_walks(&mut self, tokens: usize) -> Result<(), TokenizeError> {
        match self {
            Self::Ids(ids) => ids.prepare_walks(tokens),
            Self::Words(_) => Ok(()),
        }
    }

    fn vocabulary(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.vocabulary(),
            Self::Words(words) => words.vocabulary(),
        }
    }

    /// Replaces the prefix, if prompts begin with ids.
    fn set_prefix(&mut self, prefix: &[u32]) {
        if let Self::Ids(ids) = self {
            ids.set_prefix(prefix);
        }
    }

    /// Writes the prompt at `index`. As in vLLM, the index is added to the offset.
    fn write(&self, draw: &PromptDraw, index: usize, seed: u64) -> Result<CountedText, TokenizeError> {
        let start = draw.offset + index;
        let mut rng = RngStream::Padding.rng_for_index(seed, index);
        match self {
            Self::Ids(ids) => ids.write(start, draw.input, &mut rng),
            Self::Words(words) => words.write(draw.input, &mut rng),
        }
    }
}

#[cfg(test)]
mod tests;
