//! vLLM's view of a run: the keys, types and units of `vllm bench serve`'s result file (0.33.0), and its file name.
//!
//! Where vLLM writes invalid JSON (`Infinity`) or a zero for a value that was never measured, this module writes
//! `"inf"` and `null`.

mod multi_turn;

use std::time::Duration;

use jiff::Zoned;
use serde_json::{Map, Value, json};

use super::{ReportSelection, Run};
use crate::model::arrival;
use crate::model::metrics::{Latency, Metrics, SCALARS};
use crate::model::plain_text;
use crate::model::run_spec::{Ramp, RateSchedule, Spec};
use crate::model::server::SpecDecodeStats;
use crate::stats::{Distribution, Percent};

/// The top-level keys except the arrays with an element per request. A later group wins, as in vLLM: metadata may
/// replace the date, but no measurement.
pub(super) fn keys(run: &Run) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.extend(to_entries(identity_keys(run)));
    keys.extend(run.notes.metadata.iter().map(|(key, value)| (key.clone(), json!(value))));
    keys.extend(to_entries(load_keys(run)));
    keys.extend(ramp_keys(run));
    keys.extend(to_entries(total_keys(run)));
    keys.extend(SCALARS.iter().map(|scalar| (scalar.key.to_owned(), json!((scalar.value)(&run.metrics)))));
    keys.extend(latency_keys(run));
    if run.is_predicted() {
        keys.insert("predicted".to_owned(), json!(true));
    }
    keys.extend(probe_keys(run));
    keys.extend(spec_decode_keys(run));
    keys.extend(multi_turn::keys(run).into_iter().map(|(key, value)| (key.to_owned(), value)));
    adjust_for_pooling(&mut keys, &run.metrics);
    keys
}

/// Pooling has its own key in vLLM and lacks the keys that count generated tokens.
fn adjust_for_pooling(keys: &mut Map<String, Value>, metrics: &Metrics) {
    let lacks: &[_] = match metrics.input_sequences {
        Some(sequences) => {
            keys.insert("total_input_sequences".into(), json!(sequences));
            &["total_output_tokens", "output_throughput", "max_output_tokens_per_s", "rtfx"]
        }
        None => &["input_sequence_throughput"],
    };
    lacks.iter().for_each(|key| _ = keys.remove(*key));
}

fn to_entries<const N: usize>(pairs: [(&str, Value); N]) -> impl Iterator<Item = (String, Value)> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into_iter()
}

fn identity_keys(run: &Run) -> [(&'static str, Value); 7] {
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

fn load_keys(run: &Run) -> [(&'static str, Value); 3] {
    let load = &run.spec.load;
    [
        ("request_rate", json!(load.request_rate)),
        ("burstiness", json_number(load.burstiness)),
        ("max_concurrency", json!(load.max_concurrency)),
    ]
}

fn total_keys(run: &Run) -> [(&'static str, Value); 7] {
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

fn latency_keys(run: &Run) -> impl Iterator<Item = (String, Value)> {
    let ReportSelection { latencies, percents } = &run.selection;
    let distribution = |latency: &Latency| match latency {
        Latency::Tpot => run.metrics.vllm_tpot(),
        _ => run.metrics.latencies.get(latency),
    };
    latencies.iter().flat_map(move |latency| statistics(*latency, distribution(latency), percents))
}

/// `{label or backend}-{rate}qps{-concurrencyN}-{model's last part}-{date}.json`.
pub(crate) fn file_name(spec: &Spec, label: Option<&str>, started: &Zoned) -> String {
    let label = plain_text::file_name_part(label.unwrap_or(spec.target.backend.name()));
    let rate = match (spec.load.request_rate.get(), &spec.load.pace) {
        (_, RateSchedule::Ramp(Ramp { strategy, start, end, .. })) => {
            format!("ramp-up-{}-{start}qps-{end}", strategy.name())
        }
        // Python prints a float, so that 20 becomes `20.0`.
        (rate, _) if rate.is_finite() => format!("{rate:?}"),
        _ => "inf".to_owned(),
    };
    let cap = spec.load.max_concurrency.map(|cap| format!("-concurrency{cap}")).unwrap_or_default();
    let model = plain_text::file_name_part(spec.target.model.rsplit('/').next().unwrap_or_default());
    format!("{label}-{rate}qps{cap}-{model}-{}.json", date(started))
}

/// The keys of a ramp, as planned; empty without a ramp.
fn ramp_keys(run: &Run) -> Vec<(String, Value)> {
    let RateSchedule::Ramp(Ramp { strategy, start, end, .. }) = &run.spec.load.pace else {
        return Vec::new();
    };
    // vLLM's rates are integers.
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
    to_entries(pairs).collect()
}

/// The keys of probes; empty without probes.
fn probe_keys(run: &Run) -> Vec<(String, Value)> {
    let Some(probes) = &run.probes else { return Vec::new() };
    let pairs = [
        ("probe_completed", json!(probes.completed)),
        ("probe_failed", json!(probes.failed)),
        ("probe_median_e2el_ms", milliseconds(probes.median)),
        ("probe_p99_e2el_ms", milliseconds(probes.p99)),
        ("probe_max_e2el_ms", milliseconds(probes.max)),
    ];
    to_entries(pairs).collect()
}

/// The keys of speculative decoding, from the server's counters; empty where nothing was drafted.
fn spec_decode_keys(run: &Run) -> Vec<(String, Value)> {
    let Some(speculation) = run.server.as_ref().and_then(SpecDecodeStats::from_server) else {
        return Vec::new();
    };
    let whole = |count: f64| json!(count as u64);
    let pairs = [
        ("spec_decode_acceptance_rate", json!(100.0 * speculation.acceptance_rate())),
        ("spec_decode_acceptance_length", json!(speculation.acceptance_length())),
        ("spec_decode_num_drafts", speculation.drafts.map_or(Value::Null, whole)),
        ("spec_decode_draft_tokens", whole(speculation.draft_tokens)),
        ("spec_decode_accepted_tokens", whole(speculation.accepted_tokens)),
        ("spec_decode_per_position_acceptance_rates", json!(speculation.by_position)),
    ];
    to_entries(pairs).collect()
}

fn date(started: &Zoned) -> String {
    started.strftime("%Y%m%d-%H%M%S").to_string()
}

fn json_number(value: f64) -> Value {
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
