//! A simulation from plain numbers, for `benches/virtual_time.rs`, which sees only what is public.

use super::{
    fleet::{FleetConfig, SimulationError, simulate},
    noise::StepNoise,
    observer::SimulatedAnswer,
    replica::ServerConfig,
    router::RoundRobin,
    step_time::{StepTimeCoefficients, StepTimeModel},
    ticks::Ticks,
    workload::SimulatedRequest,
};
use crate::sim::scheduler::SchedulerLimits;

/// The server of a fleet whose simulation is timed. It has vLLM's limits for a large card, prefix caching and the step
/// times of a large model.
#[derive(Clone, Copy, Debug)]
pub struct TimedFleet {
    /// The number of servers.
    pub replicas: usize,
    /// Tokens in a block.
    pub block_size: usize,
    /// The KV pool of a server, in tokens.
    pub pool_tokens: usize,
    /// Whether servers look for known blocks.
    pub prefix_caching: bool,
    /// The share by which a step's time deviates; 0 for none.
    pub noise: f64,
}

/// A request of plain numbers.
#[derive(Clone, Debug, Default)]
pub struct TimedRequest {
    /// When it is due, in nanoseconds.
    pub due_ns: u64,
    /// Prompt tokens.
    pub prompt: u32,
    /// Output tokens.
    pub output: u32,
    /// The content of each full block of the prompt.
    pub contents: Vec<u64>,
}

/// The sums of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimedTotals {
    /// The number of answers.
    pub answers: u64,
    /// The number of steps of all servers.
    pub steps: u64,
    /// The number of preemptions.
    pub preemptions: u64,
    /// Prompt tokens from the prefix cache.
    pub cached_tokens: u64,
    /// The mean time to first token in seconds.
    pub mean_ttft: f64,
    /// The virtual time at the end, in seconds.
    pub end: f64,
    /// A number that differs if any time of any answer does.
    pub checksum: u64,
}

impl TimedFleet {
    /// Simulates requests in the order of their due times, behind a round-robin router.
    ///
    /// # Errors
    ///
    /// A request is too large for the servers.
    pub fn simulate(self, requests: impl Iterator<Item = TimedRequest>) -> Result<TimedTotals, String> {
        let mut totals = TimedTotals::default();
        let mut ttft = Ticks::ZERO;
        let mut observer = |answer: &SimulatedAnswer| {
            ttft += answer.first_token - answer.sent;
            totals.cached_tokens += u64::from(answer.cached);
            let sum =
                totals.checksum.rotate_left(5) ^ answer.first_token.0 ^ answer.last_token.0.rotate_left(32);
            totals.checksum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        };
        let mut requests = requests.zip(0..).map(|(request, index)| SimulatedRequest {
            index,
            due: Ticks::from_nanoseconds(request.due_ns),
            prompt: request.prompt,
            output: request.output,
            session: None,
            contents: request.contents.into_iter().collect(),
        });
        let simulated = simulate(&self.config(), &mut requests, &mut RoundRobin::default(), &mut observer);
        let simulated = simulated.map_err(|error: SimulationError| error.to_string())?;
        totals.answers = simulated.answers;
        totals.end = simulated.end.as_seconds();
        totals.mean_ttft = ttft.as_seconds() / simulated.answers.max(1) as f64;
        for replica in &simulated.replicas {
            totals.steps += replica.steps;
            totals.preemptions += replica.preemptions;
        }
        Ok(totals)
    }

    fn config(self) -> FleetConfig {
        let limits = SchedulerLimits {
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            chunked_prefill: true,
            usable_blocks: self.pool_tokens / self.block_size,
            block_size: self.block_size,
            prefix_caching: self.prefix_caching,
        };
        let step_time = StepTimeModel::new(&StepTimeCoefficients {
            decode: vec![(1, 12e-3), (64, 13.5e-3), (256, 18e-3)],
            kv_token: 20e-9,
            mixed_base: 13e-3,
            mixed_seqs: vec![(0, 0.0), (256, 6e-3)],
            prefill_token: 30e-6,
            attention_pair: 1e-12,
            mixed_floor: 12e-3,
            ..StepTimeCoefficients::default()
        });
        let factors: &[f64] = if self.noise > 0.0 { &[1.0 - self.noise, 1.0, 1.0 + self.noise] } else { &[] };
        let step_time = step_time.expect("the coefficients above are sound");
        let noise = StepNoise::new(factors, factors).unwrap_or_default();
        let server = ServerConfig { noise, ..ServerConfig::new(limits, step_time) };
        FleetConfig { replicas: self.replicas, server, split: None, max_concurrency: None, seed: 1 }
    }
}
