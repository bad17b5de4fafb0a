//! The promotion of a run to a baseline.

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::rfc3339;

/// A gate's promotion of a run to the baseline of later runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BaselinePromotion {
    /// When the gate promoted the run.
    #[serde(with = "rfc3339")]
    pub at: Zoned,
    /// The runs that it replaced; empty where there was no baseline.
    pub replaced: Vec<ReplacedBaseline>,
    /// The gate's outcome: `pass`, `warn`, `fail` or `invalid`.
    pub outcome: String,
    /// Whether the run was promoted although the gate failed.
    pub forced: bool,
    /// The result of each rule.
    pub rules: Vec<JudgedRule>,
}

/// A run that was a baseline before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReplacedBaseline {
    /// When its first request was due.
    #[serde(with = "rfc3339")]
    pub started: Zoned,
    /// The version reported by the server's `/version`.
    pub server_version: Option<String>,
    /// SHA-256 of the run's file.
    pub sha256: Digest,
}

/// The result of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JudgedRule {
    /// The rule as written.
    pub rule: String,
    /// The result: `pass`, `fail` or `cannot_tell`.
    pub answer: String,
}
