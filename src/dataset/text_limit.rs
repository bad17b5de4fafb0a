//! Limits the texts that are tokenized.

use super::DatasetFault;
use crate::model::run_spec::LengthBounds;

/// The longest text of a row, in bytes. A tokenizer takes up to 170 bytes of memory for each byte of a text, and several
/// texts are tokenized at once.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The bytes of a token that a larger limit assumes: English has about 4.5, and indented code up to 10.
const BYTES_PER_TOKEN: usize = 16;

/// The longest text that is tokenized, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextLimit(usize);

impl Default for TextLimit {
    fn default() -> Self {
        Self(MAX_TEXT_BYTES)
    }
}

impl TextLimit {
    /// The limit for a run with these length limits. Models that take long sequences raise it.
    pub(super) fn from_bounds(bounds: &LengthBounds) -> Self {
        let model = bounds.max_model_len.map_or(0, |tokens| tokens as usize);
        Self(MAX_TEXT_BYTES.max(model.saturating_mul(BYTES_PER_TOKEN)))
    }

    /// Checks a text of a row.
    ///
    /// # Errors
    ///
    /// If the text is longer than the limit.
    pub(super) fn check(self, text: &str) -> Result<(), DatasetFault> {
        self.check_length(text.len())
    }

    /// Checks the length of a text in bytes.
    ///
    /// # Errors
    ///
    /// If the text is longer than the limit.
    pub(super) fn check_length(self, bytes: usize) -> Result<(), DatasetFault> {
        if bytes <= self.0 { Ok(()) } else { Err(DatasetFault::LongText(self.0 >> 10)) }
    }
}
