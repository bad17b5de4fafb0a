//! Random prompts from words, for tokenizers that can only count.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::Text;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// How often a text is counted to reach its length. Each may be a question to the server.
const TRIES: usize = 10;

/// Common words of three letters: with the space before it, each is one token in nearly every vocabulary, and one token
/// in our estimate.
pub(in crate::drive::workload) const WORDS: [&str; 80] = [
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "had", "her", "was", "one", "our",
    "out", "day", "get", "has", "him", "his", "how", "man", "new", "now", "old", "see", "two", "way", "who",
    "boy", "did", "its", "let", "put", "say", "she", "too", "use", "act", "add", "age", "ago", "air", "arm",
    "art", "ask", "bad", "bed", "big", "bit", "box", "buy", "car", "cup", "cut", "dog", "eat", "end", "eye",
    "far", "few", "fly", "fun", "gas", "got", "guy", "hit", "hot", "ice", "job", "key", "kid", "law", "lay",
    "leg", "low", "map", "may", "men",
];

/// Writes with words.
pub(super) struct Words<'a> {
    tokenizer: &'a Tokenizer,
    /// Starts every prompt.
    prefix: Text,
}

impl<'a> Words<'a> {
    pub fn new(tokenizer: &'a Tokenizer, prefix_len: u32, rng: &mut StdRng) -> Result<Self, TokenizeError> {
        let nothing = Text { text: String::new(), tokens: 0 };
        let mut words = Self { tokenizer, prefix: nothing };
        words.prefix = words.drive(Vec::new(), prefix_len, rng)?;
        Ok(words)
    }

    pub fn vocabulary(&self) -> usize {
        WORDS.len()
    }

    /// The prefix and about `len` random words. Each is drawn by itself: walks through so short a list would all begin at one of
    /// 80 places, and the server's prefix cache would know nearly every prompt.
    pub fn write(&self, len: u32, rng: &mut StdRng) -> Result<Text, TokenizeError> {
        let words = (0..len).filter_map(|_| WORDS.choose(rng).copied()).collect();
        self.drive(words, self.prefix.tokens + len, rng)
    }

    /// Counts, then drops words or adds random ones, until the length is met; the nearest text if it never is.
    fn drive(
        &self,
        mut words: Vec<&'static str>,
        target: u32,
        rng: &mut StdRng,
    ) -> Result<Text, TokenizeError> {
        let mut nearest = self.text(&words)?;
        let mut tokens = nearest.tokens;
        for _ in 0..TRIES {
            if tokens == target {
                break;
            }
            // As many words as the difference is worth at the present number of tokens a word.
            let difference = tokens.abs_diff(target) as usize;
            let step = (difference * words.len().max(1) / tokens.max(1) as usize).clamp(1, difference);
            if tokens > target {
                words.truncate(words.len().saturating_sub(step));
            } else {
                words.extend((0..step).filter_map(|_| WORDS.choose(rng)));
            }
            let text = self.text(&words)?;
            tokens = text.tokens;
            if tokens.abs_diff(target) < nearest.tokens.abs_diff(target) {
                nearest = text;
            }
        }
        Ok(nearest)
    }

    fn text(&self, words: &[&str]) -> Result<Text, TokenizeError> {
        let prefix = Some(self.prefix.text.as_str()).filter(|prefix| !prefix.is_empty());
        let text = prefix.into_iter().chain(words.iter().copied()).collect::<Vec<_>>().join(" ");
        Ok(Text { tokens: self.tokenizer.count_plain(&text)?, text })
    }
}
