//! Checks whether the server's prefix cache may already contain the prompts of a run.

use super::event::Note;
use super::prepared_run::PreparedRun;
use super::session::Session;

/// The share of cached prompt tokens at which the run's verdict mentions the cache.
const MUCH: f64 = 0.05;

/// The smallest unit of a prefix cache, in tokens. Shorter prompts are not cached.
const BLOCK: u32 = 16;

/// Why the server may know prompts of this run, or of its repeats, before they are sent: the server has already
/// processed enough tokens to have seen a relevant part of them, or the dataset is too small for this number of runs.
pub(crate) fn cached_prompts(prepared: &PreparedRun, session: &Session, repeats: usize) -> Vec<Note> {
    let counters = session.runtime().block_on(session.prefix_cache());
    let looked_up = counters.map(|counters| counters.queries).filter(|seen| may_matter(prepared, *seen));
    let cached = looked_up.map(|looked_up| Note::PromptsMayBeCached { looked_up });
    too_small(prepared, repeats).into_iter().chain(cached).collect()
}

/// Returns a note if the runs of a repetition share prompts.
fn too_small(prepared: &PreparedRun, runs: usize) -> Option<Note> {
    let PreparedRun { spec, inputs, .. } = prepared;
    let (requests, candidates) = (spec.workload.num_prompts, inputs.dataset.candidates);
    let is_file = spec.workload.dataset.is_finite() && candidates > 0;
    (is_file && runs > 1 && requests.saturating_mul(runs) > candidates).then_some(Note::PromptsInCommon {
        runs,
        requests,
        candidates,
    })
}

/// Whether `seen` cached tokens would change the run's TTFT if all of them were of its prompts.
fn may_matter(prepared: &PreparedRun, seen: u64) -> bool {
    let requests = prepared.requests().0;
    let kept = requests.outlines().map(|request| request.prompt_tokens).filter(|tokens| *tokens >= BLOCK);
    let tokens: f64 = kept.map(f64::from).sum();
    tokens > 0.0 && seen as f64 >= MUCH * tokens
}
