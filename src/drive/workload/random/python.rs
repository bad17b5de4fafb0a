//! What vLLM's Python client writes at the same seed.
//!
//! One generator serves all prompts: three vectors first, then the tokens that pad the prefix, then those that pad the
//! prompts, in their order. So prompts that need none are written in parallel, and only the others wait for each other.

use rayon::prelude::*;

use super::{Draw, Ranges};
use crate::core::rng::Generator;
use crate::drive::tokenizer::{Local, TokenizeError};
use crate::drive::workload::WorkloadError;
use crate::drive::workload::draft::Draft;
use crate::drive::workload::speller::Speller;

/// Draws for `n` prompts.
pub(super) fn draw(ranges: &Ranges, vocabulary: u32, n: usize, generator: &mut Generator) -> Vec<Draw> {
    let offsets = 0..=vocabulary.saturating_sub(1);
    let mut vector = |range| (0..n).map(|_| generator.integer(range)).collect::<Vec<_>>();
    let (inputs, outputs, offsets) = (vector(&ranges.input), vector(&ranges.output), vector(&offsets));
    let draws = inputs.into_iter().zip(outputs).zip(offsets);
    draws.map(|((input, output), offset)| Draw { input, output, offset: offset as usize }).collect()
}

/// Writes with the ids of a vocabulary.
pub(super) struct Writer<'a> {
    speller: Speller<'a>,
    generator: Generator,
    /// The ids that prompts begin with, ascending. Padding draws from the whole vocabulary.
    allowed: Vec<u32>,
    vocabulary: u32,
    /// What all prompts begin with, and how long it should be.
    pub prefix: Vec<u32>,
    prefix_len: usize,
}

impl<'a> Writer<'a> {
    /// Takes over the generator after the vectors have been drawn, and writes the prefix.
    /// `tokens` is about how many it will write.
    pub fn new(
        local: &'a Local,
        generator: Generator,
        prefix_len: u32,
        tokens: usize,
    ) -> Result<Self, WorkloadError> {
        let (vocabulary, allowed) = (local.vocabulary_size(), local.unspecial_ids());
        if allowed.is_empty() {
            return Err(super::no_tokens(local));
        }
        let prefix_len = prefix_len as usize;
        let speller = Speller::for_walks(local, &allowed, tokens)?;
        let mut writer = Self { speller, generator, allowed, vocabulary, prefix: Vec::new(), prefix_len };
        if prefix_len > 0 {
            let places = 0..=writer.allowed.len() as u32 - 1;
            let ids = (0..prefix_len).map(|_| writer.allowed[writer.generator.integer(&places) as usize]);
            let mut draft = Draft::new(ids.collect(), prefix_len);
            let missing = draft.advance(&writer.speller)?;
            writer.finish(&mut draft, missing)?;
            writer.prefix = draft.ids;
        }
        Ok(writer)
    }

    /// The ids of the `index`-th prompt, before anything is done about its length.
    pub fn ids(&self, draw: &Draw, index: usize) -> Vec<u32> {
        let walk = self.allowed.iter().cycle().skip((draw.offset + index) % self.allowed.len());
        self.prefix.iter().chain(walk.take(draw.input as usize)).copied().collect()
    }

    /// Writes all prompts; `told` hears of each that is done.
    pub fn write(mut self, draws: &[Draw], told: &(dyn Fn() + Sync)) -> Result<Vec<Draft>, TokenizeError> {
        let begun = draws.par_iter().enumerate().map(|(index, draw)| {
            let mut draft = Draft::new(self.ids(draw, index), self.prefix_len + draw.input as usize);
            let missing = draft.advance(&self.speller)?;
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

    fn finish(&mut self, draft: &mut Draft, missing: usize) -> Result<(), TokenizeError> {
        let all = 0..=self.vocabulary.saturating_sub(1);
        draft.finish(missing, &self.speller, || self.generator.integer(&all))
    }
}
