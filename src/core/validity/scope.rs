//! Which metrics a check speaks about.

use serde::{Deserialize, Serialize};

use crate::core::metrics::Latency;
use crate::core::spec::{Slo, SloFrom};

/// Which metrics a check speaks about. What it objects to is not to be believed, the rest holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All metrics of the run.
    #[default]
    Run,
    /// Times within a stream: TTFT, TPOT and ITL. E2E and throughput hold.
    Stream,
    /// Latencies from due, and a goodput that is counted from due. Latencies from sent and throughput hold.
    FromDue,
}

impl Scope {
    /// Whether it is the whole run.
    pub fn is_run(&self) -> bool {
        *self == Self::Run
    }

    /// Whether it holds a latency.
    pub fn covers(self, latency: Latency) -> bool {
        match self {
            Self::Run => true,
            Self::Stream => latency.needs_stream(),
            Self::FromDue => matches!(latency, Latency::TtftFromDue | Latency::E2eFromDue | Latency::Lag),
        }
    }

    /// Whether it holds the goodput under these limits.
    pub fn covers_goodput(self, slo: &Slo) -> bool {
        let limits = |any: fn(&Slo) -> bool| any(slo) || slo.classes.values().any(any);
        match self {
            Self::Run => true,
            Self::Stream => limits(|slo| slo.ttft.is_some() || slo.tpot.is_some()),
            Self::FromDue => {
                limits(|slo| slo.from == SloFrom::Due && (slo.ttft.is_some() || slo.e2e.is_some()))
            }
        }
    }

    /// The metrics in words; `None` for all of them.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Run => None,
            Self::Stream => Some("TTFT, TPOT and ITL"),
            Self::FromDue => Some("latencies and goodput from due"),
        }
    }
}
