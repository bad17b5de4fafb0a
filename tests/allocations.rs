//! Following a stream allocates nothing for each token: a client's time and memory must not follow the number of tokens.
#![expect(unsafe_code, reason = "counting allocations takes an allocator, and that trait is unsafe")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use servegauge::internals::{
    Capture, CaptureGaps, CaptureText, Client, Events, HistoryMode, LoadPhase, LoadPlan, LoadShare,
    Milestone, PackedRecords, Request, RequestIds, RequestRange, RequestTimer, RunClock, Schedule,
    StopHandle, Tokenizer, run_load,
};
use servegauge::{Backend, Record, Run, Sampling, Target, Timestamps, TokenCount, TokenSource};

/// The system's allocator, which counts calls on the thread that asks, and bytes on all threads together.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Bytes are counted for the whole process, so that one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits for the other tests. One that failed is no reason for the next one to fail.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are in use, and the most of them since it was last set.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(by: usize) {
    BYTES.fetch_add(by, Ordering::Relaxed);
    let live = LIVE.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

fn shrink(by: usize) {
    LIVE.fetch_sub(by, Ordering::Relaxed);
}

// Everything is passed on as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        grow(size.saturating_sub(layout.size()));
        shrink(layout.size().saturating_sub(size));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A protocol, the text before and after the text of an event of it, and an event that ends its stream.
type Protocol = (Backend, [&'static str; 2], &'static str);

const PROTOCOLS: [Protocol; 5] = [
    (
        Backend::Openai,
        [
            r#"{"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"index":0,"text":""#,
            r#"","logprobs":null,"finish_reason":null}],"usage":null}"#,
        ],
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
    ),
    (
        Backend::OpenaiChat,
        [
            r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":""#,
            r#"","reasoning":null,"tool_calls":[]},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        ],
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
    ),
    (
        // With text in a field that is not read.
        Backend::OpenaiChat,
        [
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":""#,
            r#"","thought":{"text":"hm"},"cot":"hm"},"finish_reason":null}],"usage":null}"#,
        ],
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
    ),
    (
        Backend::OpenaiResponses,
        [
            r#"{"content_index":0,"delta":""#,
            r#"","item_id":"msg_1","logprobs":[],"output_index":0,"sequence_number":5,"type":"response.output_text.delta"}"#,
        ],
        r#"{"response":{"status":"completed"},"type":"response.completed"}"#,
    ),
    (
        Backend::Tgi,
        [
            r#"{"index":3,"token":{"id":9,"text":""#,
            r#"","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
        ],
        r#"{"token":null,"generated_text":"","details":{"finish_reason":"length","generated_tokens":3}}"#,
    ),
];

/// The texts of events, in turns: those with an escape are parsed each, plain ones are recognized by the event before.
const TEXTS: [[&str; 2]; 3] = [[r#" \"so\""#, r#" \"so\""#], [" so", " it goes"], [" so", r#" \"so\""#]];

/// Serves one stream of `events` events, each in its own write.
fn serve(events: usize, (_, [before, after], end): Protocol, texts: [&'static str; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let _ = socket.read(&mut [0; 4096]).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        let chunk = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
        let in_turns = texts.map(|text| chunk(&format!("{before}{text}{after}")));
        (0..events).for_each(|i| socket.write_all(in_turns[i % 2].as_bytes()).unwrap());
        socket.write_all((chunk(end) + "0\r\n\r\n").as_bytes()).unwrap();
        // Until the client has read it all.
        let _ = socket.read(&mut [0; 1]);
    });
    port
}

fn target(backend: Backend, port: u16) -> Target {
    let mut target = Target::at(&format!("http://127.0.0.1:{port}"), backend);
    (target.endpoint, target.model) = ("/v1/completions".into(), "m".into());
    target
}

/// Answers every request on every connection with one token.
fn always() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, [before, after], end) = PROTOCOLS[0];
    let body = format!("data: {before} so{after}\n\ndata: {end}\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length:";
    let answer = format!("{head} {}\r\n\r\n{body}", body.len());
    thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let answer = answer.clone();
            // A request is small enough to come in one piece.
            thread::spawn(move || {
                while socket.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    socket.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    port
}

/// Counts the allocations while the client follows a stream of `events` events.
fn allocations(events: usize, protocol: Protocol, texts: [&'static str; 2]) -> usize {
    let target = target(protocol.0, serve(events, protocol, texts));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&target, &Sampling::default(), 1).unwrap();
    let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
    let mut watch = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, Rc::default());
    let body = client.body(&Request::text("Hi", 1, 8));
    let before = COUNT.get();
    runtime.block_on(client.send("bench-0", body, &mut watch, |_| {})).unwrap();
    let count = COUNT.get() - before;
    assert_eq!(watch.finish(Ok(())).events.count as usize, events);
    count
}

#[test]
fn tokens_allocate_nothing() {
    let _alone = alone();
    for (protocol, texts) in PROTOCOLS.into_iter().flat_map(|protocol| TEXTS.map(|texts| (protocol, texts))) {
        let [few, many] = [100, 10_100].map(|events| allocations(events, protocol, texts));
        // Events cut by the end of a read are put together in a buffer, which grows a few times.
        let name = protocol.0.name();
        assert!(many < few + 100, "{name}, {texts:?}: {few} allocations for 100 events, {many} for 10,100");
    }
}

/// Bytes that a run of warm-up and measured requests against its own server allocates, on all threads.
fn bytes_of_a_run(warmup: usize, measured: usize) -> usize {
    let target = target(Backend::Openai, always());
    let requests = |count| vec![Request::text("Hi", 1, 8); count];
    let (first, rest) = (requests(warmup), requests(measured));
    let phase = |requests| LoadPhase { requests, schedule: Schedule::Closed, cycle: false, duration: None };
    let plan = LoadPlan {
        target: &target,
        sampling: &Sampling::default(),
        warmup: (warmup > 0).then(|| phase(RequestRange::from(&first))),
        measured: phase(RequestRange::from(&rest)),
        cap: Some(1),
        max_active: None,
        history: HistoryMode::None,
        capture: Capture { text: CaptureText::Never, gaps: CaptureGaps::Never },
        most_records: None,
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: false,
        salter: None,
        share: LoadShare::default(),
    };
    let before = BYTES.load(Ordering::SeqCst);
    let outcome = run_load(&plan, &Tokenizer::Estimate, &StopHandle::default(), &mut |_| {}).unwrap();
    let bytes = BYTES.load(Ordering::SeqCst) - before;
    assert_eq!(
        (outcome.records.len(), outcome.observed.warmup.sent, outcome.observed.warmup.failed),
        (measured, warmup, 0)
    );
    bytes
}

#[test]
fn a_warm_up_request_allocates_no_more_than_a_measured_one() {
    const REQUESTS: usize = 200;
    let _alone = alone();
    // The first run of a process pays for what all share.
    bytes_of_a_run(1, 1);
    let (as_warmup, as_measured) = (bytes_of_a_run(REQUESTS, 1), bytes_of_a_run(1, REQUESTS));
    // How often buffers grow depends on how reads fall. The histograms of one request would be some 400 KB.
    let slack = 100 << 10;
    assert!(as_warmup < as_measured + slack, "{as_warmup} bytes as warm-up, {as_measured} measured");
}

/// A Record of a request that was answered with four tokens, as a run has a million of them.
fn usual_record(ordinal: usize) -> Record {
    let at = |us: u64| Duration::from_micros(ordinal as u64 * 500 + us);
    let mut times = Timestamps::new(Duration::ZERO);
    let steps = [(0, Milestone::Released), (7, Milestone::Sent), (31, Milestone::Written)];
    let answered =
        [(2_100, Milestone::Headers), (2_104, Milestone::FirstChunk), (2_104, Milestone::FirstToken)];
    let end = [(62_300, Milestone::LastToken), (62_450, Milestone::Done)];
    for (us, milestone) in steps.into_iter().chain(answered).chain(end) {
        times.set(milestone, at(us));
    }
    let mut events = Events::default();
    (0..4).for_each(|event| events.note(at(2_104 + 20_065 * event)));
    events.by_second.shrink_to_fit();
    let tokens = |count| TokenCount { count, source: TokenSource::Usage };
    let id = RequestIds::Uuids(uuid::Uuid::from_u128(7)).request_id(ordinal, true);
    let mut record = Record::answered(ordinal, id, times, [tokens(8), tokens(4)], events);
    (record.cached_tokens, record.first_event_tokens) = (Some(0), Some(tokens(1)));
    record
}

/// A million requests with `--save-detailed` may cost 400 MB. Details are in the record log; this is what the Records take
/// during the run, beside the requests, and after it, when the requests are gone.
#[test]
fn a_request_keeps_a_hundred_bytes_in_a_run_and_270_after_it() {
    const REQUESTS: usize = 100_000;
    let _alone = alone();
    let before = LIVE.load(Ordering::SeqCst);
    let live = || LIVE.load(Ordering::SeqCst) - before;
    let mut packed = PackedRecords::default();
    (0..REQUESTS).for_each(|ordinal| packed.push(&usual_record(ordinal)));
    let during = live() / REQUESTS;
    PEAK.store(LIVE.load(Ordering::SeqCst), Ordering::SeqCst);
    let records = packed.into_records();
    let peak = (PEAK.load(Ordering::SeqCst) - before) / REQUESTS;
    let after = live() / REQUESTS;
    assert_eq!(records[REQUESTS - 1], usual_record(REQUESTS - 1));
    assert!(during <= 100 && after <= 270, "{during} bytes a request during a run, {after} after it");
    assert!(peak <= after + during, "{peak} bytes a request while they are unpacked");
}

/// Bytes that writing a result with this number of requests takes at most, beside the result.
fn bytes_of_writing(requests: usize) -> usize {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/results/before-the-new-name.json");
    let mut run = Run::load(fixture.as_ref()).unwrap();
    let records: Vec<Record> = (0..requests).map(usual_record).collect();
    run.replace_records(records);
    let before = LIVE.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    run.write(std::io::sink()).unwrap();
    PEAK.load(Ordering::SeqCst) - before
}

/// A tree of the whole result would take more than a kilobyte a request.
#[test]
fn writing_a_result_takes_the_same_memory_for_any_number_of_requests() {
    let _alone = alone();
    let [few, many] = [100, 20_000].map(bytes_of_writing);
    assert!(many < few + (64 << 10), "{few} bytes for 100 requests, {many} for 20,000");
}
