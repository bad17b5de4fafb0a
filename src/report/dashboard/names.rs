//! What each version of vLLM calls its signals, and the expressions that are made of them.

/// The names of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSet {
    /// The V0 engine, about v0.4.3 to v0.7: swapping, rates and efficiencies as gauges.
    Vllm06,
    /// The V1 engine from v0.11 on.
    Vllm1,
}

/// A signal of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Histogram, seconds to the first token.
    Ttft,
    /// Histogram, seconds from a token to the next.
    Itl,
    /// Histogram, seconds to the end.
    E2e,
    /// Counter, prompt tokens.
    PromptTokens,
    /// Counter, output tokens.
    OutputTokens,
    /// Gauge, requests being computed.
    Running,
    /// Gauge, requests that wait.
    Waiting,
    /// Gauge, requests swapped out to the CPU.
    Swapped,
    /// Counter, preemptions.
    Preemptions,
    /// Gauge, share of the KV pool in use.
    KvUsage,
    /// Gauge, share of the CPU's pool in use.
    CpuKvUsage,
}

/// Each signal's name by version; `None` where the version lacks it. Sources: vLLM's own metric definitions at v0.6.6 and
/// on its main branch of August 2026.
const TABLE: [(Signal, Option<&str>, Option<&str>); 11] = [
    (Signal::Ttft, Some("vllm:time_to_first_token_seconds"), Some("vllm:time_to_first_token_seconds")),
    (Signal::Itl, Some("vllm:time_per_output_token_seconds"), Some("vllm:inter_token_latency_seconds")),
    (Signal::E2e, Some("vllm:e2e_request_latency_seconds"), Some("vllm:e2e_request_latency_seconds")),
    (Signal::PromptTokens, Some("vllm:prompt_tokens_total"), Some("vllm:prompt_tokens_total")),
    (Signal::OutputTokens, Some("vllm:generation_tokens_total"), Some("vllm:generation_tokens_total")),
    (Signal::Running, Some("vllm:num_requests_running"), Some("vllm:num_requests_running")),
    (Signal::Waiting, Some("vllm:num_requests_waiting"), Some("vllm:num_requests_waiting")),
    (Signal::Swapped, Some("vllm:num_requests_swapped"), None),
    (Signal::Preemptions, Some("vllm:num_preemptions_total"), Some("vllm:num_preemptions_total")),
    (Signal::KvUsage, Some("vllm:gpu_cache_usage_perc"), Some("vllm:kv_cache_usage_perc")),
    (Signal::CpuKvUsage, Some("vllm:cpu_cache_usage_perc"), None),
];

impl NameSet {
    /// The names of a server that says this is its version: V1's from v0.11 on, where the old names went.
    /// `None` for a version that is none, or one in between, whose names depend on its engine.
    pub fn of_version(version: &str) -> Option<Self> {
        let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
        match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
            (0, ..=7) => Some(Self::Vllm06),
            (0, 8..=10) => None,
            _ => Some(Self::Vllm1),
        }
    }

    /// As it is called in flags: `vllm-0.6`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm06 => "vllm-0.6",
            Self::Vllm1 => "vllm-1",
        }
    }

    /// A signal's name as it is scraped; `None` where the version lacks it.
    pub fn of(self, signal: Signal) -> Option<&'static str> {
        let (_, old, new) = TABLE.iter().find(|(listed, ..)| *listed == signal)?;
        match self {
            Self::Vllm06 => *old,
            Self::Vllm1 => *new,
        }
    }

    /// Whether requests find the beginnings of their prompts, 0 to 1, over `window`.
    pub fn prefix_hits(self, window: &str) -> String {
        match self {
            Self::Vllm06 => "max by (instance) (vllm:gpu_prefix_cache_hit_rate >= 0)".into(),
            Self::Vllm1 => ratio("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", window),
        }
    }

    /// Which share of the drafted tokens is accepted, 0 to 1, over `window`.
    pub fn draft_acceptance(self, window: &str) -> String {
        match self {
            Self::Vllm06 => "max by (instance) (vllm:spec_decode_draft_acceptance_rate)".into(),
            Self::Vllm1 => ratio(
                "vllm:spec_decode_num_accepted_tokens_total",
                "vllm:spec_decode_num_draft_tokens_total",
                window,
            ),
        }
    }

    /// How well speculation pays: the engine's own efficiency, later the tokens a step brings.
    pub fn draft_yield(self, window: &str) -> String {
        match self {
            Self::Vllm06 => "max by (instance) (vllm:spec_decode_efficiency)".into(),
            Self::Vllm1 => format!(
                "1 + {}",
                ratio(
                    "vllm:spec_decode_num_accepted_tokens_total",
                    "vllm:spec_decode_num_drafts_total",
                    window
                )
            ),
        }
    }
}

fn ratio(part: &str, whole: &str, window: &str) -> String {
    format!("sum by (instance) (rate({part}[{window}])) / sum by (instance) (rate({whole}[{window}]))")
}
