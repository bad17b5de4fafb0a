//! vLLM's view of a run: the keys, types and units of `vllm bench serve`'s result file (0.33.0), and its file name.
//!
//! Where vLLM writes something that is not JSON (`Infinity`) or a zero for what was never measured, this writes `"inf"`
//! and `null`.

mod multi_turn;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Always, Run};
use crate::core::metrics::{Latency, SCALARS, Scalar};
use crate::core::record::Record;
use crate::core::stats::{Distribution, Percent};

/// The top-level keys.
pub fn keys(run: &Run) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| {
        keys.insert(key.to_owned(), value);
    };
    let (spec, metrics) = (&run.spec, &run.metrics);
    put("date", json!(date(run)));
    put("endpoint_type", json!(spec.target.backend.name()));
    put("backend", json!(spec.target.backend.name()));
    put("label", json!(run.notes.label));
    put("model_id", json!(spec.target.model));
    put("tokenizer_id", json!(run.inputs.tokenizer.origin));
    put("num_prompts", json!(spec.workload.num_prompts));
    run.notes.metadata.iter().for_each(|(key, value)| put(key, json!(value)));
    put("request_rate", json!(spec.load.request_rate));
    put("burstiness", number(spec.load.burstiness));
    put("max_concurrency", json!(spec.load.max_concurrency));
    put("duration", json!(metrics.duration.as_secs_f64()));
    put("completed", json!(metrics.completed));
    put("failed", json!(metrics.failed));
    put("total_input_tokens", json!(metrics.input_tokens.total));
    put("total_output_tokens", json!(metrics.output_tokens.total));
    for Scalar { key, value, .. } in &SCALARS {
        put(key, json!(value(metrics)));
    }
    put("max_output_tokens_per_s", json!(metrics.peak_output_tokens_per_s));
    put("max_concurrent_requests", json!(metrics.peak_in_flight));
    // A factor of audio, of which nothing is sent here.
    put("rtfx", Value::Null);
    for latency in &run.selection.latencies {
        let distribution = metrics.latencies.get(latency);
        statistics(*latency, distribution, &run.selection.percents).for_each(|(key, value)| put(&key, value));
    }
    put("latencies", run.always.iter().map(|always| always.latency).collect());
    put("queue_times", run.always.iter().map(|always| always.queue_time).collect());
    multi_turn::keys(run).into_iter().for_each(|(key, value)| put(key, value));
    if let Some(records) = &run.records {
        details(records).into_iter().for_each(|(key, value)| put(key, value));
    }
    keys
}

/// `{label or backend}-{rate}qps{-concurrencyN}-{model's last part}-{date}.json`.
pub fn file_name(run: &Run) -> String {
    let label = run.notes.label.as_deref().unwrap_or(run.spec.target.backend.name());
    let rate = match run.spec.load.request_rate.get() {
        // Python prints the float, so that 20 is `20.0`.
        rate if rate.is_finite() => format!("{rate:?}"),
        _ => "inf".to_owned(),
    };
    let cap = run.spec.load.max_concurrency.map(|cap| format!("-concurrency{cap}")).unwrap_or_default();
    let model = run.spec.target.model.rsplit('/').next().unwrap_or_default();
    format!("{label}-{rate}qps{cap}-{model}-{}.json", date(run))
}

fn date(run: &Run) -> String {
    run.started.strftime("%Y%m%d-%H%M%S").to_string()
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
    let key = move |statistic: &str| format!("{statistic}_{}_ms", latency.key());
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

/// The arrays of `--save-detailed`, in the order of the schedule; a failed request has vLLM's zeros.
fn details(records: &[Record]) -> [(&'static str, Value); 7] {
    let seconds = |value: Option<Duration>| value.unwrap_or_default().as_secs_f64();
    let gaps = |record: &Record| -> Vec<f64> {
        record.events.gaps.iter().flatten().map(Duration::as_secs_f64).collect()
    };
    let answered = |record: &Record, count: u32| if record.succeeded() { count } else { 0 };
    let error = |record: &Record| record.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
    [
        ("input_lens", records.iter().map(|r| r.prompt_tokens.count).collect()),
        ("output_lens", records.iter().map(|r| answered(r, r.output_tokens.count)).collect()),
        ("ttfts", records.iter().map(|r| seconds(r.ttft())).collect()),
        ("itls", records.iter().map(gaps).collect()),
        ("start_times", records.iter().map(|r| seconds(r.times.sent)).collect()),
        ("generated_texts", records.iter().map(|r| r.text.as_deref().unwrap_or_default()).collect()),
        ("errors", records.iter().map(error).collect()),
    ]
}

/// Puts back what the `servebench` object leaves to vLLM's arrays.
pub fn restore(run: &mut Run, file: &Value) {
    let numbers = |key: &str| file[key].as_array().into_iter().flatten().filter_map(Value::as_f64);
    run.always = numbers("latencies")
        .zip(numbers("queue_times"))
        .map(|(latency, queue_time)| Always { latency, queue_time })
        .collect();
    for (i, record) in run.records.iter_mut().flatten().enumerate() {
        record.text = file["generated_texts"][i].as_str().map(ToOwned::to_owned);
        record.events.gaps = file["itls"][i].as_array().map(|gaps| {
            gaps.iter().filter_map(|gap| Duration::try_from_secs_f64(gap.as_f64()?).ok()).collect()
        });
    }
}
