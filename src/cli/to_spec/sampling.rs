//! Converts the sampling flags.

use crate::cli::args::SamplingArgs;
use crate::model::run_spec::{Backend, BackendTask, Dataset, Sampling};

/// Builds the sampling parameters. Responses to generated prompts have the requested length, as in vLLM, since their
/// natural end means nothing.
pub(super) fn sampling(args: &SamplingArgs, dataset: &Dataset, backend: Backend) -> Result<Sampling, String> {
    let sampling = Sampling {
        ignore_eos: args.ignore_eos,
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        min_p: args.min_p,
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        repetition_penalty: args.repetition_penalty,
        logprobs: args.logprobs,
        use_beam_search: args.use_beam_search,
        whole: args.no_stream,
        extra_body: args.extra_body.clone().unwrap_or_default(),
    };
    if backend.task() == BackendTask::Generation {
        let ignore_eos = (sampling.ignore_eos || dataset.is_random()) && !args.no_ignore_eos;
        return Ok(Sampling { ignore_eos, ..sampling });
    }
    let nothing = Sampling { extra_body: sampling.extra_body.clone(), ..Sampling::default() };
    match asked(&sampling, &nothing) {
        None => Ok(nothing),
        Some(flag) => {
            Err(format!("{flag} cannot be used: --backend {} does not generate text", backend.name()))
        }
    }
}

/// Returns the first sampling flag that differs from `nothing`.
fn asked(sampling: &Sampling, nothing: &Sampling) -> Option<String> {
    let fields = |sampling| serde_json::to_value(sampling).unwrap_or_default();
    let (given, nothing) = (fields(sampling), fields(nothing));
    let (name, _) = given.as_object()?.iter().find(|(name, value)| nothing[name.as_str()] != **value)?;
    let flag = if name == "whole" { "no-stream".to_owned() } else { name.replace('_', "-") };
    Some(format!("--{flag}"))
}
