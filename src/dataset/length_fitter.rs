//! Fits a prompt to its target length as vLLM's Python client does (`gen_prompt_decode_to_target_len`).
//!
//! Neighboring tokens may merge or split when their text is encoded. The text is therefore decoded and encoded again,
//! then truncated or padded with random tokens, until its length is stable. After ten rounds, the prompt keeps whatever
//! length it has.

use crate::dataset::retokenizer::Retokenizer;
use crate::tokenizer::TokenizeError;

/// Maximum number of rounds in which a text is truncated or padded.
const MAX_ATTEMPTS: u32 = 10;

/// A prompt that is being fitted to its target length.
#[derive(Debug, Clone, Default)]
pub(super) struct LengthFitter {
    /// The tokens: first as given, then as encoded.
    pub ids: Vec<u32>,
    /// The text of the tokens.
    pub text: String,
    target: usize,
    tries: u32,
}

impl LengthFitter {
    /// Starts with these tokens.
    pub(super) fn new(ids: Vec<u32>, target: usize) -> Self {
        Self { ids, text: String::new(), target, tries: MAX_ATTEMPTS }
    }

    /// Continues until tokens are missing, and returns their number. Returns zero when the prompt is finished.
    pub(super) fn advance(&mut self, speller: &Retokenizer<'_>) -> Result<usize, TokenizeError> {
        loop {
            (self.text, self.ids) = speller.retokenize(&self.ids)?;
            if self.tries == 0 || self.ids.len() == self.target {
                return Ok(0);
            }
            self.tries -= 1;
            if self.ids.len() < self.target {
                return Ok(self.target - self.ids.len());
            }
            self.ids.truncate(self.target);
        }
    }

    /// Continues to the end. `missing` is the number of tokens that are missing now.
    pub(super) fn finish(
        &mut self,
        mut missing: usize,
        speller: &Retokenizer<'_>,
        mut draw: impl FnMut() -> u32,
    ) -> Result<(), TokenizeError> {
        while missing > 0 {
            self.ids.extend(std::iter::repeat_with(&mut draw).take(missing));
            missing = self.advance(speller)?;
        }
        Ok(())
    }

    /// Number of tokens above the target length; negative if the prompt is shorter.
    pub(super) fn length_error(&self) -> i64 {
        self.ids.len() as i64 - self.target as i64
    }
}
