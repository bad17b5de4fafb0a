//! A tokenizer that runs in this process, loaded from a `tokenizer.json`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{ChatConfig, SpecialTokens, TokenizeError, TokenizerError};
use crate::model::bounded_file::{self, FileLimit};
use crate::model::digest::Digest;
use crate::tokenizer::{other_formats, special_tokens};

/// A loaded `tokenizer.json`, and its origin.
#[derive(Clone)]
pub struct LocalTokenizer {
    inner: tokenizers::Tokenizer,
    origin: String,
    digest: Digest,
    /// The folder with the files that belong to the tokenizer.
    folder: Option<PathBuf>,
    /// The names of the special tokens, from the files beside the tokenizer; `None` if there are no such files.
    named_special: Option<Vec<String>>,
}

impl LocalTokenizer {
    /// Whether this build can load a tokenizer: one without the feature `tokenizers` cannot.
    pub(super) const fn check_built(_: &str) -> Result<(), TokenizerError> {
        Ok(())
    }

    /// Reads a `tokenizer.json` file. Reports show `origin`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tokenizer.
    pub fn from_file(path: &Path, origin: String) -> Result<Self, TokenizerError> {
        let bytes = bounded_file::read(path, FileLimit::TOKENIZER)
            .map_err(|source| TokenizerError::Unreadable { path: path.display().to_string(), source })?;
        let parsed = Self::from_bytes(&bytes, path.display().to_string());
        let mut local = parsed.map_err(|error| match other_formats::identify_file(path, &bytes) {
            Some(what) => TokenizerError::OtherFormat { path: path.display().to_string(), what },
            None => error,
        })?;
        local.origin = origin;
        local.folder = path.parent().map(Path::to_owned);
        local.named_special = special_tokens::special_tokens_beside(path);
        Ok(local)
    }

    /// Parses the content of a `tokenizer.json`. Reports and errors show `origin`.
    ///
    /// # Errors
    /// When the content is not a tokenizer.
    pub fn from_bytes(bytes: &[u8], origin: String) -> Result<Self, TokenizerError> {
        let malformed = |cause: String| TokenizerError::Malformed { origin: origin.clone(), cause };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(malformed("it is empty".into()));
        }
        if let Some(what) = other_formats::identify_download(bytes) {
            return Err(malformed(what.into()));
        }
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| malformed(one_line(&error)))?;
        // A file may contain the truncation and padding settings of the training. The server applies neither to a
        // prompt.
        inner.with_truncation(None).map_err(|error| malformed(one_line(&error)))?;
        inner.with_padding(None);
        Ok(Self { inner, origin, digest: Digest::from_bytes(bytes), folder: None, named_special: None })
    }

    /// The model's chat template, if a file beside the tokenizer has one.
    pub(super) fn chat_config(&self) -> Result<Option<ChatConfig>, TokenizerError> {
        self.folder.as_deref().map_or(Ok(None), ChatConfig::from_folder)
    }

    /// The name of the tokenizer in reports.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The SHA-256 of the `tokenizer.json`.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Counts the tokens of a text.
    ///
    /// # Errors
    /// When the model has no token for a part of the text, and no token for unknown text either.
    pub fn count(&self, text: &str, specials: SpecialTokens) -> Result<u32, TokenizeError> {
        let encoding = self
            .inner
            .encode_fast(text, specials == SpecialTokens::Add)
            .map_err(|error| self.failed(&error))?;
        Ok(u32::try_from(encoding.len()).unwrap_or(u32::MAX))
    }

    /// Encodes a text to token ids, without special tokens.
    ///
    /// # Errors
    /// Fails as [`LocalTokenizer::count`] does.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| self.failed(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Decodes token ids to a text. Ids that do not form valid text become U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        self.inner.decode(ids, false).map_err(|error| self.failed(&error))
    }

    /// The ids of ordinary tokens in ascending order: the vocabulary without special and added tokens.
    pub fn ordinary_ids(&self) -> Vec<u32> {
        let special = self.special_ids();
        let mut ids: Vec<u32> =
            self.inner.get_vocab(false).into_values().filter(|id| !special.contains(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The number of tokens of the model, without added tokens. Python calls it `vocab_size`.
    pub fn vocabulary_size(&self) -> u32 {
        u32::try_from(self.inner.get_vocab_size(false)).unwrap_or(u32::MAX)
    }

    /// The ids from zero up to the vocabulary size that are not special, in ascending order. vLLM's client writes
    /// random prompts from these ids. The special tokens are those of Python, read from the files beside the tokenizer;
    /// without such files, they are those that the `tokenizer.json` marks. Unlike [`LocalTokenizer::ordinary_ids`], the
    /// result may contain ids without a token.
    pub fn non_special_ids(&self) -> Vec<u32> {
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

/// Formats an error on one line. The tokenizers crate puts line breaks and whole values into some messages.
fn one_line(error: &tokenizers::Error) -> String {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
