//! Words that are always one token each, in any sequence.
//!
//! A text made of these words has an exact length by construction. It need not be encoded again, however long it is,
//! and prompts can be assembled from parts that they share.

use rand::Rng as _;
use rand::rngs::StdRng;
use rayon::prelude::*;

use super::DatasetError;
use super::random::COMMON_WORDS;
use crate::tokenizer::{LocalTokenizer, TokenizeError, Tokenizer};

/// With fewer words, texts would not differ enough.
const MIN_WORDS: usize = 16;
/// More words bring no benefit.
const MAX_WORDS: usize = 1024;
/// Number of letters of a vocabulary word. Short words keep request bodies small.
const WORD_LETTERS: std::ops::RangeInclusive<usize> = 2..=6;

/// Words that are one token each, regardless of the neighboring words.
#[derive(Debug)]
pub(super) struct SingleTokenWords {
    words: Vec<String>,
    /// The token of each word when it follows another word; empty if the tokens are unknown.
    ids: Vec<u32>,
    /// The text between two words.
    gap: &'static str,
}

impl SingleTokenWords {
    /// Finds such words for a tokenizer.
    pub(super) fn from_tokenizer(tokenizer: &Tokenizer) -> Result<Self, DatasetError> {
        let words = match tokenizer {
            Tokenizer::Local(local) => vocabulary(local)?,
            Tokenizer::Server(_) | Tokenizer::Estimate => COMMON_WORDS.map(str::to_owned).into(),
        };
        let letters = || ('a'..='z').map(String::from).collect();
        for (words, gap) in [(words, " "), (letters(), "")] {
            let words = WordFilter { tokenizer, gap }.filter_safe(words)?;
            if words.len() >= MIN_WORDS {
                return Self { words, ids: Vec::new(), gap }.with_ids(tokenizer);
            }
        }
        Err(DatasetError::NoWords(tokenizer.describe().origin))
    }

    fn with_ids(mut self, tokenizer: &Tokenizer) -> Result<Self, DatasetError> {
        if let Tokenizer::Local(local) = tokenizer {
            let first = self.words[0].clone();
            let ids = local.encode(&[first, self.words.join(self.gap)].join(self.gap))?;
            self.ids = ids.into_iter().skip(1).collect();
        }
        Ok(self)
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The text between two words.
    pub(super) fn separator(&self) -> &'static str {
        self.gap
    }

    /// Whether the words' token ids are known. They are not if only a server can tokenize.
    pub(super) fn has_ids(&self) -> bool {
        self.ids.len() == self.words.len()
    }

    /// Draws words without end.
    pub(super) fn draw(&self, mut rng: StdRng) -> impl Iterator<Item = usize> {
        // One number of the generator gives two draws, because traces have hundreds of millions of tokens.
        let bound = self.words.len() as u64;
        let mut spare = None;
        std::iter::repeat_with(move || {
            let bits = spare.take().unwrap_or_else(|| {
                let both = rng.next_u64();
                spare = Some(both >> 32);
                both & u64::from(u32::MAX)
            });
            ((bits * bound) >> 32) as usize
        })
    }

    /// The text of the drawn words. It has one token for each word.
    pub(super) fn text(&self, drawn: impl Iterator<Item = usize>) -> String {
        let mut text = String::with_capacity(drawn.size_hint().0 * 5);
        for index in drawn {
            if !text.is_empty() {
                text.push_str(self.gap);
            }
            text.push_str(&self.words[index]);
        }
        text
    }

    /// The tokens of the drawn words. Each is the token that the word has after another word.
    pub(super) fn ids(&self, drawn: impl Iterator<Item = usize>) -> Vec<u32> {
        drawn.map(|index| self.ids[index]).collect()
    }
}

/// The short lower-case words of a vocabulary, shortest first.
fn vocabulary(local: &LocalTokenizer) -> Result<Vec<String>, TokenizeError> {
    let read = |id: &u32| Ok(local.decode(&[*id])?.trim().to_owned());
    let mut words: Vec<String> =
        local.ordinary_ids().par_iter().map(read).collect::<Result<_, TokenizeError>>()?;
    words.retain(|word| {
        WORD_LETTERS.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    words.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words.truncate(2 * MAX_WORDS);
    Ok(words)
}

/// Keeps the words that are always one token.
struct WordFilter<'a> {
    tokenizer: &'a Tokenizer,
    gap: &'a str,
}

impl WordFilter<'_> {
    fn filter_safe(&self, mut words: Vec<String>) -> Result<Vec<String>, TokenizeError> {
        let single = |word: &String| self.is_stable_sequence(&[word.as_str(), word.as_str()]);
        let mut alone = words.par_iter().map(single).collect::<Result<Vec<bool>, _>>()?.into_iter();
        words.retain(|_| alone.next().unwrap_or_default());
        words.truncate(MAX_WORDS);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut safe = Vec::new();
        self.filter_sequence(&words, &mut safe)?;
        Ok(safe)
    }

    /// Removes the words that change the token count of the sequence.
    fn filter_sequence(&self, words: &[&str], safe: &mut Vec<String>) -> Result<(), TokenizeError> {
        if self.is_stable_sequence(words)? {
            safe.extend(words.iter().map(|word| (*word).to_owned()));
        } else if words.len() > 1 {
            let (left, right) = words.split_at(words.len() / 2);
            self.filter_sequence(left, safe)?;
            self.filter_sequence(right, safe)?;
        }
        Ok(())
    }

    /// Whether a sequence has one token for each word.
    fn is_stable_sequence(&self, words: &[&str]) -> Result<bool, TokenizeError> {
        Ok(self.tokenizer.count_plain(&words.join(self.gap))? as usize == words.len())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng};

    use super::*;
    use crate::dataset::bundled;

    #[test]
    fn any_sequence_of_its_words_has_as_many_tokens_as_words() {
        for tokenizer in [bundled::tokenizer(), Tokenizer::Estimate] {
            let words = SingleTokenWords::from_tokenizer(&tokenizer).unwrap();
            for seed in 0..50 {
                let count = StdRng::seed_from_u64(seed).random_range(1..2000);
                let text = words.text(words.draw(StdRng::seed_from_u64(seed)).take(count));
                assert_eq!(tokenizer.count_plain(&text).unwrap() as usize, count, "{text}");
            }
        }
    }

    #[test]
    fn its_ids_are_the_tokens_of_its_text() {
        let tokenizer = bundled::tokenizer();
        let Tokenizer::Local(local) = &tokenizer else { unreachable!() };
        let words = SingleTokenWords::from_tokenizer(&tokenizer).unwrap();
        let drawn: Vec<usize> = words.draw(StdRng::seed_from_u64(1)).take(500).collect();
        let encoded = local.encode(&words.text(drawn.iter().copied())).unwrap();
        assert_eq!(words.ids(drawn.into_iter())[1..], encoded[1..]);
    }
}
