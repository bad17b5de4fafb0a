//! The periodic line of statistics.

use std::fmt;

use serde::{Serialize, Serializer};

use super::fields::{count, fields, quantity, share};

/// Bytes of the longest name of an engine in front of the statistics.
pub(super) const LONGEST_ENGINE: usize = 40;

/// The highest number of an engine that is believed: each has its own sums in memory.
const MOST_ENGINES: u16 = 1024;

/// Whose statistics they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// There is only one: V0, and V1 before v0.8.3.
    Only,
    /// One of several that share the load (data parallel).
    Number(u16),
    /// So many together.
    Together(u16),
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => write!(f, "engine"),
            Self::Number(number) => write!(f, "engine {number}"),
            Self::Together(count) => write!(f, "{count} engines together"),
        }
    }
}

impl Serialize for Engine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What the periodic line says. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Whose.
    pub engine: Engine,
    /// Prompt tokens per second, over the interval.
    pub prompt: f64,
    /// Generated tokens per second, over the interval.
    pub generation: f64,
    /// Requests in the batch.
    pub running: u64,
    /// Requests that wait for a place in it: `Waiting`, or `Pending` in V0.
    pub waiting: u64,
    /// Requests whose KV blocks are in the CPU's memory (V0).
    pub swapped: Option<u64>,
    /// Waiting requests that cannot start yet, such as those whose KV blocks are still being fetched.
    pub deferred: Option<u64>,
    /// Preemptions in the interval; V1 says so if there were any.
    pub preemptions: u64,
    /// Share of the KV cache in use: the GPU's, or the CPU's where vLLM computes on a CPU.
    pub kv: Option<f64>,
    /// Share of the CPU's swap space in use (V0).
    pub cpu_kv: Option<f64>,
    /// Prefix cache hits, over the last 1,000 requests.
    pub hit_rate: Option<f64>,
    /// Hits in a cache outside of vLLM.
    pub external_hit_rate: Option<f64>,
    /// Hits among images and the like.
    pub mm_hit_rate: Option<f64>,
}

/// The hit rates of V0's prefix caches, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitRate {
    /// In the GPU's memory.
    pub gpu: f64,
    /// In the CPU's memory.
    pub cpu: Option<f64>,
}

/// Reads from the engine's name on, or from `Avg prompt throughput` if there is none.
pub(super) fn read(text: &str) -> Option<Stats> {
    let at = text.find("Avg prompt throughput: ")?;
    let mut stats = Stats::of(engine(text[..at].trim())?);
    let (mut generation, mut running, mut waiting, mut prompt) = (None, None, None, None);
    for (key, value) in fields(&text[at..]) {
        match key {
            "Avg prompt throughput" => prompt = quantity(value, " tokens/s"),
            "Avg generation throughput" => generation = quantity(value, " tokens/s"),
            "Running" => running = count(value, " reqs"),
            "Waiting" | "Pending" => waiting = count(value, " reqs"),
            "Swapped" => stats.swapped = Some(count(value, " reqs")?),
            "Deferred" => stats.deferred = Some(count(value, " reqs")?),
            "Preemptions" => stats.preemptions = count(value, "")?,
            "GPU KV cache usage" => stats.kv = share(value),
            "CPU KV cache usage" => stats.cpu_kv = share(value),
            "Prefix cache hit rate" => stats.hit_rate = share(value),
            "External prefix cache hit rate" => stats.external_hit_rate = share(value),
            "MM cache hit rate" => stats.mm_hit_rate = share(value),
            _ => {}
        }
    }
    if stats.kv.is_none() {
        stats.kv = stats.cpu_kv.take();
    }
    Some(Stats { prompt: prompt?, generation: generation?, running: running?, waiting: waiting?, ..stats })
}

/// Reads what follows `Prefix cache hit rate: GPU: `.
pub(super) fn read_hit_rate(text: &str) -> Option<HitRate> {
    let cpu = fields(text).find(|(key, _)| *key == "CPU").and_then(|(_, value)| share(value));
    Some(HitRate { gpu: share(text)?, cpu })
}

/// `Engine 000:`, `4 Engines Aggregated:`, or nothing.
fn engine(text: &str) -> Option<Engine> {
    let known = |number: &str| number.parse().ok().filter(|number| *number < MOST_ENGINES);
    let Some(name) = text.strip_suffix(':') else { return Some(Engine::Only) };
    if let Some(number) = name.strip_prefix("Engine ") {
        return known(number).map(Engine::Number);
    }
    match name.strip_suffix(" Engines Aggregated") {
        Some(count) => known(count).map(Engine::Together),
        None => Some(Engine::Only),
    }
}

impl Stats {
    fn of(engine: Engine) -> Self {
        Self {
            engine,
            prompt: 0.0,
            generation: 0.0,
            running: 0,
            waiting: 0,
            swapped: None,
            deferred: None,
            preemptions: 0,
            kv: None,
            cpu_kv: None,
            hit_rate: None,
            external_hit_rate: None,
            mm_hit_rate: None,
        }
    }
}
