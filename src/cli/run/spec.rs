//! Flags become a Spec: the last place where a flag can be wrong.

mod load;
mod mix;
mod pace;
mod sampling;
mod sessions;
mod slo;
mod target;
mod trace;
mod workload;

use std::time::Duration;

use super::args::{MeasureArgs, RunArgs};
use super::values;
use crate::core::metrics::Latency;
use crate::core::run::{Notes, Selection};
use crate::core::spec::{Spec, Steadiness, Task};

/// What the flags ask for. The base URL and the model may still be unknown: `--sim` and `/v1/models` tell them.
pub fn spec(args: &RunArgs) -> Result<Spec, String> {
    let load = load::load(args)?;
    let target = target::target(&args.target, args.sampling.no_stream)?;
    let workload = workload::workload(args, target.backend, &load)?;
    Ok(Spec {
        target,
        sampling: sampling::sampling(&args.sampling, &workload.dataset, args.target.backend)?,
        slo: slo::slo(args, &workload.dataset)?,
        sessions: sessions::sessions(&args.sessions, &workload.dataset)?,
        cancel: sessions::cancel(&args.sessions),
        steadiness: steadiness(&args.measure)?,
        max_failure_rate: args.measure.max_failure_rate,
        workload,
        load,
        seed: args.workload.seed,
        rng: workload::rng(&args.workload),
    })
}

/// Flags of vLLM's that were given and change nothing here, with the reason.
pub fn idle(args: &RunArgs) -> Vec<String> {
    let workload = &args.workload;
    let mode = (workload.tokenizer_mode != "auto").then(|| {
        format!("--tokenizer-mode {} changes nothing: the tokenizer.json is read", workload.tokenizer_mode)
    });
    let trust = workload
        .trust_remote_code
        .then(|| "--trust-remote-code changes nothing: no code of a model is run".to_owned());
    mode.into_iter().chain(trust).collect()
}

fn steadiness(args: &MeasureArgs) -> Result<Option<Steadiness>, String> {
    if args.steady_state_threshold <= 0.0 {
        return Err(
            "--steady-state-threshold must be above 0: a share of --max-concurrency such as 0.95".into()
        );
    }
    let shortest = args.steady_state_min_window.unwrap_or(Steadiness::default().shortest);
    let rules = Steadiness { threshold: args.steady_state_threshold, shortest };
    Ok((!args.no_steady_state).then_some(rules))
}

/// What is shown of the run.
pub fn selection(args: &RunArgs) -> Result<Selection, String> {
    let asked = values::latencies(&args.measure.percentile_metrics)
        .map_err(|error| format!("--percentile-metrics: {error}"))?;
    let percents = values::percents(&args.measure.metric_percentiles)
        .map_err(|error| format!("--metric-percentiles: {error}"))?;
    let generates = args.target.backend.task() == Task::Generation;
    let applies = |latency: &Latency| asked.contains(latency) && (generates || !latency.needs_stream());
    // The report has one order, whatever the flag's.
    Ok(Selection { latencies: Latency::ALL.into_iter().filter(applies).collect(), percents })
}

/// What the user says of the run.
pub fn notes(args: &RunArgs) -> Notes {
    let metadata = args.output.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    Notes { label: args.output.label.clone(), metadata }
}

fn positive(duration: Duration, flag: &str) -> Result<Duration, String> {
    if duration.is_zero() { Err(format!("{flag} must be longer than nothing")) } else { Ok(duration) }
}
