//! Virtual time against the clock: the same requests through the simulated HTTP server and through the simulation.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use serde::Deserialize;
use tokio::sync::oneshot;

use super::step_loop::{LoopAnswer, run_step_loop};
use crate::predict::{
    fleet::{FleetConfig, simulate},
    observer::SimulatedAnswer,
    replica::ServerConfig,
    router::RoundRobin,
    step_time::{StepTimeCoefficients, StepTimeModel},
    ticks::Ticks,
    workload::SimulatedRequest,
};
use crate::sim::{
    self, SimSpec, StepTime,
    scheduler::{BlockContents, SchedulerLimits},
};

/// A request of a measured run: when it is sent, in microseconds after the start, and its lengths in tokens.
#[derive(Clone, Copy, Debug)]
struct PlannedRequest {
    at_us: u64,
    prompt: u32,
    output: u32,
}

/// A request's line in the truth log.
#[derive(Debug, Deserialize)]
struct TruthLine {
    id: String,
    read_ns: u64,
    prompt_tokens: u32,
    cached_tokens: u32,
    output_tokens: u32,
    step_ns: Vec<u64>,
}

/// A small server: prompts are cut into chunks, requests wait for a place, and the pool is too small for all that run.
fn spec() -> SimSpec {
    SimSpec {
        max_model_len: 2700,
        max_num_seqs: 16,
        max_num_batched_tokens: 64,
        num_gpu_blocks: 271,
        block_size: 10,
        prefix_caching: false,
        timing: StepTime {
            base: Duration::from_millis(2),
            per_prefill_token: Duration::from_micros(200),
            per_decode_seq: Duration::from_micros(50),
            per_kv_token: Duration::from_nanos(300),
            jitter: 0.0,
        },
        ..SimSpec::default()
    }
}

fn limits() -> SchedulerLimits {
    let spec = spec();
    SchedulerLimits {
        max_num_seqs: spec.max_num_seqs,
        max_num_batched_tokens: spec.max_num_batched_tokens,
        chunked_prefill: true,
        usable_blocks: spec.num_gpu_blocks - 1,
        block_size: spec.block_size,
        prefix_caching: false,
    }
}

fn step_time() -> StepTimeModel {
    let timing = spec().timing;
    let (base, seq) = (timing.base.as_secs_f64(), timing.per_decode_seq.as_secs_f64());
    StepTimeModel::new(&StepTimeCoefficients {
        decode: vec![(0, base), (1, base + seq)],
        kv_token: timing.per_kv_token.as_secs_f64(),
        kv_token_beyond: None,
        mixed_base: base,
        mixed_seqs: vec![(0, 0.0), (1, seq)],
        prefill_token: timing.per_prefill_token.as_secs_f64(),
        attention_pair: 0.0,
        mixed_floor: 0.0,
        ..StepTimeCoefficients::default()
    })
    .unwrap()
}

/// Requests of many lengths. The first one's prompt fills each step until all others wait, half a second later, so that
/// their order alone decides the schedule, and not the moment at which each is read.
fn plugged_requests() -> Vec<PlannedRequest> {
    let plug = PlannedRequest { at_us: 0, prompt: 2560, output: 3 };
    let others = (0..36u32).map(|n| PlannedRequest {
        at_us: 10_000 + u64::from(n) * 2_000,
        prompt: 5 + n * 37 % 190,
        output: 1 + n * 53 % 160,
    });
    std::iter::once(plug).chain(others).collect()
}

/// Sends the requests to a simulated server. Returns its truth, in the order in which the requests were read.
fn serve(requests: &[PlannedRequest]) -> Vec<TruthLine> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(sim::listen("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let spec = SimSpec { truth_log: Some(log.clone()), ..spec() };
    let server = thread::spawn(move || {
        runtime.block_on(sim::serve(listener, spec, async { drop(stopped.await) })).unwrap();
    });
    let client = |(index, request): (usize, &PlannedRequest)| {
        let request = *request;
        thread::spawn(move || {
            thread::sleep(Duration::from_micros(request.at_us));
            complete(address, index, request).unwrap();
        })
    };
    let clients: Vec<_> = requests.iter().enumerate().map(client).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    stop.send(()).unwrap();
    server.join().unwrap();
    let text = fs::read_to_string(log).unwrap();
    let mut truth: Vec<TruthLine> =
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    truth.sort_by_key(|line| line.read_ns);
    for line in &truth {
        let planned = requests[line.id.parse::<usize>().unwrap()];
        assert_eq!((line.prompt_tokens, line.output_tokens), (planned.prompt, planned.output));
        assert_eq!((line.step_ns.len(), line.cached_tokens), (planned.output as usize, 0));
    }
    truth
}

/// Sends one request and reads its answer to the end.
fn complete(address: SocketAddr, index: usize, request: PlannedRequest) -> io::Result<()> {
    let body = serde_json::json!({
        "model": "servegauge-sim",
        // Token ids need no tokenizer, which would let short prompts overtake long ones.
        "prompt": vec![u32::from_le_bytes(*b"word"); request.prompt as usize],
        "max_tokens": request.output,
        "ignore_eos": true,
        "stream": true,
    })
    .to_string();
    let mut socket = TcpStream::connect(address)?;
    write!(
        socket,
        "POST /v1/completions HTTP/1.1\r\nhost: sim\r\nconnection: close\r\nx-request-id: {index}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// The same requests for the simulation: they arrive when the server had read them.
fn as_simulated(truth: &[TruthLine]) -> Vec<SimulatedRequest> {
    let request = |(index, line): (usize, &TruthLine)| SimulatedRequest {
        index: index as u64,
        due: Ticks::from_nanoseconds(line.read_ns - truth[0].read_ns),
        prompt: line.prompt_tokens,
        output: line.output_tokens,
        session: None,
        contents: BlockContents::NONE,
    };
    truth.iter().enumerate().map(request).collect()
}

fn simulated(requests: Vec<SimulatedRequest>) -> Vec<SimulatedAnswer> {
    let server = ServerConfig::new(limits(), step_time());
    let fleet = FleetConfig { replicas: 1, server, split: None, max_concurrency: None, seed: 0 };
    let mut answers = Vec::new();
    let mut keep = |answer: &SimulatedAnswer| answers.push(answer.clone());
    simulate(&fleet, &mut requests.into_iter(), &mut RoundRobin::default(), &mut keep).unwrap();
    answers.sort_by_key(|answer| answer.index);
    answers
}

/// Numbers the steps that generated tokens, and lists the steps of each request's tokens.
fn token_steps<'a>(steps: impl Iterator<Item = &'a Vec<u64>> + Clone) -> Vec<Vec<usize>> {
    let all: BTreeSet<u64> = steps.clone().flatten().copied().collect();
    let all: Vec<u64> = all.into_iter().collect();
    let number = |step: &u64| all.partition_point(|other| other < step);
    steps.map(|steps| steps.iter().map(number).collect()).collect()
}

#[test]
fn the_virtual_schedule_is_that_of_the_http_server() {
    // A machine that is too busy to send all requests while the first one is prefilled gets another try.
    let truth = (0..10).map(|_| serve(&plugged_requests())).find(|truth| {
        let first_token = truth[0].step_ns[0];
        truth[0].id == "0" && truth.iter().all(|line| line.read_ns + 20_000_000 < first_token)
    });
    let truth = truth.expect("one of ten tries sends 36 requests in half a second");
    let requests = as_simulated(&truth);
    let looped: Vec<LoopAnswer> = run_step_loop(limits(), &step_time(), &requests);
    assert_eq!(
        token_steps(truth.iter().map(|line| &line.step_ns)),
        token_steps(looped.iter().map(|answer| &answer.token_steps))
    );
    let looped: Vec<SimulatedAnswer> = looped.into_iter().map(|looped| looped.answer).collect();
    assert_eq!(simulated(requests), looped);
    // The cases occur: requests wait, and some are preempted.
    let has_waited = |answer: &SimulatedAnswer| answer.scheduled > looped[0].last_token;
    assert!(looped.iter().filter(|answer| has_waited(answer)).count() > 10);
    assert!(looped.iter().map(|answer| answer.preemptions).sum::<u32>() > 0);
}

/// Prints how far virtual times are from the clock's. Run it alone:
/// `cargo test --lib -- --ignored --nocapture testing::virtual_time`.
#[test]
#[ignore = "a measurement of this machine: run it by hand"]
#[allow(clippy::print_stdout, reason = "the table is the purpose")]
fn virtual_times_beside_those_of_the_clock() {
    let spread = |n: u64| n * 9_000 + n * 2_654_435_761 % 8_000;
    let scattered = (0..120).map(|n| PlannedRequest {
        at_us: spread(n),
        prompt: 5 + n as u32 * 37 % 190,
        output: 1 + n as u32 * 53 % 160,
    });
    println!("requests   same step    TTFT: mean, worst error     E2E: mean, worst error   worst share");
    for (name, planned) in [("plugged", plugged_requests()), ("scattered", scattered.collect())] {
        let truth = serve(&planned);
        let answers = simulated(as_simulated(&truth));
        // The log does not say when the engine got a request. Reading the first one's JSON takes milliseconds in a debug
        // build, so the clocks are set by its first token.
        let start = truth[0].step_ns[0] as f64 / 1e6 - answers[0].first_token.as_seconds() * 1e3;
        let mut same_steps = 0;
        let looped = run_step_loop(limits(), &step_time(), &as_simulated(&truth));
        let virtual_steps = token_steps(looped.iter().map(|answer| &answer.token_steps));
        let steps = token_steps(truth.iter().map(|line| &line.step_ns));
        let (mut ttft, mut e2e, mut share) = (Vec::new(), Vec::new(), 0.0f64);
        for (number, (line, answer)) in truth.iter().zip(&answers).enumerate() {
            same_steps += usize::from(steps[number] == virtual_steps[number]);
            let error = |ns: u64, at: Ticks| ns as f64 / 1e6 - start - at.as_seconds() * 1e3;
            ttft.push(error(line.step_ns[0], answer.first_token).abs());
            e2e.push(error(line.step_ns[line.step_ns.len() - 1], answer.last_token).abs());
            let last = (answer.last_token - answer.sent).as_seconds() * 1e3;
            share = share.max(e2e[e2e.len() - 1] / last);
        }
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
        println!(
            "{name:<10} {same_steps:>3} of {:<3}   {:>8.3} ms {:>8.3} ms     {:>8.3} ms {:>8.3} ms   {:>6.2} %",
            truth.len(),
            mean(&ttft),
            worst(&ttft),
            mean(&e2e),
            worst(&e2e),
            share * 100.0
        );
    }
}
