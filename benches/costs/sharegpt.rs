//! Reads a ShareGPT file of 20 MB, chooses a thousand requests, and counts their tokens.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use criterion::{Criterion, Throughput};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use servegauge::Dataset;
use servegauge::internals::{RunRng, WorkloadSpec, bundled, prepare};

const FILE_SIZE: u64 = 20 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("sharegpt.json");
    let size = write_conversations(&path).expect("the temporary folder takes 20 MB");
    let tokenizer = bundled::tokenizer();
    let dataset = Dataset::Sharegpt { path: Some(path), output_len: None };
    let wanted = WorkloadSpec::new(dataset, 1000);
    let mut group = criterion.benchmark_group("sharegpt");
    group.sample_size(10).throughput(Throughput::Bytes(size));
    group.bench_function("1000 requests of 20 MB", |bencher| {
        bencher.iter(|| {
            let mut dice = RunRng::native(0);
            prepare(&wanted, &mut dice, &tokenizer, &|_| ()).expect("the file is sound")
        });
    });
    group.finish();
}

/// Writes conversations of four turns, a dozen to a few hundred words each, and returns the file's size in bytes.
fn write_conversations(path: &Path) -> io::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut dice = StdRng::seed_from_u64(0);
    let (mut size, mut before) = (0, "[");
    for id in 0.. {
        let turns = ["human", "gpt", "human", "gpt"];
        let turns = turns.map(|speaker| json!({ "from": speaker, "value": text(&mut dice) }));
        let entry = json!({ "id": id.to_string(), "conversations": turns }).to_string();
        size += (before.len() + entry.len()) as u64;
        write!(file, "{before}{entry}")?;
        before = ",\n";
        if size >= FILE_SIZE {
            break;
        }
    }
    writeln!(file, "]")?;
    file.into_inner()?;
    Ok(size)
}

fn text(dice: &mut StdRng) -> String {
    const SYLLABLES: [&str; 12] =
        ["ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "shi", "\n", "\u{4e2d}\u{6587} "];
    let words = dice.random_range(12..400);
    let word = |dice: &mut StdRng| {
        let syllables = dice.random_range(1..4);
        (0..syllables).map(|_| SYLLABLES[dice.random_range(0..SYLLABLES.len())]).collect::<String>() + " "
    };
    (0..words).map(|_| word(dice)).collect()
}
