//! Random prompts from the vocabulary of a tokenizer that can decode.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::{Text, WorkloadError};
use crate::drive::tokenizer::{Local, TokenizeError};
use crate::drive::workload::speller::Speller;

/// How often a text is decoded and encoded again to reach its length: vLLM's number.
const TRIES: usize = 10;
/// How many tokens of a prompt are drawn one by one before the walk begins. Prompts then differ in their first block, whatever the
/// server's block size; walks alone would repeat where two begin at the same place of the vocabulary.
const HEAD: usize = 16;
/// What fills a text that cannot be reached with random tokens: somewhere among these most tokenizers have one token.
const FILLERS: [&str; 4] = [" the", " a", "a", "\n"];

/// Writes with the ids of a vocabulary.
pub(in crate::drive::workload) struct Ids<'a> {
    local: &'a Local,
    speller: Speller<'a>,
    /// Ascending.
    ordinary: Vec<u32>,
    /// Starts every prompt.
    prefix: Vec<u32>,
}

impl<'a> Ids<'a> {
    pub fn new(local: &'a Local, prefix_len: u32, rng: &mut StdRng) -> Result<Self, WorkloadError> {
        let ordinary = local.ordinary_ids();
        if ordinary.is_empty() {
            return Err(super::no_tokens(local));
        }
        let speller = Speller::plain(local);
        let mut ids = Self { local, speller, ordinary, prefix: Vec::new() };
        let text = ids.drive(Vec::new(), prefix_len, rng)?;
        ids.prefix = local.encode(&text.text)?;
        Ok(ids)
    }

    /// Gets ready to write so many tokens in all.
    pub fn expect(&mut self, tokens: usize) -> Result<(), TokenizeError> {
        self.speller = Speller::for_walks(self.local, &self.ordinary, tokens)?;
        Ok(())
    }

    pub fn vocabulary(&self) -> usize {
        self.ordinary.len()
    }

    /// Begins prompts with this prefix instead.
    pub fn begin_with(&mut self, prefix: &[u32]) {
        self.prefix = prefix.to_vec();
    }

    /// The prefix, some random ids, and consecutive ids from `start`: `len` behind the prefix.
    pub fn walk(&self, start: usize, len: u32, rng: &mut StdRng) -> Vec<u32> {
        let head = HEAD.min(len as usize);
        let mut ids = self.prefix.clone();
        ids.extend((0..head).filter_map(|_| self.whole_id(rng)));
        let walk = self.ordinary.iter().cycle().skip(start % self.ordinary.len());
        ids.extend(walk.take(len as usize - head));
        ids
    }

    /// A random id that is a text by itself: the pieces of characters that byte-level vocabularies have all decode to the same
    /// replacement character.
    fn whole_id(&self, rng: &mut StdRng) -> Option<u32> {
        let is_whole = |id: &u32| self.local.decode(&[*id]).is_ok_and(|text| !text.contains('\u{fffd}'));
        let mut draws = std::iter::repeat_with(|| self.ordinary.choose(rng).copied()).take(TRIES).flatten();
        let last = draws.next()?;
        if is_whole(&last) { Some(last) } else { draws.find(is_whole).or(Some(last)) }
    }

    /// The text of [`Ids::walk`], driven to its length.
    pub fn write(&self, start: usize, len: u32, rng: &mut StdRng) -> Result<Text, TokenizeError> {
        let target = self.prefix.len() + len as usize;
        self.drive(self.walk(start, len, rng), target as u32, rng)
    }

    /// The prefix and `len` random tokens.
    pub fn write_random(&self, len: u32, rng: &mut StdRng) -> Result<Text, TokenizeError> {
        let target = self.prefix.len() + len as usize;
        self.drive(self.prefix.clone(), target as u32, rng)
    }

    /// Neighbours in a vocabulary merge or fall apart when their text is encoded: decode and encode until the length
    /// stays, cutting what is too much and adding random tokens for what is missing.
    fn drive(&self, mut ids: Vec<u32>, target: u32, rng: &mut StdRng) -> Result<Text, TokenizeError> {
        let len = target as usize;
        for _ in 0..TRIES {
            ids.truncate(len);
            while ids.len() < len {
                ids.extend(self.ordinary.choose(rng));
            }
            let text;
            (text, ids) = self.speller.respell(&ids)?;
            if ids.len() == len {
                return Ok(Text { text, tokens: target });
            }
        }
        ids.truncate(len);
        self.settle(self.local.decode(&ids)?, len)
    }

    /// For texts that swing around their length, such as those cut within a character of several tokens: shorten by
    /// characters, then fill. If nothing fits, the nearest shorter text is what there is.
    fn settle(&self, mut text: String, len: usize) -> Result<Text, TokenizeError> {
        for _ in 0..TRIES {
            let mut tokens = self.local.encode(&text)?.len();
            while tokens > len && !text.is_empty() {
                let rest = text.chars().count().saturating_sub(tokens - len);
                text = text.chars().take(rest).collect();
                tokens = self.local.encode(&text)?.len();
            }
            for filler in FILLERS {
                if let Some(text) = self.fill(&text, filler, len)? {
                    return Ok(Text { text, tokens: len as u32 });
                }
            }
            text.pop();
        }
        let tokens = self.local.encode(&text)?.len() as u32;
        Ok(Text { text, tokens })
    }

    /// Appends a filler until the length is met, if it can be met.
    fn fill(&self, text: &str, filler: &str, len: usize) -> Result<Option<String>, TokenizeError> {
        let mut text = text.to_owned();
        for _ in 0..TRIES {
            let tokens = self.local.encode(&text)?.len();
            if tokens >= len {
                return Ok((tokens == len).then_some(text));
            }
            text.push_str(&filler.repeat(len - tokens));
        }
        Ok(None)
    }
}
