//! The cost of virtual time: CPU seconds and memory of simulated fleets.
//!
//! ```sh
//! cargo bench --bench virtual_time               # all
//! cargo bench --bench virtual_time -- mooncake   # those with this in their name
//! ```
//!
//! - `mooncake`: the conversation trace of Mooncake (12,031 requests in an hour; FAST 2025) on 8 servers. Its `hash_ids`
//!   identify blocks of 512 tokens and none that are smaller, so the servers' blocks have 512 tokens too. The file is
//!   `MOONCAKE_TRACE`, else `conversation_trace.jsonl` in `/work/shared/data/mooncake`. Without it, a load like it is
//!   made: conversations whose prompts grow.
//! - `burst`: 10 million requests with lengths like BurstGPT's and no known contents, on 16 servers.
//!
//! Each row is checked: a second simulation must give the same times to the last bit.

#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::{env, fs, path::PathBuf, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use servegauge::internals::{TimedFleet, TimedRequest, TimedTotals};

const BLOCK: usize = 512;

fn main() {
    // `cargo bench` adds a flag of its own.
    let wanted: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    println!(
        "{:<34} {:>10} {:>11} {:>9} {:>10} {:>9}",
        "load", "requests", "steps", "CPU s", "µs/request", "peak MB"
    );
    let trace = mooncake();
    let fleet =
        TimedFleet { replicas: 8, block_size: BLOCK, pool_tokens: 3 << 19, prefix_caching: true, noise: 0.0 };
    for (name, noise) in [("mooncake, 8 servers", 0.0), ("mooncake, 8 servers, noise", 0.05)] {
        if is_wanted(name) {
            let fleet = TimedFleet { noise, ..fleet };
            report(name, 3, || fleet.simulate(trace.iter().cloned()));
        }
    }
    let fleet =
        TimedFleet { replicas: 16, block_size: 16, pool_tokens: 1 << 19, prefix_caching: false, noise: 0.0 };
    for (name, fleet, count) in [
        ("burst, 16 servers", fleet, 10_000_000),
        ("burst, 16 servers, prefix caching", TimedFleet { prefix_caching: true, ..fleet }, 1_000_000),
        ("burst, 16 servers, noise", TimedFleet { noise: 0.05, ..fleet }, 1_000_000),
    ] {
        if is_wanted(name) {
            let rounds = if count > 1_000_000 { 1 } else { 2 };
            report(name, rounds, || fleet.simulate(burst(count)));
        }
    }
}

/// Prints the least CPU time of some rounds, which must have the same result.
fn report(name: &str, rounds: usize, simulate: impl Fn() -> Result<TimedTotals, String>) {
    let mut least = Duration::MAX;
    let mut results: Vec<TimedTotals> = Vec::new();
    for _ in 0..rounds {
        let before = cpu_time();
        results.push(simulate().expect("every request fits a server"));
        least = least.min(cpu_time() - before);
    }
    assert!(results.iter().all(|result| result == &results[0]), "the same load, another result");
    let TimedTotals { answers, steps, preemptions, cached_tokens, mean_ttft, end, checksum } = results[0];
    let seconds = least.as_secs_f64();
    println!(
        "{name:<34} {answers:>10} {steps:>11} {seconds:>9.3} {:>10.2} {:>9.0}",
        seconds * 1e6 / answers as f64,
        peak_megabytes()
    );
    println!(
        "{:<34} {end:.0} s of virtual time, mean TTFT {mean_ttft:.3} s, {cached_tokens} cached tokens, \
         {preemptions} preemptions, {checksum:016x}",
        ""
    );
}

/// The time that this process has computed.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The most memory that this process has had; 0 where the system does not say.
fn peak_megabytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1e3
}

/// A row of Mooncake's traces.
#[derive(Deserialize)]
struct MooncakeRow {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

fn mooncake() -> Vec<TimedRequest> {
    let path = env::var_os("MOONCAKE_TRACE")
        .map_or_else(|| PathBuf::from("/work/shared/data/mooncake/conversation_trace.jsonl"), PathBuf::from);
    let Ok(text) = fs::read_to_string(&path) else {
        println!("{} is absent: a load like it takes its place", path.display());
        return conversations();
    };
    let row = |line: &str| {
        let row: MooncakeRow = serde_json::from_str(line).expect("a row of the trace");
        let mut contents = row.hash_ids;
        // The last block of a prompt is seldom full.
        contents.truncate(row.input_length as usize / BLOCK);
        TimedRequest {
            due_ns: row.timestamp * 1_000_000,
            prompt: row.input_length,
            output: row.output_length.max(1),
            contents,
        }
    };
    text.lines().map(row).collect()
}

/// Conversations of four turns, which begin with the same block; each turn's prompt goes on from the one before.
fn conversations() -> Vec<TimedRequest> {
    let mut random = SplitMix(7);
    let request = |number: u64| {
        let (conversation, turn) = (number % 3008, number / 3008);
        let prompt = 2_000 + 5_000 * turn as u32 + (random.exponential() * 2_500.0) as u32;
        let blocks = u64::from(prompt) / BLOCK as u64;
        TimedRequest {
            due_ns: number * 294_000_000,
            prompt: prompt.min(120_000),
            output: 1 + (random.exponential() * 340.0).min(2000.0) as u32,
            contents: (0..blocks)
                .map(|block| if block == 0 { 0 } else { conversation << 20 | block })
                .collect(),
        }
    };
    (0..12_031).map(request).collect()
}

/// Requests with BurstGPT's mean lengths (Wang et al. 2024: some 600 prompt and 250 output tokens), 160 a second.
fn burst(count: u64) -> impl Iterator<Item = TimedRequest> {
    let mut random = SplitMix(1);
    let mut due = 0.0;
    (0..count).map(move |_| {
        due += random.exponential() / 160.0;
        TimedRequest {
            due_ns: (due * 1e9) as u64,
            prompt: 1 + (random.exponential() * 600.0).min(4000.0) as u32,
            output: 1 + (random.exponential() * 250.0).min(2000.0) as u32,
            contents: Vec::new(),
        }
    })
}

/// The generator SplitMix64.
struct SplitMix(u64);

impl SplitMix {
    /// A number of the exponential distribution of mean 1.
    fn exponential(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }
}
