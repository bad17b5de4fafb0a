//! The checks that compare an answer's counts to the request and to each other.

use super::{Check, CheckBounds, CheckInput};
use crate::model::run_spec::BackendTask;
use crate::model::validity::{
    CheckName, CheckOutcome, CheckScope, LengthComparison, OutputLengths, Quantity, TextClaims,
};

/// All checks of answers, where text is generated.
pub(super) fn answer_checks(case: &CheckInput<'_>) -> impl Iterator<Item = Check> {
    let generates = case.spec.target.backend.task() == BackendTask::Generation;
    let checks = [Some(output_length(case)), Some(usage(case)), empty_turns(case)];
    checks.into_iter().flatten().filter(move |_| generates)
}

/// Checks for answers longer than requested, or shorter although end-of-sequence tokens were to be ignored.
fn output_length(case: &CheckInput<'_>) -> Check {
    let name = CheckName::OutputLength;
    let Some(lengths) = case.evidence.lengths.filter(|lengths| lengths.answers > 0) else {
        return Check::not_judged(name, "neither the server nor a tokenizer counted the tokens of an answer");
    };
    let OutputLengths { answers, longer, bound, shorter, .. } = lengths;
    let sentences = [
        describe_count(longer, answers, |tokens, asked| {
            format!(
                "are longer than requested ({tokens:.0} tokens on average, {asked:.0} requested): the server ignores the token limit \
                 under the name that is sent; some servers use another name: `sampling.extra_body` '{{\"max_tokens\": N}}'"
            )
        }),
        describe_count(shorter, bound, |tokens, asked| {
            format!(
                "are shorter than requested ({tokens:.0} tokens on average, {asked:.0} requested) although ignore_eos or min_tokens \
                 was sent: the server ignores it, or its context ends there; runs with such answers are not comparable"
            )
        }),
    ];
    let figure = Quantity::Count((longer.answers + shorter.answers) as u64);
    Check::grade(name, figure, CheckBounds::warning(Quantity::Count(0)), &join_sentences(sentences))
}

/// Checks for a usage that contradicts the received events and texts.
fn usage(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Usage;
    let Some(lengths) = case.evidence.lengths.filter(|lengths| lengths.by_usage > 0) else {
        return Check::not_judged(name, "the server reports no usage");
    };
    let OutputLengths { by_usage, usage_above: above, usage_below: below, .. } = lengths;
    let claims = UsageClaims::new(case, by_usage);
    let effect = "; throughput in tokens is too high and TPOT too low by that factor, E2E and request throughput are valid";
    let sentences = [
        describe_count(above, by_usage, |tokens, asked| {
            format!(
                "report a usage of {tokens:.0} tokens although they have no more events than their limit of {asked:.0}: the server, \
                 or a gateway, adds up running totals, or counts something else{effect}"
            )
        }),
        claims.sentence(if above.answers > 0 { "" } else { effect }),
        describe_count(claims.at_limit, by_usage, |tokens, bytes| {
            format!(
                "ended at their limit with {tokens:.0} tokens on average, but have only {bytes:.0} bytes of text: the other tokens \
                 have no text (the model goes on after its end, as ignore_eos asks), so TPOT, which ends at the last \
                 text, is too low"
            )
        }),
        describe_count(below, by_usage, |tokens, events| {
            format!(
                "report a usage of {tokens:.0} tokens on average but have {events:.0} events with output: the usage is wrong, or a \
                 gateway splits tokens"
            )
        }),
    ];
    let answers = above.answers.max(claims.beyond) + claims.at_limit.answers + below.answers;
    let figure = Quantity::Count(answers as u64);
    let check =
        Check::grade(name, figure, CheckBounds::warning(Quantity::Count(0)), &join_sentences(sentences));
    match above.answers.max(claims.invalid) * 10 > by_usage {
        true => Check { outcome: CheckOutcome::Invalid, ..check }.with_scope(CheckScope::Tokens),
        false => check,
    }
}

/// Answers that claim more tokens than their text can be.
struct UsageClaims {
    /// The claimed tokens, and what the text can be at most.
    compared: LengthComparison,
    /// What the text can be, in words.
    text: &'static str,
    /// The number of such answers; an estimate, if only some answers were tokenized.
    beyond: usize,
    /// The number of them that prove a wrong count.
    invalid: usize,
    at_limit: LengthComparison,
    by_usage: usize,
}

impl UsageClaims {
    /// The answers that the tokenizer objects to, if those are the more.
    fn new(case: &CheckInput<'_>, by_usage: usize) -> Self {
        let TextClaims { by_bytes, beyond, at_limit, by_tokenizer, beyond_tokenizer } =
            case.evidence.text_claims;
        let tokenized = by_bytes.answers * beyond_tokenizer.answers / by_tokenizer.answers.max(1);
        // A tokenizer that counts other prompt tokens than the server does proves nothing.
        let is_trusted = case.evidence.token_disagreement.is_none_or(|share| share <= 0.02);
        match tokenized > 0 && tokenized >= beyond.answers {
            true => Self {
                compared: beyond_tokenizer,
                text: "tokens",
                beyond: tokenized,
                invalid: if is_trusted { tokenized } else { beyond.answers },
                at_limit,
                by_usage,
            },
            false => Self {
                compared: beyond,
                text: "bytes",
                beyond: beyond.answers,
                invalid: beyond.answers,
                at_limit,
                by_usage,
            },
        }
    }

    fn sentence(&self, effect: &str) -> Option<String> {
        let Self { compared, text, beyond, by_usage, .. } = self;
        let (tokens, own) = compared.means();
        (*beyond > 0).then(|| {
            format!(
                "{beyond} of {by_usage} answers report a usage of {tokens:.0} tokens on average, but their text is at most {own:.0} \
                 {text}: the usage is wrong, or it includes reasoning that is neither sent nor reported{effect}"
            )
        })
    }
}

/// Present only where turns repeat answers and some of these are empty.
fn empty_turns(case: &CheckInput<'_>) -> Option<Check> {
    let answers = case.evidence.repeated_answers;
    let advice = "the next turn repeats an empty answer, so this is not the intended conversation: the model reasons until \
                  its limit, or calls a tool; allow more tokens, or turn the reasoning off: \
                  `sampling.extra_body` '{\"chat_template_kwargs\": {\"enable_thinking\": false}}'";
    (answers.silent > 0).then(|| {
        let share = Quantity::Share(answers.silent as f64 / answers.all as f64);
        Check::grade(CheckName::SilentTurns, share, CheckBounds::warning(Quantity::Share(0.0)), advice)
    })
}

/// Writes `3 of 100 answers are …`; `None` if there are none.
fn describe_count(some: LengthComparison, of: usize, say: impl Fn(f64, f64) -> String) -> Option<String> {
    let (tokens, other) = some.means();
    (some.answers > 0).then(|| format!("{} of {of} answers {}", some.answers, say(tokens, other)))
}

fn join_sentences<const N: usize>(sentences: [Option<String>; N]) -> String {
    sentences.into_iter().flatten().collect::<Vec<_>>().join(". ")
}
