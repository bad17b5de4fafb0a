//! A prompt on its way to its length, as vLLM's Python client drives it (`gen_prompt_decode_to_target_len`).
//!
//! Neighbouring tokens may merge or fall apart when their text is encoded. So the text is decoded and encoded again, cut or
//! padded with random tokens, until its length stays; and what it is after ten rounds is what it is.

use super::speller::Speller;
use crate::drive::tokenizer::TokenizeError;

/// How often a text is cut or padded.
const TRIES: u32 = 10;

/// A text of tokens that is not yet known to have its length.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    /// Its tokens: as given, then as encoded.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    target: usize,
    tries: u32,
}

impl Draft {
    /// Begins with these tokens.
    pub fn new(ids: Vec<u32>, target: usize) -> Self {
        Self { ids, text: String::new(), target, tries: TRIES }
    }

    /// Goes on until tokens are missing, and says how many; zero when the draft is done.
    pub fn advance(&mut self, speller: &Speller<'_>) -> Result<usize, TokenizeError> {
        loop {
            (self.text, self.ids) = speller.respell(&self.ids)?;
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

    /// Goes on to the end, from where so many tokens are missing.
    pub fn finish(
        &mut self,
        mut missing: usize,
        speller: &Speller<'_>,
        mut draw: impl FnMut() -> u32,
    ) -> Result<(), TokenizeError> {
        while missing > 0 {
            self.ids.extend(std::iter::repeat_with(&mut draw).take(missing));
            missing = self.advance(speller)?;
        }
        Ok(())
    }

    /// Whether it has the length that it should have.
    pub fn is_exact(&self) -> bool {
        self.ids.len() == self.target
    }
}
