//! SGLang's periodic lines: `Decode batch` every 40 steps, and `Prefill batch` for each prefill.
//!
//! The formats are those of `log_prefill_stats` and `log_decode_stats` in SGLang's scheduler, 2024 to August 2026.
//! Every data-parallel rank writes its own lines; pipeline-parallel ranks repeat each other's lines.

use super::stats::{EngineId, StatsLine};
use crate::server::log::key_values::{count, key_values, number, percent_share};

/// Parses a batch line. Returns `None` if it is incomplete, `Some(None)` if it repeats another rank's line.
pub(super) fn parse_batch(head: &str, text: &str) -> Option<Option<StatsLine>> {
    let mut stats = StatsLine::new(EngineId::Only);
    let (mut running, mut waiting) = (None, None);
    for (key, value) in key_values(text) {
        match key.trim_start_matches(['.', ',', ' ']) {
            "#running-req" => running = running.or(count(value, "")),
            "#queue-req" => waiting = waiting.or(count(value, "")),
            // For a model with several kinds of cache, the fullest counts, as in SGLang's own `token usage`.
            "token usage" | "full token usage" | "swa token usage" | "mamba usage" => {
                let usage = number(value).filter(|usage| *usage <= 1.0);
                stats.kv = [stats.kv, usage].into_iter().flatten().reduce(f64::max);
            }
            "gen throughput (token/s)" => stats.generation = Some(number(value)?),
            "input throughput (token/s)" => stats.prompt = Some(number(value)?),
            "cache hit rate" => stats.hit_rate = percent_share(value),
            "accept len" => stats.draft_length = number(value),
            _ => {}
        }
    }
    let ranks = LogRanks::parse(head);
    let stats = StatsLine { engine: ranks.engine(), running: running?, waiting: Some(waiting?), ..stats };
    Some((!ranks.is_repeated()).then_some(stats))
}

/// Parses the text after `#retracted_reqs: `: requests that are preempted at this moment.
pub(super) fn retracted(text: &str) -> Option<u64> {
    count(text, "")
}

/// The ranks in a line's head: `[2026-07-16 10:22:33 DP0 TP0 EP0]`.
#[derive(Default)]
struct LogRanks {
    data: Option<u16>,
    tensor: u16,
    pipeline: u16,
}

impl LogRanks {
    fn parse(head: &str) -> Self {
        let mut ranks = Self::default();
        let inside =
            head.rsplit_once('[').map_or("", |(_, inside)| inside.split(']').next().unwrap_or_default());
        for word in inside.split_whitespace() {
            let rank = |kind: &str| word.strip_prefix(kind)?.parse().ok();
            ranks.data = rank("DP").or(ranks.data);
            ranks.tensor = rank("TP").unwrap_or(ranks.tensor);
            ranks.pipeline = rank("PP").unwrap_or(ranks.pipeline);
        }
        ranks
    }

    fn engine(&self) -> EngineId {
        self.data.map_or(EngineId::Only, EngineId::Number)
    }

    /// Whether the first rank writes the same line. With data parallelism, the first tensor-parallel rank of a group
    /// may have any number.
    fn is_repeated(&self) -> bool {
        self.pipeline > 0 || (self.data.is_none() && self.tensor > 0)
    }
}
