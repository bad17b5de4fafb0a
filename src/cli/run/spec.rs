//! Flags become a Spec: the last place where a flag can be wrong.

use std::time::Duration;

use super::args::{
    BackendName, DatasetName, GoodputFrom, LoadArgs, RunArgs, SamplingArgs, TargetArgs, WorkloadArgs,
};
use super::values;
use crate::core::metrics::Latency;
use crate::core::run::{Notes, Selection};
use crate::core::spec::{
    Backend, Connection, Dataset, Load, RandomLengths, Rng, Sampling, Slo, SloFrom, Spec, Target, Workload,
};
use crate::core::units::{Rate, Secret};
use crate::drive::client::wire::Api;

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// The rate with `--sim` alone: the bundled thousand then takes about a minute.
const SIM_RATE: f64 = 20.0;

/// Connections that `--preconnect` opens where nothing says how many are needed.
const PRECONNECT: usize = 64;

/// What the flags ask for. The base URL and the model may still be unknown: `--sim` and `/v1/models` tell them.
pub fn spec(args: &RunArgs) -> Result<Spec, String> {
    let load = load(args)?;
    let workload = workload(&args.workload, args.target.sim, &load)?;
    Ok(Spec {
        target: target(&args.target)?,
        sampling: sampling(&args.sampling, &workload.dataset),
        workload,
        slo: slo(args)?,
        max_failure_rate: args.measure.max_failure_rate,
        load,
        seed: args.workload.seed,
        rng: Rng::Native,
    })
}

/// What is shown of the run.
pub fn selection(args: &RunArgs) -> Result<Selection, String> {
    let asked = values::latencies(&args.measure.percentile_metrics)
        .map_err(|error| format!("--percentile-metrics: {error}"))?;
    let percents = values::percents(&args.measure.metric_percentiles)
        .map_err(|error| format!("--metric-percentiles: {error}"))?;
    // The report has one order, whatever the flag's.
    let latencies = Latency::SELECTABLE.into_iter().filter(|latency| asked.contains(latency)).collect();
    Ok(Selection { latencies, percents })
}

/// What the user says of the run.
pub fn notes(args: &RunArgs) -> Notes {
    let metadata = args.output.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    Notes { label: args.output.label.clone(), metadata }
}

fn target(args: &TargetArgs) -> Result<Target, String> {
    let backend = match args.backend {
        BackendName::Openai => Backend::Openai,
        BackendName::Vllm => Backend::Vllm,
        BackendName::OpenaiChat => Backend::OpenaiChat,
    };
    let endpoint = args.endpoint.clone().unwrap_or_else(|| Api::from(backend).path().to_owned());
    if !endpoint.starts_with('/') {
        return Err(format!("--endpoint is a path and begins with a slash: /{endpoint}"));
    }
    Ok(Target {
        backend,
        base_url: base_url(args)?,
        endpoint,
        model: args.model.clone().unwrap_or_default(),
        served_model_name: args.served_model_name.clone(),
        headers: headers(args),
        insecure: args.insecure,
        connection: connection(args),
        timeout: positive(args.timeout, "--timeout")?,
    })
}

fn connection(args: &TargetArgs) -> Connection {
    Connection {
        ca_cert: args.ca_cert.clone(),
        client_cert: args.client_cert.clone(),
        client_key: args.client_key.clone(),
        keepalive: !args.no_keepalive,
        kernel_stamps: !args.no_kernel_stamps,
    }
}

/// Scheme, host and port, without the path that people paste along.
fn base_url(args: &TargetArgs) -> Result<String, String> {
    let Some(given) = &args.base_url else { return Ok(format!("http://{}:{}", args.host, args.port)) };
    let url = reqwest::Url::parse(given)
        .map_err(|error| format!("--base-url {given}: {error}; write it as http://localhost:8000"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("--base-url {given}: it must begin with http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("--base-url holds a user name or password: send them with --header instead".into());
    }
    Ok(given.trim_end_matches('/').trim_end_matches("/v1").to_owned())
}

/// The user's headers, and `OPENAI_API_KEY` as bearer unless they say otherwise.
fn headers(args: &TargetArgs) -> Vec<(String, Secret)> {
    let mut headers: Vec<_> =
        args.header.iter().map(|pair| (pair.key.to_lowercase(), Secret::new(&pair.value))).collect();
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_default();
    if !key.is_empty() && headers.iter().all(|(name, _)| name != "authorization") {
        headers.push(("authorization".into(), Secret::new(format!("Bearer {key}"))));
    }
    headers
}

fn workload(args: &WorkloadArgs, sim: bool, load: &Load) -> Result<Workload, String> {
    let bundled = sim && args.dataset_name.is_none();
    let name = match (args.dataset_name, &args.dataset_path) {
        (Some(name), _) => name,
        (None, Some(_)) => DatasetName::Sharegpt,
        (None, None) if bundled => DatasetName::Sharegpt,
        (None, None) => DatasetName::Random,
    };
    let dataset = match name {
        DatasetName::Sharegpt => {
            Dataset::Sharegpt { path: args.dataset_path.clone(), output_len: args.sharegpt_output_len }
        }
        DatasetName::Random => Dataset::Random(random(args)?),
    };
    Ok(Workload { dataset, tokenizer: args.tokenizer.clone(), num_prompts: num_prompts(args, load) })
}

fn random(args: &WorkloadArgs) -> Result<RandomLengths, String> {
    if args.dataset_path.is_some() {
        return Err(
            "--dataset-path goes with --dataset-name sharegpt: random prompts are made, not read".into()
        );
    }
    if args.random_input_len == 0 || args.random_output_len == 0 {
        return Err("--random-input-len and --random-output-len must be at least 1".into());
    }
    Ok(RandomLengths {
        input_len: args.random_input_len,
        output_len: args.random_output_len,
        prefix_len: args.random_prefix_len,
        input_range_ratio: args.random_range_ratio.input,
        output_range_ratio: args.random_range_ratio.output,
    })
}

/// As many as asked; else as many as are due within the duration; else vLLM's thousand.
fn num_prompts(args: &WorkloadArgs, load: &Load) -> usize {
    match (args.num_prompts, load.duration) {
        (Some(asked), _) => asked.get(),
        (None, Some(duration)) => load.due_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}

fn load(args: &RunArgs) -> Result<Load, String> {
    let LoadArgs { request_rate, burstiness, max_concurrency, duration, num_warmups, .. } = args.load;
    let default = match (args.target.sim && max_concurrency.is_none(), Rate::per_second(SIM_RATE)) {
        (true, Some(rate)) => rate,
        _ => Rate::INFINITE,
    };
    let mut load = Load {
        request_rate: request_rate.unwrap_or(default),
        burstiness,
        normalize_arrivals: !args.load.no_normalize_arrivals,
        max_concurrency,
        duration: duration.map(|duration| positive(duration, "--duration")).transpose()?,
        cycle: false,
        num_warmups,
        warmup: args.load.warmup,
        preconnect: preconnect(args),
        workers: args.load.workers,
    };
    if load.warmup.is_some() && !load.request_rate.is_finite() && max_concurrency.is_none() {
        return Err(
            "--warmup needs a pace: --request-rate or --max-concurrency (or count with --num-warmups)".into(),
        );
    }
    load.cycle = load.is_closed_loop() && load.duration.is_some() && args.workload.num_prompts.is_none();
    Ok(load)
}

/// As many as asked; without a number, as many as can be in flight.
fn preconnect(args: &RunArgs) -> usize {
    match args.load.preconnect {
        None => 0,
        Some(0) => args.load.max_concurrency.map_or(PRECONNECT, usize::from),
        Some(asked) => asked,
    }
}

fn positive(duration: Duration, flag: &str) -> Result<Duration, String> {
    if duration.is_zero() { Err(format!("{flag} must be longer than nothing")) } else { Ok(duration) }
}

/// As asked. Answers to random prompts have the length that was asked for, as in vLLM: where they would end by themselves
/// means nothing.
fn sampling(args: &SamplingArgs, dataset: &Dataset) -> Sampling {
    Sampling {
        ignore_eos: args.ignore_eos || matches!(dataset, Dataset::Random(_)),
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        min_p: args.min_p,
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        repetition_penalty: args.repetition_penalty,
        extra_body: args.extra_body.clone().unwrap_or_default(),
    }
}

fn slo(args: &RunArgs) -> Result<Slo, String> {
    let from = match args.measure.goodput_from {
        GoodputFrom::Due => SloFrom::Due,
        GoodputFrom::Sent => SloFrom::Sent,
    };
    let mut slo = Slo { from, ..Slo::default() };
    for objective in &args.measure.goodput {
        let limit = match objective.latency {
            Latency::Ttft => &mut slo.ttft,
            Latency::Tpot => &mut slo.tpot,
            _ => &mut slo.e2e,
        };
        if limit.replace(objective.limit).is_some() {
            return Err(format!("--goodput gives {} twice", objective.latency.key()));
        }
    }
    Ok(slo)
}
