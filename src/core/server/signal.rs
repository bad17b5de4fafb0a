//! The signals of a server: what it may say of itself, whatever it calls it. The names are in
//! [`crate::server::signals`](../../server/signals/index.html).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use Kind::{Counter, Gauge, Info, Time};
use Merge::{Max, Mean, Sum};

/// What a server may say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each has its label and its meaning in the table")]
pub enum Signal {
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

/// What kind of value a signal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, unless the server starts again.
    Counter,
    /// A histogram of seconds.
    Time,
    /// Facts in labels.
    Info,
}

/// How the values of engines, or of replicas, are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Amounts are added.
    Sum,
    /// Of fill levels the fullest counts: it is the one that runs over.
    Max,
    /// Of rates, their mean.
    Mean,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// The signal.
    pub signal: Signal,
    /// For people.
    pub label: &'static str,
    /// What it is counted in; empty for a share of 1 and for facts.
    pub unit: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// How several are one.
    pub merge: Merge,
    /// From when on it is a trouble.
    pub limit: Option<Limit>,
}

/// When a signal is a trouble.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// What of it.
    pub of: Aspect,
    /// The trouble begins beyond this: above it, or for [`Aspect::Shortfall`] below.
    pub bound: f64,
    /// It must last so long.
    pub lasting: Duration,
    /// How bad that is.
    pub level: Level,
    /// What to do then.
    pub remedy: &'static str,
    /// Who says so.
    pub source: Source,
}

/// What of a signal a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// The value itself.
    Value,
    /// The value itself, where little is the trouble.
    Shortfall,
    /// Its growth in a second.
    Growth,
    /// The mean of its values, in seconds.
    Mean,
    /// Their 95th percentile, in seconds.
    P95,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Depends on what the server is for.
    Hint,
    /// Users notice.
    Warn,
    /// Act now.
    Alert,
}

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The operator's chapter that this project implements, in numbers.
    Chapter,
    /// The chapter says "continuously" or "fast"; the number is ours.
    Ours,
}

const fn plain(signal: Signal, label: &'static str, unit: &'static str, kind: Kind, merge: Merge) -> Facts {
    Facts { signal, label, unit, kind, merge, limit: None }
}

const fn limited(facts: Facts, limit: Limit) -> Facts {
    Facts { limit: Some(limit), ..facts }
}

const fn limit(of: Aspect, bound: f64, lasting_s: u64, level: Level, remedy: &'static str) -> Limit {
    Limit { of, bound, lasting: Duration::from_secs(lasting_s), level, remedy, source: Source::Chapter }
}

const fn ours(limit: Limit) -> Limit {
    Limit { source: Source::Ours, ..limit }
}

const MORE_GPUS: &str = "the KV pool is too small: more GPUs, or less concurrency";

/// All signals, in the order of [`Signal`].
pub const SIGNALS: [Facts; 33] = [
    plain(Signal::Running, "Requests running", "requests", Gauge, Sum),
    limited(
        plain(Signal::Waiting, "Requests waiting", "requests", Gauge, Sum),
        limit(Aspect::Value, 10.0, 0, Level::Alert, "add capacity"),
    ),
    limited(
        plain(Signal::Swapped, "Requests swapped", "requests", Gauge, Sum),
        limit(Aspect::Value, 0.0, 300, Level::Alert, MORE_GPUS),
    ),
    limited(
        plain(Signal::Preemptions, "Preemptions", "", Counter, Sum),
        ours(limit(Aspect::Growth, 0.1, 0, Level::Warn, MORE_GPUS)),
    ),
    limited(
        plain(Signal::KvUsage, "KV cache usage", "", Gauge, Max),
        ours(limit(Aspect::Value, 0.9, 60, Level::Alert, "expand the KV cache")),
    ),
    limited(
        plain(Signal::CpuKvUsage, "CPU KV cache usage", "", Gauge, Max),
        limit(Aspect::Value, 0.0, 0, Level::Warn, "the KV cache spills to the CPU: expand it"),
    ),
    plain(Signal::PrefixQueries, "Prefix cache queries", "tokens", Counter, Sum),
    plain(Signal::PrefixHits, "Prefix cache hits", "tokens", Counter, Sum),
    limited(
        plain(Signal::PrefixHitRate, "Prefix cache hit rate", "", Gauge, Mean),
        limit(Aspect::Shortfall, 0.4, 0, Level::Hint, "conversations find more: --enable-prefix-caching"),
    ),
    plain(Signal::PromptTokens, "Prompt tokens", "tokens", Counter, Sum),
    plain(Signal::CachedPromptTokens, "Cached prompt tokens", "tokens", Counter, Sum),
    plain(Signal::GenerationTokens, "Generated tokens", "tokens", Counter, Sum),
    plain(Signal::PromptThroughput, "Prompt throughput", "tok/s", Gauge, Sum),
    plain(Signal::GenerationThroughput, "Generation throughput", "tok/s", Gauge, Sum),
    plain(Signal::Finished, "Requests finished", "requests", Counter, Sum),
    limited(
        plain(Signal::Ttft, "TTFT", "s", Time, Sum),
        limit(Aspect::P95, 0.5, 0, Level::Warn, "chunked prefill, a lower --max-model-len, or more capacity"),
    ),
    limited(
        plain(Signal::Itl, "ITL", "s", Time, Sum),
        limit(Aspect::Mean, 0.03, 0, Level::Warn, "a lower --max-num-seqs, or the KV cache in FP8"),
    ),
    limited(
        plain(Signal::Tpot, "TPOT", "s", Time, Sum),
        limit(Aspect::Mean, 0.03, 0, Level::Warn, "a lower --max-num-seqs, or the KV cache in FP8"),
    ),
    plain(Signal::E2e, "E2E", "s", Time, Sum),
    plain(Signal::QueueTime, "Queue", "s", Time, Sum),
    plain(Signal::PrefillTime, "Prefill", "s", Time, Sum),
    plain(Signal::DecodeTime, "Decode", "s", Time, Sum),
    plain(Signal::InferenceTime, "Inference", "s", Time, Sum),
    plain(Signal::SpecDrafts, "Drafts", "drafts", Counter, Sum),
    plain(Signal::SpecDraftTokens, "Draft tokens", "tokens", Counter, Sum),
    plain(Signal::SpecAcceptedTokens, "Accepted draft tokens", "tokens", Counter, Sum),
    plain(Signal::SpecAcceptedByPosition, "Accepted draft tokens by position", "tokens", Counter, Sum),
    plain(Signal::SpecAcceptanceRate, "Draft acceptance rate", "", Gauge, Mean),
    plain(Signal::SpecAcceptanceLength, "Draft acceptance length", "tokens", Gauge, Mean),
    plain(Signal::SpecEfficiency, "Speculation efficiency", "", Gauge, Mean),
    plain(Signal::Lora, "LoRA adapters", "", Info, Sum),
    plain(Signal::CacheConfig, "KV cache settings", "", Info, Sum),
    plain(Signal::ProcessStart, "Started", "s since 1970", Gauge, Max),
];

impl Signal {
    /// Its row of the table.
    pub fn facts(self) -> &'static Facts {
        &SIGNALS[self as usize]
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        SIGNALS.iter().map(|facts| facts.signal)
    }

    /// Its key in JSON.
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
        for (at, facts) in SIGNALS.iter().enumerate() {
            assert_eq!(facts.signal as usize, at, "{:?}", facts.signal);
            assert_eq!(facts.signal.facts(), facts);
        }
        assert_eq!(Signal::KvUsage.key(), "kv_usage");
    }

    #[test]
    fn limits_are_those_of_the_chapter() {
        let limit = |signal: Signal| signal.facts().limit.unwrap();
        assert_eq!(limit(Signal::Waiting).bound, 10.0);
        assert_eq!((limit(Signal::Swapped).bound, limit(Signal::Swapped).lasting.as_secs()), (0.0, 300));
        assert_eq!(limit(Signal::KvUsage).bound, 0.9);
        assert_eq!((limit(Signal::Ttft).of, limit(Signal::Ttft).bound), (Aspect::P95, 0.5));
        assert_eq!((limit(Signal::Tpot).of, limit(Signal::Tpot).bound), (Aspect::Mean, 0.03));
        assert_eq!(limit(Signal::PrefixHitRate).of, Aspect::Shortfall);
    }
}
