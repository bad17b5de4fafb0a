//! Converts the trace flags.

use super::dataset_flags::dataset_name;
use crate::cli::args::values::Pair;
use crate::cli::args::{DatasetName, RunArgs, TraceArgs, TraceLengthsName, WorkloadArgs};
use crate::model::run_spec::{Trace, TraceColumns, TraceKind, TraceLengths};

/// Returns the kind of trace of a dataset, if it is one.
pub(super) fn kind(name: DatasetName) -> Option<TraceKind> {
    match name {
        DatasetName::TimedTrace => Some(TraceKind::TimedTrace),
        DatasetName::Azure => Some(TraceKind::Azure),
        DatasetName::Burstgpt => Some(TraceKind::Burstgpt),
        DatasetName::Trace => Some(TraceKind::Trace),
        _ => None,
    }
}

/// Whether the rows of the run's trace are turns of sessions.
pub(super) fn has_sessions(args: &RunArgs) -> bool {
    let is_trace = kind(dataset_name(&args.workload, args.target.sim)).is_some();
    is_trace && args.trace.trace_columns.iter().any(|pair| pair.key == "session")
}

/// Whether the run follows a trace's time stamps. A trace does by default, unless a flag disables it; for BurstGPT, a
/// rate disables it.
pub(super) fn is_timed(args: &RunArgs) -> Result<bool, String> {
    let name = dataset_name(&args.workload, args.target.sim);
    let Some(kind) = kind(name).filter(|_| args.workload.workload.is_none()) else {
        return match args.trace.self_timed {
            true => {
                Err("--self-timed needs a dataset with time stamps: timed_trace, azure, burstgpt or trace"
                    .into())
            }
            false => Ok(false),
        };
    };
    let rate = args.load.first_rate().map(|_| "--request-rate").or(args.pace.flag());
    match rate {
        _ if args.trace.no_self_timed => Ok(false),
        None => Ok(true),
        Some(_) if kind == TraceKind::Burstgpt && !args.trace.self_timed => Ok(false),
        Some(flag) => Err(format!(
            "{} is sent at its time stamps: leave out {flag}, or give --no-self-timed to take only the lengths",
            kind.name()
        )),
    }
}

/// Builds the trace's parameters.
pub(super) fn trace(
    name: DatasetName,
    flags: &WorkloadArgs,
    args: &TraceArgs,
    timed: bool,
) -> Result<Trace, String> {
    let kind = kind(name).ok_or("that dataset is not a trace")?;
    let path = flags.dataset_path.clone();
    let path =
        path.ok_or_else(|| format!("--dataset-name {} needs its file: --dataset-path", kind.name()))?;
    let unit_s = args.timed_trace_sec_multiplier;
    let (block_tokens, speed) = (args.timed_trace_chunk_hash_size, args.trace_speed);
    let (window, token_ids) = (args.trace_window, flags.prompt_token_ids);
    let columns = columns(kind, args)?;
    let whole_turns = false;
    let lengths = args.trace_lengths.map(|name| match name {
        TraceLengthsName::Prompt => TraceLengths::Prompt,
        TraceLengthsName::Turn => TraceLengths::Turn,
    });
    if lengths.is_some() && columns.session.is_none() {
        return Err(
            "--trace-lengths is about the turns of sessions: --trace-columns session=COLUMN names them"
                .into(),
        );
    }
    Ok(Trace {
        kind,
        path,
        columns,
        unit_s,
        block_tokens,
        timed,
        speed,
        window,
        token_ids,
        whole_turns,
        lengths,
    })
}

/// Returns the column names: the trace's usual names, replaced by those of the flags.
fn columns(kind: TraceKind, args: &TraceArgs) -> Result<TraceColumns, String> {
    let of = |timestamp: &str, input: &str, output: &str| TraceColumns {
        timestamp: timestamp.to_owned(),
        input: input.to_owned(),
        output: output.to_owned(),
        hashes: None,
        session: None,
        duration: None,
        prefix: None,
    };
    let mut columns = match kind {
        TraceKind::Azure => of("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        TraceKind::Burstgpt => of("Timestamp", "Request tokens", "Response tokens"),
        TraceKind::Trace => of("timestamp", "input_length", "output_length"),
        TraceKind::TimedTrace => TraceColumns {
            hashes: Some(args.timed_trace_label_hash_ids.clone()),
            ..of(
                &args.timed_trace_label_timestamp,
                &args.timed_trace_label_input_length,
                &args.timed_trace_label_output_length,
            )
        },
    };
    for Pair { key, value } in &args.trace_columns {
        match key.as_str() {
            "timestamp" => columns.timestamp.clone_from(value),
            "input" => columns.input.clone_from(value),
            "output" => columns.output.clone_from(value),
            "hashes" => columns.hashes = Some(value.clone()),
            "session" => columns.session = Some(value.clone()),
            "duration" => columns.duration = Some(value.clone()),
            "prefix" => columns.prefix = Some(value.clone()),
            other => {
                return Err(format!(
                    "--trace-columns {other}={value}: `{other}` is none of timestamp, input, output, hashes, session, duration, \
                     prefix"
                ));
            }
        }
    }
    Ok(columns)
}
