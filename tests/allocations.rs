//! Following a stream allocates nothing for each token: a client's time and memory must not follow the number of tokens.
#![expect(unsafe_code, reason = "counting allocations takes an allocator, and that trait is unsafe")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use servebench::core::arrival::Schedule;
use servebench::core::spec::{Backend, Connection, History, Sampling, Target};
use servebench::drive::client::Client;
use servebench::drive::client::stopwatch::{Keep, KeepGaps, KeepText, Stopwatch};
use servebench::drive::clock::Clock;
use servebench::drive::engine::{self, Phase, Plan, Stop};
use servebench::drive::tokenizer::Tokenizer;
use servebench::drive::workload::Request;

/// The system's allocator, which counts calls on the thread that asks, and bytes on all threads together.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Bytes are counted for the whole process, so that one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

static BYTES: AtomicUsize = AtomicUsize::new(0);

// Everything is passed on as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.fetch_add(size.saturating_sub(layout.size()), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A protocol, an event of it with an escape in its text, and one that ends its stream.
type Protocol = (Backend, &'static str, &'static str);

const PROTOCOLS: [Protocol; 4] = [
    (
        Backend::Openai,
        r#"{"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"index":0,"text":" \"so\"","logprobs":null,"finish_reason":null}],"usage":null}"#,
        "[DONE]",
    ),
    (
        Backend::OpenaiChat,
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":" \"so\"","reasoning":null,"tool_calls":[]},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        "[DONE]",
    ),
    (
        Backend::OpenaiResponses,
        r#"{"content_index":0,"delta":" \"so\"","item_id":"msg_1","logprobs":[],"output_index":0,"sequence_number":5,"type":"response.output_text.delta"}"#,
        r#"{"response":{"status":"completed"},"type":"response.completed"}"#,
    ),
    (
        Backend::Tgi,
        r#"{"index":3,"token":{"id":9,"text":" \"so\"","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
        r#"{"token":null,"generated_text":"","details":{"finish_reason":"length","generated_tokens":3}}"#,
    ),
];

/// Serves one stream of so many events, each by a write of its own.
fn serve(events: usize, (_, event, end): Protocol) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let _ = socket.read(&mut [0; 4096]).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        let chunk = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
        let event = chunk(event);
        (0..events).for_each(|_| socket.write_all(event.as_bytes()).unwrap());
        socket.write_all((chunk(end) + "0\r\n\r\n").as_bytes()).unwrap();
        // Until the client has read it all.
        let _ = socket.read(&mut [0; 1]);
    });
    port
}

fn target(backend: Backend, port: u16) -> Target {
    Target {
        backend,
        base_url: format!("http://127.0.0.1:{}", port),
        endpoint: "/v1/completions".into(),
        model: "m".into(),
        served_model_name: None,
        headers: Vec::new(),
        request_id_prefix: None,
        insecure: false,
        connection: Connection::default(),
        timeout: Duration::from_secs(60),
    }
}

/// Answers every request on every connection with one token.
fn always() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, event, end) = PROTOCOLS[0];
    let body = format!("data: {event}\n\ndata: {end}\n\n");
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

/// How often following a stream of so many events allocates.
fn allocations(events: usize, protocol: Protocol) -> usize {
    let target = target(protocol.0, serve(events, protocol));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&target, &Sampling::default(), 1).unwrap();
    let keep = Keep { text: KeepText::Never, gaps: KeepGaps::Never };
    let mut watch = Stopwatch::new(Clock::start(), Duration::ZERO, keep, Rc::default());
    let body = client.body(&Request::text("Hi", 1, 8));
    let before = COUNT.get();
    runtime.block_on(client.send("bench-0", body, &mut watch, |_| {})).unwrap();
    let count = COUNT.get() - before;
    assert_eq!(watch.conclude(Ok(())).events.count as usize, events);
    count
}

#[test]
fn tokens_allocate_nothing() {
    let _alone = ALONE.lock().unwrap();
    for protocol in PROTOCOLS {
        let (few, many) = (allocations(100, protocol), allocations(10_100, protocol));
        // Events cut by the end of a read are put together in a buffer, which grows a few times.
        let name = protocol.0.name();
        assert!(many < few + 100, "{name}: {few} allocations for 100 events, {many} for 10,100");
    }
}

/// Bytes that a run of warm-up and measured requests against its own server allocates, on all threads.
fn bytes_of_a_run(warmup: usize, measured: usize) -> usize {
    let target = target(Backend::Openai, always());
    let requests = |count| vec![Request::text("Hi", 1, 8); count];
    let (first, rest) = (requests(warmup), requests(measured));
    let phase = |requests| Phase { requests, schedule: Schedule::Closed, cycle: false, duration: None };
    let plan = Plan {
        target: &target,
        sampling: &Sampling::default(),
        warmup: (warmup > 0).then(|| phase(&first)),
        measured: phase(&rest),
        cap: Some(1),
        max_active: None,
        history: History::None,
        keep: Keep { text: KeepText::Never, gaps: KeepGaps::Never },
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: false,
        salter: None,
    };
    let before = BYTES.load(Ordering::SeqCst);
    let outcome = engine::drive(&plan, &Tokenizer::Estimate, &Stop::default(), &mut |_| {}).unwrap();
    let bytes = BYTES.load(Ordering::SeqCst) - before;
    assert_eq!((outcome.records.len(), outcome.warmup.sent, outcome.warmup.failed), (measured, warmup, 0));
    bytes
}

#[test]
fn a_warm_up_request_allocates_no_more_than_a_measured_one() {
    const REQUESTS: usize = 200;
    let _alone = ALONE.lock().unwrap();
    // The first run of a process pays for what all share.
    bytes_of_a_run(1, 1);
    let (as_warmup, as_measured) = (bytes_of_a_run(REQUESTS, 1), bytes_of_a_run(1, REQUESTS));
    // How often buffers grow depends on how reads fall. The histograms of one request would be some 400 KB.
    let slack = 100 << 10;
    assert!(as_warmup < as_measured + slack, "{as_warmup} bytes as warm-up, {as_measured} measured");
}
