//! `servegauge run`: measures one server, from the flags to the report.

use std::time::Duration;

use crate::cli::config::SavedRun;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::print;
use crate::cli::to_spec;
use crate::model::length_counts::LengthCounts;
use crate::model::run::RunInputs;
use crate::report::dataset;
use crate::runner::{Invocation, LadderPlan, PreparedRun, Repeats};

mod command_line;
mod deliver;
mod follow;
mod ladder;
mod local_shards;
mod log_ending;
mod meeting;
mod meeting_tls;
mod other_files;
mod outcome;
mod part_destination;
mod part_files;
mod record_parts;
mod records_to;
mod recover;
mod repeats;
mod session;
mod sharded;

pub(crate) use crate::cli::args::values::{Pair, metrics_url, pair, seconds};
pub(super) use crate::cli::args::{DatasetName, RunArgs};
pub(super) use crate::cli::to_spec::dataset_of;
pub(crate) use command_line::{RunCommandLine, run_flags, with_conventions};
use deliver::Delivery;
pub(crate) use follow::Follower;
use ladder::LadderCommand;
use outcome::exit_status;
pub(crate) use outcome::failure_reason;
pub(crate) use recover::deliver_logs;
pub(crate) use session::RunSession;
pub(crate) use sharded::check as check_shareable;

/// Runs the command. `like` is the saved run to repeat.
pub(crate) fn execute(
    args: &RunArgs,
    mut invocation: Invocation,
    like: Option<&SavedRun>,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    if let Some(log) = &args.configuration.recover {
        return recover::recover(log, args);
    }
    let mut spec = to_spec::spec(args).map_err(CliError::usage)?;
    let plan = to_spec::ladder(args, &spec).map_err(CliError::usage)?;
    let runs = plan.as_ref().map_or(args.measure.repeats.get(), |plan| plan.loads.len());
    record_parts::check_runs(&args.output, runs)?;
    let delivery = Delivery::of(&args.output)?;
    let session = RunSession::connect(args, &mut spec, delivery.keep(), interrupts)?;
    if let Some(follower) = session.follower(&spec) {
        invocation.record_log = delivery.record_log(&args.output, &spec)?;
        return follower.execute(&invocation);
    }
    to_spec::idle(args, &invocation.settings)
        .iter()
        .for_each(|why| print_stderr(format_args!("warning: {why}")));
    let runner = session.runner();
    let first = plan.as_ref().map(|plan| plan.step_spec(&spec, 0, None));
    let prepared = runner.prepare(first.unwrap_or_else(|| spec.clone()))?;
    if let Some(saved) = like {
        warn_if_prompts_differ(saved, &prepared.inputs);
    }
    if args.workload.dry_run {
        return dry_run(&prepared, plan.as_ref());
    }
    if plan.is_none() && runs == 1 {
        delivery.note_replaced_file();
    }
    note_trace_span(&prepared);
    if !(args.load.reset_prefix_cache || prepared.spec.workload.unique.is_some() || args.target.sim) {
        session.note_cached_prompts(&prepared, runs);
    }
    invocation.record_log = delivery.record_log(&args.output, &prepared.spec)?;
    let ended = match (&plan, runs) {
        (Some(plan), _) => {
            let (invocation, delivery) = (&invocation, &delivery);
            let command = LadderCommand { args, plan, invocation, delivery, interrupts };
            command.execute(&runner, (spec, prepared))
        }
        (None, 1) => once(args, &session, prepared, &invocation, &delivery),
        (None, count) => {
            let repeats = Repeats::new(&runner, (spec, prepared), invocation, count);
            repeats::execute(args, repeats, &delivery, interrupts)
        }
    };
    session.close();
    Ok(if interrupts.is_requested() { ended.map(|_| ExitReason::Interrupted)? } else { ended? })
}

/// Performs one run, from its first request to its files and its report.
fn once(
    args: &RunArgs,
    session: &RunSession,
    prepared: PreparedRun,
    invocation: &Invocation,
    delivery: &Delivery,
) -> Result<ExitReason, CliError> {
    let (mut run, records) = session.runner().measure(prepared, invocation, &mut |_, _| {})?;
    delivery.deliver(&mut run, records, invocation.record_log.as_ref())?;
    Ok(exit_status(&run, args.measure.allow_invalid))
}

/// The lengths of the requests that a dataset would send.
pub(crate) struct Lengths {
    /// Prompt and requested output tokens of each request.
    pub requests: Vec<(u32, u32)>,
    /// A description of the dataset.
    pub origin: String,
}

/// Prepares the dataset that the flags of `run` describe, and sends nothing.
pub(crate) fn lengths(words: &[String], seed: u64) -> Result<Lengths, CliError> {
    let wrong = |why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`"));
    let mut args = RunCommandLine::parse(words).map_err(wrong)?.args;
    args.workload.seed = seed;
    let mut spec = to_spec::spec(&args).map_err(CliError::usage)?;
    let session = RunSession::offline(&args, &mut spec)?;
    let workload = session.runner().prepare(spec)?.workload;
    let outlines = workload.requests.all().outlines();
    let requests = outlines.map(|request| (request.prompt_tokens, request.max_tokens)).collect();
    let provenance = workload.provenance;
    Ok(Lengths { requests, origin: provenance.path.unwrap_or(provenance.dataset) })
}

/// Warns if a replay does not send what the saved run sent.
fn warn_if_prompts_differ(saved: &SavedRun, inputs: &RunInputs) {
    let (theirs, ours) = (&saved.run.inputs, inputs);
    if theirs.prompts != ours.prompts {
        let why = match (theirs.dataset.sha256 != ours.dataset.sha256, theirs.tokenizer != ours.tokenizer) {
            (true, _) => "the dataset is another",
            (false, true) => "the tokenizer is another",
            (false, false) => "other flags were given, or another version saved it",
        };
        print_stderr(format_args!("note: these are not the prompts of the saved run: {why}"));
    }
}

/// Says how long the trace takes, since nothing else shows how long the run lasts.
fn note_trace_span(prepared: &PreparedRun) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let Some(span) = prepared.trace_span() else { return };
    let is_long = span > DAY && prepared.spec.load.duration.is_none_or(|end| end > DAY);
    let shorter = match is_long {
        true => "; --duration, --trace-window and --trace-speed make it shorter",
        false => "",
    };
    print_stderr(format_args!("the trace sends its requests over {}{shorter}", dataset::span_text(span)));
}

fn dry_run(prepared: &PreparedRun, ladder: Option<&LadderPlan>) -> Result<ExitReason, CliError> {
    if let Some(LadderPlan { loads, .. }) = ladder {
        print_stderr(format_args!("note: this is the first of {} steps: {}", loads.len(), loads[0]));
    }
    let mut lengths = [LengthCounts::default(), LengthCounts::default()];
    for request in prepared.workload.requests.all().outlines() {
        lengths[0].add(request.prompt_tokens);
        lengths[1].add(request.max_tokens);
    }
    let span = prepared.trace_span();
    print(|out| dataset::render_workload(&prepared.spec, &prepared.inputs, &lengths, span, out))?;
    Ok(ExitReason::Success)
}
