//! Tests of tokens, lengths, usage and prompts: whether the workload was the intended one.

use super::*;
use crate::model::record::TokenSource;
use crate::model::run_spec::{Dataset, RandomLengths};
use crate::model::validity::TemplateTokens;

#[test]
fn guessed_token_counts_are_a_warning() {
    let mut case = Case::clean();
    case.records[5].output_tokens.source = TokenSource::Events;
    case.assert(CheckName::TokenSource, CheckOutcome::Warning);
    let mut case = Case::clean();
    case.records[5].prompt_tokens.source = TokenSource::Estimate;
    case.assert(CheckName::TokenSource, CheckOutcome::Warning);
}

#[test]
fn a_tokenizer_that_counts_otherwise_than_the_server_is_a_warning() {
    let mut case = Case::clean();
    case.evidence.token_disagreement = Some(0.03);
    case.assert(CheckName::TokenAgreement, CheckOutcome::Warning);
}

#[test]
fn a_warm_prefix_cache_is_objected_to() {
    let mut case = Case::clean();
    for (hits, outcome) in [(12_000, CheckOutcome::Warning), (60_000, CheckOutcome::Invalid)] {
        case.evidence.prefix_cache = Some(PrefixCacheCounts { queries: 100_000, hits, explained: 2_000 });
        case.assert(CheckName::PrefixCache, outcome);
    }
    case.evidence.prefix_cache = Some(PrefixCacheCounts { queries: 0, hits: 0, explained: 0 });
    assert_eq!(case.outcome(CheckName::PrefixCache), CheckOutcome::NotJudged);
}

#[test]
fn an_estimated_workload_that_the_server_counts_otherwise_is_a_warning_with_the_factor() {
    let mut case = Case::clean();
    case.evidence.estimated_prompts = Some(EstimatedPrompts { estimated: 5314, counted: 12446 });
    case.assert(CheckName::TokenAgreement, CheckOutcome::Warning);
    assert!(case.only_objection().advice.contains("2.34 times as many tokens"));
    case.evidence.estimated_prompts = Some(EstimatedPrompts { estimated: 5314, counted: 5600 });
    assert_eq!(case.outcome(CheckName::TokenAgreement), CheckOutcome::Passed);
}

/// A group of answers whose lengths differ from the requested ones.
fn compared(answers: usize, tokens: u64, other: u64) -> LengthComparison {
    LengthComparison { answers, tokens: tokens * answers as u64, other: other * answers as u64 }
}

#[test]
fn answers_of_another_length_than_asked_are_a_warning_that_says_how_many() {
    let mut case = Case::clean();
    let lengths = case.evidence.lengths.unwrap();
    case.evidence.lengths = Some(OutputLengths { longer: compared(3, 40, 8), ..lengths });
    case.assert(CheckName::OutputLength, CheckOutcome::Warning);
    let advice = case.only_objection().advice;
    assert!(
        advice.starts_with("3 of 1000 answers are longer than requested (40 tokens on average, 8 requested)"),
        "{advice}"
    );
    case.evidence.lengths = Some(OutputLengths { shorter: compared(1000, 4, 100), ..lengths });
    case.assert(CheckName::OutputLength, CheckOutcome::Warning);
    let advice = case.only_objection().advice;
    assert!(
        advice.starts_with(
            "1000 of 1000 answers are shorter than requested (4 tokens on average, 100 requested)"
        ),
        "{advice}"
    );
}

#[test]
fn a_usage_that_contradicts_the_answers_is_objected_to() {
    let mut case = Case::clean();
    let lengths = case.evidence.lengths.unwrap();
    case.evidence.lengths = Some(OutputLengths { usage_below: compared(1000, 1, 8), ..lengths });
    case.assert(CheckName::Usage, CheckOutcome::Warning);
    case.evidence.lengths = Some(OutputLengths { usage_above: compared(100, 136, 16), ..lengths });
    case.assert(CheckName::Usage, CheckOutcome::Warning);
    case.evidence.lengths = Some(OutputLengths { usage_above: compared(101, 136, 16), ..lengths });
    case.assert(CheckName::Usage, CheckOutcome::Invalid);
    let advice = case.only_objection().advice;
    assert!(advice.starts_with("101 of 1000 answers report a usage of 136 tokens although"), "{advice}");
    assert!(advice.contains("their limit of 16"), "{advice}");
    assert_eq!(case.verdict().invalid_metrics().as_deref(), Some("TPOT and output tok/s"));
}

#[test]
fn a_usage_beyond_the_text_is_objected_to() {
    let mut case = Case::clean();
    let bytes = |answers| TextClaims {
        by_bytes: compared(1000, 200, 42),
        beyond: compared(answers, 200, 42),
        ..TextClaims::default()
    };
    case.evidence.text_claims = bytes(100);
    case.assert(CheckName::Usage, CheckOutcome::Warning);
    case.evidence.text_claims = bytes(101);
    case.assert(CheckName::Usage, CheckOutcome::Invalid);
    let advice = case.only_objection().advice;
    let expected =
        "101 of 1000 answers report a usage of 200 tokens on average, but their text is at most 42 bytes";
    assert!(advice.starts_with(expected), "{advice}");

    // A tokenizer counts a part of the answers, here 100 of 1000.
    let tokenized = TextClaims {
        by_bytes: compared(1000, 500, 900),
        by_tokenizer: compared(100, 500, 180),
        beyond_tokenizer: compared(50, 500, 180),
        ..TextClaims::default()
    };
    case.evidence.text_claims = tokenized;
    case.assert(CheckName::Usage, CheckOutcome::Invalid);
    let advice = case.only_objection().advice;
    let expected =
        "500 of 1000 answers report a usage of 500 tokens on average, but their text is at most 180 tokens";
    assert!(advice.starts_with(expected), "{advice}");
    // It may be another model's.
    case.evidence.token_disagreement = Some(0.3);
    assert_eq!(case.outcome(CheckName::Usage), CheckOutcome::Warning);
}

#[test]
fn tokens_without_text_up_to_the_limit_are_a_warning() {
    let mut case = Case::clean();
    case.evidence.text_claims.at_limit = compared(1000, 256, 40);
    case.assert(CheckName::Usage, CheckOutcome::Warning);
    let advice = case.only_objection().advice;
    assert!(advice.starts_with("1000 of 1000 answers ended at their limit with 256 tokens"), "{advice}");
}

#[test]
fn the_texts_decide_between_answers_that_are_too_long_and_a_wrong_usage() {
    let lengths = OutputLengths { usage_above_at_stop: compared(9, 400, 256), ..OutputLengths::default() };
    let by = |by_bytes, by_tokenizer| {
        let claims = TextClaims { by_bytes, by_tokenizer, ..TextClaims::default() };
        let OutputLengths { longer, usage_above, .. } = lengths.resolve_by_text(&claims);
        (longer.answers, usage_above.answers)
    };
    let nothing = LengthComparison::default();
    assert_eq!(by(compared(9, 400, 1700), nothing), (9, 0));
    assert_eq!(by(compared(9, 400, 500), nothing), (0, 9));
    assert_eq!(by(compared(9, 400, 1700), compared(9, 400, 380)), (9, 0));
    assert_eq!(by(compared(9, 400, 1700), compared(9, 400, 200)), (0, 9));
}

#[test]
fn sessions_that_repeat_empty_answers_are_a_warning() {
    let mut case = Case::clean();
    assert!(case.verdict().checks.iter().all(|check| check.name != CheckName::SilentTurns));
    case.evidence.repeated_answers.silent = 125;
    case.assert(CheckName::SilentTurns, CheckOutcome::Warning);
    assert!(case.only_objection().finding().contains("25.0 %"));
}

#[test]
fn a_chat_whose_prompts_the_server_counts_too_small_is_a_warning() {
    let mut case = Case::clean();
    case.spec.target.backend = crate::model::run_spec::Backend::OpenaiChat;
    case.evidence.token_disagreement = Some(0.5);
    case.assert(CheckName::TokenAgreement, CheckOutcome::Warning);
    assert!(case.only_objection().advice.contains("fewer prompt tokens than the messages alone have"));
}

#[test]
fn another_seed_is_advised_only_where_it_writes_other_prompts() {
    let mut case = Case::clean();
    case.evidence.prefix_cache = Some(PrefixCacheCounts { queries: 1000, hits: 900, explained: 0 });
    let lengths = RandomLengths {
        input_len: 8,
        output_len: 8,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    };
    for (dataset, helps) in
        [(Dataset::Random(lengths), true), (Dataset::Sharegpt { path: None, output_len: None }, false)]
    {
        case.spec.workload.dataset = dataset;
        let advice = case.only_objection().advice;
        assert_eq!(advice.contains("`spec.seed`"), helps, "{advice}");
        for flag in ["`workload.unique`", "`options.reset_prefix_cache`", "VLLM_SERVER_DEV_MODE=1"] {
            assert!(advice.contains(flag), "{advice}");
        }
    }
}

#[test]
fn prompts_that_were_sent_before_are_a_warning() {
    let mut case = Case::clean();
    case.evidence.repeated_prompts = 12;
    case.assert(CheckName::RepeatedPrompts, CheckOutcome::Warning);
}

#[test]
fn more_cached_tokens_than_prompt_tokens_are_not_judged() {
    let mut case = Case::clean();
    case.evidence.prefix_cache = Some(PrefixCacheCounts { queries: 9_000, hits: 49_000, explained: 0 });
    assert_eq!(case.outcome(CheckName::PrefixCache), CheckOutcome::NotJudged);
    let verdict = case.verdict();
    let check = verdict.checks.iter().find(|check| check.name == CheckName::PrefixCache).unwrap();
    assert!(
        check.advice.contains("the cached tokens 49000 exceeds the prompt tokens 9000"),
        "{}",
        check.advice
    );
}

#[test]
fn a_template_that_adds_far_more_than_any_does_is_a_warning() {
    for (prompt, added, outcome) in [
        (8, 8_992, CheckOutcome::Warning),
        (8, 2_000, CheckOutcome::Passed),
        (1_000, 5_000, CheckOutcome::Passed),
    ] {
        let mut case = Case::clean();
        case.evidence.template_tokens = Some(TemplateTokens { prompt, added });
        assert_eq!(case.outcome(CheckName::TokenAgreement), outcome, "{prompt} {added}");
        if outcome == CheckOutcome::Warning {
            assert!(case.only_objection().advice.contains("9000 prompt tokens where 8 were sent"));
        }
    }
}
