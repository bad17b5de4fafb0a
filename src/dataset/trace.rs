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
mod rows;
mod session_turns;
mod shapes;
mod table;
mod timing;
mod values;

use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt as _;

pub(super) use self::read::count_rows;
use self::row::TraceRow;
use self::rows::TraceRows;
use self::session_turns::SessionRows;
pub(crate) use self::shapes::{is_plain_trace, trace_shapes};
use super::{DatasetError, DatasetFault, PrepareContext, PreparedWorkload};
use crate::dataset::read_options::describe_rule;
use crate::dataset::requests::RequestSink;
use crate::dataset::rng_stream::RngStream;
use crate::dataset::trace::prompt_generator::TracePromptGenerator;
use crate::dataset::trace::row_selector::SelectedRows;
use crate::dataset::trace::timing::TimingFault;
use crate::model::arrival::Offsets;
use crate::model::dataset::Provenance;
use crate::model::rng::RunRng;
use crate::model::run_spec::Trace;
use crate::model::spool::SpoolError;
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
    let SelectedRows { rows, candidates, dropped, digest, name } = usable_rows(trace, job)?;
    let remarks = if trace.timed { check_timing(trace, &rows, &name)? } else { Vec::new() };
    let generator = TracePromptGenerator::new(trace, &rows, job)?;
    let (mut requests, mut repeated) = (job.request_sink(), 0);
    let due = match trace.has_sessions() {
        true => {
            let sessions = SessionRows::group(&rows, job.num_prompts, job.kept)?;
            check_lengths(trace, &sessions, &name)?;
            generator.generate_sessions(&sessions, trace, &mut requests)?;
            arrivals(sessions.iter().map(|rows| rows[0].at), trace, job)?
        }
        false => {
            generator.generate(rows.iter(), rows.len(), &mut requests)?;
            if read::is_sampled(trace) {
                repeated = repeat(&mut requests, job)?;
            }
            arrivals(rows.iter().map(|row| row.at), trace, job)?
        }
    };
    let requests = requests.finish()?;
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
    Ok(PreparedWorkload { requests, arrivals: due, provenance })
}

/// Reads the rows that the job needs: at least one, unless it needs none.
fn usable_rows(trace: &Trace, job: &PrepareContext<'_>) -> Result<SelectedRows, DatasetError> {
    let selected = read::rows(trace, job)?;
    if selected.rows.len() > 0 || job.num_prompts == 0 {
        return Ok(selected);
    }
    let SelectedRows { candidates, dropped, name, .. } = selected;
    let why = match (trace.window, dropped.total()) {
        (Some(_), _) => "none is in `trace.window`, which counts from the first row's time".to_owned(),
        (None, 0) => "it has only a header".to_owned(),
        (None, _) => describe_rule(format!("dropped: {dropped}"), &dropped, read::format(trace)),
    };
    Err(DatasetError::NothingToSend { path: name, rows: candidates, why })
}

/// Returns an error if rows of a session are shorter than what they should repeat, and the user has not stated what the
/// lengths mean.
fn check_lengths(trace: &Trace, sessions: &SessionRows, name: &str) -> Result<(), DatasetError> {
    if trace.lengths.is_some() || trace.whole_turns {
        return Ok(());
    }
    for session in sessions.iter() {
        if let Some((row, said)) = session_turns::find_contradiction(&session) {
            return Err(read::malformed(trace, name, row.line, contradiction_fault(trace, row, said)));
        }
    }
    Ok(())
}

/// Returns a remark if the times hardly have the unit that is set, and an error if a replay would take years.
fn check_timing(trace: &Trace, rows: &TraceRows, name: &str) -> Result<Vec<String>, DatasetError> {
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

/// When each row is due, counted from the first; `None` if the times of the trace are not used.
fn arrivals(
    mut times: impl Iterator<Item = SignedDuration>,
    trace: &Trace,
    job: &PrepareContext<'_>,
) -> Result<Option<Offsets>, SpoolError> {
    if !trace.timed {
        return Ok(None);
    }
    let first = times.next();
    let due = first
        .into_iter()
        .chain(times)
        .map(|at| replay_duration(at.saturating_sub(first.unwrap_or_default()), trace.speed));
    job.offset_sink().collect(due).map(Some)
}

/// Converts a time span of the trace to replay time; zero if the span is negative.
fn replay_duration(stretch: SignedDuration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(stretch.as_secs_f64().max(0.0) / speed).unwrap_or(Duration::MAX)
}

/// Draws requests of a sample again until it is large enough, as pandas does with `replace`. Returns the number of added
/// requests.
fn repeat(requests: &mut RequestSink, job: &PrepareContext<'_>) -> Result<usize, SpoolError> {
    let distinct = requests.len();
    let mut rng = RngStream::Repeat.rng(job.seed);
    while requests.len() < job.required_count(distinct) && distinct > 0 {
        requests.push_copy(rng.random_range(0..distinct))?;
    }
    Ok(requests.len() - distinct)
}

#[cfg(test)]
mod tests;
