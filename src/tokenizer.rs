//! Counts tokens with a local tokenizer, with the server's `/tokenize`, or by an estimate that is reported as such.

mod chat;
mod download;
mod error;
mod estimate;
mod hub;
#[cfg_attr(not(feature = "tokenizers"), path = "tokenizer/local_missing.rs")]
mod local;
mod other_formats;
mod special_tokens;

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use crate::model::record::TokenSource;
use crate::model::run::TokenizerOrigin;

pub(crate) use chat::ChatConfig;
pub(crate) use error::{TokenizeError, TokenizerError};
pub(crate) use hub::HfHub;
pub(crate) use local::LocalTokenizer;

/// Counts the tokens of a text.
#[derive(Clone)]
pub enum Tokenizer {
    /// A `tokenizer.json`, loaded into this process.
    Local(Box<LocalTokenizer>),
    /// The tokenizer of the server under test.
    Server(RemoteTokenizer),
    /// An estimate from the length of the text (see [`Tokenizer::count`]).
    Estimate,
}

/// Whether to count the special tokens that the tokenizer adds, such as a leading `<s>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialTokens {
    /// Special tokens are counted, as in the prompt that the server sees.
    Add,
    /// Special tokens are not counted.
    Omit,
}

/// The tokenizer of the server under test, with the function that calls it.
#[derive(Clone)]
pub struct RemoteTokenizer {
    origin: String,
    ask: Arc<CountFn>,
}

/// Asks a server for the number of tokens of a text. The error is the reason why there is no count.
pub(crate) type CountFn = dyn Fn(&str, SpecialTokens) -> Result<u32, String> + Send + Sync;

impl Tokenizer {
    /// Resolves a tokenizer name: the path of a `tokenizer.json`, a folder that holds one, or a hub id `org/name`,
    /// optionally with `@revision`.
    ///
    /// A hub id is looked up in the Hugging Face cache. If it is not there, the tokenizer is downloaded into the cache.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is no usable tokenizer. The message names the alternatives.
    pub async fn resolve(name: &str, hub: &HfHub) -> Result<Self, TokenizerError> {
        LocalTokenizer::check_built(name)?;
        match hub::locate(name, hub)? {
            hub::TokenizerSource::File(path) => {
                LocalTokenizer::from_file(&path, path.display().to_string()).map(Self::from)
            }
            hub::TokenizerSource::Cached(path, id) => {
                LocalTokenizer::from_file(&path, id.to_string()).map(Self::from)
            }
            hub::TokenizerSource::NotCached(id) => {
                let file = match download::download_file(&id, hub, hub::FILE).await {
                    Err(error @ TokenizerError::NotOnHub { .. }) => {
                        let found = download::find_other_format(&id, hub).await;
                        let id = id.to_string();
                        return Err(found.map_or(error, |found| TokenizerError::OtherOnHub { id, found }));
                    }
                    file => file?,
                };
                let tokenizer = LocalTokenizer::from_bytes(&file.bytes, id.to_string())?;
                // If the cache cannot be written, the next run downloads the file again; nothing else is affected.
                let _ = hub.store(&id, hub::FILE, &file);
                download::download_companions(&id, hub).await;
                match hub.cached(&id) {
                    Some(path) => LocalTokenizer::from_file(&path, id.to_string()).map(Self::from),
                    None => Ok(tokenizer.into()),
                }
            }
        }
    }

    /// Creates a tokenizer that lets a server count. Reports show `origin`, the URL of the server's tokenizer.
    pub fn remote(origin: impl Into<String>, ask: Arc<CountFn>) -> Self {
        Self::Server(RemoteTokenizer { origin: origin.into(), ask })
    }

    /// Counts the tokens of a text as a prompt, special tokens included.
    ///
    /// [`Tokenizer::Estimate`] assumes that one token has four ASCII characters, two characters of other alphabets, or
    /// one wide character (Chinese, Japanese, Korean, emoji). The result is rounded up.
    ///
    /// # Errors
    /// When the tokenizer cannot encode the text, or the server does not answer.
    pub fn count(&self, text: &str) -> Result<u32, TokenizeError> {
        self.count_with(text, SpecialTokens::Add)
    }

    /// Counts the tokens of a text without special tokens.
    ///
    /// # Errors
    /// Fails as [`Tokenizer::count`] does.
    pub fn count_plain(&self, text: &str) -> Result<u32, TokenizeError> {
        self.count_with(text, SpecialTokens::Omit)
    }

    fn count_with(&self, text: &str, specials: SpecialTokens) -> Result<u32, TokenizeError> {
        match self {
            Self::Local(local) => local.count(text, specials),
            Self::Server(remote) => (remote.ask)(text, specials).map_err(|cause| {
                let origin = remote.origin.clone();
                // The counting function may have put the URL into its error already.
                let cause = cause.strip_prefix(&format!("{origin}: ")).unwrap_or(&cause).to_owned();
                TokenizeError::Server { origin, cause }
            }),
            Self::Estimate => Ok(estimate::estimate_tokens(text)),
        }
    }

    /// Counts many texts with [`Tokenizer::count`], in parallel.
    ///
    /// # Errors
    /// One of the failures. The other counts are discarded.
    pub fn count_batch<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<u32>, TokenizeError> {
        texts.par_iter().map(|text| self.count(text.as_ref())).collect()
    }

    /// Number of special tokens that are added to every prompt.
    ///
    /// # Errors
    /// Fails as [`Tokenizer::count`] does.
    pub fn special_token_count(&self) -> Result<u32, TokenizeError> {
        const PROBE: &str = "the";
        Ok(self.count(PROBE)?.saturating_sub(self.count_plain(PROBE)?))
    }

    /// The chat template of the model; `None` if the tokenizer has none.
    ///
    /// # Errors
    /// When a file beside the tokenizer is invalid.
    pub fn chat_config(&self) -> Result<Option<ChatConfig>, TokenizerError> {
        match self {
            Self::Local(local) => local.chat_config(),
            Self::Server(_) | Self::Estimate => Ok(None),
        }
    }

    /// How reliable this tokenizer's counts are.
    pub fn token_source(&self) -> TokenSource {
        match self {
            Self::Local(_) | Self::Server(_) => TokenSource::Tokenizer,
            Self::Estimate => TokenSource::Estimate,
        }
    }

    /// The origin of the counts, for reports.
    pub fn describe(&self) -> TokenizerOrigin {
        let (origin, sha256) = match self {
            Self::Local(local) => (local.origin().to_owned(), Some(local.digest().clone())),
            Self::Server(remote) => (remote.origin.clone(), None),
            Self::Estimate => ("estimate".to_owned(), None),
        };
        TokenizerOrigin { origin, sha256, source: self.token_source() }
    }
}

impl From<LocalTokenizer> for Tokenizer {
    fn from(local: LocalTokenizer) -> Self {
        Self::Local(Box::new(local))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}

#[cfg(test)]
mod tests;
