//! Converts flags to a Spec, the last place where a flag is rejected.

mod dataset;
mod dataset_flags;
mod idle;
mod ladder;
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
use crate::cli::args::values;
use crate::cli::setting_flags::FLAGS;
use crate::model::metrics::Latency;
use crate::model::profile::ProfileTrigger;
use crate::model::run::{ReportSelection, RunLabels};
use crate::model::run_records::MANY_REQUESTS;
use crate::model::run_spec::{BackendTask, Spec, SteadyStateConfig};
use crate::runner::{
    ProfilerOptions, RecordDetail, RunOptions, ServerMetrics, SessionOptions, TokenizerChoice,
};

pub(super) use dataset::dataset_of;
pub(super) use idle::idle;
pub(super) use ladder::{cap_followers, ladder};

/// Builds the Spec. The base URL and the model may still be unknown: `--sim` and `/v1/models` provide them.
pub(super) fn spec(args: &RunArgs) -> Result<Spec, String> {
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

fn steadiness(args: &MeasureArgs) -> Result<Option<SteadyStateConfig>, String> {
    if args.steady_state_threshold <= 0.0 {
        return Err(
            "--steady-state-threshold must be above 0: a share of --max-concurrency such as 0.95".into()
        );
    }
    let shortest = args.steady_state_min_window.unwrap_or(SteadyStateConfig::default().shortest);
    let rules = SteadyStateConfig { threshold: args.steady_state_threshold, shortest };
    Ok((!args.no_steady_state).then_some(rules))
}

/// Returns the options for finding the server and the tokenizer.
pub(super) fn session_options(args: &RunArgs) -> SessionOptions {
    let workload = &args.workload;
    let tokenizer = match &workload.tokenizer {
        Some(name) if !workload.skip_tokenizer_init => TokenizerChoice::Named(name.clone()),
        _ if args.target.sim => TokenizerChoice::Bundled,
        _ if workload.skip_tokenizer_init => TokenizerChoice::Server,
        _ => TokenizerChoice::Model,
    };
    SessionOptions {
        ready_timeout: args.load.ready_check_timeout_sec,
        reads_metrics: !args.server.no_server_metrics,
        tokenizer,
    }
}

/// Returns the options of the runs.
pub(super) fn run_options(args: &RunArgs, detail: RecordDetail) -> Result<RunOptions, String> {
    let server = &args.server;
    Ok(RunOptions {
        ready_timeout: args.load.ready_check_timeout_sec,
        reset_prefix_cache: args.load.reset_prefix_cache,
        keep_going: args.load.keep_going,
        server_metrics: (!server.no_server_metrics)
            .then(|| ServerMetrics { interval: server.metrics_interval, urls: server.metrics_url.clone() }),
        profiler: profiler(&args.measure),
        detail,
        most_records: Some(MANY_REQUESTS),
        selection: selection(args)?,
        notes: notes(args),
        setting_names: FLAGS,
    })
}

fn profiler(args: &MeasureArgs) -> Option<ProfilerOptions> {
    let trigger = match (args.profile_after, args.profile_batch_threshold) {
        (Some(time), _) => ProfileTrigger::After(time),
        (None, Some(busy)) => ProfileTrigger::Running(busy),
        (None, None) if args.profile => ProfileTrigger::Begin,
        (None, None) => return None,
    };
    Some(ProfilerOptions { trigger, duration: args.profile_duration })
}

/// Returns what the report shows of the run.
pub(super) fn selection(args: &RunArgs) -> Result<ReportSelection, String> {
    let asked = values::latencies(&args.measure.percentile_metrics)
        .map_err(|error| format!("--percentile-metrics: {error}"))?;
    let percents = values::percents(&args.measure.metric_percentiles)
        .map_err(|error| format!("--metric-percentiles: {error}"))?;
    let generates = args.target.backend.task() == BackendTask::Generation;
    let applies = |latency: &Latency| asked.contains(latency) && (generates || !latency.is_stream_only());
    // The report has a fixed order, whatever the order of the flag's list.
    Ok(ReportSelection { latencies: Latency::ALL.into_iter().filter(applies).collect(), percents })
}

/// Returns the user's labels of the run.
fn notes(args: &RunArgs) -> RunLabels {
    let metadata = args.output.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    RunLabels { label: args.output.label.clone(), metadata }
}

fn positive(duration: Duration, flag: &str) -> Result<Duration, String> {
    if duration.is_zero() { Err(format!("{flag} must be greater than 0")) } else { Ok(duration) }
}
