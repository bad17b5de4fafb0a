//! What counts as good service.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::seconds;

/// What counts as good service; a request must meet every limit that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slo {
    /// Limit of the time to first token.
    #[serde(rename = "ttft_s", with = "seconds::option")]
    pub ttft: Option<Duration>,
    /// Limit of the time per output token.
    #[serde(rename = "tpot_s", with = "seconds::option")]
    pub tpot: Option<Duration>,
    /// Limit of the end-to-end time.
    #[serde(rename = "e2e_s", with = "seconds::option")]
    pub e2e: Option<Duration>,
    /// Where TTFT and E2E are measured from.
    pub from: SloFrom,
    /// What holds instead for the classes of a mixed workload that have limits of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, Slo>,
}

/// Where the latencies that an SLO limits begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloFrom {
    /// When the request was due: what a user who arrived on schedule felt.
    #[default]
    Due,
    /// When it was sent: vLLM's way, in which waiting for the client is no fault.
    Sent,
}

impl Slo {
    /// Whether any limit is set.
    pub fn is_set(&self) -> bool {
        [self.ttft, self.tpot, self.e2e].iter().any(Option::is_some)
            || self.classes.values().any(Self::is_set)
    }

    /// What holds for a request of this class.
    pub fn of_class(&self, class: Option<&str>) -> &Self {
        class.and_then(|class| self.classes.get(class)).unwrap_or(self)
    }
}
