//! Sessions of random texts: turns of given lengths, or turns that share beginnings instead of a history.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Exchange, session, turn_count};
use crate::core::dataset::Provenance;
use crate::core::rng::Dice;
use crate::core::spec::{RandomLengths, RandomTurns};
use crate::drive::tokenizer::TokenizeError;
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{Content, Job, Request, Workload, WorkloadError, random};

/// Keeps the texts of later turns, and the parts of shared ones, apart from those of first turns.
const LATER: u64 = 0x7A15;

/// Writes all sessions.
pub fn prepare(wanted: &RandomTurns, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let mut rng = Stream::Turns.rng(job.seed);
    let lengths: Vec<usize> = (0..job.num_prompts).map(|_| turn_count(wanted.turns, &mut rng)).collect();
    if wanted.shares_prefixes() { sharing(wanted, &lengths, job) } else { growing(wanted, &lengths, job) }
}

/// A first prompt, then turns that each add a text to what was said.
fn growing(wanted: &RandomTurns, lengths: &[usize], job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let first = random::prepare(&wanted.first, job, &Dice::native(job.seed))?;
    let later = RandomLengths { input_len: wanted.input_len, prefix_len: 0, ..wanted.first };
    let count = lengths.iter().map(|turns| turns.saturating_sub(1)).sum();
    let later = texts(&later, count, job.seed ^ LATER, job)?;
    let inexact = first.provenance.inexact + later.provenance.inexact;
    let mut later = later.requests.into_iter();
    let sessions = first.requests.into_iter().zip(lengths).flat_map(|(first, turns)| {
        let turns = [first].into_iter().chain(later.by_ref().take(turns.saturating_sub(1)));
        session(turns.map(exchange).collect()).collect::<Vec<_>>()
    });
    let requests = sessions.collect();
    Ok(Workload { requests, ..empty(Provenance { inexact, ..first.provenance }) })
}

fn exchange(request: Request) -> Exchange {
    let Request { content, prompt_tokens, max_tokens, .. } = request;
    Exchange { content, tokens: prompt_tokens, output: max_tokens, answer: "".into() }
}

/// Prompts of one length, of which a part is common to all sessions and a part to the turns of one.
fn sharing(wanted: &RandomTurns, lengths: &[usize], job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let all = f64::from(wanted.first.input_len);
    let (global, own) = ((all * wanted.global_ratio).round(), (all * wanted.session_ratio).round());
    let part = |tokens: f64, count: usize, stream: u64| -> Result<Vec<String>, WorkloadError> {
        if tokens < 1.0 {
            return Ok(vec![String::new(); count]);
        }
        let lengths =
            RandomLengths { input_len: tokens as u32, prefix_len: 0, input_range_ratio: 0.0, ..wanted.first };
        let written = texts(&lengths, count, job.seed ^ (LATER + stream), job)?.requests;
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
    let counted: Vec<Vec<Exchange>> = prompts
        .into_par_iter()
        .map(|turns| turns.into_iter().map(|text| whole(text, output, job)).collect())
        .collect::<Result<_, TokenizeError>>()?;
    let requests = counted.into_iter().flat_map(session).collect();
    Ok(Workload { requests, ..empty(Provenance::generated("random_turns")) })
}

/// A prompt that stands for itself.
fn whole(text: String, output: u32, job: &Job<'_>) -> Result<Exchange, TokenizeError> {
    let tokens = job.tokenizer.count(&text)?;
    Ok(Exchange { content: Content::Text(text.into()), tokens, output, answer: Arc::from("") })
}

/// So many random texts of these lengths.
fn texts(lengths: &RandomLengths, count: usize, seed: u64, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    random::prepare(lengths, &Job { num_prompts: count, seed, ..*job }, &Dice::native(seed))
}

fn empty(provenance: Provenance) -> Workload {
    let provenance = Provenance { dataset: "random_turns".into(), ..provenance };
    Workload { requests: Vec::new(), arrivals: None, provenance }
}
