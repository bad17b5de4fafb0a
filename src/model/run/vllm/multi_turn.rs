//! The keys of a run with sessions, as vLLM's Rust client names them.
//!
//! Input tokens exclude the same turn's output, which vLLM's client includes.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{json_number, milliseconds};
use crate::model::metrics::{GroupBy, GroupMetrics, LatencySummary};
use crate::model::run::Run;
use crate::model::run_spec::{Dataset, TurnCount};

/// The name of a statistic of a latency, and the function that extracts it.
type TurnStatistic = (&'static str, fn(LatencySummary) -> Duration);

const STATISTICS: [TurnStatistic; 3] =
    [("mean", |timing| timing.mean), ("median", |timing| timing.median), ("p99", |timing| timing.p99)];

/// The keys; empty for a run without sessions.
pub(super) fn keys(run: &Run) -> Vec<(&'static str, Value)> {
    let Some(totals) = &run.metrics.sessions else { return Vec::new() };
    let spec = &run.spec;
    let rows = run.metrics.rows.get(&GroupBy::Turn).into_iter().flatten();
    let time = run.metrics.duration;
    let mut keys = vec![
        ("mode", json!("multi_turn")),
        ("num_conversations", json!(spec.workload.num_prompts)),
        ("turns_per_conversation", turn_count_value(&spec.workload.dataset)),
        ("multi_turn_concurrency", json!(spec.load.max_active_sessions)),
        ("inter_turn_delay_ms", milliseconds(spec.sessions.think.map(|think| think.mean()))),
        ("conversations_completed", json!(totals.completed)),
        ("conversations_failed", json!(totals.failed)),
        ("avg_turns_completed", json_number(totals.mean_turns)),
        ("avg_conversation_duration_ms", milliseconds(totals.mean_duration)),
        ("per_turn_metrics", rows.zip(0..).map(|(row, index)| turn_value(row, index, time)).collect()),
    ];
    if let Dataset::RandomTurns(turns) = &spec.workload.dataset
        && turns.has_common_prefixes()
    {
        keys.push(("prefix_global_ratio", json!(turns.global_ratio)));
        keys.push(("prefix_conversation_ratio", json!(turns.session_ratio)));
        keys.push(("no_history_accumulation", json!(true)));
    }
    keys
}

/// One number if all sessions have the same number of turns, else the smallest and the largest.
fn turn_count_value(dataset: &Dataset) -> Value {
    let count = match dataset {
        Dataset::RandomTurns(random) => Some(random.turns),
        Dataset::SharegptTurns { turns, .. } => *turns,
        _ => None,
    };
    match count {
        Some(TurnCount { min, max }) if min == max => json!(min),
        Some(TurnCount { min, max }) => json!(format!("{min}-{max}")),
        None => Value::Null,
    }
}

/// The metrics of one turn over all sessions; throughputs are over the run's duration.
fn turn_value(row: &GroupMetrics, index: u32, time: Duration) -> Value {
    let seconds = time.as_secs_f64();
    let per_second = |count: u64| if seconds > 0.0 { json!(count as f64 / seconds) } else { Value::Null };
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    put("turn_index", json!(index));
    put("num_samples", json!(row.requests));
    put("completed", json!(row.completed));
    put("failed", json!(row.failed));
    put("total_input_tokens", json!(row.input_tokens));
    put("total_output_tokens", json!(row.output_tokens));
    put("request_throughput", per_second(row.completed as u64));
    put("input_throughput", per_second(row.input_tokens));
    put("output_throughput", per_second(row.output_tokens));
    put("total_token_throughput", per_second(row.input_tokens + row.output_tokens));
    for (latency, timing) in [("ttft", row.ttft), ("tpot", row.vllm_tpot()), ("e2el", row.e2e)] {
        for (statistic, value) in STATISTICS {
            put(&format!("{statistic}_{latency}_ms"), milliseconds(timing.map(value)));
        }
    }
    Value::Object(keys)
}
