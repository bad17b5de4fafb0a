//! Who counts tokens: a tokenizer of our own, the server's `/tokenize`, or an announced guess.

mod chat;
mod download;
mod error;
mod estimate;
mod hub;
mod local;
mod special;

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use crate::core::record::TokenSource;
use crate::core::run::TokenizerOrigin;

pub use chat::Chat;
pub use error::{TokenizeError, TokenizerError};
pub use hub::Hub;
pub use local::Local;

/// Counts the tokens of a text.
#[derive(Clone)]
pub enum Tokenizer {
    /// A `tokenizer.json` in this process.
    Local(Box<Local>),
    /// The server under test counts.
    Server(Remote),
    /// Nobody counts: a guess from the length of the text (see [`Tokenizer::count`]).
    Estimate,
}

/// Whether the tokens that the tokenizer adds by itself (such as a leading `<s>`) are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// They are, as in the prompt that the server sees.
    Add,
    /// They are not.
    Omit,
}

/// The tokenizer of the server under test, behind whatever asks it.
#[derive(Clone)]
pub struct Remote {
    origin: String,
    ask: Arc<Ask>,
}

/// One question to a server: how many tokens does this text have? The error says why there is no answer.
pub type Ask = dyn Fn(&str, Specials) -> Result<u32, String> + Send + Sync;

impl Tokenizer {
    /// Finds a tokenizer by what a user calls it: the path of a `tokenizer.json`, a directory that holds one, or a hub
    /// id `org/name`, optionally with `@revision`.
    ///
    /// A hub id is looked for in the Hugging Face cache, then downloaded into it.
    ///
    /// # Errors
    /// [`TokenizerError`] names the ways out.
    pub async fn resolve(name: &str, hub: &Hub) -> Result<Self, TokenizerError> {
        match hub::locate(name, hub)? {
            hub::Found::File(path) => Local::from_file(&path, path.display().to_string()).map(Self::from),
            hub::Found::Cached(path, id) => Local::from_file(&path, id.to_string()).map(Self::from),
            hub::Found::Nowhere(id) => {
                let file = download::file(&id, hub, hub::FILE).await?;
                let tokenizer = Local::from_bytes(&file.bytes, id.to_string())?;
                // A cache that cannot be written costs the next run a download, nothing else.
                let _ = hub.store(&id, hub::FILE, &file);
                download::chat(&id, hub).await;
                match hub.cached(&id) {
                    Some(path) => Local::from_file(&path, id.to_string()).map(Self::from),
                    None => Ok(tokenizer.into()),
                }
            }
        }
    }

    /// Lets a server count; `origin` is shown in reports (the URL that is asked).
    pub fn remote(origin: impl Into<String>, ask: Arc<Ask>) -> Self {
        Self::Server(Remote { origin: origin.into(), ask })
    }

    /// The tokens of a text as a prompt, special tokens included.
    ///
    /// [`Tokenizer::Estimate`] guesses four ASCII characters, two characters of other alphabets, or one wide character
    /// (Chinese, Japanese, Korean, emoji) to a token, rounded up.
    ///
    /// # Errors
    /// When the tokenizer cannot encode the text or the server does not answer.
    pub fn count(&self, text: &str) -> Result<u32, TokenizeError> {
        self.count_with(text, Specials::Add)
    }

    /// The tokens of a text alone, without special tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::count`].
    pub fn count_plain(&self, text: &str) -> Result<u32, TokenizeError> {
        self.count_with(text, Specials::Omit)
    }

    fn count_with(&self, text: &str, specials: Specials) -> Result<u32, TokenizeError> {
        match self {
            Self::Local(local) => local.count(text, specials),
            Self::Server(remote) => (remote.ask)(text, specials)
                .map_err(|cause| TokenizeError::Server { origin: remote.origin.clone(), cause }),
            Self::Estimate => Ok(estimate::tokens(text)),
        }
    }

    /// [`Tokenizer::count`] of many texts, in parallel.
    ///
    /// # Errors
    /// The first failure seen; the other counts are lost.
    pub fn count_batch<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<u32>, TokenizeError> {
        texts.par_iter().map(|text| self.count(text.as_ref())).collect()
    }

    /// How many tokens are added to every prompt.
    ///
    /// # Errors
    /// As [`Tokenizer::count`].
    pub fn specials(&self) -> Result<u32, TokenizeError> {
        const PROBE: &str = "the";
        Ok(self.count(PROBE)?.saturating_sub(self.count_plain(PROBE)?))
    }

    /// How the model wants its chats written; `None` if the tokenizer does not say.
    ///
    /// # Errors
    /// When the file that should say it is broken.
    pub fn chat(&self) -> Result<Option<Chat>, TokenizerError> {
        match self {
            Self::Local(local) => local.chat(),
            Self::Server(_) | Self::Estimate => Ok(None),
        }
    }

    /// What a count of this tokenizer is worth.
    pub fn source(&self) -> TokenSource {
        match self {
            Self::Local(_) | Self::Server(_) => TokenSource::Tokenizer,
            Self::Estimate => TokenSource::Estimate,
        }
    }

    /// Where the counts come from.
    pub fn describe(&self) -> TokenizerOrigin {
        let (origin, sha256) = match self {
            Self::Local(local) => (local.origin().to_owned(), Some(local.digest().clone())),
            Self::Server(remote) => (remote.origin.clone(), None),
            Self::Estimate => ("estimate".to_owned(), None),
        };
        TokenizerOrigin { origin, sha256, source: self.source() }
    }
}

impl From<Local> for Tokenizer {
    fn from(local: Local) -> Self {
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
