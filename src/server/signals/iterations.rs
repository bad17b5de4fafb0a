//! TensorRT-LLM's own `/metrics`: a JSON list of the iterations since the last request to it. Each request empties
//! the list.
//!
//! The last iteration of each rank of attention data parallelism holds the current state. Field names are those of
//! TensorRT-LLM's `IterationStats`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{EngineFamily, MetricsSnapshot, SignalValue};
use crate::model::server::ServerSignal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrtllmIteration {
    num_active_requests: f64,
    #[serde(default)]
    num_queued_requests: Option<f64>,
    #[serde(default)]
    kv_cache_stats: Option<TrtllmKvCache>,
    #[serde(default)]
    attention_dp_rank: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrtllmKvCache {
    max_num_blocks: Option<f64>,
    used_num_blocks: Option<f64>,
    free_num_blocks: Option<f64>,
    cache_hit_rate: Option<f64>,
}

impl TrtllmKvCache {
    fn usage(&self) -> Option<f64> {
        let all = self.max_num_blocks.filter(|blocks| *blocks > 0.0)?;
        let used = self.used_num_blocks.or_else(|| Some(all - self.free_num_blocks?))?;
        Some(used / all)
    }
}

/// Parses such a list; returns `None` for any other text. An empty list identifies only the engine.
pub(super) fn parse_iterations(text: &str) -> Option<MetricsSnapshot> {
    let text = text.trim_start();
    let iterations: Vec<TrtllmIteration> = match text.as_bytes().first()? {
        b'[' => serde_json::from_str(text).ok()?,
        b'{' => vec![serde_json::from_str(text).ok()?],
        _ => return None,
    };
    // Oldest first, so the last iteration of each rank remains.
    let ranks: BTreeMap<u64, TrtllmIteration> =
        iterations.into_iter().map(|iteration| (iteration.attention_dp_rank, iteration)).collect();
    let all = |of: fn(&TrtllmIteration) -> Option<f64>, signal: ServerSignal| {
        let known = ranks.values().filter_map(of).filter(|value| value.is_finite() && *value >= 0.0);
        Some((signal, SignalValue::Number(signal.info().merge.aggregate(known)?)))
    };
    let numbers = [
        all(|rank| Some(rank.num_active_requests), ServerSignal::Running),
        all(|rank| rank.num_queued_requests, ServerSignal::Waiting),
        all(|rank| rank.kv_cache_stats.as_ref()?.usage(), ServerSignal::KvUsage),
        all(|rank| rank.kv_cache_stats.as_ref()?.cache_hit_rate, ServerSignal::PrefixHitRate),
    ];
    Some(MetricsSnapshot {
        values: numbers.into_iter().flatten().collect(),
        ..MetricsSnapshot::empty(EngineFamily::TensorrtLlm)
    })
}
