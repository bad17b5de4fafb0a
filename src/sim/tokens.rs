//! Converts text to tokens and back, and holds the words of the output.

use tokenizers::Tokenizer;

use super::spec::SimSpecError;

/// Bytes of text in one token without a tokenizer.
const BYTES_PER_TOKEN: usize = 4;

/// The number of output words: enough for variety, few enough to find quickly in a large vocabulary.
const MAX_WORDS: usize = 1000;

/// Words of four bytes with their leading space: one token each, even when the answer returns in a prompt.
const SHORT_WORDS: &str = " the and for are but not you all any can had her was one our out day get has him his how man new \
                           now old see two way who boy did its let put say she too use air art ask bad bag bar bed big bit \
                           box bus buy car cat cup cut dog dry ear eat egg end eye far few fly fun gas hat hot ice job key";

/// Converts text to tokens and back. Without a tokenizer, a token is four bytes of UTF-8 (the last one fewer), and
/// its id is those bytes as a little-endian number. Token counts are then an estimate, but equal prefixes still have
/// equal tokens.
pub(super) struct Vocabulary {
    tokenizer: Option<Tokenizer>,
    words: Vec<OutputWord>,
}

/// A token of the output: a space and ASCII letters, so it needs no escaping in JSON.
struct OutputWord {
    id: u32,
    text: String,
}

/// Whether the tokenizer adds its own markers (such as a begin-of-text token).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SpecialMarkers {
    Add,
    Leave,
}

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PromptSegment {
    Text(String),
    Media(MediaTokens),
}

/// One turn of a conversation: role and content.
#[derive(Debug)]
pub(super) struct ChatTurn {
    pub role: String,
    pub said: Vec<PromptSegment>,
}

/// An image, audio or a video: a number of tokens that are the same for the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaTokens {
    pub tokens: usize,
    /// Identifies the content.
    pub content: u64,
}

impl MediaTokens {
    /// The tokens that represent the media in the prompt. They derive from its content, so that the prefix cache
    /// recognizes it.
    pub(super) fn placeholders(self) -> impl Iterator<Item = u32> {
        let first = self.content as u32 ^ (self.content >> 32) as u32;
        (0..self.tokens).map(move |at| first.wrapping_add(at as u32))
    }
}

impl Vocabulary {
    pub(super) fn new(tokenizer_json: Option<&[u8]>) -> Result<Self, SimSpecError> {
        let Some(json) = tokenizer_json else {
            let words = SHORT_WORDS.split_whitespace().map(|word| format!(" {word}"));
            let words = words.map(|text| OutputWord { id: byte_token(text.as_bytes()), text }).collect();
            return Ok(Self { tokenizer: None, words });
        };
        let tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| SimSpecError::Tokenizer { cause: error.to_string() })?;
        let words = plain_words(&tokenizer);
        if words.is_empty() {
            return Err(SimSpecError::NoWords);
        }
        Ok(Self { tokenizer: Some(tokenizer), words })
    }

    /// Returns the tokens of `text`. The error is the tokenizer's own.
    pub(super) fn encode(&self, text: &str, markers: SpecialMarkers) -> Result<Vec<u32>, String> {
        let Some(tokenizer) = &self.tokenizer else {
            return Ok(text.as_bytes().chunks(BYTES_PER_TOKEN).map(byte_token).collect());
        };
        let encoding = tokenizer.encode_fast(text, markers == SpecialMarkers::Add);
        encoding.map(|encoding| encoding.get_ids().to_vec()).map_err(|error| error.to_string())
    }

    /// Returns the text of `ids`. The error is the tokenizer's own.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, String> {
        let Some(tokenizer) = &self.tokenizer else {
            let bytes: Vec<u8> =
                ids.iter().flat_map(|id| id.to_le_bytes()).filter(|byte| *byte != 0).collect();
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        };
        tokenizer.decode(ids, true).map_err(|error| error.to_string())
    }

    /// Returns the token's spelling in the vocabulary, as `/tokenize` shows it.
    pub(super) fn spelling(&self, id: u32) -> String {
        let own = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.id_to_token(id));
        own.or_else(|| self.decode(&[id]).ok()).unwrap_or_default()
    }

    /// Returns the first of `ids` that is not in the vocabulary.
    pub(super) fn first_unknown(&self, ids: &[u32]) -> Option<u32> {
        let size = self.tokenizer.as_ref()?.get_vocab_size(true);
        ids.iter().copied().find(|id| *id as usize >= size)
    }

    /// Formats a conversation as the model would see it: ChatML if the tokenizer knows its markers, else plain lines
    /// of `role: content`.
    pub(super) fn chat_prompt(&self, turns: &[ChatTurn]) -> Vec<PromptSegment> {
        let chatml = self.tokenizer.as_ref().is_some_and(|t| t.token_to_id("<|im_start|>").is_some());
        let [before, between, after, cue] = if chatml {
            ["<|im_start|>", "\n", "<|im_end|>\n", "<|im_start|>assistant\n"]
        } else {
            ["", ": ", "\n", "assistant:"]
        };
        let mut prompt = vec![PromptSegment::Text(String::new())];
        for ChatTurn { role, said } in turns {
            add_text(&mut prompt, &[before, role, between]);
            for segment in said {
                match segment {
                    PromptSegment::Text(text) => add_text(&mut prompt, &[text]),
                    PromptSegment::Media(media) => prompt.push(PromptSegment::Media(*media)),
                }
            }
            add_text(&mut prompt, &[after]);
        }
        add_text(&mut prompt, &[cue]);
        prompt
    }

    /// The number of different words in the output.
    pub(super) fn word_count(&self) -> usize {
        self.words.len()
    }

    /// Returns the token of the `index`-th word.
    pub(super) fn word_token(&self, index: usize) -> u32 {
        self.words[index].id
    }

    /// Returns the text of the `index`-th word.
    pub(super) fn word_text(&self, index: usize) -> &str {
        &self.words[index].text
    }
}

/// Appends to the text at the prompt's end, so that adjacent text is encoded together.
fn add_text(prompt: &mut Vec<PromptSegment>, parts: &[&str]) {
    if !matches!(prompt.last(), Some(PromptSegment::Text(_))) {
        prompt.push(PromptSegment::Text(String::new()));
    }
    if let Some(PromptSegment::Text(text)) = prompt.last_mut() {
        text.extend(parts.iter().copied());
    }
}

fn byte_token(bytes: &[u8]) -> u32 {
    let mut padded = [0; BYTES_PER_TOKEN];
    padded[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(padded)
}

/// Tokens whose text is a space and ASCII letters, and which stay one token when that text is encoded, so that a
/// client that counts the answer again gets the same number. (Byte-level BPE writes the space as `Ġ`, SentencePiece
/// as `▁`; the latter's encoder adds its own leading space, so the encoding is not checked there.)
fn plain_words(tokenizer: &Tokenizer) -> Vec<OutputWord> {
    let size = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
    let words = (0..size).filter_map(|id| {
        let spelling = tokenizer.id_to_token(id)?;
        let (byte_level, letters) = match (spelling.strip_prefix('Ġ'), spelling.strip_prefix('▁')) {
            (Some(letters), _) => (true, letters),
            (_, Some(letters)) => (false, letters),
            _ => return None,
        };
        let plain = letters.len() >= 2 && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
        let text = format!(" {letters}");
        let whole = || tokenizer.encode_fast(text.as_str(), false).is_ok_and(|own| own.get_ids() == [id]);
        (plain && (!byte_level || whole())).then_some(OutputWord { id, text })
    });
    words.take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_tokenizer_a_token_is_four_bytes_and_can_be_turned_back() {
        let vocabulary = Vocabulary::new(None).unwrap();
        for (text, count) in [("", 0), ("abc", 1), ("abcd", 1), ("abcde", 2), ("日本", 2)] {
            let ids = vocabulary.encode(text, SpecialMarkers::Add).unwrap();
            assert_eq!(ids.len(), count, "{text}");
            assert_eq!(vocabulary.decode(&ids).unwrap(), text);
        }
    }

    #[test]
    fn output_words_stay_one_token_each_when_they_are_joined() {
        let vocabulary = Vocabulary::new(None).unwrap();
        let indices: Vec<_> = (0..vocabulary.word_count()).collect();
        let text: String = indices.iter().map(|n| vocabulary.word_text(*n)).collect();
        let ids: Vec<_> = indices.iter().map(|n| vocabulary.word_token(*n)).collect();
        assert_eq!(vocabulary.encode(&text, SpecialMarkers::Add).unwrap(), ids);
    }

    #[test]
    fn a_tokenizer_that_is_not_one_is_refused_with_the_cause() {
        let error = Vocabulary::new(Some(b"{}")).err().unwrap().to_string();
        assert!(error.starts_with("the tokenizer.json given to the simulator cannot be read: "), "{error}");
    }
}
