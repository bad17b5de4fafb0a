//! What an engine did over the whole log.

use serde::{Serialize, Serializer};

use crate::server::log::{Drafts, HitRate, Moment, Stats};

/// The values of one quantity, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Range {
    n: u64,
    sum: f64,
    min: f64,
    max: f64,
    at: Option<Moment>,
    last: f64,
}

impl Range {
    pub(super) fn add(&mut self, value: f64, now: Option<Moment>) {
        if self.n == 0 || value > self.max {
            (self.max, self.at) = (value, now);
        }
        self.min = if self.n == 0 { value } else { self.min.min(value) };
        self.n += 1;
        self.sum += value;
        self.last = value;
    }

    /// The figures; `None` if no line told the quantity.
    pub fn figures(&self) -> Option<Figures> {
        let Self { n, sum, min, max, at, last } = *self;
        (n > 0).then(|| Figures { min, mean: sum / n as f64, max, at, last })
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.figures().serialize(to)
    }
}

/// A quantity over a log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// The lowest.
    pub min: f64,
    /// The mean over lines.
    pub mean: f64,
    /// The highest.
    pub max: f64,
    /// When it was highest, for the first time.
    pub at: Option<Moment>,
    /// The last.
    pub last: f64,
}

/// What one engine's periodic lines say together. Shares are from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Levels {
    /// Periodic lines.
    pub lines: u64,
    /// Those of them in whose interval something was computed.
    pub busy_lines: u64,
    /// Prompt tokens per second, over busy lines.
    pub prompt_throughput: Range,
    /// Generated tokens per second, over busy lines.
    pub generation_throughput: Range,
    /// Requests in the batch.
    pub running: Range,
    /// Requests that wait (`Pending` in V0).
    pub waiting: Range,
    /// Requests in the CPU's memory (V0).
    pub swapped: Range,
    /// Use of the KV cache.
    pub kv_cache_usage: Range,
    /// Use of the CPU's swap space (V0).
    pub cpu_kv_cache_usage: Range,
    /// Prefix cache hits.
    pub prefix_cache_hit_rate: Range,
    /// Prefix cache hits in the CPU's memory (V0).
    pub cpu_prefix_cache_hit_rate: Range,
    /// Hits in a cache outside of vLLM.
    pub external_prefix_cache_hit_rate: Range,
    /// Hits among images and the like.
    pub mm_cache_hit_rate: Range,
    /// Preemptions that the periodic lines count (V1).
    pub preemptions: u64,
}

impl Levels {
    pub(super) fn add(&mut self, stats: &Stats, now: Option<Moment>) {
        self.lines += 1;
        if stats.running > 0 || stats.prompt > 0.0 || stats.generation > 0.0 {
            self.busy_lines += 1;
            self.prompt_throughput.add(stats.prompt, now);
            self.generation_throughput.add(stats.generation, now);
        }
        self.preemptions = self.preemptions.saturating_add(stats.preemptions);
        let told = [
            (&mut self.running, Some(stats.running as f64)),
            (&mut self.waiting, Some(stats.waiting as f64)),
            (&mut self.swapped, stats.swapped.map(|count| count as f64)),
            (&mut self.kv_cache_usage, stats.kv),
            (&mut self.cpu_kv_cache_usage, stats.cpu_kv),
            (&mut self.prefix_cache_hit_rate, stats.hit_rate),
            (&mut self.external_prefix_cache_hit_rate, stats.external_hit_rate),
            (&mut self.mm_cache_hit_rate, stats.mm_hit_rate),
        ];
        for (range, value) in told {
            if let Some(value) = value {
                range.add(value, now);
            }
        }
    }

    pub(super) fn add_hit_rate(&mut self, rate: HitRate, now: Option<Moment>) {
        self.prefix_cache_hit_rate.add(rate.gpu, now);
        if let Some(cpu) = rate.cpu {
            self.cpu_prefix_cache_hit_rate.add(cpu, now);
        }
    }
}

/// Speculative decoding over a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Drafting {
    /// Lines about it.
    pub lines: u64,
    /// Draft tokens that the model agreed with.
    pub accepted: u64,
    /// Draft tokens.
    pub drafted: u64,
    /// Share of drafts accepted, from 0 to 1.
    pub acceptance_rate: Option<f64>,
    /// Tokens per step, the model's own included.
    pub mean_length: Range,
    /// Acceptance by position, as the last line has it.
    pub per_position: Vec<f64>,
}

impl Drafting {
    pub(super) fn add(&mut self, drafts: &Drafts, now: Option<Moment>) {
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
