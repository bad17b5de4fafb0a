//! aiperf: the summary (`profile_export_aiperf.json`) and the requests (`profile_export.jsonl`).
//!
//! Every metric has a unit, which is read. `inter_token_latency` is the mean of one request, hence TPOT;
//! `inter_chunk_latency` has the single gaps.

use super::json_object::JsonObject;
use super::result::{StatedLatency, StatedPercentile, StatedRequest, StatedResult, StatedTokens, Tool};
use crate::model::metrics::Latency;
use crate::model::units::Rate;

const LATENCIES: [(&str, Latency); 4] = [
    ("time_to_first_token", Latency::Ttft),
    ("inter_token_latency", Latency::Tpot),
    ("request_latency", Latency::E2e),
    ("inter_chunk_latency", Latency::Itl),
];

const RATES: [(&str, &str); 5] = [
    ("request_throughput", "request_throughput"),
    ("goodput", "request_goodput"),
    ("input_token_throughput", "input_throughput"),
    ("output_token_throughput", "output_throughput"),
    ("total_token_throughput", "total_token_throughput"),
];

/// Whether an object is a summary. Versions before 0.5 state no version of theirs.
pub(super) fn is_summary(object: &JsonObject<'_>) -> bool {
    let has_unit = |key| object.object(key).ok().flatten().is_some_and(|metric| metric.has("unit"));
    object.has("aiperf_version") || object.has("input_config") && has_unit("request_latency")
}

/// Whether an object is the line of a request.
pub(super) fn is_request(object: &JsonObject<'_>) -> bool {
    let metadata = object.object("metadata").ok().flatten();
    object.has("metrics") && metadata.is_some_and(|metadata| metadata.has("request_start_ns"))
}

/// Reads a summary.
pub(super) fn summary(object: &JsonObject<'_>) -> Result<StatedResult, String> {
    let mut result = StatedResult::new(Tool::Aiperf);
    result.tool_version = object.text("aiperf_version")?;
    result.started = object.text("start_time")?;
    result.completed = count(object, "request_count")?;
    result.failed = failed(object)?;
    result.duration_s = metric(object, "benchmark_duration", "avg", milliseconds)?.map(|ms| ms / 1e3);
    result.mean_in_flight = average(object, "effective_concurrency")?;
    result.input_tokens =
        tokens(object, ["total_isl", "total_usage_prompt_tokens", "input_sequence_length"])?;
    result.output_tokens =
        tokens(object, ["total_osl", "total_usage_completion_tokens", "output_sequence_length"])?;
    for (key, rate) in RATES {
        if let Some(value) = metric(object, key, "avg", per_second)? {
            result.rates.insert(rate, value);
        }
    }
    for (key, latency) in LATENCIES {
        let stated = statistics(object, key)?;
        if !stated.is_empty() {
            result.latencies.insert(latency, stated);
        }
    }
    if let Some(config) = object.object("input_config")? {
        read_config(&config, &mut result)?;
    }
    Ok(result)
}

/// Reads the lines of requests; those of the warm-up are left out.
pub(super) fn requests(objects: &[JsonObject<'_>]) -> Result<StatedResult, String> {
    let mut timed = Vec::new();
    let mut last_end = None;
    let (mut input_usage, mut output_usage) = (Some(0), Some(0));
    for object in objects {
        let Some(metadata) = object.object("metadata")? else { continue };
        if metadata.text("benchmark_phase")?.as_deref() == Some("warmup") {
            continue;
        }
        let (start, end) = (metadata.get::<u64>("request_start_ns")?, metadata.get::<u64>("request_end_ns")?);
        last_end = last_end.max(end);
        let metrics = object.object("metrics")?;
        let request = request(object, metrics.as_ref())?;
        if !request.failed {
            let usage = |key| metrics.as_ref().map_or(Ok(None), |metrics| value_count(metrics, key));
            input_usage = sum(input_usage, usage("usage_prompt_tokens")?);
            output_usage = sum(output_usage, usage("usage_completion_tokens")?);
        }
        timed.push((start, request));
    }
    timed.sort_by_key(|(start, _)| *start);
    let first = timed.iter().find_map(|(start, _)| *start);
    let since_first = |at: u64| Some(at.checked_sub(first?)? as f64 / 1e9);
    let mut result = StatedResult::new(Tool::Aiperf);
    result.duration_s = last_end.and_then(since_first);
    let requests: Vec<StatedRequest> = timed
        .into_iter()
        .map(|(start, request)| StatedRequest { start_s: start.and_then(since_first), ..request })
        .collect();
    let failed = requests.iter().filter(|request| request.failed).count() as u64;
    result.completed = Some(requests.len() as u64 - failed);
    result.failed = Some(failed);
    let answered = || requests.iter().filter(|request| !request.failed);
    result.input_tokens.total = answered().map(|request| request.input_tokens).sum();
    result.output_tokens.total = answered().map(|request| request.output_tokens).sum();
    (result.input_tokens.recount, result.output_tokens.recount) = (input_usage, output_usage);
    result.requests = Some(requests);
    Ok(result)
}

fn request(object: &JsonObject<'_>, metrics: Option<&JsonObject<'_>>) -> Result<StatedRequest, String> {
    let failed = object.has("error");
    let Some(metrics) = metrics else { return Ok(StatedRequest { failed, ..StatedRequest::default() }) };
    let time = |key| metric(metrics, key, "value", milliseconds);
    let gaps = match metrics.object("inter_chunk_latency")? {
        Some(gaps) => {
            let factor = unit(&gaps, milliseconds)?;
            gaps.get::<Vec<f64>>("value")?.unwrap_or_default().iter().map(|gap| gap * factor).collect()
        }
        None => Vec::new(),
    };
    Ok(StatedRequest {
        start_s: None,
        failed,
        ttft_ms: time("time_to_first_token")?,
        tpot_ms: time("inter_token_latency")?,
        e2e_ms: time("request_latency")?,
        itl_ms: gaps,
        input_tokens: value_count(metrics, "input_sequence_length")?,
        output_tokens: value_count(metrics, "output_sequence_length")?,
    })
}

/// The failures: their count, else the sum of the summary of errors.
fn failed(object: &JsonObject<'_>) -> Result<Option<u64>, String> {
    if let Some(failed) = count(object, "error_request_count")? {
        return Ok(Some(failed));
    }
    if !object.has("error_summary") {
        return Ok(None);
    }
    object.objects("error_summary")?.iter().map(|error| error.count("count")).sum()
}

fn tokens(object: &JsonObject<'_>, [total, usage, lengths]: [&str; 3]) -> Result<StatedTokens, String> {
    let mut tokens = StatedTokens {
        total: count(object, total)?,
        recount: count(object, usage)?,
        ..StatedTokens::default()
    };
    if let Some(lengths) = object.object(lengths)? {
        (tokens.lengths.min, tokens.lengths.max) = (lengths.number("min")?, lengths.number("max")?);
    }
    Ok(tokens)
}

fn statistics(object: &JsonObject<'_>, key: &str) -> Result<StatedLatency, String> {
    let Some(metric) = object.object(key)? else { return Ok(StatedLatency::default()) };
    let factor = unit(&metric, milliseconds)?;
    let value = |key: &str| Ok::<_, String>(metric.number(key)?.map(|value| value * factor));
    let mut stated = StatedLatency {
        n: metric.count("count")?,
        mean_ms: value("avg")?,
        std_ms: value("std")?,
        min_ms: value("min")?,
        max_ms: value("max")?,
        percentiles: Vec::new(),
    };
    for key in metric.keys() {
        let Some(p) = key.strip_prefix('p').and_then(|rank| rank.parse().ok()) else { continue };
        stated.percentiles.extend(value(key)?.map(|value_ms| StatedPercentile { p, value_ms }));
    }
    Ok(stated.sorted())
}

/// The model, the load and the number of prompts that were asked for.
fn read_config(config: &JsonObject<'_>, result: &mut StatedResult) -> Result<(), String> {
    if let Some(models) = config.object("models")? {
        result.model = models.objects("items")?.first().map_or(Ok(None), |model| model.text("name"))?;
    }
    if let Some(endpoint) = config.object("endpoint")?.filter(|_| result.model.is_none()) {
        result.model = endpoint.get::<Vec<String>>("model_names")?.and_then(|names| names.into_iter().next());
    }
    let phases = config.objects("phases")?;
    let is_measured =
        |phase: &JsonObject<'_>| phase.text("kind").ok().flatten().is_none_or(|kind| kind == "profiling");
    let load = phases.into_iter().rfind(is_measured);
    if let Some(load) = load.map_or_else(|| config.object("loadgen"), |load| Ok(Some(load)))? {
        let rate = load.number("request_rate")?.or(load.number("rate")?);
        result.load.request_rate = rate.and_then(Rate::per_second);
        result.load.max_concurrency = load.count("concurrency")?;
    }
    if let [dataset] = &config.objects("datasets")?[..] {
        // Fewer prompts than requests are repeated. More need not all be used.
        let entries = dataset.count("entries")?;
        result.distinct_prompts = entries.filter(|entries| Some(*entries) < result.request_count());
    }
    Ok(())
}

/// A statistic of a metric, converted by its unit.
fn metric(
    object: &JsonObject<'_>,
    key: &str,
    statistic: &str,
    factor: fn(&str) -> Option<f64>,
) -> Result<Option<f64>, String> {
    let Some(metric) = object.object(key)? else { return Ok(None) };
    let factor = unit(&metric, factor)?;
    Ok(metric.number(statistic)?.map(|value| value * factor))
}

fn average(object: &JsonObject<'_>, key: &str) -> Result<Option<f64>, String> {
    metric(object, key, "avg", |_| Some(1.0))
}

fn count(object: &JsonObject<'_>, key: &str) -> Result<Option<u64>, String> {
    object.object(key)?.map_or(Ok(None), |metric| metric.count("avg"))
}

fn value_count(metrics: &JsonObject<'_>, key: &str) -> Result<Option<u64>, String> {
    metrics.object(key)?.map_or(Ok(None), |metric| metric.count("value"))
}

/// The factor of a metric's unit.
fn unit(metric: &JsonObject<'_>, factor: fn(&str) -> Option<f64>) -> Result<f64, String> {
    let unit = metric.text("unit")?.unwrap_or_default();
    factor(&unit).ok_or_else(|| metric.wrong("unit", &format!("`{unit}` is not a unit of such a metric")))
}

fn milliseconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" | "nanoseconds" => Some(1e-6),
        "us" | "microseconds" => Some(1e-3),
        "ms" | "milliseconds" => Some(1.0),
        "s" | "sec" | "seconds" => Some(1e3),
        _ => None,
    }
}

fn per_second(unit: &str) -> Option<f64> {
    (unit.ends_with("/sec") || unit.ends_with("/s")).then_some(1.0)
}

fn sum(total: Option<u64>, count: Option<u64>) -> Option<u64> {
    Some(total? + count?)
}
