//! Writes random prompts from words, for tokenizers that can only count.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::CountedText;
use crate::tokenizer::{TokenizeError, Tokenizer};

/// Maximum number of times that a text is counted to reach its length. Each count may be a request to the server.
const MAX_ATTEMPTS: usize = 10;

/// Common words of three letters. With the space before it, each word is one token in nearly every vocabulary, and one
/// token in our estimate.
pub(in crate::dataset) const COMMON_WORDS: [&str; 80] = [
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "had", "her", "was", "one", "our",
    "out", "day", "get", "has", "him", "his", "how", "man", "new", "now", "old", "see", "two", "way", "who",
    "boy", "did", "its", "let", "put", "say", "she", "too", "use", "act", "add", "age", "ago", "air", "arm",
    "art", "ask", "bad", "bed", "big", "bit", "box", "buy", "car", "cup", "cut", "dog", "eat", "end", "eye",
    "far", "few", "fly", "fun", "gas", "got", "guy", "hit", "hot", "ice", "job", "key", "kid", "law", "lay",
    "leg", "low", "map", "may", "men",
];

/// Writes prompts with words.
pub(super) struct WordGenerator<'a> {
    tokenizer: &'a Tokenizer,
    /// The text that begins every prompt.
    prefix: CountedText,
}

impl<'a> WordGenerator<'a> {
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        prefix_len: u32,
        rng: &mut StdRng,
    ) -> Result<Self, TokenizeError> {
        let nothing = CountedText { text: String::new(), tokens: 0 };
        let mut words = Self { tokenizer, prefix: nothing };
        words.prefix = words.fit_length(Vec::new(), prefix_len, rng)?;
        Ok(words)
    }

    pub(super) fn vocabulary(&self) -> usize {
        COMMON_WORDS.len()
    }

    /// Writes the prefix and about `len` random words. Each word is drawn independently: walks through this short list
    /// would all begin at one of 80 places, and the server's prefix cache would contain nearly every prompt.
    pub(super) fn write(&self, len: u32, rng: &mut StdRng) -> Result<CountedText, TokenizeError> {
        let words = (0..len).filter_map(|_| COMMON_WORDS.choose(rng).copied()).collect();
        self.fit_length(words, self.prefix.tokens + len, rng)
    }

    /// Counts the text, then removes words or adds random ones, until it has the target length. Returns the nearest
    /// text if it never does.
    fn fit_length(
        &self,
        mut words: Vec<&'static str>,
        target: u32,
        rng: &mut StdRng,
    ) -> Result<CountedText, TokenizeError> {
        let mut nearest = self.text(&words)?;
        let mut tokens = nearest.tokens;
        for _ in 0..MAX_ATTEMPTS {
            if tokens == target {
                break;
            }
            // Converts the difference to words at the current number of tokens per word.
            let difference = tokens.abs_diff(target) as usize;
            let step = (difference * words.len().max(1) / tokens.max(1) as usize).clamp(1, difference);
            if tokens > target {
                words.truncate(words.len().saturating_sub(step));
            } else {
                words.extend((0..step).filter_map(|_| COMMON_WORDS.choose(rng)));
            }
            let text = self.text(&words)?;
            tokens = text.tokens;
            if tokens.abs_diff(target) < nearest.tokens.abs_diff(target) {
                nearest = text;
            }
        }
        Ok(nearest)
    }

    fn text(&self, words: &[&str]) -> Result<CountedText, TokenizeError> {
        let prefix = Some(self.prefix.text.as_str()).filter(|prefix| !prefix.is_empty());
        let text = prefix.into_iter().chain(words.iter().copied()).collect::<Vec<_>>().join(" ");
        Ok(CountedText { tokens: self.tokenizer.count_plain(&text)?, text })
    }
}
