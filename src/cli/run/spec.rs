//! Flags become a Spec: the last place where a flag can be wrong.

mod load;
mod sampling;
mod slo;
mod target;
mod workload;

use std::time::Duration;

use super::args::RunArgs;
use super::values;
use crate::core::metrics::Latency;
use crate::core::run::{Notes, Selection};
use crate::core::spec::{Spec, Task};

/// What the flags ask for. The base URL and the model may still be unknown: `--sim` and `/v1/models` tell them.
pub fn spec(args: &RunArgs) -> Result<Spec, String> {
    let load = load::load(args)?;
    let target = target::target(&args.target, args.sampling.no_stream)?;
    let workload = workload::workload(&args.workload, target.backend, args.target.sim, &load)?;
    Ok(Spec {
        target,
        sampling: sampling::sampling(&args.sampling, &workload.dataset, args.target.backend)?,
        workload,
        slo: slo::slo(args)?,
        max_failure_rate: args.measure.max_failure_rate,
        load,
        seed: args.workload.seed,
        rng: workload::rng(&args.workload),
    })
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
