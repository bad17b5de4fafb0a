//! The llm-d Benchmark Report 0.2: a result in the format that llm-d's tools read, as JSON or YAML.
//!
//! Its schema allows no further fields, requires a unit and a mean of every statistic, and has no verdict: the
//! description says what the verdict of this program is.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::metrics::Latency;
use crate::model::stated::{StatedLatency, StatedResult, StatedTokens};
use crate::report::yaml;

/// The version of the format.
const VERSION: &str = "0.2";

/// The latencies with their names and units.
const LATENCIES: [(Latency, &str, &str); 4] = [
    (Latency::Ttft, "time_to_first_token", "ms"),
    (Latency::E2e, "request_latency", "ms"),
    (Latency::Tpot, "time_per_output_token", "ms/token"),
    (Latency::Itl, "inter_token_latency", "ms/token"),
];

/// The rates with their names and units.
const RATES: [(&str, &str, &str); 4] = [
    ("input_throughput", "input_token_rate", "tokens/s"),
    ("output_throughput", "output_token_rate", "tokens/s"),
    ("total_token_throughput", "total_token_rate", "tokens/s"),
    ("request_throughput", "request_rate", "queries/s"),
];

/// The percentiles that have a field.
const PERCENTILES: [(f64, &str); 11] = [
    (0.1, "p0p1"),
    (1.0, "p1"),
    (5.0, "p5"),
    (10.0, "p10"),
    (25.0, "p25"),
    (50.0, "p50"),
    (75.0, "p75"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99p9"),
];

/// Writes the report as JSON.
pub(crate) fn json(result: &StatedResult, verdict: &str, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *to, &report(result, verdict))?;
    writeln!(to)
}

/// Writes the report as YAML.
pub(crate) fn yaml(result: &StatedResult, verdict: &str, to: &mut impl Write) -> io::Result<()> {
    yaml::write(&report(result, verdict), to)
}

fn report(result: &StatedResult, verdict: &str) -> Value {
    let mut report = json!({
        "version": VERSION,
        "run": run(result, verdict),
        "results": {"request_performance": {"aggregate": aggregate(result)}},
    });
    if let Some(load) = load(result) {
        report["scenario"] = json!({"load": load});
    }
    report
}

/// The run's identity follows from its figures: the same result has the same report.
fn run(result: &StatedResult, verdict: &str) -> Value {
    let digest = Sha256::digest(serde_json::to_vec(result).unwrap_or_default());
    let uid: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let model = result.model.as_deref().map(|model| format!("model {model}, ")).unwrap_or_default();
    let mut run = json!({
        "uid": uid,
        "description": format!("{model}measured by {}, verdict of servegauge: {verdict}", result.origin()),
    });
    let mut time = Map::new();
    if let Some(start) = result.started.as_deref().and_then(|started| started.parse::<Timestamp>().ok()) {
        time.insert("start".into(), start.to_string().into());
    }
    if let Some(duration) = result.duration_s.filter(|duration| duration.is_finite() && *duration >= 0.0) {
        time.insert("duration".into(), format!("PT{duration}S").into());
    }
    if !time.is_empty() {
        run["time"] = time.into();
    }
    run
}

/// The load; the format requires the tool's version and the length of the prompts.
fn load(result: &StatedResult) -> Option<Value> {
    let mut standardized = json!({
        "tool": result.tool.to_string(),
        "tool_version": result.tool_version.as_ref()?,
        "source": "unknown",
        "input_seq_len": length(result, &result.input_tokens)?,
    });
    if let Some(output) = length(result, &result.output_tokens) {
        standardized["output_seq_len"] = output;
    }
    if let Some(rate) = result.load.request_rate.filter(|rate| rate.is_finite()) {
        standardized["rate_qps"] = rate.get().into();
    }
    if let Some(most) = result.load.max_concurrency {
        standardized["concurrency"] = most.into();
    }
    Some(json!({"metadata": {}, "standardized": standardized, "native": {"args": {"model": result.model}}}))
}

fn length(result: &StatedResult, tokens: &StatedTokens) -> Option<Value> {
    Some(json!({"distribution": "other", "value": mean_tokens(result, tokens)?}))
}

fn mean_tokens(result: &StatedResult, tokens: &StatedTokens) -> Option<f64> {
    let completed = result.completed.filter(|completed| *completed > 0)?;
    Some(tokens.total? as f64 / completed as f64)
}

fn aggregate(result: &StatedResult) -> Value {
    let mut aggregate = Map::new();
    let latency = |(latency, name, units): (Latency, &str, &str)| {
        Some((name.to_owned(), statistics(result.latencies.get(&latency)?, units)?))
    };
    let rate = |(key, name, units): (&str, &str, &str)| {
        let mean = result.rates.get(key).filter(|rate| rate.is_finite())?;
        Some((name.to_owned(), json!({"units": units, "mean": mean})))
    };
    let groups: [(&str, Map<String, Value>); 3] = [
        ("requests", requests(result)),
        ("latency", LATENCIES.into_iter().filter_map(latency).collect()),
        ("throughput", RATES.into_iter().filter_map(rate).collect()),
    ];
    for (name, fields) in groups.into_iter().filter(|(_, fields)| !fields.is_empty()) {
        aggregate.insert(name.to_owned(), fields.into());
    }
    aggregate.into()
}

fn requests(result: &StatedResult) -> Map<String, Value> {
    let mut requests = Map::new();
    let unfinished = result.unfinished.unwrap_or_default();
    let counts = [
        ("total", result.request_count().map(|count| count + unfinished)),
        ("failures", result.failed),
        ("incomplete", result.unfinished),
    ];
    for (name, count) in counts {
        requests.extend(count.map(|count| (name.to_owned(), count.into())));
    }
    for (name, tokens) in [("input_length", &result.input_tokens), ("output_length", &result.output_tokens)] {
        let Some(mean) = mean_tokens(result, tokens) else { continue };
        let mut fields =
            Map::from_iter([("units".to_owned(), "count".into()), ("mean".to_owned(), mean.into())]);
        for (statistic, value) in [("min", tokens.lengths.min), ("max", tokens.lengths.max)] {
            fields.extend(value.map(|value| (statistic.to_owned(), value.into())));
        }
        requests.insert(name.to_owned(), fields.into());
    }
    requests
}

/// A latency; `None` without a mean, which the format requires.
fn statistics(stated: &StatedLatency, units: &str) -> Option<Value> {
    let mut fields = Map::from_iter([("units".to_owned(), units.into())]);
    fields.insert("mean".to_owned(), stated.mean_ms?.into());
    let single = [("stddev", stated.std_ms), ("min", stated.min_ms), ("max", stated.max_ms)];
    let percentiles = PERCENTILES.map(|(p, name)| (name, stated.percentile(p)));
    for (name, value) in single.into_iter().chain(percentiles) {
        fields.extend(value.filter(|value| value.is_finite()).map(|value| (name.to_owned(), value.into())));
    }
    Some(fields.into())
}
