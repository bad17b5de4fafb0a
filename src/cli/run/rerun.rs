//! Said before a run: the server may have its prompts in its prefix cache already.

use super::args::RunArgs;
use super::stage::Stage;
use super::trial::Trial;
use crate::cli::exit::say;

/// The share of a run's prompt tokens from the cache at which its verdict has something to say.
const MUCH: f64 = 0.05;

/// What a prefix cache keeps at least, in tokens: of shorter prompts it keeps nothing.
const BLOCK: u32 = 16;

/// Says it where the server has answered enough to have seen as much of this draw as matters. A simulator that this program starts
/// has answered nothing.
pub fn note(args: &RunArgs, trial: &Trial, stage: &Stage) {
    if args.load.reset_prefix_cache || trial.spec.workload.unique.is_some() || args.target.sim {
        return;
    }
    if let Some(why) = too_small(trial, args.measure.repeats.get()) {
        say(format_args!("note: {why}: --unique-prompts begins each prompt with words of its own"));
    }
    let Some(seen) = stage.prefix_cache().map(|counters| counters.queries) else { return };
    if may_matter(trial, seen) {
        say(format_args!(
            "note: the server has looked up {seen} prompt tokens in its prefix cache since its start; if this draw was among \
             them, it knows these prompts: --unique-prompts, or --reset-prefix-cache (vLLM: VLLM_SERVER_DEV_MODE=1)"
        ));
    }
}

/// Why the runs of `--repeats` have prompts in common.
fn too_small(trial: &Trial, repeats: usize) -> Option<String> {
    let (requests, candidates) = (trial.spec.workload.num_prompts, trial.inputs.dataset.candidates);
    let is_file = trial.spec.workload.dataset.has_an_end() && candidates > 0;
    (is_file && repeats > 1 && requests.saturating_mul(repeats) > candidates).then(|| {
        format!("{repeats} runs of {requests} prompts from a dataset of {candidates} have prompts in common")
    })
}

/// Whether this number of cached tokens, if all were of this draw, would change the run's TTFT.
fn may_matter(trial: &Trial, seen: u64) -> bool {
    let requests = trial.requests().0;
    let kept = requests.iter().map(|request| request.prompt_tokens).filter(|tokens| *tokens >= BLOCK);
    let tokens: f64 = kept.map(f64::from).sum();
    tokens > 0.0 && seen as f64 >= MUCH * tokens
}
