//! `prefix_repetition`: a few random prefixes, each shared by many prompts (vLLM's `PrefixRepetitionRandomDataset`).
//!
//! Python draws every token in turn from `np.random`, and goes on with it for the arrivals; it makes as many prompts for
//! each prefix as for the others, and none of a remainder. Our own dice give every prompt a stream of its own, all that are
//! asked for, and exact lengths.

use rayon::prelude::*;

use super::draft::Draft;
use super::random::{Ids, Text};
use super::speller::Speller;
use super::stream::Stream;
use super::{Job, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::Provenance;
use crate::core::rng::{Dice, Globals, RandomState};
use crate::core::spec::PrefixRepetition;
use crate::drive::tokenizer::{Local, Tokenizer};

/// Beyond every context window; a length above it is a slip.
const LONGEST: u64 = 1 << 24;

/// Makes all prompts.
pub(super) fn prepare(
    shape: &PrefixRepetition,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let Tokenizer::Local(local) = job.tokenizer else {
        return Err(unmakeable("needs a tokenizer that can decode; name one with --tokenizer".into()));
    };
    check(shape, job.measured)?;
    let specials = job.tokenizer.specials()?;
    let mut prompts = match dice.python() {
        Some(globals) => Python { shape, job, local }.write(globals)?,
        None => Vec::new(),
    };
    let native_from = if dice.are_python() { job.measured } else { 0 };
    prompts.extend(Native { shape, job, local }.write(native_from..job.num_prompts)?);
    let inexact = prompts.iter().filter(|prompt| !prompt.exact).count();
    let request = |Prompt { text, .. }: Prompt| {
        Request::text(text.text, text.tokens.saturating_add(specials), shape.output_len)
    };
    let requests = prompts.into_iter().map(request).collect();
    let provenance = Provenance { inexact, ..Provenance::generated("prefix_repetition") };
    Ok(Workload { requests, arrivals: None, provenance })
}

fn unmakeable(cause: String) -> WorkloadError {
    WorkloadError::Unmakeable { dataset: "prefix_repetition", cause }
}

fn check(shape: &PrefixRepetition, measured: usize) -> Result<(), WorkloadError> {
    let tokens = u64::from(shape.prefix_len) + u64::from(shape.suffix_len);
    if shape.num_prefixes == 0 || measured < shape.num_prefixes {
        return Err(unmakeable(format!(
            "{measured} prompts cannot share {} prefixes; ask for at least one prefix, and a prompt for each",
            shape.num_prefixes
        )));
    }
    if tokens == 0 || shape.output_len == 0 {
        return Err(unmakeable(
            "prompts and outputs without a token are not made; ask for longer ones".into(),
        ));
    }
    if tokens.max(shape.output_len.into()) > LONGEST {
        return Err(unmakeable(format!("lengths above {LONGEST} tokens are not made")));
    }
    Ok(())
}

/// A prompt, and whether its parts have the lengths that they should have.
struct Prompt {
    text: Text,
    exact: bool,
}

/// What vLLM's client does.
struct Python<'a> {
    shape: &'a PrefixRepetition,
    job: &'a Job<'a>,
    local: &'a Local,
}

impl Python<'_> {
    fn write(&self, globals: &mut Globals) -> Result<Vec<Prompt>, WorkloadError> {
        *globals = Globals::new(self.job.seed);
        let each = self.job.measured / self.shape.num_prefixes;
        let mut written = Vec::with_capacity(each * self.shape.num_prefixes);
        for _ in 0..self.shape.num_prefixes {
            let prefix = self.part(self.shape.prefix_len, &mut globals.numpy)?;
            for _ in 0..each {
                let suffix = self.part(self.shape.suffix_len, &mut globals.numpy)?;
                let exact = prefix.is_exact() && suffix.is_exact();
                written.push(([&prefix.ids[..], &suffix.ids].concat(), exact));
            }
            (self.job.progress)(Progress::Tokenizing { done: written.len(), of: self.job.num_prompts });
        }
        if self.job.draw.shuffle {
            globals.random.shuffle(&mut written);
        }
        // As in vLLM, what the tokens become where the parts meet is not looked at.
        let prompt = |(ids, exact): (Vec<u32>, bool)| {
            let text = Text { text: self.local.decode(&ids)?, tokens: ids.len() as u32 };
            Ok(Prompt { text, exact })
        };
        written.into_par_iter().map(prompt).collect()
    }

    /// A prefix or a suffix, special tokens of the vocabulary among it.
    fn part(&self, len: u32, numpy: &mut RandomState) -> Result<Draft, WorkloadError> {
        let last = self.local.vocabulary_size().checked_sub(1);
        let last = last.ok_or_else(|| unmakeable("the tokenizer has no tokens to write with".into()))?;
        let mut draw = || numpy.integer(&(0..=last));
        let ids = std::iter::repeat_with(&mut draw).take(len as usize).collect();
        let speller = Speller::plain(self.local);
        let mut draft = Draft::new(ids, len as usize);
        let missing = draft.advance(&speller)?;
        draft.finish(missing, &speller, draw)?;
        Ok(draft)
    }
}

/// What we do by ourselves.
struct Native<'a> {
    shape: &'a PrefixRepetition,
    job: &'a Job<'a>,
    local: &'a Local,
}

impl Native<'_> {
    /// The prompts of these indices. Shuffled, they take the prefixes in turn; else one prefix comes after the other.
    fn write(&self, indices: std::ops::Range<usize>) -> Result<Vec<Prompt>, WorkloadError> {
        let (shape, job) = (self.shape, self.job);
        let prefixes = (0..shape.num_prefixes).into_par_iter().map(|index| {
            let mut rng = Stream::Prefix.rng_of(job.seed, index);
            Ids::new(self.local, shape.prefix_len, &mut rng)
        });
        let prefixes = prefixes.collect::<Result<Vec<Ids<'_>>, WorkloadError>>()?;
        let prompt = |index: usize| {
            let prefix = match job.draw.shuffle {
                true => index % shape.num_prefixes,
                false => index * shape.num_prefixes / job.num_prompts,
            };
            let mut rng = Stream::Suffix.rng_of(job.seed, index);
            let text = prefixes[prefix].write_random(shape.suffix_len, &mut rng)?;
            let exact = text.tokens == shape.prefix_len + shape.suffix_len;
            Ok(Prompt { text, exact })
        };
        indices.into_par_iter().map(prompt).collect()
    }
}

#[cfg(test)]
mod tests;
