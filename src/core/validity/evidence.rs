//! What only the drive can know of a run.

use std::time::Duration;

/// What the drive saw of itself, the machine and the server. [`Evidence::default`] knows nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Who stamped what was read; `None` if nobody says.
    pub stamps: Option<Stamps>,
    /// The 99th percentile of our read − the stamp; `None` if it was not measured.
    pub read_delay: Option<Duration>,
    /// The share of output events whose read held another output event before them; `None` without events.
    pub merged_reads: Option<f64>,
    /// The share of answers of several output events whose first one came in one read with the next; `None` without any.
    pub burst_starts: Option<f64>,
    /// What the server's profiler did to the run; `None` if it was not on.
    pub profiled: Option<Profiled>,
    /// The server's own times, where it tells them of our requests alone.
    pub server_times: Option<ServerTimes>,
    /// Each worker's CPU time over the run's time: 1 is a core kept busy throughout.
    pub worker_cpu: Vec<f64>,
    /// The largest step of the wall clock against the monotonic one; `None` if nobody looked.
    pub clock_step: Option<Duration>,
    /// Requests that failed because this machine had no descriptor or port left.
    pub starved: usize,
    /// How many descriptors this process may have.
    pub descriptor_limit: Option<u64>,
    /// How the server's prefix-cache counters moved; `None` if it has none.
    pub prefix_cache: Option<PrefixCache>,
    /// Requests whose prompt was sent before in this run; of generated prompts, those that share their first block with an
    /// earlier one.
    pub repeated_prompts: usize,
    /// What went wrong in the client itself and ended the run early.
    pub client_errors: Vec<String>,
    /// |usage − tokenizer| / usage over all output tokens that both counted; `None` if not both did.
    pub token_disagreement: Option<f64>,
    /// What estimated prompts turned out to be; `None` if a tokenizer counted them, or the server did not.
    pub estimated_prompts: Option<EstimatedPrompts>,
}

/// Prompts whose lengths were estimated for want of a tokenizer, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimatedPrompts {
    /// By the estimate that the workload was made with.
    pub estimated: u64,
    /// By the server's usage.
    pub counted: u64,
}

/// What a profiler did to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profiled {
    /// How long it was on, or its profile was written, during the run.
    pub on: Duration,
    /// For how many whole seconds nothing came from the server while it wrote the profile.
    pub standstill: Duration,
}

/// Means that the server measured itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimes {
    /// Its TTFT.
    pub ttft: Duration,
    /// Its TPOT.
    pub tpot: Duration,
}

/// Who says when bytes arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamps {
    /// The kernel, when the segment came in.
    Kernel,
    /// The reader, when its read returned: late by as much as the reader was.
    Reader,
}

/// Prefix-cache counters of the server, in prompt tokens, over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixCache {
    /// Looked up.
    pub queries: u64,
    /// Found.
    pub hits: u64,
    /// What the workload itself shares between its prompts, and so explains.
    pub explained: u64,
}
