//! The simulated vLLM in the test's own process, and its truth log.

use std::fs;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use servegauge::internals::bundled;
use servegauge::sim::{self, FaultInjection, FaultKind, OutputSpec, SimSpec, StepTime};
use tempfile::TempDir;

use super::program::Program;
use super::server::{Port, Server};

/// A simulator that accepts any model name, counts with the bundled tokenizer, and never stops before the token limit.
/// Each answer gets one token every millisecond.
pub(crate) fn quick() -> SimSpec {
    SimSpec {
        served_names: vec!["*".into()],
        tokenizer_json: Some(bundled::tokenizer_json().into()),
        timing: steps(Duration::from_millis(1)),
        output: OutputSpec { eos_mean: None, ..OutputSpec::default() },
        ..SimSpec::default()
    }
}

/// Steps of exactly this duration, whatever they compute.
pub(crate) fn steps(base: Duration) -> StepTime {
    StepTime {
        base,
        per_prefill_token: Duration::ZERO,
        per_decode_seq: Duration::ZERO,
        per_kv_token: Duration::ZERO,
        jitter: 0.0,
    }
}

/// A quick simulator on which every request has this fault.
pub(crate) fn fault(kind: FaultKind) -> SimSpec {
    SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![kind] }, ..quick() }
}

/// A running simulator.
pub(crate) struct Simulator {
    server: Server,
    folder: TempDir,
}

impl Simulator {
    pub(crate) fn start(spec: SimSpec) -> Self {
        Self::start_on(Port::take(), spec)
    }

    pub(crate) fn start_on(port: Port, spec: SimSpec) -> Self {
        let folder = TempDir::new().unwrap();
        let spec = SimSpec { truth_log: Some(folder.path().join(TRUTH)), ..spec };
        let server = Server::start(port, move |listener, asked| {
            sim::serve(listener, spec, async {
                // A dropped sender stops the server as a message does.
                let _ = asked.await;
            })
        });
        Self { server, folder }
    }

    pub(crate) fn base_url(&self) -> String {
        self.server.base_url()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// `servegauge run` against this simulator, with a tokenizer that counts as it does.
    pub(crate) fn run(&self, words: &str) -> Program {
        Program::measure(&self.base_url(), words)
    }

    /// Stops the simulator and returns what truly happened to each completion or chat request.
    pub(crate) fn truth(self) -> Vec<Story> {
        self.truth_with_orders().0
    }

    /// Stops the simulator and returns its truth log by the wall clock: times are nanoseconds since the Unix epoch.
    pub(crate) fn truth_by_the_wall_clock(mut self) -> Vec<Story> {
        let lines = self.ended_log();
        let base = lines[0]["base_unix_ns"].as_u64().unwrap();
        let mut stories = stories(&lines);
        for story in &mut stories {
            story.read_ns += base;
            story.tokens_ns.iter_mut().for_each(|token| *token += base);
        }
        stories
    }

    /// Stops the simulator and returns its truth log with the orders that it received: the path, and the time in
    /// nanoseconds of the same clock.
    pub(crate) fn truth_with_orders(mut self) -> (Vec<Story>, Vec<(String, u64)>) {
        let lines = self.ended_log();
        let order =
            |line: &Value| Some((line["order"].as_str()?.to_owned(), line["at_ns"].as_u64().unwrap()));
        (stories(&lines), lines.iter().filter_map(order).collect())
    }

    /// Stops the simulator and returns its truth log. The first line is about the clock.
    fn ended_log(&mut self) -> Vec<Value> {
        self.server.stop();
        let log = fs::read_to_string(self.folder.path().join(TRUTH)).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stories(log: &[Value]) -> Vec<Story> {
    let of_requests = log.iter().skip(1).filter(|line| line["order"].is_null());
    of_requests.map(|line| Story::deserialize(line).unwrap()).collect()
}

const TRUTH: &str = "truth.jsonl";

/// One line of the truth log, with the fields that tests use. Times are nanoseconds of one clock.
#[derive(Debug, Deserialize)]
pub(crate) struct Story {
    pub id: String,
    pub fault: Option<String>,
    pub read_ns: u64,
    pub prompt_tokens: u64,
    /// The hashes of the prompt's first blocks, if the simulator was configured to log them.
    pub prompt_blocks: Option<Vec<String>>,
    pub cached_tokens: u64,
    pub session: Option<String>,
    pub cancelled: bool,
    pub output_tokens: u64,
    pub tokens_ns: Vec<u64>,
}

impl Story {
    /// The hashes of the prompt's first blocks.
    pub(crate) fn blocks(&self) -> &[String] {
        self.prompt_blocks.as_deref().unwrap()
    }

    /// The time from reading the request to writing the first output event, in milliseconds.
    pub(crate) fn ttft_ms(&self) -> f64 {
        milliseconds(self.read_ns, self.tokens_ns.first())
    }

    /// The time from reading the request to writing the last output event, in milliseconds.
    pub(crate) fn e2e_ms(&self) -> f64 {
        milliseconds(self.read_ns, self.tokens_ns.last())
    }

    /// The mean time between two tokens, in milliseconds.
    pub(crate) fn tpot_ms(&self) -> f64 {
        (self.e2e_ms() - self.ttft_ms()) / (self.output_tokens - 1) as f64
    }
}

fn milliseconds(from: u64, to: Option<&u64>) -> f64 {
    (to.unwrap() - from) as f64 / 1e6
}
