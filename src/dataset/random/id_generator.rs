//! Writes random prompts from the vocabulary of a tokenizer that can decode.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::{CountedText, DatasetError};
use crate::dataset::retokenizer::Retokenizer;
use crate::tokenizer::{LocalTokenizer, TokenizeError};

/// Maximum number of times that a text is decoded and encoded again to reach its length. The value is vLLM's.
const MAX_ATTEMPTS: usize = 10;
/// Number of random tokens before the walk begins. They make prompts differ in their first block, whatever the server's
/// block size is. Walks alone would repeat if two began at the same place in the vocabulary.
const RANDOM_HEAD_TOKENS: usize = 16;
/// Texts that fill up a prompt whose length random tokens cannot reach. For most tokenizers, at least one of them is a
/// single token.
const FILLERS: [&str; 4] = [" the", " a", "a", "\n"];

/// Writes prompts with the ids of a vocabulary.
pub(in crate::dataset) struct IdGenerator<'a> {
    local: &'a LocalTokenizer,
    speller: Retokenizer<'a>,
    /// The ids of ordinary tokens, ascending.
    ordinary: Vec<u32>,
    /// The ids that begin every prompt.
    prefix: Vec<u32>,
}

impl<'a> IdGenerator<'a> {
    pub(crate) fn new(
        local: &'a LocalTokenizer,
        prefix_len: u32,
        rng: &mut StdRng,
    ) -> Result<Self, DatasetError> {
        let ordinary = local.ordinary_ids();
        if ordinary.is_empty() {
            return Err(super::no_tokens(local));
        }
        let speller = Retokenizer::uncached(local);
        let mut ids = Self { local, speller, ordinary, prefix: Vec::new() };
        let text = ids.fit_length(Vec::new(), prefix_len, rng)?;
        ids.prefix = local.encode(&text.text)?;
        Ok(ids)
    }

    /// Prepares to write walks of `tokens` tokens in total.
    pub(crate) fn prepare_walks(&mut self, tokens: usize) -> Result<(), TokenizeError> {
        self.speller = Retokenizer::with_walk_cache(self.local, &self.ordinary, tokens)?;
        Ok(())
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.ordinary.len()
    }

    /// Replaces the prefix.
    pub(crate) fn set_prefix(&mut self, prefix: &[u32]) {
        self.prefix = prefix.to_vec();
    }

    /// The prefix, some random ids, and consecutive ids from `start`. There are `len` ids after the prefix.
    pub(crate) fn walk_ids(&self, start: usize, len: u32, rng: &mut StdRng) -> Vec<u32> {
        let head = RANDOM_HEAD_TOKENS.min(len as usize);
        let mut ids = self.prefix.clone();
        ids.extend((0..head).filter_map(|_| self.whole_id(rng)));
        let walk = self.ordinary.iter().cycle().skip(start % self.ordinary.len());
        ids.extend(walk.take(len as usize - head));
        ids
    }

    /// Draws an id that decodes to a text on its own. Byte-level vocabularies also contain fragments of characters,
    /// which all decode to the same replacement character.
    fn whole_id(&self, rng: &mut StdRng) -> Option<u32> {
        let is_whole = |id: &u32| self.local.decode(&[*id]).is_ok_and(|text| !text.contains('\u{fffd}'));
        let mut draws =
            std::iter::repeat_with(|| self.ordinary.choose(rng).copied()).take(MAX_ATTEMPTS).flatten();
        let last = draws.next()?;
        if is_whole(&last) { Some(last) } else { draws.find(is_whole).or(Some(last)) }
    }

    /// Decodes [`IdGenerator::walk_ids`] and fits the text to its length.
    pub(crate) fn write(
        &self,
        start: usize,
        len: u32,
        rng: &mut StdRng,
    ) -> Result<CountedText, TokenizeError> {
        let target = self.prefix.len() + len as usize;
        self.fit_length(self.walk_ids(start, len, rng), target as u32, rng)
    }

    /// Writes the prefix and `len` random tokens.
    pub(crate) fn write_random(&self, len: u32, rng: &mut StdRng) -> Result<CountedText, TokenizeError> {
        let target = self.prefix.len() + len as usize;
        self.fit_length(self.prefix.clone(), target as u32, rng)
    }

    /// Decodes and encodes until the length is stable, while it truncates the text or adds random tokens. This is
    /// necessary because neighboring tokens may merge or split when their text is encoded.
    fn fit_length(
        &self,
        mut ids: Vec<u32>,
        target: u32,
        rng: &mut StdRng,
    ) -> Result<CountedText, TokenizeError> {
        let len = target as usize;
        for _ in 0..MAX_ATTEMPTS {
            ids.truncate(len);
            while ids.len() < len {
                ids.extend(self.ordinary.choose(rng));
            }
            let text;
            (text, ids) = self.speller.retokenize(&ids)?;
            if ids.len() == len {
                return Ok(CountedText { text, tokens: target });
            }
        }
        ids.truncate(len);
        self.fit_oscillating(self.local.decode(&ids)?, len)
    }

    /// Fits a text whose length oscillates around the target, for example because it was cut within a character that
    /// has several tokens. It removes characters, then adds fillers. If no attempt is exact, it returns the last,
    /// shorter text.
    fn fit_oscillating(&self, mut text: String, len: usize) -> Result<CountedText, TokenizeError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut tokens = self.local.encode(&text)?.len();
            while tokens > len && !text.is_empty() {
                let rest = text.chars().count().saturating_sub(tokens - len);
                text = text.chars().take(rest).collect();
                tokens = self.local.encode(&text)?.len();
            }
            for filler in FILLERS {
                if let Some(text) = self.fill(&text, filler, len)? {
                    return Ok(CountedText { text, tokens: len as u32 });
                }
            }
            text.pop();
        }
        let tokens = self.local.encode(&text)?.len() as u32;
        Ok(CountedText { text, tokens })
    }

    /// Appends a filler until the text has the target length. Returns `None` if it never does.
    fn fill(&self, text: &str, filler: &str, len: usize) -> Result<Option<String>, TokenizeError> {
        let mut text = text.to_owned();
        for _ in 0..MAX_ATTEMPTS {
            let tokens = self.local.encode(&text)?.len();
            if tokens >= len {
                return Ok((tokens == len).then_some(text));
            }
            text.push_str(&filler.repeat(len - tokens));
        }
        Ok(None)
    }
}
