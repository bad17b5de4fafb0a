//! The defaults of vLLM's versions.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A version of vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VllmVersion {
    major: u64,
    minor: u64,
    patch: u64,
}

impl VllmVersion {
    /// The latest version with known published starts; the default if no version is given.
    pub(crate) const LATEST_KNOWN: Self = Self { major: 0, minor: 31, patch: 0 };

    const fn minor(minor: u64) -> Self {
        Self { major: 0, minor, patch: 0 }
    }

    /// The share of a GPU's memory that vLLM takes by default: 0.90, and 0.92 from v0.20.
    pub(crate) fn utilization(self) -> f64 {
        if self >= Self::minor(20) { 0.92 } else { 0.90 }
    }

    /// Whether that share includes the CUDA graphs: from v0.21.
    pub(crate) fn includes_cuda_graphs(self) -> bool {
        self >= Self::minor(21)
    }

    /// Whether this version runs the V1 engine: from v0.8.
    pub(crate) fn is_v1(self) -> bool {
        self >= Self::minor(8)
    }

    /// The default of `--max-num-seqs`.
    pub(crate) fn max_num_seqs(self, is_large: bool) -> u64 {
        if self.is_v1() && is_large { 1024 } else { 256 }
    }

    /// The default of `--max-num-batched-tokens` for a server.
    pub(crate) fn max_num_batched_tokens(self, is_large: bool) -> u64 {
        if self.is_v1() && is_large { 8192 } else { 2048 }
    }
}

impl FromStr for VllmVersion {
    type Err = &'static str;

    /// Parses `0.11.2`, `v0.11` or `0.19.1rc1.dev329`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().trim_start_matches('v').split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u64>().ok()
        });
        let mut next = || parts.next().flatten();
        match (next(), next()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor, patch: next().unwrap_or_default() }),
            _ => Err("write it as 0.11.2"),
        }
    }
}

impl fmt::Display for VllmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for VllmVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
