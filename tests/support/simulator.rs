//! The simulated vLLM in the test's own process, and its truth log.

use std::fs;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use servebench::drive::workload::bundled;
use servebench::sim::{self, FaultKind, Faults, Output, Spec, StepTime};
use tempfile::TempDir;

use super::program::Program;
use super::server::{Port, Server};

/// A simulator that answers to any model's name, counts with the bundled tokenizer and never stops before the token
/// limit: one token of each answer every millisecond.
pub fn quick() -> Spec {
    Spec {
        served_names: vec!["*".into()],
        tokenizer_json: Some(bundled::tokenizer_json().into()),
        timing: steps(Duration::from_millis(1)),
        output: Output { eos_mean: None, ..Output::default() },
        ..Spec::default()
    }
}

/// Steps of exactly this time, whatever they compute.
pub fn steps(base: Duration) -> StepTime {
    StepTime { base, per_prefill_token: Duration::ZERO, per_decode_seq: Duration::ZERO, jitter: 0.0 }
}

/// A quick simulator on which every request goes wrong in this way.
pub fn fault(kind: FaultKind) -> Spec {
    Spec { faults: Faults { rate: 1.0, kinds: vec![kind] }, ..quick() }
}

/// A running simulator.
pub struct Simulator {
    server: Server,
    folder: TempDir,
}

impl Simulator {
    pub fn start(spec: Spec) -> Self {
        Self::start_on(Port::take(), spec)
    }

    pub fn start_on(port: Port, spec: Spec) -> Self {
        let folder = TempDir::new().unwrap();
        let spec = Spec { truth_log: Some(folder.path().join(TRUTH)), ..spec };
        let server = Server::start(port, move |listener, asked| {
            sim::serve(listener, spec, async {
                // A dropped sender asks as well as a sent message.
                let _ = asked.await;
            })
        });
        Self { server, folder }
    }

    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// `servebench run` against it, with a tokenizer that counts as it does.
    pub fn run(&self, words: &str) -> Program {
        Program::measure(&self.base_url(), words)
    }

    /// Ends it, and tells what truly happened to each completion or chat request.
    pub fn truth(self) -> Vec<Story> {
        self.truth_with_orders().0
    }

    /// The same by the wall clock: their times are nanoseconds since the Unix epoch.
    pub fn truth_by_the_wall_clock(mut self) -> Vec<Story> {
        let lines = self.ended_log();
        let base = lines[0]["base_unix_ns"].as_u64().unwrap();
        let mut stories = stories(&lines);
        for story in &mut stories {
            story.read_ns += base;
            story.tokens_ns.iter_mut().for_each(|token| *token += base);
        }
        stories
    }

    /// The same, and what else it was told to do: the path, and when in nanoseconds of the same clock.
    pub fn truth_with_orders(mut self) -> (Vec<Story>, Vec<(String, u64)>) {
        let lines = self.ended_log();
        let order =
            |line: &Value| Some((line["order"].as_str()?.to_owned(), line["at_ns"].as_u64().unwrap()));
        (stories(&lines), lines.iter().filter_map(order).collect())
    }

    /// Ends it: its truth log, whose first line is about the clock.
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

/// One line of the truth log, as far as tests look at it. Times are nanoseconds of one clock.
#[derive(Debug, Deserialize)]
pub struct Story {
    pub id: String,
    pub fault: Option<String>,
    pub read_ns: u64,
    pub prompt_tokens: u64,
    /// Hashes of the prompt's first blocks, where the simulator was asked for them.
    pub prompt_blocks: Option<Vec<String>>,
    pub cached_tokens: u64,
    pub session: Option<String>,
    pub cancelled: bool,
    pub output_tokens: u64,
    pub tokens_ns: Vec<u64>,
}

impl Story {
    /// The hashes of the prompt's first blocks.
    pub fn blocks(&self) -> &[String] {
        self.prompt_blocks.as_deref().unwrap()
    }

    /// From the request being read to the first output event being written, in milliseconds.
    pub fn ttft_ms(&self) -> f64 {
        milliseconds(self.read_ns, self.tokens_ns.first())
    }

    /// From the request being read to the last output event being written, in milliseconds.
    pub fn e2e_ms(&self) -> f64 {
        milliseconds(self.read_ns, self.tokens_ns.last())
    }

    /// Between two tokens, in milliseconds.
    pub fn tpot_ms(&self) -> f64 {
        (self.e2e_ms() - self.ttft_ms()) / (self.output_tokens - 1) as f64
    }
}

fn milliseconds(from: u64, to: Option<&u64>) -> f64 {
    (to.unwrap() - from) as f64 / 1e6
}
