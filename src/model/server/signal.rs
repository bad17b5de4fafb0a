//! The signals of a server: the metrics that it may report, under names independent of the engine. The engines' names
//! are in [`crate::server::signals`](../../server/signals/index.html).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use Aggregation::{Max, Mean, Sum};
use SignalKind::{Counter, Gauge, Info, Time};

/// A metric that a server may report about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerSignal {
    Running,
    Waiting,
    Swapped,
    Preemptions,
    KvUsage,
    CpuKvUsage,
    PrefixQueries,
    PrefixHits,
    PrefixHitRate,
    PromptTokens,
    CachedPromptTokens,
    GenerationTokens,
    PromptThroughput,
    GenerationThroughput,
    Finished,
    Ttft,
    Itl,
    Tpot,
    E2e,
    QueueTime,
    PrefillTime,
    DecodeTime,
    InferenceTime,
    SpecDrafts,
    SpecDraftTokens,
    SpecAcceptedTokens,
    SpecAcceptedByPosition,
    SpecAcceptanceRate,
    SpecAcceptanceLength,
    SpecEfficiency,
    Lora,
    CacheConfig,
    ProcessStart,
}

/// The kind of a signal's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// A value that rises and falls.
    Gauge,
    /// A count that only grows, unless the server restarts.
    Counter,
    /// A histogram of seconds.
    Time,
    /// Facts in the labels.
    Info,
}

/// How the values of several engines or replicas are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Amounts are added.
    Sum,
    /// The maximum: of fill levels, the fullest overflows first.
    Max,
    /// Rates are averaged.
    Mean,
}

/// A row of the table of signals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalInfo {
    /// The signal.
    pub signal: ServerSignal,
    /// The display name.
    pub label: &'static str,
    /// The unit of the values; empty for a share of 1 and for facts.
    pub unit: &'static str,
    /// The kind of the values.
    pub kind: SignalKind,
    /// How values of several engines or replicas are combined.
    pub merge: Aggregation,
    /// The limit beyond which the signal indicates a problem.
    pub limit: Option<SignalLimit>,
}

/// The limit beyond which a signal indicates a problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalLimit {
    /// The aspect of the signal that is limited.
    pub of: SignalAspect,
    /// The limit: a problem begins above it, or for [`SignalAspect::Shortfall`] below.
    pub bound: f64,
    /// The time for which the limit must be exceeded.
    pub lasting: Duration,
    /// The severity of the problem.
    pub level: Severity,
    /// The remedy.
    pub remedy: &'static str,
    /// The source of the limit.
    pub source: LimitSource,
}

/// The aspect of a signal that a limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalAspect {
    /// The value itself.
    Value,
    /// The value itself, where low values are the problem.
    Shortfall,
    /// The growth per second.
    Growth,
    /// The mean of the values, in seconds.
    Mean,
    /// The 95th percentile of the values, in seconds.
    P95,
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The problem depends on the server's purpose.
    Hint,
    /// Users notice the problem.
    Warn,
    /// The problem needs immediate action.
    Alert,
}

/// The source of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// The operators' guide (docs/operators-guide.md) states the number.
    Guide,
    /// The operators' guide says "continuously" or "fast"; this project chose the number.
    Ours,
}

const fn unlimited(
    signal: ServerSignal,
    label: &'static str,
    unit: &'static str,
    kind: SignalKind,
    merge: Aggregation,
) -> SignalInfo {
    SignalInfo { signal, label, unit, kind, merge, limit: None }
}

const fn with_limit(facts: SignalInfo, limit: SignalLimit) -> SignalInfo {
    SignalInfo { limit: Some(limit), ..facts }
}

const fn limit(
    of: SignalAspect,
    bound: f64,
    lasting_s: u64,
    level: Severity,
    remedy: &'static str,
) -> SignalLimit {
    SignalLimit {
        of,
        bound,
        lasting: Duration::from_secs(lasting_s),
        level,
        remedy,
        source: LimitSource::Guide,
    }
}

const fn own_limit(limit: SignalLimit) -> SignalLimit {
    SignalLimit { source: LimitSource::Ours, ..limit }
}

const MORE_GPUS: &str = "the KV pool is too small: more GPUs, or less concurrency";

/// All signals, in the order of [`ServerSignal`].
pub(crate) const SERVER_SIGNALS: [SignalInfo; 33] = [
    unlimited(ServerSignal::Running, "Requests running", "requests", Gauge, Sum),
    with_limit(
        unlimited(ServerSignal::Waiting, "Requests waiting", "requests", Gauge, Sum),
        limit(SignalAspect::Value, 10.0, 0, Severity::Alert, "add capacity"),
    ),
    with_limit(
        unlimited(ServerSignal::Swapped, "Requests swapped", "requests", Gauge, Sum),
        limit(SignalAspect::Value, 0.0, 300, Severity::Alert, MORE_GPUS),
    ),
    with_limit(
        unlimited(ServerSignal::Preemptions, "Preemptions", "", Counter, Sum),
        own_limit(limit(SignalAspect::Growth, 0.1, 0, Severity::Warn, MORE_GPUS)),
    ),
    with_limit(
        unlimited(ServerSignal::KvUsage, "KV cache usage", "", Gauge, Max),
        own_limit(limit(SignalAspect::Value, 0.9, 60, Severity::Alert, "expand the KV cache")),
    ),
    with_limit(
        unlimited(ServerSignal::CpuKvUsage, "CPU KV cache usage", "", Gauge, Max),
        limit(SignalAspect::Value, 0.0, 0, Severity::Warn, "the KV cache spills to the CPU: expand it"),
    ),
    unlimited(ServerSignal::PrefixQueries, "Prefix cache queries", "tokens", Counter, Sum),
    unlimited(ServerSignal::PrefixHits, "Prefix cache hits", "tokens", Counter, Sum),
    with_limit(
        unlimited(ServerSignal::PrefixHitRate, "Prefix cache hit rate", "", Gauge, Mean),
        limit(
            SignalAspect::Shortfall,
            0.4,
            0,
            Severity::Hint,
            "low for conversations: check that --enable-prefix-caching is on",
        ),
    ),
    unlimited(ServerSignal::PromptTokens, "Prompt tokens", "tokens", Counter, Sum),
    unlimited(ServerSignal::CachedPromptTokens, "Cached prompt tokens", "tokens", Counter, Sum),
    unlimited(ServerSignal::GenerationTokens, "Generated tokens", "tokens", Counter, Sum),
    unlimited(ServerSignal::PromptThroughput, "Prompt throughput", "tok/s", Gauge, Sum),
    unlimited(ServerSignal::GenerationThroughput, "Generation throughput", "tok/s", Gauge, Sum),
    unlimited(ServerSignal::Finished, "Requests finished", "requests", Counter, Sum),
    with_limit(
        unlimited(ServerSignal::Ttft, "TTFT", "s", Time, Sum),
        limit(
            SignalAspect::P95,
            0.5,
            0,
            Severity::Warn,
            "chunked prefill, a lower --max-model-len, or more capacity",
        ),
    ),
    with_limit(
        unlimited(ServerSignal::Itl, "ITL", "s", Time, Sum),
        limit(SignalAspect::Mean, 0.03, 0, Severity::Warn, "a lower --max-num-seqs, or the KV cache in FP8"),
    ),
    with_limit(
        unlimited(ServerSignal::Tpot, "TPOT", "s", Time, Sum),
        limit(SignalAspect::Mean, 0.03, 0, Severity::Warn, "a lower --max-num-seqs, or the KV cache in FP8"),
    ),
    unlimited(ServerSignal::E2e, "E2E", "s", Time, Sum),
    unlimited(ServerSignal::QueueTime, "Queue", "s", Time, Sum),
    unlimited(ServerSignal::PrefillTime, "Prefill", "s", Time, Sum),
    unlimited(ServerSignal::DecodeTime, "Decode", "s", Time, Sum),
    unlimited(ServerSignal::InferenceTime, "Inference", "s", Time, Sum),
    unlimited(ServerSignal::SpecDrafts, "Drafts", "drafts", Counter, Sum),
    unlimited(ServerSignal::SpecDraftTokens, "Draft tokens", "tokens", Counter, Sum),
    unlimited(ServerSignal::SpecAcceptedTokens, "Accepted draft tokens", "tokens", Counter, Sum),
    unlimited(
        ServerSignal::SpecAcceptedByPosition,
        "Accepted draft tokens by position",
        "tokens",
        Counter,
        Sum,
    ),
    unlimited(ServerSignal::SpecAcceptanceRate, "Draft acceptance rate", "", Gauge, Mean),
    unlimited(ServerSignal::SpecAcceptanceLength, "Draft acceptance length", "tokens", Gauge, Mean),
    unlimited(ServerSignal::SpecEfficiency, "Speculation efficiency", "", Gauge, Mean),
    unlimited(ServerSignal::Lora, "LoRA adapters", "", Info, Sum),
    unlimited(ServerSignal::CacheConfig, "KV cache settings", "", Info, Sum),
    unlimited(ServerSignal::ProcessStart, "Started", "s since 1970", Gauge, Max),
];

impl SignalInfo {
    /// Whether the values are shares, from 0 to 1.
    pub fn is_share(&self) -> bool {
        self.kind == Gauge && self.unit.is_empty()
    }
}

impl ServerSignal {
    /// The signal's row of the table.
    pub fn info(self) -> &'static SignalInfo {
        &SERVER_SIGNALS[self as usize]
    }

    /// All signals.
    pub fn all() -> impl Iterator<Item = Self> {
        SERVER_SIGNALS.iter().map(|facts| facts.signal)
    }

    /// The signal's key in JSON.
    pub fn key(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(key)) => key,
            _ => unreachable!("a unit variant is a string"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_signals() {
        for (at, facts) in SERVER_SIGNALS.iter().enumerate() {
            assert_eq!(facts.signal as usize, at, "{:?}", facts.signal);
            assert_eq!(facts.signal.info(), facts);
        }
        assert_eq!(ServerSignal::KvUsage.key(), "kv_usage");
    }

    #[test]
    fn limits_are_those_of_the_operators_guide() {
        let limit = |signal: ServerSignal| signal.info().limit.unwrap();
        assert_eq!(limit(ServerSignal::Waiting).bound, 10.0);
        assert_eq!(
            (limit(ServerSignal::Swapped).bound, limit(ServerSignal::Swapped).lasting.as_secs()),
            (0.0, 300)
        );
        assert_eq!(limit(ServerSignal::KvUsage).bound, 0.9);
        assert_eq!((limit(ServerSignal::Ttft).of, limit(ServerSignal::Ttft).bound), (SignalAspect::P95, 0.5));
        assert_eq!(
            (limit(ServerSignal::Tpot).of, limit(ServerSignal::Tpot).bound),
            (SignalAspect::Mean, 0.03)
        );
        assert_eq!(limit(ServerSignal::PrefixHitRate).of, SignalAspect::Shortfall);
    }
}
