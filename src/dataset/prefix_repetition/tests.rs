use std::collections::HashSet;

use super::*;
use crate::dataset::{bundled, prepare};
use crate::model::run_spec::{self, Dataset, DatasetSampling, RngKind};

const SHAPE: PrefixRepetition =
    PrefixRepetition { prefix_len: 30, suffix_len: 10, num_prefixes: 4, output_len: 6 };

fn made(shape: PrefixRepetition, num_prompts: usize, shuffle: bool) -> PreparedWorkload {
    let draw = DatasetSampling { shuffle, oversample: true };
    let wanted = run_spec::WorkloadSpec {
        draw,
        ..run_spec::WorkloadSpec::new(Dataset::PrefixRepetition(shape), num_prompts)
    };
    prepare(&wanted, &mut RunRng::native(2), &bundled::tokenizer(), &|_| {}).unwrap()
}

/// The first 40 characters of each prompt. They end before the prefix does, because the last token of the prefix may
/// have merged with the suffix.
fn beginnings(workload: &PreparedWorkload) -> Vec<String> {
    let text = |request: &Request| request.content.as_text().unwrap().chars().take(40).collect();
    workload.requests.kept().iter().map(text).collect()
}

#[test]
fn our_own_prompts_have_exact_lengths_and_leave_no_remainder() {
    let workload = made(SHAPE, 18, true);
    assert_eq!((workload.requests.to_vec().len(), workload.provenance.inexact), (18, 0));
    let tokenizer = bundled::tokenizer();
    for request in &workload.requests.to_vec() {
        assert_eq!(tokenizer.count_plain(request.content.as_text().unwrap()).unwrap(), 40);
        assert_eq!((request.prompt_tokens, request.max_tokens), (40, 6));
    }
}

#[test]
fn our_own_prompts_take_the_prefixes_in_turn_or_one_after_the_other() {
    let turns = beginnings(&made(SHAPE, 12, true));
    assert_eq!(turns.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!((&turns[0], &turns[1]), (&turns[4], &turns[5]));
    let blocks = beginnings(&made(SHAPE, 12, false));
    assert!(blocks.chunks(3).all(|block| block.iter().all(|text| *text == block[0])));
    assert_ne!(blocks[2], blocks[3]);
}

#[test]
fn what_cannot_be_made_is_refused_in_one_line() {
    let local = bundled::tokenizer();
    let refused = |shape: PrefixRepetition, num_prompts, tokenizer: &Tokenizer, rng| {
        let wanted = run_spec::WorkloadSpec::new(Dataset::PrefixRepetition(shape), num_prompts);
        prepare(&wanted, &mut RunRng::new(rng, 0), tokenizer, &|_| {}).unwrap_err().to_string()
    };
    for rng in [RngKind::Python, RngKind::Native] {
        for (shape, tokenizer, expected) in [
            (PrefixRepetition { num_prefixes: 0, ..SHAPE }, &local, "3 prompts cannot share 0 prefixes"),
            (SHAPE, &local, "3 prompts cannot share 4 prefixes"),
            (
                PrefixRepetition { num_prefixes: 1, prefix_len: u32::MAX, ..SHAPE },
                &local,
                "above the maximum",
            ),
            (
                PrefixRepetition { num_prefixes: 1, prefix_len: 0, suffix_len: 0, ..SHAPE },
                &local,
                "has no tokens",
            ),
            (SHAPE, &Tokenizer::Estimate, "`workload.tokenizer`"),
        ] {
            let text = refused(shape, 3, tokenizer, rng);
            assert!(text.starts_with("prefix_repetition dataset: ") && text.contains(expected), "{text}");
        }
    }
}
