//! A `tokenizer.json` in this process.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Chat, Specials, TokenizeError, TokenizerError, special};
use crate::core::digest::Digest;

/// A loaded `tokenizer.json` and where it came from.
#[derive(Clone)]
pub struct Local {
    inner: tokenizers::Tokenizer,
    origin: String,
    digest: Digest,
    /// Where the files are that belong to it.
    folder: Option<PathBuf>,
    /// The special tokens that a configuration beside the file names, if there is one.
    named_special: Option<Vec<String>>,
}

impl Local {
    /// Reads a `tokenizer.json` file; `origin` is what reports call it.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tokenizer.
    pub fn from_file(path: &Path, origin: String) -> Result<Self, TokenizerError> {
        let bytes = std::fs::read(path)
            .map_err(|source| TokenizerError::Unreadable { path: path.display().to_string(), source })?;
        let mut local = Self::from_bytes(&bytes, path.display().to_string())?;
        local.origin = origin;
        local.folder = path.parent().map(Path::to_owned);
        local.named_special = special::named_beside(path);
        Ok(local)
    }

    /// Takes the content of a `tokenizer.json`; `origin` is what reports and errors call it.
    ///
    /// # Errors
    /// When the content is not a tokenizer.
    pub fn from_bytes(bytes: &[u8], origin: String) -> Result<Self, TokenizerError> {
        let malformed = |cause: String| TokenizerError::Malformed { origin: origin.clone(), cause };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(malformed("it is empty".into()));
        }
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| malformed(one_line(&error)))?;
        // A file may carry the truncation and padding of its training: the server applies neither to a prompt.
        inner.with_truncation(None).map_err(|error| malformed(one_line(&error)))?;
        inner.with_padding(None);
        Ok(Self { inner, origin, digest: Digest::of(bytes), folder: None, named_special: None })
    }

    /// How the model wants its chats written, if a file beside the tokenizer says it.
    pub(super) fn chat(&self) -> Result<Option<Chat>, TokenizerError> {
        self.folder.as_deref().map_or(Ok(None), Chat::in_folder)
    }

    /// What reports call it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The SHA-256 of the `tokenizer.json`.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The number of tokens of a text.
    ///
    /// # Errors
    /// When the model has no token for a part of the text and no substitute for it.
    pub fn count(&self, text: &str, specials: Specials) -> Result<u32, TokenizeError> {
        let encoding =
            self.inner.encode_fast(text, specials == Specials::Add).map_err(|error| self.failed(&error))?;
        Ok(u32::try_from(encoding.len()).unwrap_or(u32::MAX))
    }

    /// The token ids of a text, without special tokens.
    ///
    /// # Errors
    /// As [`Local::count`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| self.failed(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids; ids that together are no text become U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer's decoder gives up.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        self.inner.decode(ids, false).map_err(|error| self.failed(&error))
    }

    /// The ids of ordinary tokens, ascending: the vocabulary without special and without added tokens.
    pub fn ordinary_ids(&self) -> Vec<u32> {
        let special = self.special_ids();
        let mut ids: Vec<u32> =
            self.inner.get_vocab(false).into_values().filter(|id| !special.contains(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// How many tokens the model has, added ones apart: what Python calls `vocab_size`.
    pub fn vocabulary_size(&self) -> u32 {
        u32::try_from(self.inner.get_vocab_size(false)).unwrap_or(u32::MAX)
    }

    /// The ids from zero to the size of the vocabulary that are not special, ascending: from what vLLM's client writes
    /// random prompts. Special is what `tokenizer_config.json` names, or without one, what `tokenizer.json` marks. Unlike
    /// with [`Local::ordinary_ids`] there may be gaps among them that stand for no token.
    pub fn unspecial_ids(&self) -> Vec<u32> {
        let special = match &self.named_special {
            Some(names) => names.iter().filter_map(|name| self.inner.token_to_id(name)).collect(),
            None => self.special_ids(),
        };
        (0..self.vocabulary_size()).filter(|id| !special.contains(id)).collect()
    }

    fn special_ids(&self) -> HashSet<u32> {
        let added = self.inner.get_added_tokens_decoder();
        added.into_iter().filter_map(|(id, token)| token.special.then_some(id)).collect()
    }

    fn failed(&self, error: &tokenizers::Error) -> TokenizeError {
        TokenizeError::Local { origin: self.origin.clone(), cause: one_line(error) }
    }
}

/// The tokenizers crate puts line breaks and whole values into some messages.
fn one_line(error: &tokenizers::Error) -> String {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
