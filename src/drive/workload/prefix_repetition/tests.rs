use std::collections::HashSet;

use super::*;
use crate::core::spec::{self, Dataset, Draw, Rng};
use crate::drive::workload::{bundled, prepare};

const SHAPE: PrefixRepetition =
    PrefixRepetition { prefix_len: 30, suffix_len: 10, num_prefixes: 4, output_len: 6 };

fn made(shape: PrefixRepetition, num_prompts: usize, shuffle: bool) -> Workload {
    let draw = Draw { shuffle, oversample: true };
    let wanted =
        spec::Workload { draw, ..spec::Workload::new(Dataset::PrefixRepetition(shape), num_prompts) };
    prepare(&wanted, &mut Dice::native(2), &bundled::tokenizer(), &|_| {}).unwrap()
}

/// What each prompt begins with; the last of the prefix's tokens may have merged with the suffix.
fn beginnings(workload: &Workload) -> Vec<String> {
    let text = |request: &Request| request.content.as_text().unwrap().chars().take(40).collect();
    workload.requests.iter().map(text).collect()
}

#[test]
fn our_own_prompts_have_exact_lengths_and_leave_no_remainder() {
    let workload = made(SHAPE, 18, true);
    assert_eq!((workload.requests.len(), workload.provenance.inexact), (18, 0));
    let tokenizer = bundled::tokenizer();
    for request in &workload.requests {
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
        let wanted = spec::Workload::new(Dataset::PrefixRepetition(shape), num_prompts);
        prepare(&wanted, &mut Dice::new(rng, 0), tokenizer, &|_| {}).unwrap_err().to_string()
    };
    for rng in [Rng::Python, Rng::Native] {
        for (shape, tokenizer, expected) in [
            (PrefixRepetition { num_prefixes: 0, ..SHAPE }, &local, "3 prompts cannot share 0 prefixes"),
            (SHAPE, &local, "3 prompts cannot share 4 prefixes"),
            (PrefixRepetition { num_prefixes: 1, prefix_len: u32::MAX, ..SHAPE }, &local, "are not made"),
            (
                PrefixRepetition { num_prefixes: 1, prefix_len: 0, suffix_len: 0, ..SHAPE },
                &local,
                "without a token",
            ),
            (SHAPE, &Tokenizer::Estimate, "--tokenizer"),
        ] {
            let text = refused(shape, 3, tokenizer, rng);
            assert!(text.starts_with("prefix_repetition dataset: ") && text.contains(expected), "{text}");
        }
    }
}
