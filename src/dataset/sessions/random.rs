//! Sessions of random texts: either turns of given lengths that build a history, or turns that share beginnings.

use std::sync::Arc;

use rayon::prelude::*;

use super::{PreparedTurn, session_requests, turn_count};
use crate::dataset::rng_stream::RngStream;
use crate::dataset::{DatasetError, PrepareContext, PreparedWorkload, random};
use crate::model::dataset::{Provenance, larger_deviation};
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;
use crate::model::run_spec::{LengthBounds, RandomLengths, RandomTurns};
use crate::tokenizer::TokenizeError;

/// Separates the random streams of later turns, and of the parts of shared prompts, from the stream of first turns.
const LATER_TURN_SEED: u64 = 0x7A15;

/// Writes all sessions.
pub(crate) fn prepare(
    wanted: &RandomTurns,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let mut rng = RngStream::Turns.rng(job.seed);
    let lengths: Vec<usize> = (0..job.num_prompts).map(|_| turn_count(wanted.turns, &mut rng)).collect();
    if wanted.has_common_prefixes() {
        prefix_sessions(wanted, &lengths, job)
    } else {
        growing_sessions(wanted, &lengths, job)
    }
}

/// Writes sessions whose history grows: a first prompt, then turns that each add a text.
fn growing_sessions(
    wanted: &RandomTurns,
    lengths: &[usize],
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let first = texts(&wanted.first, job.num_prompts, job.seed, job)?;
    let later = RandomLengths { input_len: wanted.input_len, prefix_len: 0, ..wanted.first };
    let count = lengths.iter().map(|turns| turns.saturating_sub(1)).sum();
    let later = texts(&later, count, job.seed ^ LATER_TURN_SEED, job)?;
    let inexact = first.provenance.inexact + later.provenance.inexact;
    let inexact_by = larger_deviation(first.provenance.inexact_by, later.provenance.inexact_by);
    let mut later = later.requests.into_iter();
    let sessions = first.requests.into_iter().zip(lengths).flat_map(|(first, turns)| {
        let turns = [first].into_iter().chain(later.by_ref().take(turns.saturating_sub(1)));
        session_requests(turns.map(prepare_turn).collect()).collect::<Vec<_>>()
    });
    let requests = sessions.collect();
    Ok(PreparedWorkload {
        requests,
        ..empty_workload(Provenance { inexact, inexact_by, ..first.provenance })
    })
}

fn prepare_turn(request: Request) -> PreparedTurn {
    let Request { content, prompt_tokens, max_tokens, .. } = request;
    PreparedTurn { content, tokens: prompt_tokens, output: max_tokens, answer: "".into() }
}

/// Writes prompts of one length. One part is common to all sessions, and another part is common to the turns of a
/// session.
fn prefix_sessions(
    wanted: &RandomTurns,
    lengths: &[usize],
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let all = f64::from(wanted.first.input_len);
    let (global, own) = ((all * wanted.global_ratio).round(), (all * wanted.session_ratio).round());
    let part = |tokens: f64, count: usize, stream: u64| -> Result<Vec<String>, DatasetError> {
        if tokens < 1.0 {
            return Ok(vec![String::new(); count]);
        }
        let lengths =
            RandomLengths { input_len: tokens as u32, prefix_len: 0, input_range_ratio: 0.0, ..wanted.first };
        let written = texts(&lengths, count, job.seed ^ (LATER_TURN_SEED + stream), job)?.requests;
        Ok(written.iter().map(|request| request.content.as_text().unwrap_or_default().to_owned()).collect())
    };
    let global_text = part(global, 1, 1)?.concat();
    let session_texts = part(own, lengths.len(), 2)?;
    let mut unique = part(all - global - own, lengths.iter().sum(), 3)?.into_iter();
    let join = |common: &str, own: String| [global_text.as_str(), common, &own].concat();
    let prompts: Vec<Vec<String>> = session_texts
        .iter()
        .zip(lengths)
        .map(|(common, turns)| unique.by_ref().take(*turns).map(|own| join(common, own)).collect())
        .collect();
    let output = wanted.first.output_len;
    let counted: Vec<Vec<PreparedTurn>> = prompts
        .into_par_iter()
        .map(|turns| turns.into_iter().map(|text| standalone_turn(text, output, job)).collect())
        .collect::<Result<_, TokenizeError>>()?;
    let requests = counted.into_iter().flat_map(session_requests).collect();
    Ok(PreparedWorkload { requests, ..empty_workload(Provenance::from_generator("random_turns")) })
}

/// Builds a turn whose prompt has no history.
fn standalone_turn(
    text: String,
    output: u32,
    job: &PrepareContext<'_>,
) -> Result<PreparedTurn, TokenizeError> {
    let tokens = job.tokenizer.count(&text)?;
    Ok(PreparedTurn { content: Content::Text(text.into()), tokens, output, answer: Arc::from("") })
}

/// Writes `count` random texts of these lengths.
fn texts(
    lengths: &RandomLengths,
    count: usize,
    seed: u64,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let job = PrepareContext { num_prompts: count, seed, bounds: LengthBounds::default(), ..*job };
    random::prepare(lengths, &job, &RunRng::native(seed))
}

fn empty_workload(provenance: Provenance) -> PreparedWorkload {
    let provenance = Provenance { dataset: "random_turns".into(), ..provenance };
    PreparedWorkload { requests: Vec::new(), arrivals: None, provenance }
}
