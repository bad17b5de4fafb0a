//! The `trace` dataset: replays the times and lengths of recorded requests with generated prompts.
//!
//! A trace has no texts. Blocks with the same hash get the same words, the prompts of a session continue one text, and
//! every other prompt is a unique text. A server's prefix cache therefore finds in the prompts what it would have
//! found in the originals. Every prompt has exactly the length that the trace states, special tokens included, even if
//! the hashes cover less of it.
//!
//! Rows with a session become the turns of that session; see [`session_turns`].
//!
//! There are three differences from vLLM's `timed_trace`: times are counted from the first replayed request, rows are
//! sorted by time, and the seed determines the words.

mod blocks;
mod burstgpt;
mod prompt_generator;
mod read;
mod row;
mod row_selector;
mod session_turns;
mod table;
mod timing;
mod values;

use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt as _;

pub(super) use self::read::count_rows;
use self::row::TraceRow;
use super::{DatasetError, DatasetFault, PrepareContext, PreparedWorkload};
use crate::dataset::read_options::describe_rule;
use crate::dataset::rng_stream::RngStream;
use crate::dataset::trace::prompt_generator::TracePromptGenerator;
use crate::dataset::trace::row_selector::SelectedRows;
use crate::dataset::trace::timing::TimingFault;
use crate::model::dataset::Provenance;
use crate::model::rng::RunRng;
use crate::model::run_spec::Trace;
use crate::tokenizer::Tokenizer;

/// Reads the rows and writes a prompt for each.
pub(super) fn prepare(
    trace: &Trace,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    if let (true, true, Tokenizer::Local(local)) =
        (read::is_sampled(trace), dice.is_python_compatible(), job.tokenizer)
    {
        return burstgpt::prepare(trace, job, local);
    }
    let SelectedRows { mut rows, candidates, dropped, digest, name } = read::rows(trace, job)?;
    if rows.is_empty() && job.num_prompts > 0 {
        let why = match (trace.window, dropped.total()) {
            (Some(_), _) => "none is in `trace.window`, which counts from the first row's time".to_owned(),
            (None, 0) => "it has only a header".to_owned(),
            (None, _) => describe_rule(format!("dropped: {dropped}"), &dropped, read::format(trace)),
        };
        return Err(DatasetError::NothingToSend { path: name, rows: candidates, why });
    }
    let remarks = if trace.timed { check_timing(trace, &rows, &name)? } else { Vec::new() };
    let repeated = if read::is_sampled(trace) { repeat(&mut rows, job) } else { 0 };
    let generator = TracePromptGenerator::new(trace, &rows, job)?;
    let (requests, due) = match trace.has_sessions() {
        true => {
            let sessions = session_turns::group_by_session(rows, job.num_prompts);
            if trace.lengths.is_none() && !trace.whole_turns {
                session_turns::find_contradiction(&sessions).map_or(Ok(()), |(row, said)| {
                    Err(read::malformed(trace, &name, row.line, contradiction_fault(trace, row, said)))
                })?;
            }
            let due = arrivals(sessions.iter().filter_map(|rows| rows.first()), trace.speed);
            (generator.generate_sessions(&sessions, trace), due)
        }
        false => (generator.generate(&rows), arrivals(rows.iter(), trace.speed)),
    };
    let (inexact, inexact_by) = generator.count_inexact(&requests, trace.whole_turns)?;
    let provenance = Provenance {
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped,
        repeated,
        inexact,
        inexact_by,
        remarks,
        ..Provenance::from_generator(trace.kind.name())
    };
    Ok(PreparedWorkload { requests, arrivals: trace.timed.then_some(due), provenance })
}

/// Returns a remark if the times hardly have the unit that is set, and an error if a replay would take years.
fn check_timing(trace: &Trace, rows: &[TraceRow], name: &str) -> Result<Vec<String>, DatasetError> {
    match timing::find_fault(trace, rows) {
        None => Ok(Vec::new()),
        Some(TimingFault::Odd(why)) => Ok(vec![why]),
        Some(TimingFault::Endless { line, why }) => {
            Err(read::malformed(trace, name, line, DatasetFault::OtherKind(why)))
        }
    }
}

/// The fault of a row that is shorter than its session's history.
fn contradiction_fault(trace: &Trace, row: &TraceRow, said: u64) -> DatasetFault {
    DatasetFault::OtherKind(format!(
        "`{}` is {}, but its session has {said} tokens before it. If the column counts what the turn adds, set `trace.lengths` turn; \
         with `trace.lengths` prompt the value is the whole prompt length, and this turn then adds only one word",
        trace.columns.input, row.input
    ))
}

/// When each row is due, counted from the first.
fn arrivals<'r>(rows: impl Iterator<Item = &'r TraceRow> + Clone, speed: f64) -> Vec<Duration> {
    let first = rows.clone().next().map(|row| row.at).unwrap_or_default();
    rows.map(|row| replay_duration(row.at.saturating_sub(first), speed)).collect()
}

/// Converts a time span of the trace to replay time; zero if the span is negative.
fn replay_duration(stretch: SignedDuration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(stretch.as_secs_f64().max(0.0) / speed).unwrap_or(Duration::MAX)
}

/// Draws rows of a sample again until it is large enough, as pandas does with `replace`. Returns the number of added
/// rows.
fn repeat(rows: &mut Vec<TraceRow>, job: &PrepareContext<'_>) -> usize {
    let distinct = rows.len();
    let mut rng = RngStream::Repeat.rng(job.seed);
    while rows.len() < job.required_count(distinct) && distinct > 0 {
        rows.push(rows[rng.random_range(0..distinct)].clone());
    }
    rows.len() - distinct
}

#[cfg(test)]
mod tests;
