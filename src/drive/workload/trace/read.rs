//! The files of traces.

use std::io::BufRead as _;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::cells::Cell;
use super::keep::{Keeper, Kept};
use super::row::Row;
use super::table;
use crate::core::digest::Digest;
use crate::core::spec::{Trace, TraceKind};
use crate::drive::workload::source::Source;
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{Fault, Format, Job, WorkloadError, lines};

const TIMED_TRACE: &Format = &Format {
    name: "timed trace",
    shape: r#"{"timestamp": 0, "input_length": 1000, "output_length": 100, "hash_ids": [1, 2]} in each line (--timed-trace-label-… name other keys)"#,
    flag: "--dataset-path",
};
const AZURE: &Format = &Format {
    name: "Azure trace",
    shape: "a CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens (--trace-columns names others)",
    flag: "--dataset-path",
};
const BURSTGPT: &Format = &Format {
    name: "BurstGPT trace",
    shape: "a CSV file with the columns Timestamp,Model,Request tokens,Response tokens,… (--trace-columns names others)",
    flag: "--dataset-path",
};
const TRACE: &Format = &Format {
    name: "trace",
    shape: "a CSV file with a header, or a JSON object in each line; --trace-columns timestamp=t,input=in,output=out names its columns",
    flag: "--dataset-path",
};

/// What BurstGPT calls the model whose rows vLLM takes.
const SAMPLED_MODEL: &str = "GPT-4";

/// BurstGPT as a source of lengths is a sample of one model's rows, as in vLLM; a sample of turns would be no sessions.
pub(super) fn is_sampled(trace: &Trace) -> bool {
    trace.kind == TraceKind::Burstgpt && !trace.timed && !trace.has_sessions()
}

/// Reads the rows that are wanted.
pub(super) fn rows(trace: &Trace, job: &Job<'_>) -> Result<Kept, WorkloadError> {
    let format = match trace.kind {
        TraceKind::TimedTrace => TIMED_TRACE,
        TraceKind::Azure => AZURE,
        TraceKind::Burstgpt => BURSTGPT,
        TraceKind::Trace => TRACE,
    };
    let mut begin: Option<SignedDuration> = None;
    loop {
        let source = Source::open(&trace.path, format, job.progress)?;
        let (name, rereadable) = (source.name.clone(), trace.path.is_file());
        let lots = is_sampled(trace).then(|| Stream::Shuffle.rng(job.seed));
        // How many rows the wanted sessions have is known only at the end.
        let limit = if trace.has_sessions() { usize::MAX } else { job.num_prompts };
        let mut keeper = Keeper::new(limit, trace.window, begin, lots);
        let digest = read(source, trace, &mut |row| keeper.take(row))?;
        // The first row was not the earliest, so the window lies elsewhere than was thought.
        match keeper.corrected() {
            Some(earliest) if rereadable => begin = Some(earliest),
            Some(_) => {
                let why =
                    "a pipe cannot be read again, and its rows are not in order; give a file, or sort it"
                        .into();
                return Err(WorkloadError::NothingToSend { path: name, rows: keeper.seen, why });
            }
            None => {
                let (candidates, dropped) = (keeper.seen, keeper.dropped);
                return Ok(Kept { rows: keeper.rows(), candidates, dropped, digest, name });
            }
        }
    }
}

fn read(mut source: Source<'_>, trace: &Trace, keep: &mut dyn FnMut(Row)) -> Result<Digest, WorkloadError> {
    let json = match trace.kind {
        TraceKind::TimedTrace => true,
        TraceKind::Azure | TraceKind::Burstgpt => false,
        TraceKind::Trace => {
            let head =
                source.text.fill_buf().map_err(|error| WorkloadError::unreadable(&source.name, error))?;
            head.trim_ascii_start().starts_with(b"{")
        }
    };
    if json { json_lines(source, trace, keep) } else { csv(source, trace, keep) }
}

fn json_lines(source: Source<'_>, trace: &Trace, keep: &mut dyn FnMut(Row)) -> Result<Digest, WorkloadError> {
    lines::read(source, &mut |line: lines::Line<Map<String, Value>>| {
        keep(Row::of(trace, line.number, |name| line.record.get(name).map(Cell::Json))?);
        Ok(())
    })
}

fn csv(source: Source<'_>, trace: &Trace, keep: &mut dyn FnMut(Row)) -> Result<Digest, WorkloadError> {
    let columns = std::cell::RefCell::new(Vec::new());
    let mut model = None;
    let places = &columns;
    let mut begin = |header: table::Header| {
        for name in wanted(trace) {
            let place = header.find(name).ok_or_else(|| header.missing(name))?;
            places.borrow_mut().push((name, place));
        }
        Ok::<(), Fault>(())
    };
    if is_sampled(trace) {
        model = Some("Model");
    }
    let mut take = |fields: &[&str], line: usize| {
        let columns = places.borrow();
        let cell = |wanted: &str| {
            let (_, place) = columns.iter().find(|(name, _)| *name == wanted)?;
            Some(Cell::Text(fields[*place]))
        };
        let other_model = model
            .is_some_and(|model| !matches!(cell(model), Some(Cell::Text(name)) if name == SAMPLED_MODEL));
        if !other_model {
            keep(Row::of(trace, line, cell)?);
        }
        Ok(())
    };
    table::read(source, &mut begin, &mut take)
}

/// The columns that a CSV file must have.
fn wanted(trace: &Trace) -> Vec<&str> {
    let columns = &trace.columns;
    let timed = trace.needs_times().then_some(columns.timestamp.as_str());
    let model = is_sampled(trace).then_some("Model");
    let named = [&columns.hashes, &columns.session, &columns.duration, &columns.prefix].map(Option::as_deref);
    let optional = [timed, model].into_iter().chain(named).flatten();
    [columns.input.as_str(), columns.output.as_str()].into_iter().chain(optional).collect()
}
