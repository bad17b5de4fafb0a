//! Flags become a Spec: the last place where a flag can be wrong.

mod load;
mod sessions;
mod slo;
mod target;
mod workload;

use std::time::Duration;

use super::args::{RunArgs, SamplingArgs};
use super::values;
use crate::core::metrics::Latency;
use crate::core::run::{Notes, Selection};
use crate::core::spec::{Dataset, Sampling, Spec};

/// What the flags ask for. The base URL and the model may still be unknown: `--sim` and `/v1/models` tell them.
pub fn spec(args: &RunArgs) -> Result<Spec, String> {
    let load = load::load(args)?;
    let workload = workload::workload(args, &load)?;
    Ok(Spec {
        target: target::target(&args.target)?,
        sampling: sampling(&args.sampling, &workload.dataset),
        sessions: sessions::sessions(&args.sessions, &workload.dataset)?,
        cancel: sessions::cancel(&args.sessions),
        workload,
        slo: slo::slo(args)?,
        max_failure_rate: args.measure.max_failure_rate,
        load,
        seed: args.workload.seed,
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

fn positive(duration: Duration, flag: &str) -> Result<Duration, String> {
    if duration.is_zero() { Err(format!("{flag} must be longer than nothing")) } else { Ok(duration) }
}
