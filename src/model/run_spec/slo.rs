//! The service level objective.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// The service level objective; a good request meets every limit that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slo {
    /// The limit of the time to first token.
    #[serde(rename = "ttft_s", with = "seconds::option")]
    pub ttft: Option<Duration>,
    /// The limit of the time per output token.
    #[serde(rename = "tpot_s", with = "seconds::option")]
    pub tpot: Option<Duration>,
    /// The limit of the end-to-end time.
    #[serde(rename = "e2e_s", with = "seconds::option")]
    pub e2e: Option<Duration>,
    /// The start of the TTFT and E2E measurements.
    pub from: SloFrom,
    /// The limits of the classes of a mixed workload that override the run's limits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, Slo>,
}

/// The start of the latencies that an SLO limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SloFrom {
    /// When the request was due: the latency experienced by a user who arrived on schedule.
    #[default]
    Due,
    /// When the request was sent: vLLM's definition, which ignores the time that the request waits in the client.
    Sent,
}

impl Slo {
    /// Returns whether any limit is set.
    pub(crate) fn is_set(&self) -> bool {
        [self.ttft, self.tpot, self.e2e].iter().any(Option::is_some)
            || self.classes.values().any(Self::is_set)
    }

    /// The limits for a request of this class.
    pub(crate) fn for_class(&self, class: Option<&str>) -> &Self {
        class.and_then(|class| self.classes.get(class)).unwrap_or(self)
    }
}
