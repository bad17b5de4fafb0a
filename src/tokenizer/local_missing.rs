//! The place of [`LocalTokenizer`] in a build without the feature `tokenizers`: none can be loaded.

use std::convert::Infallible;
use std::path::Path;

use super::{ChatConfig, SpecialTokens, TokenizeError, TokenizerError};
use crate::model::digest::Digest;

/// A tokenizer that this build cannot load.
#[derive(Clone)]
pub(crate) struct LocalTokenizer(Infallible);

impl LocalTokenizer {
    /// Whether this build can load a tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::NotBuilt`].
    pub(super) fn check_built(name: &str) -> Result<(), TokenizerError> {
        Err(TokenizerError::NotBuilt { name: name.to_owned() })
    }

    /// Fails: see [`TokenizerError::NotBuilt`].
    pub(crate) fn from_file(_: &Path, origin: String) -> Result<Self, TokenizerError> {
        Err(TokenizerError::NotBuilt { name: origin })
    }

    /// Fails: see [`TokenizerError::NotBuilt`].
    pub(crate) fn from_bytes(_: &[u8], origin: String) -> Result<Self, TokenizerError> {
        Err(TokenizerError::NotBuilt { name: origin })
    }

    pub(super) fn chat_config(&self) -> Result<Option<ChatConfig>, TokenizerError> {
        match self.0 {}
    }

    pub(crate) fn origin(&self) -> &str {
        match self.0 {}
    }

    pub(crate) fn digest(&self) -> &Digest {
        match self.0 {}
    }

    pub(crate) fn count(&self, _: &str, _: SpecialTokens) -> Result<u32, TokenizeError> {
        match self.0 {}
    }

    pub(crate) fn encode(&self, _: &str) -> Result<Vec<u32>, TokenizeError> {
        match self.0 {}
    }

    pub(crate) fn decode(&self, _: &[u32]) -> Result<String, TokenizeError> {
        match self.0 {}
    }

    pub(crate) fn ordinary_ids(&self) -> Vec<u32> {
        match self.0 {}
    }

    pub(crate) fn vocabulary_size(&self) -> u32 {
        match self.0 {}
    }

    pub(crate) fn non_special_ids(&self) -> Vec<u32> {
        match self.0 {}
    }
}
