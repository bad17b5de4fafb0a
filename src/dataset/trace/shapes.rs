//! The lengths, times and block identities of a trace's rows, without prompts for them.

use std::sync::Arc;
use std::time::Duration;

use super::row::TraceRow;
use super::row_selector::SelectedRows;
use super::session_turns::{self, SessionRows};
use super::{arrivals, blocks, check_lengths, check_timing, read, usable_rows};
use crate::dataset::shapes::{RequestShape, ShapedWorkload, TurnShape, hashed_contents, session_contents};
use crate::dataset::{DatasetError, PrepareContext};
use crate::model::arrival::Offsets;
use crate::model::dataset::Provenance;
use crate::model::run_spec::{LengthBounds, PromptFormat, Trace, WorkloadSpec};
use crate::model::spool::KEPT_IN_MEMORY;
use crate::tokenizer::Tokenizer;

/// Whether [`trace_shapes`] reads what a run of the trace would send: the lengths of a sample depend on the tokenizer,
/// and bounds of lengths on whole sessions.
pub(crate) fn is_plain_trace(trace: &Trace, bounds: &LengthBounds) -> bool {
    !read::is_sampled(trace) && (!trace.has_sessions() || *bounds == LengthBounds::default())
}

/// Reads a trace without writing prompts for its rows. Blocks have `block_tokens` tokens.
///
/// # Errors
/// If the file cannot be read, or has no usable row.
pub(crate) fn trace_shapes(
    spec: &WorkloadSpec,
    trace: &Trace,
    seed: u64,
    block_tokens: u32,
) -> Result<ShapedWorkload, DatasetError> {
    // No token of a text is counted, so that the tokenizer does not matter.
    let tokenizer = Tokenizer::Estimate;
    let job = PrepareContext {
        num_prompts: spec.num_prompts,
        measured: spec.num_prompts,
        draw: spec.draw,
        bounds: spec.bounds,
        strict: spec.strict,
        form: &PromptFormat::Text,
        template: None,
        seed,
        tokenizer: &tokenizer,
        progress: &|_| {},
        lengths: None,
        kept: KEPT_IN_MEMORY,
    };
    shapes(trace, &job, block_tokens)
}

fn shapes(
    trace: &Trace,
    job: &PrepareContext<'_>,
    block_tokens: u32,
) -> Result<ShapedWorkload, DatasetError> {
    let SelectedRows { rows, candidates, dropped, digest, name } = usable_rows(trace, job)?;
    let remarks = if trace.timed { check_timing(trace, &rows, &name)? } else { Vec::new() };
    let hash_tokens = trace.block_tokens.map_or_else(|| blocks::fitting_block_size(&rows), u32::from);
    let contents = RowContents { hash_tokens, block_tokens };
    let (requests, due) = match trace.has_sessions() {
        true => {
            let sessions = SessionRows::group(&rows, job.num_prompts, job.kept)?;
            check_lengths(trace, &sessions, &name)?;
            let shapes =
                sessions.iter().zip(0..).flat_map(|(rows, session)| contents.turns(trace, &rows, session));
            (shapes.collect(), arrivals(sessions.iter().map(|rows| rows[0].at), trace, job)?)
        }
        false => {
            let shapes = rows.iter().map(|row| contents.request(&row));
            (shapes.collect(), arrivals(rows.iter().map(|row| row.at), trace, job)?)
        }
    };
    let provenance = Provenance {
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped,
        remarks,
        ..Provenance::from_generator(trace.kind.name())
    };
    let arrivals = due.map(|due: Offsets| due.iter().collect::<Vec<Duration>>());
    Ok(ShapedWorkload { requests, arrivals, provenance })
}

/// Gives the blocks of rows their identities.
struct RowContents {
    hash_tokens: u32,
    block_tokens: u32,
}

impl RowContents {
    fn request(&self, row: &TraceRow) -> RequestShape {
        let contents = self.of(row, row.input);
        RequestShape { prompt: row.input, output: row.output, contents, turn: None }
    }

    /// The turns of a session. A prompt has the whole history, whatever the lengths of the rows count.
    fn turns(&self, trace: &Trace, rows: &[TraceRow], session: u64) -> Vec<RequestShape> {
        let passages = session_turns::turn_passages(rows, 0, trace.lengths);
        let thinking = session_turns::think_times(rows, trace.speed);
        let turns = rows.iter().zip(passages).zip(thinking).zip(0..);
        let shape = |(((row, passage), think), index): (((&TraceRow, _), Duration), u32)| {
            let session_turns::TurnPassage { start, words } = passage;
            let prompt = match trace.whole_turns {
                true => row.input,
                false => u32::try_from(start + words).unwrap_or(u32::MAX),
            };
            let turn = Some(TurnShape { session, index, think }).filter(|_| rows.len() > 1);
            let contents = self.of(row, prompt.saturating_add(row.output));
            RequestShape { prompt, output: row.output, contents, turn }
        };
        turns.map(shape).collect()
    }

    fn of(&self, row: &TraceRow, tokens: u32) -> Arc<[u64]> {
        match row.text {
            _ if !row.hashes.is_empty() => {
                hashed_contents(&row.hashes, self.hash_tokens, row.input, self.block_tokens)
            }
            Some(text) => session_contents(text, tokens, self.block_tokens),
            None => Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dataset::bundled;
    use crate::dataset::trace::prepare;
    use crate::model::rng::RunRng;
    use crate::model::run_spec::TraceKind;
    use crate::testing::datasets;

    fn fixture(kind: TraceKind, name: &str) -> Trace {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces").join(name);
        let mut trace = datasets::trace(kind, path);
        trace.columns.hashes = (kind == TraceKind::TimedTrace).then(|| "hash_ids".to_owned());
        trace
    }

    /// The lengths of prompts and outputs, and the times.
    type LengthsAndTimes = (Vec<(u32, u32)>, Option<Vec<Duration>>);

    /// The lengths and times of the shapes, and those of the requests that a run would send.
    fn both(trace: &Trace) -> [LengthsAndTimes; 2] {
        let tokenizer = bundled::tokenizer();
        let job = PrepareContext::plain(usize::MAX, &tokenizer);
        let shaped = shapes(trace, &job, 16).unwrap();
        let sent = prepare(trace, &job, &RunRng::native(0)).unwrap();
        let lengths = shaped.requests.iter().map(|shape| (shape.prompt, shape.output)).collect();
        let requests =
            sent.requests.all().outlines().map(|request| (request.prompt_tokens, request.max_tokens));
        [(lengths, shaped.arrivals), (requests.collect(), sent.arrivals.map(|due| due.iter().collect()))]
    }

    #[test]
    fn shapes_are_those_of_the_requests_that_a_run_sends() {
        let traces = [
            (TraceKind::Azure, "azure-2023.csv"),
            (TraceKind::Burstgpt, "burstgpt.csv"),
            (TraceKind::TimedTrace, "mooncake.jsonl"),
        ];
        for (kind, name) in traces {
            let mut trace = fixture(kind, name);
            if kind == TraceKind::TimedTrace {
                trace.unit_s = 0.001;
            }
            let [shaped, sent] = both(&trace);
            assert!(!shaped.0.is_empty());
            assert_eq!(shaped, sent, "{name}");
        }
    }

    #[test]
    fn rows_with_equal_hashes_share_their_blocks() {
        let trace = Trace { unit_s: 0.001, ..fixture(TraceKind::TimedTrace, "mooncake.jsonl") };
        let tokenizer = bundled::tokenizer();
        let shaped = shapes(&trace, &PrepareContext::plain(usize::MAX, &tokenizer), 16).unwrap();
        let first = &shaped.requests[0].contents;
        assert!(first.len() >= 32, "a hash stands for 512 tokens");
        let shares = |other: &RequestShape| other.contents[..32] == first[..32];
        assert!(shaped.requests[1..].iter().any(shares), "prompts of this trace begin alike");
    }
}
