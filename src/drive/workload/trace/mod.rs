//! Traces: the times and lengths of requests that others once made, with prompts written for them.
//!
//! A trace has no texts. Blocks with the same hash get the same words, the prompts of a session continue one text, and
//! everything else is a text of its own, so that a server's prefix cache finds in the prompts what it would have found
//! in the originals. Every prompt has exactly the length that the trace says, special tokens included, also where the
//! hashes cover less of it.
//!
//! Where rows carry a session, they are its turns: see [`turns`].
//!
//! Unlike in vLLM's `timed_trace`, times are counted from the first request of the replay, rows are put in their order,
//! and the seed decides the words.

mod blocks;
mod cells;
mod keep;
mod read;
mod row;
mod table;
mod turns;
mod writer;

use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt as _;

use self::keep::Kept;
use self::row::Row;
use self::writer::Writer;
use super::stream::Stream;
use super::{Job, Workload, WorkloadError};
use crate::core::dataset::Provenance;
use crate::core::spec::Trace;

/// Reads the rows and writes a prompt for each.
pub(super) fn prepare(trace: &Trace, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let Kept { mut rows, candidates, dropped, digest, name } = read::rows(trace, job)?;
    if rows.is_empty() && job.num_prompts > 0 {
        let why = match (trace.window, dropped.total()) {
            (Some(_), _) => "none is in --trace-window, which counts from the first row's time".to_owned(),
            (None, 0) => "it has only a header".to_owned(),
            (None, _) => format!("dropped: {dropped}"),
        };
        return Err(WorkloadError::NothingToSend { path: name, rows: candidates, why });
    }
    let repeated = if read::is_sampled(trace) { repeat(&mut rows, job) } else { 0 };
    let writer = Writer::new(trace, &rows, job)?;
    let (requests, due) = match trace.has_sessions() {
        true => {
            let sessions = turns::by_session(rows, job.num_prompts);
            let due = arrivals(sessions.iter().filter_map(|rows| rows.first()), trace.speed);
            (writer.converse(&sessions, trace), due)
        }
        false => (writer.write(&rows), arrivals(rows.iter(), trace.speed)),
    };
    let inexact = writer.inexact(&requests, trace.whole_turns)?;
    let provenance = Provenance {
        dataset: trace.kind.name().into(),
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped,
        repeated,
        inexact,
    };
    Ok(Workload { requests, arrivals: trace.timed.then_some(due), provenance })
}

/// When each row is due, from the first.
fn arrivals<'r>(rows: impl Iterator<Item = &'r Row> + Clone, speed: f64) -> Vec<Duration> {
    let first = rows.clone().next().map(|row| row.at).unwrap_or_default();
    rows.map(|row| replayed(row.at.saturating_sub(first), speed)).collect()
}

/// How long a stretch of the trace takes when it is replayed; nothing where it goes backwards.
fn replayed(stretch: SignedDuration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(stretch.as_secs_f64().max(0.0) / speed).unwrap_or(Duration::MAX)
}

/// Draws from a sample until it is large enough, as pandas does with `replace`; says how many were added.
fn repeat(rows: &mut Vec<Row>, job: &Job<'_>) -> usize {
    let distinct = rows.len();
    let mut rng = Stream::Repeat.rng(job.seed);
    while rows.len() < job.enough(distinct) && distinct > 0 {
        rows.push(rows[rng.random_range(0..distinct)].clone());
    }
    rows.len() - distinct
}

#[cfg(test)]
mod tests;
