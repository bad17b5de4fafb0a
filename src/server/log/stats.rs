//! The periodic statistics line.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::server::log::key_values::{count, key_values, percent_share, quantity};

/// Bytes of the longest engine name before the statistics.
const MAX_ENGINE_NAME: usize = 40;

/// The highest engine number that is accepted, since each engine takes memory.
const MAX_ENGINE_NUMBER: u16 = 1024;

/// The engine or engines that the statistics describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineId {
    /// The only engine: V0, and V1 before v0.8.3.
    Only,
    /// One of several engines that share the load (data parallelism).
    Number(u16),
    /// The total over this number of engines.
    Together(u16),
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => write!(f, "engine"),
            Self::Number(number) => write!(f, "engine {number}"),
            Self::Together(count) => write!(f, "{count} engines together"),
        }
    }
}

impl Serialize for EngineId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The content of a periodic line. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsLine {
    /// The engine that the line describes.
    pub engine: EngineId,
    /// Prompt tokens per second, over the interval; `None` in a line that covers generation only.
    pub prompt: Option<f64>,
    /// Generated tokens per second, over the interval; `None` in a line that covers prompts only.
    pub generation: Option<f64>,
    /// Requests in the batch.
    pub running: u64,
    /// Requests that wait for the batch: `Waiting`, or `Pending` in V0. TensorRT-LLM's line has no such count.
    pub waiting: Option<u64>,
    /// Requests whose KV blocks are in CPU memory (V0).
    pub swapped: Option<u64>,
    /// Waiting requests that cannot start yet, such as those whose KV blocks are still being fetched.
    pub deferred: Option<u64>,
    /// Preemptions in the interval. V1 states them only if there were any.
    pub preemptions: u64,
    /// Share of the KV cache in use: the GPU's, or the CPU's if vLLM computes on a CPU.
    pub kv: Option<f64>,
    /// Share of the CPU swap space in use (V0).
    pub cpu_kv: Option<f64>,
    /// Prefix cache hit rate over the last 1,000 requests.
    pub hit_rate: Option<f64>,
    /// Hit rate of a cache outside vLLM.
    pub external_hit_rate: Option<f64>,
    /// Hit rate of the multimodal cache: images and other media.
    pub mm_hit_rate: Option<f64>,
    /// Tokens per step with speculative decoding, the model's own included (SGLang).
    pub draft_length: Option<f64>,
}

/// Hit rates of V0's prefix caches, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefixHitRates {
    /// Hit rate in GPU memory.
    pub gpu: f64,
    /// Hit rate in CPU memory.
    pub cpu: Option<f64>,
}

/// Parses the text after `Avg prompt throughput: `. `before` ends with the engine's name, if the line has one.
pub(super) fn parse_stats(before: &[u8], text: &str) -> Option<StatsLine> {
    let mut stats = StatsLine::new(engine(before)?);
    let (mut running, mut waiting) = (None, None);
    for (key, value) in key_values(text) {
        match key {
            // The mark was the first key.
            "" => stats.prompt = quantity(value, " tokens/s"),
            "Avg generation throughput" => stats.generation = quantity(value, " tokens/s"),
            "Running" => running = count(value, " reqs"),
            "Waiting" | "Pending" => waiting = count(value, " reqs"),
            "Swapped" => stats.swapped = Some(count(value, " reqs")?),
            _ => stats.add(key, value)?,
        }
    }
    stats.with_queue(running, waiting)
}

/// Parses the text after `Avg prompt tput: `: the line of vLLM's Rust frontend (`log_stats.rs`), over all engines.
/// Its counts have no unit, so only the text after them shows that they are complete.
pub(super) fn parse_rust_stats(text: &str) -> Option<StatsLine> {
    let mut stats = StatsLine::new(EngineId::Only);
    let (mut running, mut waiting) = (None, None);
    for (key, value) in key_values(text) {
        match key {
            "" => stats.prompt = quantity(value, " toks/s"),
            "Avg generation tput" => stats.generation = quantity(value, " toks/s"),
            "Reqs Running" => running = count(value, ""),
            "Waiting" => waiting = count(value, ""),
            _ => stats.add(key, value)?,
        }
    }
    stats.kv?;
    stats.with_queue(running, waiting)
}

/// Parses the text after `Prefix cache hit rate: GPU: `.
pub(super) fn parse_hit_rate(text: &str) -> Option<PrefixHitRates> {
    let cpu = key_values(text).find(|(key, _)| *key == "CPU").and_then(|(_, value)| percent_share(value));
    Some(PrefixHitRates { gpu: percent_share(text)?, cpu })
}

/// Parses `Engine 000: `, `4 Engines Aggregated: `, or nothing, at the end of the text before the statistics.
fn engine(before: &[u8]) -> Option<EngineId> {
    let Some(head) = before.strip_suffix(b": ") else { return Some(EngineId::Only) };
    let name = &head[memchr::memrchr(b']', head).map_or(0, |bracket| bracket + 1)..];
    if name.len() > MAX_ENGINE_NAME {
        return Some(EngineId::Only);
    }
    let name = std::str::from_utf8(name).unwrap_or_default().trim();
    let known = |number: &str| number.parse().ok().filter(|number| *number < MAX_ENGINE_NUMBER);
    match (name.strip_prefix("Engine "), name.strip_suffix(" Engines Aggregated")) {
        (Some(number), _) => known(number).map(EngineId::Number),
        (_, Some(count)) => known(count).map(EngineId::Together),
        (None, None) => Some(EngineId::Only),
    }
}

impl StatsLine {
    /// Adds an optional part; returns `None` if it is incomplete.
    fn add(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "Deferred" => self.deferred = Some(count(value, " reqs")?),
            "Preemptions" => self.preemptions = count(value, "")?,
            "GPU KV cache usage" | "GPU KV cache used" => self.kv = percent_share(value),
            "CPU KV cache usage" => self.cpu_kv = percent_share(value),
            "Prefix cache hit rate" => self.hit_rate = percent_share(value),
            "External prefix cache hit rate" => self.external_hit_rate = percent_share(value),
            "MM cache hit rate" => self.mm_hit_rate = percent_share(value),
            _ => {}
        }
        Some(())
    }

    /// Adds the parts that every line has.
    fn with_queue(mut self, running: Option<u64>, waiting: Option<u64>) -> Option<Self> {
        if self.kv.is_none() {
            self.kv = self.cpu_kv.take();
        }
        self.prompt.and(self.generation)?;
        Some(Self { running: running?, waiting: Some(waiting?), ..self })
    }

    pub(super) fn new(engine: EngineId) -> Self {
        Self {
            engine,
            prompt: None,
            generation: None,
            running: 0,
            waiting: None,
            swapped: None,
            deferred: None,
            preemptions: 0,
            kv: None,
            cpu_kv: None,
            hit_rate: None,
            external_hit_rate: None,
            mm_hit_rate: None,
            draft_length: None,
        }
    }
}
