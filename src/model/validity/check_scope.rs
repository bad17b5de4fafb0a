//! The scope of a check: the metrics that it covers.

use serde::{Deserialize, Serialize};

use crate::model::metrics::Latency;
use crate::model::run_spec::{Slo, SloFrom};

/// The metrics that a check covers. If the check fails, these are invalid and the others stay valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckScope {
    /// All metrics of the run.
    #[default]
    Run,
    /// Times within a stream: TTFT, TPOT and ITL. E2E and throughput stay valid.
    Stream,
    /// Metrics that count output tokens: TPOT and the throughputs in output tokens. The other latencies and request
    /// throughput stay valid.
    Tokens,
    /// Latencies from due, and a goodput that is measured from due. Latencies from sent and throughput stay valid.
    FromDue,
}

impl CheckScope {
    /// Returns whether the scope is the whole run.
    pub(crate) fn is_run(&self) -> bool {
        *self == Self::Run
    }

    /// Returns whether the scope includes a latency.
    pub(crate) fn covers(self, latency: Latency) -> bool {
        match self {
            Self::Run => true,
            Self::Stream => latency.is_stream_only(),
            Self::Tokens => latency == Latency::Tpot,
            Self::FromDue => matches!(latency, Latency::TtftFromDue | Latency::E2eFromDue | Latency::Lag),
        }
    }

    /// Returns whether the scope includes the goodput under these limits.
    pub(crate) fn covers_goodput(self, slo: &Slo) -> bool {
        let limits = |any: fn(&Slo) -> bool| any(slo) || slo.classes.values().any(any);
        match self {
            Self::Run => true,
            Self::Stream => limits(|slo| slo.ttft.is_some() || slo.tpot.is_some()),
            Self::Tokens => limits(|slo| slo.tpot.is_some()),
            Self::FromDue => {
                limits(|slo| slo.from == SloFrom::Due && (slo.ttft.is_some() || slo.e2e.is_some()))
            }
        }
    }

    /// Returns whether the scope includes the throughputs that count output tokens.
    pub(crate) fn covers_output_throughput(self) -> bool {
        matches!(self, Self::Run | Self::Tokens)
    }

    /// The metrics as text; `None` for all of them.
    pub(crate) fn label(self) -> Option<&'static str> {
        match self {
            Self::Run => None,
            Self::Stream => Some("TTFT, TPOT and ITL"),
            Self::Tokens => Some("TPOT and output tok/s"),
            Self::FromDue => Some("latencies and goodput from due"),
        }
    }
}
