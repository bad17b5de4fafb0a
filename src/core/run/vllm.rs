//! vLLM's view of a run: the keys, types and units of `vllm bench serve`'s result file (0.33.0), and its file name.
//!
//! Where vLLM writes something that is not JSON (`Infinity`) or a zero for what was never measured, this writes `"inf"`
//! and `null`.

mod multi_turn;

use std::time::Duration;

use jiff::Zoned;
use serde_json::{Map, Value, json};

use super::{Run, Selection};
use crate::core::arrival;
use crate::core::metrics::{Latency, Metrics, SCALARS};
use crate::core::server::Speculation;
use crate::core::spec::{Pace, Ramp, Spec};
use crate::core::stats::{Distribution, Percent};

/// The top-level keys, but for the arrays with an element for each request. A later group wins, as in vLLM: metadata may rename the date, but not what was measured.
pub fn keys(run: &Run) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.extend(named(identity(run)));
    keys.extend(run.notes.metadata.iter().map(|(key, value)| (key.clone(), json!(value))));
    keys.extend(named(traffic(run)));
    keys.extend(ramp(run));
    keys.extend(named(totals(run)));
    keys.extend(SCALARS.iter().map(|scalar| (scalar.key.to_owned(), json!((scalar.value)(&run.metrics)))));
    keys.extend(latencies(run));
    keys.extend(probes(run));
    keys.extend(speculation(run));
    keys.extend(multi_turn::keys(run).into_iter().map(|(key, value)| (key.to_owned(), value)));
    fit_the_task(&mut keys, &run.metrics);
    keys
}

/// Pooling has a key of its own in vLLM, and lacks those that count what is generated.
fn fit_the_task(keys: &mut Map<String, Value>, metrics: &Metrics) {
    let lacks: &[_] = match metrics.input_sequences {
        Some(sequences) => {
            keys.insert("total_input_sequences".into(), json!(sequences));
            &["total_output_tokens", "output_throughput", "max_output_tokens_per_s", "rtfx"]
        }
        None => &["input_sequence_throughput"],
    };
    lacks.iter().for_each(|key| _ = keys.remove(*key));
}

fn named<const N: usize>(pairs: [(&str, Value); N]) -> impl Iterator<Item = (String, Value)> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into_iter()
}

fn identity(run: &Run) -> [(&'static str, Value); 7] {
    let backend = run.spec.target.backend.name();
    [
        ("date", json!(date(&run.started))),
        ("endpoint_type", json!(backend)),
        ("backend", json!(backend)),
        ("label", json!(run.notes.label)),
        ("model_id", json!(run.spec.target.model)),
        ("tokenizer_id", json!(run.inputs.tokenizer.origin)),
        ("num_prompts", json!(run.spec.workload.num_prompts)),
    ]
}

fn traffic(run: &Run) -> [(&'static str, Value); 3] {
    let load = &run.spec.load;
    [
        ("request_rate", json!(load.request_rate)),
        ("burstiness", number(load.burstiness)),
        ("max_concurrency", json!(load.max_concurrency)),
    ]
}

fn totals(run: &Run) -> [(&'static str, Value); 7] {
    let metrics = &run.metrics;
    [
        ("duration", json!(metrics.duration.as_secs_f64())),
        ("completed", json!(metrics.completed)),
        ("failed", json!(metrics.failed)),
        ("total_input_tokens", json!(metrics.input_tokens.total)),
        ("total_output_tokens", json!(metrics.output_tokens.total)),
        ("max_output_tokens_per_s", json!(metrics.peak_output_tokens_per_s)),
        ("max_concurrent_requests", json!(metrics.peak_in_flight)),
    ]
}

fn latencies(run: &Run) -> impl Iterator<Item = (String, Value)> {
    let Selection { latencies, percents } = &run.selection;
    let distribution = |latency: &Latency| match latency {
        Latency::Tpot => run.metrics.vllm_tpot(),
        _ => run.metrics.latencies.get(latency),
    };
    latencies.iter().flat_map(move |latency| statistics(*latency, distribution(latency), percents))
}

/// `{label or backend}-{rate}qps{-concurrencyN}-{model's last part}-{date}.json`.
pub fn file_name(spec: &Spec, label: Option<&str>, started: &Zoned) -> String {
    let label = label.unwrap_or(spec.target.backend.name());
    let rate = match (spec.load.request_rate.get(), &spec.load.pace) {
        (_, Pace::Ramp(Ramp { strategy, start, end, .. })) => {
            format!("ramp-up-{}-{start}qps-{end}", strategy.name())
        }
        // Python prints the float, so that 20 is `20.0`.
        (rate, _) if rate.is_finite() => format!("{rate:?}"),
        _ => "inf".to_owned(),
    };
    let cap = spec.load.max_concurrency.map(|cap| format!("-concurrency{cap}")).unwrap_or_default();
    let model = spec.target.model.rsplit('/').next().unwrap_or_default();
    format!("{label}-{rate}qps{cap}-{model}-{}.json", date(started))
}

/// The keys of a ramp, as planned; none without one.
fn ramp(run: &Run) -> Vec<(String, Value)> {
    let Pace::Ramp(Ramp { strategy, start, end, .. }) = &run.spec.load.pace else { return Vec::new() };
    // vLLM's are integers.
    let rate = |rate: f64| if rate.fract() == 0.0 { json!(rate as u64) } else { json!(rate) };
    let changes = arrival::rate_changes(&run.spec.load, run.spec.workload.num_prompts);
    let change = |(rps, at): (u64, Duration)| {
        let at = run.started.checked_add(at).unwrap_or_else(|_| run.started.clone());
        json!({ "rps": rps, "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string() })
    };
    let pairs = [
        ("ramp_up_strategy", json!(strategy.name())),
        ("ramp_up_start_rps", rate(*start)),
        ("ramp_up_end_rps", rate(*end)),
        ("rps_change_events", changes.into_iter().map(change).collect()),
    ];
    named(pairs).collect()
}

/// The keys of probes; none without any.
fn probes(run: &Run) -> Vec<(String, Value)> {
    let Some(probes) = &run.probes else { return Vec::new() };
    let pairs = [
        ("probe_completed", json!(probes.completed)),
        ("probe_failed", json!(probes.failed)),
        ("probe_median_e2el_ms", milliseconds(probes.median)),
        ("probe_p99_e2el_ms", milliseconds(probes.p99)),
        ("probe_max_e2el_ms", milliseconds(probes.max)),
    ];
    named(pairs).collect()
}

/// The keys of speculative decoding, by the server's counters; none where nothing was drafted.
fn speculation(run: &Run) -> Vec<(String, Value)> {
    let Some(speculation) = run.server.as_ref().and_then(Speculation::of) else { return Vec::new() };
    let whole = |count: f64| json!(count as u64);
    let pairs = [
        ("spec_decode_acceptance_rate", json!(100.0 * speculation.acceptance_rate())),
        ("spec_decode_acceptance_length", json!(speculation.acceptance_length())),
        ("spec_decode_num_drafts", speculation.drafts.map_or(Value::Null, whole)),
        ("spec_decode_draft_tokens", whole(speculation.draft_tokens)),
        ("spec_decode_accepted_tokens", whole(speculation.accepted_tokens)),
        ("spec_decode_per_position_acceptance_rates", json!(speculation.by_position)),
    ];
    named(pairs).collect()
}

fn date(started: &Zoned) -> String {
    started.strftime("%Y%m%d-%H%M%S").to_string()
}

fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!("inf") }
}

fn milliseconds(value: Option<Duration>) -> Value {
    json!(value.map(|value| value.as_secs_f64() * 1e3))
}

fn statistics<'a>(
    latency: Latency,
    distribution: Option<&'a Distribution>,
    percents: &'a [Percent],
) -> impl Iterator<Item = (String, Value)> + 'a {
    let name = latency.vllm_key().unwrap_or(latency.key());
    let key = move |statistic: &str| format!("{statistic}_{name}_ms");
    let moments = [
        (key("mean"), milliseconds(distribution.map(|d| d.mean))),
        (key("median"), milliseconds(distribution.map(|d| d.median))),
        (key("std"), milliseconds(distribution.map(|d| d.std))),
    ];
    let percentile = move |p: &Percent| {
        let found = distribution.and_then(|d| d.percentiles.iter().find(|percentile| percentile.p == *p));
        (key(&format!("p{p}")), milliseconds(found.map(|percentile| percentile.value)))
    };
    moments.into_iter().chain(percents.iter().map(percentile))
}
