//! The checks that compare an answer's counts to the request and to each other.

use super::{Check, CheckBounds, CheckInput};
use crate::model::run_spec::BackendTask;
use crate::model::validity::{CheckName, CheckOutcome, LengthComparison, OutputLengths, Quantity};

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

/// Checks for a usage that contradicts the received events.
fn usage(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Usage;
    let Some(lengths) = case.evidence.lengths.filter(|lengths| lengths.by_usage > 0) else {
        return Check::not_judged(name, "the server reports no usage");
    };
    let OutputLengths { by_usage, usage_above: above, usage_below: below, .. } = lengths;
    let sentences = [
        describe_count(above, by_usage, |tokens, asked| {
            format!(
                "ended at their limit of {asked:.0} tokens, with no more events than that, but report a usage of {tokens:.0}: the \
                 server, or a gateway, adds up running totals; throughput in tokens is too high and TPOT too low by that factor, \
                 E2E and request throughput are valid"
            )
        }),
        describe_count(below, by_usage, |tokens, events| {
            format!(
                "report a usage of {tokens:.0} tokens on average but have {events:.0} events with output: the usage is wrong, or a \
                 gateway splits tokens"
            )
        }),
    ];
    let figure = Quantity::Count((above.answers + below.answers) as u64);
    let check =
        Check::grade(name, figure, CheckBounds::warning(Quantity::Count(0)), &join_sentences(sentences));
    match above.answers * 10 > by_usage {
        true => Check { outcome: CheckOutcome::Invalid, ..check },
        false => check,
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

fn join_sentences(sentences: [Option<String>; 2]) -> String {
    sentences.into_iter().flatten().collect::<Vec<_>>().join(". ")
}
