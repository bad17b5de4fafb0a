//! Sessions of random texts: either turns of given lengths that build a history, or turns that share beginnings.

use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;

use super::{PreparedTurn, session_requests, turn_count};
use crate::dataset::requests::{RequestSink, Requests};
use crate::dataset::rng_stream::RngStream;
use crate::dataset::{DatasetError, PrepareContext, PreparedWorkload, random};
use crate::model::dataset::{Provenance, larger_deviation};
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;
use crate::model::run_spec::{LengthBounds, RandomLengths, RandomTurns};
use crate::tokenizer::TokenizeError;

/// Separates the random streams of later turns, and of the parts of shared prompts, from the stream of first turns.
const LATER_TURN_SEED: u64 = 0x7A15;

/// Number of sessions that are written at a time, in parallel.
const SESSIONS_PER_BLOCK: usize = 1024;

/// Writes all sessions.
pub(crate) fn prepare(
    wanted: &RandomTurns,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    if wanted.has_common_prefixes() { prefix_sessions(wanted, job) } else { growing_sessions(wanted, job) }
}

/// The number of turns of each session. Each call draws the same numbers again, so that they need not be kept.
fn turn_counts(wanted: &RandomTurns, job: &PrepareContext<'_>) -> impl Iterator<Item = usize> {
    let (mut rng, turns) = (RngStream::Turns.rng(job.seed), wanted.turns);
    (0..job.num_prompts).map(move |_| turn_count(turns, &mut rng))
}

/// Writes sessions whose history grows: a first prompt, then turns that each add a text.
fn growing_sessions(
    wanted: &RandomTurns,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let first = texts(&wanted.first, job.num_prompts, job.seed, job)?;
    let later = RandomLengths { input_len: wanted.input_len, prefix_len: 0, ..wanted.first };
    let count = turn_counts(wanted, job).map(|turns| turns.saturating_sub(1)).sum();
    let later = texts(&later, count, job.seed ^ LATER_TURN_SEED, job)?;
    let inexact = first.provenance.inexact + later.provenance.inexact;
    let inexact_by = larger_deviation(first.provenance.inexact_by, later.provenance.inexact_by);
    let mut later = later.requests.iter();
    let mut requests = job.request_sink();
    for (first, turns) in first.requests.iter().zip(turn_counts(wanted, job)) {
        let turns = [first].into_iter().chain(later.by_ref().take(turns.saturating_sub(1)));
        requests.extend(session_requests(turns.map(prepare_turn).collect()))?;
    }
    workload(requests, Provenance { inexact, inexact_by, ..first.provenance })
}

fn prepare_turn(request: Cow<'_, Request>) -> PreparedTurn {
    let Request { content, prompt_tokens, max_tokens, .. } = request.into_owned();
    PreparedTurn { content, tokens: prompt_tokens, output: max_tokens, answer: "".into() }
}

/// Writes prompts of one length. One part is common to all sessions, and another part is common to the turns of a
/// session.
fn prefix_sessions(wanted: &RandomTurns, job: &PrepareContext<'_>) -> Result<PreparedWorkload, DatasetError> {
    let all = f64::from(wanted.first.input_len);
    let (shared, own) = ((all * wanted.global_ratio).round(), (all * wanted.session_ratio).round());
    let part = |tokens: f64, count: usize, stream: u64| -> Result<Requests, DatasetError> {
        if tokens < 1.0 {
            return Ok(Requests::default());
        }
        let lengths =
            RandomLengths { input_len: tokens as u32, prefix_len: 0, input_range_ratio: 0.0, ..wanted.first };
        Ok(texts(&lengths, count, job.seed ^ (LATER_TURN_SEED + stream), job)?.requests)
    };
    let (global, sessions) = (part(shared, 1, 1)?, part(own, job.num_prompts, 2)?);
    let unique = part(all - shared - own, turn_counts(wanted, job).sum(), 3)?;
    // A part without tokens has no texts.
    let [mut global, mut sessions, mut unique] =
        [&global, &sessions, &unique].map(|part| part.iter().map(Some).chain(std::iter::repeat(None)));
    let global = text(global.next().flatten());
    let mut requests = job.request_sink();
    let mut lengths = turn_counts(wanted, job).peekable();
    while lengths.peek().is_some() {
        let prompts: Vec<Vec<String>> = lengths
            .by_ref()
            .take(SESSIONS_PER_BLOCK)
            .map(|turns| {
                let common = text(sessions.next().flatten());
                let own = unique.by_ref().take(turns);
                own.map(|own| [global.as_str(), &common, &text(own)].concat()).collect()
            })
            .collect();
        let counted: Vec<Vec<PreparedTurn>> = prompts
            .into_par_iter()
            .map(|turns| {
                turns.into_iter().map(|text| standalone_turn(text, wanted.first.output_len, job)).collect()
            })
            .collect::<Result<_, TokenizeError>>()?;
        requests.extend(counted.into_iter().flat_map(session_requests))?;
    }
    workload(requests, Provenance::from_generator("random_turns"))
}

/// The text of a part of a prompt.
fn text(part: Option<Cow<'_, Request>>) -> String {
    part.and_then(|request| request.content.as_text().map(ToOwned::to_owned)).unwrap_or_default()
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

fn workload(requests: RequestSink, provenance: Provenance) -> Result<PreparedWorkload, DatasetError> {
    let provenance = Provenance { dataset: "random_turns".into(), ..provenance };
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}
