use std::sync::Arc;

use super::*;
use crate::dataset::bundled;
use crate::dataset::shared_prefix::CommonPrefixes;
use crate::dataset::tests::single_bytes;
use crate::model::run_spec::RngKind;

const LENGTHS: RandomLengths = RandomLengths {
    input_len: 100,
    output_len: 20,
    prefix_len: 0,
    input_range_ratio: 0.0,
    output_range_ratio: 0.0,
    token_ids: false,
};

fn write(lengths: &RandomLengths, tokenizer: &Tokenizer, num_prompts: usize) -> PreparedWorkload {
    made(lengths, tokenizer, num_prompts, 5)
}

fn made(lengths: &RandomLengths, tokenizer: &Tokenizer, num_prompts: usize, seed: u64) -> PreparedWorkload {
    let job = PrepareContext { seed, ..PrepareContext::plain(num_prompts, tokenizer) };
    prepare(lengths, &job, &RunRng::native(seed)).unwrap()
}

#[test]
fn every_prompt_has_exactly_the_asked_number_of_tokens() {
    let lengths = RandomLengths { input_range_ratio: 0.75, prefix_len: 16, ..LENGTHS };
    for tokenizer in [bundled::tokenizer(), single_bytes()] {
        let workload = write(&lengths, &tokenizer, 200);
        assert_eq!(workload.provenance.inexact, 0, "{tokenizer:?}");
        let specials = tokenizer.special_token_count().unwrap();
        for request in &workload.requests.to_vec() {
            let plain = tokenizer.count_plain(request.content.as_text().unwrap()).unwrap();
            assert_eq!(plain + specials, request.prompt_tokens);
            assert!((41..=191).contains(&plain), "{plain}");
        }
    }
}

#[test]
fn lengths_fill_their_range_and_no_more() {
    let lengths =
        RandomLengths { input_len: 10, input_range_ratio: 0.25, output_range_ratio: 0.5, ..LENGTHS };
    let ranges = LengthRanges::compute(&lengths, 0).unwrap();
    assert_eq!((ranges.input.clone(), ranges.output.clone()), (7..=13, 10..=30));
    let draws: Vec<_> = draw_prompts(&ranges, 1000, 2000, 1).collect();
    for wanted in ranges.input {
        assert!(draws.iter().any(|draw| draw.input == wanted), "{wanted}");
    }
    assert!(draws.iter().all(|draw| ranges.output.contains(&draw.output) && draw.offset < 1000));
}

/// A tokenizer of each type that random prompts are written with.
fn sources() -> [Tokenizer; 4] {
    let server = Tokenizer::remote(
        "server",
        Arc::new(|text: &str, _| Ok(text.split_whitespace().count().try_into().unwrap_or(u32::MAX))),
    );
    [bundled::tokenizer(), single_bytes(), server, Tokenizer::Estimate]
}

#[test]
fn every_random_prompt_has_a_first_block_of_its_own_whoever_counts_tokens() {
    let (mut firsts, long) = (Vec::new(), RandomLengths { input_len: 64, ..LENGTHS });
    for tokenizer in sources() {
        // Checks blocks of 16 and of 8 tokens over two runs with neighboring seeds.
        let mut requests = made(&long, &tokenizer, 1000, 7).requests.to_vec();
        requests.extend(made(&long, &tokenizer, 1000, 8).requests.to_vec());
        assert_eq!(
            CommonPrefixes::compute((&requests).into()).unwrap().sharing_blocks(false),
            0,
            "{tokenizer:?}"
        );
        let first = |request: &Request| request.content.bytes()[..request.content.bytes().len() / 8].to_vec();
        firsts.clear();
        firsts.extend(requests.iter().map(first));
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 2000, "{tokenizer:?}");
    }
}

#[test]
fn the_repeats_of_vllms_own_sequence_are_counted() {
    let tokenizer = bundled::tokenizer();
    let count = 800;
    let job = PrepareContext { seed: 5, ..PrepareContext::plain(count, &tokenizer) };
    let lengths = RandomLengths { input_len: 32, ..LENGTHS };
    let python = prepare(&lengths, &job, &RunRng::new(RngKind::Python, 5)).unwrap();
    let repeats = CommonPrefixes::compute((&python.requests.to_vec()).into()).unwrap().sharing_blocks(false);
    assert!((1..count / 4).contains(&repeats), "{repeats}");
}

#[test]
fn random_token_ids_have_a_first_block_of_their_own() {
    let lengths = RandomLengths { token_ids: true, ..LENGTHS };
    let requests = write(&lengths, &bundled::tokenizer(), 2000).requests.to_vec();
    assert_eq!(CommonPrefixes::compute((&requests).into()).unwrap().sharing_blocks(false), 0);
}

#[test]
fn random_prompts_share_their_prefix_and_no_block_behind_it() {
    let lengths = RandomLengths { prefix_len: 48, ..LENGTHS };
    for tokenizer in sources() {
        let requests = write(&lengths, &tokenizer, 300).requests.to_vec();
        assert_eq!(
            CommonPrefixes::compute((&requests).into()).unwrap().sharing_blocks(true),
            0,
            "{tokenizer:?}"
        );
        assert_eq!(
            CommonPrefixes::compute((&requests).into()).unwrap().sharing_blocks(false),
            299,
            "{tokenizer:?}"
        );
    }
}

#[test]
fn special_tokens_come_out_of_the_input_length() {
    assert_eq!(LengthRanges::compute(&LENGTHS, 2).unwrap().input, 98..=98);
}

#[test]
fn no_output_is_empty() {
    let lengths = RandomLengths { output_len: 1, output_range_ratio: 0.9, ..LENGTHS };
    assert_eq!(LengthRanges::compute(&lengths, 0).unwrap().output, 1..=2);
}

#[test]
fn lengths_that_cannot_be_made_are_refused() {
    for (lengths, expected) in [
        (RandomLengths { input_len: 0, ..LENGTHS }, "without a token"),
        (RandomLengths { input_len: 1, ..LENGTHS }, "1 special ones"),
        (RandomLengths { input_range_ratio: 1.0, ..LENGTHS }, "below 1, not 1"),
        (RandomLengths { output_range_ratio: f64::NAN, ..LENGTHS }, "below 1, not NaN"),
        (RandomLengths { input_len: u32::MAX, ..LENGTHS }, "above the maximum"),
        (RandomLengths { prefix_len: u32::MAX, ..LENGTHS }, "above the maximum"),
    ] {
        let text = LengthRanges::compute(&lengths, 1).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn all_prompts_begin_with_the_same_prefix_and_differ_behind_it() {
    let lengths = RandomLengths { prefix_len: 50, ..LENGTHS };
    for tokenizer in [bundled::tokenizer(), Tokenizer::Estimate] {
        let workload = write(&lengths, &tokenizer, 20);
        let prompts: Vec<&str> =
            workload.requests.kept().iter().map(|request| request.content.as_text().unwrap()).collect();
        let common = (0..).take_while(|&at| {
            let byte = prompts[0].as_bytes().get(at);
            byte.is_some() && prompts.iter().all(|prompt| prompt.as_bytes().get(at) == byte)
        });
        let common = String::from_utf8_lossy(&prompts[0].as_bytes()[..common.count()]).into_owned();
        assert!((45..=60).contains(&tokenizer.count_plain(&common).unwrap()), "{tokenizer:?}: {common:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_prompts_and_more_keep_the_first() {
    let lengths = RandomLengths { input_range_ratio: 0.5, output_range_ratio: 0.5, ..LENGTHS };
    let tokenizer = bundled::tokenizer();
    let few = write(&lengths, &tokenizer, 10);
    assert_eq!(few, write(&lengths, &tokenizer, 10));
    assert_eq!(few.requests.to_vec()[..], write(&lengths, &tokenizer, 30).requests.to_vec()[..10]);
    assert_ne!(few.requests.to_vec(), made(&lengths, &tokenizer, 10, 6).requests.to_vec());
}

#[test]
fn a_tokenizer_that_can_only_count_gets_words_of_the_asked_length() {
    let server = Tokenizer::remote(
        "server",
        Arc::new(|text: &str, specials| {
            let extra = u32::from(specials == crate::tokenizer::SpecialTokens::Add);
            Ok(text.split_whitespace().map(|word| 1 + u32::from(word > "w")).sum::<u32>() + extra)
        }),
    );
    for tokenizer in [server, Tokenizer::Estimate] {
        let workload = write(&LENGTHS, &tokenizer, 50);
        assert_eq!(workload.provenance.inexact, 0, "{tokenizer:?}");
        assert!(workload.requests.kept().iter().all(|request| request.prompt_tokens == 100));
    }
}

#[test]
fn prompts_that_miss_their_length_are_counted_and_carry_their_true_length() {
    let pairs =
        Tokenizer::remote("server", Arc::new(|text: &str, _| Ok(2 * text.split_whitespace().count() as u32)));
    let workload = write(&RandomLengths { input_len: 7, ..LENGTHS }, &pairs, 5);
    assert_eq!(workload.provenance.inexact, 5);
    assert!(workload.requests.kept().iter().all(|request| [6, 8].contains(&request.prompt_tokens)));
}

#[test]
fn token_ids_have_the_asked_number_and_are_no_text() {
    let lengths = RandomLengths { prefix_len: 3, token_ids: true, ..LENGTHS };
    let tokenizer = bundled::tokenizer();
    let specials = tokenizer.special_token_count().unwrap();
    let workload = write(&lengths, &tokenizer, 5);
    for request in &workload.requests.to_vec() {
        let Content::TokenIds(ids) = &request.content else { panic!("{request:?}") };
        assert_eq!((ids.len() as u32, request.prompt_tokens), (103 - specials, 103 - specials));
    }
    let job = PrepareContext::plain(1, &Tokenizer::Estimate);
    let refused = prepare(&lengths, &job, &RunRng::native(0)).unwrap_err().to_string();
    assert!(refused.contains("`workload.tokenizer`"), "{refused}");
}

#[test]
fn a_tokenizer_that_can_only_count_gets_the_lengths_of_pythons_client() {
    let lengths = RandomLengths { input_range_ratio: 0.5, output_range_ratio: 0.5, ..LENGTHS };
    let ranges = LengthRanges::compute(&lengths, 0).unwrap();
    let draws = python_generator::draw_prompts(&ranges, 7, 20, &mut NumpyGenerator::new(5));
    let job = PrepareContext { measured: 20, seed: 5, ..PrepareContext::plain(25, &Tokenizer::Estimate) };
    let made = prepare(&lengths, &job, &RunRng::new(RngKind::Python, 5)).unwrap();
    assert_eq!(made.requests.to_vec().len(), 25);
    for (request, draw) in made.requests.to_vec().iter().zip(draws) {
        assert_eq!((request.prompt_tokens, request.max_tokens), (draw.input, draw.output));
    }
}
