//! Simulates a measured run itself, and adds up the work of the steps that each request waited for.

use super::measured::MeasuredRun;
use super::step_terms::{self, TERMS, TermSums};
use crate::predict::fleet::{FleetConfig, SimulationError, simulate};
use crate::predict::observer::{SimulatedAnswer, SimulationObserver, StepSpan};
use crate::predict::replica::ServerConfig;
use crate::predict::router::{Router, RouterPolicy, RouterSettings};
use crate::predict::seen_steps::{DecodeTime, SeenSteps};
use crate::predict::ticks::Ticks;
use crate::predict::workload::SimulatedRequest;
use crate::sim::scheduler::BlockContents;
use serde::{Deserialize, Serialize};

/// The age of the loads that a router reads: twenty readings a second, as llm-d's scheduler does.
const SIGNAL_DELAY: Ticks = Ticks::from_nanoseconds(50_000_000);

/// The fleet of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CalibrationFleet {
    pub replicas: usize,
    pub router: RouterPolicy,
}

impl CalibrationFleet {
    /// Whether the same run has several possible assignments to replicas.
    pub(crate) fn is_random(&self) -> bool {
        self.replicas > 1 && self.router.is_random()
    }

    fn router(&self, server: &ServerConfig, seed: u64) -> Box<dyn Router> {
        let blocks = server.limits.usable_blocks;
        self.router.router(RouterSettings { blocks, refresh_period: SIGNAL_DELAY, seed })
    }
}

/// A request of the run as it was simulated. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplayedRequest {
    pub ttft: f64,
    pub decode: f64,
    /// The time from its queue to its first step.
    pub queued: f64,
    pub prompt: u32,
    /// The sequences that got a token in the step of its first one.
    pub first_batch: f64,
    /// The same for its last token.
    pub last_batch: f64,
    /// The terms of the steps from its queue to its first token.
    pub(super) until_first: TermSums,
    /// The terms of the steps from its first token to its last.
    pub(super) until_last: TermSums,
}

/// A simulated calibration run.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// In the order of the run's requests.
    pub requests: Vec<ReplayedRequest>,
    pub hull: SeenSteps,
    pub preemptions: u64,
    /// Means over the time of the replay.
    pub mean_load: MeanLoad,
}

/// Means over time, and the highest share of blocks in use, of all replicas together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MeanLoad {
    pub running: f64,
    pub waiting: f64,
    pub peak_kv_usage: f64,
}

/// Simulates a run on these servers.
///
/// # Errors
///
/// A request is too large for the servers.
pub(crate) fn replay(
    run: &MeasuredRun,
    server: &ServerConfig,
    fleet: CalibrationFleet,
    seed: u64,
) -> Result<Replay, SimulationError> {
    let config = FleetConfig {
        replicas: fleet.replicas,
        server: server.clone(),
        split: None,
        max_concurrency: None,
        seed,
    };
    let mut requests = run.requests.iter().enumerate().map(|(index, request)| SimulatedRequest {
        index: index as u64,
        due: Ticks::from_seconds(request.start),
        prompt: request.prompt,
        output: request.output,
        session: None,
        contents: BlockContents::NONE,
    });
    let mut steps = StepLog::new(fleet.replicas, run.requests.len());
    let totals = simulate(&config, &mut requests, fleet.router(server, seed).as_mut(), &mut steps)?;
    let preemptions = totals.replicas.iter().map(|replica| replica.preemptions).sum();
    Ok(steps.into_replay(preemptions, totals.end.as_seconds()))
}

/// The steps of a replica.
#[derive(Default)]
struct ReplicaSteps {
    starts: Vec<Ticks>,
    ends: Vec<Ticks>,
    /// The sums of the terms of all steps before this one; one more than steps.
    sums: Vec<TermSums>,
}

struct StepLog {
    replicas: Vec<ReplicaSteps>,
    answers: Vec<Option<SimulatedAnswer>>,
    hull: SeenSteps,
    decode_time: DecodeTime,
    load_time: MeanLoad,
}

impl StepLog {
    fn new(replicas: usize, requests: usize) -> Self {
        let empty = || ReplicaSteps { sums: vec![[0.0; TERMS]], ..ReplicaSteps::default() };
        Self {
            replicas: (0..replicas).map(|_| empty()).collect(),
            answers: vec![None; requests],
            hull: SeenSteps::default(),
            decode_time: DecodeTime::default(),
            load_time: MeanLoad::default(),
        }
    }

    fn into_replay(self, preemptions: u64, end: f64) -> Replay {
        let requests = self
            .answers
            .iter()
            .flatten()
            .map(|answer| self.replicas[answer.replica as usize].request(answer));
        let load = self.load_time;
        let mean_load = MeanLoad {
            running: load.running / end.max(f64::MIN_POSITIVE),
            waiting: load.waiting / end.max(f64::MIN_POSITIVE),
            ..load
        };
        let hull = SeenSteps { least_decode_seqs: self.decode_time.least_seqs(), ..self.hull };
        Replay { requests: requests.collect(), hull, preemptions, mean_load }
    }
}

impl SimulationObserver for StepLog {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        self.answers[answer.index as usize] = Some(answer.clone());
    }

    fn on_steps(&mut self, span: &StepSpan<'_>) {
        let replica = &mut self.replicas[span.replica as usize];
        let mut start = span.start;
        for step in 0..span.steps {
            let work = span.first.after_steady(step);
            let before = replica.sums[replica.sums.len() - 1];
            let amounts = step_terms::amounts(&work);
            replica.sums.push(std::array::from_fn(|term| before[term] + amounts[term]));
            replica.starts.push(start);
            let duration = span.duration(step);
            start += duration;
            replica.ends.push(start);
            self.hull.add(&work);
            self.decode_time.add(&work, duration);
        }
        let seconds = span.total().as_seconds();
        self.load_time.running += span.load.running as f64 * seconds;
        self.load_time.waiting += span.load.waiting as f64 * seconds;
        self.load_time.peak_kv_usage = self.load_time.peak_kv_usage.max(span.load.kv_usage);
    }
}

impl ReplicaSteps {
    fn request(&self, answer: &SimulatedAnswer) -> ReplayedRequest {
        let (first, last) = (answer.first_step as usize, answer.last_step as usize);
        let between = |from: &TermSums, to: usize| -> TermSums {
            std::array::from_fn(|term| self.sums[to][term] - from[term])
        };
        ReplayedRequest {
            ttft: (answer.first_token - answer.sent).as_seconds(),
            decode: (answer.last_token - answer.first_token).as_seconds(),
            queued: (answer.scheduled - answer.queued).as_seconds(),
            prompt: answer.prompt,
            first_batch: f64::from(answer.first_batch),
            last_batch: f64::from(answer.last_batch),
            until_first: between(&self.sums_at(answer.queued), first + 1),
            until_last: between(&self.sums[first + 1], last + 1),
        }
    }

    /// The sums at a moment, with the part of the step that is under way.
    fn sums_at(&self, at: Ticks) -> TermSums {
        let step = self.ends.partition_point(|end| *end <= at);
        let under_way = self.starts.get(step).filter(|start| **start < at);
        let Some(start) = under_way else { return self.sums[step] };
        let share = (at - *start).as_seconds() / (self.ends[step] - *start).as_seconds();
        std::array::from_fn(|term| {
            self.sums[step][term] + share * (self.sums[step + 1][term] - self.sums[step][term])
        })
    }
}
