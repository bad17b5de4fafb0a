//! Reads trace files.

use std::io::BufRead as _;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::row::TraceRow;
use super::table;
use crate::dataset::read_options::FileSummary;
use crate::dataset::rng_stream::RngStream;
use crate::dataset::sampler::is_admitted;
use crate::dataset::source::DatasetSource;
use crate::dataset::trace::row_selector::{RowSelector, SelectedRows};
use crate::dataset::trace::values::TraceValue;
use crate::dataset::{DatasetError, DatasetFault, DatasetFormat, FilePosition, PrepareContext, jsonl};
use crate::model::dataset::DropCounts;
use crate::model::run_spec::{LengthBounds, Trace, TraceKind};

const TIMED_TRACE: &DatasetFormat = &DatasetFormat {
    name: "timed trace",
    shape: r#"{"timestamp": 0, "input_length": 1000, "output_length": 100, "hash_ids": [1, 2]} in each line (`timed_trace.label_timestamp` and the like name other keys)"#,
    named_by: "`dataset.path`",
};
const AZURE: &DatasetFormat = &DatasetFormat {
    name: "Azure trace",
    shape: "a CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens (`trace.columns` names others)",
    named_by: "`dataset.path`",
};
const BURSTGPT: &DatasetFormat = &DatasetFormat {
    name: "BurstGPT trace",
    shape: "a CSV file with the columns Timestamp,Model,Request tokens,Response tokens,… (`trace.columns` names others)",
    named_by: "`dataset.path`",
};
const TRACE: &DatasetFormat = &DatasetFormat {
    name: "trace",
    shape: "a CSV file with a header, or a JSON object in each line; `trace.columns` timestamp=t,input=in,output=out names its columns",
    named_by: "`dataset.path`",
};

/// BurstGPT's name of the model whose rows vLLM uses.
const SAMPLED_MODEL: &str = "GPT-4";

/// Whether the rows are a random sample. As in vLLM, BurstGPT as a source of lengths is a sample of one model's rows. A
/// trace with sessions is never sampled, because a sample of turns would break its sessions.
pub(super) fn is_sampled(trace: &Trace) -> bool {
    trace.kind == TraceKind::Burstgpt && !trace.timed && !trace.has_sessions()
}

/// The expected format of the trace's file.
pub(super) fn format(trace: &Trace) -> &'static DatasetFormat {
    match trace.kind {
        TraceKind::TimedTrace => TIMED_TRACE,
        TraceKind::Azure => AZURE,
        TraceKind::Burstgpt => BURSTGPT,
        TraceKind::Trace => TRACE,
    }
}

/// The error for a malformed row. It ends the preparation.
pub(super) fn malformed(trace: &Trace, path: &str, line: usize, fault: DatasetFault) -> DatasetError {
    let place = FilePosition { entry: None, line, column: 0 };
    DatasetError::Malformed { path: path.to_owned(), place, fault, format: format(trace) }
}

/// Reads all rows in file order. Also returns the file's name in errors.
pub(super) fn each_row(
    trace: &Trace,
    job: &PrepareContext<'_>,
    take: &mut dyn FnMut(TraceRow),
) -> Result<(FileSummary, String), DatasetError> {
    let source = DatasetSource::open(&trace.path, format(trace), job.read_options())?;
    let name = source.name.clone();
    Ok((read(source, trace, take)?, name))
}

/// Counts the rows that a run of the whole file could use; `count` receives the lengths of their prompts and outputs. No
/// row is kept, unless a window in time has to be found first.
pub(in crate::dataset) fn count_rows(
    trace: &Trace,
    job: &PrepareContext<'_>,
    count: &mut dyn FnMut(u32, u32),
) -> Result<SelectedRows, DatasetError> {
    if trace.window.is_some() {
        let kept = rows(trace, job)?;
        kept.rows.iter().for_each(|row| count(row.input, row.output));
        return Ok(kept);
    }
    let (mut seen, mut dropped) = (0, DropCounts::default());
    let (FileSummary { digest, bad }, name) = each_row(trace, job, &mut |row| {
        seen += 1;
        if row.is_empty() {
            dropped.empty += 1;
        } else if is_admitted(job.bounds, row.input, row.output, &mut dropped) {
            count(row.input, row.output);
        }
    })?;
    let candidates = seen + bad.total();
    Ok(SelectedRows {
        rows: Vec::new().into(),
        candidates,
        dropped: DropCounts { malformed: bad, ..dropped },
        digest,
        name,
    })
}

/// Reads the rows that the job needs.
pub(super) fn rows(trace: &Trace, job: &PrepareContext<'_>) -> Result<SelectedRows, DatasetError> {
    let mut begin: Option<SignedDuration> = None;
    loop {
        let source = DatasetSource::open(&trace.path, format(trace), job.read_options())?;
        let (name, rereadable) = (source.name.clone(), trace.path.is_file());
        let lots = is_sampled(trace).then(|| RngStream::Shuffle.rng(job.seed));
        // The number of rows in the wanted sessions is known only at the end.
        let limit = if trace.has_sessions() { usize::MAX } else { job.num_prompts };
        // The limits apply to whole sessions, so they are checked once the turns are known.
        let bounds = if trace.has_sessions() { LengthBounds::default() } else { job.bounds };
        let mut selector =
            RowSelector::new(limit, trace.window, begin, lots).with_bounds(bounds).with_memory(job.kept);
        let FileSummary { digest, bad } = read(source, trace, &mut |row| selector.offer(row))?;
        // The first row was not the earliest, so the window was counted from the wrong time.
        match selector.corrected_begin() {
            Some(earliest) if rereadable => begin = Some(earliest),
            Some(_) => {
                let why =
                    "its rows are not in order of time, and a pipe cannot be read again; give a file, or sort the rows"
                        .into();
                return Err(DatasetError::NothingToSend { path: name, rows: selector.seen, why });
            }
            None => {
                let candidates = selector.seen + bad.total();
                let dropped = DropCounts { malformed: bad, ..selector.dropped.clone() };
                return Ok(SelectedRows { rows: selector.into_rows()?, candidates, dropped, digest, name });
            }
        }
    }
}

fn read(
    mut source: DatasetSource<'_>,
    trace: &Trace,
    keep: &mut dyn FnMut(TraceRow),
) -> Result<FileSummary, DatasetError> {
    let json = match trace.kind {
        TraceKind::TimedTrace => true,
        TraceKind::Azure | TraceKind::Burstgpt => false,
        TraceKind::Trace => {
            let head =
                source.text.fill_buf().map_err(|error| DatasetError::unreadable(&source.name, error))?;
            head.trim_ascii_start().starts_with(b"{")
        }
    };
    if json { json_lines(source, trace, keep) } else { csv(source, trace, keep) }
}

fn json_lines(
    source: DatasetSource<'_>,
    trace: &Trace,
    keep: &mut dyn FnMut(TraceRow),
) -> Result<FileSummary, DatasetError> {
    jsonl::read(source, &mut |line: jsonl::JsonlRecord<Map<String, Value>>| {
        keep(TraceRow::from_values(trace, line.number, |name| line.record.get(name).map(TraceValue::Json))?);
        Ok(())
    })
}

fn csv(
    source: DatasetSource<'_>,
    trace: &Trace,
    keep: &mut dyn FnMut(TraceRow),
) -> Result<FileSummary, DatasetError> {
    let columns = std::cell::RefCell::new(Vec::new());
    let mut model = None;
    let places = &columns;
    let mut begin = |header: table::ColumnNames| {
        for name in wanted(trace) {
            header.ambiguous(name).map_or(Ok(()), Err)?;
            let place = header.find(name).ok_or_else(|| header.missing(name))?;
            places.borrow_mut().push((name, place));
        }
        Ok::<(), DatasetFault>(())
    };
    if is_sampled(trace) {
        model = Some("Model");
    }
    let mut take = |fields: &[&str], line: usize| {
        let columns = places.borrow();
        let cell = |wanted: &str| {
            let (_, place) = columns.iter().find(|(name, _)| *name == wanted)?;
            Some(TraceValue::Text(fields[*place]))
        };
        let other_model = model.is_some_and(
            |model| !matches!(cell(model), Some(TraceValue::Text(name)) if name == SAMPLED_MODEL),
        );
        if !other_model {
            keep(TraceRow::from_values(trace, line, cell)?);
        }
        Ok(())
    };
    table::read(source, &mut begin, &mut take)
}

/// The columns that a CSV file must have.
fn wanted(trace: &Trace) -> Vec<&str> {
    let columns = &trace.columns;
    let timed = trace.uses_timestamps().then_some(columns.timestamp.as_str());
    let model = is_sampled(trace).then_some("Model");
    let named = [&columns.hashes, &columns.session, &columns.duration, &columns.prefix].map(Option::as_deref);
    let optional = [timed, model].into_iter().chain(named).flatten();
    [columns.input.as_str(), columns.output.as_str()].into_iter().chain(optional).collect()
}
