//! The `prefix_repetition` dataset: a few random prefixes, each shared by many prompts (vLLM's
//! `PrefixRepetitionRandomDataset`).
//!
//! The Python client draws all tokens from `np.random` in sequence, and continues with the same generator for the
//! arrivals. It makes the same number of prompts for each prefix and drops the remainder. The native RNG gives every
//! prompt its own stream, makes all requested prompts, and gives them exact lengths.

use rayon::prelude::*;

use super::random::{CountedText, IdGenerator};
use super::sampler::is_admitted;
use super::{DatasetError, PrepareContext, PrepareProgress, PreparedWorkload};
use crate::dataset::length_fitter::LengthFitter;
use crate::dataset::retokenizer::Retokenizer;
use crate::dataset::rng_stream::RngStream;
use crate::model::dataset::Provenance;
use crate::model::request::{Content, Request};
use crate::model::rng::{NumpyRandomState, PythonRng, RunRng};
use crate::model::run_spec::PrefixRepetition;
use crate::tokenizer::{LocalTokenizer, Tokenizer};

/// Longer than every context window. A greater length is a mistake.
const MAX_LEN: u64 = 1 << 24;

/// Number of prompts that are written at a time: large enough to keep all cores busy, small enough to take little
/// memory.
const PROMPTS_PER_BLOCK: usize = 4096;

/// Makes all prompts.
pub(super) fn prepare(
    shape: &PrefixRepetition,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let Tokenizer::Local(local) = job.tokenizer else {
        return Err(unmakeable("needs a local tokenizer; name one with `workload.tokenizer`".into()));
    };
    check(shape, job.measured)?;
    let specials = job.tokenizer.special_token_count()?;
    let mut provenance = Provenance::from_generator("prefix_repetition");
    let mut requests = job.request_sink();
    let mut take = |prompts: Vec<RepetitionPrompt>| {
        for RepetitionPrompt { text, off } in prompts {
            let request = Request::text(text.text, text.tokens.saturating_add(specials), shape.output_len);
            if is_admitted(job.bounds, request.prompt_tokens, request.max_tokens, &mut provenance.dropped) {
                provenance.record_length_error(off);
                requests.push(request)?;
            }
        }
        Ok(())
    };
    if let Some(globals) = dice.python_mut() {
        PythonPrompts { shape, job, local }.write(globals, &mut take)?;
    }
    let native_from = if dice.is_python_compatible() { job.measured } else { 0 };
    NativePrompts { shape, job, local }.write(native_from..job.num_prompts, &mut take)?;
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

fn unmakeable(cause: String) -> DatasetError {
    DatasetError::Unmakeable { dataset: "prefix_repetition", cause }
}

fn check(shape: &PrefixRepetition, measured: usize) -> Result<(), DatasetError> {
    let tokens = u64::from(shape.prefix_len) + u64::from(shape.suffix_len);
    if shape.num_prefixes == 0 || measured < shape.num_prefixes {
        return Err(unmakeable(format!(
            "{measured} prompts cannot share {} prefixes; choose at least one prefix, and one prompt for each prefix",
            shape.num_prefixes
        )));
    }
    if tokens == 0 || shape.output_len == 0 {
        return Err(unmakeable("a prompt or an output has no tokens; choose greater lengths".into()));
    }
    if tokens.max(shape.output_len.into()) > MAX_LEN {
        return Err(unmakeable(format!("a length is above the maximum of {MAX_LEN} tokens")));
    }
    Ok(())
}

/// Receives finished prompts.
type PromptFn<'a> = dyn FnMut(Vec<RepetitionPrompt>) -> Result<(), DatasetError> + 'a;

/// A prompt, and the number of tokens by which it exceeds its target length.
struct RepetitionPrompt {
    text: CountedText,
    off: i64,
}

/// Makes prompts as vLLM's client does: all tokens are drawn, then the prompts are shuffled.
struct PythonPrompts<'a> {
    shape: &'a PrefixRepetition,
    job: &'a PrepareContext<'a>,
    local: &'a LocalTokenizer,
}

impl PythonPrompts<'_> {
    fn write(&self, globals: &mut PythonRng, take: &mut PromptFn<'_>) -> Result<(), DatasetError> {
        *globals = PythonRng::new(self.job.seed);
        let each = self.job.measured / self.shape.num_prefixes;
        let mut written = self.job.request_sink();
        for _ in 0..self.shape.num_prefixes {
            let prefix = self.part(self.shape.prefix_len, &mut globals.numpy)?;
            for _ in 0..each {
                let suffix = self.part(self.shape.suffix_len, &mut globals.numpy)?;
                let ids = [&prefix.ids[..], &suffix.ids].concat();
                let tokens = ids.len() as u32;
                written.push(Request::of(Content::TokenIds(ids.into()), tokens, self.shape.output_len))?;
            }
            (self.job.progress)(PrepareProgress::Tokenizing {
                done: written.len(),
                of: self.job.num_prompts,
            });
        }
        let written = written.finish()?;
        let mut order: Vec<usize> = (0..written.len()).collect();
        if self.job.draw.shuffle {
            globals.random.shuffle(&mut order);
        }
        let mut reader = written.all().reader();
        for places in order.chunks(PROMPTS_PER_BLOCK) {
            let block: Vec<_> = places.iter().map(|place| reader.get(*place)).collect();
            take(block.par_iter().map(|request| self.prompt(&request.content)).collect::<Result<_, _>>()?)?;
        }
        Ok(())
    }

    /// As in vLLM, tokens that merge or split where prefix and suffix meet are not corrected.
    fn prompt(&self, content: &Content) -> Result<RepetitionPrompt, DatasetError> {
        let Content::TokenIds(ids) = content else { return Err(unmakeable("a prompt has no tokens".into())) };
        let target = i64::from(self.shape.prefix_len) + i64::from(self.shape.suffix_len);
        let text = CountedText { text: self.local.decode(ids)?, tokens: ids.len() as u32 };
        Ok(RepetitionPrompt { text, off: ids.len() as i64 - target })
    }

    /// Draws a prefix or a suffix. It may contain special tokens of the vocabulary.
    fn part(&self, len: u32, numpy: &mut NumpyRandomState) -> Result<LengthFitter, DatasetError> {
        let last = self.local.vocabulary_size().checked_sub(1);
        let last = last.ok_or_else(|| unmakeable("the tokenizer has no tokens to write with".into()))?;
        let mut draw = || numpy.integer(&(0..=last));
        let ids = std::iter::repeat_with(&mut draw).take(len as usize).collect();
        let speller = Retokenizer::uncached(self.local);
        let mut draft = LengthFitter::new(ids, len as usize);
        let missing = draft.advance(&speller)?;
        draft.finish(missing, &speller, draw)?;
        Ok(draft)
    }
}

/// Makes prompts with the native RNG.
struct NativePrompts<'a> {
    shape: &'a PrefixRepetition,
    job: &'a PrepareContext<'a>,
    local: &'a LocalTokenizer,
}

impl NativePrompts<'_> {
    /// Writes the prompts at these indices. If prompts are shuffled, they use the prefixes in turn; otherwise all
    /// prompts of one prefix come before those of the next.
    fn write(&self, indices: std::ops::Range<usize>, take: &mut PromptFn<'_>) -> Result<(), DatasetError> {
        let (shape, job) = (self.shape, self.job);
        let prefixes = (0..shape.num_prefixes).into_par_iter().map(|index| {
            let mut rng = RngStream::Prefix.rng_for_index(job.seed, index);
            IdGenerator::new(self.local, shape.prefix_len, &mut rng)
        });
        let prefixes = prefixes.collect::<Result<Vec<IdGenerator<'_>>, DatasetError>>()?;
        let prompt = |index: usize| {
            let prefix = match job.draw.shuffle {
                true => index % shape.num_prefixes,
                false => index * shape.num_prefixes / job.num_prompts,
            };
            let mut rng = RngStream::Suffix.rng_for_index(job.seed, index);
            let text = prefixes[prefix].write_random(shape.suffix_len, &mut rng)?;
            let off = i64::from(text.tokens) - i64::from(shape.prefix_len) - i64::from(shape.suffix_len);
            Ok(RepetitionPrompt { text, off })
        };
        for begin in indices.clone().step_by(PROMPTS_PER_BLOCK) {
            let block = begin..indices.end.min(begin + PROMPTS_PER_BLOCK);
            take(block.into_par_iter().map(prompt).collect::<Result<_, DatasetError>>()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
