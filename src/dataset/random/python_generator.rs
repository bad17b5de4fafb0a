//! Writes the same prompts as vLLM's Python client at the same seed.
//!
//! One generator serves all prompts. It draws three vectors first, then the tokens that pad the prefix, then the tokens
//! that pad the prompts, in order. Prompts that need no padding are therefore written in parallel, and only the others
//! are written in sequence.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::{LengthRanges, PromptDraw};
use crate::dataset::DatasetError;
use crate::dataset::length_fitter::LengthFitter;
use crate::dataset::retokenizer::Retokenizer;
use crate::model::rng::NumpyGenerator;
use crate::tokenizer::{LocalTokenizer, TokenizeError};

/// Draws the numbers of `n` prompts. As numpy does, the generator draws all input lengths first, then all output
/// lengths, then all offsets. A copy of the generator goes through each, so that none of the numbers is kept.
pub(super) fn draw_prompts(
    ranges: &LengthRanges,
    vocabulary: u32,
    n: usize,
    generator: &mut NumpyGenerator,
) -> impl Iterator<Item = PromptDraw> + use<> {
    let mut vector = |range: RangeInclusive<u32>| {
        let mut copy = generator.clone();
        (0..n).for_each(|_| {
            generator.integer(&range);
        });
        std::iter::repeat_with(move || copy.integer(&range))
    };
    let (inputs, outputs) = (vector(ranges.input.clone()), vector(ranges.output.clone()));
    let draws = inputs.zip(outputs).zip(vector(0..=vocabulary.saturating_sub(1)));
    draws.take(n).map(|((input, output), offset)| PromptDraw { input, output, offset: offset as usize })
}

/// Writes prompts with the ids of a vocabulary.
pub(super) struct PythonGenerator<'a> {
    speller: Retokenizer<'a>,
    generator: NumpyGenerator,
    /// The ids that prompts can begin with, ascending. Padding draws from the whole vocabulary.
    allowed: Vec<u32>,
    vocabulary: u32,
    /// The ids that begin all prompts.
    pub prefix: Vec<u32>,
    prefix_len: usize,
}

impl<'a> PythonGenerator<'a> {
    /// Takes the generator after the vectors have been drawn, and writes the prefix. `tokens` is the approximate number
    /// of tokens to write.
    pub(super) fn new(
        local: &'a LocalTokenizer,
        generator: NumpyGenerator,
        prefix_len: u32,
        tokens: usize,
    ) -> Result<Self, DatasetError> {
        let (vocabulary, allowed) = (local.vocabulary_size(), local.non_special_ids());
        if allowed.is_empty() {
            return Err(super::no_tokens(local));
        }
        let prefix_len = prefix_len as usize;
        let speller = Retokenizer::with_walk_cache(local, &allowed, tokens)?;
        let mut writer = Self { speller, generator, allowed, vocabulary, prefix: Vec::new(), prefix_len };
        if prefix_len > 0 {
            let places = 0..=writer.allowed.len() as u32 - 1;
            let ids = (0..prefix_len).map(|_| writer.allowed[writer.generator.integer(&places) as usize]);
            let mut draft = LengthFitter::new(ids.collect(), prefix_len);
            let missing = draft.advance(&writer.speller)?;
            writer.finish(&mut draft, missing)?;
            writer.prefix = draft.ids;
        }
        Ok(writer)
    }

    /// The ids of the prompt at `index`, before it is fitted to its length.
    pub(super) fn ids(&self, draw: &PromptDraw, index: usize) -> Vec<u32> {
        let walk = self.allowed.iter().cycle().skip((draw.offset + index) % self.allowed.len());
        self.prefix.iter().chain(walk.take(draw.input as usize)).copied().collect()
    }

    /// Writes the next prompts, from an index on. It calls the callback once for each finished prompt.
    pub(super) fn write(
        &mut self,
        draws: &[PromptDraw],
        from: usize,
        told: &(dyn Fn() + Sync),
    ) -> Result<Vec<LengthFitter>, TokenizeError> {
        let this = &*self;
        let begun = draws.par_iter().enumerate().map(|(place, draw)| {
            let length = this.prefix_len + draw.input as usize;
            let mut draft = LengthFitter::new(this.ids(draw, from + place), length);
            let missing = draft.advance(&this.speller)?;
            if missing == 0 {
                told();
            }
            Ok((draft, missing))
        });
        let mut begun = begun.collect::<Result<Vec<_>, TokenizeError>>()?;
        for (draft, missing) in begun.iter_mut().filter(|(_, missing)| *missing > 0) {
            self.finish(draft, *missing)?;
            told();
        }
        Ok(begun.into_iter().map(|(draft, _)| draft).collect())
    }

    fn finish(&mut self, draft: &mut LengthFitter, missing: usize) -> Result<(), TokenizeError> {
        let all = 0..=self.vocabulary.saturating_sub(1);
        draft.finish(missing, &self.speller, || self.generator.integer(&all))
    }
}
