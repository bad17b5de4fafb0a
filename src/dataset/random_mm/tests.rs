use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::model::run_spec::{self, Dataset, RandomLengths};
use crate::tokenizer::Tokenizer;

fn media(items: u32, ratio: f64, limit: u32) -> RandomMedia {
    let bucket = |height, width, weight| MediaBucket { height, width, frames: 1, weight };
    RandomMedia {
        text: RandomLengths {
            input_len: 5,
            output_len: 3,
            prefix_len: 0,
            input_range_ratio: 0.0,
            output_range_ratio: 0.0,
            token_ids: false,
        },
        items,
        items_range_ratio: ratio,
        image_limit: limit,
        video_limit: 1,
        buckets: vec![bucket(16, 32, 3.0), bucket(8, 8, 1.0), bucket(9, 9, 0.0)],
    }
}

fn made(media: RandomMedia, num_prompts: usize, seed: u64) -> Result<PreparedWorkload, String> {
    let wanted = run_spec::WorkloadSpec::new(Dataset::RandomMm(media), num_prompts);
    super::super::prepare(&wanted, &mut RunRng::native(seed), &Tokenizer::Estimate, &|_| {})
        .map_err(|error| error.to_string())
}

/// The parts of a request's only message.
fn parts(request: &Request) -> Vec<Value> {
    let Content::Messages(messages) = &request.content else { panic!("{request:?}") };
    assert_eq!((messages.len(), &messages[0]["role"]), (1, &Value::from("user")));
    messages[0]["content"].as_array().unwrap().clone()
}

/// The width and height of a JPEG, from its start-of-frame segment.
fn size(part: &Value) -> (u16, u16) {
    let url = part["image_url"]["url"].as_str().unwrap();
    let jpeg = STANDARD.decode(url.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == 0xc0 {
            let number = |offset| u16::from_be_bytes([jpeg[at + offset], jpeg[at + offset + 1]]);
            return (number(7), number(5));
        }
        at += 2 + length;
    }
}

#[test]
fn a_request_is_a_text_and_images_of_the_sizes_asked_for() {
    let workload = made(media(2, 0.0, 255), 200, 1).unwrap();
    let mut sizes: HashMap<(u16, u16), usize> = HashMap::new();
    for request in &workload.requests.to_vec() {
        let parts = parts(request);
        assert_eq!((parts.len(), &parts[0]["type"]), (3, &Value::from("text")));
        parts[1..].iter().for_each(|part| *sizes.entry(size(part)).or_default() += 1);
        assert_eq!((request.prompt_tokens, request.max_tokens), (5, 3));
    }
    assert_eq!((workload.provenance.dataset.as_str(), sizes.len()), ("random-mm", 2));
    let wide = sizes[&(32, 16)];
    assert!((270..=330).contains(&wide), "{wide} of 400, three in four are expected");
}

#[test]
fn the_number_of_images_varies_around_the_mean_and_stops_at_the_limit() {
    let counts = |ratio, limit| {
        let workload = made(media(2, ratio, limit), 300, 2).unwrap();
        let mut counts: Vec<usize> =
            workload.requests.kept().iter().map(|request| parts(request).len() - 1).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    };
    assert_eq!(counts(1.0, 255), [0, 1, 2, 3, 4]);
    assert_eq!(counts(0.5, 255), [1, 2, 3]);
    assert_eq!(counts(1.0, 2), [0, 1, 2]);
}

#[test]
fn the_same_seed_gives_the_same_images_and_more_prompts_keep_the_first() {
    let few = made(media(1, 0.5, 3), 5, 7).unwrap();
    assert_eq!(few.requests.to_vec()[..], made(media(1, 0.5, 3), 9, 7).unwrap().requests.to_vec()[..5]);
    assert_ne!(few.requests.to_vec(), made(media(1, 0.5, 3), 5, 8).unwrap().requests.to_vec());
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let with = |change: &dyn Fn(&mut RandomMedia)| {
        let mut media = media(1, 0.0, 1);
        change(&mut media);
        made(media, 1, 0).unwrap_err()
    };
    for (error, expected) in [
        (with(&|it| it.buckets[0].frames = 16), "videos are not supported"),
        (with(&|it| it.buckets.clear()), "needs an image"),
        (with(&|it| it.buckets.iter_mut().for_each(|bucket| bucket.weight = 0.0)), "needs an image"),
        (with(&|it| it.buckets[0].width = 0), "16 x 0 pixels"),
        (with(&|it| it.buckets[0].height = 70_000), "70000 x 32 pixels"),
        (with(&|it| it.items = 2), "`random-mm.image_limit` allows 1"),
        (with(&|it| it.items_range_ratio = 1.5), "from 0 to 1, not 1.5"),
        (with(&|it| it.items_range_ratio = f64::NAN), "from 0 to 1"),
    ] {
        assert!(error.starts_with("random-mm dataset: ") && error.contains(expected), "{error}");
    }
}
