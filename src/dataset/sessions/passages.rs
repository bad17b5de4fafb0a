//! Cuts passages of a given approximate token count from a long text, at word boundaries.

use crate::tokenizer::{TokenizeError, Tokenizer};

/// Maximum number of times that a passage is counted to reach its length. Each count may be a request to the server.
const MAX_ATTEMPTS: usize = 8;

/// A long text that passages are cut from.
pub(super) struct PassageSource<'a> {
    words: Vec<&'a str>,
    tokenizer: &'a Tokenizer,
}

/// A passage and its length in tokens, without special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CountedPassage {
    pub text: String,
    pub tokens: u32,
}

impl<'a> PassageSource<'a> {
    /// Creates the source. Returns `None` if the text has no words.
    pub(super) fn new(text: &'a str, tokenizer: &'a Tokenizer) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        (!words.is_empty()).then_some(Self { words, tokenizer })
    }

    /// The number of words, and thus of places where a passage can begin.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// Writes `before` followed by words from `place` on. The whole has `tokens` tokens, or as close to it as whole
    /// words allow. At its end, the text continues with its beginning.
    pub(super) fn write(
        &self,
        before: &str,
        place: usize,
        tokens: u32,
    ) -> Result<CountedPassage, TokenizeError> {
        let mut count = tokens as usize;
        let mut nearest = self.cut_passage(before, place, 0)?;
        for _ in 0..MAX_ATTEMPTS {
            let passage = self.cut_passage(before, place, count)?;
            let (has, wants) = (passage.tokens, tokens);
            if has.abs_diff(wants) < nearest.tokens.abs_diff(wants) {
                nearest = passage;
            }
            if has == wants {
                break;
            }
            // Converts the difference to words at the current number of tokens per word.
            let difference = has.abs_diff(wants) as usize;
            let step = (difference * count.max(1) / has.max(1) as usize).clamp(1, difference);
            count = if has > wants { count.saturating_sub(step) } else { count + step };
        }
        Ok(nearest)
    }

    fn cut_passage(&self, before: &str, place: usize, count: usize) -> Result<CountedPassage, TokenizeError> {
        let words = self.words.iter().cycle().skip(place % self.words.len()).take(count);
        let text = words.fold(before.to_owned(), |mut text, word| {
            if !text.is_empty() && !text.ends_with(char::is_whitespace) {
                text.push(' ');
            }
            text.push_str(word);
            text
        });
        Ok(CountedPassage { tokens: self.tokenizer.count_plain(&text)?, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::bundled;

    const TEXT: &str =
        "Warm air rises and cools, and what it cannot hold any more falls as rain on the hills.";

    #[test]
    fn passages_come_as_near_as_whole_words_do() {
        let tokenizer = bundled::tokenizer();
        let passages = PassageSource::new(TEXT, &tokenizer).unwrap();
        for tokens in [12, 40, 300] {
            let passage = passages.write("Go on: ", 5, tokens).unwrap();
            assert!(passage.tokens.abs_diff(tokens) <= 2, "{passage:?} instead of {tokens}");
            assert_eq!(tokenizer.count_plain(&passage.text).unwrap(), passage.tokens);
            assert!(passage.text.starts_with("Go on: and what it"), "{passage:?}");
        }
    }

    #[test]
    fn what_comes_before_is_never_cut() {
        let tokenizer = Tokenizer::Estimate;
        let passages = PassageSource::new(TEXT, &tokenizer).unwrap();
        assert_eq!(passages.write("Rewrite this, please: ", 0, 1).unwrap().text, "Rewrite this, please: ");
        assert!(PassageSource::new(" \n", &tokenizer).is_none());
    }
}
