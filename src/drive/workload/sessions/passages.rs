//! Passages of a long text, cut at words, of about a number of tokens.

use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// How often a passage is counted to reach its length. Each may be a question to the server.
const TRIES: usize = 8;

/// A long text that passages are cut from.
pub struct Passages<'a> {
    words: Vec<&'a str>,
    tokenizer: &'a Tokenizer,
}

/// A passage and its length in tokens, special ones apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What it says.
    pub text: String,
    /// How long it is.
    pub tokens: u32,
}

impl<'a> Passages<'a> {
    /// Of a text; `None` if it has no words.
    pub fn of(text: &'a str, tokenizer: &'a Tokenizer) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        (!words.is_empty()).then_some(Self { words, tokenizer })
    }

    /// How many words there are to begin at.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// What comes before, then words from a place on: together as near to so many tokens as whole words come. The text
    /// goes on at its beginning where it ends.
    pub fn write(&self, before: &str, place: usize, tokens: u32) -> Result<Passage, TokenizeError> {
        let mut count = tokens as usize;
        let mut nearest = self.passage(before, place, 0)?;
        for _ in 0..TRIES {
            let passage = self.passage(before, place, count)?;
            let (has, wants) = (passage.tokens, tokens);
            if has.abs_diff(wants) < nearest.tokens.abs_diff(wants) {
                nearest = passage;
            }
            if has == wants {
                break;
            }
            // As many words as the difference is worth at the present number of tokens a word.
            let difference = has.abs_diff(wants) as usize;
            let step = (difference * count.max(1) / has.max(1) as usize).clamp(1, difference);
            count = if has > wants { count.saturating_sub(step) } else { count + step };
        }
        Ok(nearest)
    }

    fn passage(&self, before: &str, place: usize, count: usize) -> Result<Passage, TokenizeError> {
        let words = self.words.iter().cycle().skip(place % self.words.len()).take(count);
        let text = words.fold(before.to_owned(), |mut text, word| {
            if !text.is_empty() && !text.ends_with(char::is_whitespace) {
                text.push(' ');
            }
            text.push_str(word);
            text
        });
        Ok(Passage { tokens: self.tokenizer.count_plain(&text)?, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::workload::bundled;

    const TEXT: &str =
        "Warm air rises and cools, and what it cannot hold any more falls as rain on the hills.";

    #[test]
    fn passages_come_as_near_as_whole_words_do() {
        let tokenizer = bundled::tokenizer();
        let passages = Passages::of(TEXT, &tokenizer).unwrap();
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
        let passages = Passages::of(TEXT, &tokenizer).unwrap();
        assert_eq!(passages.write("Rewrite this, please: ", 0, 1).unwrap().text, "Rewrite this, please: ");
        assert!(Passages::of(" \n", &tokenizer).is_none());
    }
}
