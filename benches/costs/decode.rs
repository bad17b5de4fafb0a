//! The cost of one event, from the bytes of a read to a token with its time, for recorded answers of a real vLLM.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use servegauge::internals::{Capture, CaptureGaps, CaptureText, RequestTimer, RunClock};

const ANSWERS: [(&str, &[u8]); 2] = [
    ("completions", include_bytes!("../../tests/fixtures/sse/completions.sse")),
    ("chat", include_bytes!("../../tests/fixtures/sse/chat.sse")),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, answer) in ANSWERS {
        let events = pieces(answer);
        group.throughput(Throughput::Elements(events.len() as u64));
        // vLLM sends a write for each token.
        group.bench_function(format!("{name}, one event a read"), |bencher| {
            bencher.iter(|| outputs(black_box(&events)));
        });
        // A proxy that batches sends several events in one write.
        group.bench_function(format!("{name}, all events in one read"), |bencher| {
            bencher.iter(|| outputs(black_box(&[answer])));
        });
    }
    group.finish();
}

/// Splits the answer after each event.
fn pieces(answer: &[u8]) -> Vec<&[u8]> {
    let ends = answer.windows(2).enumerate().filter(|(_, pair)| *pair == b"\n\n").map(|(at, _)| at + 2);
    let mut start = 0;
    ends.map(|end| &answer[std::mem::replace(&mut start, end)..end]).collect()
}

/// The number of events in the reads that carry output.
fn outputs(reads: &[&[u8]]) -> u32 {
    let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
    let mut watch = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, Rc::default());
    for read in reads {
        watch.on_socket_read(None);
        watch.on_bytes(Duration::from_secs(1), read);
    }
    let count = watch.finish(Ok(())).events.count;
    assert!(count > 0, "a recorded answer has output");
    count
}
