//! From the bytes of a read to a token with its time: the cost of one event, for recorded answers of a real vLLM.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use servebench::drive::client::stopwatch::{Keep, KeepGaps, KeepText, Stopwatch};
use servebench::drive::clock::Clock;

const ANSWERS: [(&str, &[u8]); 2] = [
    ("completions", include_bytes!("../../tests/fixtures/sse/completions.sse")),
    ("chat", include_bytes!("../../tests/fixtures/sse/chat.sse")),
];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, answer) in ANSWERS {
        let events = pieces(answer);
        group.throughput(Throughput::Elements(events.len() as u64));
        // As vLLM sends them: a write for each token.
        group.bench_function(format!("{name}, one event a read"), |bencher| {
            bencher.iter(|| outputs(black_box(&events)));
        });
        // As a proxy that batches sends them.
        group.bench_function(format!("{name}, all events in one read"), |bencher| {
            bencher.iter(|| outputs(black_box(&[answer])));
        });
    }
    group.finish();
}

/// The answer cut behind each event.
fn pieces(answer: &[u8]) -> Vec<&[u8]> {
    let ends = answer.windows(2).enumerate().filter(|(_, pair)| *pair == b"\n\n").map(|(at, _)| at + 2);
    let mut start = 0;
    ends.map(|end| &answer[std::mem::replace(&mut start, end)..end]).collect()
}

/// How many events of the reads carry output.
fn outputs(reads: &[&[u8]]) -> u32 {
    let keep = Keep { text: KeepText::Never, gaps: KeepGaps::Never };
    let mut watch = Stopwatch::new(Clock::start(), Duration::ZERO, keep, Rc::default());
    for read in reads {
        watch.socket_read(None);
        watch.bytes_arrived(Duration::from_secs(1), read);
    }
    let count = watch.conclude(Ok(())).events.count;
    assert!(count > 0, "a recorded answer has output");
    count
}
