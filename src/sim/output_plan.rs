//! The output of the simulated model.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

use super::tokens::Vocabulary;

/// The id of the end-of-sequence token within the scheduler. No vocabulary is this large.
pub(super) const END_OF_SEQUENCE: u32 = u32::MAX;

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SimFinishReason {
    /// The model ended the answer; the end-of-sequence token counts as output and has no text.
    Stop,
    /// The answer reached `max_tokens` or the end of the context.
    Length,
}

impl SimFinishReason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// The limits of an answer's length, in tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct LengthLimits {
    pub min: usize,
    pub max: usize,
    /// Mean of the geometric distribution of the answer's natural end; `None`: it has no natural end.
    pub eos_mean: Option<f64>,
}

/// The planned output of an answer, which is known before its first token since the simulation needs no model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputPlan {
    /// The output's words, as indices into the vocabulary.
    words: Vec<usize>,
    pub finish: SimFinishReason,
}

impl OutputPlan {
    /// Plans the answer to `prompt`. It depends only on prompt and seed, not on earlier requests, so that a run's
    /// token totals are reproducible.
    pub(super) fn new(vocabulary: &Vocabulary, prompt: &[u32], bounds: LengthLimits, seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, prompt).hash(&mut hasher);
        let mut dice = StdRng::seed_from_u64(hasher.finish());
        let natural = bounds.eos_mean.map(|mean| natural_length(mean, dice.random()).max(bounds.min));
        let (finish, words) = match natural {
            Some(length) if length <= bounds.max => (SimFinishReason::Stop, length - 1),
            _ => (SimFinishReason::Length, bounds.max),
        };
        let words = (0..words).map(|_| dice.random_range(0..vocabulary.word_count())).collect();
        Self { words, finish }
    }

    /// The number of output tokens, including the end-of-sequence token.
    pub(super) fn len(&self) -> usize {
        self.words.len() + usize::from(self.finish == SimFinishReason::Stop)
    }

    /// Returns the output's token ids.
    pub(super) fn tokens(&self, vocabulary: &Vocabulary) -> Vec<u32> {
        let end = (self.finish == SimFinishReason::Stop).then_some(END_OF_SEQUENCE);
        self.words.iter().map(|word| vocabulary.word_token(*word)).chain(end).collect()
    }

    /// Returns the ids of the tokens in `range`, without that of the end of the sequence.
    pub(super) fn ids(&self, vocabulary: &Vocabulary, range: Range<usize>) -> Vec<u32> {
        let end = range.end.min(self.words.len());
        self.words[range.start.min(end)..end].iter().map(|word| vocabulary.word_token(*word)).collect()
    }

    /// Returns the text of the `index`-th token, which is empty for the end of the sequence.
    pub(super) fn text<'a>(&self, vocabulary: &'a Vocabulary, index: usize) -> &'a str {
        self.words.get(index).map_or("", |word| vocabulary.word_text(*word))
    }
}

/// Returns a length from the geometric distribution of this mean, given `u` in [0, 1); at least 2, so that a word
/// precedes the end of the sequence.
fn natural_length(mean: f64, u: f64) -> usize {
    let stop_chance = 1.0 / (mean - 1.0).max(1.0);
    let length = 2.0 + ((1.0 - u).ln() / (1.0 - stop_chance).ln()).floor();
    if length.is_finite() { length as usize } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(prompt: u32, bounds: LengthLimits) -> OutputPlan {
        OutputPlan::new(&Vocabulary::new(None).unwrap(), &[prompt], bounds, 1)
    }

    #[test]
    fn without_a_natural_end_an_answer_fills_its_bounds() {
        let plan = plan(1, LengthLimits { min: 0, max: 17, eos_mean: None });
        assert_eq!((plan.len(), plan.finish), (17, SimFinishReason::Length));
    }

    #[test]
    fn natural_ends_have_the_mean_that_was_asked_for() {
        for mean in [2.0, 20.0, 300.0] {
            let bounds = LengthLimits { min: 0, max: 1_000_000, eos_mean: Some(mean) };
            let total: usize = (0..4000).map(|n| plan(n, bounds).len()).sum();
            let found = total as f64 / 4000.0;
            assert!((found / mean - 1.0).abs() < 0.08, "mean {found}, asked for {mean}");
        }
    }

    #[test]
    fn an_answer_that_ends_by_itself_has_a_word_and_an_end_without_text() {
        let vocabulary = Vocabulary::new(None).unwrap();
        for prompt in 0..100 {
            let plan = plan(prompt, LengthLimits { min: 0, max: 1000, eos_mean: Some(3.0) });
            assert_eq!(plan.finish, SimFinishReason::Stop);
            assert!(!plan.text(&vocabulary, 0).is_empty());
            assert_eq!(plan.text(&vocabulary, plan.len() - 1), "");
            assert_eq!(plan.tokens(&vocabulary).len(), plan.len());
        }
    }

    #[test]
    fn the_minimum_holds_back_the_natural_end() {
        let bounds = LengthLimits { min: 50, max: 60, eos_mean: Some(2.0) };
        assert!((0..100).all(|prompt| (50..=60).contains(&plan(prompt, bounds).len())));
    }
}
