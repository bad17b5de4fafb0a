//! The checks of what the server makes of the prompts: their tokens, and its prefix cache.

use super::{Check, CheckBounds, CheckInput};
use crate::model::server::ImpossibleShare;
use crate::model::validity::{CheckName, EstimatedPrompts, Quantity, TemplateTokens};

/// The most tokens that a chat template plausibly adds to a prompt: a long system prompt with tools.
const MAX_TEMPLATE_TOKENS: u64 = 4096;

/// The factor by which a template plausibly lengthens a prompt, if it adds more than that.
const MAX_TEMPLATE_FACTOR: u64 = 10;

/// Checks whether the server counts prompts as the tokenizer does.
pub(super) fn token_agreement(case: &CheckInput<'_>) -> Check {
    let name = CheckName::TokenAgreement;
    if let Some(prompts) = case.evidence.estimated_prompts {
        return estimate_agreement(prompts);
    }
    if let Some(check) = case.evidence.template_tokens.and_then(large_template) {
        return check;
    }
    let Some(share) = case.evidence.token_disagreement else {
        return Check::not_judged(name, "the tokens were not counted by both the server and a tokenizer");
    };
    let advice = if case.spec.target.backend.supports_raw_prompts() {
        "the tokenizer is not the server's, so prompt lengths and rates in tokens are wrong: give the model's own \
         `workload.tokenizer`"
    } else {
        "the server counts fewer prompt tokens than the messages alone have, and a template only adds some: it leaves out \
         cached tokens, truncates prompts, or uses a tokenizer other than `workload.tokenizer`"
    };
    Check::grade(name, Quantity::Share(share), CheckBounds::warning(Quantity::Share(0.02)), advice)
}

/// The estimate selected the conversations and set the lengths of random prompts and of requested answers.
fn estimate_agreement(prompts: EstimatedPrompts) -> Check {
    let (estimated, counted) = (prompts.estimated as f64, prompts.counted as f64);
    let factor = counted / estimated;
    let advice = format!(
        "prompt lengths were estimated, and the server counts {factor:.2} times as many tokens, so the workload is not the \
         intended one, nor are output lengths that come from a dataset's answers: give `workload.tokenizer`"
    );
    let off = Quantity::Share((counted - estimated).abs() / counted.max(estimated));
    Check::grade(CheckName::TokenAgreement, off, CheckBounds::warning(Quantity::Share(0.1)), &advice)
}

/// A chat template adds far more tokens than any does.
fn large_template(tokens: TemplateTokens) -> Option<Check> {
    let TemplateTokens { prompt, added } = tokens;
    (added > MAX_TEMPLATE_TOKENS && added > MAX_TEMPLATE_FACTOR * prompt).then(|| {
        let advice = format!(
            "the server counts {} prompt tokens where {prompt} were sent, on average, and no usual chat template adds {added}: \
             its usage is wrong, or it puts a long system prompt or documents in front; rates of input tokens use its count",
            prompt + added
        );
        let share = added as f64 / (prompt + added) as f64;
        let bound = CheckBounds::warning(Quantity::Share(0.02));
        Check::grade(CheckName::TokenAgreement, Quantity::Share(share), bound, &advice)
    })
}

/// Checks for prompt tokens that the server had cached before the run.
pub(super) fn prefix_cache(case: &CheckInput<'_>) -> Check {
    let name = CheckName::PrefixCache;
    let Some(cache) = case.evidence.prefix_cache.filter(|cache| cache.queries > 0) else {
        return Check::not_judged(name, "the server reports no prefix-cache counters");
    };
    let counts = (("the cached tokens", cache.hits as f64), ("the prompt tokens", cache.queries as f64));
    if let Some(share) = ImpossibleShare::of_counts("the prefix cache's share", counts.0, counts.1) {
        return Check::not_judged(name, &share.to_string());
    }
    let share = cache.hits.saturating_sub(cache.explained) as f64 / cache.queries as f64;
    let bounds = CheckBounds { warning: Some(Quantity::Share(0.05)), invalid: Some(Quantity::Share(0.2)) };
    let workload = &case.spec.workload;
    let advice = if workload.unique.is_some() {
        "every prompt began with unique words, so these are tokens that the server puts in front of each prompt, or prompts \
         of other clients: TTFT is that of shorter prompts"
            .to_owned()
    } else {
        let seed =
            if workload.dataset.is_finite() { "" } else { "; another `spec.seed` generates other prompts" };
        format!(
            "the server had cached these tokens before the run, so TTFT is too short: `workload.unique` begins each prompt with \
             words that no earlier run used, `options.reset_prefix_cache` empties the cache first (vLLM allows that when started \
             with VLLM_SERVER_DEV_MODE=1){seed}"
        )
    };
    Check::grade(name, Quantity::Share(share), bounds, &advice)
}
