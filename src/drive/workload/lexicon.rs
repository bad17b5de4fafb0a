//! Words of which any sequence has as many tokens as words.
//!
//! A text made of them has an exact length by construction: nothing is encoded again, however long it is, and texts can
//! be put together from parts that are the same in several prompts.

use rand::Rng as _;
use rand::rngs::StdRng;
use rayon::prelude::*;

use super::WorkloadError;
use super::random::WORDS;
use crate::drive::tokenizer::{Local, TokenizeError, Tokenizer};

/// Fewer words than this are too few to write texts that differ.
const FEWEST: usize = 16;
/// More are of no use.
const MOST: usize = 1024;
/// Letters of a word from a vocabulary: short ones make short bodies.
const LETTERS: std::ops::RangeInclusive<usize> = 2..=6;

/// Words that are one token each, whichever of them stand beside them.
#[derive(Debug)]
pub(super) struct Lexicon {
    words: Vec<String>,
    /// The words' tokens behind another word; empty where they are not known.
    ids: Vec<u32>,
    /// Between two words.
    gap: &'static str,
}

impl Lexicon {
    /// Finds the words of a tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, WorkloadError> {
        let words = match tokenizer {
            Tokenizer::Local(local) => vocabulary(local)?,
            Tokenizer::Server(_) | Tokenizer::Estimate => WORDS.map(str::to_owned).into(),
        };
        let letters = || ('a'..='z').map(String::from).collect();
        for (words, gap) in [(words, " "), (letters(), "")] {
            let words = Sieve { tokenizer, gap }.safe(words)?;
            if words.len() >= FEWEST {
                return Self { words, ids: Vec::new(), gap }.with_ids(tokenizer);
            }
        }
        Err(WorkloadError::NoWords(tokenizer.describe().origin))
    }

    fn with_ids(mut self, tokenizer: &Tokenizer) -> Result<Self, WorkloadError> {
        if let Tokenizer::Local(local) = tokenizer {
            let first = self.words[0].clone();
            let ids = local.encode(&[first, self.words.join(self.gap)].join(self.gap))?;
            self.ids = ids.into_iter().skip(1).collect();
        }
        Ok(self)
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// What stands between two words.
    pub fn gap(&self) -> &'static str {
        self.gap
    }

    /// How often its words can be told apart from token ids: not at all where only a server knows them.
    pub fn has_ids(&self) -> bool {
        self.ids.len() == self.words.len()
    }

    /// Draws words without end.
    pub fn draw(&self, mut rng: StdRng) -> impl Iterator<Item = usize> {
        // Two draws from one word of the generator: traces have hundreds of millions of tokens.
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

    /// The text of drawn words: as many tokens as there are.
    pub fn text(&self, drawn: impl Iterator<Item = usize>) -> String {
        let mut text = String::with_capacity(drawn.size_hint().0 * 5);
        for index in drawn {
            if !text.is_empty() {
                text.push_str(self.gap);
            }
            text.push_str(&self.words[index]);
        }
        text
    }

    /// The tokens of drawn words, each as it is behind another.
    pub fn ids(&self, drawn: impl Iterator<Item = usize>) -> Vec<u32> {
        drawn.map(|index| self.ids[index]).collect()
    }
}

/// The short lower-case words of a vocabulary, shortest first.
fn vocabulary(local: &Local) -> Result<Vec<String>, TokenizeError> {
    let read = |id: &u32| Ok(local.decode(&[*id])?.trim().to_owned());
    let mut words: Vec<String> =
        local.ordinary_ids().par_iter().map(read).collect::<Result<_, TokenizeError>>()?;
    words.retain(|word| LETTERS.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    words.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words.truncate(2 * MOST);
    Ok(words)
}

/// Keeps the words that can be counted on.
struct Sieve<'a> {
    tokenizer: &'a Tokenizer,
    gap: &'a str,
}

impl Sieve<'_> {
    fn safe(&self, mut words: Vec<String>) -> Result<Vec<String>, TokenizeError> {
        let single = |word: &String| self.hold(&[word.as_str(), word.as_str()]);
        let mut alone = words.par_iter().map(single).collect::<Result<Vec<bool>, _>>()?.into_iter();
        words.retain(|_| alone.next().unwrap_or_default());
        words.truncate(MOST);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut safe = Vec::new();
        self.sift(&words, &mut safe)?;
        Ok(safe)
    }

    /// Leaves out those that spoil a sequence.
    fn sift(&self, words: &[&str], safe: &mut Vec<String>) -> Result<(), TokenizeError> {
        if self.hold(words)? {
            safe.extend(words.iter().map(|word| (*word).to_owned()));
        } else if words.len() > 1 {
            let (left, right) = words.split_at(words.len() / 2);
            self.sift(left, safe)?;
            self.sift(right, safe)?;
        }
        Ok(())
    }

    /// Whether a sequence has as many tokens as words.
    fn hold(&self, words: &[&str]) -> Result<bool, TokenizeError> {
        Ok(self.tokenizer.count_plain(&words.join(self.gap))? as usize == words.len())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng};

    use super::*;
    use crate::drive::workload::bundled;

    #[test]
    fn any_sequence_of_its_words_has_as_many_tokens_as_words() {
        for tokenizer in [bundled::tokenizer(), Tokenizer::Estimate] {
            let lexicon = Lexicon::of(&tokenizer).unwrap();
            for seed in 0..50 {
                let count = StdRng::seed_from_u64(seed).random_range(1..2000);
                let text = lexicon.text(lexicon.draw(StdRng::seed_from_u64(seed)).take(count));
                assert_eq!(tokenizer.count_plain(&text).unwrap() as usize, count, "{text}");
            }
        }
    }

    #[test]
    fn its_ids_are_the_tokens_of_its_text() {
        let tokenizer = bundled::tokenizer();
        let Tokenizer::Local(local) = &tokenizer else { unreachable!() };
        let lexicon = Lexicon::of(&tokenizer).unwrap();
        let drawn: Vec<usize> = lexicon.draw(StdRng::seed_from_u64(1)).take(500).collect();
        let encoded = local.encode(&lexicon.text(drawn.iter().copied())).unwrap();
        assert_eq!(lexicon.ids(drawn.into_iter())[1..], encoded[1..]);
    }
}
