//! `vllm bench serve` (Python and Rust) and SGLang's `bench_serving`, which share most keys.
//!
//! Statistics are keys such as `p99_ttft_ms`; the median has a key of its own. Lists of requests are in seconds. A
//! failed request has zeros in the lists.

use super::json_object::JsonObject;
use super::result::{StatedLatency, StatedPercentile, StatedRequest, StatedResult, Tool};
use crate::model::metrics::Latency;
use crate::model::units::Rate;

/// The latencies, by vLLM's names and SGLang's for E2E.
const LATENCIES: [(&str, Latency); 5] = [
    ("ttft", Latency::Ttft),
    ("tpot", Latency::Tpot),
    ("itl", Latency::Itl),
    ("e2el", Latency::E2e),
    ("e2e_latency", Latency::E2e),
];

/// The rates, by vLLM's names and SGLang's for all tokens.
const RATES: [(&str, &str); 6] = [
    ("request_throughput", "request_throughput"),
    ("request_goodput", "request_goodput"),
    ("input_throughput", "input_throughput"),
    ("output_throughput", "output_throughput"),
    ("total_token_throughput", "total_token_throughput"),
    ("total_throughput", "total_token_throughput"),
];

/// The tool whose result an object is; `None` if it is of none of them.
pub(super) fn tool(object: &JsonObject<'_>) -> Option<Tool> {
    let is_result = ["duration", "completed", "request_throughput"].iter().all(|key| object.has(key));
    let is_sglang = ["total_output_tokens_retokenized", "mean_e2e_latency_ms", "total_throughput"];
    let has_any = |keys: &[&str]| object.keys().any(|key| keys.contains(&key));
    match is_result {
        false => None,
        true if has_any(&is_sglang) => Some(Tool::SglangBench),
        // The Rust client writes these keys even where they are null.
        true if has_any(&["max_model_len", "steady_state"]) => Some(Tool::VllmRsBench),
        true => Some(Tool::VllmBench),
    }
}

/// Reads a result of such a tool.
pub(super) fn result(object: &JsonObject<'_>, tool: Tool) -> Result<StatedResult, String> {
    let mut result = StatedResult::new(tool);
    result.model = object.text("model_id")?.or(object.text("model")?);
    result.started = object.text("date")?;
    result.load.request_rate = rate(object)?;
    result.load.burstiness = object.number("burstiness")?;
    result.load.max_concurrency = object.count("max_concurrency")?;
    result.completed = object.count("completed")?;
    result.failed = object.count("failed")?;
    result.duration_s = object.number("duration")?;
    result.mean_in_flight = object.number("concurrency")?;
    result.input_tokens.total = object.count("total_input_tokens")?;
    result.output_tokens.total = object.count("total_output_tokens")?;
    result.output_tokens.recount = object.count("total_output_tokens_retokenized")?;
    for (key, name) in RATES {
        if let Some(value) = object.number(key)? {
            result.rates.insert(name, value);
        }
    }
    for (key, latency) in LATENCIES {
        let stated = statistics(object, key)?;
        if !stated.is_empty() {
            result.latencies.insert(latency, stated);
        }
    }
    if result.completed == Some(0) {
        // Without an answer the statistics are zeros.
        result.latencies.clear();
    }
    result.requests = requests(object)?;
    if result.failed.is_none() {
        let failed = |requests: &Vec<StatedRequest>| requests.iter().filter(|request| request.failed).count();
        result.failed = result.requests.as_ref().map(|requests| failed(requests) as u64);
    }
    Ok(result)
}

/// The arrival rate; SGLang writes `trace` where the dataset has the times.
fn rate(object: &JsonObject<'_>) -> Result<Option<Rate>, String> {
    if object.get::<String>("request_rate").is_ok_and(|word| word.as_deref() == Some("trace")) {
        return Ok(None);
    }
    Ok(object.number("request_rate")?.and_then(Rate::per_second))
}

fn statistics(object: &JsonObject<'_>, latency: &str) -> Result<StatedLatency, String> {
    let end = format!("_{latency}_ms");
    let mut stated = StatedLatency::default();
    for key in object.keys() {
        let Some(statistic) = key.strip_suffix(&end) else { continue };
        let value = object.number(key)?;
        let percentile = |p| value.map(|value_ms| StatedPercentile { p, value_ms });
        match statistic {
            "mean" => stated.mean_ms = value,
            "std" => stated.std_ms = value,
            "min" => stated.min_ms = value,
            "max" => stated.max_ms = value,
            "median" => stated.percentiles.extend(percentile(50.0)),
            _ => {
                let rank = statistic.strip_prefix('p').and_then(|rank| rank.parse().ok());
                stated.percentiles.extend(rank.and_then(percentile));
            }
        }
    }
    Ok(stated.sorted())
}

/// The lists of requests, one value a request.
struct Columns {
    ttft: Vec<f64>,
    itl: Vec<Vec<f64>>,
    e2e: Option<Vec<f64>>,
    start: Vec<f64>,
    input: Vec<u64>,
    output: Vec<u64>,
    error: Vec<Option<String>>,
}

fn requests(object: &JsonObject<'_>) -> Result<Option<Vec<StatedRequest>>, String> {
    let Some(ttft) = object.get::<Vec<f64>>("ttfts")? else { return Ok(None) };
    let columns = Columns {
        ttft,
        itl: object.get("itls")?.unwrap_or_default(),
        e2e: object.get("latencies")?,
        start: object.get("start_times")?.unwrap_or_default(),
        input: object.get("input_lens")?.unwrap_or_default(),
        output: object.get("output_lens")?.unwrap_or_default(),
        error: object.get("errors")?.unwrap_or_default(),
    };
    let first = columns.start.iter().copied().reduce(f64::min);
    let mut requests: Vec<StatedRequest> =
        (0..columns.ttft.len()).map(|at| columns.request(at, first)).collect();
    requests.sort_by(|a, b| a.start_s.partial_cmp(&b.start_s).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Some(requests))
}

impl Columns {
    fn request(&self, at: usize, first_start: Option<f64>) -> StatedRequest {
        let error = self.error.get(at).and_then(Option::as_deref);
        let failed = error.is_some_and(|error| !error.is_empty());
        let start_s = self.start.get(at).zip(first_start).map(|(start, first)| start - first);
        let input_tokens = self.input.get(at).copied();
        if failed {
            return StatedRequest { start_s, failed, input_tokens, ..StatedRequest::default() };
        }
        let gaps = self.itl.get(at).map(Vec::as_slice).unwrap_or_default();
        let ttft = self.ttft[at];
        // Older files have no latencies; TTFT and gaps add up to them.
        let e2e = match &self.e2e {
            Some(e2e) => e2e.get(at).copied(),
            None => (!self.itl.is_empty()).then(|| ttft + gaps.iter().sum::<f64>()),
        };
        let output_tokens = self.output.get(at).copied();
        let after_first = output_tokens.filter(|tokens| *tokens > 1).map(|tokens| (tokens - 1) as f64);
        let tpot = e2e.zip(after_first).map(|(e2e, tokens)| (e2e - ttft) / tokens);
        StatedRequest {
            start_s,
            failed,
            ttft_ms: Some(ttft * 1e3),
            tpot_ms: tpot.map(|seconds| seconds * 1e3),
            e2e_ms: e2e.map(|seconds| seconds * 1e3),
            itl_ms: gaps.iter().map(|gap| gap * 1e3).collect(),
            input_tokens,
            output_tokens,
        }
    }
}
