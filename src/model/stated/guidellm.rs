//! guidellm: `benchmarks.json`, with one result for each benchmark.
//!
//! `request_latency` is in seconds, the others are in milliseconds. `inter_token_latency_ms` is TPOT, weighted by
//! tokens. `time_per_output_token_ms` is the latency divided by all tokens, which we have no metric for. A metric
//! without values has zeros.

use std::collections::HashSet;

use jiff::Timestamp;

use super::json_object::JsonObject;
use super::result::{StatedLatency, StatedPercentile, StatedRequest, StatedResult, StatedTokens, Tool};
use crate::model::metrics::Latency;
use crate::model::units::Rate;

const LATENCIES: [(&str, Latency, f64); 3] = [
    ("time_to_first_token_ms", Latency::Ttft, 1.0),
    ("inter_token_latency_ms", Latency::Tpot, 1.0),
    ("request_latency", Latency::E2e, 1e3),
];

const RATES: [(&str, &str); 4] = [
    ("requests_per_second", "request_throughput"),
    ("prompt_tokens_per_second", "input_throughput"),
    ("output_tokens_per_second", "output_throughput"),
    ("tokens_per_second", "total_token_throughput"),
];

const PERCENTILES: [(&str, f64); 11] = [
    ("p001", 0.1),
    ("p01", 1.0),
    ("p05", 5.0),
    ("p10", 10.0),
    ("p25", 25.0),
    ("p50", 50.0),
    ("p75", 75.0),
    ("p90", 90.0),
    ("p95", 95.0),
    ("p99", 99.0),
    ("p999", 99.9),
];

/// Whether an object is a file of benchmarks.
pub(super) fn is_benchmarks(object: &JsonObject<'_>) -> bool {
    let is_benchmark = |benchmark: &JsonObject<'_>| benchmark.has("metrics") && benchmark.has("requests");
    object.objects("benchmarks").is_ok_and(|benchmarks| benchmarks.first().is_some_and(is_benchmark))
}

/// Reads every benchmark.
pub(super) fn benchmarks(object: &JsonObject<'_>) -> Result<Vec<StatedResult>, String> {
    let metadata = object.object("metadata")?;
    let version = metadata.map_or(Ok(None), |metadata| metadata.text("guidellm_version"))?;
    let benchmarks = object.objects("benchmarks")?;
    let count = benchmarks.len();
    let results = benchmarks.iter().enumerate().map(|(at, benchmark)| {
        let mut result = read_benchmark(benchmark)?;
        result.tool_version.clone_from(&version);
        result.part = (count > 1).then(|| format!("benchmark {} of {count}", at + 1));
        Ok(result)
    });
    results.collect()
}

fn read_benchmark(benchmark: &JsonObject<'_>) -> Result<StatedResult, String> {
    let mut result = StatedResult::new(Tool::Guidellm);
    let started = benchmark.number("start_time")?.and_then(|start| Timestamp::from_second(start as i64).ok());
    result.started = started.map(|started| started.to_string());
    if let Some(config) = benchmark.object("config")? {
        read_config(&config, &mut result)?;
    }
    let scheduler = benchmark.object("scheduler_metrics")?;
    result.duration_s = match (benchmark.number("duration")?, &scheduler) {
        (None, Some(times)) => difference(times, "measure_start_time", "measure_end_time")?,
        (duration, _) => duration,
    };
    if let Some(metrics) = benchmark.object("metrics")? {
        read_metrics(&metrics, &mut result)?;
    }
    if let Some(requests) = benchmark.object("requests")? {
        read_requests(&requests, &mut result)?;
    }
    Ok(result)
}

fn difference(object: &JsonObject<'_>, from: &str, to: &str) -> Result<Option<f64>, String> {
    Ok(object.number(from)?.zip(object.number(to)?).map(|(from, to)| to - from))
}

fn read_config(config: &JsonObject<'_>, result: &mut StatedResult) -> Result<(), String> {
    result.model = config.object("backend")?.map_or(Ok(None), |backend| backend.text("model"))?;
    let Some(strategy) = config.object("strategy")? else { return Ok(()) };
    let kind = strategy.text("type_")?.unwrap_or_default();
    result.load.max_concurrency = match strategy.count("streams")? {
        Some(streams) => Some(streams),
        None => strategy.count("max_concurrency")?,
    };
    let rate = strategy.number("rate")?.and_then(Rate::per_second);
    result.load.request_rate = if kind == "throughput" { Some(Rate::INFINITE) } else { rate };
    // The gaps of its arrivals are exponential, or all alike.
    result.load.burstiness = match kind.as_str() {
        "poisson" => Some(1.0),
        "constant" => Some(f64::INFINITY),
        _ => None,
    };
    Ok(())
}

fn read_metrics(metrics: &JsonObject<'_>, result: &mut StatedResult) -> Result<(), String> {
    if let Some(totals) = metrics.object("request_totals")? {
        result.completed = totals.count("successful")?;
        result.failed = totals.count("errored")?;
        result.unfinished = totals.count("incomplete")?;
    }
    let successful = |key: &str| match metrics.object(key)? {
        Some(metric) => {
            let successful = metric.object("successful")?;
            Ok::<_, String>(successful.filter(|stated| !matches!(stated.count("count"), Ok(Some(0)))))
        }
        None => Ok(None),
    };
    for (key, rate) in RATES {
        if let Some(value) = successful(key)?.map_or(Ok(None), |stated| stated.number("mean"))? {
            result.rates.insert(rate, value);
        }
    }
    result.mean_in_flight =
        successful("request_concurrency")?.map_or(Ok(None), |stated| stated.number("mean"))?;
    let tokens = |key: &str| match successful(key)? {
        Some(stated) => {
            let mut tokens = StatedTokens { total: stated.count("total_sum")?, ..StatedTokens::default() };
            (tokens.lengths.min, tokens.lengths.max) = (stated.number("min")?, stated.number("max")?);
            Ok::<_, String>(tokens)
        }
        None => Ok(StatedTokens::default()),
    };
    result.input_tokens = tokens("prompt_token_count")?;
    result.output_tokens = tokens("output_token_count")?;
    for (key, latency, factor) in LATENCIES {
        if let Some(stated) = successful(key)? {
            result.latencies.insert(latency, statistics(&stated, factor)?);
        }
    }
    Ok(())
}

fn statistics(stated: &JsonObject<'_>, factor: f64) -> Result<StatedLatency, String> {
    let value = |key: &str| Ok::<_, String>(stated.number(key)?.map(|value| value * factor));
    let mut percentiles = Vec::new();
    if let Some(found) = stated.object("percentiles")? {
        for (key, p) in PERCENTILES {
            let value = found.number(key)?.map(|value| value * factor);
            percentiles.extend(value.map(|value_ms| StatedPercentile { p, value_ms }));
        }
    }
    Ok(StatedLatency {
        n: stated.count("count")?,
        mean_ms: value("mean")?,
        std_ms: value("std_dev")?,
        min_ms: value("min")?,
        max_ms: value("max")?,
        percentiles,
    })
}

/// Reads the requests. Those that were stopped at the end of the benchmark are neither answers nor failures.
fn read_requests(groups: &JsonObject<'_>, result: &mut StatedResult) -> Result<(), String> {
    let mut requests = Vec::new();
    let mut prompts = HashSet::new();
    let mut has_prompts = true;
    for (group, failed) in [("successful", false), ("errored", true)] {
        for object in groups.objects(group)? {
            match object.text("request_args")? {
                Some(prompt) => drop(prompts.insert(prompt)),
                None => has_prompts = false,
            }
            let gap = object.number("inter_token_latency_ms")?.filter(|_| !failed);
            requests.push(StatedRequest {
                start_s: object.number("request_start_time")?,
                failed,
                ttft_ms: object.number("time_to_first_token_ms")?.filter(|_| !failed),
                tpot_ms: gap,
                e2e_ms: object.number("request_latency")?.map(|seconds| seconds * 1e3),
                itl_ms: Vec::new(),
                input_tokens: object.count("prompt_tokens")?,
                output_tokens: object.count("output_tokens")?,
            });
        }
    }
    if requests.is_empty() {
        return Ok(());
    }
    requests.sort_by(|a, b| a.start_s.partial_cmp(&b.start_s).unwrap_or(std::cmp::Ordering::Equal));
    let first = requests.iter().find_map(|request| request.start_s);
    for request in &mut requests {
        request.start_s = request.start_s.zip(first).map(|(start, first)| start - first);
    }
    result.distinct_prompts = has_prompts.then_some(prompts.len() as u64);
    result.requests = Some(requests);
    Ok(())
}
