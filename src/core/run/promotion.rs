//! How a run became a baseline.

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::core::digest::Digest;

/// That a gate made a run the baseline of the next ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// When.
    pub at: Zoned,
    /// The runs whose place it took; none where there was no baseline.
    pub replaced: Vec<Replaced>,
    /// What the gate came to: `pass`, `warn`, `fail` or `invalid`.
    pub outcome: String,
    /// Whether it was made one although the gate failed.
    pub forced: bool,
    /// What came of each rule.
    pub rules: Vec<JudgedRule>,
}

/// A run that was a baseline before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    /// When its first request was due.
    pub started: Zoned,
    /// What the server's `/version` said.
    pub server_version: Option<String>,
    /// Of its file.
    pub sha256: Digest,
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedRule {
    /// As it is written.
    pub rule: String,
    /// `pass`, `fail` or `cannot_tell`.
    pub answer: String,
}
