//! inference-perf: the lifecycle metrics of a run, of a stage, and of each request. All times are in seconds.
//!
//! `normalized_time_per_output_token` is the latency divided by all tokens, which we have no metric for.

use std::collections::HashSet;

use super::json_object::JsonObject;
use super::result::{StatedLatency, StatedPercentile, StatedRequest, StatedResult, StatedTokens, Tool};
use crate::model::metrics::Latency;
use crate::model::units::Rate;

const LATENCIES: [(&str, Latency); 4] = [
    ("time_to_first_token", Latency::Ttft),
    ("time_per_output_token", Latency::Tpot),
    ("request_latency", Latency::E2e),
    ("inter_token_latency", Latency::Itl),
];

const RATES: [(&str, &str); 4] = [
    ("requests_per_sec", "request_throughput"),
    ("input_tokens_per_sec", "input_throughput"),
    ("output_tokens_per_sec", "output_throughput"),
    ("total_tokens_per_sec", "total_token_throughput"),
];

/// Whether an object has the metrics of a run or a stage.
pub(super) fn is_summary(object: &JsonObject<'_>) -> bool {
    object.has("successes") && object.has("load_summary")
}

/// Whether an object is one of the list of requests.
pub(super) fn is_request(object: &JsonObject<'_>) -> bool {
    ["start_time", "end_time", "info"].iter().all(|key| object.has(key))
}

/// Reads the metrics of a run or a stage.
pub(super) fn summary(object: &JsonObject<'_>) -> Result<StatedResult, String> {
    let mut result = StatedResult::new(Tool::InferencePerf);
    result.duration_s = object.number("benchmark_time_seconds")?;
    if let Some(load) = object.object("load_summary")? {
        result.load.request_rate = load.number("requested_rate")?.and_then(Rate::per_second);
        result.load.max_concurrency = load.count("concurrency")?;
        result.arrival_rate = load.number("achieved_rate")?;
        result.duration_s = match result.duration_s {
            None => load.number("send_duration")?,
            known => known,
        };
    }
    result.failed = object.object("failures")?.map_or(Ok(None), |failures| failures.count("count"))?;
    let Some(successes) = object.object("successes")? else { return Ok(result) };
    result.completed = successes.count("count")?;
    if let Some(rates) = successes.object("throughput")? {
        for (key, rate) in RATES {
            if let Some(value) = rates.number(key)? {
                result.rates.insert(rate, value);
            }
        }
    }
    if let Some(latencies) = successes.object("latency")? {
        for (key, latency) in LATENCIES {
            if let Some(stated) = latencies.object(key)? {
                result.latencies.insert(latency, statistics(&stated)?);
            }
        }
    }
    result.input_tokens = tokens(&successes, ["prompt_tokens", "prompt_len"])?;
    result.output_tokens = tokens(&successes, ["output_tokens", "output_len"])?;
    Ok(result)
}

/// Reads the list of requests.
pub(super) fn requests(objects: &[JsonObject<'_>]) -> Result<StatedResult, String> {
    let mut timed = objects.iter().map(request).collect::<Result<Vec<_>, _>>()?;
    timed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = timed.first().map_or(0.0, |(start, ..)| *start);
    let last = timed.iter().map(|(_, end, _)| *end).fold(first, f64::max);
    let prompts = objects.iter().map(|object| object.text("request")).collect::<Result<HashSet<_>, _>>()?;
    let mut result = StatedResult::new(Tool::InferencePerf);
    result.distinct_prompts = (!prompts.contains(&None)).then_some(prompts.len() as u64);
    result.duration_s = Some(last - first);
    let requests: Vec<StatedRequest> = timed
        .into_iter()
        .map(|(start, _, request)| StatedRequest { start_s: Some(start - first), ..request })
        .collect();
    let failed = requests.iter().filter(|request| request.failed).count() as u64;
    (result.completed, result.failed) = (Some(requests.len() as u64 - failed), Some(failed));
    let answered = || requests.iter().filter(|request| !request.failed);
    result.input_tokens.total = answered().map(|request| request.input_tokens).sum();
    result.output_tokens.total = answered().map(|request| request.output_tokens).sum();
    result.requests = Some(requests);
    Ok(result)
}

/// The start, the end and the rest of a request.
fn request(object: &JsonObject<'_>) -> Result<(f64, f64, StatedRequest), String> {
    let time = |key: &str| object.number(key)?.ok_or_else(|| object.wrong(key, "it is missing"));
    let (start, end) = (time("start_time")?, time("end_time")?);
    let mut request = StatedRequest { failed: object.has("error"), ..StatedRequest::default() };
    let Some(info) = object.object("info")? else { return Ok((start, end, request)) };
    request.input_tokens = info.count("input_tokens")?;
    if request.failed {
        return Ok((start, end, request));
    }
    request.e2e_ms = Some((end - start) * 1e3);
    request.output_tokens = info.count("output_tokens")?;
    let times = info.get::<Vec<f64>>("output_token_times")?.unwrap_or_default();
    if let [first, .., last] = times[..] {
        request.tpot_ms = Some((last - first) * 1e3 / (times.len() - 1) as f64);
    }
    request.ttft_ms = times.first().map(|first| (first - start) * 1e3);
    request.itl_ms = times.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect();
    Ok((start, end, request))
}

fn statistics(stated: &JsonObject<'_>) -> Result<StatedLatency, String> {
    let value = |key: &str| Ok::<_, String>(stated.number(key)?.map(|seconds| seconds * 1e3));
    let mut latency = StatedLatency {
        n: None,
        mean_ms: value("mean")?,
        std_ms: value("std")?,
        min_ms: value("min")?,
        max_ms: value("max")?,
        percentiles: Vec::new(),
    };
    for key in stated.keys() {
        let rank = if key == "median" { Some("50") } else { key.strip_prefix('p') };
        let Some(p) = rank.and_then(|rank| rank.parse().ok()) else { continue };
        latency.percentiles.extend(value(key)?.map(|value_ms| StatedPercentile { p, value_ms }));
    }
    Ok(latency.sorted())
}

fn tokens(successes: &JsonObject<'_>, keys: [&str; 2]) -> Result<StatedTokens, String> {
    let mut tokens = StatedTokens::default();
    for key in keys {
        let Some(stated) = successes.object(key)? else { continue };
        tokens.total = tokens.total.or(stated.count("total")?);
        tokens.lengths.min = tokens.lengths.min.or(stated.number("min")?);
        tokens.lengths.max = tokens.lengths.max.or(stated.number("max")?);
    }
    Ok(tokens)
}
