//! A probe: short runs that vary what the load of users varies together.
//!
//! Idle requests at several prompt lengths tell prefill and overhead apart, closed loops with short prompts the cost of
//! sequences, long contexts that of the KV cache, and a mixed load that of steps with both.

use std::io;

use super::run_line;
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::user_text::UserTextWriter;
use crate::model::run::Run;

/// Prompt lengths of the idle requests.
const IDLE_PROMPTS: [u32; 5] = [16, 128, 512, 1024, 2048];

/// Tokens of a prompt that costs next to nothing.
const SHORT_PROMPT: u32 = 16;

/// Tokens of a prompt whose KV cache costs time.
const LONG_PROMPT: u32 = 2048;

/// A measurement of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeArm {
    /// What it measures.
    purpose: &'static str,
    prompt: u32,
    output: u32,
    /// The share by which both lengths vary.
    range: &'static str,
    concurrency: u32,
    requests: u32,
}

/// The measurements of a probe with at most this many requests in flight.
pub(super) fn arms(most: u16) -> Vec<ProbeArm> {
    let most = u32::from(most).max(1);
    let idle = IDLE_PROMPTS.map(|prompt| ProbeArm {
        purpose: "the time outside the engine, and that of prompt tokens",
        prompt,
        output: 16,
        range: "0",
        concurrency: 1,
        requests: 6,
    });
    let doubled = std::iter::successors(Some(1), |n| (n * 2 < most).then_some(n * 2));
    let mut loops: Vec<u32> = doubled.collect();
    loops.push(most);
    loops.dedup();
    let closed = loops.into_iter().map(|concurrency| ProbeArm {
        purpose: "the time of a step, and of each sequence in it",
        prompt: SHORT_PROMPT,
        output: 128,
        range: "0.3",
        concurrency,
        requests: concurrency * 2,
    });
    let long = ProbeArm {
        purpose: "the time of the context",
        prompt: LONG_PROMPT,
        output: 128,
        range: "0.3",
        concurrency: (most / 4).max(1),
        requests: (most / 2).max(4),
    };
    let mixed = ProbeArm {
        purpose: "the time of steps with prompt tokens among others",
        prompt: 512,
        output: 64,
        range: "0.8",
        concurrency: (most / 2).max(1),
        requests: (most * 3).max(16),
    };
    idle.into_iter().chain(closed).chain([long, mixed]).collect()
}

impl ProbeArm {
    /// The flags of `run`. A server that was probed before would find equal prompts in its cache.
    fn flags(&self, seed: usize) -> String {
        let Self { prompt, output, range, concurrency, requests, .. } = self;
        format!(
            "--dataset-name random --random-input-len {prompt} --random-output-len {output} --random-range-ratio {range} \
             --ignore-eos --max-concurrency {concurrency} --num-prompts {requests} --seed {seed} --unique-prompts \
             --save-detailed"
        )
    }
}

/// Prints the measurements as commands.
pub(super) fn print(arms: &[ProbeArm], out: &mut UserTextWriter<'_>) -> io::Result<()> {
    use io::Write as _;
    for (seed, arm) in arms.iter().enumerate() {
        writeln!(out, "# {}", arm.purpose)?;
        writeln!(out, "servegauge run --base-url URL {} --result-dir probe", arm.flags(seed))?;
    }
    writeln!(out, "servegauge calibrate probe/*.json -o model.json")
}

/// Measures a server.
pub(super) fn measure(
    url: &str,
    most: u16,
    more: &[String],
    interrupts: &InterruptSignal,
) -> Result<Vec<(String, Run)>, CliError> {
    let arms = arms(most);
    let mut runs = Vec::new();
    for (at, arm) in arms.iter().enumerate() {
        let ProbeArm { purpose, prompt, concurrency, .. } = arm;
        print_stderr(format_args!(
            "probe {} of {}: {prompt} prompt tokens, {concurrency} in flight: {purpose}",
            at + 1,
            arms.len()
        ));
        let flags = arm.flags(at);
        let ours = ["--base-url", url].into_iter().chain(flags.split_whitespace()).map(ToOwned::to_owned);
        let words: Vec<String> = ours.chain(more.iter().cloned()).collect();
        let command = ["servegauge", "calibrate", "--probe", url].map(ToOwned::to_owned).to_vec();
        let run = run_line(&words)?.measure(at as u64, command, interrupts)?;
        runs.push((format!("probe {}", at + 1), run));
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_varies_prompts_and_concurrency_apart() {
        let concurrency = |arms: &[ProbeArm]| -> Vec<u32> {
            let short = arms.iter().filter(|arm| arm.prompt == SHORT_PROMPT && arm.output > 16);
            short.map(|arm| arm.concurrency).collect()
        };
        assert_eq!(concurrency(&arms(24)), [1, 2, 4, 8, 16, 24]);
        assert_eq!(concurrency(&arms(1)), [1]);
        assert!(arms(0).iter().all(|arm| arm.concurrency >= 1 && arm.requests >= 1));
    }

    #[test]
    fn every_arm_is_a_run() {
        for (seed, arm) in arms(32).iter().enumerate() {
            let words: Vec<String> = format!("--base-url http://127.0.0.1:1 {}", arm.flags(seed))
                .split_whitespace()
                .map(ToOwned::to_owned)
                .collect();
            assert!(run_line(&words).is_ok(), "{words:?}");
        }
    }
}
