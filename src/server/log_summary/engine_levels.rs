//! An engine's load over the whole log.

use serde::{Serialize, Serializer};

use crate::server::log::{LogTime, PrefixHitRates, SpecDecodeLine, StatsLine};

/// The values of one quantity: their range and mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ValueRange {
    n: u64,
    sum: f64,
    min: f64,
    max: f64,
    at: Option<LogTime>,
    last: f64,
}

impl ValueRange {
    pub(super) fn add(&mut self, value: f64, now: Option<LogTime>) {
        if self.n == 0 || value > self.max {
            (self.max, self.at) = (value, now);
        }
        self.min = if self.n == 0 { value } else { self.min.min(value) };
        self.n += 1;
        self.sum += value;
        self.last = value;
    }

    /// Returns the summary, or `None` if no line reported the quantity.
    pub fn summarize(&self) -> Option<RangeSummary> {
        let Self { n, sum, min, max, at, last } = *self;
        (n > 0).then(|| RangeSummary { min, mean: sum / n as f64, max, at, last })
    }
}

impl Serialize for ValueRange {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.summarize().serialize(to)
    }
}

/// The summary of a quantity over a log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RangeSummary {
    /// The minimum.
    pub min: f64,
    /// The mean over lines.
    pub mean: f64,
    /// The maximum.
    pub max: f64,
    /// The time of the first maximum.
    pub at: Option<LogTime>,
    /// The last value.
    pub last: f64,
}

/// The summary of one engine's periodic lines. Shares are from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EngineLevels {
    /// The number of periodic lines.
    pub lines: u64,
    /// The number of periodic lines in whose interval the engine computed something.
    pub busy_lines: u64,
    /// Prompt tokens per second, over busy lines.
    pub prompt_throughput: ValueRange,
    /// Generated tokens per second, over busy lines.
    pub generation_throughput: ValueRange,
    /// Requests in the batch.
    pub running: ValueRange,
    /// Waiting requests (`Pending` in V0).
    pub waiting: ValueRange,
    /// Requests whose KV blocks are in CPU memory (V0).
    pub swapped: ValueRange,
    /// Share of the KV cache in use.
    pub kv_cache_usage: ValueRange,
    /// Share of the CPU swap space in use (V0).
    pub cpu_kv_cache_usage: ValueRange,
    /// Prefix cache hit rate.
    pub prefix_cache_hit_rate: ValueRange,
    /// Hit rate of the prefix cache in CPU memory (V0).
    pub cpu_prefix_cache_hit_rate: ValueRange,
    /// Hit rate of a cache outside vLLM.
    pub external_prefix_cache_hit_rate: ValueRange,
    /// Hit rate of the multimodal cache: images and other media.
    pub mm_cache_hit_rate: ValueRange,
    /// Preemptions that the periodic lines count (V1).
    pub preemptions: u64,
}

impl EngineLevels {
    pub(super) fn add(&mut self, stats: &StatsLine, now: Option<LogTime>) {
        self.lines += 1;
        let computed = |throughput: Option<f64>| throughput.is_some_and(|throughput| throughput > 0.0);
        if stats.running > 0 || computed(stats.prompt) || computed(stats.generation) {
            self.busy_lines += 1;
            stats.prompt.into_iter().for_each(|throughput| self.prompt_throughput.add(throughput, now));
            stats
                .generation
                .into_iter()
                .for_each(|throughput| self.generation_throughput.add(throughput, now));
        }
        self.preemptions = self.preemptions.saturating_add(stats.preemptions);
        let levels = [
            (&mut self.running, Some(stats.running as f64)),
            (&mut self.waiting, stats.waiting.map(|count| count as f64)),
            (&mut self.swapped, stats.swapped.map(|count| count as f64)),
            (&mut self.kv_cache_usage, stats.kv),
            (&mut self.cpu_kv_cache_usage, stats.cpu_kv),
            (&mut self.prefix_cache_hit_rate, stats.hit_rate),
            (&mut self.external_prefix_cache_hit_rate, stats.external_hit_rate),
            (&mut self.mm_cache_hit_rate, stats.mm_hit_rate),
        ];
        for (range, value) in levels {
            if let Some(value) = value {
                range.add(value, now);
            }
        }
    }

    pub(super) fn add_hit_rate(&mut self, rate: PrefixHitRates, now: Option<LogTime>) {
        self.prefix_cache_hit_rate.add(rate.gpu, now);
        if let Some(cpu) = rate.cpu {
            self.cpu_prefix_cache_hit_rate.add(cpu, now);
        }
    }
}

/// Speculative decoding over a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpecDecodeHistory {
    /// The number of lines about speculative decoding.
    pub lines: u64,
    /// Draft tokens that the model accepted.
    pub accepted: u64,
    /// All draft tokens.
    pub drafted: u64,
    /// Share of draft tokens that the model accepted, from 0 to 1.
    pub acceptance_rate: Option<f64>,
    /// Tokens per step, the model's own included. SGLang reports nothing else.
    pub mean_length: ValueRange,
    /// Acceptance rate at each draft position, as of the last line.
    pub per_position: Vec<f64>,
}

impl SpecDecodeHistory {
    /// Adds the value of a periodic line.
    pub(super) fn add_length(&mut self, length: f64, now: Option<LogTime>) {
        self.lines += 1;
        self.mean_length.add(length, now);
    }

    pub(super) fn add(&mut self, drafts: &SpecDecodeLine, now: Option<LogTime>) {
        self.lines += 1;
        if drafts.since_start {
            (self.accepted, self.drafted) = (drafts.accepted, drafts.drafted);
        } else {
            self.accepted = self.accepted.saturating_add(drafts.accepted);
            self.drafted = self.drafted.saturating_add(drafts.drafted);
        }
        self.acceptance_rate = (self.drafted > 0).then(|| self.accepted as f64 / self.drafted as f64);
        if let Some(length) = drafts.mean_length {
            self.mean_length.add(length, now);
        }
        self.per_position.clone_from(&drafts.per_position);
    }
}
