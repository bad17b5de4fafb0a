//! A probe: short runs that vary what the load of users varies together.
//!
//! Idle requests at several prompt lengths tell prefill and overhead apart, closed loops with short prompts the cost of
//! sequences, long contexts that of the KV cache, and a mixed load that of steps with both. Before them, a warm-up that is
//! not fitted: the first requests of a fresh server are slower.

use std::io;

use super::run_line;
use crate::cli::commands::run::{RunSession, failure_reason};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::user_text::UserTextWriter;
use crate::model::run::Run;
use crate::runner::RecordDetail;

/// Most tokens of a prompt with its answer, unless the server takes fewer or the user asks for another number. The prompts
/// are then of up to 2048 tokens, and 2662 where they vary.
const LONGEST: u32 = 2900;

/// Below this number of tokens, prompts are too short to tell their time from that of a step.
const LEAST_LONGEST: u32 = 256;

/// Tokens that a chat template, or another tokenizer than the client's, may add to a prompt.
const TEMPLATE_TOKENS: u32 = 64;

/// Tokens of a prompt that costs next to nothing.
const SHORT_PROMPT: u32 = 16;

/// Tokens of an answer, unless prompts with it are too long.
const ANSWER: u32 = 128;

/// The sizes of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeSize {
    /// Most requests in flight.
    most: u32,
    /// Most tokens of a prompt with its answer.
    longest: u32,
}

impl ProbeSize {
    /// The size with this many requests in flight. `asked` is the longest request that the user asks for, and `limit` that
    /// which the server takes, as far as they are known.
    pub(super) fn new(most: u16, asked: Option<u32>, limit: Option<u32>) -> Result<Self, CliError> {
        let longest = asked.unwrap_or(LONGEST).min(limit.unwrap_or(u32::MAX));
        if longest < LEAST_LONGEST {
            let whose = match limit {
                Some(limit) if limit == longest => "the server takes",
                _ => "--probe-max-len is",
            };
            return Err(CliError::usage(format!(
                "a probe needs requests of at least {LEAST_LONGEST} tokens, and {whose} {longest}: calibrate on saved runs instead"
            )));
        }
        Ok(Self { most: u32::from(most).max(1), longest })
    }

    /// Tokens of an answer.
    fn answer(self) -> u32 {
        ANSWER.min(self.longest / 8)
    }

    /// Tokens of a prompt whose KV cache costs time. It varies by three tenths, as its answer does.
    fn long_prompt(self) -> u32 {
        let both = (self.longest - TEMPLATE_TOKENS) * 10 / 13;
        (both - self.answer()) / 16 * 16
    }
}

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

/// The requests before the measurements: as many in flight as any of them has, of many lengths.
fn warm_up(size: ProbeSize) -> ProbeArm {
    ProbeArm {
        purpose: "a warm-up, which is not fitted",
        prompt: size.long_prompt() / 4,
        output: 16,
        range: "0.8",
        concurrency: size.most,
        requests: size.most.max(4),
    }
}

/// The measurements of a probe.
fn arms(size: ProbeSize) -> Vec<ProbeArm> {
    let (most, answer, long_prompt) = (size.most, size.answer(), size.long_prompt());
    let prompts = [SHORT_PROMPT, long_prompt / 16, long_prompt / 4, long_prompt / 2, long_prompt];
    let idle = prompts.map(|prompt| ProbeArm {
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
        output: answer,
        range: "0.3",
        concurrency,
        requests: concurrency * 2,
    });
    let long = ProbeArm {
        purpose: "the time of the context",
        prompt: long_prompt,
        output: answer,
        range: "0.3",
        concurrency: (most / 4).max(1),
        requests: (most / 2).max(4),
    };
    let mixed = ProbeArm {
        purpose: "the time of steps with prompt tokens among others",
        prompt: long_prompt / 4,
        output: answer / 2,
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
             --ignore-eos --max-concurrency {concurrency} --num-prompts {requests} --seed {seed} --unique-prompts"
        )
    }

    fn describe(&self) -> String {
        let Self { purpose, prompt, concurrency, .. } = self;
        format!("{prompt} prompt tokens, {concurrency} in flight: {purpose}")
    }
}

/// Prints the measurements as commands, at this URL if it is known.
pub(super) fn print(size: ProbeSize, url: Option<&str>, out: &mut UserTextWriter<'_>) -> io::Result<()> {
    use io::Write as _;
    let url = url.unwrap_or("URL");
    let (arms, warm_up) = (arms(size), warm_up(size));
    writeln!(out, "# {}", warm_up.purpose)?;
    writeln!(out, "servegauge run --base-url {url} {}", warm_up.flags(arms.len()))?;
    for (seed, arm) in arms.iter().enumerate() {
        writeln!(out, "# {}", arm.purpose)?;
        writeln!(
            out,
            "servegauge run --base-url {url} {} --save-detailed --result-dir probe",
            arm.flags(seed)
        )?;
    }
    writeln!(out, "servegauge calibrate probe/*.json -o model.json")
}

/// A server that is probed.
pub(super) struct ProbedServer<'a> {
    pub url: &'a str,
    /// More flags of the runs.
    pub more: &'a [String],
    pub interrupts: &'a InterruptSignal,
}

impl ProbedServer<'_> {
    /// The longest sequence that the server takes, in tokens, if its list of models has it.
    pub(super) fn context_limit(&self) -> Result<Option<u32>, CliError> {
        let line = run_line(&self.words(&warm_up(ProbeSize { most: 1, longest: LONGEST }), 0))?;
        let mut spec = line.spec().map_err(CliError::usage)?;
        let session = RunSession::connect(&line.args, &mut spec, RecordDetail::NONE, self.interrupts)?;
        let limit = session.session.context_limit();
        session.close();
        Ok(limit?)
    }

    /// Measures the server, after a warm-up.
    pub(super) fn measure(&self, size: ProbeSize) -> Result<Vec<(String, Run)>, CliError> {
        let (arms, warm_up) = (arms(size), warm_up(size));
        print_stderr(format_args!("probe: {}", warm_up.describe()));
        drop(self.measure_arm(&warm_up, "the warm-up", arms.len())?);
        let mut runs = Vec::new();
        for (at, arm) in arms.iter().enumerate() {
            let name = format!("probe {} of {}", at + 1, arms.len());
            print_stderr(format_args!("{name}: {}", arm.describe()));
            runs.push((format!("probe {}", at + 1), self.measure_arm(arm, &name, at)?));
        }
        Ok(runs)
    }

    fn measure_arm(&self, arm: &ProbeArm, name: &str, seed: usize) -> Result<Run, CliError> {
        let command = ["servegauge", "calibrate", "--probe", self.url].map(ToOwned::to_owned).to_vec();
        let line = run_line(&self.words(arm, seed))?;
        let run = line
            .measure(seed as u64, command, self.interrupts)
            .map_err(|error| if error.is_failed() { refused(arm, name, error.message()) } else { error })?;
        if run.interrupted {
            return Err(CliError::interrupted());
        }
        match run.metrics.failed {
            0 => Ok(run),
            _ => Err(refused(arm, name, &failure_reason(&run))),
        }
    }

    fn words(&self, arm: &ProbeArm, seed: usize) -> Vec<String> {
        let flags = arm.flags(seed);
        let ours = ["--save-detailed", "--base-url", self.url].into_iter().chain(flags.split_whitespace());
        ours.map(ToOwned::to_owned).chain(self.more.iter().cloned()).collect()
    }
}

/// A measurement whose requests were not all answered: the fit would not know how they loaded the server.
fn refused(arm: &ProbeArm, name: &str, why: &str) -> CliError {
    let ProbeArm { prompt, output, range, concurrency, .. } = arm;
    let varied = if *range == "0" { String::new() } else { format!(" (each ±{range} of that)") };
    CliError::failed(format!(
        "{name}, with {prompt} prompt tokens, {output} output tokens{varied} and {concurrency} in flight: {why}; if the server \
         takes only shorter requests, give --probe-max-len, the most tokens of a prompt with its answer"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(most: u16, limit: Option<u32>) -> ProbeSize {
        ProbeSize::new(most, None, limit).unwrap()
    }

    #[test]
    fn a_probe_varies_prompts_and_concurrency_apart() {
        let concurrency = |arms: &[ProbeArm]| -> Vec<u32> {
            let short = arms.iter().filter(|arm| arm.prompt == SHORT_PROMPT && arm.output > 16);
            short.map(|arm| arm.concurrency).collect()
        };
        assert_eq!(concurrency(&arms(size(24, None))), [1, 2, 4, 8, 16, 24]);
        assert_eq!(concurrency(&arms(size(1, None))), [1]);
        assert!(arms(size(0, None)).iter().all(|arm| arm.concurrency >= 1 && arm.requests >= 1));
        let prompts: Vec<u32> = arms(size(8, None))[..5].iter().map(|arm| arm.prompt).collect();
        assert_eq!(prompts, [16, 128, 512, 1024, 2048]);
    }

    #[test]
    fn no_request_is_longer_than_the_server_takes() {
        for limit in [256, 300, 512, 1000, 2048, 2900, 4096] {
            let size = size(32, Some(limit));
            let most = arms(size).into_iter().chain([warm_up(size)]).map(|arm| {
                let factor = 1.0 + arm.range.parse::<f64>().unwrap();
                (f64::from(arm.prompt) * factor).ceil() + (f64::from(arm.output) * factor).ceil()
            });
            let most = most.fold(0.0, f64::max);
            assert!(most + f64::from(TEMPLATE_TOKENS) <= f64::from(limit) + 2.0, "{most} of {limit}");
            assert!(most > 0.6 * f64::from(limit.min(LONGEST)), "{most} of {limit}");
        }
    }

    #[test]
    fn the_shorter_of_what_is_asked_and_taken_counts() {
        let longest = |asked, limit| ProbeSize::new(8, asked, limit).map(|size| size.longest);
        assert_eq!(longest(None, Some(2048)).unwrap(), 2048);
        assert_eq!(longest(None, Some(131_072)).unwrap(), LONGEST);
        assert_eq!(longest(Some(9000), Some(131_072)).unwrap(), 9000);
        assert_eq!(longest(Some(9000), Some(4096)).unwrap(), 4096);
        assert!(longest(None, Some(128)).unwrap_err().message().contains("the server takes 128"));
        assert!(longest(Some(100), None).unwrap_err().message().contains("--probe-max-len is 100"));
    }

    #[test]
    fn every_arm_is_a_run() {
        let interrupts = InterruptSignal::default();
        let server = ProbedServer { url: "http://127.0.0.1:1", more: &[], interrupts: &interrupts };
        for (seed, arm) in arms(size(32, None)).iter().enumerate() {
            let words = server.words(arm, seed);
            assert!(run_line(&words).is_ok(), "{words:?}");
        }
    }
}
